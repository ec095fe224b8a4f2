// One study under review: images, findings, report. Keys for everything; the mouse for places.

import { useRef, useState } from "react";
import { ApiError, may } from "../api/client";
import type { About, Account, Study } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { GlassDialog } from "../components/GlassDialog";
import { useKeys } from "../hooks";
import { hasHeat } from "../images/heat";
import { ImageArea, type ImageControls } from "../images/ImageArea";
import "../styles/study.css";
import { reasonOfKey } from "./codes";
import { ConsentDialog } from "./ConsentDialog";
import { FindingList } from "./FindingList";
import { KeyHelp } from "./KeyHelp";
import { ReportPanel } from "./ReportPanel";
import { type Review, useReview } from "./review";
import { SignDialog } from "./SignDialog";
import { StudyFlags, StudyHead } from "./StudyHead";
import { useReport } from "./useReport";
import { type StudyState, useStudy } from "./useStudy";
import { VisibilityDialog } from "./VisibilityDialog";

export default function StudyPage({ studyId, account, about }: { studyId: string; account: Account; about: About | null }) {
  const state = useStudy(studyId);
  const [glass, setGlass] = useState(false);
  const { study, error } = state;
  if (!study) {
    return (
      <main className="page stack" aria-busy={error === null}>
        {error !== null ? <ErrorNote error={error} onRetry={() => void state.reload()} /> : <p className="muted" role="status">Loading the study…</p>}
        {error instanceof ApiError && error.status === 404 && may(account, "glass:break") && (
          <div className="stack">
            <p className="muted">It may not be here, or not for you. In an emergency it can be opened all the same, with a reason.</p>
            <div className="row"><button type="button" onClick={() => setGlass(true)} data-testid="break-glass">Emergency access to this study…</button></div>
          </div>
        )}
        {glass && <GlassDialog studyId={studyId} onOpened={() => { setGlass(false); void state.reload(); }} onClose={() => setGlass(false)} />}
        <p><a href="/">Back to the worklist</a></p>
      </main>
    );
  }
  return <Review study={study} state={state} about={about} />;
}

/** Changes with everything the report's draft is made from: the revision, what readers said, every verdict. */
const draftedFrom = (study: Study): string =>
  JSON.stringify([
    study.revision,
    study.no_further_findings !== null,
    study.context?.at,
    study.readings.map((reading) => [reading.id, reading.state]),
    study.findings.map((item) => [item.finding.id, item.decision, item.at]),
  ]);

