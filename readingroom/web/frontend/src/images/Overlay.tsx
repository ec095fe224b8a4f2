// What is drawn over an image: outlines, marks and axes of findings, crosshair, letters of the patient's directions,
// scale. Drawn as SVG from places in the patient, so that it holds in a stack and in every plane.

import type { PointerEvent } from "react";
import type { Axis, Point3, StudyFinding } from "../api/types";
import { axisOf, positionOf } from "../study/drafts";
import { distance, dot, orientationLetters, scaleBar, subtract } from "./geometry";
import { outlinesOnPlane } from "./mask";
import type { Pane } from "./pane";
import type { PlacedMask } from "./useSegments";

export interface Shown {
  item: StudyFinding;
  ordinal: number;
  selected: boolean;
}

interface Props {
  pane: Pane;
  findings: readonly Shown[];
  masks: Map<string, PlacedMask>;
  on: boolean;
  focus: Point3 | null;
  crosshair: boolean;
  sliceThickness: number;
  onPull: ((role: Axis["role"], end: "start" | "end", point: Point3) => void) | null;
}

type Xy = [number, number];

export function Overlay(props: Props) {
  const { pane, findings, on, focus, crosshair } = props;
  const plane = pane.plane();
  const width = pane.element.clientWidth;
  const height = pane.element.clientHeight;
  if (!plane || !width) return <svg className="overlay" aria-hidden="true" />;
  const cross = focus && crosshair ? pane.toCanvas(focus) : null;
  return (
    <svg className="overlay" aria-hidden="true">
      {cross && (
        <g className="crosshair">
          <path d={`M${cross[0]} 0V${cross[1] - 12}M${cross[0]} ${cross[1] + 12}V${height}`} />
          <path d={`M0 ${cross[1]}H${cross[0] - 12}M${cross[0] + 12} ${cross[1]}H${width}`} />
        </g>
      )}
      {on && findings.map((shown) => <FindingMarks key={shown.item.finding.id} {...props} shown={shown} plane={plane} />)}
      <Letters pane={pane} width={width} height={height} />
      <Scale pane={pane} height={height} />
    </svg>
  );
}

function FindingMarks({ pane, masks, shown, plane, sliceThickness, onPull }: Props & {
  shown: Shown;
  plane: { normal: Point3; point: Point3 };
}) {
  const { item, ordinal, selected } = shown;
  const centre = positionOf(item.finding);
  if (!centre) return null;
  const off = (point: Point3): number => Math.abs(dot(subtract(point, plane.point), plane.normal));
  const placed = item.segment_url && item.finding.segment ? masks.get(item.segment_url) : undefined;
  const loops = placed ? outlinesOnPlane(placed.mask, placed.grid, plane.normal, plane.point) : [];
  const nearCentre = off(centre) <= sliceThickness / 2 + 0.01;
  const at = pane.toCanvas(centre);
  if (!at || (loops.length === 0 && !nearCentre)) return null;
  const path = loops
    .map((loop) => `M${loop.map((point) => pane.toCanvas(point)?.map((n) => n.toFixed(1)).join(" ")).join("L")}Z`)
    .join("");
  const decision = item.decision === "edited" || item.decision === "added" ? "accepted" : item.decision;
  const [x, y] = at;
  return (
    <g className={`${decision} ${selected ? "selected" : ""}`} data-testid="overlay-finding">
      {path && <path className="outline" d={path} />}
      {(nearCentre || onPull) && (selected || !path) && <path className="mark" d={`M${x - 14} ${y}h8M${x + 6} ${y}h8M${x} ${y - 14}v8M${x} ${y + 6}v8`} />}
      {selected && item.finding.axes.map((axis) => <AxisLine key={axis.role} pane={pane} axis={axis} off={off} tolerance={sliceThickness} />)}
      {selected && onPull && (["long", "short"] as const).map((role) => {
        const axis = axisOf(item.finding, role);
        if (!axis || off(axis.start_lps_mm) > sliceThickness || off(axis.end_lps_mm) > sliceThickness) return null;
        return (["start", "end"] as const).map((end) => (
          <Handle key={role + end} pane={pane} point={end === "start" ? axis.start_lps_mm : axis.end_lps_mm} onPull={(point) => onPull(role, end, point)} />
        ));
      })}
      <text className="ordinal" x={x + 16} y={y - 10}>{ordinal}</text>
    </g>
  );
}

function AxisLine({ pane, axis, off, tolerance }: {
  pane: Pane;
  axis: Axis;
  off: (point: Point3) => number;
  tolerance: number;
}) {
  if (off(axis.start_lps_mm) > tolerance || off(axis.end_lps_mm) > tolerance) return null;
  const a = pane.toCanvas(axis.start_lps_mm);
  const b = pane.toCanvas(axis.end_lps_mm);
  return a && b ? <line className={`axis ${axis.role}`} x1={a[0]} y1={a[1]} x2={b[0]} y2={b[1]} /> : null;
}

function Handle({ pane, point, onPull }: { pane: Pane; point: Point3; onPull: (point: Point3) => void }) {
  const at = pane.toCanvas(point);
  if (!at) return null;
  const move = (event: PointerEvent<SVGCircleElement>): void => {
    event.stopPropagation();
    if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
    const box = pane.element.getBoundingClientRect();
    const to = pane.toPatient(event.clientX - box.left, event.clientY - box.top);
    if (to) onPull(to);
  };
  return (
    <circle
      className="handle" cx={at[0]} cy={at[1]} r={4} onPointerMove={move}
      onPointerDown={(event) => { event.stopPropagation(); event.currentTarget.setPointerCapture(event.pointerId); }}
      onPointerUp={(event) => { event.stopPropagation(); event.currentTarget.releasePointerCapture(event.pointerId); }}
    />
  );
}

function Letters({ pane, width, height }: { pane: Pane; width: number; height: number }) {
  const ends: [Xy, Xy][] = [
    [[width - 12, height / 2], [12, height / 2]],
    [[12, height / 2], [width - 12, height / 2]],
    [[width / 2, height - 12], [width / 2, 12]],
    [[width / 2, 12], [width / 2, height - 12]],
  ];
  return ends.map(([here, there]) => {
    const a = pane.toPatient(...here);
    const b = pane.toPatient(...there);
    if (!a || !b) return null;
    return <text key={here.join()} className="letter" x={here[0]} y={here[1]}>{orientationLetters(subtract(a, b))}</text>;
  });
}

function Scale({ pane, height }: { pane: Pane; height: number }) {
  const a = pane.toPatient(0, 0);
  const b = pane.toPatient(100, 0);
  const mmPerPixel = a && b ? distance(a, b) / 100 : 0;
  const length = scaleBar(mmPerPixel, 120);
  if (!length) return null;
  const pixels = length / mmPerPixel;
  const y = height - 46;
  return (
    <g>
      <path className="scale" d={`M10 ${y - 4}v8M10 ${y}h${pixels}M${10 + pixels} ${y - 4}v8`} />
      <text className="scale-text" x={14 + pixels} y={y + 4}>{length >= 10 ? `${length / 10} cm` : `${length} mm`}</text>
    </g>
  );
}
