"""A chest made of formulas: body, ribs, spine, mediastinum, lungs with vessels, and nodules of known size and place.

It looks enough like a chest CT for a demo and for tests of geometry and workflow; nothing measured on it says how well
a reader works on patients. Coordinates are LPS mm with x = 0 the midline, y = 0 mid-depth, z = 0 the lowest slice.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HEIGHT_MM = 300.0
FIELD_MM = 380.0
_BODY_X, _BODY_Y = 162.0, 114.0
_WALL_MM = 24.0


@dataclass(frozen=True)
class Nodule:
    """A ball (slightly lobed) of ``diameter_mm`` around ``lps_mm``; ``hu`` is its own density."""

    lps_mm: tuple[float, float, float]
    diameter_mm: float
    hu: float

    @property
    def side(self) -> str:
        """``left`` or ``right``: x grows to the patient's left."""
        return "left" if self.lps_mm[0] > 0 else "right"


@dataclass(frozen=True)
class NoduleWish:
    """What nodule to place where: ``side`` and ``height`` (0 base to 1 apex of the scan)."""

    diameter_mm: float
    hu: float
    side: str
    height: float


DEFAULT_NODULES = (
    NoduleWish(9.0, 40.0, "right", 0.66),
    NoduleWish(6.0, 30.0, "left", 0.40),
    NoduleWish(12.0, -600.0, "left", 0.70),
)
"""About 9 mm solid, 6 mm solid, 12 mm ground glass."""


@dataclass(frozen=True, eq=False)
class _Tree:
    """Vessel segments: starts and ends ``(n, 3)`` LPS mm, radii ``(n, 2)`` mm at both ends."""

    starts: np.ndarray
    ends: np.ndarray
    radii: np.ndarray


@dataclass(frozen=True, eq=False)
class _Grid:
    """Voxel centres in LPS mm: ``x`` ``(1, columns)``, ``y`` ``(rows, 1)``, ``z`` ``(slices,)``; and the pixel size."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    pixel_mm: float


def chest(
    rows: int, slices: int, wishes: Sequence[NoduleWish], seed: int, noise_hu: float, *, prone: bool = False
) -> tuple[np.ndarray, tuple[Nodule, ...]]:
    """Return HU ``(slices, rows, rows)`` int16 (z up, y to posterior, x to left) and the nodules in it.

    The field is ``FIELD_MM`` wide and ``HEIGHT_MM`` high whatever the numbers: they set the voxel size.
    """
    random = np.random.default_rng(seed)
    pixel = FIELD_MM / rows
    line = ((np.arange(rows) - (rows - 1) / 2) * pixel).astype(np.float32)
    step = HEIGHT_MM / slices
    grid = _Grid(line[None, :], line[:, None], (np.arange(slices) * step).astype(np.float32), pixel)
    tree = _grow_vessels(random)
    nodules = tuple(_place_nodule(wish, tree, random) for wish in wishes)
    seeds = random.integers(0, 2**63, size=slices)
    volume = np.empty((slices, rows, rows), np.float32)
    lungs = np.empty((slices, rows, rows), np.float32)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda k: _paint_slice(volume[k], lungs[k], grid, float(grid.z[k]), prone), range(slices)))
    _paint_vessels(volume, lungs, grid, tree, step)
    for nodule in nodules:
        _paint_nodule(volume, grid, nodule, step, random)
    result = np.empty(volume.shape, np.int16)

    def finish(k: int) -> None:
        result[k] = _acquire(volume[k], noise_hu, np.random.default_rng(seeds[k]))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(finish, range(slices)))
    return result, nodules


def _cover(distance_mm: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Signed distance (negative inside) -> part of the pixel covered."""
    return np.clip(0.5 - distance_mm / pixel_mm, 0, 1)


def _blend(plane: np.ndarray, hu: float | np.ndarray, cover: np.ndarray) -> None:
    plane += cover * (hu - plane)


def _ellipse(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    """Approximate signed distance to an ellipse, mm."""
    if rx <= 0 or ry <= 0:
        return np.full(np.broadcast_shapes(x.shape, y.shape), 1e3, np.float32)
    return (np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) - 1) * min(rx, ry)


def _ball(x: np.ndarray, y: np.ndarray, z: float, centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
    """Approximate signed distance to an ellipsoid, mm."""
    (cx, cy, cz), (rx, ry, rz) = centre, radii
    distance = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2) - 1
    return np.asarray(distance * min(radii))


