"""What a series is: modality, kind, body region, plane, contrast, MR sequence, kernel, thickness.

Two witnesses are heard: the header (through the word tables of ``series_rules.json``) and the voxels themselves
(``content.py``). Where they disagree the content wins, the confidence drops and the reason says so.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from readingroom.core.sealed import Source
from readingroom.imaging.geometry import plane_of, slice_normal
from readingroom.imaging.header import parse_numbers
from readingroom.imaging.series import SeriesResult, read_series
from readingroom.intake.content import Content, describe
from readingroom.readers.contract import SeriesType

_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "StudyDescription")
_TRUNK = frozenset({"chest", "abdomen", "pelvis"})


@lru_cache(maxsize=1)
def rules() -> dict[str, Any]:
    """The word tables, with their version."""
    return dict(json.loads(files("readingroom.intake").joinpath("series_rules.json").read_text("utf-8")))


def type_series(
    paths: Sequence[Source], result: SeriesResult | None = None, content: Content | None = None
) -> SeriesType:
    """Type one series. ``result``: what ``read_series`` made of the same files, read here (headers) if not given.

    Never raises for what is in the files: what cannot be typed is ``unsupported`` or ``object`` with its reason.
    """
    if result is None:
        result = read_series(paths, pixels=False)
    headers, volume = result.headers, result.volume
    if content is None and volume is not None:
        content = describe(volume)
    modality = headers.get("Modality", "")
    kind, why = _kind(result)
    by_header, header_witness = _header_region(headers)
    region, witnesses, confidence, note = _region(by_header, header_witness, content)
    if kind in ("object", "localizer"):
        confidence = max(confidence, 0.9)
    thickness = parse_numbers(headers.get("SliceThickness", ""))
    contrast = _contrast(headers)
    sequence, doubt = sequence_of(headers, contrast) if kind == "mr-volume" else ("", "")
    return SeriesType(
        modality=modality,
        kind=kind,
        region=region,
        region_by=witnesses,
        plane=_plane(result),
        contrast=contrast,
        sequence=sequence,
        kernel=headers.get("ConvolutionKernel", ""),
        slice_thickness_mm=thickness[0] if thickness and thickness[0] > 0 else None,
        confidence=confidence,
        reason=" ".join(part for part in (why, note, doubt) if part),
    )


def _kind(result: SeriesResult) -> tuple[str, str]:
    headers, table = result.headers, rules()
    modality = headers.get("Modality", "")
    fatal = next((p for p in result.problems if p.fatal), None)
    if modality in table["object_modalities"]:
        return "object", f"Modality {modality}."
    if headers.get("SOPClassUID") in table["secondary_capture_classes"]:
        return "derived", "Secondary capture."
    if modality in table["projection_modalities"]:
        return "projection", f"Modality {modality}."
    if fatal and fatal.code in ("not-an-image", "unreadable"):
        return "object", fatal.detail
    if fatal and (fatal.code == "localizer" or _called_localizer(headers)):
        return "localizer", fatal.detail
    image_type = [part.strip().upper() for part in headers.get("ImageType", "").split("\\")]
    derived = next((word for word in table["derived_image_types"] if word in image_type), "")
    if derived:
        return "derived", f"Image type {derived}."
    if fatal:
        return "unsupported", fatal.detail
    if image_type[:2] == ["DERIVED", "SECONDARY"] and (result.volume is None or len(result.slices) < 20):
        return "derived", "Image type DERIVED, SECONDARY."
    if modality in ("CT", "MR"):
        return f"{modality.lower()}-volume", ""
    return "unsupported", f"Modality {modality or 'unknown'} is not read yet."


def _called_localizer(headers: Mapping[str, str]) -> bool:
    return _has_word(headers.get("SeriesDescription", ""), rules()["localizer_words"])


def _region(by_header: str, witness: str, content: Content | None) -> tuple[str, tuple[str, ...], float, str]:
    """``(region, witnesses, confidence, note)`` from what header and content say."""
    seen = content.region if content else ""
    if not seen:
        return by_header, (witness,) if by_header else (), 0.6 if by_header else 0.2, ""
    if not by_header:
        return seen, ("content",), 0.8, ""
    if by_header == seen:
        return seen, ("content", witness), 0.95, ""
    if seen == "abdomen" and by_header in ("pelvis", "chest", "limb"):
        # Content sees a trunk without lungs: it cannot tell abdomen from pelvis, nor a chest cut short.
        return by_header, (witness,), 0.6, ""
    if seen == "chest" and by_header in _TRUNK:
        return seen, ("content",), 0.8, f"The voxels show lungs; {witness} says {by_header}."
    return seen, ("content",), 0.5, f"The voxels show the {seen}; {witness} says {by_header}: they disagree."


def _header_region(headers: Mapping[str, str]) -> tuple[str, str]:
    """``(region, BodyPartExamined | description)``; empty where no word of the tables is found."""
    region = region_of_text(headers.get("BodyPartExamined", ""))
    if region:
        return region, "BodyPartExamined"
    for keyword in _DESCRIPTIONS:
        region = region_of_text(headers.get(keyword, ""))
        if region:
            return region, "description"
    return "", ""


def region_of_text(text: str) -> str:
    """The first region whose words occur in a description, in any of the table's languages; or empty."""
    return next((region for region, words in rules()["region_words"].items() if _has_word(text, words)), "")


