"""QIDO-RS (PS3.18 section 10.6): from query parameters to rows to DICOM JSON.

What is asked reaches the database as bound parameters only. Images hidden by a rejection note are not found, nor
are series and studies with nothing else in them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydicom.datadict import tag_for_keyword
from sqlalchemy import ColumnElement, Connection, Select, bindparam, exists, func, select

from readingroom.access.actor import Actor
from readingroom.archive.attributes import (
    ATTRIBUTES,
    INSTANCE,
    MODALITIES_IN_STUDY,
    ORDER,
    PATIENT,
    SERIES,
    STUDY,
    Attribute,
    Level,
    keyword_of,
)
from readingroom.archive.matching import match
from readingroom.archive.receive import Archive
from readingroom.archive.render_json import rendered
from readingroom.archive.tables import Instance, Patient, Series, Study
from readingroom.archive.visibility import visible
from readingroom.core.database import MAX_INTEGER
from readingroom.core.errors import BadInput

MAX_RESULTS = 5000
_RESERVED = frozenset(
    {"limit", "offset", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching"}
)


@dataclass(frozen=True)
class Query:
    """One search. ``within``: UIDs the path gives. ``ignored``: parameters that are not supported."""

    level: Level
    within: dict[str, str]
    filters: tuple[tuple[str, str], ...] = ()
    fields: tuple[str, ...] = ()
    fuzzy: bool = False
    limit: int = MAX_RESULTS
    offset: int = 0
    ignored: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Keywords of what is matched, in the path or after it: never what they are matched against."""
        return sorted({*self.within, *(keyword for keyword, _value in self.filters)})


@dataclass(frozen=True)
class Found:
    """``body``: a JSON array. ``warnings``: texts for the Warning header (code 299)."""

    body: bytes
    count: int
    warnings: tuple[str, ...] = field(default=())


def parse(level: Level, within: dict[str, str], pairs: Sequence[tuple[str, str]]) -> Query:
    """Read query parameters. Raises BadInput for a limit or offset that is none."""
    filters: list[tuple[str, str]] = []
    fields: list[str] = []
    ignored: list[str] = []
    options = {"limit": MAX_RESULTS, "offset": 0}
    fuzzy = False
    for name, value in pairs:
        lower = name.lower()
        if lower in options:
            options[lower] = _count(lower, value)
        elif lower == "fuzzymatching":
            fuzzy = value.lower() == "true"
        elif lower == "includefield":
            fields += [keyword_of(part.strip()) for part in value.split(",") if part.strip()]
        elif lower not in _RESERVED:
            keyword = keyword_of(name)
            attribute = ATTRIBUTES.get(keyword)
            # An instance's attributes say nothing at a higher level; a series' can still choose studies.
            known = keyword == MODALITIES_IN_STUDY or (
                attribute is not None and not (attribute.level == "instance" and level != "instance")
            )
            (filters.append((keyword, value)) if known else ignored.append(keyword))
    return Query(
        level,
        within,
        tuple(filters),
        tuple(fields),
        fuzzy,
        min(options["limit"], MAX_RESULTS),
        min(options["offset"], MAX_INTEGER),
        tuple(ignored),
    )


