"""The side of a point, heard from three independent witnesses: tags, description and geometry.

Geometry looks at the voxels: it finds the body, its midline, which way the spine lies and, in the chest, on which side
the heart is. So it is right even where the patient was registered in the wrong position, when the coordinates turn the
patient about an axis and x no longer says the side. Tags takes the coordinates at their word. Where two witnesses that
can tell differ, ``agree`` is False and nothing is signed with one click.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from readingroom.findings.model import Side, SideWitness
from readingroom.imaging.body import body_mask
from readingroom.imaging.resample import Region, along_patient
from readingroom.imaging.volume import Volume

SideName = Literal["left", "right", "midline"]

_MIDLINE_MM = 5.0
_BODY_HU = -300
_BONE_HU = 200
_LUNG_HU = -600
_DESCRIPTIONS = ("SeriesDescription", "StudyDescription", "ProtocolName", "BodyPartExamined")


@dataclass(frozen=True)
class Anatomy:
    """What the voxels say of how the patient lies in the coordinates.

    ``midline_x_mm``: LPS x of the body's middle. ``spine``, ``heart``, ``up``: +1 where they lie as the coordinates
    promise (spine to +y, heart to +x, lung apices to +z), -1 where opposite, 0 where they cannot be told. ``table`` is
    +1 on the +y side of the body, -1 on the -y side.
    """

    midline_x_mm: float
    spine: int
    heart: int
    up: int
    table: int

    @property
    def x_sign(self) -> int:
        """+1 where +x is the patient's left, -1 where it is the right, 0 in doubt (see ``_geometry``)."""
        known = (self.spine, self.heart, self.up)
        if all(known):
            # A patient registered in a wrong position is turned: two axes change sign. An odd number is a mirror.
            return self.heart if self.spine * self.heart * self.up > 0 else 0
        if self.spine and self.heart:
            return self.heart if self.spine == self.heart else 0
        return self.heart or self.spine * (self.up or 1) or 1


def side_of(
    position_lps_mm: Sequence[float], volume: Volume, headers: Mapping[str, str], anatomy: Anatomy | None = None
) -> Side:
    """Return the side of a point with its witnesses.

    ``position_lps_mm``: LPS mm in the volume's frame of reference. ``headers``: ``TypedSeries.headers``. ``anatomy``:
    ``look(volume)``, made once for many points. ``value`` is geometry's word; tags', where geometry cannot tell.
    """
    anatomy = anatomy or look(volume)
    x = float(position_lps_mm[0])
    geometry = _geometry(x, anatomy)
    tags = _tags(x, anatomy, headers)
    description = _description(headers)
    witnesses = (tags, description, geometry)
    told = {w.side for w in witnesses if w.side in ("left", "right")}
    doubted = any(w.side is None and w.detail.startswith("Doubt") for w in witnesses)
    return Side(value=geometry.side or tags.side, witnesses=witnesses, agree=len(told) <= 1 and not doubted)


def look(volume: Volume) -> Anatomy:
    """Find midline, spine, heart and table on a coarse copy of the volume (a fraction of a second)."""
    coarse = along_patient(volume, 4.0)
    values = np.ascontiguousarray(coarse.array)
    body = body_mask(values, _BODY_HU if volume.unit == "HU" else float(values.mean()))
    if not body.any():
        middle = float(coarse.to_lps((np.array(values.shape) - 1) / 2)[0])
        return Anatomy(middle, 0, 0, 0, 0)
    centre = np.array(ndimage.center_of_mass(body))
    middle = float(coarse.to_lps(np.array([centre[0], centre[1], _middle_column(body)]))[0])
    if volume.unit != "HU":
        return Anatomy(middle, 0, 0, 0, 0)
    lungs = (values < _LUNG_HU) & body
    up = _up(lungs)
    heart = _heart(lungs, body, coarse, up)
    return Anatomy(middle, _spine(values, body, coarse), heart, up, _table(values, body))


