"""One association, from accepted socket to closed one: read a PDU, look its event up in the state table, act.

The thread that runs it does everything for it: no queues, no timers beside the socket's. Whatever a peer sends, the
answer is one the standard knows (a status, a rejection, an A-ABORT); no exception leaves ``run``.
"""

import logging
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, Protocol

from readingroom.archive.dimse import negotiation, pdu
from readingroom.archive.dimse.commands import (
    MAX_COMMAND_BYTES,
    RESPONSE_BIT,
    Command,
    Request,
    Status,
    encode_response,
    parse_request,
)
from readingroom.archive.dimse.fsm import TABLE, Action, Event, State
from readingroom.archive.dimse.incoming import Incoming
from readingroom.archive.dimse.pdu import InvalidPdu
from readingroom.archive.dimse.permissions import DIMSE_PERMISSIONS
from readingroom.archive.dimse.wire import SLOWEST_BYTES_PER_SECOND, Closed, Expired, Stopping, Wire
from readingroom.archive.header_scan import Buffer
from readingroom.archive.statuses import ANSWERS
from readingroom.core.config import Settings
from readingroom.core.errors import OutOfResources, ReadingRoomError

log = logging.getLogger(__name__)

ARTIM_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0
"""How long we wait for the peer to close after the last PDU of ours."""

_EVENTS: Final = {
    pdu.ASSOCIATE_RQ: Event.ASSOCIATE_RQ_ARRIVED,
    pdu.ASSOCIATE_AC: Event.ASSOCIATE_AC_ARRIVED,
    pdu.ASSOCIATE_RJ: Event.ASSOCIATE_RJ_ARRIVED,
    pdu.P_DATA_TF: Event.DATA_ARRIVED,
    pdu.RELEASE_RQ: Event.RELEASE_RQ_ARRIVED,
    pdu.RELEASE_RP: Event.RELEASE_RP_ARRIVED,
    pdu.ABORT: Event.ABORT_ARRIVED,
}
_VERBS: Final = {Command.C_STORE_RQ: "C-STORE", Command.C_ECHO_RQ: "C-ECHO"}


class StoreResult(Protocol):
    """What an archive says about one object (``archive.receive.Received``)."""

    @property
    def outcome(self) -> str: ...
    @property
    def study_id(self) -> str | None: ...
    @property
    def dimse_status(self) -> int: ...
    @property
    def message(self) -> str: ...


class ObjectSink(Protocol):
    """The archive as this room needs it (``archive.receive.Archive``): durable when ``put_stream`` returns."""

    def put_stream(
        self,
        data: Buffer | Iterable[bytes],
        *,
        transfer_syntax_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        source: str,
        calling_aet: str = "",
        project: str = "",
    ) -> StoreResult: ...


