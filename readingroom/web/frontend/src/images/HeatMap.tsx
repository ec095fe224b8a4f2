import { useLayoutEffect, useRef } from "react";
import { ErrorNote } from "../components/ErrorNote";
import { add, scale } from "./geometry";
import { COLOURS, type Heat } from "./heat";
import { cutByPlane } from "./mask";
import type { Pane } from "./pane";
import type { PlacedMask } from "./useSegments";

/** The heat map where the plane of a pane cuts it, laid over the image. */
export function HeatLayer({ pane, heat, opacity }: { pane: Pane; heat: PlacedMask; opacity: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const plane = pane.plane();
  const found = plane && cutByPlane(heat.mask, heat.grid, plane.normal, plane.point);
  // Drawn each time the pane is: the box is small, and the pane tells when it has moved.
  useLayoutEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context || !found) return;
    const { width, height, data } = found.bitmap;
    const picture = context.createImageData(width, height);
    data.forEach((level, n) => picture.data.set([...(COLOURS[level] ?? [0, 0, 0]), 255], n * 4));
    context.putImageData(picture, 0, 0);
  });
  if (!found) return null;
  const { width, height } = found.bitmap;
  const corner = (u: number, v: number) => pane.toCanvas(add(found.start, add(scale(found.across, u - 0.5), scale(found.down, v - 0.5))));
  const [first, right, below] = [corner(0, 0), corner(width, 0), corner(0, height)];
  if (!first || !right || !below) return null;
  const [x, y] = first;
  const matrix = [(right[0] - x) / width, (right[1] - y) / width, (below[0] - x) / height, (below[1] - y) / height, x, y];
  return (
    <canvas
      ref={canvas} className="heat" width={width} height={height} aria-hidden="true" data-testid="heat-layer"
      style={{ transform: `matrix(${matrix.join(",")})`, opacity }}
    />
  );
}

/** What is shown, what its colours mean and what it is not. */
export function HeatLegend({ heat, ordinal, opacity, onOpacity }: {
  heat: Heat;
  ordinal: number;
  opacity: number;
  onOpacity: (value: number) => void;
}) {
  if (heat.error !== null) return <div className="heat-legend"><ErrorNote error={heat.error} /></div>;
  if (heat.none) return <div className="heat-legend muted" role="status" data-testid="heat-none">{heat.none}</div>;
  if (heat.loading) return <div className="heat-legend muted" role="status">Loading the heat map…</div>;
  return (
    <div className="heat-legend" role="group" aria-label="Heat map" data-testid="heat-legend">
      <strong>Where the network looked for finding {ordinal}; not where the finding is.</strong>
      <span className="scale-bar">counted least <Ramp /> counted most</span>
      <label>
        Opacity{" "}
        <input
          type="range" min={0.1} max={1} step={0.05} value={opacity} data-testid="heat-opacity"
          onChange={(event) => onOpacity(Number(event.target.value))}
        />
        <span className="number"> {Math.round(opacity * 100)}%</span>
      </label>
      <span className="muted">Colours: viridis, over the box of the finding's outline; nothing is known outside it.</span>
    </div>
  );
}

const STEPS = 32;

function Ramp() {
  return (
    <svg viewBox={`0 0 ${STEPS} 4`} preserveAspectRatio="none" role="img" aria-label="dark violet for least, through green, to yellow for most">
      {Array.from({ length: STEPS }, (_, n) => (
        <rect key={n} x={n} y={0} width={1.05} height={4} fill={`rgb(${(COLOURS[Math.round((n * 255) / (STEPS - 1))] ?? []).join(",")})`} />
      ))}
    </svg>
  );
}
