"""The acceptor's half of the upper layer's state table (PS3.8 table 9-10), as data.

Events and actions keep the standard's names. An association never asks for a connection or a release itself, so the
requestor's states are absent. In Sta13 whatever still arrives is thrown away unread (AA-6), so only the end of the
connection and the timer are events there.
"""

from enum import IntEnum, StrEnum


class State(StrEnum):
    IDLE = "Sta1"
    AWAITING_REQUEST = "Sta2"
    DECIDING = "Sta3"
    ESTABLISHED = "Sta6"
    RELEASING = "Sta8"
    AWAITING_CLOSE = "Sta13"


class Event(IntEnum):
    """Numbers of PS3.8 table 9-10."""

    ASSOCIATE_AC_ARRIVED = 3
    ASSOCIATE_RJ_ARRIVED = 4
    CONNECTED = 5
    ASSOCIATE_RQ_ARRIVED = 6
    ACCEPT = 7
    REJECT = 8
    SEND_DATA = 9
    DATA_ARRIVED = 10
    RELEASE_RQ_ARRIVED = 12
    RELEASE_RP_ARRIVED = 13
    RELEASE = 14
    ABORT = 15
    ABORT_ARRIVED = 16
    CLOSED = 17
    ARTIM_EXPIRED = 18
    INVALID_PDU = 19


class Action(StrEnum):
    START_TIMER = "AE-5"
    DECIDE = "AE-6"
    SEND_ACCEPT = "AE-7"
    SEND_REJECT = "AE-8"
    SEND_DATA = "DT-1"
    TAKE_DATA = "DT-2"
    ANSWER_RELEASE = "AR-2"
    SEND_RELEASE_RP = "AR-4"
    STOP_TIMER = "AR-5"
    ABORT = "AA-1"
    CLOSE = "AA-2"
    ABORTED = "AA-3"
    LOST = "AA-4"
    ABORT_AS_PROVIDER = "AA-8"


_S, _E, _A = State, Event, Action


def _rows() -> dict[tuple[Event, State], tuple[Action, State]]:
    table: dict[tuple[Event, State], tuple[Action, State]] = {
        (_E.CONNECTED, _S.IDLE): (_A.START_TIMER, _S.AWAITING_REQUEST),
        (_E.ASSOCIATE_RQ_ARRIVED, _S.AWAITING_REQUEST): (_A.DECIDE, _S.DECIDING),
        (_E.ACCEPT, _S.DECIDING): (_A.SEND_ACCEPT, _S.ESTABLISHED),
        (_E.REJECT, _S.DECIDING): (_A.SEND_REJECT, _S.AWAITING_CLOSE),
        (_E.SEND_DATA, _S.ESTABLISHED): (_A.SEND_DATA, _S.ESTABLISHED),
        (_E.DATA_ARRIVED, _S.ESTABLISHED): (_A.TAKE_DATA, _S.ESTABLISHED),
        (_E.RELEASE_RQ_ARRIVED, _S.ESTABLISHED): (_A.ANSWER_RELEASE, _S.RELEASING),
        (_E.RELEASE, _S.RELEASING): (_A.SEND_RELEASE_RP, _S.AWAITING_CLOSE),
        (_E.ABORT_ARRIVED, _S.AWAITING_REQUEST): (_A.CLOSE, _S.IDLE),
        (_E.CLOSED, _S.AWAITING_REQUEST): (_A.STOP_TIMER, _S.IDLE),
        (_E.CLOSED, _S.AWAITING_CLOSE): (_A.STOP_TIMER, _S.IDLE),
        (_E.ARTIM_EXPIRED, _S.AWAITING_REQUEST): (_A.CLOSE, _S.IDLE),
        (_E.ARTIM_EXPIRED, _S.AWAITING_CLOSE): (_A.CLOSE, _S.IDLE),
    }
    arrivals = (
        _E.ASSOCIATE_AC_ARRIVED,
        _E.ASSOCIATE_RJ_ARRIVED,
        _E.ASSOCIATE_RQ_ARRIVED,
        _E.DATA_ARRIVED,
        _E.RELEASE_RQ_ARRIVED,
        _E.RELEASE_RP_ARRIVED,
        _E.INVALID_PDU,
    )
    open_states = (_S.DECIDING, _S.ESTABLISHED, _S.RELEASING)
    for state in open_states:
        table[_E.ABORT, state] = (_A.ABORT, _S.AWAITING_CLOSE)
        table[_E.ABORT_ARRIVED, state] = (_A.ABORTED, _S.IDLE)
        table[_E.CLOSED, state] = (_A.LOST, _S.IDLE)
    # A PDU in a state that has no use for it: A-ABORT, from the user before there is an association, else the provider.
    for event in arrivals:
        table.setdefault((event, _S.AWAITING_REQUEST), (_A.ABORT, _S.AWAITING_CLOSE))
        for state in open_states:
            table.setdefault((event, state), (_A.ABORT_AS_PROVIDER, _S.AWAITING_CLOSE))
    return table


TABLE: dict[tuple[Event, State], tuple[Action, State]] = _rows()
"""(event, state) -> (action, next state)."""
