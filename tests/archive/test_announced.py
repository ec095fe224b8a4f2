"""How many images a study is to have: who may say so, ready with the last of them, partial while some are missing."""

import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from readingroom.archive.importer import import_path
from readingroom.archive.quick_index import QuickIndex
from readingroom.archive.receive import Archive
from readingroom.archive.revisions import due_reason, due_studies, expect, make_revision
from readingroom.archive.tables import Study, StudyRevision
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, NotFound

Make = Callable[..., list[Dataset]]
Part10 = Callable[[Dataset], bytes]
QUIET = 60.0


def put(archive: Archive, ds: Dataset, part10: Part10) -> str:
    received = archive.put_file(part10(ds), source="test")
    assert received.study_id
    return received.study_id


def due(archive: Archive, *, after: float = 0.0) -> list[str]:
    with archive.database.read() as session:
        return due_studies(session, utc_now() + timedelta(seconds=after), QUIET)


def revise(archive: Archive, study_id: str) -> StudyRevision:
    """Make the revision that is due, for the reason that it is due."""
    with archive.database.write() as session:
        revision = make_revision(session, study_id, due_reason(session, study_id))
        assert revision is not None
        return revision


def announced(archive: Archive, study_id: str) -> int | None:
    with archive.database.read() as session:
        return session.get_one(Study, study_id).announced_instances


def test_a_number_in_the_header_makes_the_study_ready_with_its_last_image(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    first, second, third = make_series(3, NumberOfStudyRelatedInstances=3)
    study_id = put(archive, first, part10)
    put(archive, second, part10)
    assert due(archive) == []
    put(archive, third, part10)
    assert due(archive) == [study_id]
    revision = revise(archive, study_id)
    assert (revision.reason, revision.partial) == ("announced", "")


def test_quiet_that_comes_first_names_what_is_missing(archive: Archive, make_series: Make, part10: Part10) -> None:
    first, second, third = make_series(3, NumberOfStudyRelatedInstances=3)
    study_id = put(archive, first, part10)
    put(archive, second, part10)
    assert due(archive, after=QUIET + 1) == [study_id]
    revision = revise(archive, study_id)
    assert (revision.reason, revision.partial) == ("quiet", "2 of 3 announced images have arrived.")
    put(archive, third, part10)
    assert due(archive) == [study_id], "the last one makes it whole, at once"
    assert revise(archive, study_id).partial == ""


def test_the_largest_number_counts_and_junk_does_not(archive: Archive, make_series: Make, part10: Part10) -> None:
    images = make_series(5)
    named = ["2", "4", "3", "0", "many"]
    for ds, number in zip(images, named, strict=True):
        ds.add_new(0x00201208, "LO", number)
        study_id = put(archive, ds, part10)
    assert announced(archive, study_id) == 4
    # An image that was here already may say more than it did.
    images[0].add_new(0x00201208, "IS", 9)
    assert archive.put_file(part10(images[0]), source="test").outcome == "corrected"
    assert announced(archive, study_id) == 9


def test_the_same_number_in_every_image_costs_the_quick_way_nothing(
    lone_archive: Archive, make_series: Make, part10: Part10
) -> None:
    taken: list[bool] = []

    class Spy(QuickIndex):
        def add(self, *arguments: Any) -> Any:
            indexed = super().add(*arguments)
            taken.append(indexed is not None)
            return indexed

    lone_archive._quick = Spy(lone_archive.database.engine)
    *images, last = make_series(4, NumberOfStudyRelatedInstances=4)
    last.NumberOfStudyRelatedInstances = 5
    for ds in (*images, last):
        study_id = put(lone_archive, ds, part10)
    assert taken == [False, True, True, False]
    assert announced(lone_archive, study_id) == 5


def test_whoever_knows_may_say_how_many(archive: Archive, make_series: Make, part10: Part10) -> None:
    first, second, third = make_series(3, NumberOfStudyRelatedInstances=9)
    study_id = put(archive, first, part10)
    put(archive, second, part10)
    with archive.database.write() as session:
        expect(session, study_id, 2)
        with pytest.raises(NotFound):
            expect(session, "nothing", 2)
    assert due(archive) == [study_id], "what was known replaces what a header named"
    assert revise(archive, study_id).partial == ""
    # Told only now that there is more: what was taken for whole is called partial.
    with archive.database.write() as session:
        expect(session, study_id, 2)
        assert session.get_one(Study, study_id).state == "ready", "the same number again changes nothing"
        expect(session, study_id, 3)
    assert due(archive, after=QUIET + 1) == [study_id]
    revision = revise(archive, study_id)
    assert (revision.number, revision.partial) == (2, "2 of 3 announced images have arrived.")
    del third.NumberOfStudyRelatedInstances
    put(archive, third, part10)
    assert due(archive, after=QUIET + 1) == [study_id]
    assert revise(archive, study_id).partial == ""


@pytest.mark.parametrize("packed", [False, True])
def test_an_import_is_a_whole_delivery(archive: Archive, ct_folder: Path, tmp_path: Path, packed: bool) -> None:
    path = ct_folder
    if packed:
        path = tmp_path / "ct.zip"
        with zipfile.ZipFile(path, "w") as container:
            for file in ct_folder.iterdir():
                container.write(file, file.name)
    (study_id,) = import_path(archive, path).study_ids
    assert due(archive) == [study_id]
    assert revise(archive, study_id).partial == ""
    assert import_path(archive, path).duplicates == 5
    assert due(archive, after=QUIET + 1) == [], "nothing new, nothing to read"


def test_an_import_with_less_than_was_announced_is_partial_at_once(
    lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path
) -> None:
    for n, ds in enumerate(make_series(2, NumberOfStudyRelatedInstances=3)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{n}.dcm").write_bytes(part10(ds))
    (study_id,) = import_path(lone_archive, tmp_path / "in").study_ids
    assert due(lone_archive) == [study_id]
    assert revise(lone_archive, study_id).partial == "2 of 3 announced images have arrived."


def test_one_file_or_an_import_broken_off_waits_for_quiet(
    lone_archive: Archive, make_series: Make, part10: Part10, tmp_path: Path
) -> None:
    one, two, three = (part10(ds) for ds in make_series(3))
    (tmp_path / "one.dcm").write_bytes(one)
    (study_id,) = import_path(lone_archive, tmp_path / "one.dcm").study_ids
    assert due(lone_archive) == []
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as container:
        container.writestr("two.dcm", two)
        container.writestr("three.dcm", three)
    limits = {"max_unpacked_bytes": len(two) + 1}
    lone_archive.settings = lone_archive.settings.model_copy(update=limits)
    with pytest.raises(BadInput):
        import_path(lone_archive, path)
    assert due(lone_archive) == []
    assert due(lone_archive, after=QUIET + 1) == [study_id]
