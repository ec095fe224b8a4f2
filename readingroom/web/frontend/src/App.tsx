// The frame of every page: banner, who is signed in, and which page the address names.

import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { api, whenSignedOut } from "./api/client";
import type { About, Account } from "./api/types";
import { AccountsPage } from "./admin/AccountsPage";
import { AlertsPage } from "./admin/AlertsPage";
import { ProjectsPage } from "./admin/ProjectsPage";
import { useAlertCount } from "./admin/useAlertCount";
import { ErrorNote } from "./components/ErrorNote";
import { GlassDialog } from "./components/GlassDialog";
import { AuditPage } from "./audit/AuditPage";
import { CohortPage } from "./cohorts/CohortPage";
import { CohortsPage } from "./cohorts/CohortsPage";
import { Banner, Top } from "./components/Top";
import { DayPage } from "./day/DayPage";
import { ModelsPage } from "./models/ModelsPage";
import { DriftPage } from "./drift/DriftPage";
import { NormsPage, StudyNormsPage } from "./norms/NormsPage";
import { AccountPage } from "./pages/AccountPage";
import { takeProblem } from "./pages/problems";
import { QuarantinePage } from "./pages/QuarantinePage";
import { ReadersPage } from "./pages/ReadersPage";
import { SetUpPage } from "./pages/SetUpPage";
import { SignInPage } from "./pages/SignInPage";
import { SystemPage } from "./pages/SystemPage";
import { WorklistPage } from "./pages/WorklistPage";
import { auditStudyOf, cohortOf, driftOf, normsStudyOf, runOf, studyOf, usePath } from "./router";
import { RunPage } from "./runs/RunPage";
import { RunsPage } from "./runs/RunsPage";
import { UrgentBanner } from "./urgent/UrgentBanner";
import { UrgentPage } from "./urgent/UrgentPage";
import { useUrgent, type Urgency } from "./urgent/useUrgent";

const loadStudyPage = () => import("./study/StudyPage");
const StudyPage = lazy(loadStudyPage);
const VIEWER_AHEAD_MS = 1500;

type Who = { known: false } | { known: true; account: Account | null };

export function App() {
  const path = usePath();
  const [about, setAbout] = useState<About | null>(null);
  const [who, setWho] = useState<Who>({ known: false });
  const [error, setError] = useState<unknown>(null);
  const [problem, setProblem] = useState(takeProblem);
  const [glass, setGlass] = useState(false);
  const alerts = useAlertCount(who.known ? who.account : null);
  const urgency = useUrgent(who.known ? who.account : null);

  const ask = useCallback(() => {
    setError(null);
    api.about().then(setAbout, () => undefined);
    api.session().then((session) => setWho({ known: true, account: session.account }), setError);
  }, []);
  useEffect(() => {
    whenSignedOut(() => setWho({ known: true, account: null }));
    ask();
  }, [ask]);

  // The viewer is large: fetched while the worklist is looked at, so that a study opens at once.
  const signedIn = who.known && who.account !== null;
  useEffect(() => {
    if (!signedIn) return;
    const timer = window.setTimeout(() => void loadStudyPage().catch(() => undefined), VIEWER_AHEAD_MS);
    return () => window.clearTimeout(timer);
  }, [signedIn]);

  const signOut = (): void => {
    // A new page: the images and texts that this one holds in memory go with it.
    const leave = (place: string): void => window.location.replace(place || "/");
    api.signOut().then((answer) => leave(answer.continue_at), () => leave("/"));
  };

  return (
    <div className="app">
      <Banner about={about} />
      {error !== null && <main className="page"><ErrorNote error={error} onRetry={ask} /></main>}
      {error === null && !who.known && <main className="page"><p className="muted" role="status">Loading…</p></main>}
      {who.known && !who.account && (path === "/set-up"
        ? <SetUpPage about={about} onSignedIn={(account) => setWho({ known: true, account })} />
        : <SignInPage about={about} problem={problem} onSignedIn={(account) => setWho({ known: true, account })} />
      )}
      {who.known && who.account && (
        <>
          <Top account={who.account} path={path} counts={{ "/alerts": alerts.open, "/urgent": urgency.waiting }} onGlass={() => setGlass(true)} onSignOut={signOut} />
          <UrgentBanner urgency={urgency} path={path} />
          {glass && <GlassDialog onOpened={() => setGlass(false)} onClose={() => setGlass(false)} />}
          {problem && (
            <div className="row problem">
              <ErrorNote error={problem} />
              <button type="button" onClick={() => setProblem(null)}>Close</button>
            </div>
          )}
          <Page path={path} account={who.account} about={about} urgency={urgency} onAccountChanged={ask} onAlertSeen={alerts.again} />
        </>
      )}
    </div>
  );
}

function Page({ path, account, about, urgency, onAccountChanged, onAlertSeen }: {
  path: string;
  account: Account;
  about: About | null;
  urgency: Urgency;
  onAccountChanged: () => void;
  onAlertSeen: () => void;
}) {
  const studyId = studyOf(path);
  if (account.second_factor_owed || account.password_owed || path === "/account") {
    return <AccountPage account={account} about={about} onChanged={onAccountChanged} />;
  }
  if (studyId) {
    return (
      <Suspense fallback={<main className="page"><p className="muted" role="status">Loading the viewer…</p></main>}>
        <StudyPage key={studyId} studyId={studyId} account={account} about={about} />
      </Suspense>
    );
  }
  const asked = auditStudyOf(path);
  if (asked || path === "/audit") return <AuditPage key={path} studyId={asked} />;
  const cohort = cohortOf(path);
  if (cohort) return <CohortPage key={cohort} cohortId={cohort} />;
  const watched = driftOf(path);
  if (watched !== undefined) return <DriftPage me={account} watchId={watched} />;
  const measured = normsStudyOf(path);
  if (measured) return <StudyNormsPage key={measured} studyId={measured} />;
  const run = runOf(path);
  if (run) return <RunPage key={run} runId={run} />;
  switch (path) {
    case "/":
      return <WorklistPage account={account} about={about} />;
    case "/urgent":
      return <UrgentPage urgency={urgency} />;
    case "/simulated-day":
      return <DayPage />;
    case "/readers":
      return <ReadersPage />;
    case "/norms":
      return <NormsPage />;
    case "/cohorts":
      return <CohortsPage />;
    case "/models":
      return <ModelsPage me={account} />;
    case "/runs":
      return <RunsPage />;
    case "/quarantine":
      return <QuarantinePage />;
    case "/accounts":
      return <AccountsPage me={account} />;
    case "/projects":
      return <ProjectsPage />;
    case "/alerts":
      return <AlertsPage me={account} onSeen={onAlertSeen} />;
    case "/system":
      return <SystemPage />;
    default:
      return (
        <main className="page">
          <h1>No such page</h1>
          <p><a href="/">Back to the worklist</a></p>
        </main>
      );
  }
}
