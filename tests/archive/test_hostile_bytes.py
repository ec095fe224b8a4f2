"""Bytes that are not what they should be: each is stored, or kept in quarantine with its reason; nothing crashes."""

import os
import random
import struct
import time
import zlib
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, strategies
from hypothesis import settings as hypothesis_settings
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
)
from sqlalchemy import select

from readingroom.archive.header_scan import MAX_DEPTH, TRANSFER_SYNTAXES, scan
from readingroom.archive.part10 import unwrap
from readingroom.archive.receive import Archive
from readingroom.archive.render_json import render_waiting, rendered
from readingroom.archive.statuses import ANSWERS
from readingroom.archive.tables import Instance, Quarantined
from readingroom.core.errors import BadInput

Make = Callable[..., list[Dataset]]
Part10 = Callable[[Dataset], bytes]
ENCODINGS = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def encode(ds: Dataset, syntax: str) -> bytes:
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian,
               little_endian=syntax != ExplicitVRBigEndian)  # fmt: skip
    return buffer.getvalue()


def rich(make_series: Make) -> Dataset:
    """A data set with sequences in sequences, private elements and an undefined length."""
    (ds,) = make_series(1)
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99RR", "one"
    outer.ConceptCodeSequence = [inner, inner]
    outer.add_new(0x00091001, "LO", "private")
    ds.ProcedureCodeSequence = [outer]
    ds["ProcedureCodeSequence"].is_undefined_length = True
    ds.RequestAttributesSequence = []
    ds.add_new(0x00090010, "LO", "READING ROOM")
    ds.add_new(0x00091001, "UN", b"12345678")
    return ds


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_the_walk_agrees_with_pydicom(make_series: Make, syntax: str) -> None:
    data = encode(rich(make_series), syntax)
    reference = dcmread(BytesIO(data))
    header = scan(data, unwrap(data).dataset_start, syntax)
    for keyword in (
        "SOPInstanceUID",
        "StudyInstanceUID",
        "PatientName",
        "StudyDate",
        "Rows",
        "SeriesNumber",
        "Modality",
    ):
        assert header.values[keyword] == str(reference[keyword].value), keyword
    assert header.pixels is not None
    start, stop = header.pixels
    assert (data if header.inflated is None else header.inflated)[start:stop] == reference.PixelData


def test_the_walk_finds_fragments(make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    ds.compress(JPEGLSLossless, generate_instance_uid=False)
    data = part10(ds)
    header = scan(data, unwrap(data).dataset_start, JPEGLSLossless)
    assert header.encapsulated
    assert header.pixels is not None
    assert data[slice(*header.pixels)] + b"\xfe\xff\xdd\xe0\0\0\0\0" == ds.PixelData or data[
        slice(*header.pixels)
    ] == ds.PixelData.removesuffix(b"\xfe\xff\xdd\xe0\0\0\0\0")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda data: b"", "empty"),
        (lambda data: b"\0" * 500, "not-dicom"),
        (lambda data: b"GIF89a" + b"x" * 400, "not-dicom"),
        (lambda data: data[:131], "not-dicom"),
        (lambda data: data[:140], "truncated"),
        (lambda data: data[:400], "truncated"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"), "unsupported"),
        # Explicit data said to be implicit, and the other way round it would be refused too.
        (lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"), "truncated"),
        (lambda data: data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"), None),
    ],
)
def test_what_is_wrong_is_named(
    lone_archive: Archive, make_series: Make, part10: Part10, change: Callable[[bytes], bytes], code: str | None
) -> None:
    data = change(part10(make_series(1)[0]))
    received = lone_archive.put_file(data, source="test")
    assert received.outcome == "quarantined"
    assert code is None or received.code == code
    assert received.dimse_status & 0xF000 == 0xC000
    with lone_archive.database.read() as session:
        row = session.scalars(select(Quarantined)).one()
    assert lone_archive.store.read(row.store_key) == data
    assert row.reason


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "missing-tag"),
        ("../../../etc/passwd", "bad-uid"),
        ("1.2.3/../4", "bad-uid"),
        ("1.2." + "3" * 70, "bad-uid"),
        ("1.2.3' OR 1=1 --", "bad-uid"),
        ("1..2", "bad-uid"),
    ],
)
def test_bad_identifiers(lone_archive: Archive, make_series: Make, keyword: str, value: str, code: str) -> None:
    (ds,) = make_series(1)
    sop_class, sop_instance = str(ds.SOPClassUID), str(ds.SOPInstanceUID)
    element = ds[keyword]
    element.validation_mode = 0
    element._value = value
    buffer = BytesIO()
    del ds.file_meta
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, ds)
    buffer = out.getvalue()
    received = lone_archive.put_stream(
        buffer, transfer_syntax_uid=ExplicitVRLittleEndian, sop_class_uid=sop_class, sop_instance_uid=sop_instance,
        source="test",
    )  # fmt: skip
    assert (received.outcome, received.code) == ("quarantined", code)
    assert value == "" or value not in received.message


def test_nesting_without_end() -> None:
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    for depth, code in ((MAX_DEPTH * 2, "unsupported"), (3, "truncated")):
        with pytest.raises(BadInput) as caught:
            scan((sequence + item) * depth, 0, ExplicitVRLittleEndian)
        assert caught.value.code == code


