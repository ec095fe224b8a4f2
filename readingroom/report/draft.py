"""Drafts a report from accepted findings: sentences out of a versioned template file, numbers out of the findings.

The template says nothing the inputs do not: what no reader looked at, abstained from or failed on stands in the text,
and a partial study never reads as a negative. Pure.
"""

import json
import math
from datetime import date, timedelta
from functools import cache
from importlib import resources
from itertools import groupby

from readingroom.findings.codes import code
from readingroom.findings.model import Finding, ReaderState
from readingroom.findings.rules import gives_category
from readingroom.objects.content import Sections, StudyAssessment
from readingroom.objects.words import length_of, reader_sentence, shown_measure, shown_number
from readingroom.report.model import Measured, ReportBody, ReportFinding, ReportInputs, ReportItem, SeriesInfo

_SIZES = ("volume", "diameter", "long-axis", "short-axis")
_KINDS = ("hemorrhage-type",)
"""Characteristics that say what a finding is."""


@cache
def _words() -> dict[str, str]:
    words: dict[str, str] = json.loads(
        resources.files("readingroom.report").joinpath("sentences.json").read_text("utf-8")
    )
    return words


def draft(inputs: ReportInputs, previous: ReportBody | None = None) -> ReportBody:
    """Return a body drafted from ``inputs``. Sections that a person edited in ``previous`` keep their text.

    An edited section whose draft would now read otherwise is named in ``outdated``.
    """
    items = tuple(ReportItem(finding_id=item.finding.id, text=sentence(item)) for item in inputs.findings)
    drafted = Sections(
        indication=inputs.indication or _words()["no_indication"],
        technique="\n".join(_technique(series) for series in inputs.series),
        comparison=inputs.comparison or _compared(inputs) or _words()["no_comparison"],
        findings=_findings_text(inputs, items),
        impression=_impression(inputs),
    )
    sections, outdated = drafted, set()
    if previous is not None:
        edited = edited_sections(previous)
        sections = drafted.model_copy(update={name: getattr(previous.sections, name) for name in edited})
        outdated = set(previous.outdated) | {
            name for name in edited if getattr(drafted, name) != getattr(previous.drafted, name)
        }
    return ReportBody(
        **{name: getattr(inputs, name) for name in ReportInputs.model_fields},
        sections=sections,
        drafted=drafted,
        items=items,
        outdated=tuple(name for name in Sections.model_fields if name in outdated),
    )


def _compared(inputs: ReportInputs) -> str:
    """Return the earlier studies that readers compared the reported findings with, latest first."""
    now = inputs.header.StudyDate
    days = sorted({one.days_before for item in inputs.findings if item.run for one in item.finding.earlier})
    if not days or len(now) != 8:
        return ""
    today = date.fromisoformat(now)
    return "\n".join(
        _words()["compared"].format(date=(today - timedelta(days=one)).isoformat(), days=one) for one in days
    )


def edited_sections(body: ReportBody) -> tuple[str, ...]:
    """Return the names of the sections whose text is not the template's."""
    return tuple(name for name in Sections.model_fields if getattr(body.sections, name) != getattr(body.drafted, name))


def sentence(item: ReportFinding) -> str:
    """Return one finding as a sentence, e.g. ``Nodule in the right lung, 21 x 16 mm (mean 18 mm), ...``."""
    finding, words = item.finding, _words()
    return words["finding"].format(
        what=finding.code.meaning + _kind(finding),
        place=_place(finding),
        size=_size(finding),
        volume=_volume(finding),
        others=_others(finding),
        image=words["image"].format(number=item.image_number) if item.image_number is not None else "",
        comment=words["comment"].format(text=finding.comment.strip().rstrip(".")) if finding.comment.strip() else "",
        witness=_witness(item),
    )


