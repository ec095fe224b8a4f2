// A drawn brain, nobody's: where regions lie in it. Cells are nearest to their region's points (Voronoi); a clip makes
// them a brain. Front is left; the other hemisphere is the mirror image. Pure; tested in tests/norms.test.ts.

export type Point = readonly [number, number];

export interface Cell {
  region: string;
  corners: Point[];
}

export interface Drawing {
  cells: Cell[];
  /** Lines between different regions. */
  borders: [Point, Point][];
  /** Where a region's number stands. */
  middle: Record<string, Point>;
}

export const WIDTH = 400;
export const HEIGHT = 280;
/** No cortex: corpus callosum and what lies below it. */
export const NONE = "";

export const LATERAL: Record<string, Point[]> = {
  frontalpole: [[22, 146]],
  rostralmiddlefrontal: [[66, 112], [50, 136]],
  caudalmiddlefrontal: [[132, 82]],
  superiorfrontal: [[60, 78], [100, 50], [150, 34]],
  parsopercularis: [[136, 138]],
  parstriangularis: [[102, 150]],
  parsorbitalis: [[76, 168]],
  lateralorbitofrontal: [[48, 178], [78, 192]],
  precentral: [[186, 46], [176, 90], [164, 126]],
  postcentral: [[220, 52], [208, 96], [196, 134]],
  superiorparietal: [[262, 56], [302, 78]],
  supramarginal: [[238, 118], [234, 146]],
  inferiorparietal: [[290, 118], [298, 148]],
  lateraloccipital: [[346, 126], [362, 160], [344, 192]],
  insula: [[146, 168]],
  transversetemporal: [[196, 164]],
  superiortemporal: [[122, 204], [162, 192], [212, 182]],
  bankssts: [[258, 176]],
  temporalpole: [[98, 226]],
  middletemporal: [[140, 224], [190, 212], [244, 204], [286, 186]],
  inferiortemporal: [[152, 250], [206, 242], [262, 230], [304, 214]],
};

export const MEDIAL: Record<string, Point[]> = {
  frontalpole: [[22, 146]],
  superiorfrontal: [[54, 92], [96, 56], [146, 38]],
  paracentral: [[204, 50]],
  precuneus: [[260, 66], [282, 98]],
  superiorparietal: [[308, 66]],
  cuneus: [[330, 116]],
  pericalcarine: [[322, 146]],
  lingual: [[322, 178], [284, 184]],
  lateraloccipital: [[374, 160]],
  caudalanteriorcingulate: [[138, 88]],
  rostralanteriorcingulate: [[90, 122]],
  posteriorcingulate: [[198, 90]],
  isthmuscingulate: [[244, 126]],
  medialorbitofrontal: [[56, 168], [86, 176]],
  parahippocampal: [[206, 194], [236, 182]],
  entorhinal: [[156, 210]],
  temporalpole: [[106, 228]],
  fusiform: [[206, 226], [256, 212]],
  inferiortemporal: [[170, 250], [236, 244]],
  [NONE]: [[132, 122], [168, 118], [204, 126], [150, 158], [190, 158], [216, 150]],
};

/** The edge of a hemisphere, seen from either side. */
export const OUTLINE =
  "M20,150 C16,108 46,66 96,40 C150,14 226,12 284,42 C340,70 382,116 382,162 C382,196 356,214 318,222 "
  + "C286,232 262,244 224,254 C186,266 136,270 110,252 C90,240 86,222 96,206 C78,208 44,202 32,186 C22,174 20,162 20,150 Z";

