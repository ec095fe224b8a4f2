// Percentiles of healthy people over age for one region, and where this person stands.

import { useEffect, useState } from "react";
import { norms, type Curve, type Region } from "../api/norms";
import { ErrorNote } from "../components/ErrorNote";
import { valueText } from "./scale";

const WIDTH = 460;
const HEIGHT = 230;
const [LEFT, RIGHT, TOP, BOTTOM] = [62, 44, 12, 30];

export function NormCurve({ region, sex, age, headMl }: { region: Region; sex: "F" | "M"; age: number; headMl: number | null }) {
  const [curve, setCurve] = useState<Curve | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    let wanted = true;
    setError(null);
    norms.curve(region.name, sex, headMl).then((found) => { if (wanted) setCurve(found); }, (failed) => { if (wanted) setError(failed); });
    return () => { wanted = false; };
  }, [region.name, sex, headMl]);
  if (error !== null) return <ErrorNote error={error} />;
  if (!curve || curve.name !== region.name) return <p className="muted" role="status">Loading the curve…</p>;
  return <Chart curve={curve} value={region.value} age={age} />;
}

function Chart({ curve, value, age }: { curve: Curve; value: number; age: number }) {
  const { ages, percentiles: of } = curve;
  const every = [...(of["2.5"] ?? []), ...(of["97.5"] ?? []), value];
  const [low, high] = [Math.min(...every), Math.max(...every)];
  const air = (high - low) * 0.06;
  const [first, last] = [ages[0] ?? 0, ages.at(-1) ?? 1];
  const x = (year: number): number => LEFT + ((year - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (one: number): number => TOP + ((high + air - one) / (high - low + 2 * air)) * (HEIGHT - TOP - BOTTOM);
  const line = (values: number[] = []): string => values.map((one, index) => `${index ? "L" : "M"}${x(ages[index] ?? first).toFixed(1)},${y(one).toFixed(1)}`).join("");
  const band = (lower: number[] = [], upper: number[] = []): string =>
    `${line(lower)}L${[...upper].reverse().map((one, index) => `${x(ages[upper.length - 1 - index] ?? first).toFixed(1)},${y(one).toFixed(1)}`).join("L")}Z`;
  const decades = ages.filter((year) => year % 10 === 0);
  const heights = [0, 1, 2, 3].map((step) => low + (step / 3) * (high - low));
  return (
    <figure className="norm-curve" data-testid="norm-curve">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${curve.words} by age; this person at ${age} years has ${valueText(value, curve.unit)}`}>
        <path d={band(of["2.5"], of["97.5"])} className="wide" />
        <path d={band(of["25"], of["75"])} className="narrow" />
        <path d={line(of["50"])} className="median" />
        {decades.map((year) => <text key={year} x={x(year)} y={HEIGHT - 12} className="tick">{year}</text>)}
        {heights.map((one) => <text key={one} x={LEFT - 6} y={y(one) + 4} className="tick end">{valueText(one, curve.unit)}</text>)}
        {["2.5", "50", "97.5"].map((name) => <text key={name} x={WIDTH - RIGHT + 4} y={y(of[name]?.at(-1) ?? low) + 4} className="tick start">{name} %</text>)}
        <line x1={x(age)} x2={x(age)} y1={TOP} y2={HEIGHT - BOTTOM} className="here" />
        <circle cx={x(age)} cy={y(value)} r={5.5} className="person" />
      </svg>
      <figcaption className="muted">
        {curve.words} by age in years, same sex{curve.unit === "mm3" ? " and head size" : ""}: {curve.controls} people of {curve.source}. Bands: 2.5 to 97.5 and 25 to 75 percent of them.
      </figcaption>
    </figure>
  );
}
