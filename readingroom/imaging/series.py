"""From the files of one series to a volume, or to the named reason why none can be made.

File order, slice numbers and declared spacings are never trusted: slices are placed by ImageOrientationPatient and
ImagePositionPatient alone. Nothing is invented: a gap stays a gap (the volume is then irregular and the study partial),
several images at one position or mixed orientations are refused with their reason. A stack sheared by a tilted gantry
is straightened (``tilt.py``).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.core.sealed import Source
from readingroom.imaging.decode import stored_pixels, to_modality
from readingroom.imaging.geometry import mirrored_display, slice_normal
from readingroom.imaging.header import (
    AXIS_KEYWORDS,
    HEADER_KEYWORDS,
    SliceHeader,
    read_header,
    read_slice_header,
    text_of,
)
from readingroom.imaging.tilt import shift_of, straighten, straightened_shape
from readingroom.imaging.volume import SeriesProblem, Unit, Volume

_CROSS_SECTIONAL = frozenset({"CT", "MR", "PT"})
_ENHANCED = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2.1",
        "1.2.840.10008.5.1.4.1.1.2.2",
        "1.2.840.10008.5.1.4.1.1.4.1",
        "1.2.840.10008.5.1.4.1.1.4.3",
        "1.2.840.10008.5.1.4.1.1.4.4",
        "1.2.840.10008.5.1.4.1.1.128.1",
        "1.2.840.10008.5.1.4.1.1.130",
    }
)
_SAME_MM = 0.01
"""Slices nearer than this are at one position."""
_REGULAR = 0.05
"""A grid is regular where no slice is further from its place than this part of a step."""
_MOST_DEGREES = 45.0
"""No gantry tilts further; many tilt to 30."""
_AIR_HU = -1024
_FARTHEST_MM = 100_000.0
_LARGEST_VOLUME = 4 << 30
"""Bytes; more is a lie of the header or not for this machine."""


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """What a series gave. ``slices``: the headers behind the volume's slices, in its order (or all, unsorted)."""

    volume: Volume | None
    problems: tuple[SeriesProblem, ...]
    headers: dict[str, str]
    slices: tuple[SliceHeader, ...] = ()


class _Refused(Exception):
    """Carries the problem that makes a volume impossible."""

    def __init__(self, code: str, detail: str, slices: Sequence[SliceHeader] = ()) -> None:
        super().__init__(code)
        self.problem = SeriesProblem(code, detail, True, tuple(s.SOPInstanceUID for s in slices))


def read_series(paths: Sequence[Source], *, threads: int = 2, pixels: bool = True) -> SeriesResult:
    """Read all files of ONE series into a Volume (see its frame and units), or say why not.

    Never raises for what is in the files: a fatal problem means ``volume`` is None, a problem that is not fatal is
    something a reader and a person must know. ``pixels`` False checks headers and geometry only.
    """
    problems: list[SeriesProblem] = []
    slices = _read_headers(paths, problems)
    headers = _text_headers(slices)
    try:
        _check_kind(slices)
        slices = _one_stack(_without_localizers(slices, problems), problems)
        slices = _sorted(slices)
        slices = _one_image_a_position(slices, problems)
        positions = _positions(slices)
        _check_shift(slices, positions, problems)
        if not pixels:
            _spacing(slices, positions, problems)
            return SeriesResult(None, tuple(problems), headers, tuple(slices))
        array, slices = _decode_all(slices, problems, threads)
        volume = _make_volume(array, slices, problems)
    except _Refused as refused:
        return SeriesResult(None, (*problems, refused.problem), headers, tuple(slices))
    return SeriesResult(volume, tuple(problems), headers, tuple(slices))


def _read_headers(paths: Sequence[Source], problems: list[SeriesProblem]) -> list[SliceHeader]:
    slices, unreadable = [], 0
    for path in paths:
        try:
            slices.append(read_slice_header(path))
        except (BadInput, OSError):
            unreadable += 1
    if unreadable:
        problems.append(SeriesProblem("unreadable", f"{unreadable} of {len(paths)} files are not readable.", False))
    return slices


def _text_headers(slices: Sequence[SliceHeader]) -> dict[str, str]:
    # An image of the main kind speaks for the series; a localizer does not.
    for header in sorted(slices, key=lambda s: "LOCALIZER" in s.ImageType):
        try:
            ds = read_header(header.path)
        except BadInput:
            continue
        found = {keyword: text_of(ds, keyword) for keyword in HEADER_KEYWORDS}
        return {keyword: text for keyword, text in found.items() if text}
    return {}


