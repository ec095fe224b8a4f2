"""WADO-RS (PS3.18 section 10.4): whole instances, frames and bulk data, as stored or as explicit little endian.

Hidden images are not there for anyone. Whole instances stream from their files; a frame is a seek and a read.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian
from sqlalchemy import bindparam, select

from readingroom.archive.accept import Accepted, covers
from readingroom.archive.dicom_json import BULK_MARK, find_bulk
from readingroom.archive.frames import FrameMap
from readingroom.archive.header_scan import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, NATIVE
from readingroom.archive.multipart import Writer
from readingroom.archive.receive import Archive
from readingroom.archive.render_json import rendered
from readingroom.archive.tables import Instance, InstanceJson, Series, Study
from readingroom.core.errors import BadInput, NotFound, Unsupported
from readingroom.core.sealed import Source

_CHUNK = 4 << 20
OCTETS = "application/octet-stream"
_MEDIA_TYPES: dict[str, str] = {
    **dict.fromkeys(NATIVE, OCTETS),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 57, 70)), "image/jpeg"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (80, 81)), "image/jls"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (90, 91)), "image/jp2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (92, 93)), "image/jpx"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (201, 202)), "image/jphc"),
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in (100, 101)), "video/mpeg2"),
    **dict.fromkeys((f"1.2.840.10008.1.2.4.{n}" for n in range(102, 109)), "video/mp4"),
}
"""Media type of a frame by transfer syntax (PS3.18 table 8.7.3-4)."""


class NotAcceptable(Unsupported):
    """None of the forms the client accepts can be made."""

    code = "not-acceptable"


@dataclass(frozen=True)
class StoredInstance:
    """A visible instance and where its bytes are."""

    pk: int
    StudyInstanceUID: str
    SeriesInstanceUID: str
    SOPInstanceUID: str
    SOPClassUID: str
    TransferSyntaxUID: str
    NumberOfFrames: int
    store_key: str
    size: int

    @property
    def location(self) -> str:
        return f"/studies/{self.StudyInstanceUID}/series/{self.SeriesInstanceUID}/instances/{self.SOPInstanceUID}"


@dataclass(frozen=True)
class Part:
    """One part of an answer: its media type and bytes."""

    media_type: str
    data: bytes


_COLUMNS = (
    Instance.id,
    Study.StudyInstanceUID,
    Series.SeriesInstanceUID,
    Instance.SOPInstanceUID,
    Instance.SOPClassUID,
    Instance.TransferSyntaxUID,
    Instance.NumberOfFrames,
    Instance.store_key,
    Instance.size,
)


_FIND_STUDY = (
    select(*_COLUMNS)
    .join(Series, Series.id == Instance.series_pk)
    .join(Study, Study.id == Series.study_id)
    .where(Study.StudyInstanceUID == bindparam("study"), Instance.hidden == "")
    .order_by(Series.SeriesNumber, Series.id, Instance.InstanceNumber, Instance.id)
)
_FIND_SERIES = _FIND_STUDY.where(Series.SeriesInstanceUID == bindparam("series"))
_FIND_INSTANCE = _FIND_SERIES.where(Instance.SOPInstanceUID == bindparam("instance"))
_FIND_FRAMES = select(InstanceJson.frames).where(
    InstanceJson.instance_pk == bindparam("pk"),
    Instance.id == InstanceJson.instance_pk,
    InstanceJson.version == Instance.version,
)


def find(archive: Archive, study: str, series: str = "", instance: str = "") -> list[StoredInstance]:
    """Return the visible instances at a study, series or instance, in order. Raises NotFound."""
    statement = _FIND_INSTANCE if instance else _FIND_SERIES if series else _FIND_STUDY
    with archive.database.read() as session:
        rows = session.connection().execute(statement, {"study": study, "series": series, "instance": instance}).all()
    if not rows:
        raise NotFound("There is no such study, series or instance.")
    return [StoredInstance(*row) for row in rows]


def metadata(archive: Archive, instances: Sequence[StoredInstance], base_url: str) -> Iterator[bytes]:
    """Yield the JSON array of the instances' headers, from what was rendered once, without parsing it again."""
    before = b"["
    for start in range(0, len(instances), 100):
        part = instances[start : start + 100]
        bodies = rendered(archive, [instance.pk for instance in part])
        pieces = []
        for instance in part:
            address = f'"BulkDataURI":"{base_url}{instance.location}/bulkdata/'.encode()
            pieces += [before, bodies[instance.pk].json().replace(BULK_MARK, address)]
            before = b","
        yield b"".join(pieces)
    yield b"]"