def _heart(x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
    """The heart lies to the left and in front: what tells a mirrored chest."""
    return _ball(x, y, z, (26, -28, 105), (60, 46, 58))


def _lung(x: np.ndarray, y: np.ndarray, z: np.ndarray | float, side: int) -> np.ndarray:
    """Approximate signed distance to one lung, mm; ``side`` +1 left, -1 right."""
    u = np.asarray(z, np.float32) / HEIGHT_MM
    size = np.sqrt(np.maximum(1 - ((u - 0.40) / 0.53) ** 4, 1e-4))
    cx = side * (76 - 26 * np.clip((u - 0.6) / 0.33, 0, 1) ** 1.5)
    rx, ry = 60 * size, 86 * size
    distance = (np.sqrt(((x - cx) / rx) ** 2 + ((y - 2) / ry) ** 2) - 1) * rx
    # Inside the ribs everywhere.
    distance = np.maximum(distance, _ellipse(x, y, 0, 0, _BODY_X, _BODY_Y) + _WALL_MM)
    base, dome = (34.0, 52.0) if side < 0 else (28.0, 44.0)
    diaphragm = base + dome * np.exp(-(((x - cx) / 55) ** 2) - ((y + 10) / 70) ** 2)
    distance = np.maximum(distance, (diaphragm - z) * 0.8)
    mediastinum = _ellipse(x, y, 0, 12, 27, 62)
    return np.maximum(distance, np.maximum(2 - mediastinum, 3 - _heart(x, y, z)))  # type: ignore[arg-type]


def _paint_slice(plane: np.ndarray, lung_cover: np.ndarray, grid: _Grid, z: float, prone: bool) -> None:
    x, y, pixel = grid.x, grid.y, grid.pixel_mm
    u = z / HEIGHT_MM
    body = _ellipse(x, y, 0, 0, _BODY_X + 10 * u, _BODY_Y - 6 * u)
    plane[...] = -1000
    _paint_table(plane, x, -y if prone else y, pixel)
    _blend(plane, -100, _cover(body, pixel))
    _blend(plane, 52, _cover(body + 13, pixel))
    _paint_abdomen(plane, x, y, z, pixel)
    lungs = np.minimum(_lung(x, y, z, -1), _lung(x, y, z, 1))
    # Blood sinks: parenchyma is denser where the patient lies on it.
    down = -y if prone else y
    parenchyma = -860 + 45 * np.clip(down / 90, -1, 1) + np.zeros_like(x)
    lung_cover[...] = _cover(lungs, pixel)
    _paint_mediastinum(plane, x, y, z, pixel, lungs)
    _blend(plane, parenchyma, lung_cover)
    _paint_bones(plane, body, x, y, z, pixel)


def _paint_table(plane: np.ndarray, x: np.ndarray, y: np.ndarray, pixel: float) -> None:
    surface = y - (_BODY_Y + 5 - x * x / 2600)
    width = np.abs(x) - 175
    _blend(plane, -180, _cover(np.maximum(np.maximum(-surface, surface - 24), width), pixel))
    _blend(plane, -930, _cover(np.maximum(np.maximum(3 - surface, surface - 21), width + 3), pixel))


def _paint_abdomen(plane: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, pixel: float) -> None:
    if z > 110:
        return
    cavity = _ellipse(x, y, 0, 0, _BODY_X - 30, _BODY_Y - 26)
    _blend(plane, -95, _cover(np.maximum(cavity, np.float32(z - 90)), pixel))
    _blend(plane, 58, _cover(np.maximum(_ball(x, y, z, (-62, -8, 25), (92, 84, 68)), cavity), pixel))
    _blend(plane, 50, _cover(_ball(x, y, z, (88, 45, 30), (34, 42, 48)), pixel))
    _blend(plane, 30, _cover(_ball(x, y, z, (58, -38, 22), (40, 36, 42)), pixel))
    _blend(plane, -950, _cover(_ball(x, y, z, (58, -54, 34), (18, 12, 16)), pixel))


def _paint_mediastinum(
    plane: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, pixel: float, lungs: np.ndarray
) -> None:
    inside = np.maximum(_ellipse(x, y, 0, 0, 60, 72), -lungs)
    if z > 60:
        _blend(plane, -75, _cover(inside, pixel))
    _blend(plane, 42, _cover(_heart(x, y, z), pixel))
    _blend(plane, 40, _cover(_ellipse(x, y, 15, 42, 12, 12), pixel))
    if 140 < z < 215:
        _blend(plane, 41, _cover(_ellipse(x, y, -12, -24, 16, 16), pixel))
    if z > 140:
        _blend(plane, 39, _cover(_ellipse(x, y, -24, -18, 9, 9), pixel))
    if 205 < z < 228:
        _blend(plane, 40, _cover(_ellipse(x, y, 2, 8, 14, 42), pixel))
    _blend(plane, 35, _cover(_ellipse(x, y, 2, 34, 8, 5), pixel))
    if z > 165:
        _blend(plane, 20, _cover(_ellipse(x, y, 0, 14, 10.5, 10), pixel))
        _blend(plane, -990, _cover(_ellipse(x, y, 0, 14, 9, 8.5), pixel))
    elif z > 135:
        spread = (165 - z) * 0.9
        for side in (-1, 1):
            _blend(plane, 20, _cover(_ellipse(x, y, side * spread, 14, 8.5, 7.5), pixel))
            _blend(plane, -990, _cover(_ellipse(x, y, side * spread, 14, 7, 6), pixel))


def _paint_bones(plane: np.ndarray, body: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, pixel: float) -> None:
    if 25 < z < 285:
        phase = (z - 0.42 * y) % 26 - 13
        rib = np.hypot(body + 21, phase * 0.95) - 5
        rib = np.maximum(rib, 30 - np.abs(x) - np.maximum(y, 0))
        front = np.clip((-y - 60) / 20, 0, 1)
        _blend(plane, 430 - 300 * front, _cover(rib, pixel))
        _blend(plane, 190 - 70 * front, _cover(rib + 2, pixel))
    if 90 < z < 265:
        _blend(plane, 320, _cover(_ellipse(x, y, 0, -_BODY_Y + 24, 17, 6), pixel))
        _blend(plane, 140, _cover(_ellipse(x, y, 0, -_BODY_Y + 24, 15, 4), pixel))
    disc = (z % 26) < 5
    vertebra = _ellipse(x, y, 0, 64, 18, 14)
    _blend(plane, 80 if disc else 420, _cover(vertebra, pixel))
    _blend(plane, 85 if disc else 210, _cover(vertebra + 1.8, pixel))
    if not disc:
        wings = np.maximum(np.abs(x) - 33, np.abs(y - 84) - 5)
        _blend(plane, 330, _cover(wings, pixel))
        _blend(plane, 380, _cover(np.maximum(np.abs(x) - 3, np.abs(y - 95) - 11), pixel))
    _blend(plane, 400, _cover(_ellipse(x, y, 0, 84, 12, 11), pixel))
    _blend(plane, 25, _cover(_ellipse(x, y, 0, 84, 9, 8), pixel))


def _lung_at(points: np.ndarray, side: int) -> np.ndarray:
    """Signed distance to a lung at LPS points ``(n, 3)``."""
    return np.asarray(_lung(points[:, 0], points[:, 1], points[:, 2], side))


_TWIGS = 650
_TWIG_MM = 0.55


def _grow_vessels(random: np.random.Generator) -> _Tree:
    """A tree in each lung that reaches everywhere: each new point joins the branch with the shortest way home."""
    trees = [_grow_one(random, side) for side in (-1, 1)]
    return _Tree(*(np.concatenate([getattr(t, name) for t in trees]) for name in ("starts", "ends", "radii")))


def _grow_one(random: np.random.Generator, side: int) -> _Tree:
    points = random.uniform((25, -90, 20), (140, 95, 285), (20 * _TWIGS, 3)) * (side, 1, 1)
    targets = points[_lung_at(points, side) < -3][:_TWIGS]
    hilum = np.array([side * 30.0, 12.0, 145.0])
    targets = targets[np.argsort(np.linalg.norm(targets - hilum, axis=1) + random.normal(0, 8, len(targets)))]
    nodes = np.empty((len(targets) + 1, 3))
    way = np.zeros(len(nodes))
    parents = np.zeros(len(nodes), int)
    nodes[0] = hilum
    for n, target in enumerate(targets, start=1):
        apart = np.linalg.norm(nodes[:n] - target, axis=1)
        parents[n] = int(np.argmin(apart + 0.55 * way[:n]))
        nodes[n], way[n] = target, way[parents[n]] + apart[parents[n]]
    twigs = np.ones(len(nodes))
    for n in range(len(nodes) - 1, 0, -1):
        twigs[parents[n]] += twigs[n]
    # Murray's law, nearly: areas of daughters add up to a little more than the mother's.
    radius = np.minimum(_TWIG_MM * twigs[1:] ** (1 / 2.6), 5.5)
    return _Tree(nodes[parents[1:]], nodes[1:], np.stack([radius, radius * 0.85], axis=1))


def _distance_to_vessels(tree: _Tree, point: np.ndarray) -> float:
    """Gap in mm from a point to the nearest vessel wall that shows (radius above 1 mm)."""
    thick = tree.radii[:, 0] > 1.0
    start, along = tree.starts[thick], tree.ends[thick] - tree.starts[thick]
    t = np.clip(np.einsum("ni,ni->n", point - start, along) / np.einsum("ni,ni->n", along, along), 0, 1)
    gaps = np.linalg.norm(point - start - t[:, None] * along, axis=1) - tree.radii[thick, 0]
    return float(gaps.min())


def _place_nodule(wish: NoduleWish, tree: _Tree, random: np.random.Generator) -> Nodule:
    side = 1 if wish.side == "left" else -1
    radius = wish.diameter_mm / 2
    low, high = (40, -70, wish.height * HEIGHT_MM - 12), (128, 75, wish.height * HEIGHT_MM + 12)
    points = random.uniform(low, high, (400, 3)) * (side, 1, 1)
    points = points[_lung_at(points, side) < -(radius + 6)]
    if not len(points):
        raise ValueError("no lung at this height")
    # The first place clear of vessels, or the clearest there is.
    gaps = np.array([_distance_to_vessels(tree, point) for point in points[:60]]) - radius
    best = points[int(np.argmax(gaps > 2)) if (gaps > 2).any() else int(gaps.argmax())]
    return Nodule((float(best[0]), float(best[1]), float(best[2])), wish.diameter_mm, wish.hu)


def _box(
    grid: _Grid, step: float, low: np.ndarray, high: np.ndarray
) -> tuple[tuple[slice, slice, slice], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Slices of the volume around a box in LPS mm, and the coordinates of their voxels, ready to broadcast."""
    half = (grid.x.size - 1) / 2

    def span(a: float, b: float, size: int) -> slice:
        return slice(max(0, int(np.floor(a))), max(0, min(size, int(np.ceil(b)) + 1)))

    xs = span(low[0] / grid.pixel_mm + half, high[0] / grid.pixel_mm + half, grid.x.size)
    ys = span(low[1] / grid.pixel_mm + half, high[1] / grid.pixel_mm + half, grid.y.size)
    zs = span(low[2] / step, high[2] / step, grid.z.size)
    return (zs, ys, xs), (grid.x[:, xs][None], grid.y[ys][None], grid.z[zs][:, None, None])


def _paint_vessels(volume: np.ndarray, lungs: np.ndarray, grid: _Grid, tree: _Tree, step: float) -> None:
    for start, end, (thick, thin) in zip(tree.starts, tree.ends, tree.radii, strict=True):
        margin = thick + grid.pixel_mm + step / 2
        where, (x, y, z) = _box(grid, step, np.minimum(start, end) - margin, np.maximum(start, end) + margin)
        if volume[where].size == 0:
            continue
        along = end - start
        t = ((x - start[0]) * along[0] + (y - start[1]) * along[1] + (z - start[2]) * along[2]) / (along @ along)
        t = np.clip(t, 0, 1)
        offset = [v - s - t * a for v, s, a in zip((x, y, z), start, along, strict=True)]
        gap = np.sqrt(offset[0] ** 2 + offset[1] ** 2 + offset[2] ** 2) - (thick + t * (thin - thick))
        # Softer across thick slices: a thin vessel between two slices shows in both, fainter.
        cover = _cover(gap, max(grid.pixel_mm, 0.6 * step)) * lungs[where]
        _blend(volume[where], 40.0, cover)


def _paint_nodule(volume: np.ndarray, grid: _Grid, nodule: Nodule, step: float, random: np.random.Generator) -> None:
    centre, radius = np.array(nodule.lps_mm), nodule.diameter_mm / 2
    margin = radius * 1.3 + grid.pixel_mm + step
    where, (x, y, z) = _box(grid, step, centre - margin, centre + margin)
    dx, dy, dz = x - centre[0], y - centre[1], z - centre[2]
    distance = np.sqrt(dx * dx + dy * dy + dz * dz)
    lobes = np.zeros_like(distance)
    for _ in range(3):
        direction = random.normal(size=3)
        direction /= np.linalg.norm(direction)
        cosine = (dx * direction[0] + dy * direction[1] + dz * direction[2]) / np.maximum(distance, 1e-3)
        lobes += 0.04 * np.cos(3 * np.arccos(np.clip(cosine, -1, 1)))
    cover = _cover(distance - radius * (1 + lobes), max(grid.pixel_mm, 0.8 * step))
    # Ground glass hides no vessel: it only ever makes lung denser.
    piece = volume[where]
    piece += cover * np.maximum(nodule.hu - piece, 0)


def _acquire(plane: np.ndarray, noise_hu: float, random: np.random.Generator) -> np.ndarray:
    """Blur as a scanner does and add noise with the short correlation of a standard kernel."""
    blurred = ndimage.gaussian_filter(plane, 0.6)
    white = random.standard_normal(plane.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, 0.8) - 0.6 * ndimage.gaussian_filter(white, 1.8)
    blurred += noise * (noise_hu / max(float(noise.std()), 1e-6))
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)
