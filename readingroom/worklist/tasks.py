"""Tasks: what a person must look at besides a first reading. Raised once by key, ticked off by name."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.core.clock import utc_now
from readingroom.core.errors import NotFound
from readingroom.worklist.tables import Task


def raise_task(session: Session, key: str, study_id: str, kind: str, text: str) -> bool:
    """Add a task inside the running transaction; a key that is already there adds nothing and returns False.

    ``text`` is shown to people and holds no patient's name or identifier.
    """
    if session.scalar(select(Task.id).where(Task.key == key)) is not None:
        return False
    session.add(Task(key=key, study_id=study_id, kind=kind, text=text))
    session.flush()
    return True


def open_tasks(session: Session, study_id: str) -> list[Task]:
    """Return the study's tasks that nobody has ticked off, oldest first."""
    rows = select(Task).where(Task.study_id == study_id, Task.done_at.is_(None)).order_by(Task.created_at, Task.id)
    return list(session.scalars(rows))


def done(session: Session, study_id: str, task_id: str, actor: str) -> None:
    """Tick a task off; doing it again changes nothing. Raises NotFound."""
    task = session.get(Task, task_id)
    if task is None or task.study_id != study_id:
        raise NotFound("This study has no such task.")
    if task.done_at is None:
        task.done_at, task.done_by = utc_now(), actor
