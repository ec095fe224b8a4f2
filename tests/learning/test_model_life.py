"""The life of reader versions: states and their rules, signatures, hashes, and the command line."""

import stat
from pathlib import Path

import pytest
from model_support import identity, package
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from readingroom.cli.main import main
from readingroom.core.audit import AuditEvent
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, KeyMissing
from readingroom.core.secrets import load_secrets
from readingroom.learning.models.adding import add_version
from readingroom.learning.models.changing import Action, change
from readingroom.learning.models.life import Life, State, life_by_id, lives
from readingroom.learning.models.package import read_package
from readingroom.learning.models.serving import live_packages, package_of, shadow_versions
from readingroom.learning.models.store import path_of, verify
from readingroom.learning.models.tables import ModelChange, ModelVersion


def no_torch(_path: Path, _manifest: object) -> bytes:
    raise AssertionError("there is nothing to convert")


def added(session: Session, settings: Settings, folder: Path, scale: float, **changes: object) -> Life:
    """A version in shadow."""
    draft = read_package(package(folder / f"p{scale}", identity(scale), **changes), no_torch)
    row = add_version(session, settings, draft, actor="ann", why="a new one")
    return life_by_id(session, row.id)


def do(session: Session, settings: Settings, model: Life, action: str, why: str = "because") -> str:
    return change(session, settings, life_by_id(session, model.row.id), Action(action), actor="ann", why=why)


def states(session: Session) -> list[State]:
    return [life.state for life in lives(session)]


def test_a_life(database: Database, settings: Settings, tmp_path: Path) -> None:
    with database.write() as session:
        first, second = (added(session, settings, tmp_path, scale) for scale in (1.0, 2.0))
        assert states(session) == [State.SHADOW, State.SHADOW]
        assert [row.id for row in shadow_versions(session, settings)] == [first.row.id, second.row.id]
        do(session, settings, first, "promote", "good enough")
        do(session, settings, second, "promote", "better")
        # One live version a reader.
        assert states(session) == [State.RETIRED, State.LIVE]
        assert [one.version for one in live_packages(session, settings)] == [second.row.version]
        do(session, settings, second, "rollback", "worse after all")
        assert states(session) == [State.LIVE, State.RETIRED]
    with database.read() as session:
        told = [(c.action, c.state, c.actor, c.why) for c in life_by_id(session, first.row.id).changes]
        assert told == [
            ("add", "shadow", "ann", "a new one"),
            ("promote", "live", "ann", "good enough"),
            ("promote", "retired", "ann", "better"),
            ("rollback", "live", "ann", "worse after all"),
        ]
        audited = session.scalars(select(AuditEvent).where(AuditEvent.action == "model-changed")).all()
        assert len(audited) == 7
        # The reason is a person's words: the audit holds none.
        assert not any("worse" in str(event.detail) for event in audited)


def test_what_the_rules_refuse(database: Database, settings: Settings, tmp_path: Path) -> None:
    with database.write() as session:
        first = added(session, settings, tmp_path, 1.0)
        do(session, settings, first, "retire")
        with pytest.raises(Conflict, match="is retired; only shadow can be promoted"):
            do(session, settings, first, "promote")
        do(session, settings, first, "shadow")
        do(session, settings, first, "promote")
        with pytest.raises(Conflict, match="only candidate or retired can be put in shadow"):
            do(session, settings, first, "shadow")
        with pytest.raises(Conflict, match="No version of this reader was live before"):
            do(session, settings, first, "rollback")
        for why in ("", "   ", "x" * 1001):
            with pytest.raises(BadInput, match="A reason is needed"):
                do(session, settings, first, "retire", why)
        with pytest.raises(Conflict, match="is here already"):
            added(session, settings, tmp_path, 1.0)