def search(archive: Archive, query: Query, base_url: str, actor: Actor) -> Found:
    """Search what ``actor`` may see. ``base_url``: of DICOMweb, for RetrieveURL."""
    with archive.database.read() as session:
        connection = session.connection()
        rows = connection.execute(_statement(query).where(visible(actor))).all()
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        items = _FORM[query.level](connection, rows, base_url)
    if query.fields:
        _add_fields(archive, query, rows, items)
    warnings = []
    if more:
        warnings.append("There are more results: ask again with offset.")
    if query.ignored:
        # The names come from the query, so they are not repeated.
        warnings.append(f"{len(query.ignored)} of the matching attributes are not supported and were ignored.")
    if query.fuzzy:
        warnings.append("Fuzzy matching compares the beginnings of name components, without regard to case.")
    body = json.dumps(items, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return Found(body, len(items), tuple(warnings))


def _columns(level: Level) -> list[Any]:
    return [attribute.column for attribute in ATTRIBUTES.values() if ORDER[attribute.level] <= ORDER[level]]


def _visible_series() -> ColumnElement[bool]:
    return exists().where(INSTANCE.series_pk == SERIES.id, INSTANCE.hidden == "")


def _visible_study() -> ColumnElement[bool]:
    inner = Series.__table__.alias("visible_series")
    return exists().where(inner.c.study_id == STUDY.id, INSTANCE.series_pk == inner.c.id, INSTANCE.hidden == "")


_IN_STUDY = Study.__table__.join(Patient.__table__, PATIENT.id == STUDY.patient_pk)
_IN_SERIES = Series.__table__.join(_IN_STUDY, STUDY.id == SERIES.study_id)
_IN_INSTANCE = Instance.__table__.join(_IN_SERIES, SERIES.id == INSTANCE.series_pk)
# Built once: making a statement costs more than running it.
_BASE: dict[Level, Select[Any]] = {
    "study": select(STUDY.id, *_columns("study"))
    .select_from(_IN_STUDY)
    .where(_visible_study())
    .order_by(STUDY.StudyDate.desc(), STUDY.StudyTime.desc(), STUDY.id),
    "series": select(SERIES.id, *_columns("series"))
    .select_from(_IN_SERIES)
    .where(_visible_series())
    .order_by(STUDY.StudyDate.desc(), STUDY.id, SERIES.SeriesNumber, SERIES.id),
    "instance": select(INSTANCE.id, *_columns("instance"), INSTANCE.TransferSyntaxUID)
    .select_from(_IN_INSTANCE)
    .where(INSTANCE.hidden == "")
    .order_by(STUDY.StudyDate.desc(), SERIES.SeriesNumber, SERIES.id, INSTANCE.InstanceNumber, INSTANCE.id),
}
_STUDY_COUNTS = (
    select(SERIES.study_id, SERIES.Modality, func.count(SERIES.id.distinct()), func.count(INSTANCE.id))
    .select_from(Series.__table__.join(Instance.__table__, INSTANCE.series_pk == SERIES.id))
    .where(SERIES.study_id.in_(bindparam("ids", expanding=True)), INSTANCE.hidden == "")
    .group_by(SERIES.study_id, SERIES.Modality)
    .order_by(SERIES.Modality)
)
_SERIES_COUNTS = (
    select(INSTANCE.series_pk, func.count())
    .where(INSTANCE.series_pk.in_(bindparam("ids", expanding=True)), INSTANCE.hidden == "")
    .group_by(INSTANCE.series_pk)
)


def _statement(query: Query) -> Select[Any]:
    conditions = [ATTRIBUTES[keyword].column == uid for keyword, uid in query.within.items()]
    for keyword, value in query.filters:
        condition = _condition(query, keyword, value)
        if condition is not None:
            conditions.append(condition)
    # One more than asked for tells whether there are more.
    return _BASE[query.level].where(*conditions).offset(query.offset).limit(query.limit + 1)


def _condition(query: Query, keyword: str, value: str) -> ColumnElement[bool] | None:
    if keyword == MODALITIES_IN_STUDY:
        other = Series.__table__.alias("any_series")
        matched = match(Attribute(keyword, "00080061", "CS", "series", "text", other.c.Modality), value, fuzzy=False)
        return None if matched is None else exists().where(other.c.study_id == STUDY.id, matched)
    attribute = ATTRIBUTES[keyword]
    matched = match(attribute, value, fuzzy=query.fuzzy)
    if matched is None or ORDER[attribute.level] <= ORDER[query.level]:
        return matched
    return exists().where(SERIES.study_id == STUDY.id, matched)


def _studies(connection: Connection, rows: Sequence[Any], base_url: str) -> list[dict[str, Any]]:
    counts = _study_counts(connection, [row[0] for row in rows])
    items = []
    for row in rows:
        modalities, series, instances = counts.get(row[0], ([], 0, 0))
        item = _item(row, "study", f"{base_url}/studies/{row.StudyInstanceUID}")
        item["00080061"] = element("CS", *modalities)
        item["00201206"] = element("IS", series)
        item["00201208"] = element("IS", instances)
        items.append(item)
    return items


def _series(connection: Connection, rows: Sequence[Any], base_url: str) -> list[dict[str, Any]]:
    counts: dict[int, int] = {}
    for part in _batches([row[0] for row in rows]):
        counts.update((pk, count) for pk, count in connection.execute(_SERIES_COUNTS, {"ids": part}))
    items = []
    for row in rows:
        item = _item(row, "series", f"{base_url}/studies/{row.StudyInstanceUID}/series/{row.SeriesInstanceUID}")
        item["00201209"] = element("IS", counts.get(row[0], 0))
        items.append(item)
    return items


def _instances(_connection: Connection, rows: Sequence[Any], base_url: str) -> list[dict[str, Any]]:
    items = []
    for row in rows:
        url = f"{base_url}/studies/{row.StudyInstanceUID}/series/{row.SeriesInstanceUID}/instances/{row.SOPInstanceUID}"
        item = _item(row, "instance", url)
        item["00083002"] = element("UI", row.TransferSyntaxUID)
        items.append(item)
    return items


_FORM = {"study": _studies, "series": _series, "instance": _instances}


def _study_counts(connection: Connection, ids: list[str]) -> dict[str, tuple[list[str], int, int]]:
    counts: dict[str, tuple[list[str], int, int]] = {}
    for part in _batches(ids):
        for study_id, modality, series, instances in connection.execute(_STUDY_COUNTS, {"ids": part}):
            modalities, all_series, all_instances = counts.get(study_id, ([], 0, 0))
            counts[study_id] = (
                [*modalities, modality] if modality else modalities,
                all_series + series,
                all_instances + instances,
            )
    return counts


def _batches(values: list[Any]) -> list[list[Any]]:
    return [values[n : n + 500] for n in range(0, len(values), 500)]


# Tag and VR of each value of a row, after its key.
_LAYOUT: dict[Level, list[tuple[str, str]]] = {
    level: [(a.tag, a.vr) for a in ATTRIBUTES.values() if ORDER[a.level] <= ORDER[level]] for level in ORDER
}


def _item(row: Any, level: Level, url: str) -> dict[str, Any]:
    item: dict[str, Any] = {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081190": {"vr": "UR", "Value": [url]},
    }
    for (tag, vr), value in zip(_LAYOUT[level], row[1:], strict=False):
        if value is None or value == "":
            item[tag] = {"vr": vr}
        else:
            item[tag] = person(value) if vr == "PN" else {"vr": vr, "Value": [value]}
    return item


def element(vr: str, *values: Any) -> dict[str, Any]:
    """Return one element of DICOM JSON; empty values are left out."""
    kept = [value for value in values if value is not None and value != ""]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}


