"""Urgent findings on their way through the workflow: a live version raises, one in shadow does not; escalation."""

from datetime import timedelta
from pathlib import Path

from model_support import in_shadow, move
from sqlalchemy import select, update
from support import ct_series
from urgent_support import BLEED

from readingroom.core.clock import utc_now
from readingroom.workflow.worker import escalate_urgent
from readingroom.worklist.urgent.tables import UrgentAlert, UrgentEvent


def alerts(story) -> list[UrgentAlert]:  # type: ignore[no-untyped-def]
    with story.rooms.database.read() as session:
        return list(session.scalars(select(UrgentAlert).order_by(UrgentAlert.revision)))


def test_what_is_live_raises_and_what_is_in_shadow_does_not(sqlite_story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    story = sqlite_story
    output = {"kind": "segmentation", "threshold": 0.5, "code": BLEED.model_dump()}
    version = in_shadow(story.rooms, tmp_path, output=output)
    images = ct_series(7)
    story.send(*images[:5])
    story.work()
    assert story.states() == {"tiny-brightest": "found"}
    assert alerts(story) == []
    move(story.rooms, version, "promote")
    story.send(images[5])
    story.work()
    (alert,) = alerts(story)
    assert (alert.revision, alert.code_value, alert.reader) == (2, BLEED.value, "tiny-brightest")
    # Once more, by later images: the one takes the place of the other.
    story.send(images[6])
    story.work()
    assert [(a.revision, a.closed_why) for a in alerts(story)] == [(2, "raised-again"), (3, "")]


def test_the_worker_escalates(sqlite_story, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    story = sqlite_story
    output = {"kind": "segmentation", "threshold": 0.5, "code": BLEED.model_dump()}
    move(story.rooms, in_shadow(story.rooms, tmp_path, output=output), "promote")
    story.send(*ct_series(5))
    story.work()
    escalate_urgent(story.rooms)
    assert alerts(story)[0].step == 0
    with story.rooms.database.write() as session:
        session.execute(update(UrgentAlert).values(escalate_at=utc_now() - timedelta(seconds=1)))
    escalate_urgent(story.rooms)
    escalate_urgent(story.rooms)
    (alert,) = alerts(story)
    assert (alert.step, alert.escalate_at) == (1, None)
    with story.rooms.database.read() as session:
        kinds = session.scalars(select(UrgentEvent.kind).order_by(UrgentEvent.id)).all()
    assert kinds == ["raised", "escalated"]
