// The images: which series, one stack or three planes, windows, loading, and the panes.

import { type RefObject, useEffect, useImperativeHandle, useMemo, useRef, useState } from "react";
import type { Axis, Point3, Study, StudyFinding } from "../api/types";
import { ErrorNote } from "../components/ErrorNote";
import { distance } from "./geometry";
import { hasHeat, OPACITY, useHeatMap } from "./heat";
import { HeatLegend } from "./HeatMap";
import type { Shown } from "./Overlay";
import type { Pane, Window } from "./pane";
import { PaneView } from "./PaneView";
import { firstSeries, firstWindow, PRESETS } from "./presets";
import { type LoadedSeries, type Loading, loadSeries, prefetch } from "./series";
import { useSegments } from "./useSegments";

/** What the page's keys ask of the images. */
export interface ImageControls {
  preset: (index: number) => void;
  scroll: (delta: number) => void;
  toggleLayout: () => void;
  reset: () => void;
  centre: () => Point3 | null;
  direction: (right: number, down: number) => Point3 | null;
  series: () => LoadedSeries | null;
}

interface Props {
  study: Study;
  findings: readonly StudyFinding[];
  selected: string | null;
  overlay: boolean;
  onOverlay: () => void;
  /** Whether the chosen finding's heat map is wanted. */
  heat: boolean;
  onHeat: () => void;
  focus: { point: Point3; asked: number } | null;
  picking: boolean;
  onPick: (point: Point3) => void;
  onPull: ((role: Axis["role"], end: "start" | "end", point: Point3) => void) | null;
  controls: RefObject<ImageControls | null>;
}

export function ImageArea(props: Props) {
  const { study, findings, selected, controls } = props;
  const read = useMemo(
    () => new Set(findings.map((item) => item.finding.series_instance_uid).filter(Boolean)),
    [findings],
  );
  const [chosen, setChosen] = useState<string | null>(null);
  const shownSeries = study.series.find((one) => one.SeriesInstanceUID === chosen) ?? firstSeries(study.series, read);
  const uid = shownSeries?.SeriesInstanceUID ?? null;
  const order = shownSeries?.images.map((image) => image.SOPInstanceUID).join("\n") ?? "";
  const [series, setSeries] = useState<LoadedSeries | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [attempt, setAttempt] = useState(0);
  const [loading, setLoading] = useState<Loading | null>(null);
  const [planes, setPlanes] = useState(false);
  const [voi, setVoi] = useState<Window | null>(null);
  const active = useRef<Pane | null>(null);

  useEffect(() => {
    if (chosen === null && uid) setChosen(uid);
  }, [chosen, uid]);

  useEffect(() => {
    if (!uid || !shownSeries) return;
    let stop: () => void = () => undefined;
    let left = false;
    setSeries(null);
    setLoading(null);
    setError(null);
    loadSeries(study.StudyInstanceUID, uid, order.split("\n")).then(
      (loaded) => {
        if (left) return;
        setVoi(firstWindow(shownSeries));
        setSeries(loaded);
        if (loaded.noPlanesBecause) setPlanes(false);
        stop = prefetch(loaded, Math.floor(loaded.imageIds.length / 2), setLoading);
      },
      (problem: unknown) => { if (!left) setError(problem); },
    );
    return () => {
      left = true;
      stop();
    };
    // A series is loaded anew when it is another one or its images change; its other facts don't matter here.
  }, [study.StudyInstanceUID, uid, order, attempt]);

  const mayCut = series !== null && series.noPlanesBecause === "";
  useImperativeHandle(controls, () => ({
    preset: (index) => { const preset = PRESETS[index]; if (preset) setVoi({ center: preset.center, width: preset.width }); },
    scroll: (delta) => active.current?.scroll(delta),
    toggleLayout: () => { if (mayCut) setPlanes((now) => !now); },
    reset: () => active.current?.reset(),
    centre: () => active.current?.centre() ?? null,
    direction: (right, down) => active.current?.direction(right, down) ?? null,
    series: () => series,
  }), [series, mayCut]);

  const settled = loading !== null && loading.done + loading.failed.size === loading.total;
  const masks = useSegments(findings, series);
  const shown: Shown[] = useMemo(
    () => findings
      .map((item, index) => ({ item, ordinal: index + 1, selected: item.finding.id === selected }))
      .filter(({ item }) => !item.finding.series_instance_uid || item.finding.series_instance_uid === uid),
    [findings, selected, uid],
  );
  const chosenItem = findings.find((item) => item.finding.id === selected) ?? null;
  const heat = useHeatMap(chosenItem, props.heat, series);
  const [heatOpacity, setHeatOpacity] = useState(OPACITY);
  const sliceThickness = useMemo(() => spacingOf(series), [series]);

  return (
    <section className="image-area" aria-label="Images">
      <div className="image-tools">
        <SeriesChoice study={study} uid={uid} onChoose={setChosen} />
        <button
          type="button" aria-pressed={planes} disabled={!mayCut} onClick={() => setPlanes(!planes)} data-testid="toggle-planes"
          title={mayCut ? "One stack or three planes" : `No planes: ${series?.noPlanesBecause ?? "loading"}`}
        >
          Three planes <kbd>m</kbd>
        </button>
        <span className="gap" />
        {PRESETS.map((preset, index) => (
          <button
            key={preset.name} type="button" aria-pressed={voi?.center === preset.center && voi.width === preset.width}
            onClick={() => setVoi({ center: preset.center, width: preset.width })}
          >
            {preset.name} <kbd>{index + 1}</kbd>
          </button>
        ))}
        <span className="gap" />
        <button type="button" aria-pressed={props.overlay} onClick={props.onOverlay} data-testid="toggle-overlay">Overlay <kbd>o</kbd></button>
        {hasHeat(findings) && (
          <button
            type="button" aria-pressed={props.heat} onClick={props.onHeat} data-testid="toggle-heat"
            title="Where the network looked for the chosen finding; not where the finding is"
          >
            Heat map <kbd>h</kbd>
          </button>
        )}
      </div>
      {props.heat && (
        <HeatLegend heat={heat} ordinal={chosenItem ? findings.indexOf(chosenItem) + 1 : 0} opacity={heatOpacity} onOpacity={setHeatOpacity} />
      )}
      {error !== null && <ErrorNote error={error} onRetry={() => setAttempt(attempt + 1)} />}
      {!uid && <div className="note info" role="status">No images to show yet.</div>}
      <div className="panes-frame">
        <LoadState loading={loading} waiting={uid !== null && error === null} />
        {series && <div className={planes ? "panes planes" : "panes stack"}>
          {(planes ? (["axial", "sagittal", "coronal"] as const) : (["stack"] as const)).map((kind) => (
            <PaneView
              key={kind} kind={kind} series={series} findings={shown} masks={masks} overlay={props.overlay}
              heat={heat.placed} heatOpacity={heatOpacity} focus={props.focus}
              window={voi} picking={props.picking} sliceThickness={kind === "stack" || kind === "axial" ? sliceThickness : 1.5}
              failed={loading?.failed ?? NONE} settled={settled} onWindow={setVoi} onPick={props.onPick} onPull={props.onPull}
              onActive={(pane) => { active.current = pane; }}
            />
          ))}
        </div>}
      </div>
    </section>
  );
}