def _kind(finding: Finding) -> str:
    words, known = _words(), {code(name) for name in _KINDS}
    said = [one for one in finding.characteristics if one.concept in known]
    parts = [
        words["kind_chance"].format(value=one.value.meaning.lower(), percent=f"{100 * one.probability:.0f}")
        if one.probability is not None
        else one.value.meaning.lower()
        for one in said
    ]
    return words["kind"].format(values=", ".join(parts)) if parts else ""


def _place(finding: Finding) -> str:
    words = _words()
    side = finding.side.value if finding.side else None
    if finding.site and side:
        place = words["place_side"].format(side=side, site=finding.site.meaning.lower())
    elif finding.site:
        place = words["place"].format(site=finding.site.meaning.lower())
    else:
        place = words["side_only"].format(side=side) if side else ""
    return place + (words["side_disputed"] if finding.side and not finding.side.agree else "")


def _size(finding: Finding) -> str:
    lengths: dict[str, float] = {axis.role: length_of(axis) for axis in finding.axes}
    for role, name in (("long", "long-axis"), ("short", "short-axis")):
        if role not in lengths and (value := _measured(finding, name)) is not None:
            lengths[role] = value
    if "long" in lengths and "short" in lengths:
        mean = (lengths["long"] + lengths["short"]) / 2
        # Fleischner 2017: diameters and their mean to the nearest whole millimetre.
        return _words()["size_axes"].format(
            long=_whole(lengths["long"]), short=_whole(lengths["short"]), mean=_whole(mean)
        )
    long = lengths.get("long", _measured(finding, "diameter"))
    return _words()["size_long"].format(long=_whole(long)) if long is not None else ""


def _volume(finding: Finding) -> str:
    volume = next((one for one in finding.measurements if one.code.value == code("volume").value), None)
    return _words()["volume"].format(value=shown_measure(volume)) if volume is not None else ""


def _others(finding: Finding) -> str:
    said = {code(name).value for name in _SIZES}
    return "".join(
        _words()["other"].format(name=_within(one.code.meaning), value=shown_measure(one))
        for one in finding.measurements
        if one.code.value not in said
    )


def _within(meaning: str) -> str:
    """A code's meaning within a sentence: ``nodule``, ``FLAIR abnormality``."""
    return " ".join(word if len(word) > 1 and word.isupper() else word.lower() for word in meaning.split(" "))


def _witness(item: ReportFinding) -> str:
    words = _words()
    if item.run is None or item.decision == "added":
        return words["added"]
    reader = f"{item.run.name} {item.run.version}"
    if item.decision == "edited":
        return words["edited"].format(reader=reader)
    if item.finding.probability is None:
        return words["accepted_plain"].format(reader=reader)
    return words["accepted"].format(reader=reader, percent=f"{100 * item.finding.probability:.0f}")


def _findings_text(inputs: ReportInputs, items: tuple[ReportItem, ...]) -> str:
    words = _words()
    lines = [words["partial"].format(reason=inputs.partial)] if inputs.partial else []
    lines += [item.text for item in items]
    if items and inputs.no_further_findings:
        lines.append(words["no_further"])
    elif not items:
        lines.append(words["none_no_further" if inputs.no_further_findings else "none"])
    lines += [_measured_sentence(one) for one in inputs.measured]
    lines += [assessment_sentence(one, inputs) for one in inputs.assessments if one.stated is not None]
    lines.append("")
    if inputs.readers:
        apart = [run for run in inputs.readers if run.state == ReaderState.NOT_APPLICABLE]
        lines += [words["readers_heading"], *(reader_sentence(run) for run in inputs.readers if run not in apart)]
        if apart:
            names = "; ".join(f"{run.name} {run.version}" for run in apart)
            lines.append(words["readers_apart"].format(readers=names))
    else:
        lines.append(words["no_readers"])
    return "\n".join(lines)


def _measured_sentence(one: Measured) -> str:
    words = _words()
    values = [
        words["measured_one"].format(name=m.code.meaning.lower(), value=shown_measure(m)) for m in one.measurements
    ]
    return words["measured"].format(reader=one.reader, values="; ".join(values))


