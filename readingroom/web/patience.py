"""How long we wait for a client that is slow, by need or on purpose: for the head of a request, and for its body.

uvicorn waits for ever for both, and each that waits keeps a connection.
"""

import asyncio
from typing import Final

import h11
from starlette.types import Message, Receive
from uvicorn.protocols.http.h11_impl import H11Protocol

from readingroom.core.clock import monotonic
from readingroom.core.errors import ReadingRoomError

HEAD_SECONDS = 20.0
"""From the connection, or the first byte of a further request, to the end of its head."""
BODY_SECONDS = 30.0
SLOWEST_BYTES_PER_SECOND: Final = 4 << 10
"""A body may take half a minute, and as much more as it brings bytes at this rate."""


class TooSlow(ReadingRoomError):
    """The body of a request comes too slowly."""

    code = "too-slow"

    def __init__(self) -> None:
        super().__init__("The request came too slowly.", "Send it again.")


class PatientProtocol(H11Protocol):
    """uvicorn's HTTP, with a time limit for heads."""

    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Bytes of a head that is not whole, or of a body that nobody waits for any more.
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:
            self._arm()
        else:
            self._disarm()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.our_state is h11.DONE:
            # Answered before the body was whole.
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _disarm(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


def in_time(receive: Receive) -> Receive:
    """Return ``receive`` that raises TooSlow where the body comes too slowly."""
    waited, got, whole = 0.0, 0, False

    async def receive_in_time() -> Message:
        nonlocal waited, got, whole
        if whole:
            # What is waited for now is the client's going away.
            return await receive()
        left = BODY_SECONDS + got / SLOWEST_BYTES_PER_SECOND - waited
        asked = monotonic()
        try:
            async with asyncio.timeout(left):
                message = await receive()
        except TimeoutError:
            raise TooSlow from None
        waited += monotonic() - asked
        got += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        return message

    return receive_in_time
