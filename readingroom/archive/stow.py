"""STOW-RS (PS3.18 section 10.5): parts of a request to the archive, and what became of each as DICOM JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readingroom.archive.filing import Filing
from readingroom.archive.gather import Spool
from readingroom.archive.header_scan import scan
from readingroom.archive.multipart import End, Parser, Piece, Start
from readingroom.archive.part10 import unwrap
from readingroom.archive.qido import element
from readingroom.archive.receive import Archive, Received
from readingroom.core.errors import BadInput, OutOfResources

_WRONG_STUDY = 0xA900
_NOT_DICOM_PART = 0xC000


class Upload:
    """One STOW request as its body comes in. Each part is stored, or not, when it is complete."""

    def __init__(self, archive: Archive, boundary: bytes, source: str, filing: Filing, study: str = "") -> None:
        self.archive, self.source, self.filing, self.study = archive, source, filing, study
        self.results: list[Received] = []
        self.failures: list[tuple[str, str, int]] = []
        """Class, instance and failure reason of parts that did not reach the archive."""
        self._parser = Parser(boundary)
        self._media_type = ""
        self._spool: Spool | None = None
        self._total = 0

    def feed(self, data: bytes) -> None:
        """Take a piece of the body. Raises BadInput, OutOfResources for a body over ``max_upload_bytes``."""
        self._total += len(data)
        if self._total > self.archive.settings.max_upload_bytes:
            raise OutOfResources(
                "The upload is larger than max_upload_bytes.", "Send fewer instances at a time.", code="too-large"
            )
        for event in self._parser.feed(data):
            if isinstance(event, Start):
                self._media_type = event.media_type.split(";")[0].strip()
                self._spool = Spool(self.archive.settings.max_object_bytes, self._folder)
            elif isinstance(event, Piece) and self._spool is not None:
                self._spool.write(event.data)
            elif isinstance(event, End) and self._spool is not None:
                self._part(self._spool)
                self._spool.close()
                self._spool = None

    def finish(self) -> None:
        """The body has ended. Raises BadInput when it ended early, with nothing stored at all."""
        if self._spool is not None:
            # The last part was cut off: what came of it is not an instance anyone sent.
            self.failures.append(("", "", _NOT_DICOM_PART))
        if not self.results and not self.failures:
            raise BadInput("The body holds no part.", "Send multipart/related with application/dicom parts.")
        self.close()

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    @property
    def _folder(self) -> Path:
        return self.archive.settings.work_folder

    def _part(self, spool: Spool) -> None:
        if self._media_type not in ("application/dicom", "application/octet-stream"):
            self.failures.append(("", "", _NOT_DICOM_PART))
            return
        buffer = spool.buffer()
        if self.study:
            try:
                wrapping = unwrap(buffer)
                header = scan(buffer, wrapping.dataset_start, wrapping.TransferSyntaxUID)
            except BadInput:
                pass
            else:
                if header.text("StudyInstanceUID") != self.study:
                    self.failures.append((header.text("SOPClassUID"), header.text("SOPInstanceUID"), _WRONG_STUDY))
                    return
        self.results.append(self.archive.put_file(buffer, source=self.source, filing=self.filing))


def answer(upload: Upload, base_url: str) -> tuple[int, bytes]:
    """Return HTTP status and DICOM JSON: 200 all stored, 202 some, 409 none (507 when for want of room)."""
    stored = [received for received in upload.results if received.ok]
    failed = list(_failed(upload))
    body: dict[str, Any] = {}
    studies = {received.StudyInstanceUID for received in stored}
    if len(studies) == 1:
        body["00081190"] = element("UR", f"{base_url}/studies/{studies.pop()}")
    if failed:
        body["00081198"] = {
            "vr": "SQ",
            "Value": [
                {
                    "00081150": element("UI", sop_class),
                    "00081155": element("UI", sop_instance),
                    "00081197": element("US", reason),
                }
                for sop_class, sop_instance, reason in failed
            ],
        }
    if stored:
        body["00081199"] = {"vr": "SQ", "Value": [_reference(received, base_url) for received in stored]}
    text = json.dumps(body, separators=(",", ":")).encode()
    if stored:
        return (202 if failed else 200), text
    full = bool(upload.results) and all(received.code == "out-of-resources" for received in upload.results)
    return (507 if full else 409), text


def _failed(upload: Upload) -> Iterator[tuple[str, str, int]]:
    yield from upload.failures
    for received in upload.results:
        if not received.ok:
            yield received.SOPClassUID, received.SOPInstanceUID, received.failure_reason


def _reference(received: Received, base_url: str) -> dict[str, Any]:
    url = (
        f"{base_url}/studies/{received.StudyInstanceUID}/series/{received.SeriesInstanceUID}"
        f"/instances/{received.SOPInstanceUID}"
    )
    return {
        "00081150": element("UI", received.SOPClassUID),
        "00081155": element("UI", received.SOPInstanceUID),
        "00081190": element("UR", url),
    }