function Review({ study, state, about }: { study: Study; state: StudyState; about: About | null }) {
  const review = useReview(state);
  const report = useReport(study.study_id, draftedFrom(study), study.can.includes("report:write") && !review.locked);
  const controls = useRef<ImageControls | null>(null);
  const [overlay, setOverlay] = useState(true);
  const [heat, setHeat] = useState(false);
  const [signing, setSigning] = useState(false);
  const [help, setHelp] = useState(false);
  const [consent, setConsent] = useState(false);
  const [whoSees, setWhoSees] = useState(false);
  const [tab, setTab] = useState<"findings" | "report">("findings");
  const maySign = study.can.includes("report:sign") && !review.locked;
  const openSign = (): void => { if (maySign) setSigning(true); };

  useKeys((key) => {
    if (modeKey(key, review, controls.current)) return true;
    const action: Record<string, (() => void) | undefined> = {
      ...findingKeys(review, state.busy),
      o: () => setOverlay(!overlay),
      h: hasHeat(study.findings) ? () => setHeat(!heat) : undefined,
      m: () => controls.current?.toggleLayout(),
      s: openSign,
      c: study.can.includes("consent:read") ? () => setConsent(true) : undefined,
      "?": () => setHelp(true),
      "0": () => controls.current?.reset(),
      ArrowUp: () => controls.current?.scroll(-1),
      ArrowDown: () => controls.current?.scroll(1),
      PageUp: () => controls.current?.scroll(-10),
      PageDown: () => controls.current?.scroll(10),
    };
    const preset = "12345".indexOf(key);
    const chosen = preset >= 0 ? () => controls.current?.preset(preset) : action[key];
    chosen?.();
    return chosen !== undefined;
  });

  const placing = ["place", "edit", "add"].includes(review.mode.kind);
  const drawing = review.mode.kind === "edit" || review.mode.kind === "add";
  return (
    <main className="study" data-testid="study-page">
      <StudyHead study={study} about={about} state={state} onConsent={() => setConsent(true)} onWhoSees={() => setWhoSees(true)} onHelp={() => setHelp(true)} />
      <StudyFlags study={study} state={state} />
      {state.error !== null && <ErrorNote error={state.error} />}
      {state.refused !== null && (
        <div className="row">
          <div className="grow"><ErrorNote error={state.refused} /></div>
          <button type="button" onClick={state.dismiss}>Close</button>
        </div>
      )}
      <div className="study-body">
        <ImageArea
          study={study} findings={review.drawn} selected={review.selectedId} overlay={overlay}
          onOverlay={() => setOverlay(!overlay)} heat={heat} onHeat={() => setHeat(!heat)} focus={review.focus} picking={placing} controls={controls}
          onPick={(point) => review.pick(point, controls.current?.series() ?? null)} onPull={drawing ? review.pull : null}
        />
        <div className="side-tabs" role="group" aria-label="Beside the images">
          <button type="button" aria-pressed={tab === "findings"} onClick={() => setTab("findings")} data-testid="tab-findings">Findings</button>
          <button type="button" aria-pressed={tab === "report"} onClick={() => setTab("report")} data-testid="tab-report">Report</button>
        </div>
        <div className="study-side" data-shown={tab === "findings"}>
          <FindingList study={study} review={review} busy={state.busy} />
        </div>
        <div className="study-side" data-shown={tab === "report"}>
          <ReportPanel study={study} state={report} onSign={openSign} />
        </div>
      </div>
      {whoSees && <VisibilityDialog study={study} onChanged={() => void state.reload()} onClose={() => setWhoSees(false)} />}
      {consent && <ConsentDialog study={study} onClose={() => setConsent(false)} />}
      {help && <KeyHelp onClose={() => setHelp(false)} />}
      {signing && (
        <SignDialog
          study={study} state={report} deciding={state.busy} unsaved={drawing} onClose={() => setSigning(false)}
          onSigned={(signed) => { setSigning(false); report.show(signed); void state.reload(); }}
        />
      )}
    </main>
  );
}

const ARROWS: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Keys of what was begun: a number or letter is a reason, Enter places or saves, arrows move by 1 mm, Escape leaves. */
function modeKey(key: string, review: Review, images: ImageControls | null): boolean {
  const { mode } = review;
  if (mode.kind === "browse") return false;
  if (key === "Escape") {
    review.cancel();
    return true;
  }
  const reason = reasonOfKey(key);
  if (mode.kind === "reject" && reason && review.current) {
    void review.reject(review.current, reason.code, "");
    return true;
  }
  const centre = mode.kind === "place" && key === "Enter" ? images?.centre() : null;
  if (centre) {
    review.pick(centre, images?.series() ?? null);
    return true;
  }
  const arrow = ARROWS[key];
  const step = arrow && (mode.kind === "edit" || mode.kind === "add") ? images?.direction(...arrow) : null;
  if (step) {
    review.nudge(step);
    return true;
  }
  if (key === "Enter" && (mode.kind === "edit" || mode.kind === "add")) {
    void review.save();
    return true;
  }
  return false;
}

function findingKeys(review: Review, busy: boolean): Record<string, (() => void) | undefined> {
  const item = review.current;
  const steps = { j: () => review.step(1), k: () => review.step(-1) };
  if (busy || review.mode.kind !== "browse") return steps;
  return {
    ...steps,
    n: review.startAdd,
    f: () => void review.noFurther(),
    ...(item && {
      a: item.decision === "added" ? undefined : () => void review.accept(item),
      r: item.decision === "added" ? undefined : () => review.startReject(item),
      e: () => review.startEdit(item),
      u: () => void review.withdraw(item),
    }),
  };
}