def instance_syntax(instance: StoredInstance, forms: Sequence[Accepted]) -> str:
    """Return the transfer syntax to send an instance in: as stored wherever that is acceptable, else explicit little
    endian, which is also what a client gets that asks for application/dicom and names none (PS3.18 8.7.3.5.2).

    Raises NotAcceptable.
    """
    for accepted in forms:
        if not covers(accepted, "application/dicom"):
            continue
        wanted = accepted.transfer_syntax
        if wanted in ("*", instance.TransferSyntaxUID) or (not wanted and accepted.media_type == "*/*"):
            return instance.TransferSyntaxUID
        if wanted in ("", EXPLICIT_LITTLE):
            return EXPLICIT_LITTLE
    raise NotAcceptable("Instances come as application/dicom, as stored or in explicit little endian.")


@dataclass(frozen=True)
class InstanceStream:
    """A multipart body of whole instances. ``length``: in bytes, None where something is transcoded on the way."""

    content_type: str
    length: int | None
    chunks: Iterator[bytes]


def stream_instances(
    archive: Archive, instances: Sequence[StoredInstance], syntaxes: Sequence[str], base_url: str
) -> InstanceStream:
    """Return a multipart body of instances, each in its transfer syntax; one at a time is in memory."""
    writer = Writer("application/dicom")
    as_stored = all(i.TransferSyntaxUID == syntax for i, syntax in zip(instances, syntaxes, strict=True))

    def head(number: int, size: int) -> bytes:
        media_type = f"application/dicom; transfer-syntax={syntaxes[number]}"
        return writer.head(media_type, size, base_url + instances[number].location, first=number == 0)

    def chunks() -> Iterator[bytes]:
        for number, instance in enumerate(instances):
            if syntaxes[number] != instance.TransferSyntaxUID:
                data = to_explicit_little(archive, instance)
                yield head(number, len(data)) + data
            elif instance.size <= _CHUNK:
                # One chunk for each: every chunk costs a change of threads.
                yield head(number, instance.size) + archive.store.read(instance.store_key)
            else:
                yield head(number, instance.size)
                yield from stream_file(archive, instance)
        yield writer.tail()

    length = None
    if as_stored:
        length = sum(len(head(n, i.size)) + i.size for n, i in enumerate(instances)) + len(writer.tail())
    return InstanceStream(writer.content_type, length, chunks())


def stream_file(archive: Archive, instance: StoredInstance) -> Iterator[bytes]:
    with archive.store.open(instance.store_key) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def to_explicit_little(archive: Archive, instance: StoredInstance) -> bytes:
    """Return a stored object in Explicit VR Little Endian, pixels decoded. Raises NotAcceptable where none can."""
    with warnings.catch_warnings(), archive.store.open(instance.store_key) as file:
        warnings.simplefilter("ignore")
        try:
            ds = dcmread(file)
            syntax = ds.file_meta.TransferSyntaxUID
            if syntax.is_encapsulated:
                # The UID stays: it is the same image, in another encoding.
                ds.decompress(generate_instance_uid=False)
            elif syntax == EXPLICIT_BIG and int(ds.get("BitsAllocated", 8)) == 16 and "PixelData" in ds:
                ds.PixelData = np.frombuffer(ds.PixelData, ">u2").astype("<u2").tobytes()
            ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            buffer = BytesIO()
            ds.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
        except Exception as error:
            raise NotAcceptable("This object cannot be decoded; ask for it as stored.") from error
    return buffer.getvalue()


def frames(archive: Archive, instance: StoredInstance, numbers: Sequence[int], forms: Sequence[Accepted]) -> list[Part]:
    """Return frames (1-based) in the best form the client accepts. Raises NotFound, NotAcceptable."""
    raw = _wants_raw(instance, forms)
    placed = _frame_map(archive, instance)
    if placed is None:
        raise NotFound("The object has no pixel data.")
    source = archive.store.source(instance.store_key)
    stored = instance.TransferSyntaxUID
    if placed.kind != "decode" and (not raw or stored in NATIVE):
        # Implicit and explicit little endian hold the same pixel bytes.
        syntax = EXPLICIT_LITTLE if stored in NATIVE else stored
        media_type = f"{_MEDIA_TYPES.get(stored, OCTETS)}; transfer-syntax={syntax}"
        return [Part(media_type, _read(archive, instance, placed, number)) for number in numbers]
    if not raw and stored not in NATIVE:
        media_type = f"{_MEDIA_TYPES.get(stored, OCTETS)}; transfer-syntax={stored}"
        return [Part(media_type, _search_frame(source, instance, number)) for number in numbers]
    media_type = f"{OCTETS}; transfer-syntax={EXPLICIT_LITTLE}"
    return [Part(media_type, _decode(source, instance, number)) for number in numbers]


