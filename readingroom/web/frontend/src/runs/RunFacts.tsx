// What a run was made from, as it wrote it down itself: enough to make it again.

import { rounded } from "../pages/metrics";

const NAMES: Record<string, string> = {
  recipe_sha256: "Recipe, SHA-256",
  recipe: "Recipe",
  data: "Data",
  data_sha256: "Examples, SHA-256",
  examples: "Examples",
  groups: "Patients or groups",
  seed: "Seed",
  threads: "Threads",
  device: "Trained on",
  machine: "Machine",
  versions: "Versions",
  commit: "Commit",
  onnx_largest_difference: "Parity",
};

export function RunFacts({ facts }: { facts: Record<string, unknown> }) {
  return (
    <section className="card" data-testid="run-facts">
      <h2>What it was made from</h2>
      <dl className="facts number">
        {Object.entries(NAMES).map(([name, words]) => {
          const text = factText(name, facts);
          return text && <div key={name} className="fact"><dt>{words}</dt><dd className={name.endsWith("sha256") || name === "commit" ? "code" : undefined}>{text}</dd></div>;
        })}
      </dl>
    </section>
  );
}

function factText(name: string, facts: Record<string, unknown>): string {
  const value = facts[name];
  if (name === "onnx_largest_difference") {
    const allowed = plain((facts.recipe as Record<string, unknown> | undefined)?.parity);
    if (typeof value !== "number") return "not exported yet";
    return `ONNX differs from torch by ${rounded(value)} at most, on ${plain(facts.onnx_compared_on)} examples; ${allowed} is let pass`;
  }
  if (name === "commit" && !value) return "not a checkout";
  if (typeof value === "object" && value !== null) return entries(value as Record<string, unknown>);
  return value === null || value === undefined ? "" : plain(value);
}

const entries = (values: Record<string, unknown>): string =>
  Object.entries(values).map(([name, value]) => (
    typeof value === "object" && value !== null
      ? `${name.replaceAll("_", " ")} (${entries(value as Record<string, unknown>)})`
      : `${name.replaceAll("_", " ")} ${plain(value)}`
  )).join(", ");

const plain = (value: unknown): string =>
  typeof value === "number" && !Number.isInteger(value) ? rounded(value) : String(value ?? "");
