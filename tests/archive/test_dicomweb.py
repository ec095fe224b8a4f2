"""DICOMweb as its clients use it: dicomweb-client on every call, and the requests OHIF makes."""

from collections.abc import Callable
from io import BytesIO

import httpx
import numpy as np
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)
from sqlalchemy import select

from readingroom.archive.receive import Archive
from readingroom.archive.render_json import render_waiting
from readingroom.archive.tables import InstanceJson
from readingroom.core.audit import AuditCode, AuditEvent

Make = Callable[..., list[Dataset]]


def uids(ds: Dataset) -> tuple[str, str, str]:
    return str(ds.StudyInstanceUID), str(ds.SeriesInstanceUID), str(ds.SOPInstanceUID)


def test_store_then_find_at_every_level(client: DICOMwebClient, make_series: Make) -> None:
    series = make_series(3)
    answer = client.store_instances(series)
    assert {item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence} == {
        ds.SOPInstanceUID for ds in series
    }
    study, one, _ = uids(series[0])
    (found,) = client.search_for_studies(search_filters={"PatientID": "PLANTED-1"})
    assert found["0020000D"]["Value"] == [study]
    assert found["00201208"]["Value"] == [3]
    assert found["00201206"]["Value"] == [1]
    assert found["00080061"]["Value"] == ["CT"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Plantagenet^Quilla"}]
    assert [s["0020000E"]["Value"][0] for s in client.search_for_series(study)] == [one]
    assert len(client.search_for_series()) == 1
    numbers = [i["00200013"]["Value"][0] for i in client.search_for_instances(study, one)]
    assert numbers == [1, 2, 3]
    assert len(client.search_for_instances(study)) == 3
    assert len(client.search_for_instances()) == 3
    assert client.search_for_studies(search_filters={"PatientID": "NOBODY"}) == []


@pytest.mark.parametrize(
    ("filters", "hit"),
    [
        ({"PatientName": "Plantagenet^Quilla"}, True),
        ({"PatientName": "plantagenet^*"}, True),
        ({"PatientName": "Pl?nt*^Qui*"}, True),
        ({"PatientName": "Plantagenet"}, False),
        ({"PatientName": "P%"}, False),
        ({"AccessionNumber": "ACC1"}, True),
        ({"AccessionNumber": "ACC_"}, False),
        ({"StudyDate": "20251231-20260102"}, True),
        ({"StudyDate": "-20251231"}, False),
        ({"StudyDate": "20260101-"}, True),
        ({"StudyTime": "1015-1016"}, True),
        ({"StudyTime": "1016-"}, False),
        ({"ModalitiesInStudy": "CT"}, True),
        ({"ModalitiesInStudy": "MR"}, False),
        ({"00100020": "PLANTED-1"}, True),
        ({"PatientID": "PLANTED-1' OR '1'='1"}, False),
        ({"PatientID": "'; DROP TABLE study; --"}, False),
        ({"PatientBirthDate": "19500101"}, True),
        ({"Modality": "CT"}, True),
        ({"SeriesDescription": "Sag*"}, False),
    ],
)
def test_matching(client: DICOMwebClient, make_series: Make, filters: dict[str, str], hit: bool) -> None:
    client.store_instances(make_series(1))
    assert len(client.search_for_studies(search_filters=filters)) == int(hit)
    assert len(client.search_for_studies()) == 1


def test_every_search_is_audited_by_the_names_of_its_keys(
    client: DICOMwebClient, base_url: str, lone_archive: Archive, make_series: Make
) -> None:
    series = make_series(2)
    client.store_instances(series)
    study, one, _ = uids(series[0])
    assert (
        len(client.search_for_studies(fields=["KVP"], search_filters={"PatientName": "Planta*", "StudyDate": ""})) == 1
    )
    assert len(client.search_for_instances(study, one, search_filters={"InstanceNumber": "2"})) == 1
    assert httpx.get(f"{base_url}/series?00100020=NOBODY&Planted=Planted&limit=1").status_code == 204
    assert httpx.get(f"{base_url}/studies?limit=many").status_code == 400, "nothing was asked of the index"
    with lone_archive.database.read() as session:
        events = session.scalars(select(AuditEvent).where(AuditEvent.code == AuditCode.QUERY).order_by(AuditEvent.id))
        told = [(event.action, event.actor, event.study_id, event.detail) for event in events]
    assert told == [
        ("qido", "system", None, {"level": "study", "keys": ["PatientName", "StudyDate"], "found": 1}),
        (
            "qido",
            "system",
            None,
            {"level": "instance", "keys": ["InstanceNumber", "SeriesInstanceUID", "StudyInstanceUID"], "found": 1},
        ),
        ("qido", "system", None, {"level": "series", "keys": ["PatientID"], "found": 0}),
    ]


def test_uid_lists_fuzzy_paging_and_included_fields(client: DICOMwebClient, base_url: str, make_series: Make) -> None:
    firsts = [make_series(1, patient_id=f"P{n}", StudyDate=f"2026010{n}")[0] for n in range(1, 6)]
    client.store_instances(firsts)
    wanted = [str(ds.StudyInstanceUID) for ds in firsts[:2]]
    found = client.search_for_studies(search_filters={"StudyInstanceUID": ",".join(wanted)})
    assert {s["0020000D"]["Value"][0] for s in found} == set(wanted)
    assert len(client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "qui plan"})) == 5
    assert client.search_for_studies(fuzzymatching=True, search_filters={"PatientName": "uilla"}) == []
    pages = [client.search_for_studies(limit=2, offset=n) for n in (0, 2, 4, 6)]
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    dates = [study["00080020"]["Value"][0] for page in pages for study in page]
    assert dates == sorted(dates, reverse=True)
    assert len(client.search_for_studies(limit=2, get_remaining=True)) == 5
    (one,) = client.search_for_series(wanted[0], fields=["Manufacturer", "00180050"])
    assert one["00080070"]["Value"] == ["Reading Room tests"]
    (instance,) = client.search_for_instances(wanted[0], fields=["KVP"])
    assert instance["00180060"]["Value"] == [120]
    more = httpx.get(f"{base_url}/studies?limit=2")
    assert more.headers["Warning"].startswith("299")
    assert httpx.get(f"{base_url}/studies?limit=2; DROP TABLE study").status_code == 400
    assert httpx.get(f"{base_url}/studies?PatientName=%00").status_code == 200
    assert httpx.get(f"{base_url}/studies?PatientID=nobody").status_code == 204


