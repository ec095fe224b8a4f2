// The map of abnormality: a drawn brain with each region in the colour of its z, numbers where it is far from the norm.

import { type KeyboardEvent, useId } from "react";
import type { Region } from "../api/norms";
import { type Blob, DEEP, type Drawing, drawing, HEIGHT, LATERAL, MEDIAL, MIDDLE, NONE, OUTLINE, path, WIDTH } from "./brain";
import { colour, FAR, ink, signed, worse } from "./scale";

const LATERAL_DRAWN = drawing(LATERAL);
const MEDIAL_DRAWN = drawing(MEDIAL);

export type Measure = "thickness" | "volume";

interface Shown {
  regions: Map<string, Region>;
  selected: string;
  onSelect: (name: string) => void;
}

export function BrainMap({ measure, ...shown }: Shown & { measure: Measure }) {
  const name = (side: "lh" | "rh") => (region: string): string => `${side}_${region}_${measure}`;
  return (
    <div className="brain-map" data-testid="brain-map">
      <Hemisphere title="Left, from outside" drawn={LATERAL_DRAWN} mirrored={false} nameOf={name("lh")} {...shown} />
      <Hemisphere title="Right, from outside" drawn={LATERAL_DRAWN} mirrored nameOf={name("rh")} {...shown} />
      <Hemisphere title="Left, from the middle" drawn={MEDIAL_DRAWN} mirrored nameOf={name("lh")} {...shown} />
      <Hemisphere title="Right, from the middle" drawn={MEDIAL_DRAWN} mirrored={false} nameOf={name("rh")} {...shown} />
      <Deep {...shown} />
      <Legend />
    </div>
  );
}

/** Arrow keys go from region to region: one stop of the Tab key a view. */
function keys(names: string[], { selected, onSelect }: Shown) {
  return (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step || !names.length) return;
    event.preventDefault();
    const at = names.indexOf(selected);
    const next = names[at < 0 ? 0 : (at + step + names.length) % names.length];
    if (next) onSelect(next);
  };
}

const said = (region: Region | undefined, name: string): string => (region ? `${region.words}: z ${signed(region.z)}` : `${name}: no z`);

function Hemisphere({ title, drawn, mirrored, nameOf, ...shown }: Shown & {
  title: string;
  drawn: Drawing;
  mirrored: boolean;
  nameOf: (region: string) => string;
}) {
  const clip = useId();
  const { regions, selected, onSelect } = shown;
  const names = Object.keys(drawn.middle).filter((one) => one !== NONE).map(nameOf).filter((one) => regions.has(one));
  const at = (x: number): number => (mirrored ? WIDTH - x : x);
  return (
    <figure>
      <figcaption>{title}</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label={`${title}. Arrow keys go through ${names.length} regions.`} tabIndex={0} onKeyDown={keys(names, shown)}>
        <clipPath id={clip}><path d={OUTLINE} /></clipPath>
        <g transform={mirrored ? `translate(${WIDTH} 0) scale(-1 1)` : undefined}>
          <g clipPath={`url(#${clip})`}>
            {drawn.cells.map((cell, index) => {
              const name = nameOf(cell.region);
              const region = cell.region === NONE ? undefined : regions.get(name);
              const fill = region ? colour(worse(region)) : "#1a232a";
              return (
                <path
                  key={index} d={path(cell.corners)} fill={fill} stroke={fill} className={region ? "region" : undefined}
                  onClick={region && (() => onSelect(name))} data-region={region ? name : undefined}
                >
                  {cell.region !== NONE && <title>{said(region, cell.region)}</title>}
                </path>
              );
            })}
            {drawn.borders.map(([from, to], index) => <line key={index} x1={from[0]} y1={from[1]} x2={to[0]} y2={to[1]} className="border" />)}
            {drawn.cells.filter((cell) => cell.region !== NONE && nameOf(cell.region) === selected).map((cell, index) => (
              <path key={index} d={path(cell.corners)} className="chosen" />
            ))}
          </g>
          <path d={OUTLINE} className="outline" />
        </g>
        {Object.entries(drawn.middle).map(([one, [x, y]]) => <Number key={one} region={one === NONE ? undefined : regions.get(nameOf(one))} x={at(x)} y={y} />)}
      </svg>
    </figure>
  );
}

function Number({ region, x, y }: { region: Region | undefined; x: number; y: number }) {
  if (!region || Math.abs(region.z) < FAR) return null;
  return <text x={x} y={y + 4} fill={ink(worse(region))} className="z">{signed(region.z)}</text>;
}

function Deep(shown: Shown) {
  const { regions } = shown;
  const blobs = [
    ...DEEP.map((one) => ({ ...one, name: `Left-${one.name}`, x: WIDTH / 2 - one.x, turn: -(one.turn ?? 0) })),
    ...DEEP.map((one) => ({ ...one, name: `Right-${one.name}`, x: WIDTH / 2 + one.x })),
    ...MIDDLE.map((one) => ({ ...one, x: WIDTH / 2 })),
  ];
  const names = blobs.map((one) => one.name).filter((one) => regions.has(one));
  return (
    <figure>
      <figcaption>Deep structures, left on the left: volumes</figcaption>
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label={`Deep structures. Arrow keys go through ${names.length} of them.`} tabIndex={0} onKeyDown={keys(names, shown)}>
        {blobs.map((one) => <Structure key={one.name} blob={one} {...shown} />)}
      </svg>
    </figure>
  );
}

function Structure({ blob, regions, selected, onSelect }: Shown & { blob: Blob }) {
  const region = regions.get(blob.name);
  const choose = region && (() => onSelect(blob.name));
  return (
    <g className={region ? "region" : undefined} onClick={choose} data-region={region ? blob.name : undefined}>
      <ellipse
        cx={blob.x} cy={blob.y} rx={blob.rx} ry={blob.ry} fill={region ? colour(worse(region)) : "#1a232a"}
        className={selected === blob.name ? "structure chosen" : "structure"} transform={`rotate(${blob.turn ?? 0} ${blob.x} ${blob.y})`}
      />
      <title>{said(region, blob.name)}</title>
      <Number region={region} x={blob.x} y={blob.y} />
    </g>
  );
}

function Legend() {
  const steps = [3, 2, 1, 0, -1, -2, -3];
  return (
    <div className="brain-legend" data-testid="brain-legend">
      <span>smaller, thinner; ventricles larger</span>
      <svg viewBox="0 0 210 34" aria-hidden="true">
        {steps.map((step, index) => (
          <g key={step}>
            <rect x={index * 30} y={0} width={30} height={16} fill={colour(step)} />
            <text x={index * 30 + 15} y={30} className="tick">{Math.abs(step)}{Math.abs(step) === 3 ? "+" : ""}</text>
          </g>
        ))}
      </svg>
      <span>the other way</span>
      <span className="muted">Standard deviations from controls of this age, sex and head size. Numbers: outside the 95 % band. Dark: no z.</span>
    </div>
  );
}
