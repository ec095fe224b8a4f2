"""Import of folders, files and zips, and the zips that mean harm."""

import os
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from readingroom.archive import importer
from readingroom.archive.importer import import_path
from readingroom.archive.receive import Archive
from readingroom.archive.tables import Quarantined
from readingroom.core.audit import AuditCode, AuditEvent
from readingroom.core.config import Settings
from readingroom.core.errors import BadInput, NotFound

Make = Callable[..., list[Dataset]]
Part10 = Callable[[Dataset], bytes]


def test_a_folder_with_all_sorts_of_files(lone_archive: Archive, ct_folder: Path, tmp_path: Path) -> None:
    (ct_folder / "sub").mkdir()
    first = sorted(ct_folder.glob("*.dcm"))[0]
    (ct_folder / "sub" / "again").write_bytes(first.read_bytes())
    (ct_folder / "readme.txt").write_text("see the images")
    (ct_folder / "DICOMDIR").write_bytes(b"x")
    (ct_folder / "empty").touch()
    outside = tmp_path / "outside.dcm"
    outside.write_bytes(b"a secret")
    (ct_folder / "link").symlink_to(outside)
    (ct_folder / "loop").symlink_to(ct_folder, target_is_directory=True)
    os.mkfifo(ct_folder / "pipe")
    seen: list[tuple[int, int]] = []
    summary = import_path(lone_archive, ct_folder, lambda done, total: seen.append((done, total)))
    assert (summary.stored, summary.duplicates, summary.quarantined, summary.skipped) == (5, 1, 2, 1)
    assert seen == [(n, 9) for n in range(1, 10)]
    assert sorted(code for _, code, _ in summary.problems) == ["empty", "not-dicom"]
    assert "readme" not in str(summary.problems)
    assert import_path(lone_archive, ct_folder).duplicates == 6
    with lone_archive.database.read() as session:
        assert len(session.scalars(select(Quarantined)).all()) == 2
        events = session.scalars(select(AuditEvent).where(AuditEvent.code == AuditCode.IMPORT)).all()
        assert [event.study_id for event in events] == [*summary.study_ids] * 2
    with pytest.raises(NotFound):
        import_path(lone_archive, tmp_path / "nothing")


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        for name, data in members.items():
            container.writestr(name, data)
    return path


def test_a_zip_with_tricks_in_its_names(
    lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path
) -> None:
    a, b, c, d = (part10(ds) for ds in make_series(4))
    inner = make_zip(tmp_path / "inner.zip", {"x.dcm": d})
    folder = tmp_path / "work"
    folder.mkdir()
    path = make_zip(
        folder / "in.zip",
        {
            "../../escape.dcm": a,
            "/etc/absolute.dcm": b,
            "C:\\windows\\back\\slash.dcm": c,
            "nested.zip": inner.read_bytes(),
            "folder/DICOMDIR": b"x",
            "__MACOSX/._a.dcm": b"x",
        },
    )
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as container:
        container.writestr(link, "/etc/passwd")
    before = {p for p in tmp_path.rglob("*") if "home" not in p.parts}
    summary = import_path(lone_archive, path)
    assert (summary.stored, summary.skipped, summary.quarantined) == (3, 4, 0)
    assert [code for _, code, _ in summary.problems] == ["nested-zip"]
    assert {p for p in tmp_path.rglob("*") if "home" not in p.parts} == before


def test_a_bomb_stops_within_megabytes(lone_archive: Archive, tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    zeros = bytes(1 << 24)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as container,
        container.open("bomb.dcm", "w", force_zip64=True) as member,
    ):
        # A quarter of a gibibyte is enough to tell: what comes after the limit is never unpacked.
        for _ in range(16):
            member.write(zeros)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadInput) as caught:
        import_path(lone_archive, path)
    assert caught.value.code == "zip-bomb"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 100 << 10
    assert not list(lone_archive.settings.home.rglob("*/store/??/??/*"))


def test_many_members_that_unpack_to_too_much(
    settings: Settings, lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path
) -> None:
    lone_archive.settings = settings.model_copy(update={"max_unpacked_bytes": 20_000})
    files = {f"{n}.dcm": part10(ds) for n, ds in enumerate(make_series(10))}
    with pytest.raises(BadInput, match="20000 bytes"):
        import_path(lone_archive, make_zip(tmp_path / "many.zip", files))
    lone_archive.settings = settings.model_copy(update={"max_object_bytes": 100})
    summary = import_path(lone_archive, make_zip(tmp_path / "large.zip", files))
    assert (summary.refused, summary.problems[0][1]) == (10, "too-large")


def test_more_entries_than_anyone_needs(lone_archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "MAX_ENTRIES", 3)
    with pytest.raises(BadInput) as caught:
        import_path(lone_archive, make_zip(tmp_path / "many.zip", {str(n): b"" for n in range(4)}))
    assert caught.value.code == "zip-bomb"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_one_broken_entry_does_not_cost_the_others(
    lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path, method: int
) -> None:
    """Found by benchmarks/fuzz: each way of packing breaks with an exception of its own."""
    good, bad = (part10(ds) for ds in make_series(2))
    path = tmp_path / "packed.zip"
    with zipfile.ZipFile(path, "w", method) as container:
        container.writestr("bad.dcm", bad)
        container.writestr("good.dcm", good)
    data = bytearray(path.read_bytes())
    start = 30 + len("bad.dcm")
    data[start + 12 : start + 60] = bytes(byte ^ 0x5A for byte in data[start + 12 : start + 60])
    path.write_bytes(data)
    summary = import_path(lone_archive, path)
    assert [code for _, code, _ in summary.problems] == ["bad-zip"]
    assert (summary.stored, summary.refused) == (1, 1)


def test_an_entry_without_a_name(lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path) -> None:
    """Found by benchmarks/fuzz."""
    (ds,) = make_series(1)
    path = tmp_path / "nameless.zip"
    with zipfile.ZipFile(path, "w") as container:
        container.writestr(zipfile.ZipInfo(""), part10(ds))
    assert import_path(lone_archive, path).stored == 1


def test_broken_zips(lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path) -> None:
    files = {f"{n}.dcm": part10(ds) for n, ds in enumerate(make_series(3))}
    whole = make_zip(tmp_path / "good.zip", files).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="zip cannot be read"):
        import_path(lone_archive, cut)
    # One member's bytes are damaged: the others come in.
    damaged = bytearray(whole)
    damaged[200:260] = bytes(60)
    broken = tmp_path / "broken.zip"
    broken.write_bytes(damaged)
    summary = import_path(lone_archive, broken)
    assert (summary.stored, summary.refused) == (2, 1)
    encrypted = bytearray(whole)
    at = encrypted.find(b"PK\x01\x02")
    while at >= 0:
        struct.pack_into("<H", encrypted, at + 8, 1)
        at = encrypted.find(b"PK\x01\x02", at + 4)
    locked = tmp_path / "locked.zip"
    locked.write_bytes(encrypted)
    assert import_path(lone_archive, locked).problems[0][1] == "encrypted"
