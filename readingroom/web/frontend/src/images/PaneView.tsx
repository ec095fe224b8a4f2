import { Enums } from "@cornerstonejs/core";
import { type PointerEvent, useEffect, useRef, useState } from "react";
import type { Axis, Point3 } from "../api/types";
import { renderingEngine } from "./cornerstone";
import { HeatLayer } from "./HeatMap";
import { Overlay, type Shown } from "./Overlay";
import { Pane, type PaneKind, type Window } from "./pane";
import { type LoadedSeries, reasonOf, volumeOf } from "./series";
import type { PlacedMask } from "./useSegments";

const CLICK_TOLERANCE = 4;
const NAMES: Record<PaneKind, string> = { stack: "Axial", axial: "Axial", sagittal: "Sagittal", coronal: "Coronal" };

export interface PaneProps {
  kind: PaneKind;
  series: LoadedSeries;
  findings: readonly Shown[];
  masks: Map<string, PlacedMask>;
  overlay: boolean;
  heat: PlacedMask | null;
  heatOpacity: number;
  focus: { point: Point3; asked: number } | null;
  window: Window | null;
  picking: boolean;
  sliceThickness: number;
  failed: Map<string, string>;
  /** All images are there. */
  settled: boolean;
  onWindow: (window: Window) => void;
  onPick: (point: Point3) => void;
  onPull: ((role: Axis["role"], end: "start" | "end", point: Point3) => void) | null;
  onActive: (pane: Pane) => void;
}

/** One viewport with its overlay. A click without a drag picks a place; the mouse otherwise belongs to the engine. */
export function PaneView(props: PaneProps) {
  const { kind, series, focus, window: wanted, failed, onWindow, onActive } = props;
  const surface = useRef<HTMLDivElement>(null);
  const [pane, setPane] = useState<Pane | null>(null);
  const [, setDrawn] = useState(0);
  const [problem, setProblem] = useState("");
  const down = useRef<[number, number] | null>(null);
  const tellWindow = useRef(onWindow);
  tellWindow.current = onWindow;
  const tellActive = useRef(onActive);
  tellActive.current = onActive;
  const start = useRef({ focus, wanted });
  start.current = { focus, wanted };

  useEffect(() => {
    const element = surface.current;
    if (!element) return;
    let opened: Pane;
    let frame = 0;
    try {
      opened = new Pane(renderingEngine(), `pane-${kind}`, kind, element, series);
    } catch (error) {
      setProblem(`Images can't be drawn here: ${reasonOf(error)}.`);
      return;
    }
    const redraw = (): void => {
      if (!frame) frame = requestAnimationFrame(() => { frame = 0; setDrawn((n) => n + 1); });
    };
    const windowed = (): void => {
      const shown = opened.window();
      if (shown) tellWindow.current(shown);
    };
    element.addEventListener(Enums.Events.IMAGE_RENDERED, redraw);
    element.addEventListener(Enums.Events.STACK_NEW_IMAGE, redraw);
    element.addEventListener(Enums.Events.VOI_MODIFIED, windowed);
    const size = new ResizeObserver(() => opened.resize());
    size.observe(element);
    setPane(opened);
    if (kind === "stack" || kind === "axial") tellActive.current(opened);
    const show = kind === "stack" ? opened.showStack(Math.floor(series.imageIds.length / 2)) : volumeOf(series).then((id) => opened.showVolume(id));
    show
      .then(() => {
        if (start.current.wanted) opened.setWindow(start.current.wanted);
        if (start.current.focus) opened.jumpTo(start.current.focus.point);
        setProblem("");
        redraw();
      })
      .catch((error: unknown) => setProblem(`These images could not be shown: ${reasonOf(error)}.`));
    return () => {
      size.disconnect();
      cancelAnimationFrame(frame);
      element.removeEventListener(Enums.Events.IMAGE_RENDERED, redraw);
      element.removeEventListener(Enums.Events.STACK_NEW_IMAGE, redraw);
      element.removeEventListener(Enums.Events.VOI_MODIFIED, windowed);
      opened.close();
      setPane(null);
    };
  }, [kind, series]);

  useEffect(() => {
    if (pane && focus) pane.jumpTo(focus.point);
  }, [pane, focus]);
  useEffect(() => {
    if (pane && wanted && !same(pane.window(), wanted)) pane.setWindow(wanted);
  }, [pane, wanted]);

  // The engine sets a window of its own while a volume's images come in.
  const { settled } = props;
  useEffect(() => {
    if (pane && settled && start.current.wanted) pane.setWindow(start.current.wanted);
  }, [pane, settled]);

  const pick = (event: PointerEvent): void => {
    const from = down.current;
    down.current = null;
    if (!from || !pane || event.button !== 0 || event.shiftKey) return;
    if (Math.hypot(event.clientX - from[0], event.clientY - from[1]) > CLICK_TOLERANCE) return;
    const box = pane.element.getBoundingClientRect();
    const point = pane.toPatient(event.clientX - box.left, event.clientY - box.top);
    if (point) props.onPick(point);
  };

  const slice = pane?.slice() ?? null;
  const because = slice?.imageId ? failed.get(slice.imageId) : undefined;
  const primary = kind === "stack" || kind === "axial";
  return (
    <div className={props.picking ? "pane picking" : "pane"} data-testid={primary ? "viewport-axial" : `viewport-${kind}`}>
      <div
        ref={surface} className="surface" tabIndex={0} role="img" aria-label={`${NAMES[kind]} images`}
        onKeyDownCapture={(event) => {
          // The engine cancels every key pressed on it, Tab too, and would keep the focus for ever.
          if (!["Shift", "Control", "Alt", "Meta"].includes(event.key)) event.stopPropagation();
        }}
        onFocus={() => { if (pane) onActive(pane); }}
        onContextMenu={(event) => event.preventDefault()}
        onPointerDownCapture={(event) => { down.current = [event.clientX, event.clientY]; if (pane) onActive(pane); }}
        onPointerUpCapture={pick}
        onPointerEnter={() => { if (pane) onActive(pane); }}
      />
      {pane && props.heat && <HeatLayer pane={pane} heat={props.heat} opacity={props.heatOpacity} />}
      {pane && (
        <Overlay
          pane={pane} findings={props.findings} masks={props.masks} on={props.overlay} focus={focus?.point ?? null}
          crosshair={kind !== "stack"} sliceThickness={props.sliceThickness} onPull={props.onPull}
        />
      )}
      <div className="corner tl">{kind === "stack" ? "" : NAMES[kind]}</div>
      <div className="corner bl">
        {slice && <span data-testid={primary ? "slice-number" : `slice-number-${kind}`}>Slice {slice.number} / {slice.of}</span>}
      </div>
      <div className="corner br">
        {wanted && <span>C {Math.round(wanted.center)} W {Math.round(wanted.width)}</span>}
      </div>
      {(problem || because !== undefined) && (
        <div className="pane-note note bad" role="alert">{problem || `This image could not be loaded: ${because}.`}</div>
      )}
    </div>
  );
}

function same(a: Window | null, b: Window): boolean {
  return a !== null && Math.abs(a.center - b.center) < 0.5 && Math.abs(a.width - b.width) < 0.5;
}
