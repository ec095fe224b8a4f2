"""How far an alert has come: what its columns say, as one word. Pure."""

from enum import StrEnum

from readingroom.worklist.urgent.tables import UrgentAlert


class State(StrEnum):
    RAISED = "raised"
    SHOWN = "shown"
    ESCALATED = "escalated"
    ACKNOWLEDGED = "acknowledged"
    CLOSED = "closed"


def state_of(alert: UrgentAlert) -> State:
    """Return the furthest state that an alert has reached."""
    if alert.closed_at is not None:
        return State.CLOSED
    if alert.acknowledged_at is not None:
        return State.ACKNOWLEDGED
    if alert.step:
        return State.ESCALATED
    return State.SHOWN if alert.shown_at is not None else State.RAISED
