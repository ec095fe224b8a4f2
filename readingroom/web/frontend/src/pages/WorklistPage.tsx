// The worklist: most urgent first, as the server orders it; asked for anew every two seconds.

import { useEffect, useRef, useState } from "react";
import { api, may } from "../api/client";
import type { About, Account, Worklist } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { useKeys, usePolling } from "../hooks";
import { go, studyPath } from "../router";
import { EmptyWorklist } from "./EmptyWorklist";
import { ImportDrop } from "./ImportDrop";
import { WorklistRow } from "./WorklistRow";

const POLL_MS = 2000;
const STATUSES = ["open", "signed", "held", "all"] as const;
type Status = (typeof STATUSES)[number];

export function WorklistPage({ account, about }: { account: Account; about: About | null }) {
  const [query, setQuery] = useState("");
  const [status, setStatus] = useState<Status>("open");
  const [list, setList] = useState<Worklist | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [chosen, setChosen] = useState(0);
  const search = useRef<HTMLInputElement>(null);
  const etag = useRef("");
  const asked = useRef("");

  usePolling(async () => {
    const wanted = `${status}\n${query}`;
    if (asked.current !== wanted) etag.current = "";
    asked.current = wanted;
    try {
      const answer = await api.worklist({ q: query, status }, etag.current);
      if (asked.current !== wanted) return;
      setError(null);
      if (answer) {
        etag.current = answer.etag;
        setList(answer);
      }
    } catch (problem) {
      if (asked.current === wanted) setError(problem);
    }
  }, POLL_MS, [query, status]);

  const items = list?.items ?? [];
  const last = Math.max(0, items.length - 1);
  const at = Math.min(chosen, last);
  useEffect(() => {
    document.querySelector(".worklist tr.chosen")?.scrollIntoView({ block: "nearest" });
  }, [at]);

  useKeys((key) => {
    const item = items[at];
    if (key === "ArrowDown" || key === "j") setChosen(Math.min(at + 1, last));
    else if (key === "ArrowUp" || key === "k") setChosen(Math.max(at - 1, 0));
    else if (key === "Home") setChosen(0);
    else if (key === "End") setChosen(last);
    else if (key === "Enter" && item) go(studyPath(item.study_id));
    else if (key === "/") search.current?.focus();
    else if (key === "Escape") search.current?.blur();
    else return false;
    return true;
  });

  return (
    <main className="page" aria-busy={list === null}>
      <div className="worklist-tools">
        <h1>Worklist</h1>
        <input
          ref={search} type="search" value={query} onChange={(event) => setQuery(event.target.value)}
          placeholder="Search: name, identifier, accession  /" aria-label="Search the worklist"
          data-testid="worklist-search"
        />
        <div className="segmented" role="group" aria-label="Which studies">
          {STATUSES.map((one) => (
            <button key={one} type="button" aria-pressed={status === one} onClick={() => setStatus(one)}>{one}</button>
          ))}
        </div>
        <span className="muted number" role="status">
          {list ? `${list.total} ${list.total === 1 ? "study" : "studies"}` : error === null && "Loading…"}
        </span>
        <span className="grow" />
        {may(account, "study:store") && <ImportDrop onImported={() => { etag.current = ""; }} />}
      </div>
      {error !== null && <ErrorNote error={error} />}
      {list && items.length === 0 && error === null && (
        <EmptyWorklist about={about} account={account} filtered={query !== "" || status !== "open"} status={status} />
      )}
      {items.length > 0 && (
        <table className="worklist">
          <caption className="visually-hidden">Studies, most urgent first. Up, down and Enter open a study.</caption>
          <thead>
            <tr>
              <th scope="col">Priority</th>
              <th scope="col">Patient</th>
              <th scope="col">Study</th>
              <th scope="col">Readers</th>
              <th scope="col">Findings</th>
              <th scope="col">State</th>
              <th scope="col" className="right">Age</th>
            </tr>
          </thead>
          <tbody>
            {items.map((item, index) => (
              <WorklistRow key={item.study_id} item={item} chosen={index === at} onChoose={() => setChosen(index)} />
            ))}
          </tbody>
        </table>
      )}
    </main>
  );
}