def _check_kind(slices: Sequence[SliceHeader]) -> None:
    if not slices:
        raise _Refused("unreadable", "No file of the series can be read as DICOM.")
    if len({s.SeriesInstanceUID for s in slices}) > 1:
        raise _Refused("mixed-series", "The files belong to several series.")
    images = [s for s in slices if s.Rows and s.Columns and s.pixel_length != 0]
    if not images:
        if slices[0].Modality in _CROSS_SECTIONAL:
            raise _Refused("no-pixels", "The images of the series hold no pixels.", slices)
        raise _Refused("not-an-image", "The series holds no images.")
    if any(s.NumberOfFrames > 1 or s.SOPClassUID in _ENHANCED for s in images):
        raise _Refused("multi-frame", "Enhanced multi-frame images are not read yet.", images)
    if images[0].Modality not in _CROSS_SECTIONAL:
        raise _Refused("not-cross-sectional", f"Modality {images[0].Modality or 'unknown'} makes no volume.")
    if any(s.SamplesPerPixel != 1 for s in images):
        raise _Refused("colour", "Colour images make no volume.", images)


def _without_localizers(slices: list[SliceHeader], problems: list[SeriesProblem]) -> list[SliceHeader]:
    localizers = [s for s in slices if "LOCALIZER" in s.ImageType]
    rest = [s for s in slices if "LOCALIZER" not in s.ImageType]
    if not rest:
        raise _Refused("localizer", "The series holds localizer images only.", localizers)
    if localizers:
        detail = f"{_count(len(localizers), 'localizer image')} left out ({_names(localizers)})."
        problems.append(_named("localizer-in-series", detail, localizers))
    return rest


def _one_stack(slices: list[SliceHeader], problems: list[SeriesProblem]) -> list[SliceHeader]:
    """Keep the images of one size and orientation; refuse where no stack clearly is the series."""
    placed: list[SliceHeader] = []
    lost: list[SliceHeader] = []
    for s in slices:
        (placed if _is_placed(s) else lost).append(s)
    if not placed:
        raise _Refused("no-position", "No image says where in the patient it lies.", slices)
    if lost:
        detail = f"{_count(len(lost), 'image')} without a place in the patient left out ({_names(lost)})."
        problems.append(_named("no-position", detail, lost))
    spaced = [s for s in placed if s.PixelSpacing and min(s.PixelSpacing) > 0 and max(s.PixelSpacing) < 1000]
    if len(spaced) < len(placed):
        raise _Refused("no-spacing", "Pixel Spacing is missing or not possible.", placed)
    groups: dict[tuple[object, ...], list[SliceHeader]] = defaultdict(list)
    for s in spaced:
        groups[_stack_key(s)].append(s)
    keys = sorted(groups, key=lambda key: -len(groups[key]))
    main = groups[keys[0]]
    others = [s for key in keys[1:] for s in groups[key]]
    if not others:
        return main
    code = _difference(keys)
    if len(main) < 3 or len(main) < 0.8 * len(spaced):
        what = {"mixed-size": "sizes or spacings", "mixed-orientation": "orientations"}.get(code, "frames of reference")
        raise _Refused(code, f"The images have {len(groups)} different {what}.", spaced)
    problems.append(_named(code, f"{_count(len(others), 'image')} that differ left out ({_names(others)}).", others))
    return main


def _is_placed(s: SliceHeader) -> bool:
    position = s.ImagePositionPatient
    possible = position is not None and all(abs(v) < _FARTHEST_MM for v in position)
    return possible and _orthonormal(s.ImageOrientationPatient)


def _stack_key(s: SliceHeader) -> tuple[object, ...]:
    orientation = tuple(round(v, 3) + 0.0 for v in s.ImageOrientationPatient or ())
    spacing = tuple(round(v, 4) for v in s.PixelSpacing or ())
    return orientation, (s.Rows, s.Columns, spacing), s.FrameOfReferenceUID


def _difference(keys: Sequence[tuple[object, ...]]) -> str:
    codes = ("mixed-orientation", "mixed-size", "mixed-frame-of-reference")
    return next(code for n, code in enumerate(codes) if len({key[n] for key in keys}) > 1)


def _orthonormal(orientation: tuple[float, ...] | None) -> bool:
    if orientation is None:
        return False
    row, column = orientation[:3], orientation[3:]
    lengths = sum(v * v for v in row), sum(v * v for v in column)
    across = sum(a * b for a, b in zip(row, column, strict=True))
    return all(0.98 < length < 1.02 for length in lengths) and abs(across) < 0.01


def _positions(slices: Sequence[SliceHeader]) -> np.ndarray:
    """Distance of each slice along the stack's normal, mm ``(n,)``."""
    normal = slice_normal(slices[0].ImageOrientationPatient or ())
    return np.array([s.ImagePositionPatient for s in slices], float) @ normal


