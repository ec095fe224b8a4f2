"""How each version in shadow compares so far, of all studies it has read: numbers only, no study and no finding."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.learning.models.compare import Comparison, Pair, summarise
from readingroom.learning.models.tables import ShadowReading

MOST = 2000
"""Studies that are summed up, the latest."""


def comparison(session: Session, model_id: str) -> Comparison | None:
    """Return how a version has compared with the live one; None where it has read nothing in shadow."""
    rows = session.execute(
        select(ShadowReading.state, ShadowReading.compared)
        .where(ShadowReading.model_id == model_id)
        .order_by(ShadowReading.finished_at.desc())
        .limit(MOST)
    ).all()
    if not rows:
        return None
    return summarise([(state, Pair.model_validate(pair) if pair else None) for state, pair in rows])
