"""A report as a page: PDF by typst, and that PDF as a DICOM Encapsulated PDF object.

Text from people and from headers reaches typst only as JSON data, so nothing anybody types is ever run as markup.
Fonts are those inside the typst wheel and Noto Sans CJK from a wheel of its own, so that a page is the same everywhere;
the machine's own are looked at only for what those lack.
"""

import json
import re
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import typst
from noto_cjk_sans_jp_regular import FONT_PATH as CJK_FONT
from pydicom.dataset import Dataset
from pydicom.uid import EncapsulatedPDFStorage

from readingroom.core.errors import BadInput
from readingroom.findings.model import Finding
from readingroom.findings.rules import gives_category
from readingroom.objects.common import MANUFACTURER, MODEL, finish, named
from readingroom.objects.content import ENCODER_VERSION, ContentFinding, ReportContent, StudyHeader
from readingroom.objects.source import plain_text, short
from readingroom.objects.words import (
    assessment_lines,
    reader_sentence,
    shown_date,
    shown_measure,
    shown_name,
    shown_time,
)

_SECTIONS = (
    ("indication", "Indication"),
    ("technique", "Technique"),
    ("comparison", "Comparison"),
    ("findings", "Findings"),
    ("impression", "Impression"),
)


_BOX = "□"
_NO_GLYPH = re.compile(r'the text `("(?:[^"\\]|\\.)*")` could not be displayed')
_ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")


@cache
def _template() -> bytes:
    return resources.files("readingroom.objects").joinpath("report.typ").read_bytes()


@cache
def _fonts(system_fonts: bool) -> typst.Fonts:
    return typst.Fonts(include_system_fonts=system_fonts, font_paths=[str(Path(str(CJK_FONT)).parent)])


def render_pdf(content: ReportContent) -> bytes:
    """Return the page (PDF/A-2b). It is marked DRAFT where nobody has verified the content.

    PDF/A forbids characters without a glyph. Those our fonts lack (Latin, Greek, Cyrillic, Chinese, Japanese and Korean
    are there) come from the machine's fonts where it has them; what is missing then is printed as a box, and the page
    says so.
    """
    data = json.dumps(_plain(_data(content)), ensure_ascii=False)
    for system_fonts in (False, True):
        page, missing = _compile(data, content, system_fonts)
        if page is not None:
            return page
    for character in missing:
        data = data.replace(character, _BOX)
    boxed = json.loads(data)
    boxed["warnings"].append(f"Characters this page's fonts lack are printed as {_BOX}; the DICOM header has them.")
    page, _ = _compile(json.dumps(boxed, ensure_ascii=False), content, system_fonts=True)
    if page is None:
        raise BadInput("The report cannot be set as a page.")
    return page


def _compile(data: str, content: ReportContent, system_fonts: bool) -> tuple[bytes | None, set[str]]:
    """Return the page, or None and the characters that no font has. Any other fault raises BadInput."""
    try:
        page: bytes = typst.compile(
            _template(),
            sys_inputs={"data": data},
            font_paths=_fonts(system_fonts),
            pdf_standards="a-2b",
            timestamp=int(content.written_at.timestamp()),
        )
    except typst.TypstError as error:
        # The message quotes the report's text, so it is neither logged nor passed on.
        texts = [json.loads(_escape_to_json(found)) for found in _NO_GLYPH.findall(error.diagnostic)]
        missing = {character for text in texts for character in text if character > "~"}
        if not missing:
            raise BadInput("The report cannot be set as a page.") from None
        return None, missing
    return page, set()


def _escape_to_json(quoted: str) -> str:
    # typst writes ``\u{200b}`` where JSON has ``\u200b``.
    return _ESCAPE.sub(lambda found: json.dumps(chr(int(found[1], 16)))[1:-1], quoted)


def encode_pdf(content: ReportContent, pdf: bytes | None = None) -> bytes:
    """Return the page as an Encapsulated PDF object (PS3.3 A.45.1); ``pdf`` where it is rendered already."""
    pdf = render_pdf(content) if pdf is None else pdf
    ds = Dataset()
    ds.SOPClassUID = EncapsulatedPDFStorage
    ds.SOPInstanceUID = content.uid("pdf")
    ds.SeriesInstanceUID = content.first.uid("pdf", "series")
    ds.Modality = "DOC"
    ds.SeriesNumber, ds.InstanceNumber = 950, 1 + len(content.addenda)
    ds.SeriesDescription = "Report (signed)" if content.verified else "Report (draft)"
    ds.Manufacturer, ds.ManufacturerModelName, ds.SoftwareVersions = MANUFACTURER, MODEL, f"encoder {ENCODER_VERSION}"
    ds.ConversionType = "WSD"
    ds.AcquisitionDateTime = ""
    ds.BurnedInAnnotation = "YES"
    ds.VerificationFlag = "VERIFIED" if content.verified else "UNVERIFIED"
    ds.DocumentTitle = content.title
    ds.ConceptNameCodeSequence = [named("imaging-report")]
    if content.sources:
        ds.SourceInstanceSequence = [_reference(image) for image in content.sources]
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf if len(pdf) % 2 == 0 else pdf + b"\x00"
    return finish(ds, content)


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item