def _sorted(slices: list[SliceHeader]) -> list[SliceHeader]:
    order = np.lexsort((np.array([s.InstanceNumber or 0 for s in slices]), np.round(_positions(slices), 3)))
    return [slices[n] for n in order]


def _one_image_a_position(slices: list[SliceHeader], problems: list[SeriesProblem]) -> list[SliceHeader]:
    positions = _positions(slices)
    starts = np.flatnonzero(np.diff(positions, prepend=-np.inf) > _SAME_MM)
    groups = [list(group) for group in _split(slices, starts)]
    if all(len(group) == 1 for group in groups):
        return slices
    axis = _naming_axis(groups)
    if axis:
        raise _Refused("extra-axis", f"Each position has several images that differ in {axis}; not read yet.", slices)
    kept, dropped = [], []
    for group in groups:
        kept.append(group[0])
        for other in group[1:]:
            if not _same_pixels(group[0], other):
                at = f"{_positions([other])[0]:.2f} mm"
                raise _Refused("duplicate-slice", f"Two different images lie at one position ({at}).", group)
            dropped.append(other)
    detail = f"{_count(len(dropped), 'identical copy', 'identical copies')} of a slice left out ({_names(dropped)})."
    problems.append(_named("duplicate-slice", detail, dropped))
    return kept


def _split(slices: list[SliceHeader], starts: np.ndarray) -> list[list[SliceHeader]]:
    ends = [*starts[1:], len(slices)]
    return [slices[a:b] for a, b in zip(starts, ends, strict=True)]


def _naming_axis(groups: list[list[SliceHeader]]) -> str:
    """The attribute whose values tell apart the images of every position, and how many there are; or empty."""
    several = [group for group in groups if len(group) > 1]
    if len(several) < 0.5 * len(groups):
        return ""
    for n, keyword in enumerate(AXIS_KEYWORDS):
        values = [tuple(sorted({s.axes[n] for s in group})) for group in several]
        if all(len(v) == len(group) for v, group in zip(values, several, strict=True)):
            shown = ", ".join(Counter(values).most_common(1)[0][0][:6])
            return f"{keyword} ({shown})"
    return ""


def _same_pixels(a: SliceHeader, b: SliceHeader) -> bool:
    if (a.RescaleSlope, a.RescaleIntercept) != (b.RescaleSlope, b.RescaleIntercept):
        return False
    try:
        return np.array_equal(stored_pixels(a), stored_pixels(b))
    except (ReadingRoomError, OSError):
        return False


def _check_shift(slices: Sequence[SliceHeader], positions: np.ndarray, problems: list[SeriesProblem]) -> None:
    """Name a tilted gantry; refuse slices shifted in their plane by something else."""
    if len(slices) < 2:
        raise _Refused("single-slice", "One slice alone makes no volume.", slices)
    shift = shift_of(slices, positions)
    pixel = min(slices[0].PixelSpacing or (1.0,))
    if shift.stray_mm > max(0.5 * pixel, 0.1) or shift.degrees > _MOST_DEGREES:
        detail = f"Slices are shifted in their plane by {shift.degrees:.0f} degrees and {shift.stray_mm:.1f} mm more."
        raise _Refused("shifted-slices", detail, slices)
    if shift.sheared:
        _check_size(straightened_shape((len(slices), slices[0].Rows, slices[0].Columns), shift), slices)
        detail = f"The slices were sheared by {shift.degrees:.1f} degrees (tilted gantry); straightened."
        problems.append(SeriesProblem("tilted-gantry", detail, False))


def _check_size(shape: tuple[int, int, int], slices: Sequence[SliceHeader]) -> None:
    if 2 * shape[0] * shape[1] * shape[2] > _LARGEST_VOLUME:
        raise _Refused("too-large", f"The volume would have {shape[0]} slices of {shape[1]} x {shape[2]}.", slices)