const NONE: Map<string, string> = new Map();

function spacingOf(series: LoadedSeries | null): number {
  const [first, second] = [series?.planes[0], series?.planes[1]];
  return first && second ? Math.max(0.5, distance(first.position, second.position)) : 1;
}

function SeriesChoice({ study, uid, onChoose }: { study: Study; uid: string | null; onChoose: (uid: string) => void }) {
  return (
    <select aria-label="Series" value={uid ?? ""} onChange={(event) => { onChoose(event.target.value); event.target.blur(); }} data-testid="series-choice">
      {uid === null && <option value="">No series</option>}
      {study.series.filter((one) => one.images.length > 0).map((one) => (
        <option key={one.SeriesInstanceUID} value={one.SeriesInstanceUID}>
          {[one.SeriesNumber, one.Modality, one.SeriesDescription].filter(Boolean).join(" ")} ({one.images.length})
        </option>
      ))}
    </select>
  );
}

function LoadState({ loading, waiting }: { loading: Loading | null; waiting: boolean }) {
  if (!loading) return waiting ? <span className="image-load" role="status">Loading images…</span> : null;
  const left = loading.total - loading.done - loading.failed.size;
  return (
    <span className="image-load number" data-testid="image-load" data-left={left}>
      {left > 0 && (
        <>
          <progress value={loading.done} max={loading.total} aria-label="Images loaded" />
          {loading.done} / {loading.total} images
        </>
      )}
      {loading.failed.size > 0 && (
        <span className="chip bad" role="alert">✕ {loading.failed.size} of {loading.total} images could not be loaded</span>
      )}
    </span>
  );
}