def _data(content: ReportContent) -> dict[str, object]:
    header, written = content.header, content.local(content.written_at)
    return {
        "title": content.title,
        "day": [written.year, written.month, written.day],
        "mark": "" if content.verified else "DRAFT",
        "notice": content.research_notice if content.verified else f"DRAFT. {content.research_notice}",
        "running": f"{shown_name(header.PatientName)}  ·  {header.PatientID}  ·  {header.AccessionNumber}",
        "footer": f"Study revision {content.revision}. Written by {MANUFACTURER}.",
        "header": _header_rows(header),
        "warnings": _warnings(content),
        "sections": [
            [shown, text.strip()]
            for section, shown in _SECTIONS
            if (text := str(getattr(content.sections, section))).strip()
        ],
        "rows": [_row(number + 1, item) for number, item in enumerate(content.findings)],
        "empty": "No findings accepted." if content.verified else "No findings accepted yet.",
        "assessments": [
            [one.stated.category.meaning, "\n".join(assessment_lines(one, [item.finding for item in content.findings]))]
            for one in content.assessments
            if one.stated is not None
        ],
        "readers": [reader_sentence(run) for run in content.readers] or ["No AI reader has run on this study."],
        "signature": _signature(content),
        "addenda": [
            [f"Addendum {one.number}", one.text, f"{_signed_by(one.author)}\n{_time(content, one.at)}"]
            for one in content.addenda
        ],
    }


def _plain(value: Any) -> Any:
    """Return the data with every text in it free of characters no font draws."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _header_rows(header: StudyHeader) -> list[list[str]]:
    return [
        ["Patient", shown_name(header.PatientName) or "–"],
        ["Patient ID", header.PatientID or "–"],
        ["Born", shown_date(header.PatientBirthDate) or "–"],
        ["Sex", header.PatientSex or "–"],
        ["Accession", header.AccessionNumber or "–"],
        ["Study", " ".join([shown_date(header.StudyDate), header.StudyTime[:4]]).strip() or "–"],
        ["Description", header.StudyDescription or "–"],
        ["Referred by", shown_name(header.ReferringPhysicianName) or "–"],
    ]


def _warnings(content: ReportContent) -> list[str]:
    warnings = []
    if content.simulated:
        warnings.append("Simulated images. This is not a patient.")
    if content.partial:
        warnings.append(f"Partial study: {content.partial} The absence of a finding means nothing.")
    if content.addenda:
        count = len(content.addenda)
        warnings.append(f"This report has {count} {'addendum' if count == 1 else 'addenda'}: read the end of it too.")
    return warnings + list(content.flags)


def _row(number: int, item: ContentFinding) -> list[str]:
    finding = item.finding
    measures = "\n".join(f"{one.code.meaning} {shown_measure(one)}" for one in finding.measurements)
    certainty = "–" if finding.probability is None else f"{100 * finding.probability:.0f} %"
    source = f"{item.reader.name} {item.reader.version}" if item.reader else "Reading physician"
    decision = {"unread": "not verified", "accepted": "accepted", "edited": "edited", "added": "added"}[item.decision]
    by = f"{decision} by {item.by}" if item.by else decision
    return [str(number), _what(finding), measures or "–", certainty, f"{source}\n{by}"]


def _what(finding: Finding) -> str:
    parts = [finding.code.meaning]
    if finding.site:
        parts.append(finding.site.meaning.lower())
    if finding.side and finding.side.value:
        parts.append(finding.side.value)
    categories = [one.category.meaning for one in finding.assessments if gives_category(one)]
    return "\n".join([", ".join(parts), *categories])


def _signature(content: ReportContent) -> str:
    if content.verifier is None:
        return "Not signed. This draft has not been verified by anybody."
    role = f", {content.verifier.role}" if content.verifier.role else ""
    return f"{_signed_by(content.verifier.name)}{role}\n{_time(content, content.at)}"


def _signed_by(name: str) -> str:
    return f"Electronically signed by {short(name, 200)}"


def _time(content: ReportContent, moment: datetime) -> str:
    return shown_time(moment, content.zone)