def assessment_sentence(one: StudyAssessment, inputs: ReportInputs) -> str:
    """Return what a table says of the study: category, rule and why, dominant finding, recommendation, what is open.

    Where a reader said otherwise that is said too. Raises ValueError where nothing supports a category.
    """
    stated, words = one.stated, _words()
    if stated is None:
        raise ValueError("nothing that people stand behind supports a category")
    leading = next((item for item in inputs.findings if item.finding.id == one.dominant), None)
    readers = "".join(
        words["assessment_reader"].format(
            reader=f"{said.name} {said.version}", category=said.assessment.category.meaning, rule=said.assessment.rule
        )
        for said in one.differing()
    )
    because = "; ".join(text.rstrip(".") for text in stated.because)
    if not gives_category(stated):
        return words["assessment_none"].format(table=one.table, edition=one.edition, because=because, readers=readers)
    return words["assessment"].format(
        category=stated.category.meaning,
        table=one.table,
        edition=one.edition,
        rule=stated.rule,
        because=because,
        dominant=_dominant(leading) if leading and len(inputs.findings) > 1 else "",
        advice=words["assessment_advice"].format(advice=stated.advice.rstrip(".")) if stated.advice else "",
        missing=words["assessment_missing"].format(missing=", ".join(stated.missing)) if stated.missing else "",
        unjudged=words["assessment_unjudged"].format(count=one.unjudged) if one.unjudged else "",
        readers=readers,
    )


def _dominant(item: ReportFinding) -> str:
    words = _words()
    return words["assessment_dominant"].format(
        what=_within(item.finding.code.meaning),
        place=_place(item.finding),
        size=_size(item.finding),
        image=words["image"].format(number=item.image_number) if item.image_number is not None else "",
    )


def _assessment_lines(inputs: ReportInputs) -> list[str]:
    """Return the category and recommendation of each table that gives one."""
    words, lines = _words(), []
    for one in inputs.assessments:
        if one.stated is not None and gives_category(one.stated):
            name = "impression_assessment" if one.stated.advice else "impression_assessment_plain"
            lines.append(words[name].format(category=one.stated.category.meaning, advice=one.stated.advice.rstrip(".")))
    return lines


def _impression(inputs: ReportInputs) -> str:
    words = _words()
    if not inputs.findings:
        text = words["impression_none"]
    else:
        kinds = sorted(f"{_within(item.finding.code.meaning)}{_place(item.finding)}" for item in inputs.findings)
        counted = [(kind, len(list(group))) for kind, group in groupby(kinds)]
        what = "; ".join(kind if count == 1 else f"{count} x {kind}" for kind, count in counted)
        name = "impression_one" if len(inputs.findings) == 1 else "impression_many"
        text = words[name].format(count=len(inputs.findings), what=what)
    partial = [words["partial"].format(reason=inputs.partial)] if inputs.partial else []
    return "\n".join([*partial, text, *_assessment_lines(inputs)])


def _technique(series: SeriesInfo) -> str:
    words = _words()
    contrast = {True: "technique_contrast_yes", False: "technique_contrast_no"}.get(series.contrast)  # type: ignore[arg-type]
    thickness = series.slice_thickness_mm
    return words["technique"].format(
        modality=series.Modality or "Images",
        description=f" ({series.SeriesDescription})" if series.SeriesDescription else "",
        images=series.images,
        plane=words["technique_plane"].format(plane=series.plane) if series.plane else "",
        thickness=words["technique_thickness"].format(value=shown_number(thickness)) if thickness else "",
        kernel=words["technique_kernel"].format(kernel=series.kernel) if series.kernel else "",
        contrast=words[contrast] if contrast else "",
    )


def _measured(finding: Finding, name: str) -> float | None:
    wanted = code(name)
    return next((one.value for one in finding.measurements if one.code.value == wanted.value), None)


def _whole(value: float) -> str:
    # Half up, not to even: 18.5 mm is 19 mm to every reader.
    return str(math.floor(value + 0.5))
