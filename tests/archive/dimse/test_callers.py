"""Who may call, from where, what for, and into which project."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from readingroom.access.projects import create_project
from readingroom.archive.dimse.permissions import DIMSE_PERMISSIONS
from readingroom.archive.receive import Archive
from readingroom.archive.statuses import ANSWERS
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Quarantined, Study
from readingroom.core.config import Caller, Settings, load_settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.permissions import ProjectKind, Role, allowed

Start = Callable[..., object]
CT = (CTImageStorage, "1.2.840.10008.1.2.1")


def contexts(receiver, aet: str) -> dict[str, int]:  # type: ignore[no-untyped-def]
    """What each context the caller asks for is answered with."""
    ae = AE(ae_title=aet)
    ae.add_requested_context(Verification)
    ae.add_requested_context(*CT)
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    found = {c.abstract_syntax: c.result for c in [*assoc.accepted_contexts, *assoc.rejected_contexts]}
    if assoc.is_established:
        assoc.release()
    return found


@pytest.mark.parametrize("verb", sorted(DIMSE_PERMISSIONS))
def test_caller_gets_the_verbs_it_is_listed_with(start_receiver: Start, verb: str) -> None:
    receiver = start_receiver(dicom_open=False, calling_aets=(Caller(aet="CT1", verbs=(verb,)),))
    wanted = {"C-ECHO": Verification, "C-STORE": CTImageStorage}[verb]
    # Result 1 is the user's rejection (PS3.8 table 9-18).
    assert contexts(receiver, "CT1") == {uid: 0 if uid == wanted else 1 for uid in (Verification, CTImageStorage)}


def test_what_is_said_of_a_caller_holds_also_where_all_may_call(start_receiver: Start) -> None:
    receiver = start_receiver(dicom_open=True, calling_aets=(Caller(aet="CT1", verbs=("C-ECHO",)),))
    assert contexts(receiver, "CT1")[CTImageStorage] == 1
    assert contexts(receiver, "ANYBODY")[CTImageStorage] == 0


@pytest.mark.parametrize(("hosts", "let_in"), [(["127.0.0.1"], True), (["127.0.0.0/8"], True), (["10.1.2.3"], False)])
def test_caller_comes_from_its_own_address(start_receiver: Start, hosts: list[str], let_in: bool) -> None:
    caller = Caller.model_validate({"aet": "CT1", "hosts": hosts})
    receiver = start_receiver(dicom_open=False, calling_aets=(caller,))
    assert bool(contexts(receiver, "CT1")) is let_in


def test_caller_of_a_project_that_is_not_there(settings: Settings, sqlite_database: Database) -> None:
    from threading import Event

    from readingroom.archive.dimse.receiver import run_receiver

    archive = Archive(settings, sqlite_database, LocalStore(settings.store_folder))
    wrong = settings.model_copy(update={"calling_aets": (Caller(aet="CT1", project="nowhere"),)})
    with pytest.raises(NotFound, match="project"):
        run_receiver(wrong, archive, Event())


def test_studies_go_to_the_caller_s_project_and_no_other_s_are_added_to(
    lone_archive: Archive, make_series: Callable[..., list[Dataset]]
) -> None:
    with lone_archive.database.write() as session:
        trial = create_project(session, "trial", ProjectKind.RESEARCH, actor="test").id
    first, second = make_series(2)

    def send(ds: Dataset, project: str) -> str:
        buffer = BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        data = buffer.getvalue()
        start = data.index(b"\x08\x00\x05\x00") if b"\x08\x00\x05\x00" in data else data.index(b"\x08\x00\x08\x00")
        received = lone_archive.put_stream(
            data[start:],
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            sop_class_uid=ds.SOPClassUID,
            sop_instance_uid=ds.SOPInstanceUID,
            source="dimse:CT1",
            project=project,
        )
        return received.code

    assert send(first, "trial") == "stored"
    assert send(second, "") == "other-project"
    # Not even what is there already, nor a correction of it.
    assert send(first, "") == "other-project"
    first.PatientName = "Other^Name"
    assert send(first, "") == "other-project"
    assert send(second, "trial") == "stored"
    assert ANSWERS["other-project"].dimse == 0x0124
    with lone_archive.database.read() as session:
        study = session.query(Study).one()
        assert (study.project_id, study.changed) == (trial, 2)
        # Nothing is thrown away.
        assert session.query(Quarantined).count() == 3


def test_setting_reads_titles_alone_and_tables(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(
        'calling_aets = ["CT1", {aet = "MR1", project = "trial", verbs = ["C-STORE"], hosts = ["10.0.0.0/24"]}]'
    )
    plain, full = load_settings(tmp_path).calling_aets
    assert plain == Caller(aet="CT1")
    assert (full.project, full.verbs, str(full.hosts[0])) == ("trial", ("C-STORE",), "10.0.0.0/24")
    for wrong in ('["A TITLE OF TOO MANY"]', '[{aet = "A", verbs = ["C-MOVE"]}]', '[{aet = "A", hosts = ["nowhere"]}]'):
        (tmp_path / "config.toml").write_text(f"calling_aets = {wrong}")
        with pytest.raises(BadInput, match="calling_aets"):
            load_settings(tmp_path)


def test_machines_hold_what_verbs_need() -> None:
    assert set(DIMSE_PERMISSIONS) == {"C-ECHO", "C-STORE"}
    assert all(allowed(Role.SERVICE, permission) for permission in DIMSE_PERMISSIONS.values())