def _geometry(x: float, anatomy: Anatomy) -> SideWitness:
    offset = x - anatomy.midline_x_mm
    if anatomy.x_sign == 0:
        # An odd number of axes flipped: a mirror image, or a heart on the right. No voxel can tell which.
        detail = "Doubt: spine and heart contradict each other (mirrored pixels, or the heart on the right)."
        return SideWitness(witness="geometry", side=None, detail=detail)
    turned = anatomy.x_sign < 0
    side = _name(-offset if turned else offset)
    found = f"{abs(offset):.0f} mm from the midline of the body"
    if turned:
        found += "; spine or heart lie opposite to the coordinates, so left and right were exchanged"
    return SideWitness(witness="geometry", side=side, detail=found + ".")


def _tags(x: float, anatomy: Anatomy, headers: Mapping[str, str]) -> SideWitness:
    side = _name(x - anatomy.midline_x_mm)
    position = headers.get("PatientPosition", "").upper()
    laterality = (headers.get("ImageLaterality") or headers.get("Laterality", "")).upper()[:1]
    if laterality in ("L", "R"):
        told: SideName = "left" if laterality == "L" else "right"
        if side in ("left", "right") and side != told:
            return SideWitness(
                witness="tags", side=None, detail=f"Doubt: Laterality says {told}, the coordinates say {side}."
            )
        return SideWitness(witness="tags", side=told, detail=f"Laterality {laterality}.")
    # The table is under the patient: supine it lies behind the back, prone before the chest.
    lying = {"S": 1, "P": -1}.get(position[2:3], 0)
    if lying and anatomy.table and lying != anatomy.table:
        under = "back" if anatomy.table > 0 else "front"
        detail = f"Doubt: Patient Position {position}, but the table lies under the {under} in the coordinates."
        return SideWitness(witness="tags", side=None, detail=detail)
    return SideWitness(witness="tags", side=side, detail=f"Patient Position {position or 'not given'}; LPS x.")


def _description(headers: Mapping[str, str]) -> SideWitness:
    for keyword in _DESCRIPTIONS:
        side = side_in_text(headers.get(keyword, ""))
        if side:
            return SideWitness(witness="description", side=side, detail=f"{keyword} names the {side}.")
    return SideWitness(witness="description", side=None, detail="No description names a side.")


def side_in_text(text: str) -> SideName | None:
    """``left`` or ``right`` where exactly one of them is named in any of the languages of ``side_words.json``."""
    words = _words()
    tokens = [t for t in re.split(r"[^A-Za-zÀ-žЀ-ӿ]+", text) if t]
    plain = {_plain(t) for t in tokens}
    found: set[SideName] = set()
    for side in ("left", "right"):
        letters = set(words[f"{side}_letters"])
        if plain & set(words[side]) or any(t in letters for t in tokens):
            found.add("left" if side == "left" else "right")
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=1)
def _words() -> dict[str, Any]:
    return dict(json.loads(files("readingroom.findings").joinpath("side_words.json").read_text("utf-8")))


def _plain(token: str) -> str:
    token = token.lower().replace("ø", "o").replace("ł", "l")
    return "".join(c for c in unicodedata.normalize("NFKD", token) if not unicodedata.combining(c))


def _name(offset_mm: float) -> SideName:
    if abs(offset_mm) < _MIDLINE_MM:
        return "midline"
    return "left" if offset_mm > 0 else "right"


def _middle_column(body: np.ndarray) -> float:
    """Median over slices of the middle between the body's left and right edge, in columns."""
    middles = []
    for plane in body:
        columns = np.flatnonzero(plane.any(axis=0))
        if columns.size:
            middles.append((columns[0] + columns[-1]) / 2)
    return float(np.median(middles))


def _spine(values: np.ndarray, body: np.ndarray, coarse: Region) -> int:
    """+1 where bone near the midline lies to +y of the body's middle, -1 where to -y."""
    middle = _middle_column(body)
    reach = max(2, round(35 / coarse.spacing_mm[2]))
    low, high = max(0, int(middle) - reach), int(middle) + reach + 1
    bone = ((values > _BONE_HU) & body)[:, :, low:high]
    if bone.sum() < 30:
        return 0
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    half = (rows[0] + rows[-1]) / 2
    # The spine is massive, the sternum thin: compare how much bone there is in each half.
    behind = int(bone[:, int(np.ceil(half)) :].sum())
    before = int(bone[:, : int(half)].sum())
    return _sign(behind, before, 1.6)


