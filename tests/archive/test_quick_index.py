"""The short way of indexing leaves the same rows as the long one, and leaves alone what is not its case."""

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from sqlalchemy import select, update

from readingroom.archive.quick_index import QuickIndex
from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore
from readingroom.archive.tables import Instance, Patient, Series, Study
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade


class Spy(QuickIndex):
    """Counts what went the short way."""

    taken = 0

    def add(self, *arguments: Any) -> Any:
        indexed = super().add(*arguments)
        self.taken += indexed is not None
        return indexed


class LongWay(QuickIndex):
    def add(self, *arguments: Any) -> None:
        return None


@pytest.fixture
def spied(lone_archive: Archive) -> Archive:
    lone_archive._quick = Spy(lone_archive.database.engine)
    return lone_archive


def taken(archive: Archive) -> int:
    assert isinstance(archive._quick, Spy)
    return archive._quick.taken


def put(archive: Archive, part10: Callable[[Dataset], bytes], ds: Dataset) -> str:
    return archive.put_file(part10(ds), source="test").outcome


def rows(database: Database) -> list[dict[str, Any]]:
    """Every row of the index, without what is random or a moment."""
    found = []
    with database.read() as session:
        for table in (Patient, Study, Series, Instance):
            for row in session.execute(select(table.__table__).order_by("id" if table is not Study else "state")):
                values = dict(row._mapping)
                for name in ("store_key", "received_at", "created_at", "last_received_at", "study_id"):
                    values.pop(name, None)
                if table is Study:
                    values.pop("id")
                found.append(values)
    return found


def test_both_ways_leave_the_same_rows(spied: Archive, part10, make_series, tmp_path):
    series = make_series(6)
    home = tmp_path / "long"
    home.mkdir()
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    upgrade(database.engine)
    other = Archive(Settings(home=home), database, LocalStore(home / "store"))
    other._quick = LongWay(database.engine)
    for ds in series:
        assert put(spied, part10, ds) == put(other, part10, ds) == "stored"
    assert taken(spied) == 5
    assert rows(spied.database) == rows(database)
    with spied.database.read() as session:
        moments = session.execute(
            select(Study.last_received_at, Instance.received_at)
            .join(Series, Series.study_id == Study.id)
            .join(Instance)
        ).all()
    assert all(moment is not None and moment.tzinfo is not None for row in moments for moment in row)
    assert moments[0].last_received_at == max(row.received_at for row in moments)
    database.close()


def test_what_is_not_its_case_goes_the_long_way(spied: Archive, part10, make_series):
    first, second, third, fourth = make_series(4)
    assert put(spied, part10, first) == "stored"
    assert put(spied, part10, second) == "stored"
    assert taken(spied) == 1
    # Identical bytes, a corrected header, other pixels.
    assert put(spied, part10, second) == "duplicate"
    second.StudyDescription = "Corrected"
    assert put(spied, part10, second) == "corrected"
    second.PixelData = bytes(len(second.PixelData))
    assert put(spied, part10, second) == "quarantined"
    # Another patient under the same study holds it; a held study is for the long way.
    third.PatientID = "SOMEONE-ELSE"
    assert put(spied, part10, third) == "stored"
    with spied.database.read() as session:
        assert session.scalar(select(Study.held))
    assert put(spied, part10, fourth) == "stored"
    assert taken(spied) == 1


def test_a_series_it_has_not_seen_goes_the_long_way(spied: Archive, part10, make_series):
    study_uid = generate_uid()
    for _ in range(2):
        assert put(spied, part10, make_series(1, study_uid=study_uid)[0]) == "stored"
    assert taken(spied) == 0


def test_a_read_study_is_receiving_again(spied: Archive, part10, make_series):
    series = make_series(3)
    put(spied, part10, series[0])
    put(spied, part10, series[1])
    with spied.database.write() as session:
        session.execute(update(Study).values(state="read"))
    put(spied, part10, series[2])
    assert taken(spied) == 2
    with spied.database.read() as session:
        study = session.scalars(select(Study)).one()
    assert (study.state, study.changed) == ("receiving", 3)


def test_a_failure_leaves_nothing_behind_and_goes_the_long_way(spied: Archive, part10, make_series):
    series = make_series(4)
    put(spied, part10, series[0])
    put(spied, part10, series[1])
    spied._quick._touch = "UPDATE nowhere SET x = 1"
    assert put(spied, part10, series[2]) == "stored"
    assert taken(spied) == 1
    with spied.database.read() as session:
        assert len(session.scalars(select(Instance)).all()) == 3
    # The connection went back without its open transaction.
    spied._quick = Spy(spied.database.engine)
    assert put(spied, part10, series[3]) == "stored"
    assert taken(spied) == 1