def person(name: str) -> dict[str, Any]:
    """Return a person name element."""
    groups = dict(zip(("Alphabetic", "Ideographic", "Phonetic"), name.split("="), strict=False))
    kept = {key: value for key, value in groups.items() if value}
    return {"vr": "PN", "Value": [kept]} if kept else {"vr": "PN"}


def _add_fields(archive: Archive, query: Query, rows: Sequence[Any], items: list[dict[str, Any]]) -> None:
    """Add ``includefield`` attributes that the index does not hold, from one instance of each result."""
    tags = set()
    for keyword in query.fields:
        tag = tag_for_keyword(keyword)
        name = f"{tag:08X}" if tag is not None else keyword
        if keyword != "all" and len(name) == 8:
            tags.add(name)
    missing = [tag for tag in tags if items and tag not in items[0]]
    if not missing:
        return
    pks = _witnesses(archive, query.level, [row[0] for row in rows])
    headers = rendered(archive, sorted(set(pks.values())))
    for row, item in zip(rows, items, strict=True):
        if row[0] not in pks:
            continue
        header = json.loads(headers[pks[row[0]]].json())
        item.update({tag: header[tag] for tag in missing if tag in header and "BulkDataURI" not in header[tag]})


def _witnesses(archive: Archive, level: Level, ids: list[Any]) -> dict[Any, int]:
    """Return, for each row, the key of an instance whose header speaks for it."""
    if level == "instance":
        return {pk: pk for pk in ids}
    group = SERIES.study_id if level == "study" else INSTANCE.series_pk
    found: dict[Any, int] = {}
    with archive.database.read() as session:
        for part in _batches(ids):
            statement = (
                select(group, func.min(INSTANCE.id))
                .select_from(Instance.__table__.join(Series.__table__, SERIES.id == INSTANCE.series_pk))
                .where(group.in_(part), INSTANCE.hidden == "")
                .group_by(group)
            )
            found.update((key, pk) for key, pk in session.execute(statement))
    return found


def _count(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise BadInput(f"{name} must be a whole number.", "Give 0 or more.")
    return int(value)