def _wants_raw(instance: StoredInstance, forms: Sequence[Accepted]) -> bool:
    stored = instance.TransferSyntaxUID
    media_type = _MEDIA_TYPES.get(stored, OCTETS)
    for accepted in forms:
        wanted = accepted.transfer_syntax
        # Compressed frames under "octet-stream" only for a client that takes any transfer syntax.
        as_stored = covers(accepted, media_type) or (accepted.media_type == OCTETS and wanted in ("*", stored))
        if as_stored and wanted in ("", "*", stored):
            return stored in NATIVE
        if covers(accepted, OCTETS) and wanted in ("", EXPLICIT_LITTLE):
            return True
    raise NotAcceptable(f"These frames come as {media_type} or as {OCTETS}.")


def _frame_map(archive: Archive, instance: StoredInstance) -> FrameMap | None:
    with archive.database.read() as session:
        row = session.connection().execute(_FIND_FRAMES, {"pk": instance.pk}).first()
    if row is None:
        return rendered(archive, [instance.pk])[instance.pk].frames
    return FrameMap.from_json(row.frames) if row.frames else None


def _read(archive: Archive, instance: StoredInstance, placed: FrameMap, number: int) -> bytes:
    ranges = placed.ranges(number)
    if not ranges:
        raise NotFound("There is no such frame.")
    pieces = [archive.store.read(instance.store_key, start, length) for start, length in ranges]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _search_frame(source: Source, instance: StoredInstance, number: int) -> bytes:
    """A compressed frame whose place no table tells, searched for by the marks between code streams."""
    if not 1 <= number <= instance.NumberOfFrames:
        raise NotFound("There is no such frame.")
    try:
        with source.open("rb") as file:
            ds = dcmread(file)
        return get_frame(ds.PixelData, number - 1, number_of_frames=instance.NumberOfFrames)
    except Exception as error:
        raise NotAcceptable("The frame cannot be found in the pixel data.") from error


def _decode(source: Source, instance: StoredInstance, number: int) -> bytes:
    """One frame as explicit little endian bytes, colours as they are stored."""
    if not 1 <= number <= instance.NumberOfFrames:
        raise NotFound("There is no such frame.")
    with warnings.catch_warnings(), source.open("rb") as file:
        warnings.simplefilter("ignore")
        try:
            ds = Dataset()
            if instance.TransferSyntaxUID in DEFLATED:
                ds = dcmread(file)
                pixels = pixel_array(ds, index=number - 1, raw=True)
            else:
                # From the file only what the frame needs is read.
                pixels = pixel_array(file, ds_out=ds, index=number - 1, raw=True)
        except Exception as error:
            raise NotAcceptable("The frame cannot be decoded; ask for it as stored.") from error
    if int(ds.get("BitsAllocated") or 8) == 1:
        return np.packbits(pixels.reshape(-1).astype(np.uint8), bitorder="little").tobytes()
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)).tobytes()


def bulk_data(archive: Archive, instance: StoredInstance, name: str, forms: Sequence[Accepted]) -> list[Part]:
    """Return a value that metadata gave by reference: one part, or one a frame for compressed pixels."""
    if name.upper() == "7FE00010":
        numbers = range(1, instance.NumberOfFrames + 1)
        parts = frames(archive, instance, numbers, forms)
        if instance.TransferSyntaxUID not in NATIVE and OCTETS not in parts[0].media_type:
            return parts
        return [Part(parts[0].media_type, b"".join(part.data for part in parts))]
    if not any(covers(accepted, OCTETS) for accepted in forms):
        raise NotAcceptable(f"Bulk data comes as {OCTETS}.")
    try:
        with warnings.catch_warnings(), archive.store.open(instance.store_key) as file:
            warnings.simplefilter("ignore")
            ds = dcmread(file, stop_before_pixels=True, force=True)
    except Exception as error:
        raise NotFound("The object cannot be read.") from error
    value = find_bulk(ds, name)
    if value is None:
        raise NotFound("There is no such bulk data.")
    return [Part(OCTETS, value)]


def frame_numbers(text: str) -> list[int]:
    """Read a list of frame numbers from a path. Raises BadInput."""
    numbers = []
    for part in text.split(","):
        if not part.isascii() or not part.isdigit() or len(part) > 9 or int(part) < 1:
            raise BadInput("Frame numbers are whole numbers from 1, separated by commas.")
        numbers.append(int(part))
    if len(numbers) > 10_000:
        raise BadInput("Too many frames in one request.")
    return numbers
