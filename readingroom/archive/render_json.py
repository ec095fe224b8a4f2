"""DICOM JSON of instances, rendered once per version and kept, off the path on which a sender waits.

The worker calls ``render_waiting``; a request that comes earlier renders its own.
"""

import logging
import warnings
import zlib
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import and_, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from readingroom.archive.dicom_json import bulk_reference, to_json
from readingroom.archive.frames import FrameMap, locate
from readingroom.archive.header_scan import Buffer, Header, scan
from readingroom.archive.part10 import unwrap
from readingroom.archive.receive import Archive
from readingroom.archive.tables import Instance, InstanceJson
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.core.sealed import Source, mapped

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rendered:
    """``body``: zlib of the JSON object. ``frames``: where the frames lie, None without pixel data."""

    body: bytes
    frames: FrameMap | None

    def json(self) -> bytes:
        return zlib.decompress(self.body)


_FIND = (
    select(
        Instance.id,
        Instance.version,
        Instance.store_key,
        Instance.TransferSyntaxUID,
        InstanceJson.body,
        InstanceJson.frames,
    )
    .outerjoin(InstanceJson, and_(InstanceJson.instance_pk == Instance.id, InstanceJson.version == Instance.version))
    .where(Instance.id.in_(bindparam("ids", expanding=True)))
)


def render_waiting(archive: Archive, limit: int = 100) -> int:
    """Render up to ``limit`` instances that have no JSON of their present version. Returns how many."""
    return render_after(archive, 0, limit)[0]


def render_after(archive: Archive, after: int, limit: int) -> tuple[int, int]:
    """As ``render_waiting``, of the instances whose key is above ``after``: whoever renders one batch after the other
    need not walk past all that is rendered each time. Returns how many and the last key seen."""
    statement = (
        select(Instance.id, Instance.version, Instance.store_key, Instance.TransferSyntaxUID)
        .outerjoin(InstanceJson, InstanceJson.instance_pk == Instance.id)
        .where(Instance.id > after, or_(InstanceJson.instance_pk.is_(None), InstanceJson.version != Instance.version))
        .order_by(Instance.id)
        .limit(limit)
    )
    with archive.database.read() as session:
        rows = session.execute(statement).all()
    done = []
    for row in rows:
        try:
            done.append((row.id, row.version, render_file(archive.store.source(row.store_key), row.TransferSyntaxUID)))
        except (OSError, ReadingRoomError) as error:
            # Perhaps only for now, so nothing is kept; and one file that is lost must not hold up the others.
            log.error("instance %d cannot be rendered: %s", row.id, type(error).__name__)
    _keep(archive, done)
    return len(rows), rows[-1].id if rows else after


def rendered(archive: Archive, instance_pks: list[int]) -> dict[int, Rendered]:
    """Return the JSON of instances by key, rendering and keeping what is not there yet."""
    found: dict[int, Rendered] = {}
    fresh: list[tuple[int, int, Rendered]] = []
    for start in range(0, len(instance_pks), 500):
        part = instance_pks[start : start + 500]
        with archive.database.read() as session:
            rows = session.connection().execute(_FIND, {"ids": part}).all()
        for row in rows:
            if row.body is not None:
                found[row.id] = Rendered(row.body, FrameMap.from_json(row.frames) if row.frames else None)
                continue
            found[row.id] = render_file(archive.store.source(row.store_key), row.TransferSyntaxUID)
            fresh.append((row.id, row.version, found[row.id]))
    _keep(archive, fresh)
    return found


def render_file(source: Source, transfer_syntax_uid: str) -> Rendered:
    """Render one stored file. What cannot be read gives an object with no more than its transfer syntax.

    Raises OSError when the file cannot be opened, SealBroken when it does not unseal.
    """
    extra: dict[str, object] = {"00083002": {"vr": "UI", "Value": [transfer_syntax_uid]}}
    try:
        with mapped(source) as data:
            header = scan(data, unwrap(data).dataset_start, transfer_syntax_uid)
            ds = _header(source)
            frames = _located(data, header, ds, transfer_syntax_uid)
    except BadInput:
        header, ds, frames = Header(), Dataset(), None
    if header.pixels is not None:
        vr = "OB" if header.encapsulated or not _is_wide(ds) else "OW"
        extra["7FE00010"] = {"vr": vr, **bulk_reference("7FE00010")}
    return Rendered(zlib.compress(to_json(ds, extra), 6), frames)


def _located(data: Buffer, header: Header, ds: Dataset, transfer_syntax_uid: str) -> FrameMap | None:
    try:
        return locate(data, header, ds, transfer_syntax_uid)
    except Exception:
        # Whatever kind pydicom raises for an element that it converts only when asked.
        return FrameMap("decode")


def _is_wide(ds: Dataset) -> bool:
    try:
        return int(ds.get("BitsAllocated") or 16) > 8
    except Exception:
        return True


def _header(source: Source) -> Dataset:
    with warnings.catch_warnings(), source.open("rb") as file:
        # pydicom's warnings quote values.
        warnings.simplefilter("ignore")
        try:
            return dcmread(file, stop_before_pixels=True, force=True)
        except Exception:
            # Whatever kind pydicom raises on a header our walk could follow.
            return Dataset()


def _keep(archive: Archive, done: list[tuple[int, int, Rendered]]) -> None:
    """Write what was rendered, unless another process has already written that version or a newer one."""
    if not done:
        return
    # Both dialects have the statement; SQLAlchemy has one constructor for each.
    insert = sqlite_insert if archive.database.engine.dialect.name == "sqlite" else postgresql_insert
    statement = insert(InstanceJson)
    statement = statement.on_conflict_do_update(
        index_elements=[InstanceJson.instance_pk],
        set_={name: statement.excluded[name] for name in ("version", "body", "frames")},
        where=InstanceJson.version < statement.excluded.version,
    )
    for start in range(0, len(done), 100):
        values = [
            {
                "instance_pk": pk,
                "version": version,
                "body": item.body,
                "frames": item.frames.to_json() if item.frames else None,
            }
            for pk, version, item in done[start : start + 100]
        ]
        with archive.database.write() as session:
            session.connection().execute(statement, values)
