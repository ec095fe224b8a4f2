// FreeSurfer's files, age and sex: what norms are asked with. Lines that may name somebody are not sent.

import { type FormEvent, useState } from "react";

export interface Asked {
  tables: string[];
  age_years: number;
  sex: "F" | "M";
  prevalence: number | null;
}

const KEPT = /^#\s*(Measure|ColHeaders|hemi|AnnotationFile|Title|Table)\b/;

/** The text without the lines of its head that hold names, paths and dates. */
export const withoutNames = (text: string): string =>
  text.split(/\r?\n/).filter((line) => !line.startsWith("#") || KEPT.test(line)).map(withoutFolder).join("\n");

/** Only the file of the atlas is needed, not where it lay. */
const withoutFolder = (line: string): string => line.replace(/^(#\s*AnnotationFile\s+).*[/\\]/, "$1");

export function NormsForm({ busy, onAsk }: { busy: boolean; onAsk: (asked: Asked) => void }) {
  const [files, setFiles] = useState<File[]>([]);
  const [age, setAge] = useState("");
  const [sex, setSex] = useState<"" | "F" | "M">("");
  const [share, setShare] = useState("");
  const ready = files.length > 0 && Number(age) > 0 && sex !== "" && !busy;
  const ask = async (event: FormEvent): Promise<void> => {
    event.preventDefault();
    if (!ready) return;
    const texts = await Promise.all(files.map((file) => file.text()));
    onAsk({ tables: texts.map(withoutNames), age_years: Number(age), sex, prevalence: share ? Number(share) / 100 : null });
  };
  return (
    <form className="card norms-form" onSubmit={(event) => void ask(event)} data-testid="norms-form">
      <label className="field">
        FreeSurfer: aseg.stats, lh.aparc.stats, rh.aparc.stats
        <input type="file" multiple accept=".stats,text/plain" data-testid="norms-files" onChange={(event) => setFiles([...(event.target.files ?? [])])} />
      </label>
      <label className="field">Age, years
        <input type="number" min={1} max={120} step="any" value={age} onChange={(event) => setAge(event.target.value)} data-testid="norms-age" />
      </label>
      <label className="field">Sex
        <select value={sex} onChange={(event) => setSex(event.target.value as "" | "F" | "M")} data-testid="norms-sex">
          <option value="">choose</option>
          <option value="F">female</option>
          <option value="M">male</option>
        </select>
      </label>
      <label className="field">Share with dementia here, % (optional)
        <input type="number" min={0.1} max={99.9} step="any" value={share} onChange={(event) => setShare(event.target.value)} placeholder="as in OASIS" data-testid="norms-share" />
      </label>
      <button type="submit" className="primary" disabled={!ready} data-testid="norms-ask">{busy ? "Computing…" : "Show z-scores"}</button>
    </form>
  );
}
