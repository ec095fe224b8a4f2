// Calls about who may do what: accounts, projects, alerts, sessions, tokens, who sees a study, and broken glass.

import { json } from "./client";

export interface AccountInfo {
  id: number;
  name: string;
  display_name: string;
  role: string;
  disabled: boolean;
  second_factor: boolean;
  /** It signs in at the OpenID provider. */
  elsewhere: boolean;
  password_owed: boolean;
  /** Name of a project -> role there. */
  projects: Record<string, string>;
  created_at: string;
}

export interface AccountGiven {
  account: AccountInfo;
  password: string;
}

export interface ProjectInfo {
  name: string;
  title: string;
  kind: string;
  members: number;
  studies: number;
}

export interface Projects {
  items: ProjectInfo[];
  /** Kind of project -> the roles that count in it. */
  kinds: Record<string, string[]>;
}

export interface Alert {
  id: string;
  kind: string;
  actor: string;
  text: string;
  study_id: string | null;
  at: string;
  acknowledged_at: string | null;
  acknowledged_by: string;
}

export interface SessionInfo {
  id: string;
  browser: string;
  strong: boolean;
  created_at: string;
  seen_at: string;
  expires_at: string;
  current: boolean;
}

export interface TokenInfo {
  id: string;
  name: string;
  scopes: string[];
  project: string;
  created_at: string;
  expires_at: string;
  used_at: string | null;
  revoked_at: string | null;
}

export interface NewToken {
  name: string;
  scopes: string[];
  days: number;
  project: string;
}

export interface TokenMade {
  id: string;
  token: string;
  expires_at: string;
}

export interface MyTokens {
  items: TokenInfo[];
  scopes: string[];
  projects: string[];
}

export interface GlassReason {
  code: string;
  meaning: string;
  needs_text: boolean;
}

export type GlassBy = "patient_id" | "accession_number" | "study_id";

export interface WhoSees {
  restricted: boolean;
  people: { name: string; display_name: string; named: boolean }[];
}

type AccountChange = Pick<AccountInfo, "display_name" | "role" | "disabled" | "projects">;

const account = (id: number): string => `/accounts/${id}`;
const visibility = (studyId: string): string => `/studies/${encodeURIComponent(studyId)}/visibility`;

export const access = {
  accounts: () => json<{ items: AccountInfo[]; roles: string[]; machine_scopes: string[] }>("GET", "/accounts"),
  addAccount: (body: Omit<AccountChange, "disabled"> & { name: string }) => json<AccountGiven>("POST", "/accounts", body),
  changeAccount: (id: number, body: AccountChange) => json<AccountInfo>("PUT", account(id), body),
  resetAccount: (id: number) => json<AccountGiven>("POST", `${account(id)}/reset`),
  tokensOf: (id: number) => json<TokenInfo[]>("GET", `${account(id)}/tokens`),
  makeTokenFor: (id: number, body: NewToken) => json<TokenMade>("POST", `${account(id)}/tokens`, body),
  revokeTokenOf: (id: number, token: string) => json<void>("DELETE", `${account(id)}/tokens/${encodeURIComponent(token)}`),

  projects: () => json<Projects>("GET", "/projects"),
  addProject: (body: { name: string; title: string; kind: string }) => json<ProjectInfo>("POST", "/projects", body),

  alerts: () => json<{ open: number; items: Alert[] }>("GET", "/alerts"),
  acknowledge: (id: string) => json<void>("POST", `/alerts/${encodeURIComponent(id)}/acknowledge`),

  sessions: () => json<SessionInfo[]>("GET", "/account/sessions"),
  endSession: (id: string) => json<void>("DELETE", `/account/sessions/${encodeURIComponent(id)}`),
  tokens: () => json<MyTokens>("GET", "/account/tokens"),
  makeToken: (body: NewToken) => json<TokenMade>("POST", "/account/tokens", body),
  revokeToken: (id: string) => json<void>("DELETE", `/account/tokens/${encodeURIComponent(id)}`),

  glass: () => json<{ reasons: GlassReason[]; minutes: number }>("GET", "/glass"),
  breakGlass: (body: { by: GlassBy; value: string; reason: string; text: string }) =>
    json<{ study_ids: string[]; until: string }>("POST", "/glass", body),

  whoSees: (studyId: string) => json<WhoSees>("GET", visibility(studyId)),
  setWhoSees: (studyId: string, body: { restricted: boolean; people: string[] }) => json<void>("PUT", visibility(studyId), body),

  importPlaces: () => json<{ projects: string[] }>("GET", "/import"),
};
