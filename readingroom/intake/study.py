"""A whole study made ready for the readers: every series read, typed and measured; partial or not; little context."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from readingroom.core.errors import BadInput
from readingroom.core.sealed import Source
from readingroom.imaging.header import read_header, text_of
from readingroom.imaging.series import read_series
from readingroom.imaging.volume import SeriesProblem
from readingroom.intake.age import age_years
from readingroom.intake.content import describe
from readingroom.intake.measured import measures_in
from readingroom.intake.quality import measure, missing_slices
from readingroom.intake.typing import type_series
from readingroom.readers.contract import ClinicalContext, SeriesType, TypedSeries

logger = logging.getLogger(__name__)

_PARTIAL = frozenset({"undecodable", "unreadable", "no-position", "intake-failed"})
"""Problems, beside gaps, that mean that images a reader should have seen are not there."""


@dataclass(frozen=True, eq=False)
class IntakeResult:
    """``partial``: why the study is incomplete, a sentence for people; empty where it is complete."""

    series: tuple[TypedSeries, ...]
    partial: str
    context: ClinicalContext


def load_study(
    paths_by_series: Mapping[str, Sequence[Source]],
    *,
    max_volume_bytes: int = 1 << 30,
    threads: int = 2,
) -> IntakeResult:
    """Read, type and measure each series (key: Series Instance UID) of one study.

    Volumes are kept up to ``max_volume_bytes`` together, series with most files first; beyond that a series keeps its
    type and the problem ``not-loaded``.
    Never raises for what is in the files.
    """
    loaded: dict[str, TypedSeries] = {}
    left = max_volume_bytes
    for uid in sorted(paths_by_series, key=lambda u: -len(paths_by_series[u])):
        series = load_series(uid, paths_by_series[uid], threads=threads)
        if series.volume is not None:
            left -= series.volume.array.nbytes
            if left < 0:
                left += series.volume.array.nbytes
                problem = SeriesProblem("not-loaded", "Left out: the study is larger than the memory limit.", False)
                series = replace(series, volume=None, problems=(*series.problems, problem))
        loaded[uid] = series
    series_in_order = tuple(loaded[uid] for uid in paths_by_series)
    first = next((paths[0] for paths in paths_by_series.values() if paths), None)
    return IntakeResult(series_in_order, _partial(series_in_order), _context(first))


def load_series(series_instance_uid: str, paths: Sequence[Source], *, threads: int = 2) -> TypedSeries:
    """Read, type and measure one series. What fails fails alone: its problem is then ``intake-failed``."""
    try:
        result = read_series(paths, threads=threads)
        content = describe(result.volume) if result.volume is not None else None
        return TypedSeries(
            series_instance_uid=series_instance_uid,
            type=type_series(paths, result, content),
            volume=result.volume,
            problems=result.problems,
            quality=measure(result.volume, result.problems, content),
            headers=result.headers,
            measured=measures_in(paths) if result.headers.get("Modality") == "SR" else {},
        )
    except Exception as error:
        # One series nobody foresaw must not lose the other series of the study. The text may quote values: only the
        # kind of error is kept.
        logger.error("series not taken in: %s", type(error).__name__)
        detail = f"The series could not be taken in ({type(error).__name__})."
        return TypedSeries(
            series_instance_uid=series_instance_uid,
            type=SeriesType(modality="", kind="unsupported", reason=detail),
            volume=None,
            problems=(SeriesProblem("intake-failed", detail, True),),
        )


def _partial(series: Sequence[TypedSeries]) -> str:
    reasons = []
    missing = sum(missing_slices(s.volume, s.problems) for s in series if s.volume is not None)
    if missing:
        reasons.append(f"{missing} slice{'s are' if missing > 1 else ' is'} missing inside a series.")
    others = sorted({p.detail for s in series for p in s.problems if _lacks_images(p)})
    return " ".join([*reasons, *others])


def _lacks_images(problem: SeriesProblem) -> bool:
    # A whole series without positions is another kind of series (a screen capture), not an incomplete one.
    return problem.code in _PARTIAL and not (problem.code == "no-position" and problem.fatal)


def _context(path: Source | None) -> ClinicalContext:
    if path is None:
        return ClinicalContext()
    try:
        ds = read_header(path)
    except BadInput:
        return ClinicalContext()
    sex = text_of(ds, "PatientSex").upper()[:1]
    known: dict[str, Literal["F", "M", "O"]] = {"F": "F", "M": "M", "O": "O"}
    age = age_years(text_of(ds, "PatientAge"), text_of(ds, "PatientBirthDate"), text_of(ds, "StudyDate"))
    return ClinicalContext(age_years=age, sex=known.get(sex), indication="")