def test_roll_back_goes_back_step_by_step(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    with sqlite_database.write() as session:
        a, b, c = (added(session, settings, tmp_path, scale) for scale in (1.0, 2.0, 3.0))
        for one in (a, b, c):
            do(session, settings, one, "promote")
        do(session, settings, c, "rollback")
        do(session, settings, b, "rollback")
        assert states(session) == [State.LIVE, State.RETIRED, State.RETIRED]
        # A version that was retired while live leaves nothing to go back to.
        do(session, settings, c, "shadow")
        do(session, settings, a, "retire")
        do(session, settings, c, "promote")
        with pytest.raises(Conflict, match="was live before"):
            do(session, settings, c, "rollback")


def test_an_installed_reader_is_what_the_first_roll_back_returns(
    sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    with sqlite_database.write() as session:
        model = added(session, settings, tmp_path, 1.0, name="lung-nodule")
        do(session, settings, model, "promote")
        assert do(session, settings, model, "rollback") == "lung-nodule: the installed version is live"
        assert live_packages(session, settings) == []


def test_only_what_the_setting_names_reads(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    narrow = settings.model_copy(update={"readers": ("lung-nodule",)})
    with sqlite_database.write() as session:
        model = added(session, settings, tmp_path, 1.0)
        assert shadow_versions(session, narrow) == []
        with pytest.raises(BadInput, match="setting readers does not name"):
            do(session, narrow, model, "promote")


def test_nobody_changes_what_was_written(database: Database, settings: Settings, tmp_path: Path) -> None:
    with database.write() as session:
        added(session, settings, tmp_path, 1.0)
    for statement in (
        update(ModelVersion).values(statement="{}"),
        delete(ModelVersion),
        update(ModelChange).values(why="another"),
        delete(ModelChange),
    ):
        with pytest.raises(DatabaseError, match="append-only"), database.write() as session:
            session.execute(statement)


def test_a_changed_file_or_signature_is_seen(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    box = load_secrets(settings)
    with sqlite_database.write() as session:
        row = added(session, settings, tmp_path, 1.0).row
        statement = verify(settings, box, row)
        (path,) = (path_of(settings, sha256) for sha256 in statement.files.values())
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
        good = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(BadInput, match="was changed"):
            verify(settings, box, row)
        path.unlink()
        with pytest.raises(BadInput, match="is gone"):
            do(session, settings, life_by_id(session, row.id), "promote")
        session.expunge(row)
        for forged in (
            ModelVersion(statement=row.statement.replace("0.5", "0.1"), signature=row.signature),
            ModelVersion(statement=row.statement, signature="none.AAAA"),
            ModelVersion(statement=row.statement, signature=""),
        ):
            with pytest.raises(KeyMissing):
                verify(settings, box, forged)


def test_a_version_of_another_house_is_told_of_with_its_error(
    sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    with sqlite_database.write() as session:
        model = added(session, settings, tmp_path, 1.0)
        (settings.home / "secret.key").unlink()
        found = package_of(session, settings, model.row.reader, model.row.version)
        assert found is not None
        assert "secret key" in found.error
        assert found.files == {}


def test_a_signature_outlives_the_rotation_of_its_key(
    sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    with sqlite_database.write() as session:
        row = added(session, settings, tmp_path, 1.0).row
        key = settings.home / "secret.key"
        old = key.read_text()
        key.unlink()
        load_secrets(settings)
        key.write_text(key.read_text() + old)
        verify(settings, load_secrets(settings), row)


def test_the_command_line(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(settings.home)]
    folder = package(tmp_path / "p")
    assert main(["models", "add", str(folder), "--why", "to try it", *home]) == 0
    reader, version = capsys.readouterr().out.split(":")[0].split()
    assert version.startswith("1.0+")
    assert main(["models", "verify", *home]) == 0
    assert "as it was signed" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["models", "promote", reader, version, *home])
    assert main(["models", "promote", reader, version, "--why", "it agrees", *home]) == 0
    assert main(["models", "list", *home]) == 0
    shown = capsys.readouterr().out
    assert f"{reader} {version}  live" in shown
    assert "command line: it agrees" in shown
    assert "lung-nodule" in shown
    assert main(["models", "rollback", reader, "--why", "no", *home]) == 2
    assert main(["models", "retire", reader, version, "--why", "no", *home]) == 0
    assert main(["models", "shadow", reader, "9", "--why", "no", *home]) == 2
    next(settings.models_folder.iterdir()).unlink()
    assert main(["models", "verify", *home]) == 1
    assert "WRONG" in capsys.readouterr().out