/** Cells of each region's points within the box, and the lines between regions. */
export function drawing(points: Record<string, Point[]>): Drawing {
  const seeds = Object.entries(points).flatMap(([region, places]) => places.map((place) => ({ region, place })));
  const cells: Cell[] = [];
  const borders: [Point, Point][] = [];
  for (const seed of seeds) {
    let corners: Corner[] = BOX;
    for (const other of seeds) if (other !== seed) corners = nearer(corners, seed.place, other.place, other.region);
    cells.push({ region: seed.region, corners: corners.map((corner) => corner.at) });
    corners.forEach((corner, index) => {
      const next = corners[(index + 1) % corners.length];
      if (next && corner.beyond !== undefined && corner.beyond < seed.region) borders.push([corner.at, next.at]);
    });
  }
  return { cells, borders, middle: Object.fromEntries(Object.entries(points).map(([region, places]) => [region, places[Math.floor(places.length / 2)] ?? [0, 0]])) };
}

interface Corner {
  at: Point;
  /** Region beyond the line from this corner to the next; undefined at the edge of the box. */
  beyond: string | undefined;
}

const BOX: Corner[] = ([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]] as Point[]).map((at) => ({ at, beyond: undefined }));

/** What of a convex cell is nearer to `own` than to `other`. */
function nearer(corners: Corner[], own: Point, other: Point, region: string): Corner[] {
  const [dx, dy] = [other[0] - own[0], other[1] - own[1]];
  const half = (other[0] ** 2 + other[1] ** 2 - own[0] ** 2 - own[1] ** 2) / 2;
  const away = ([x, y]: Point): number => x * dx + y * dy - half;
  const kept: Corner[] = [];
  corners.forEach((corner, index) => {
    const next = corners[(index + 1) % corners.length] ?? corner;
    const [here, there] = [away(corner.at), away(next.at)];
    if (here <= 0) kept.push(corner);
    if ((here < 0 && there > 0) || (here > 0 && there < 0)) {
      const share = here / (here - there);
      const at: Point = [corner.at[0] + share * (next.at[0] - corner.at[0]), corner.at[1] + share * (next.at[1] - corner.at[1])];
      // Leaving, the cut itself begins here; coming back, the old edge goes on.
      kept.push({ at, beyond: here < 0 ? region : corner.beyond });
    }
  });
  return kept;
}

export const path = (corners: readonly Point[]): string => `M${corners.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}Z`;

export interface Blob {
  name: string;
  /** Centre and half axes on the left of the picture (the patient's right is drawn mirrored). */
  x: number;
  y: number;
  rx: number;
  ry: number;
  turn?: number;
}

/** Deep structures as on a coronal slice, spread out; x is the distance from the midline. */
export const DEEP: Blob[] = [
  { name: "Lateral-Ventricle", x: 34, y: 52, rx: 26, ry: 15, turn: -14 },
  { name: "Caudate", x: 72, y: 62, rx: 14, ry: 20, turn: -18 },
  { name: "Putamen", x: 112, y: 98, rx: 16, ry: 32, turn: -8 },
  { name: "Pallidum", x: 84, y: 108, rx: 11, ry: 22, turn: -14 },
  { name: "Thalamus-Proper", x: 38, y: 96, rx: 24, ry: 20 },
  { name: "Accumbens-area", x: 70, y: 150, rx: 13, ry: 10 },
  { name: "VentralDC", x: 34, y: 134, rx: 19, ry: 13 },
  { name: "Amygdala", x: 106, y: 158, rx: 18, ry: 15 },
  { name: "Hippocampus", x: 96, y: 190, rx: 31, ry: 13, turn: 10 },
  { name: "Inf-Lat-Vent", x: 148, y: 176, rx: 15, ry: 24, turn: 10 },
  { name: "Cerebellum-Cortex", x: 82, y: 240, rx: 62, ry: 28 },
  { name: "Cerebellum-White-Matter", x: 66, y: 240, rx: 27, ry: 12 },
];

/** On the midline. */
export const MIDDLE: Blob[] = [
  { name: "3rd-Ventricle", x: 0, y: 112, rx: 8, ry: 22 },
  { name: "Brain-Stem", x: 0, y: 178, rx: 17, ry: 40 },
  { name: "4th-Ventricle", x: 0, y: 236, rx: 9, ry: 12 },
];
