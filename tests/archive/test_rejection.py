"""A rejection note received again with other content says what it says now."""

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import func, select
from support import rejection_note

from readingroom.archive.receive import Archive, Received
from readingroom.archive.revisions import make_revision
from readingroom.archive.tables import Instance, InstanceVersion, Rejection, Study
from readingroom.core.outbox import OutboxRow

Make = Callable[..., list[Dataset]]
Part10 = Callable[[Dataset], bytes]


def put(archive: Archive, ds: Dataset, part10: Part10) -> Received:
    return archive.put_file(part10(ds), source="test")


def again(note: Dataset, other: Dataset) -> Dataset:
    """``other`` under the UIDs of ``note``."""
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = note.SOPInstanceUID
    other.SeriesInstanceUID = note.SeriesInstanceUID
    return other


def hidden(archive: Archive, *objects: Dataset) -> list[str]:
    with archive.database.read() as session:
        codes = {row.SOPInstanceUID: row.hidden for row in session.scalars(select(Instance))}
    return [codes[str(ds.SOPInstanceUID)] for ds in objects]


def changed(archive: Archive) -> int:
    with archive.database.read() as session:
        return session.scalars(select(Study.changed)).one()


def handed_on(archive: Archive) -> int:
    with archive.database.read() as session:
        topic = OutboxRow.topic == "images.rejected"
        return session.scalar(select(func.count()).select_from(OutboxRow).where(topic)) or 0


@pytest.fixture
def images(archive: Archive, make_series: Make, part10: Part10) -> list[Dataset]:
    images = make_series(4)
    for ds in images[:3]:
        assert put(archive, ds, part10).outcome == "stored"
    return images


def test_what_it_names_now_is_hidden_and_what_it_names_no_more_is_shown(
    archive: Archive, images: list[Dataset], part10: Part10
) -> None:
    first, second, third, late = images
    note = rejection_note([first, second])
    assert put(archive, note, part10).outcome == "rejected-note"
    before = changed(archive)
    corrected = again(note, rejection_note([second, third, late], "113037"))
    received = put(archive, corrected, part10)
    assert (received.outcome, received.dimse_status) == ("corrected", 0)
    assert hidden(archive, first, second, third, note) == ["", "113037", "113037", "113037"]
    put(archive, late, part10)
    assert hidden(archive, late) == ["113037"]
    assert changed(archive) == before + 1
    assert handed_on(archive) == 2, "what was read with them is superseded at once"
    with archive.database.write() as session:
        assert session.scalars(select(InstanceVersion.version)).all() == [1], "the first note is kept"
        revision = make_revision(session, str(received.study_id), "rejection")
        assert revision is not None
        assert len(revision.instances) == 1
    assert put(archive, corrected, part10).outcome == "duplicate"
    assert handed_on(archive) == 2


def test_what_another_note_names_too_stays_hidden(archive: Archive, images: list[Dataset], part10: Part10) -> None:
    first, second, *_ = images
    note = rejection_note([first, second])
    put(archive, note, part10)
    put(archive, rejection_note([first], "113038"), part10)
    assert hidden(archive, first, second) == ["113001", "113001"]
    put(archive, again(note, rejection_note([images[2]])), part10)
    assert hidden(archive, first, second) == ["113038", ""]


def test_a_note_that_is_one_no_more_hides_nothing(archive: Archive, images: list[Dataset], part10: Part10) -> None:
    first, *_ = images
    note = rejection_note([first])
    put(archive, note, part10)
    put(archive, again(note, rejection_note([first], "113000")), part10)
    assert hidden(archive, first, note) == ["", ""]
    # And the other way.
    put(archive, note, part10)
    assert hidden(archive, first, note) == ["113001", "113001"]
    with archive.database.read() as session:
        assert session.scalars(select(Rejection.SOPInstanceUID)).all() == [str(first.SOPInstanceUID)]


def test_a_correction_of_anything_else_in_the_note_changes_no_image(
    archive: Archive, images: list[Dataset], part10: Part10
) -> None:
    note = rejection_note(images[:1])
    put(archive, note, part10)
    before = changed(archive)
    note.ContentCreatorName = "Somebody^Else"
    assert put(archive, note, part10).outcome == "corrected"
    assert hidden(archive, *images[:3], note) == ["113001", "", "", "113001"]
    assert (changed(archive), handed_on(archive)) == (before, 1)


def test_our_own_object_is_hidden_here_and_when_it_is_written_later(
    archive: Archive, images: list[Dataset], make_series: Make, part10: Part10
) -> None:
    """Destinations send rejection notes too, for what we sent them; nothing needs to be read again for that."""
    study, series = str(images[0].StudyInstanceUID), str(images[0].SeriesInstanceUID)
    here, later = make_series(2, study_uid=study, series_uid=series)
    archive.put_own(here, origin="report")
    before = changed(archive)
    put(archive, rejection_note([here, later]), part10)
    archive.put_own(later, origin="reader")
    assert hidden(archive, here, later) == ["113001", "113001"]
    assert (changed(archive), handed_on(archive)) == (before, 0)
