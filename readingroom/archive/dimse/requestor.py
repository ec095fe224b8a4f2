"""The requesting side: open an association and send stored files with C-STORE, their bytes as they lie on disk.

Only what a delivery needs: one operation at a time, no roles, no asynchronous window.
"""

import socket
import ssl
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from readingroom.archive.dimse import pdu
from readingroom.archive.dimse.commands import MAX_COMMAND_BYTES, encode_store_request, parse_response_status
from readingroom.archive.dimse.pdu import HEADER, PDV_HEADER, InvalidPdu, PresentationContext
from readingroom.core.sealed import Source

_LARGEST_PDU: Final = 256 << 10
"""The most we put in one PDU, whatever the peer would take."""
_RELEASE_SECONDS: Final = 5.0
_QUICK_ACK: Final = getattr(socket, "TCP_QUICKACK", None)
"""Linux only."""


class PeerFailed(Exception):
    """The peer could not be reached, refused, or broke off. The text is free of what was sent."""


def _secured(connection: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(connection, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise PeerFailed(f"TLS: the peer's certificate is not trusted: {error.verify_message}.") from None
    except OSError as error:
        reason = str(getattr(error, "reason", "") or type(error).__name__).lower().replace("_", " ")
        raise PeerFailed(f"TLS: {reason}.") from None


class Requestor:
    """One association as its requestor. Use it as a context manager: it releases at the end, aborts on an error."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        called_aet: str,
        calling_aet: str,
        contexts: Sequence[tuple[str, str]],
        timeout_seconds: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Associate. ``contexts``: (SOP class, transfer syntax), each proposed in a context of its own (at most 128).
        ``tls``: how to secure the connection, None for not at all.

        Raises PeerFailed.
        """
        proposed = [
            PresentationContext(2 * n + 1, abstract, (transfer,)) for n, (abstract, transfer) in enumerate(contexts)
        ]
        self._message_id = 0
        try:
            self._socket = socket.create_connection((host, port), timeout_seconds)
        except OSError as error:
            raise PeerFailed(f"No connection: {error.strerror or type(error).__name__}.") from None
        try:
            if tls is not None:
                self._socket = _secured(self._socket, tls, host)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._send(pdu.encode_associate_request(called_aet, calling_aet, proposed))
            kind, body = self._receive()
            if kind == pdu.ASSOCIATE_RJ and len(body) == 4:
                raise PeerFailed(
                    f"Association rejected (result {body[1]}, source {body[2]}, reason {body[3]}): "
                    "check both AE titles at the peer."
                )
            if kind != pdu.ASSOCIATE_AC:
                raise PeerFailed("The peer did not answer the association request as DICOM.")
            accepted, peer_max = pdu.parse_associate_accept(body)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, InvalidPdu):
                raise PeerFailed("The peer's answer is malformed.") from None
            raise
        self._contexts = {(p.abstract_syntax, accepted[p.id]): p.id for p in proposed if p.id in accepted}
        self._pdu_bytes = min(peer_max, _LARGEST_PDU) if peer_max > PDV_HEADER.size else _LARGEST_PDU

    def accepts(self, sop_class_uid: str, transfer_syntax_uid: str) -> bool:
        """Whether the peer takes objects of that class in that transfer syntax."""
        return (sop_class_uid, transfer_syntax_uid) in self._contexts

    def store(
        self, source: Source, dataset_start: int, *, sop_class_uid: str, transfer_syntax_uid: str, sop_instance_uid: str
    ) -> int:
        """Send the data set that begins at byte ``dataset_start`` of a file. Returns the C-STORE status.

        Raises PeerFailed; the association is of no use after that.
        """
        context_id = self._contexts[sop_class_uid, transfer_syntax_uid]
        self._message_id = self._message_id % 0xFFFF + 1
        command = encode_store_request(self._message_id, sop_class_uid, sop_instance_uid)
        self._send(pdu.encode_command(context_id, command, self._pdu_bytes))
        room = self._pdu_bytes - PDV_HEADER.size
        with source.open("rb") as file:
            left = file.seek(0, 2) - dataset_start
            file.seek(dataset_start)
            while True:
                piece = file.read(min(room, left))
                left -= len(piece)
                if not piece and left:
                    raise PeerFailed("The stored file changed while it was sent.")
                head = HEADER.pack(pdu.P_DATA_TF, len(piece) + PDV_HEADER.size)
                head += PDV_HEADER.pack(len(piece) + 2, context_id, 0 if left else 2)
                self._send(head + piece)
                if not left:
                    break
        message_id, status = self._response()
        if message_id != self._message_id:
            raise PeerFailed("The peer answered another message.")
        return status

    def release(self) -> None:
        """End the association in order; a peer that does not answer is no error."""
        try:
            self._socket.settimeout(_RELEASE_SECONDS)
            self._send(HEADER.pack(pdu.RELEASE_RQ, 4) + bytes(4))
            while self._receive()[0] != pdu.RELEASE_RP:
                pass
        except PeerFailed:
            pass
        finally:
            self._socket.close()

    def abort(self) -> None:
        try:
            self._socket.settimeout(_RELEASE_SECONDS)
            self._send(pdu.encode_abort(0, 0))
        except PeerFailed:
            pass
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    def _response(self) -> tuple[int, int]:
        command, last = bytearray(), False
        try:
            while not last:
                kind, body = self._receive()
                if kind == pdu.ABORT:
                    raise PeerFailed("The peer aborted the association.")
                if kind != pdu.P_DATA_TF:
                    raise PeerFailed("The peer ended the association.")
                at = 0
                while at < len(body):
                    length, _, control = PDV_HEADER.unpack_from(body, at)
                    if length < 2 or at + 4 + length > len(body) or not control & 1:
                        raise PeerFailed("The peer's answer is malformed.")
                    command += body[at + 6 : at + 4 + length]
                    at += 4 + length
                    last = bool(control & 2)
                if len(command) > MAX_COMMAND_BYTES:
                    raise PeerFailed("The peer's answer is malformed.")
            return parse_response_status(bytes(command))
        except (InvalidPdu, struct.error):
            raise PeerFailed("The peer's answer is malformed.") from None

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise PeerFailed(f"The connection broke: {error.strerror or type(error).__name__}.") from None

    def _receive(self) -> tuple[int, bytes]:
        kind, length = HEADER.unpack(self._exactly(HEADER.size))
        if length > pdu.MAX_PDU_BYTES:
            raise PeerFailed("The peer's answer is malformed.")
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                if _QUICK_ACK is not None:
                    # A peer with Nagle's algorithm holds the rest of its answer until we acknowledge the first of it.
                    self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
                piece = self._socket.recv(count - len(data))
            except TimeoutError:
                raise PeerFailed("The peer did not answer in time.") from None
            except OSError as error:
                raise PeerFailed(f"The connection broke: {error.strerror or type(error).__name__}.") from None
            if not piece:
                raise PeerFailed("The peer closed the connection.")
            data += piece
        return bytes(data)