def _two_lungs(lungs: np.ndarray, middle: float) -> np.ndarray:
    """Slices with much lung on both sides of the midline, as indices."""
    column = np.arange(lungs.shape[2])
    left, right = lungs[:, :, column > middle].sum(axis=(1, 2)), lungs[:, :, column < middle].sum(axis=(1, 2))
    if min(left.max(), right.max()) < 100:
        return np.array([], int)
    return np.flatnonzero((left > 0.25 * left.max()) & (right > 0.25 * right.max()))


def _heart(lungs: np.ndarray, body: np.ndarray, coarse: Region, up: int) -> int:
    """+1 where what lies between the lungs bulges to +x (the heart as expected), -1 where to -x.

    In each slice the widest two fifths of the gap between the lungs count: heart and great vessels, not the thin
    meeting of the lungs before and behind them. The heart lies in the lower half, where that half is known.
    """
    middle = _middle_column(body)
    column = np.arange(lungs.shape[2])
    offsets = []
    for k in _two_lungs(lungs, middle):
        plane = lungs[k]
        # The innermost lung of each side, row by row.
        right = np.where(plane & (column < middle), column, -1).max(axis=1)
        left = np.where(plane & (column > middle), column, lungs.shape[2]).min(axis=1)
        rows = np.flatnonzero((right >= 0) & (left < lungs.shape[2]))
        if rows.size >= 5:
            gap = left[rows] - right[rows]
            wide = rows[gap >= np.quantile(gap, 0.6)]
            offsets.append(float(np.mean((left[wide] + right[wide]) / 2)) - middle)
    if len(offsets) < 3:
        return 0
    half = len(offsets) // 2
    chosen = offsets if up == 0 else offsets[: half + 1] if up > 0 else offsets[half:]
    bulge = float(np.mean(chosen)) * coarse.spacing_mm[2]
    return 0 if abs(bulge) < 4 else int(np.sign(bulge))


def _up(lungs: np.ndarray) -> int:
    """+1 where the lungs' bases lie to -z. At a base the diaphragm's dome hollows the lung out; an apex is full."""
    middle = lungs.shape[2] // 2
    low, high = [], []
    for half in (lungs[:, :, :middle], lungs[:, :, middle:]):
        area = half.sum(axis=(1, 2))
        peak = int(area.argmax())
        ends = np.flatnonzero((area > 0.08 * area.max()) & (area < 0.7 * area.max()) & (area >= 20))
        low += [_fullness(half[k]) for k in ends if k < peak]
        high += [_fullness(half[k]) for k in ends if k > peak]
    if not low or not high or len(low) + len(high) < 4:
        return 0
    difference = float(np.median(high) - np.median(low))
    return 0 if abs(difference) < 0.1 else int(np.sign(difference))


def _fullness(plane: np.ndarray) -> float:
    """Area over that of the ellipse with the same second moments: 1 for a full oval, less for a crescent."""
    places = np.argwhere(plane)
    spread = np.linalg.det(np.cov(places.T))
    return float(len(places) / (4 * np.pi * np.sqrt(max(spread, 1e-6))))


def _table(values: np.ndarray, body: np.ndarray) -> int:
    """+1 where something outside the body lies to +y of it (the table under the back), -1 where to -y."""
    near = ndimage.binary_dilation(body, iterations=2)
    outside = (values > -850) & ~near
    rows = np.flatnonzero(body.any(axis=(0, 2)))
    behind, before = int(outside[:, rows[-1] :].sum()), int(outside[:, : rows[0] + 1].sum())
    # Fewer voxels than a thin plate of the scan's length are noise, or clothes.
    if max(behind, before) < 8 * values.shape[0]:
        return 0
    return _sign(behind, before, 3.0)


def _sign(expected: float, opposite: float, ratio: float) -> int:
    if expected > ratio * opposite:
        return 1
    return -1 if opposite > ratio * expected else 0
