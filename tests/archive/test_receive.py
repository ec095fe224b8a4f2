"""Receiving: the same-UID rules, identity, rejection notes, revisions, and what happens when the disk is full."""

import errno
import json
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import func, select
from support import rejection_note

from readingroom.access.actor import SYSTEM
from readingroom.archive import qido, wado
from readingroom.archive.accept import parse_accept
from readingroom.archive.attributes import Level
from readingroom.archive.identity import TWO_PATIENTS
from readingroom.archive.part10 import unwrap
from readingroom.archive.receive import Archive, Received
from readingroom.archive.render_json import render_after, render_waiting
from readingroom.archive.revisions import due_reason, due_studies, make_revision, request_ready, revision_files
from readingroom.archive.statuses import ANSWERS
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Instance, InstanceJson, InstanceVersion, Patient, Quarantined, Series, Study
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.errors import Conflict, NotFound, OutOfResources
from readingroom.core.outbox import OutboxRow

Make = Callable[..., list[Dataset]]
Part10 = Callable[[Dataset], bytes]


def put(archive: Archive, ds: Dataset, part10: Part10) -> Received:
    return archive.put_file(part10(ds), source="test")


def study_of(archive: Archive, study_id: str | None) -> Study:
    with archive.database.read() as session:
        study = session.get(Study, study_id)
        assert study is not None
        return study


def stored_files(archive: Archive) -> int:
    assert isinstance(archive.store, LocalStore)
    return sum(path.is_file() for path in archive.store.folder.rglob("*"))


