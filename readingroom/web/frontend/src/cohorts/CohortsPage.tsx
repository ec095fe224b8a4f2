// Cohorts: what is collected for training or research, in the projects one is in.

import { cohorts } from "../api/cohorts";
import { follow } from "../components/Top";
import { ErrorNote } from "../components/ErrorNote";
import { useLoaded } from "../pages/useLoaded";
import { cohortPath } from "../router";
import { NewCohort } from "./NewCohort";

export function CohortsPage() {
  const { value, error, again } = useLoaded(cohorts.all);
  return (
    <main className="page stack" aria-busy={value === null}>
      <h1>Cohorts</h1>
      <p className="muted">
        Studies collected for training or research, of patients who allow it. Frozen versions never change; each patient is in
        one part for ever, and the test part is locked: every look at it is counted.
      </p>
      {error !== null && <ErrorNote error={error} onRetry={again} />}
      {value === null && error === null && <p className="muted" role="status">Loading…</p>}
      {value && value.items.length === 0 && (
        <section className="empty" data-testid="no-cohorts">
          <h2>There are no cohorts yet</h2>
          <p>
            {value.projects.length
              ? "Add one below: say which studies it is about, then freeze it."
              : "None of your projects has one. A radiologist or researcher of the project can add one."}
          </p>
        </section>
      )}
      {value && value.items.length > 0 && (
        <table className="plain" data-testid="cohorts">
          <thead>
            <tr>
              <th scope="col">Name</th><th scope="col">Project</th><th scope="col">For</th><th scope="col">Newest version</th>
              <th scope="col">Members</th><th scope="col">Looks at the test part</th>
            </tr>
          </thead>
          <tbody>
            {value.items.map((one) => (
              <tr key={one.id} data-testid="cohort-row">
                <td><a href={cohortPath(one.id)} onClick={follow(cohortPath(one.id))}>{one.name}</a> <span className="muted">{one.title}</span></td>
                <td>{one.project}</td>
                <td>{one.purpose}</td>
                <td>{one.version ?? <span className="muted">never frozen</span>}</td>
                <td className="number">{one.members}</td>
                <td className="number">{one.looks}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value && value.projects.length > 0 && <NewCohort projects={value.projects} />}
    </main>
  );
}