def _decode_all(
    slices: list[SliceHeader], problems: list[SeriesProblem], threads: int
) -> tuple[np.ndarray, list[SliceHeader]]:
    """Decode all slices into one array ``(slices, rows, columns)``; those that cannot be are named and left out."""
    shape = (len(slices), slices[0].Rows, slices[0].Columns)
    _check_size(shape, slices)
    array = np.empty(shape, np.int16)
    wide: dict[int, np.ndarray] = {}

    def decode(n: int) -> bool:
        try:
            values = to_modality(stored_pixels(slices[n], array[n]), slices[n])
            if values.shape != array[n].shape:
                return False
        except (ReadingRoomError, OSError):
            return False
        if values.dtype == np.int16:
            if not np.shares_memory(values, array[n]):
                array[n] = values
        else:
            wide[n] = values
        return True

    with ThreadPoolExecutor(max(1, threads)) as pool:
        good = list(pool.map(decode, range(len(slices))))
    if wide:
        # One fractional slice makes the whole volume fractional: int16 -> float32 loses nothing.
        array = array.astype(np.float32)
        for n, values in wide.items():
            array[n] = values
    if all(good):
        return array, slices
    bad = [s for s, ok in zip(slices, good, strict=True) if not ok]
    if sum(good) < 2:
        raise _Refused("undecodable", f"The pixels of {_count(len(bad), 'slice')} cannot be decoded.", bad)
    problems.append(_named("undecodable", f"{_count(len(bad), 'slice')} cannot be decoded ({_names(bad)}).", bad))
    return array[np.array(good)], [s for s, ok in zip(slices, good, strict=True) if ok]


def _spacing(slices: Sequence[SliceHeader], positions: np.ndarray, problems: list[SeriesProblem]) -> tuple[float, bool]:
    """``(step mm, irregular)``; names missing slices and irregular spacing."""
    steps = np.diff(positions)
    mean = float((positions[-1] - positions[0]) / (len(positions) - 1))
    grid = positions[0] + mean * np.arange(len(positions))
    if np.abs(positions - grid).max() <= max(0.02, _REGULAR * mean):
        return mean, False
    typical = float(np.median(steps))
    multiples = np.rint(steps / typical).astype(int)
    whole = np.abs(steps - multiples * typical) <= 0.1 * typical
    gaps = np.flatnonzero(whole & (multiples > 1)).tolist()
    for n in gaps:
        missing = int(multiples[n]) - 1
        detail = f"{_count(missing, 'slice')} missing between {positions[n]:.2f} and {positions[n + 1]:.2f} mm."
        problems.append(_named("missing-slice", detail, [slices[n], slices[n + 1]]))
    if not whole.all() or (multiples < 1).any() or not len(gaps):
        detail = f"Distances between slices vary from {steps.min():.2f} to {steps.max():.2f} mm."
        problems.append(SeriesProblem("irregular-spacing", detail, False))
    return (typical if len(gaps) else mean), True


def _make_volume(array: np.ndarray, slices: list[SliceHeader], problems: list[SeriesProblem]) -> Volume:
    first = slices[0]
    positions = _positions(slices)
    step, irregular = _spacing(slices, positions, problems)
    orientation = np.array(first.ImageOrientationPatient, float)
    row_mm, column_mm = first.PixelSpacing or (1.0, 1.0)
    affine = np.eye(4)
    # PixelSpacing is (between rows, between columns): a column index moves along the row direction.
    affine[:3, 0] = orientation[:3] * column_mm
    affine[:3, 1] = orientation[3:] * row_mm
    affine[:3, 2] = slice_normal(tuple(orientation)) * step
    affine[:3, 3] = first.ImagePositionPatient
    shift, source = shift_of(slices, positions), None
    if shift.sheared:
        array, source = straighten(array, shift, _AIR_HU if _unit(first) == "HU" else float(array.min()))
        affine[:3, 3] += affine[:3, [1, 0]] @ source.to_pixel[0]
    if mirrored_display(orientation):
        detail = "The stored pictures are mirrored against the usual display; places in the patient are right."
        problems.append(SeriesProblem("mirrored", detail, False))
    if not first.FrameOfReferenceUID:
        problems.append(SeriesProblem("no-frame-of-reference", "The series names no frame of reference.", False))
    return Volume(
        array=array,
        affine=affine,
        frame_of_reference_uid=first.FrameOfReferenceUID,
        series_instance_uid=first.SeriesInstanceUID,
        study_instance_uid=first.StudyInstanceUID,
        modality=first.Modality,
        unit=_unit(first),
        sop_instance_uids=tuple(s.SOPInstanceUID for s in slices),
        frames=(1,) * len(slices),
        irregular=irregular,
        slice_positions_mm=tuple(float(p - positions[0]) for p in positions) if irregular else (),
        source=source,
    )


def _unit(header: SliceHeader) -> Unit:
    if header.Modality == "CT" and header.RescaleType in ("", "HU", "US"):
        return "HU"
    return "ADC" if header.Modality == "MR" and "ADC" in header.ImageType else "arbitrary"


def _named(code: str, detail: str, slices: Sequence[SliceHeader]) -> SeriesProblem:
    return SeriesProblem(code, detail, False, tuple(s.SOPInstanceUID for s in slices))


def _names(slices: Sequence[SliceHeader]) -> str:
    names = [s.name for s in slices[:5]]
    return ", ".join(names) + (" ..." if len(slices) > 5 else "")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
