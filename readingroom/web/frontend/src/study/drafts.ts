// Changing a finding before it is sent as a verdict. Pure: each function returns a new finding. Points are LPS mm.

import type { Axis, Code, Finding, Measurement, Point3, SideValue } from "../api/types";
import { add, distance, scale, subtract, unit } from "../images/geometry";
import { code, sameCode } from "./codes";

export const positionOf = (finding: Finding): Point3 | null =>
  finding.place.type === "patient" ? finding.place.position_lps_mm : null;

const AXIS_CODES: Record<Axis["role"], Code> = { long: code("long-axis"), short: code("short-axis") };

export function axisOf(finding: Finding, role: Axis["role"]): Axis | undefined {
  return finding.axes.find((axis) => axis.role === role);
}

const axisLength = (axis: Axis): number => distance(axis.start_lps_mm, axis.end_lps_mm);
const round = (value: number): number => Math.round(value * 10) / 10;

/** Put the finding elsewhere, its axes with it. A segment drawn at the old place no longer belongs to it. */
export function moveTo(finding: Finding, point: Point3): Finding {
  if (finding.place.type !== "patient") return finding;
  const by = subtract(point, finding.place.position_lps_mm);
  return {
    ...finding,
    place: { ...finding.place, position_lps_mm: point },
    axes: finding.axes.map((axis) => ({
      ...axis,
      start_lps_mm: add(axis.start_lps_mm, by),
      end_lps_mm: add(axis.end_lps_mm, by),
    })),
    segment: "",
  };
}

function withAxis(finding: Finding, changed: Axis): Finding {
  const length = round(axisLength(changed));
  return {
    ...finding,
    axes: finding.axes.map((axis) => (axis.role === changed.role ? changed : axis)),
    measurements: finding.measurements.map((measurement) =>
      sameCode(measurement.code, AXIS_CODES[changed.role]) ? { ...measurement, value: length } : measurement,
    ),
  };
}

/** Give an axis another length about its middle. */
export function resize(finding: Finding, role: Axis["role"], millimetres: number): Finding {
  const axis = axisOf(finding, role);
  if (!axis || !(millimetres > 0)) return finding;
  const middle = scale(add(axis.start_lps_mm, axis.end_lps_mm), 0.5);
  const half = scale(unit(subtract(axis.end_lps_mm, axis.start_lps_mm)), millimetres / 2);
  return withAxis(finding, { ...axis, start_lps_mm: subtract(middle, half), end_lps_mm: add(middle, half) });
}

/** Pull one end of an axis to another point. */
export function pullEnd(finding: Finding, role: Axis["role"], end: "start" | "end", point: Point3): Finding {
  const axis = axisOf(finding, role);
  if (!axis) return finding;
  return withAxis(finding, end === "start" ? { ...axis, start_lps_mm: point } : { ...axis, end_lps_mm: point });
}

/** Correct a measure; an axis follows its length. */
export function measure(finding: Finding, index: number, value: number): Finding {
  const old = finding.measurements[index];
  if (!old || !Number.isFinite(value)) return finding;
  const measurements = finding.measurements.map((one, n) => (n === index ? { ...one, value } : one));
  const changed = { ...finding, measurements };
  for (const role of ["long", "short"] as const) {
    if (sameCode(old.code, AXIS_CODES[role]) && value > 0) {
      const resized = resize(changed, role, value);
      return { ...resized, measurements };
    }
  }
  return changed;
}

/** A person's word on the side replaces the witnesses. */
export function withSide(finding: Finding, value: SideValue): Finding {
  return { ...finding, side: value ? { value, witnesses: [], agree: true } : null };
}

function newId(): string {
  const random = crypto.getRandomValues(new Uint8Array(16));
  return [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function length(role: Axis["role"], value: number): Measurement {
  return { code: AXIS_CODES[role], value, unit: code("mm"), method: "" };
}

/** A finding of a person's own, with axes along the image's rows and columns. */
export function newFinding(
  at: { point: Point3; alongRow: Point3; alongColumn: Point3; frameOfReferenceUid: string; seriesInstanceUid: string },
  type: { code: Code; site: Code | null },
  millimetres: number,
): Finding {
  const axis = (role: Axis["role"], direction: Point3): Axis => {
    const half = scale(unit(direction), millimetres / 2);
    return { role, start_lps_mm: subtract(at.point, half), end_lps_mm: add(at.point, half) };
  };
  return {
    id: newId(),
    code: type.code,
    place: { type: "patient", frame_of_reference_uid: at.frameOfReferenceUid, position_lps_mm: at.point },
    probability: null,
    measurements: [length("long", millimetres), length("short", millimetres)],
    characteristics: [],
    assessments: [],
    earlier: [],
    axes: [axis("long", at.alongRow), axis("short", at.alongColumn)],
    side: null,
    site: type.site,
    evidence: { contributions: [], rule: "", heat_map: "", similar: [], notes: [] },
    segment: "",
    series_instance_uid: at.seriesInstanceUid,
    tracking_id: "",
    tracking_uid: "",
    comment: "",
  };
}
