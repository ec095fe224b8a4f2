"""C-ECHO and C-STORE with real peers, dcmtk's tools and pynetdicom: what is kept is what was sent, byte for byte."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom.uid
import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pynetdicom import AE, _config, build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import CTImageStorage, PatientRootQueryRetrieveInformationModelFind, Verification
from sqlalchemy import select

from readingroom.archive.dimse.requestor import PeerFailed, Requestor
from readingroom.core.audit import AuditCode, AuditEvent
from readingroom.core.config import Caller
from readingroom.core.errors import OutOfResources

Start = Callable[..., "RunningReceiver"]  # noqa: F821


@pytest.fixture
def raw_files() -> Iterator[None]:
    """pynetdicom sends files as they are."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    yield
    _config.STORE_SEND_CHUNKED_DATASET = False


def dataset_bytes(path: Path) -> bytes:
    """The data set of a Part 10 file, without preamble and file meta information."""
    data = path.read_bytes()
    length = int.from_bytes(data[140:144], "little")
    return data[144 + length :]


def as_dataset(data: bytes, transfer_syntax: str, folder: Path) -> Dataset:
    """Decode a received data set by giving it a file meta information."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.filewriter import write_file_meta_info

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.UID(transfer_syntax)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, "1.2"
    path = folder / "decoded.dcm"
    with path.open("wb") as file:
        file.write(bytes(128) + b"DICM")
        write_file_meta_info(file, meta)
        file.write(data)
    return dcmread(path)


@pytest.mark.tools
def test_echoscu_and_storescu_work(start_receiver: Start, tool: Callable[[str], str], ct_folder: Path, tmp_path: Path):
    receiver = start_receiver()
    peer = ["-aec", "READINGROOM", "127.0.0.1", str(receiver.port)]
    subprocess.run([tool("echoscu"), *peer], check=True, timeout=20)
    subprocess.run([tool("storescu"), *peer, "+sd", str(ct_folder)], check=True, timeout=20)
    assert len(receiver.archive.got) == 5
    for path in ct_folder.iterdir():
        sent = dcmread(path)
        got = as_dataset(receiver.archive.bytes_of(sent.SOPInstanceUID), "1.2.840.10008.1.2.1", tmp_path)
        assert got.PixelData == sent.PixelData
        assert got == sent


@pytest.mark.tools
@pytest.mark.parametrize(
    "options",
    [
        ["--max-send-pdu", "4096"],
        ["-pdu", "4096"],
        ["-pdu", "131072"],
        ["+C"],
        ["-R"],
        ["-xi"],
        ["-xd"],
        ["-usr", "someone", "-pwd", "secret"],
    ],
    ids=" ".join,
)
def test_storescu_variants(
    start_receiver: Start,
    tool: Callable[[str], str],
    make_series: Callable[..., list[Dataset]],
    tmp_path: Path,
    options,
):
    receiver = start_receiver()
    (ds,) = make_series(1, rows=128, columns=128)
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    command = [
        tool("storescu"),
        *options,
        "-aec",
        "READINGROOM",
        "127.0.0.1",
        str(receiver.port),
        str(tmp_path / "a.dcm"),
    ]
    subprocess.run(command, check=True, timeout=20)
    (got,) = receiver.archive.got
    decoded = as_dataset(receiver.archive.bytes_of(ds.SOPInstanceUID), got["transfer_syntax_uid"], tmp_path)
    assert decoded.PixelData == ds.PixelData
    expected = {"-xi": "1.2.840.10008.1.2", "-xd": "1.2.840.10008.1.2.1.99"}
    assert got["transfer_syntax_uid"] == expected.get(options[0], "1.2.840.10008.1.2.1")
    assert got["sop_class_uid"] == CTImageStorage
    assert got["calling_aet"] == "STORESCU"


@pytest.mark.tools
@pytest.mark.parametrize(
    ("encoder", "option", "transfer_syntax"),
    [
        (["dcmcjpeg"], "-xs", "1.2.840.10008.1.2.4.70"),
        (["dcmcrle"], "-xr", "1.2.840.10008.1.2.5"),
        (["dcmcjpls"], "-xt", "1.2.840.10008.1.2.4.80"),
        (["dcmconv", "+tb"], "-xb", "1.2.840.10008.1.2.2"),
    ],
)
def test_storescu_keeps_the_file_s_transfer_syntax(
    start_receiver: Start, tool: Callable[[str], str], ct_folder: Path, tmp_path: Path, encoder, option, transfer_syntax
):
    receiver = start_receiver()
    source, compressed = ct_folder / "0000.dcm", tmp_path / "compressed.dcm"
    subprocess.run([tool(encoder[0]), *encoder[1:], str(source), str(compressed)], check=True, timeout=20)
    peer = ["-aec", "READINGROOM", "127.0.0.1", str(receiver.port)]
    subprocess.run([tool("storescu"), option, *peer, str(compressed)], check=True, timeout=20)
    (got,) = receiver.archive.got
    assert got["transfer_syntax_uid"] == transfer_syntax
    kept = receiver.archive.bytes_of(got["sop_instance_uid"])
    assert as_dataset(kept, transfer_syntax, tmp_path).PixelData == dcmread(compressed).PixelData


@pytest.mark.tools
def test_storescu_with_jpeg_2000(start_receiver: Start, tool: Callable[[str], str], ct_folder: Path, tmp_path: Path):
    receiver = start_receiver()
    ds = dcmread(ct_folder / "0000.dcm")
    ds.compress(pydicom.uid.JPEG2000Lossless)
    ds.save_as(tmp_path / "j2k.dcm", enforce_file_format=True)
    peer = ["-aec", "READINGROOM", "127.0.0.1", str(receiver.port)]
    subprocess.run([tool("storescu"), "-xv", *peer, str(tmp_path / "j2k.dcm")], check=True, timeout=20)
    (got,) = receiver.archive.got
    assert got["transfer_syntax_uid"] == pydicom.uid.JPEG2000Lossless
    decoded = as_dataset(receiver.archive.bytes_of(ds.SOPInstanceUID), got["transfer_syntax_uid"], tmp_path)
    assert decoded.PixelData == ds.PixelData


@pytest.mark.usefixtures("raw_files")
@pytest.mark.parametrize("max_pdu", [0, 16382, 1 << 24])
def test_bytes_are_kept_as_sent(
    start_receiver: Start, make_series: Callable[..., list[Dataset]], tmp_path: Path, max_pdu
):
    receiver = start_receiver()
    ae = AE()
    ae.maximum_pdu_size = max_pdu
    # Several contexts, in an order of preference that is not the standard's.
    ae.add_requested_context(Verification)
    ae.add_requested_context(CTImageStorage, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    ae.add_requested_context("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.4.80")
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    assert assoc.is_established
    assert [cx.transfer_syntax[0] for cx in assoc.accepted_contexts] == [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.4.80",
    ]
    for n, ds in enumerate(make_series(3, rows=300, columns=200)):
        path = tmp_path / f"{n}.dcm"
        ds.save_as(path, enforce_file_format=True)
        calm(assoc)
        assert assoc.send_c_store(path).Status == 0x0000
        assert receiver.archive.bytes_of(ds.SOPInstanceUID) == dataset_bytes(path)
    calm(assoc)
    assert assoc.send_c_echo().Status == 0x0000
    assoc.release()


def test_long_object_goes_through_a_temporary_file(
    start_receiver: Start, make_series: Callable[..., list[Dataset]], tmp_path: Path, monkeypatch, send_file
):
    monkeypatch.setattr("readingroom.archive.dimse.incoming.SPOOL_BYTES", 300_000)
    receiver = start_receiver()
    with receiver.requestor() as requestor:
        for n, rows in enumerate([1500, 10, 1600]):
            (ds,) = make_series(1, rows=rows, columns=512)
            ds.save_as(path := tmp_path / f"{n}.dcm", enforce_file_format=True)
            assert send_file(requestor, path) == 0x0000
            assert receiver.archive.bytes_of(ds.SOPInstanceUID) == dataset_bytes(path)


def test_object_over_the_limit_is_refused_and_the_next_taken(
    start_receiver: Start, make_series: Callable[..., list[Dataset]], tmp_path: Path, send_file
):
    receiver = start_receiver(max_object_bytes=400_000)
    requestor = receiver.requestor()
    for n, (rows, status) in enumerate([(500, 0xA702), (20, 0x0000)]):
        (ds,) = make_series(1, rows=rows, columns=512)
        ds.save_as(tmp_path / f"{n}.dcm", enforce_file_format=True)
        assert send_file(requestor, tmp_path / f"{n}.dcm") == status
    assert len(receiver.archive.got) == 1
    # An object without end is cut off rather than read for ever.
    (ds,) = make_series(1, rows=8000, columns=512)
    ds.save_as(tmp_path / "endless.dcm", enforce_file_format=True)
    with pytest.raises(PeerFailed):
        send_file(requestor, tmp_path / "endless.dcm")
    requestor.abort()
    receiver.requestor().release()


def test_no_room_for_a_long_object_is_worth_a_retry(
    start_receiver: Start, make_series: Callable[..., list[Dataset]], tmp_path: Path, monkeypatch, send_file
):
    monkeypatch.setattr("readingroom.archive.dimse.incoming.SPOOL_BYTES", 300_000)
    receiver = start_receiver()
    # A file where the folder should be.
    receiver.settings.work_folder.write_bytes(b"")
    (ds,) = make_series(1, rows=500, columns=512)
    ds.save_as(tmp_path / "long.dcm", enforce_file_format=True)
    with receiver.requestor() as requestor:
        assert send_file(requestor, tmp_path / "long.dcm") == 0xA700
    assert receiver.archive.got == []


def test_only_storage_and_verification_contexts_are_accepted(start_receiver: Start):
    receiver = start_receiver()
    ae = AE()
    contexts = [
        build_context(Verification),
        build_context(PatientRootQueryRetrieveInformationModelFind),
        build_context("1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.1.2.1"),
        build_context("1.2.826.0.1.3680043.9.1", "1.2.840.10008.1.2.1"),
        build_context(CTImageStorage, "1.2.840.113619.5.2"),
    ]
    assoc = ae.associate("127.0.0.1", receiver.port, contexts=contexts, ae_title="READINGROOM")
    assert {cx.abstract_syntax: cx.result for cx in assoc.accepted_contexts + assoc.rejected_contexts} == {
        Verification: 0,
        PatientRootQueryRetrieveInformationModelFind: 3,
        "1.2.840.10008.5.1.4.1.1.66.7": 0,
        "1.2.826.0.1.3680043.9.1": 3,
        CTImageStorage: 4,
    }
    assoc.release()
    assert assoc.is_released


@pytest.mark.parametrize(
    ("called", "calling", "changes", "reason"),
    [
        ("SOMEONE", "CT1", {"dicom_open": True}, 7),
        ("READINGROOM", "CT2", {"dicom_open": False, "calling_aets": (Caller(aet="CT1"),)}, 3),
        ("READINGROOM", "CT1", {"dicom_open": False}, 3),
    ],
)
def test_wrong_titles_are_refused_and_audited(start_receiver: Start, called, calling, changes, reason):
    receiver = start_receiver(**changes)
    for _ in range(3):
        ae = AE(ae_title=calling)
        ae.add_requested_context(Verification)
        assoc = ae.associate("127.0.0.1", receiver.port, ae_title=called)
        assert assoc.is_rejected
        primitive = assoc.acceptor.primitive
        assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, reason)
    wait_for(lambda: len(events(receiver)) == 1)
    (event,) = events(receiver)
    # A flood of refusals is one event a minute.
    assert (event.code, event.actor, event.outcome) == (AuditCode.SECURITY_ALERT, calling, "refused")


def test_configured_caller_is_let_in_and_its_transfer_audited(
    start_receiver: Start, make_series: Callable[..., list[Dataset]]
):
    receiver = start_receiver(dicom_open=False, calling_aets=(Caller(aet="CT1"),))
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    for n, ds in enumerate(make_series(3)):
        calm(assoc)
        assert assoc.send_c_store(ds).Status == 0
        # The image after the first is not taken before the audit knows of its study.
        assert [event.action for event in events(receiver)] == (["association", "C-STORE-begun"] if n else [])
    assoc.release()
    wait_for(lambda: len(events(receiver)) == 3)
    assert {(event.actor, event.host, event.outcome) for event in events(receiver)} == {("CT1", "127.0.0.1", "success")}
    opened, begun, sent = events(receiver)
    assert (opened.code, begun.code) == (AuditCode.NETWORK_ENTRY, AuditCode.BEGIN_TRANSFERRING)
    assert (sent.code, sent.action, sent.study_id) == (AuditCode.INSTANCES_TRANSFERRED, "C-STORE", begun.study_id)
    assert sent.detail == {"instances": 3, "stored": 3}


def test_studies_and_failures_of_an_association_are_told_apart(
    start_receiver: Start, make_series: Callable[..., list[Dataset]]
):
    receiver = start_receiver()
    answers = [("stored", "1" * 32), ("stored", "2" * 32), ("duplicate", "2" * 32), ("quarantined", None)]
    given = iter(answers)

    def answer() -> object:
        outcome, study_id = next(given)
        status = 0xC000 if outcome == "quarantined" else 0
        return type("Answer", (), {"outcome": outcome, "study_id": study_id, "dimse_status": status, "message": "x"})

    receiver.archive.answer = answer
    ae = AE(ae_title="CT1")
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    for ds in make_series(4):
        calm(assoc)
        assoc.send_c_store(ds)
    assoc.release()
    wait_for(lambda: len(events(receiver)) == 6)
    assert [(event.action, event.study_id, event.outcome, event.detail) for event in events(receiver)] == [
        ("association", None, "success", {}),
        ("C-STORE-begun", "1" * 32, "success", {}),
        ("C-STORE-begun", "2" * 32, "success", {}),
        ("C-STORE", "1" * 32, "success", {"instances": 1, "stored": 1}),
        ("C-STORE", "2" * 32, "success", {"instances": 2, "stored": 1, "duplicate": 1}),
        ("C-STORE", None, "refused", {"instances": 1, "quarantined": 1}),
    ]
    # Whoever only looks whether we are there has been there.
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    assert assoc.send_c_echo().Status == 0
    assoc.release()
    wait_for(lambda: len(events(receiver)) == 7)
    assert events(receiver)[-1].action == "association"


def test_answers_of_the_archive_reach_the_sender(start_receiver: Start, make_series: Callable[..., list[Dataset]]):
    receiver = start_receiver()
    ae = AE()
    ae.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    assoc = ae.associate("127.0.0.1", receiver.port, ae_title="READINGROOM")
    (ds,) = make_series(1)

    def say(outcome: str, status: int, message: str) -> None:
        kept = {"outcome": outcome, "study_id": None, "dimse_status": status, "message": message}
        made = type("Answer", (), kept)
        receiver.archive.answer = made

    say("quarantined", 0xC001, "A tag\\is missing. " + 80 * "x")
    calm(assoc)
    answer = assoc.send_c_store(ds)
    assert (answer.Status, answer.ErrorComment) == (0xC001, ("A tag is missing. " + 80 * "x")[:64])

    def full() -> None:
        raise OutOfResources("The disk is full.")

    receiver.archive.answer = full  # type: ignore[assignment]
    calm(assoc)
    answer = assoc.send_c_store(ds)
    assert (answer.Status, answer.ErrorComment) == (0xA700, "The disk is full.")

    def bug() -> None:
        raise ValueError("Doe^Jane")

    receiver.archive.answer = bug  # type: ignore[assignment]
    calm(assoc)
    answer = assoc.send_c_store(ds)
    assert answer.Status == 0x0110
    assert "Doe" not in answer.ErrorComment
    assert assoc.is_established
    assoc.release()


def test_many_associations_and_the_limit(
    start_receiver: Start, make_series: Callable[..., list[Dataset]], tmp_path: Path, send_file
):
    receiver = start_receiver(max_associations=8)
    paths = []
    for n, ds in enumerate(make_series(40, rows=200, columns=200)):
        paths.append(tmp_path / f"{n}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    held = [receiver.requestor() for _ in range(8)]
    with pytest.raises(PeerFailed, match="result 2, source 3, reason 2"):
        receiver.requestor()

    def send(requestor: Requestor, mine: list[Path]) -> None:
        with requestor:
            statuses.extend(send_file(requestor, path) for path in mine)

    statuses: list[int] = []
    threads = [threading.Thread(target=send, args=(held[n], paths[n::8])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [0] * 40
    for path in paths:
        assert receiver.archive.bytes_of(dcmread(path).SOPInstanceUID) == dataset_bytes(path)

    def free_again() -> bool:
        try:
            receiver.requestor().release()
        except PeerFailed:
            return False
        return True

    wait_for(free_again)


def test_two_receivers_share_a_port(start_receiver: Start):
    first = start_receiver()
    second = start_receiver(dicom_port=first.port)
    assert second.port == first.port


def test_stop_finishes_the_operation_and_aborts_the_rest(start_receiver: Start, ct_folder: Path, send_file):
    receiver = start_receiver()
    storing, waiting = receiver.requestor(), receiver.requestor()
    inside, answers = threading.Event(), []
    usual = receiver.archive.answer

    def slow():
        inside.set()
        time.sleep(1.0)
        return usual()

    receiver.archive.answer = slow
    thread = threading.Thread(target=lambda: answers.append(send_file(storing, ct_folder / "0000.dcm")))
    thread.start()
    assert inside.wait(5)
    receiver.stop.set()
    receiver.thread.join(10)
    assert not receiver.thread.is_alive()
    thread.join(5)
    assert answers == [0x0000]
    for requestor in (storing, waiting):
        with pytest.raises(PeerFailed):
            send_file(requestor, ct_folder / "0001.dcm")
        requestor.abort()
    assert len(receiver.archive.got) == 1


def calm(assoc: Association) -> None:
    """Let pynetdicom's own thread come to rest: it sometimes takes an answer meant for the caller, and drops it."""
    assoc._reactor_checkpoint.clear()
    time.sleep(0.05)


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def events(receiver) -> list[AuditEvent]:
    with receiver.archive.database.read() as session:
        return list(session.scalars(select(AuditEvent)))