def test_whole_instances_come_back_byte_for_byte(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes], base_url: str
) -> None:
    series = make_series(3)
    for ds in series:
        assert lone_archive.put_file(part10(ds), source="test").outcome == "stored"
    study, one, instance = uids(series[0])
    assert client.retrieve_instance(study, one, instance) == series[0]
    whole = httpx.get(f"{base_url}/studies/{study}")
    assert int(whole.headers["Content-Length"]) == len(whole.content)
    assert all(part10(ds) in whole.content for ds in series)
    assert len(client.retrieve_series(study, one)) == 3
    assert len(list(client.iter_series(study, one))) == 3
    assert {ds.SOPInstanceUID for ds in client.retrieve_study(study)} == {ds.SOPInstanceUID for ds in series}
    single = httpx.get(
        f"{base_url}/studies/{study}/series/{one}/instances/{instance}", headers={"Accept": "application/dicom"}
    )
    assert single.content == part10(series[0])
    assert httpx.get(f"{base_url}/studies/{study}", headers={"Accept": "text/html"}).status_code == 406
    assert httpx.get(f"{base_url}/studies/1.2.3.4").status_code == 404
    assert httpx.get(f"{base_url}/studies/..%2f..%2fetc").status_code in (404, 422)


def test_metadata_is_rendered_once_and_names_bulk_data(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes]
) -> None:
    series = make_series(2)
    payload = bytes(range(256)) * 8
    series[0].add_new(0x00420011, "OB", payload)
    series[0].PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    series[0].SpecificCharacterSet = "ISO_IR 192"
    for ds in series:
        lone_archive.put_file(part10(ds), source="test")
    assert render_waiting(lone_archive, 10) == 2
    assert render_waiting(lone_archive, 10) == 0
    study, one, instance = uids(series[0])
    header = client.retrieve_instance_metadata(study, one, instance)
    assert header["00100010"]["Value"] == [
        {"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎", "Phonetic": "やまだ^たろう"}
    ]
    assert header["00200032"]["Value"] == [-160.0, -160.0, 0.0]
    assert client.retrieve_bulkdata(header["00420011"]["BulkDataURI"]) == [payload]
    assert client.retrieve_bulkdata(header["7FE00010"]["BulkDataURI"]) == [series[0].PixelData]
    back = Dataset.from_json({tag: e for tag, e in header.items() if "BulkDataURI" not in e})
    assert back.Rows == 32
    assert len(client.retrieve_series_metadata(study, one)) == 2
    assert len(client.retrieve_study_metadata(study)) == 2
    assert len(client.search_for_instances(study)) == 2