def _contrast(headers: Mapping[str, str]) -> bool | None:
    table = rules()
    text = headers.get("SeriesDescription", "")
    agent = headers.get("ContrastBolusAgent", "")
    if agent:
        return not _has_word(agent, (*table["no_contrast_words"], "none", "no"))
    if _has_word(text, table["no_contrast_words"]):
        return False
    return True if _has_word(text, table["contrast_words"]) else None


def sequence_of(headers: Mapping[str, str], contrast: bool | None = None) -> tuple[str, str]:
    """``(sequence, doubt)`` of an MR series: ``FLAIR``, ``T1``, ``T1-post``, ``T2``, ``T2*``, ``PD``, ``DWI``,
    ``perfusion``, ``angiography``, or empty where neither the name nor TR, TE and TI tell.

    Where name and times contradict each other the sequence is unknown and ``doubt`` says so. Without a word of a
    contrast agent T1 is ``T1``. ``contrast``: what the header says of it.
    """
    table = rules()["mr_sequences"]
    text = " ".join(headers.get(k, "") for k in ("SeriesDescription", "ProtocolName", "SequenceName")).lower()
    named = next((name for name, pattern in table["names"] if re.search(pattern, text)), "")
    possible = _by_timing(headers, table["timing"])
    # "FLAIR" is also said of T1 with a short inversion time; any name may be left from the protocol before.
    if named in ("T1", "T2", "FLAIR") and possible and named not in possible:
        return "", f"It is called {named}, and its times are not those of {named}: the sequence is unknown."
    found = named or (next(iter(possible)) if len(possible) == 1 else "")
    if found != "T1" or re.search(table["pre_contrast"], text):
        return found, ""
    return ("T1-post" if contrast or re.search(table["post_contrast"], text) else "T1"), ""


def _by_timing(headers: Mapping[str, str], table: Sequence[Mapping[str, Any]]) -> set[str]:
    """The sequences that TR, TE and TI (ms) allow; none where TR or TE is not given."""
    said = {k: parse_numbers(headers.get(k, "")) for k in ("RepetitionTime", "EchoTime", "InversionTime")}
    times = {k: values[0] for k, values in said.items() if values and values[0] > 0}
    if not {"RepetitionTime", "EchoTime"} <= set(times):
        return set()
    return {
        row["sequence"]
        for row in table
        if all(row[k][0] <= v <= row[k][1] for k, v in times.items() if k in row)
        and not (row.get("no_inversion") and "InversionTime" in times)
    }


def _has_word(text: str, words: Sequence[str]) -> bool:
    tokens = set(_tokens(text))
    joined = {word for word in words if not word.endswith("*")}
    stems = tuple(word[:-1] for word in words if word.endswith("*"))
    return bool(tokens & joined) or any(token.startswith(stems) for token in tokens if stems)


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    # "l_spine" and "c-spine" are words of the tables; their parts count too.
    whole = re.findall(r"[^\s/,.;:()^]+", plain)
    return [*whole, *(part for word in whole for part in re.split(r"[_\-0-9]+", word) if part)]


def _plane(result: SeriesResult) -> str:
    if result.volume is not None:
        return plane_of(result.volume.affine[:3, 2])
    normals = [s.ImageOrientationPatient for s in result.slices if s.ImageOrientationPatient]
    if not normals:
        return ""
    try:
        planes = {plane_of(slice_normal(orientation)) for orientation in normals}
    except (ValueError, FloatingPointError):
        return ""
    return planes.pop() if len(planes) == 1 else ""
