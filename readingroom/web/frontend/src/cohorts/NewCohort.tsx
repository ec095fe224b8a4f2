import { type FormEvent, useState } from "react";
import { cohorts } from "../api/cohorts";
import { ErrorNote } from "../components/ErrorNote";
import { cohortPath, go } from "../router";

const FIELDS = [
  { name: "modality", label: "Modality", hint: "CT" },
  { name: "region", label: "Region", hint: "chest" },
  { name: "kind", label: "Type of series", hint: "ct-volume" },
  { name: "body_part", label: "Body part (as tagged)", hint: "CHEST" },
  { name: "found_by", label: "Reader that found something", hint: "lung-nodule" },
] as const;

const day = (value: string): string => value.replaceAll("-", "");
const yesNo = (value: string): boolean | null => (value === "" ? null : value === "yes");

/** Ask for a new cohort; its page opens when it is made. */
export function NewCohort({ projects }: { projects: readonly string[] }) {
  const [name, setName] = useState("");
  const [title, setTitle] = useState("");
  const [project, setProject] = useState(projects[0] ?? "");
  const [purpose, setPurpose] = useState("training");
  const [query, setQuery] = useState<Record<string, string>>({});
  const [error, setError] = useState<unknown>(null);
  const set = (field: string, value: string): void => setQuery({ ...query, [field]: value });
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setError(null);
    const { signed = "", simulated = "", from_day = "", to_day = "", ...words } = query;
    const asked = { ...words, from_day: day(from_day), to_day: day(to_day), signed: yesNo(signed), simulated: yesNo(simulated) };
    cohorts.add({ name, title, project, purpose, query: asked }).then((made) => go(cohortPath(made.id)), setError);
  };
  return (
    <section className="card">
      <h2>Add a cohort</h2>
      <form className="stack" onSubmit={submit}>
        <div className="row low">
          <label className="field">
            Name
            <input value={name} onChange={(event) => setName(event.target.value)} required maxLength={64} pattern="[a-z0-9][a-z0-9._\-]*" title="small letters, digits or ._-" autoComplete="off" data-testid="cohort-name" />
          </label>
          <label className="field grow">
            What it is for
            <input value={title} onChange={(event) => setTitle(event.target.value)} maxLength={128} autoComplete="off" />
          </label>
          <label className="field">
            Project
            <select value={project} onChange={(event) => setProject(event.target.value)}>
              {projects.map((one) => <option key={one} value={one}>{one}</option>)}
            </select>
          </label>
          <label className="field">
            Purpose (it stays)
            <select value={purpose} onChange={(event) => setPurpose(event.target.value)}>
              <option value="training">training</option>
              <option value="research">research</option>
            </select>
          </label>
        </div>
        <p className="muted">Which studies of the project? What is left empty does not narrow.</p>
        <div className="row low">
          {FIELDS.map((field) => (
            <label className="field" key={field.name}>
              {field.label}
              <input value={query[field.name] ?? ""} onChange={(event) => set(field.name, event.target.value)} placeholder={field.hint} maxLength={64} autoComplete="off" data-testid={`cohort-${field.name}`} />
            </label>
          ))}
        </div>
        <div className="row low">
          <label className="field">
            First study date
            <input type="date" value={query["from_day"] ?? ""} onChange={(event) => set("from_day", event.target.value)} />
          </label>
          <label className="field">
            Last study date
            <input type="date" value={query["to_day"] ?? ""} onChange={(event) => set("to_day", event.target.value)} />
          </label>
          <label className="field">
            Signed report
            <select value={query["signed"] ?? ""} onChange={(event) => set("signed", event.target.value)}>
              <option value="">either</option><option value="yes">with one</option><option value="no">without</option>
            </select>
          </label>
          <label className="field">
            Simulated studies
            <select value={query["simulated"] ?? ""} onChange={(event) => set("simulated", event.target.value)}>
              <option value="">either</option><option value="no">none</option><option value="yes">only these</option>
            </select>
          </label>
          <button type="submit" data-testid="cohort-add">Add</button>
        </div>
      </form>
      {error !== null && <ErrorNote error={error} />}
    </section>
  );
}