def test_metadata_of_a_correction_is_rendered_anew(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes]
) -> None:
    (ds,) = make_series(1)
    lone_archive.put_file(part10(ds), source="test")
    render_waiting(lone_archive)
    ds.PatientName = "Changed^Name"
    assert lone_archive.put_file(part10(ds), source="test").outcome == "corrected"
    header = client.retrieve_instance_metadata(*uids(ds))
    assert header["00100010"]["Value"] == [{"Alphabetic": "Changed^Name"}]
    with lone_archive.database.read() as session:
        assert session.scalars(select(InstanceJson.version)).all() == [2]


def compressed(ds: Dataset, syntax: str) -> Dataset:
    ds.compress(syntax, generate_instance_uid=False)
    return ds


def test_frames_native_and_compressed(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes], base_url: str
) -> None:
    (native,) = make_series(1)
    pixels = native.PixelData
    (implicit,) = make_series(1)
    implicit.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = BytesIO()
    implicit.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=True)
    lone_archive.put_file(buffer.getvalue(), source="test")
    others = []
    for syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        (ds,) = make_series(1)
        ds.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = np.frombuffer(pixels, "<u2").astype(">u2").tobytes()
        buffer = BytesIO()
        ds.save_as(buffer, implicit_vr=False, little_endian=syntax != ExplicitVRBigEndian, enforce_file_format=True)
        assert lone_archive.put_file(buffer.getvalue(), source="test").ok
        others.append(ds)
    (lossless,) = make_series(1)
    compressed(lossless, JPEGLSLossless)
    (rle,) = make_series(1)
    compressed(rle, RLELossless)
    for ds in (native, lossless, rle):
        assert lone_archive.put_file(part10(ds), source="test").ok
    raw = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    for ds in (native, implicit, *others, lossless, rle):
        assert client.retrieve_instance_frames(*uids(ds), [1], media_types=raw) == [pixels]
    # As stored, with the form named in the part.
    (stored,) = client.retrieve_instance_frames(*uids(lossless), [1], media_types=("image/jls",))
    assert stored[:2] == b"\xff\xd8"
    assert client.retrieve_instance_frames(*uids(lossless), [1])[0] == stored
    url = f"{base_url}/studies/{lossless.StudyInstanceUID}/series/{lossless.SeriesInstanceUID}"
    url += f"/instances/{lossless.SOPInstanceUID}/frames"
    # What OHIF's loader sends.
    ohif = httpx.get(
        f"{url}/1", headers={"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    )
    assert ohif.status_code == 200
    assert b"transfer-syntax=1.2.840.10008.1.2.4.80" in ohif.content[:300]
    assert stored in ohif.content
    assert httpx.get(f"{url}/2").status_code == 404
    assert httpx.get(f"{url}/0").status_code == 400
    assert httpx.get(f"{url}/1", headers={"Accept": "image/png"}).status_code == 406
    with pytest.raises(httpx.HTTPStatusError):
        httpx.get(f"{url}/1,x").raise_for_status()


def test_frames_of_a_multiframe_object(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes]
) -> None:
    frames = np.random.default_rng(0).integers(0, 4000, (4, 32, 32), dtype=np.uint16)
    (ds,) = make_series(1)
    ds.NumberOfFrames, ds.PixelData = 4, frames.tobytes()
    lone_archive.put_file(part10(ds), source="test")
    got = client.retrieve_instance_frames(*uids(ds), [4, 2])
    assert got == [frames[3].tobytes(), frames[1].tobytes()]

    (packed,) = make_series(1)
    packed.NumberOfFrames, packed.PixelData = 4, frames.tobytes()
    compressed(packed, RLELossless)
    # Two fragments a frame with a basic offset table, as some scanners write.
    from pydicom.encaps import generate_frames

    encoded = list(generate_frames(packed.PixelData, number_of_frames=4))
    packed.PixelData = encapsulate(encoded, fragments_per_frame=2)
    lone_archive.put_file(part10(packed), source="test")
    assert [f.rstrip(b"\0") for f in client.retrieve_instance_frames(*uids(packed), [3])] == [encoded[2].rstrip(b"\0")]
    # Without a table it is found by decoding.
    (bare,) = make_series(1)
    bare.NumberOfFrames, bare.PixelData = 4, frames.tobytes()
    compressed(bare, RLELossless)
    bare.PixelData = encapsulate(encoded, fragments_per_frame=1, has_bot=False)
    lone_archive.put_file(part10(bare), source="test")
    raw = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    assert client.retrieve_instance_frames(*uids(bare), [2], media_types=raw) == [frames[1].tobytes()]


def test_transfer_syntax_of_whole_instances(
    lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes], base_url: str
) -> None:
    (ds,) = make_series(1)
    pixels = ds.PixelData
    compressed(ds, JPEGLSLossless)
    lone_archive.put_file(part10(ds), source="test")
    url = "{}/studies/{}/series/{}/instances/{}".format(base_url, *uids(ds))
    stored = httpx.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert stored.content == part10(ds)
    plain = httpx.get(url, headers={"Accept": 'application/dicom; transfer-syntax="1.2.840.10008.1.2.1"'})
    back = dcmread(BytesIO(plain.content))
    assert back.SOPInstanceUID == ds.SOPInstanceUID
    assert back.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    assert back.PixelData == pixels
    refused = httpx.get(url, headers={"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"})
    assert refused.status_code == 406