def test_stored_is_indexed_and_durable_before_the_answer(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    received = put(archive, ds, part10)
    assert (received.outcome, received.dimse_status, received.failure_reason) == ("stored", 0, 0)
    with archive.database.read() as session:
        instance = session.get(Instance, received.instance_pk)
        assert instance is not None
        study = instance.series.study
        assert study.patient.PatientName == "Plantagenet^Quilla"
        assert (study.StudyDate, study.AccessionNumber, study.state, study.changed) == (
            "20260101",
            "ACC1",
            "receiving",
            1,
        )
        assert (instance.series.Modality, instance.series.SeriesNumber, instance.InstanceNumber) == ("CT", 1, 1)
        assert (instance.Rows, instance.Columns, instance.NumberOfFrames) == (32, 32, 1)
        assert archive.store.read(instance.store_key) == part10(ds)
        # Nothing of the patient or of the object is in the path.
        path = str(archive.store.source(instance.store_key))
        assert "TEST" not in path
        assert str(ds.SOPInstanceUID) not in path


def test_identical_bytes_again_are_a_success_and_change_nothing(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    (ds,) = make_series(1)
    first = put(archive, ds, part10)
    again = put(archive, ds, part10)
    assert (again.outcome, again.dimse_status, again.instance_pk) == ("duplicate", 0, first.instance_pk)
    assert study_of(archive, first.study_id).changed == 1
    assert stored_files(archive) == 1


def test_a_data_set_from_the_network_is_the_same_object(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    whole = part10(ds)
    body = whole[unwrap(whole).dataset_start :]
    names = {"sop_class_uid": str(ds.SOPClassUID), "sop_instance_uid": str(ds.SOPInstanceUID), "source": "MODALITY"}
    chunks = [body[n : n + 700] for n in range(0, len(body), 700)]
    first = archive.put_stream(chunks, transfer_syntax_uid=ExplicitVRLittleEndian, calling_aet="CT1", **names)
    assert first.outcome == "stored"
    assert archive.put_file(whole, source="test").outcome == "duplicate"
    assert archive.put_stream(body, transfer_syntax_uid=ExplicitVRLittleEndian, **names).outcome == "duplicate"
    names["sop_instance_uid"] = generate_uid()
    wrong = archive.put_stream(body, transfer_syntax_uid=ExplicitVRLittleEndian, **names)
    assert (wrong.outcome, wrong.code, wrong.dimse_status) == ("quarantined", "mismatch", 0xA900)


def test_a_changed_header_is_a_correction_with_history(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    before = part10(ds)
    first = put(archive, ds, part10)
    with archive.database.write() as session:
        assert first.study_id
        assert make_revision(session, first.study_id, "request") is not None
    ds.PatientName, ds.StudyDescription, ds.SeriesDescription = "Right^Name", "Corrected", "Also"
    received = put(archive, ds, part10)
    assert (received.outcome, received.instance_pk, received.dimse_status) == ("corrected", first.instance_pk, 0)
    with archive.database.read() as session:
        instance = session.get(Instance, first.instance_pk)
        assert instance is not None
        old = session.scalars(select(InstanceVersion)).one()
        assert (instance.version, old.version) == (2, 1)
        assert archive.store.read(old.store_key) == before
        study = instance.series.study
        assert (study.patient.PatientName, study.StudyDescription) == ("Right^Name", "Corrected")
        assert (study.changed, study.state, instance.series.SeriesDescription) == (2, "receiving", "Also")
        # The first revision still has the file it was made of.
        assert revision_files(session, study.id, 1)[0].store_key == old.store_key


def test_different_pixels_go_to_quarantine_once(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    first = put(archive, ds, part10)
    original = part10(ds)
    ds.PixelData = bytes(len(ds.PixelData))
    for _ in range(2):
        received = put(archive, ds, part10)
        assert (received.outcome, received.code, received.dimse_status) == ("quarantined", "pixels-differ", 0x0111)
    with archive.database.read() as session:
        row = session.scalars(select(Quarantined)).one()
        assert archive.store.read(row.store_key) == part10(ds)
        instance = session.get(Instance, first.instance_pk)
        assert instance is not None
        assert archive.store.read(instance.store_key) == original
    assert stored_files(archive) == 2


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_sop_uid_in_another_study_or_series(
    archive: Archive, make_series: Make, part10: Part10, keyword: str
) -> None:
    (ds,) = make_series(1)
    put(archive, ds, part10)
    setattr(ds, keyword, generate_uid())
    assert put(archive, ds, part10).code == "uid-conflict"


def test_a_series_uid_in_another_study(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    put(archive, ds, part10)
    (other,) = make_series(1, series_uid=str(ds.SeriesInstanceUID))
    assert put(archive, other, part10).code == "uid-conflict"


def test_two_patients_under_one_study_are_held_until_they_agree(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(3)
    ids = {put(archive, ds, part10).study_id for ds in series}
    (study_id,) = ids
    assert study_id is not None
    for n, ds in enumerate(series):
        ds.PatientID, ds.PatientName = "RIGHT", "Right^Person"
        assert put(archive, ds, part10).outcome == "corrected"
        study = study_of(archive, study_id)
        assert study.held == ("" if n == 2 else TWO_PATIENTS)
        with archive.database.write() as session:
            revision = make_revision(session, study_id, "request")
            assert (revision is None) == (n < 2)
            assert due_studies(session, utc_now() + timedelta(hours=1), 1) == []
    assert (study.patient.PatientID, study.patient.PatientName) == ("RIGHT", "Right^Person")
    with archive.database.read() as session:
        actions = session.scalars(select(AuditEvent.action).where(AuditEvent.study_id == study_id)).all()
    assert actions == ["study-held", "study-released"]


def test_a_late_image_of_another_patient_holds_and_its_rejection_releases(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(2)
    first = put(archive, series[0], part10)
    series[1].PatientID = "OTHER"
    put(archive, series[1], part10)
    assert study_of(archive, first.study_id).held == TWO_PATIENTS
    put(archive, rejection_note([series[1]], like=series[0]), part10)
    study = study_of(archive, first.study_id)
    assert (study.held, study.patient.PatientID) == ("", "PLANTED-1")


def test_the_same_id_from_another_issuer_is_another_patient(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(2)
    put(archive, series[0], part10)
    series[1].IssuerOfPatientID = "ELSEWHERE"
    assert study_of(archive, put(archive, series[1], part10).study_id).held


def test_without_patient_id_each_study_has_a_patient_of_its_own(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    one, two = make_series(2, patient_id=""), make_series(1, patient_id="")
    keys = {study_of(archive, put(archive, ds, part10).study_id).patient_pk for ds in (*one, *two)}
    assert len(keys) == 2
    with archive.database.read() as session:
        assert session.scalars(select(Study.held).where(Study.held != "")).all() == []


@pytest.mark.parametrize("code", ["113001", "113037", "113038", "113039"])
def test_a_rejection_note_hides_images_here_and_to_come(
    archive: Archive, make_series: Make, part10: Part10, code: str
) -> None:
    series = make_series(3)
    study_id = put(archive, series[0], part10).study_id
    put(archive, series[1], part10)
    note = rejection_note([series[1], series[2]], code)
    received = put(archive, note, part10)
    assert (received.outcome, received.dimse_status) == ("rejected-note", 0)
    assert study_of(archive, study_id).changed == 3
    late = put(archive, series[2], part10)
    assert late.outcome == "stored"
    assert study_of(archive, study_id).changed == 3
    with archive.database.write() as session:
        hidden = dict(session.execute(select(Instance.SOPInstanceUID, Instance.hidden)).tuples().all())
        assert hidden == {
            str(series[0].SOPInstanceUID): "",
            str(series[1].SOPInstanceUID): code,
            str(series[2].SOPInstanceUID): code,
            str(note.SOPInstanceUID): code,
        }
        row = session.scalars(select(OutboxRow).where(OutboxRow.topic == "images.rejected")).one()
        assert row.payload == {"study_id": study_id}
        assert str(note.SOPInstanceUID) not in row.key, "keys reach logs"
        assert study_id
        revision = make_revision(session, study_id, "quiet")
        assert revision is not None
        assert len(revision.instances) == 1
    assert put(archive, note, part10).outcome == "duplicate"


def test_a_key_object_of_another_title_hides_nothing(archive: Archive, make_series: Make, part10: Part10) -> None:
    series = make_series(2)
    put(archive, series[0], part10)
    assert put(archive, rejection_note([series[0]], "113000"), part10).outcome == "stored"
    # A note of another study says nothing about this one's images.
    (other,) = make_series(1)
    put(archive, rejection_note([series[0]], like=other), part10)
    with archive.database.read() as session:
        uid = str(series[0].SOPInstanceUID)
        assert session.scalar(select(Instance.hidden).where(Instance.SOPInstanceUID == uid)) == ""


def test_our_own_objects_are_stored_once_and_never_make_a_revision(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    image, own = make_series(2)
    first = put(archive, image, part10)
    assert first.study_id
    with archive.database.write() as session:
        make_revision(session, first.study_id, "quiet")
    assert archive.put_own(part10(own), origin="reader").outcome == "stored"
    assert archive.put_own(own, origin="reader").outcome == "duplicate"
    assert study_of(archive, first.study_id).state == "ready"
    with archive.database.write() as session:
        assert make_revision(session, first.study_id, "quiet") is None
    # Sent back to us unchanged it is known; changed it cannot replace what was signed.
    assert put(archive, own, part10).outcome == "duplicate"
    own.PatientName = "Coerced^Name"
    assert put(archive, own, part10).code == "own-object"
    with pytest.raises(Conflict):
        archive.put_own(own, origin="reader")
    with pytest.raises(NotFound):
        archive.put_own(make_series(1)[0], origin="report")


def test_when_a_study_is_due(archive: Archive, make_series: Make, part10: Part10) -> None:
    series = make_series(3)
    study_id = put(archive, series[0], part10).study_id
    assert study_id
    now = utc_now()
    with archive.database.write() as session:
        assert due_studies(session, now, 60) == []
        assert due_studies(session, now + timedelta(seconds=61), 60) == [study_id]
        request_ready(session, study_id)
        session.flush()
        assert due_studies(session, now, 60) == [study_id]
        assert due_reason(session, study_id) == "request"
        study = session.get(Study, study_id)
        assert study
        study.ready_requested, study.announced_instances = False, 2
        session.flush()
        assert due_studies(session, now, 60) == []
        revision = make_revision(session, study_id, "quiet")
        assert revision is not None
        assert revision.partial == "1 of 2 announced images have arrived."
        assert (revision.number, study.state) == (1, "ready")
        assert session.scalars(select(OutboxRow.key)).all() == [f"revision-{study_id}-1"]
        assert make_revision(session, study_id, "quiet") is None
    put(archive, series[1], part10)
    with archive.database.write() as session:
        assert due_studies(session, now, 60) == [study_id]
        assert due_reason(session, study_id) == "announced"
        late = make_revision(session, study_id, "announced")
        assert late is not None
        assert (late.number, late.partial, len(late.instances)) == (2, "", 2)
        assert [f.SOPInstanceUID for f in revision_files(session, study_id, 1)] == [str(series[0].SOPInstanceUID)]
        assert len(revision_files(session, study_id, 2)) == 2
        with pytest.raises(NotFound):
            revision_files(session, study_id, 3)


def test_threads_and_processes_insert_the_same_study_at_once(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(12)
    files = [part10(ds) for ds in series]
    # A second Archive object has caches of its own, as another process would.
    other = Archive(archive.settings, archive.database, archive.store)
    results: list[Received] = []
    start = threading.Barrier(6)

    def send(number: int) -> None:
        start.wait()
        for n in range(number, 12, 6):
            results.append((archive if number % 2 else other).put_file(files[n], source="test"))
        # All of them also send the first one.
        results.append((archive if number % 2 else other).put_file(files[0], source="test"))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.outcome for r in results) == ["duplicate"] * 6 + ["stored"] * 12
    with archive.database.read() as session:
        counts = [session.scalar(select(func.count()).select_from(t)) for t in (Patient, Study, Series, Instance)]
        assert counts == [1, 1, 1, 12]
        assert session.scalars(select(Study.changed)).one() == 12
    assert stored_files(archive) == 12


def test_odd_text_reaches_the_index(archive: Archive, make_series: Make, part10: Part10) -> None:
    (ds,) = make_series(1)
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName = "Müller^Jörg=王^小東"
    ds.StudyDescription = "x" * 400
    ds.AccessionNumber = "A\0B"
    ds.StudyDate = "2026.01.02"
    raw = part10(ds)
    received = archive.put_file(raw, source="test")
    assert received.outcome == "stored"
    study = study_of(archive, received.study_id)
    assert study.patient.PatientName == "Müller^Jörg=王^小東"
    assert (len(study.StudyDescription), study.AccessionNumber, study.StudyDate) == (256, "AB", "20260102")
    # Two long identifiers that begin alike stay two patients.
    keys = set()
    for tail in "ab":
        (long,) = make_series(1, patient_id="9" * 80 + tail)
        keys.add(study_of(archive, put(archive, long, part10).study_id).patient_pk)
    assert len(keys) == 2


@pytest.mark.parametrize("failing", ["write", "fdatasync", "fsync"])
def test_a_full_disk_is_told_and_leaves_nothing(
    lone_archive: Archive, make_series: Make, part10: Part10, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (ds,) = make_series(1)
    with monkeypatch.context() as patch:
        if failing == "write":
            # A real ENOSPC comes from the kernel; a chunk that raises it does the same to put().
            def chunks():  # type: ignore[no-untyped-def]
                yield b"begun"
                full()

            with pytest.raises(OutOfResources):
                lone_archive.store.put(chunks())
        else:
            patch.setattr(os, failing, full)
            received = put(lone_archive, ds, part10)
            assert (received.outcome, received.dimse_status, received.failure_reason) == ("refused", 0xA700, 0xA700)
    assert stored_files(lone_archive) == 0
    assert put(lone_archive, ds, part10).outcome == "stored"


def test_little_space_left_refuses_in_time(settings, sqlite_database, make_series: Make, part10: Part10) -> None:  # type: ignore[no-untyped-def]
    archive = Archive(settings, sqlite_database, LocalStore(settings.store_folder, min_free_bytes=1 << 60))
    received = put(archive, make_series(1)[0], part10)
    assert (received.outcome, received.code) == ("refused", "out-of-resources")
    with pytest.raises(OutOfResources):
        archive.put_own(make_series(1)[0], origin="report")


def test_orphans_of_a_crash_are_swept_and_nothing_else(
    lone_archive: Archive, make_series: Make, part10: Part10
) -> None:
    received = put(lone_archive, make_series(1)[0], part10)
    lone_archive.put_file(b"junk", source="test")
    orphan = lone_archive.store.put(b"written, then killed")
    elsewhere = lone_archive.store.put(b"a segment of a reading")
    assert lone_archive.sweep_orphans(3600, elsewhere={elsewhere}) == 0
    assert lone_archive.sweep_orphans(-1, elsewhere={elsewhere}) == 1
    assert lone_archive.store.size(elsewhere) == 22
    with pytest.raises(NotFound):
        lone_archive.store.size(orphan)
    with lone_archive.database.read() as session:
        instance = session.get(Instance, received.instance_pk)
        assert instance
        assert lone_archive.store.size(instance.store_key) == instance.size


def test_the_store_refuses_keys_that_are_paths(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    for key in ("../../etc/passwd", "", "a" * 31 + "/", "." * 32):
        with pytest.raises(NotFound):
            store.read(key)
    key = store.put([b"0123", b"456789"])
    assert store.read(key, 3, 4) == b"3456"
    assert (store.read(key, 8), store.size(key)) == (b"89", 10)


def test_a_large_stream_goes_through_a_file(lone_archive: Archive, make_series: Make, part10: Part10) -> None:
    pixels = np.zeros((4200, 4200), np.uint16)
    (ds,) = make_series(1, rows=4200, columns=4200, pixels=pixels)
    data = part10(ds)
    assert len(data) > 33 << 20
    chunks = (data[n : n + (1 << 20)] for n in range(0, len(data), 1 << 20))
    received = lone_archive.put_file(chunks, source="test")
    assert received.outcome == "stored"
    with lone_archive.database.read() as session:
        instance = session.get(Instance, received.instance_pk)
        assert instance
        assert lone_archive.store.size(instance.store_key) == len(data) == instance.size


def test_every_outcome_has_its_answer() -> None:
    for outcome in ("stored", "duplicate", "corrected", "rejected-note"):
        assert ANSWERS[outcome].dimse == 0
    for code, answer in ANSWERS.items():
        if answer.dimse == 0:
            assert answer.stow == 0
        else:
            # Only what may succeed later gets the status that senders repeat.
            assert (answer.dimse in (0xA700, 0x0110)) == answer.again, code


def test_search_and_metadata_on_both_databases(archive: Archive, make_series: Make, part10: Part10) -> None:
    series = make_series(3)
    for ds in series:
        put(archive, ds, part10)
    study, one = str(series[0].StudyInstanceUID), str(series[0].SeriesInstanceUID)

    def found(level: Level, *pairs: tuple[str, str], **within: str) -> list[dict[str, dict[str, list[object]]]]:
        body = qido.search(archive, qido.parse(level, within, pairs), "http://x/dicomweb", SYSTEM).body
        return json.loads(body)  # type: ignore[no-any-return]

    (item,) = found("study", ("PatientName", "plantagenet*"), ("ModalitiesInStudy", "CT"), ("includefield", "KVP"))
    assert item["00201208"]["Value"] == [3]
    assert item["00180060"]["Value"] == [120]
    assert item["00081190"]["Value"] == [f"http://x/dicomweb/studies/{study}"]
    assert found("study", ("PatientName", "plantagenet%")) == []
    assert found("study", ("PatientID", "' OR 1=1 --"), ("StudyDate", "20260101-20260102")) == []
    assert len(found("study", ("fuzzymatching", "true"), ("PatientName", "qui"))) == 1
    assert found("series", StudyInstanceUID=study)[0]["00201209"]["Value"] == [3]
    assert len(found("instance", ("InstanceNumber", "2"), SeriesInstanceUID=one)) == 1
    # The first is rendered by the request, the others by the worker, and each once.
    first = wado.find(archive, study, one, str(series[0].SOPInstanceUID))
    (header,) = json.loads(b"".join(wado.metadata(archive, first, "http://x")))
    assert header["00280010"]["Value"] == [32]
    assert render_waiting(archive, 10) == 2
    assert render_waiting(archive, 10) == 0
    assert len(json.loads(b"".join(wado.metadata(archive, wado.find(archive, study), "http://x")))) == 3
    (part,) = wado.frames(archive, first[0], [1], parse_accept(""))
    assert part.data == series[0].PixelData


def test_a_commit_that_fails_late_never_loses_the_bytes(
    archive: Archive, make_series: Make, part10: Part10, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection breaks after the database has committed: the sender is told to send again, and finds it."""
    (ds,) = make_series(1)
    commit = archive.database.engine.dialect.do_commit

    def commit_then_break(connection: object) -> None:
        commit(connection)  # type: ignore[arg-type]
        raise archive.database.engine.dialect.loaded_dbapi.OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(archive.database.engine.dialect, "do_commit", commit_then_break)
        received = put(archive, ds, part10)
        assert (received.outcome, received.dimse_status) == ("refused", 0xA700)
    assert put(archive, ds, part10).outcome == "duplicate"
    with archive.database.read() as session:
        instance = session.scalars(select(Instance)).one()
    assert archive.store.read(instance.store_key) == part10(ds)


def test_one_object_that_cannot_be_rendered_holds_up_no_other(
    lone_archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(4)
    broken = part10(series[0])
    # Bits Allocated with a length that is no whole number of values: pydicom raises only when it is looked at.
    at = broken.index(b"\x28\x00\x00\x01US\x02\x00")
    broken = broken[: at + 6] + b"\x03\x00" + broken[at + 8 : at + 10] + b"\x00" + broken[at + 10 :]
    keys = [lone_archive.put_file(broken, source="test").instance_pk]
    keys += [put(lone_archive, ds, part10).instance_pk for ds in series[1:]]
    with lone_archive.database.read() as session:
        lost = session.get_one(Instance, keys[1])
        lone_archive.store.delete(lost.store_key)
    assert render_after(lone_archive, 0, 3) == (3, keys[2])
    assert render_after(lone_archive, keys[2] or 0, 3) == (1, keys[3])
    assert render_after(lone_archive, keys[3] or 0, 3) == (0, keys[3])
    with lone_archive.database.read() as session:
        assert session.scalars(select(InstanceJson.instance_pk).order_by(InstanceJson.instance_pk)).all() == [
            keys[0], keys[2], keys[3]
        ]  # fmt: skip


def test_late_images_wait_for_quiet_whatever_was_announced_or_asked(
    archive: Archive, make_series: Make, part10: Part10
) -> None:
    series = make_series(3)
    study_id = put(archive, series[0], part10).study_id
    assert study_id
    now = utc_now()
    with archive.database.write() as session:
        session.get_one(Study, study_id).announced_instances = 1
        session.flush()
        assert due_studies(session, now, 60) == [study_id]
        make_revision(session, study_id, due_reason(session, study_id))
        request_ready(session, study_id)
    put(archive, series[1], part10)
    with archive.database.write() as session:
        assert due_studies(session, now, 60) == [], "neither the old announcement nor the old request counts"
        assert due_studies(session, now + timedelta(seconds=61), 60) == [study_id]
        request_ready(session, study_id)
        session.flush()
        assert due_studies(session, now, 60) == [study_id]
