// Calls to the server. Every failure becomes an ApiError with a sentence and a hint for people; a call can't hang, as
// each has a time limit. The CSRF token of the session is kept here and sent with every change.

import type {
  About, Account, AuditState, BrokenReader, Card, Consent, Decided, HeatMapLevels, ImportSummary, PatientAccess,
  PersonActions, QuarantineItem, Report, Section, SegmentRuns, Session, Study, Verdict, Worklist,
} from "./types";

const BASE = "/api/v1";
const TIME_LIMIT_MS = 30_000;

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint: string = "",
  ) {
    super(message);
  }
}

let csrf = "";
let onSignedOut: () => void = () => undefined;

export function whenSignedOut(callback: () => void): void {
  onSignedOut = callback;
}

async function failure(response: Response): Promise<ApiError> {
  const body = (await response.json().catch(() => ({}))) as { error?: string; message?: string; hint?: string };
  const message = body.message ?? `The server answered ${response.status} ${response.statusText}.`.replace(" .", ".");
  return new ApiError(response.status, body.error ?? "unexpected", message, body.hint ?? "");
}

async function send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const sent: Record<string, string> = { Accept: "application/json", ...headers };
  if (method !== "GET") sent["X-CSRF-Token"] = csrf;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let response: Response;
  try {
    response = await fetch(BASE + path, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      cache: "no-store",
      signal: AbortSignal.timeout(TIME_LIMIT_MS),
    });
  } catch (error) {
    const slow = error instanceof DOMException && error.name === "TimeoutError";
    throw slow
      ? new ApiError(0, "timeout", "The server did not answer in time.", "It may be busy; this is tried again.")
      : new ApiError(0, "offline", "The server cannot be reached.", "Check that `readingroom serve` is running.");
  }
  if (response.status === 304 || response.ok) return response;
  const error = await failure(response);
  if (error.code === "not-signed-in") onSignedOut();
  throw error;
}

export async function json<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await send(method, path, body);
  if (response.status === 204) return undefined as T;
  return (await response.json()) as T;
}

/** What `path` answers and its tag, or null where that has not changed since `etag`. */
export async function changed<T>(path: string, etag: string): Promise<{ value: T; etag: string } | null> {
  const response = await send("GET", path, undefined, etag ? { "If-None-Match": etag } : {});
  if (response.status === 304) return null;
  return { value: (await response.json()) as T, etag: response.headers.get("ETag") ?? "" };
}

/** Remember the CSRF token of a session that was just opened or found. */
export function kept(session: Session): Session {
  if (session.csrf) csrf = session.csrf;
  return session;
}

const study = (id: string): string => `/studies/${encodeURIComponent(id)}`;

export const api = {
  about: () => json<About>("GET", "/about"),
  session: async () => kept(await json<Session>("GET", "/session")),
  signIn: async (name: string, password: string) => kept(await json<Session>("POST", "/session", { name, password })),
  signOut: () => json<{ continue_at: string }>("DELETE", "/session"),

  /** The worklist, or null where it has not changed since `etag`. */
  async worklist(query: { q: string; status: string }, etag: string): Promise<Worklist | null> {
    const page = { status: query.status, offset: 0, limit: 200 };
    // A name that is looked for travels in the body, never in an address.
    if (query.q.trim()) return json<Worklist>("POST", "/worklist/search", { ...page, q: query.q });
    const parameters = new URLSearchParams({ ...page, offset: "0", limit: "200" });
    const found = await changed<Worklist>(`/worklist?${parameters.toString()}`, etag);
    return found && { ...found.value, etag: found.etag || found.value.etag };
  },
  study: (id: string) => json<Study>("GET", study(id)),
  ready: (id: string) => json<unknown>("POST", `${study(id)}/ready`, {}),
  reread: (id: string) => json<unknown>("POST", `${study(id)}/reread`, {}),
  verdict: (id: string, verdict: Verdict) => json<Study>("POST", `${study(id)}/verdicts`, verdict),
  taskDone: (id: string, task: number | string) => json<unknown>("POST", `${study(id)}/tasks/${task}/done`, {}),
  segment: (url: string) => json<SegmentRuns>("GET", url.startsWith(BASE) ? url.slice(BASE.length) : url),
  heatMap: (url: string) => json<HeatMapLevels>("GET", url.startsWith(BASE) ? url.slice(BASE.length) : url),

  consent: (id: string) => json<Consent>("GET", `${study(id)}/consent`),
  decideConsent: (id: string, decided: Decided) => json<Consent>("POST", `${study(id)}/consent`, decided),

  report: (id: string) => json<Report>("GET", `${study(id)}/report`),
  saveReport: (id: string, etag: string, sections: Partial<Record<Section, string>>) =>
    json<Report>("PUT", `${study(id)}/report`, { etag, sections }),
  redraft: (id: string) => json<Report>("POST", `${study(id)}/report/redraft`, {}),
  sign: (
    id: string,
    body: { etag: string; revision: number; patient_id: string; accession_number: string; acknowledged: string[] },
  ) => json<Report>("POST", `${study(id)}/report/sign`, body),
  addendum: (id: string, text: string) => json<Report>("POST", `${study(id)}/report/addenda`, { text }),
  pdfUrl: (id: string) => `${BASE}${study(id)}/report/pdf`,

  readers: () => json<(Card | BrokenReader)[]>("GET", "/readers"),
  quarantine: () => json<{ items: QuarantineItem[] }>("GET", "/quarantine"),
  system: () => json<Record<string, unknown>>("GET", "/system"),

  audit: () => json<AuditState>("GET", "/audit"),
  whoSaw: (about: { study_id?: string; patient_id?: string }, everything: boolean, offset: number) =>
    json<PatientAccess>("POST", "/audit/patient", { ...about, everything, offset }),
  whatDid: (actor: string, since: string | null, until: string | null, offset: number) =>
    json<PersonActions>("POST", "/audit/person", { actor, since, until, offset }),

  /** Send one file (DICOM or zip), into `project` or wherever the account's go; `progress` gets the fraction sent. XMLHttpRequest, as fetch tells no upload progress. */
  importFile(file: File, project: string, progress: (fraction: number) => void): Promise<ImportSummary> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const form = new FormData();
      form.append("file", file);
      if (project) form.append("project", project);
      request.open("POST", `${BASE}/import`);
      request.setRequestHeader("X-CSRF-Token", csrf);
      request.responseType = "json";
      request.upload.onprogress = (event) => {
        if (event.lengthComputable) progress(event.loaded / event.total);
      };
      request.onerror = () => reject(new ApiError(0, "offline", "The file could not be sent.", "Is the server running?"));
      request.onload = () => {
        const body = (request.response ?? {}) as ImportSummary & { error?: string; message?: string; hint?: string };
        if (request.status >= 200 && request.status < 300) resolve(body);
        else {
          const message = body.message ?? `The server answered ${request.status}.`;
          reject(new ApiError(request.status, body.error ?? "unexpected", message, body.hint ?? ""));
        }
      };
      request.send(form);
    });
  },
};

export const may = (account: Account | null, permission: string): boolean =>
  account?.permissions.includes(permission) ?? false;