def test_a_deflated_bomb_is_refused(lone_archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    from readingroom.archive import header_scan

    monkeypatch.setattr(header_scan, "MAX_INFLATED_BYTES", 1 << 20)
    engine = zlib.compressobj(wbits=-15)
    body = engine.compress(bytes(64 << 20)) + engine.flush()
    received = lone_archive.put_stream(
        body,
        transfer_syntax_uid=DeflatedExplicitVRLittleEndian,
        sop_class_uid="1.2",
        sop_instance_uid="1.3",
        source="t",
    )
    assert received.code == "unsupported"


def test_a_million_tiny_elements_end_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    from readingroom.archive import header_scan

    monkeypatch.setattr(header_scan, "MAX_ELEMENTS", 1000)
    with pytest.raises(BadInput):
        scan(struct.pack("<HH2sH", 0x0008, 0x0001, b"CS", 0) * 2000, 0, ExplicitVRLittleEndian)


@given(
    data=strategies.binary(max_size=400),
    syntax=strategies.sampled_from(sorted(TRANSFER_SYNTAXES)),
    start=strategies.integers(0, 20),
)
@hypothesis_settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_bytes_raise_nothing_but_bad_input(data: bytes, syntax: str, start: int) -> None:
    try:
        header = scan(data, min(start, len(data)), syntax)
        assert all("\0" not in value for value in header.values.values())
        unwrap(data)
    except BadInput as error:
        assert error.code in ANSWERS  # noqa: PT017


def mutate(data: bytes, random_source: random.Random) -> bytes:
    """One of: flipped bytes, a cut, a length made huge, a swap of two regions, a repeated region."""
    copy = bytearray(data)
    kind = random_source.randrange(6)
    # The header is where it hurts most.
    limit = min(len(copy), 2500) if random_source.random() < 0.8 else len(copy)
    at = random_source.randrange(limit)
    if kind == 0:
        for _ in range(random_source.randrange(1, 20)):
            copy[random_source.randrange(limit)] = random_source.randrange(256)
    elif kind == 1:
        del copy[at:]
    elif kind == 2:
        copy[at : at + 4] = random_source.choice([b"\xff\xff\xff\xff", b"\xfe\xff\xff\xff", b"\0\0\0\x80", b"\0\0\0\0"])
    elif kind == 3:
        other = random_source.randrange(limit)
        copy[at : at + 16], copy[other : other + 16] = copy[other : other + 16], copy[at : at + 16]
    elif kind == 4:
        copy[at:at] = copy[at : at + random_source.randrange(200)]
    else:
        del copy[at : at + random_source.randrange(1, 64)]
    return bytes(copy)


def test_two_thousand_mutated_files(
    lone_archive: Archive, make_series: Make, part10: Part10, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 4,000 syncs are the disk's time, and not what this is about.
    monkeypatch.setattr(os, "fdatasync", lambda _handle: None)
    monkeypatch.setattr(os, "fsync", lambda _handle: None)
    begin = time.process_time()
    random_source = random.Random(20261123)
    seeds: list[tuple[bytes, bytes]] = []
    for syntax in ENCODINGS:
        ds = rich(make_series)
        seeds.append((encode(ds, syntax), str(ds.SOPInstanceUID).encode()))
    (lossless,) = make_series(1)
    lossless.compress(JPEGLSLossless, generate_instance_uid=False)
    seeds.append((part10(lossless), str(lossless.SOPInstanceUID).encode()))
    outcomes: Counter[str] = Counter()
    for n in range(2000):
        seed, uid = seeds[n % len(seeds)]
        # Each an object of its own (all but the deflated ones, whose UID is not to be seen).
        data = mutate(seed.replace(uid, uid[:-6] + f"{n:06}".encode()), random_source)
        received = lone_archive.put_file(data, source="test")
        outcomes[received.outcome] += 1
        assert received.code in ANSWERS
        assert received.outcome != "refused", received
    assert outcomes["quarantined"] > 300
    assert outcomes["stored"] > 100
    # Everything taken can also be rendered, and everything refused is still here.
    while render_waiting(lone_archive, 500):
        pass
    with lone_archive.database.read() as session:
        for instance in session.scalars(select(Instance)):
            assert lone_archive.store.size(instance.store_key) == instance.size
        rows = session.scalars(select(Quarantined)).all()
    for row in rows:
        assert row.reason
        assert lone_archive.store.size(row.store_key) == row.size
    assert time.process_time() - begin < 60


@pytest.mark.data
def test_all_of_dicom_interop(lone_archive: Archive, shared_data: Path) -> None:
    files = [path for path in sorted((shared_data / "dicom_interop").rglob("*")) if path.is_file()]
    assert len(files) > 100
    outcomes: Counter[str] = Counter()
    for path in files:
        received = lone_archive.put_file(path.read_bytes(), source="test")
        outcomes[received.outcome] += 1
        assert received.outcome != "refused", path
        assert received.code in ANSWERS
        if received.outcome == "quarantined" and received.code not in ("not-dicom", "empty"):
            # What pydicom reads whole and is an instance must have another reason than being unreadable.
            assert received.message, path
    while render_waiting(lone_archive, 500):
        pass
    with lone_archive.database.read() as session:
        pks = list(session.scalars(select(Instance.id)))
    assert all(item.json().startswith(b"{") for item in rendered(lone_archive, pks).values())
    assert outcomes["stored"] > 100
