// The OpenID provider's page sends the browser back with a word for what went wrong; the sentences are here.

import { ApiError } from "../api/client";

const SENTENCES: Record<string, [string, string]> = {
  "oidc-no-role": ["Your account has no role here.", "Ask an administrator to give it one where you sign in."],
  "oidc-name-taken": ["There is a local account of your name.", "Ask an administrator to remove or rename one of the two."],
  "oidc-disabled": ["Your account is disabled here.", "Ask an administrator."],
  "oidc-unavailable": ["The place where you sign in cannot be reached.", "Try again in a while, or tell an administrator."],
  "oidc-failed": ["The sign-in did not work.", "Begin again. If it goes on, tell an administrator."],
};

/** What went wrong on the way here, if anything; it leaves the address. */
export function takeProblem(): ApiError | null {
  const code = new URLSearchParams(window.location.search).get("problem");
  if (code === null) return null;
  window.history.replaceState(null, "", window.location.pathname);
  const [message, hint] = SENTENCES[code] ?? SENTENCES["oidc-failed"]!;
  return new ApiError(0, code, message, hint);
}
