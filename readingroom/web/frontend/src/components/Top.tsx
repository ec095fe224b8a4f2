import type { MouseEvent } from "react";
import type { About, Account } from "../api/types";
import { may } from "../api/client";
import { go } from "../router";

const PAGES = [
  { path: "/", name: "Worklist", permission: "study:query" },
  { path: "/urgent", name: "Urgent", permission: "study:query" },
  { path: "/readers", name: "Readers", permission: "reader:read" },
  { path: "/norms", name: "Norms", permission: "reader:read" },
  { path: "/cohorts", name: "Cohorts", permission: "cohort:read" },
  { path: "/models", name: "Models", permission: "model:read" },
  { path: "/drift", name: "Drift", permission: "drift:read" },
  { path: "/runs", name: "Runs", permission: "run:read" },
  { path: "/quarantine", name: "Quarantine", permission: "quarantine:read" },
  { path: "/system", name: "System", permission: "system:read" },
  { path: "/audit", name: "Audit", permission: "audit:read" },
  { path: "/accounts", name: "Accounts", permission: "account:manage" },
  { path: "/projects", name: "Projects", permission: "account:manage" },
  { path: "/alerts", name: "Alerts", permission: "alert:read" },
];

/** A page is on, and so is one below it: `/runs` on `/runs/{run_id}`. */
const isOn = (path: string, page: string): boolean => path === page || (page !== "/" && path.startsWith(`${page}/`));

export function Banner({ about }: { about: About | null }) {
  return (
    <div className="banner" role="note" data-testid="research-banner">
      {about?.research_notice || "Research use only. Not cleared for clinical use."}
    </div>
  );
}

export function follow(path: string): (event: MouseEvent) => void {
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(path);
  };
}

export function Top({ account, path, counts, onGlass, onSignOut }: {
  account: Account;
  path: string;
  /** Page -> how many on it wait for somebody to acknowledge them. */
  counts: Record<string, number>;
  onGlass: () => void;
  onSignOut: () => void;
}) {
  return (
    <header className="top">
      <a className="brand" href="/" onClick={follow("/")}>
        <img src="/favicon.svg" alt="" /> Reading Room
      </a>
      <nav aria-label="Pages">
        {PAGES.filter((page) => may(account, page.permission)).map((page) => (
          <a key={page.path} href={page.path} onClick={follow(page.path)} aria-current={isOn(path, page.path) ? "page" : undefined}>
            {page.name}
            {(counts[page.path] ?? 0) > 0 && (
              <span className="count" data-testid={page.path === "/alerts" ? "alert-count" : "urgent-count"} aria-label={`${counts[page.path]} to acknowledge`}>
                {counts[page.path]}
              </span>
            )}
          </a>
        ))}
      </nav>
      {may(account, "glass:break") && (
        <button type="button" className="quiet" onClick={onGlass} data-testid="open-glass">Emergency access…</button>
      )}
      <a className="who" href="/account" onClick={follow("/account")} aria-current={path === "/account" ? "page" : undefined} data-testid="my-account">
        {account.display_name || account.name} · {account.role}
      </a>
      <button type="button" className="quiet" onClick={onSignOut} data-testid="sign-out">Sign out</button>
    </header>
  );
}
