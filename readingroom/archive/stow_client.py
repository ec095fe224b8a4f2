"""The sending side of STOW-RS (PS3.18 section 10.5): one stored file a request, its bytes as they lie on disk."""

import secrets
import ssl
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import httpx

from readingroom.archive.dimse.requestor import PeerFailed
from readingroom.core.sealed import Source

_CHUNK_BYTES: Final = 256 << 10
PROCESSING_FAILURE: Final = 0x0110


class StowClient:
    """A connection to one peer's STOW-RS service at ``url`` (without ``/studies``). ``tls``: for an ``https`` one."""

    def __init__(self, url: str, timeout_seconds: float, tls: ssl.SSLContext) -> None:
        self._url = url.rstrip("/") + "/studies"
        self._client = httpx.Client(timeout=timeout_seconds, verify=tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def store(self, source: Source, transfer_syntax_uid: str) -> int:
        """Send a Part 10 file. Returns 0, or the peer's Failure Reason (0110H where it gives none).

        Raises PeerFailed when the peer cannot be reached or is not able now (429, 5xx), OSError for the file.
        """
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\nContent-Type: application/dicom; transfer-syntax={transfer_syntax_uid}\r\n\r\n".encode()
        )
        tail = f"\r\n--{boundary}--\r\n".encode()
        with source.open("rb") as file:
            length = len(head) + file.seek(0, 2) + len(tail)
            file.seek(0)

            def body() -> Iterator[bytes]:
                yield head
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
                yield tail

            headers = {
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Content-Length": str(length),
                "Accept": "application/dicom+json",
            }
            try:
                response = self._client.post(self._url, content=body(), headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise PeerFailed(type(error).__name__) from None
        if response.status_code == 429 or response.status_code >= 500:
            raise PeerFailed(f"HTTP {response.status_code}")
        return _failure_reason(response)


def _failure_reason(response: httpx.Response) -> int:
    try:
        answer = response.json()
    except ValueError:
        answer = None
    failed = _first(answer, "00081198")
    if failed is not None:
        reason = _first(failed, "00081197")
        return reason if isinstance(reason, int) and reason else PROCESSING_FAILURE
    return 0 if response.is_success else PROCESSING_FAILURE


def _first(data: Any, tag: str) -> Any:
    """The first value of an element of a DICOM JSON object, or None: the peer's JSON is not trusted to be any."""
    element = data.get(tag) if isinstance(data, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None
