// Projects: what studies belong to, and whose.

import { type FormEvent, useState } from "react";
import { access } from "../api/access";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";

export function ProjectsPage() {
  const { value, error, again } = useLoaded(access.projects);
  return (
    <main className="page stack" aria-busy={value === null}>
      <h1>Projects</h1>
      <p className="muted">
        A study belongs to one project and is seen by its members alone. Who is a member is set on the accounts; where studies
        go by <code>calling_aets</code> in config.toml, or the account that brings them in.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value && (
        <table className="plain" data-testid="projects">
          <thead>
            <tr>
              <th scope="col">Name</th><th scope="col">Kind</th><th scope="col">Roles that count in it</th>
              <th scope="col">Members</th><th scope="col">Studies</th>
            </tr>
          </thead>
          <tbody>
            {value.items.map((project) => (
              <tr key={project.name} data-testid="project-row">
                <td>{project.name} <span className="muted">{project.title}</span></td>
                <td>{project.kind}</td>
                <td className="muted">{value.kinds[project.kind]?.join(", ")}</td>
                <td className="number">{project.members}</td>
                <td className="number">{project.studies}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value && <NewProject kinds={Object.keys(value.kinds)} onAdded={again} />}
    </main>
  );
}

function NewProject({ kinds, onAdded }: { kinds: string[]; onAdded: () => void }) {
  const [name, setName] = useState("");
  const [title, setTitle] = useState("");
  const [kind, setKind] = useState("research");
  const [error, setError] = useState<unknown>(null);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setError(null);
    access.addProject({ name, title, kind }).then(() => {
      setName("");
      setTitle("");
      onAdded();
    }, setError);
  };
  return (
    <section className="card">
      <h2>Add a project</h2>
      <form className="row low" onSubmit={submit}>
        <label className="field">
          Name
          <input value={name} onChange={(event) => setName(event.target.value)} required maxLength={64} autoComplete="off" data-testid="project-name" />
        </label>
        <label className="field">
          What it is about
          <input value={title} onChange={(event) => setTitle(event.target.value)} maxLength={128} autoComplete="off" />
        </label>
        <label className="field">
          Kind (it stays)
          <select value={kind} onChange={(event) => setKind(event.target.value)} data-testid="project-kind">
            {kinds.map((one) => <option key={one} value={one}>{one}</option>)}
          </select>
        </label>
        <button type="submit" data-testid="project-add">Add</button>
      </form>
      {error !== null && <ErrorNote error={error} />}
    </section>
  );
}