class Association:
    """``full``: answer the request with a transient rejection, whatever it asks. ``counts``: outcomes of C-STORE.

    ``accepted``: the peer was let in.
    """

    def __init__(
        self,
        connection: socket.socket,
        settings: Settings,
        archive: ObjectSink,
        stop: threading.Event,
        *,
        host: str,
        certificate_names: frozenset[str] = frozenset(),
        full: bool = False,
        on_refused: Callable[[str, str], None] = lambda aet, why: None,
    ) -> None:
        self.calling_aet = ""
        self.accepted = False
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._host = host
        self._certificate_names = certificate_names
        self._project = ""
        self._archive = archive
        self._stop = stop
        self._full = full
        self._on_refused = on_refused
        self._wire = Wire(connection, stop)
        self._state = State.IDLE
        self._body = b""
        self._length = 0
        self._decision: negotiation.Accepted | negotiation.Rejected = negotiation.STOPPING
        self._association_request: pdu.AssociateRequest | None = None
        self._contexts: dict[int, pdu.ContextResult] = {}
        self._peer_max_pdu = 0
        self._command = bytearray()
        self._context_id = 0
        self._request: Request | None = None
        self._incoming = Incoming(settings.max_object_bytes, settings.work_folder)
        self._actions: dict[Action, Callable[[], None]] = {
            Action.START_TIMER: lambda: self._wire.arm(min(ARTIM_SECONDS, settings.association_idle_seconds)),
            Action.DECIDE: self._decide,
            Action.SEND_ACCEPT: self._send_accept,
            Action.SEND_REJECT: self._send_reject,
            Action.SEND_DATA: self._send_response,
            Action.TAKE_DATA: self._take_data,
            Action.ANSWER_RELEASE: lambda: self._step(Event.RELEASE),
            Action.SEND_RELEASE_RP: lambda: self._send_last(pdu.encode_release_response()),
            Action.ABORT: lambda: self._send_last(pdu.encode_abort(0, 0)),
            # Reason 2: unexpected PDU; the finer reasons help nobody and differ between implementations.
            Action.ABORT_AS_PROVIDER: lambda: self._send_last(pdu.encode_abort(2, 2)),
            Action.STOP_TIMER: lambda: None,
            Action.CLOSE: lambda: None,
            Action.ABORTED: lambda: None,
            Action.LOST: lambda: None,
        }
        self._response = b""

    def run(self) -> None:
        """Serve the peer until the association is over. The caller closes the socket."""
        try:
            self._handle(Event.CONNECTED)
            while self._state is not State.IDLE:
                self._handle(self._next_event())
        except Closed:
            # While writing: there is nobody left to tell.
            self._state = State.IDLE
        except Exception as error:
            # The text of an unforeseen error may quote data: only its kind and where it came from are logged.
            log.error("association failed: %s\n%s", type(error).__name__, _frames(error))
            with suppress(Closed, Expired, Stopping):
                self._wire.write(pdu.encode_abort(2, 0))
        finally:
            self._incoming.clear()
            # They hold us, and so our buffers, until the garbage collector next looks at everything.
            self._actions.clear()

    def _step(self, event: Event) -> None:
        """Look the event up in the state table and act; the new state holds while the action runs."""
        action, self._state = TABLE[event, self._state]
        self._actions[action]()

    def _handle(self, event: Event) -> None:
        """Take a step, and the one that follows from what goes wrong in it."""
        try:
            self._step(event)
        except InvalidPdu as error:
            log.info("aborting an association: %s", error)
            self._handle(Event.INVALID_PDU)
        except Closed:
            self._handle(Event.CLOSED)
        except (Expired, Stopping):
            self._handle(Event.ARTIM_EXPIRED if self._state is State.AWAITING_CLOSE else Event.ABORT)

    def _next_event(self) -> Event:
        """Wait for the next thing to happen: a PDU, the end of the connection, a timer, the stop signal."""
        wire = self._wire
        try:
            if self._state is State.AWAITING_CLOSE:
                wire.discard_until_closed()
            if self._state is State.ESTABLISHED:
                if self._stop.is_set() and wire.idle:
                    return Event.ABORT
                wire.arm(self._settings.association_idle_seconds)
            kind, self._length = pdu.HEADER.unpack(wire.read(pdu.HEADER.size))
            event = _EVENTS.get(kind, Event.INVALID_PDU)
            if event is Event.DATA_ARRIVED:
                return event if self._length <= pdu.MAX_PDU_BYTES else Event.INVALID_PDU
            longest = pdu.MAX_ASSOCIATE_BYTES if event is Event.ASSOCIATE_RQ_ARRIVED else 4
            if event is Event.INVALID_PDU or self._length > longest:
                return Event.INVALID_PDU
            self._body = wire.read(self._length)
            return event
        except Closed:
            return Event.CLOSED
        except (Expired, Stopping):
            if self._state in (State.AWAITING_REQUEST, State.AWAITING_CLOSE):
                return Event.ARTIM_EXPIRED
            return Event.ABORT

    # Opening

    def _decide(self) -> None:
        request = pdu.parse_associate_request(self._body)
        self._association_request = request
        self.calling_aet = "".join(c if c.isprintable() else "?" for c in request.calling_aet)
        self._decision = negotiation.negotiate(request, self._settings, self._host, self._certificate_names)
        if isinstance(self._decision, negotiation.Rejected):
            log.warning("association refused: %s", self._decision.words)
            self._on_refused(self.calling_aet, self._decision.words)
        elif self._stop.is_set():
            self._decision = negotiation.STOPPING
        elif self._full:
            self._decision = negotiation.LOCAL_LIMIT
        self._step(Event.ACCEPT if isinstance(self._decision, negotiation.Accepted) else Event.REJECT)

    def _send_accept(self) -> None:
        assert self._association_request is not None
        assert isinstance(self._decision, negotiation.Accepted)
        self.accepted = True
        self._project = self._decision.project
        self._contexts = {result.id: result for result in self._decision.contexts if result.result == 0}
        self._peer_max_pdu = self._association_request.max_pdu_bytes
        self._wire.write(
            pdu.encode_associate_accept(self._association_request, self._decision.contexts, self._decision.roles)
        )

    def _send_reject(self) -> None:
        assert isinstance(self._decision, negotiation.Rejected)
        decision = self._decision
        self._send_last(pdu.encode_associate_reject(decision.result, decision.source, decision.reason))

    def _send_last(self, data: bytes) -> None:
        self._wire.arm(_CLOSE_SECONDS)
        # What still arrives is only drained; the stop signal may cut that short.
        self._wire.idle = True
        self._wire.write(data)
        self._wire.finish()

    # Messages

    def _take_data(self) -> None:
        """Consume one P-DATA-TF: its items go to the command or to the data set as they come off the wire."""
        left, wire = self._length, self._wire
        wire.idle = False
        wire.arm(self._settings.association_idle_seconds + left / SLOWEST_BYTES_PER_SECOND)
        while left:
            if left < pdu.PDV_HEADER.size:
                raise InvalidPdu("a presentation data value is cut off")
            length, context_id, control = pdu.PDV_HEADER.unpack(wire.read(pdu.PDV_HEADER.size))
            left -= pdu.PDV_HEADER.size
            count = length - 2
            if count < 0 or count > left:
                raise InvalidPdu("a presentation data value has a wrong length")
            left -= count
            self._take_fragment(context_id, bool(control & 1), bool(control & 2), count)

    def _take_fragment(self, context_id: int, is_command: bool, is_last: bool, count: int) -> None:
        if context_id not in self._contexts:
            raise InvalidPdu("data for a context that was not accepted")
        if (self._command or self._request) and context_id != self._context_id:
            raise InvalidPdu("a message changes its context")
        self._context_id = context_id
        if is_command:
            if self._request is not None or len(self._command) + count > MAX_COMMAND_BYTES:
                raise InvalidPdu("a command where none may be, or one without end")
            self._command += self._wire.read(count)
            if not is_last:
                return
            self._request = parse_request(bytes(self._command))
            self._command.clear()
            if self._request.has_data_set:
                return
        else:
            if self._request is None:
                raise InvalidPdu("a data set without its command")
            self._incoming.take(self._wire, count)
            if self._incoming.size > 2 * self._settings.max_object_bytes:
                raise InvalidPdu("a data set without end")
            if not is_last:
                return
        self._perform(self._request)
        self._request = None
        self._incoming.clear()
        self._wire.idle = True

    def _perform(self, request: Request) -> None:
        """Carry the request out and answer it."""
        if request.command & RESPONSE_BIT:
            raise InvalidPdu("a response to a request never made")
        if request.command == Command.C_CANCEL_RQ:
            return
        if _VERBS.get(request.command) not in DIMSE_PERMISSIONS:  # type: ignore[call-overload]
            status, comment = int(Status.UNRECOGNISED_OPERATION), "Only C-STORE and C-ECHO are provided."
        elif request.sop_class_uid != self._contexts[self._context_id].abstract_syntax:
            status, comment = int(Status.SOP_CLASS_NOT_SUPPORTED), "The SOP class is not that of the context."
        elif request.command == Command.C_ECHO_RQ:
            is_verification = request.sop_class_uid == negotiation.VERIFICATION
            status, comment = int(Status.SUCCESS if is_verification else Status.SOP_CLASS_NOT_SUPPORTED), ""
        elif request.sop_class_uid == negotiation.VERIFICATION:
            status, comment = int(Status.SOP_CLASS_NOT_SUPPORTED), ""
        else:
            status, comment = self._store(request)
        self._response = pdu.encode_command(
            self._context_id, encode_response(request, status, comment), self._peer_max_pdu
        )
        self._step(Event.SEND_DATA)

    def _send_response(self) -> None:
        self._wire.arm(self._settings.association_idle_seconds)
        self._wire.write(self._response)

    def _store(self, request: Request) -> tuple[int, str]:
        """Hand the data set to the archive. Returns status and error comment."""
        if not request.has_data_set:
            return int(Status.MISTYPED_ARGUMENT), "C-STORE without a data set."
        if self._incoming.refused:
            self.counts["refused"] += 1
            answer = ANSWERS[self._incoming.refused]
            return answer.dimse, answer.meaning
        try:
            received = self._archive.put_stream(
                self._incoming.data(),
                transfer_syntax_uid=self._contexts[self._context_id].transfer_syntax,
                sop_class_uid=request.sop_class_uid,
                sop_instance_uid=request.sop_instance_uid,
                source=f"dimse:{self.calling_aet}",
                calling_aet=self.calling_aet,
                project=self._project,
            )
        except OutOfResources as error:
            self.counts["refused"] += 1
            return int(Status.OUT_OF_RESOURCES), error.message
        except ReadingRoomError as error:
            self.counts["failed"] += 1
            return int(Status.PROCESSING_FAILURE), error.message
        except Exception as error:
            self.counts["failed"] += 1
            log.error("storing an object failed: %s\n%s", type(error).__name__, _frames(error))
            return int(Status.PROCESSING_FAILURE), "The archive could not store the object."
        self.counts[received.outcome] += 1
        # Success says enough by itself; a warning or failure explains itself.
        return received.dimse_status, received.message if received.dimse_status else ""


def _frames(error: Exception) -> str:
    return "".join(traceback.format_tb(error.__traceback__))
