// The sums behind a chart of lines: scales, ticks, paths, labels that do not lie on each other. Pure.

export interface Scale {
  low: number;
  high: number;
  /** Pixels of `low` and `high`. */
  from: number;
  to: number;
}

export const at = (scale: Scale, value: number): number =>
  scale.from + ((value - scale.low) / (scale.high - scale.low || 1)) * (scale.to - scale.from);

/** Round numbers (1, 2, 5 times a power of ten) that cover `low` to `high` in about `wanted` steps. */
export function ticks(low: number, high: number, wanted = 5): number[] {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / wanted));
  const step = power * ([1, 2, 5, 10].find((n) => (power * n * wanted) >= span) ?? 10);
  const first = Math.floor(low / step);
  const last = Math.max(first + 1, Math.ceil(high / step));
  return Array.from({ length: last - first + 1 }, (_, n) => Number(((first + n) * step).toPrecision(12)));
}

export function path(xs: readonly number[], ys: readonly number[], x: Scale, y: Scale): string {
  return xs.map((one, n) => `${n ? "L" : "M"}${at(x, one).toFixed(1)} ${at(y, ys[n] ?? 0).toFixed(1)}`).join("");
}

/** Heights of labels near `wanted`, in their order from top to bottom, `gap` apart, above `bottom` as far as they fit. */
export function spread(wanted: readonly number[], gap: number, bottom: number): number[] {
  const order = wanted.map((height, n) => ({ height, n })).sort((a, b) => a.height - b.height || a.n - b.n);
  let last = -Infinity;
  for (const one of order) {
    one.height = Math.max(one.height, last + gap);
    last = one.height;
  }
  let limit = bottom;
  for (const one of order.reverse()) {
    one.height = Math.min(one.height, limit);
    limit = one.height - gap;
  }
  const placed = new Array<number>(wanted.length).fill(0);
  for (const one of order) placed[one.n] = one.height;
  return placed;
}