def test_rendered_and_thumbnail(client: DICOMwebClient, make_series: Make, base_url: str) -> None:
    (ds,) = make_series(1)
    client.store_instances([ds])
    png = client.retrieve_instance_rendered(*uids(ds), media_types=("image/png",))
    assert Image.open(BytesIO(png)).size == (32, 32)
    jpeg = client.retrieve_instance_frames_rendered(*uids(ds), [1], media_types=("image/jpeg",))
    assert Image.open(BytesIO(jpeg)).format == "JPEG"
    url = "{}/studies/{}/series/{}/instances/{}/rendered".format(base_url, *uids(ds))
    wide = httpx.get(f"{url}?window=0,4000,LINEAR", headers={"Accept": "image/png"}).content
    narrow = httpx.get(f"{url}?window=-500,10,LINEAR", headers={"Accept": "image/png"}).content
    assert wide != narrow
    assert httpx.get(f"{url}?window=a,b").status_code == 400
    assert httpx.get(f"{url}?viewport=0,0").status_code == 400
    for level in (url.rsplit("/", 1)[0], url.rsplit("/", 3)[0], url.rsplit("/", 5)[0]):
        assert httpx.get(f"{level}/thumbnail").status_code == 200


def test_stow_tells_what_failed(
    client: DICOMwebClient, base_url: str, make_series: Make, part10: Callable[[Dataset], bytes]
) -> None:
    good, other = make_series(1)[0], make_series(1)[0]
    study = str(good.StudyInstanceUID)
    answer = client.store_instances([good, other], study_instance_uid=study)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [good.SOPInstanceUID]
    assert answer.FailedSOPSequence[0].ReferencedSOPInstanceUID == other.SOPInstanceUID
    assert answer.FailedSOPSequence[0].FailureReason == 0xA900
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=b'}

    def post(body: bytes) -> httpx.Response:
        return httpx.post(f"{base_url}/studies", content=body, headers=headers)

    junk = post(b"--b\r\nContent-Type: application/dicom\r\n\r\nnot dicom at all\r\n--b--")
    assert junk.status_code == 409
    assert junk.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0xC000]
    mixed = post(
        b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(other) + b"\r\n--b\r\n\r\n\r\njunk\r\n--b--"
    )
    assert mixed.status_code == 202
    assert post(b"").status_code == 400
    assert post(b"--b\r\n" + b"x" * 40_000).status_code == 400
    assert post(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + part10(good)[:-400]).status_code == 409
    assert httpx.post(f"{base_url}/studies", content=b"x").status_code == 400
    # The server is still there.
    assert len(client.search_for_studies()) == 2


def test_hidden_images_are_nowhere(
    client: DICOMwebClient, lone_archive: Archive, make_series: Make, part10: Callable[[Dataset], bytes]
) -> None:
    from sqlalchemy import update

    from readingroom.archive.tables import Instance

    series = make_series(2)
    client.store_instances(series)
    with lone_archive.database.write() as session:
        session.execute(
            update(Instance).where(Instance.SOPInstanceUID == str(series[0].SOPInstanceUID)).values(hidden="113001")
        )
    study, one, instance = uids(series[0])
    assert len(client.search_for_instances(study)) == 1
    assert len(client.retrieve_series(study, one)) == 1
    assert client.search_for_studies()[0]["00201208"]["Value"] == [1]
    for call in (client.retrieve_instance, client.retrieve_instance_metadata):
        with pytest.raises(Exception, match="404"):
            call(study, one, instance)


def test_a_uid_nobody_has(client: DICOMwebClient) -> None:
    with pytest.raises(Exception, match="404"):
        client.retrieve_study_metadata(generate_uid())
