"""Cohorts: added once, frozen as often as their question has a new answer. A frozen version never changes.

Freezing is one transaction: who is asked, who becomes a member and what is written about it hold together. What a
withdrawal takes out later is left out everywhere from then on (``tables.RemovedMember``).
"""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.projects import find_project
from readingroom.access.uses import Made, used
from readingroom.core.audit import AuditCode, record
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.ids import sha256_hex
from readingroom.core.permissions import House, Permission
from readingroom.core.purposes import Purpose, legal_bases
from readingroom.core.sealed import Source
from readingroom.evaluation.leaks import check_no_leak
from readingroom.learning import candidates as looked
from readingroom.learning.candidates import Found
from readingroom.learning.folder import FileFound, read_folder
from readingroom.learning.groups import Placed, place, shared_by_several, without_duplicates
from readingroom.learning.model import Definition, Folder, LeftOut, Part, Query, Shares, Workshop, counts
from readingroom.learning.tables import Cohort, CohortMember, CohortPart, CohortVersion, RemovedMember

ROOM = "learning"
PURPOSES = (Purpose.TRAINING, Purpose.RESEARCH)
_SECRET = "cohort"  # noqa: S105  (what the secret is for)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_definition: TypeAdapter[Query | Folder] = TypeAdapter(Definition)


def add(
    session: Session, name: str, *, project: str, purpose: Purpose, definition: Query | Folder, workshop: Workshop,
    actor: Actor, title: str = "", shares: Shares | None = None,
) -> Cohort:  # fmt: skip
    """Add a cohort; name, purpose, question and shares stay as they are.

    Raises BadInput, Conflict where the name is taken, NotFound for a project in which the actor may not do this.
    """
    if not _NAME.fullmatch(name):
        raise BadInput("A cohort's name has 1 to 64 small letters, digits or ._-.", "It starts with a letter or digit.")
    if purpose not in PURPOSES:
        raise BadInput(f"A cohort serves {' or '.join(PURPOSES)}.")
    if isinstance(definition, Folder):
        _check_folder(definition, purpose, actor)
    found = find_project(session, project)
    if not _in_reach(actor, found.id, Permission.COHORT_WRITE):
        raise NotFound("There is no project of that name.")
    if session.scalar(select(Cohort.id).where(Cohort.name == name)) is not None:
        raise Conflict("There is a cohort of that name.", "Choose another name.")
    cohort = Cohort(
        name=name, title=title.strip()[:128], project_id=found.id, purpose=purpose,
        definition=definition.model_dump(mode="json"), shares=(shares or Shares()).model_dump(mode="json"),
        secret=workshop.secrets.seal(secrets.token_bytes(32), _SECRET), created_by=actor.name,
    )  # fmt: skip
    session.add(cohort)
    session.flush()
    detail = {"cohort": cohort.id, "project": found.name, "purpose": purpose.value}
    record(session, AuditCode.PATIENT_RECORD, "cohort-added", actor.name, detail=detail)
    return cohort


def _check_folder(folder: Folder, purpose: Purpose, actor: Actor) -> None:
    if actor.role is not House.OPERATOR:
        raise BadInput("A folder of this machine is named on its command line.", "readingroom cohort add --folder")
    basis = legal_bases().get(folder.basis)
    if basis is None or purpose not in basis.purposes:
        raise BadInput("That is no legal basis for this purpose.", "See core/legal_bases.json for those there are.")
    if basis.needs_reference and not folder.reference.strip():
        raise BadInput("This basis needs a reference.", "Give the number of the form or of the approval.")


def find(session: Session, actor: Actor, permission: Permission, *, name: str = "", cohort_id: str = "") -> Cohort:
    """Return a cohort of a project in which the actor holds ``permission``; for others it is not there. NotFound."""
    known = Cohort.name == name if name else Cohort.id == cohort_id
    cohort = session.scalar(select(Cohort).where(known))
    if cohort is None or not _in_reach(actor, cohort.project_id, permission):
        raise NotFound("There is no such cohort.", "readingroom cohort list shows those there are.")
    return cohort


def all_cohorts(session: Session, actor: Actor) -> list[Cohort]:
    """Return the cohorts of the actor's projects, by name."""
    rows = session.scalars(select(Cohort).order_by(Cohort.name))
    return [cohort for cohort in rows if _in_reach(actor, cohort.project_id, Permission.COHORT_READ)]


def _in_reach(actor: Actor, project_id: int, permission: Permission) -> bool:
    if actor.role is House.OPERATOR:
        return permission in actor.permissions
    return project_id in actor.projects_for(permission)


def definition_of(cohort: Cohort) -> Query | Folder:
    """Return what the cohort asks for."""
    return _definition.validate_python(cohort.definition)


def freeze(database: Database, cohort_id: str, workshop: Workshop, actor: Actor) -> CohortVersion:
    """Freeze the cohort as it is now and return the new version.

    Raises Conflict where it would be the same as the newest, BadInput where nobody is in it, NotFound; LeakFound
    where a group would be in two parts.
    """
    with database.read() as session:
        definition = definition_of(find(session, actor, Permission.COHORT_WRITE, cohort_id=cohort_id))
    if isinstance(definition, Folder) and actor.role is not House.OPERATOR:
        raise BadInput("This cohort is a folder of the server.", "Freeze it there: readingroom cohort freeze")
    # Before the transaction: nobody else can write while a folder is hashed.
    files = read_folder(definition) if isinstance(definition, Folder) else []
    with database.write() as session:
        # One freezes at a time, and sees the parts that the one before has fixed.
        cohort = session.scalars(select(Cohort).where(Cohort.id == cohort_id).with_for_update()).one()
        return _freeze(session, cohort, definition, files, workshop, actor)


def _freeze(
    session: Session, cohort: Cohort, definition: Query | Folder, files: Sequence[FileFound], workshop: Workshop,
    actor: Actor,
) -> CohortVersion:  # fmt: skip
    purpose = Purpose(cohort.purpose)
    if isinstance(definition, Folder):
        found = looked.from_folder(session, files, purpose, workshop, actor)
    else:
        found = looked.from_archive(session, cohort.project_id, definition, purpose, workshop, actor)
    blank = looked.blank_among(_sources(session, definition, found, workshop))
    # One person under two names: the no of one name is a no.
    willing = [one for one in found.candidates if not (one.pixels & found.refused) - blank]
    refusing = len(found.candidates) - len(willing)
    kept, duplicates = without_duplicates(willing)
    rows = session.execute(select(CohortPart.identity, CohortPart.part).where(CohortPart.cohort_id == cohort.id))
    fixed = {row.identity: Part(row.part) for row in rows}
    key = workshop.secrets.open(cohort.secret, _SECRET)
    shares = Shares.model_validate(cohort.shares)
    placed, left, fresh = place(kept, willing, key, shares, fixed, blank)
    others = [*[LeftOut.NO_CONSENT] * refusing, *[LeftOut.DUPLICATE] * len(duplicates)]
    left_out = counts([*found.left_out, *others, *left])
    if not placed:
        raise BadInput("Nobody is in this cohort.", f"Left out: {_words(left_out) or 'none; nothing fits it'}.")
    _check(placed, blank)
    version = _write(session, cohort, definition, placed, left_out, actor)
    session.add_all(CohortPart(cohort_id=cohort.id, identity=one, part=part) for one, part in fresh.items())
    patients = {one.candidate.patient_id for one in placed} & found.permitting
    if patients:
        made = Made(ROOM, "cohort", version.id)
        used(session, patients, purpose, made, defaults=workshop.purposes, actor=actor.name)  # type: ignore[arg-type]
    return version


def _sources(session: Session, definition: Query | Folder, found: Found, workshop: Workshop) -> dict[str, Source]:
    """Return a picture for each digest that several patients have."""
    shared = shared_by_several(found.candidates)
    for one in found.candidates:
        shared |= one.pixels & found.refused
    if isinstance(definition, Query):
        return looked.sources_of(session, shared, workshop)
    return {d: Path(definition.path) / one.file for one in found.candidates for d in one.pixels & shared}


def _check(placed: Iterable[Placed], blank: set[str]) -> None:
    """Raise LeakFound where a group, a patient or a picture would be in two parts."""
    groups, people = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    pictures = defaultdict[str, set[str]](set)
    for one in placed:
        groups[one.part].add(one.group)
        people[one.part].add(one.identity)
        pictures[one.part] |= one.candidate.pixels - blank
    for parts in (groups, people, pictures):
        check_no_leak(parts)


def _write(
    session: Session, cohort: Cohort, definition: Query | Folder, placed: Sequence[Placed], left_out: dict[str, int],
    actor: Actor,
) -> CohortVersion:  # fmt: skip
    declared = isinstance(definition, Folder) and bool(definition.groups)
    members = [
        CohortMember(
            study_id=one.candidate.study_id, revision=one.candidate.revision, file=one.candidate.file,
            sha256=one.candidate.sha256, patient_id=one.candidate.patient_id, group=one.group, part=one.part,
        )
        for one in placed
    ]  # fmt: skip
    last = newest(session, cohort)
    version = CohortVersion(
        cohort_id=cohort.id, number=last.number + 1 if last else 1, grouping="declared" if declared else "patient",
        left_out=left_out, created_by=actor.name,
    )  # fmt: skip
    version.sha256 = digest_of(cohort, version, members)
    if last and last.sha256 == version.sha256:
        raise Conflict(f"Nothing has changed since version {last.number}.", "That one can be used.", code="unchanged")
    session.add(version)
    session.flush()
    for member in members:
        member.version_id = version.id
    session.add_all(members)
    session.flush()
    detail = {"cohort": cohort.id, "version": version.number, "members": len(members), "left_out": left_out}
    record(session, AuditCode.PATIENT_RECORD, "cohort-frozen", actor.name, detail=detail)
    return version


def digest_of(cohort: Cohort, version: CohortVersion, members: Iterable[CohortMember]) -> str:
    """Return the SHA-256 over all that a version is: what was asked, who is in it and where, who is left out."""
    lines = sorted([m.study_id or "", m.revision or 0, m.file, m.sha256, m.group, m.part] for m in members)
    whole = [
        cohort.id, cohort.purpose, cohort.definition, cohort.shares, version.grouping, version.left_out, lines,
    ]  # fmt: skip
    return sha256_hex(json.dumps(whole, sort_keys=True, separators=(",", ":")))


def newest(session: Session, cohort: Cohort) -> CohortVersion | None:
    """Return the cohort's newest version, if it was ever frozen."""
    rows = select(CohortVersion).where(CohortVersion.cohort_id == cohort.id).order_by(CohortVersion.number.desc())
    return session.scalars(rows.limit(1)).first()


def version_of(session: Session, cohort: Cohort, number: int | None = None) -> CohortVersion:
    """Return a version by its number; the newest where none is named. Raises NotFound."""
    if number is None:
        found = newest(session, cohort)
    else:
        same = (CohortVersion.cohort_id == cohort.id, CohortVersion.number == number)
        found = session.scalar(select(CohortVersion).where(*same))
    if found is None:
        raise NotFound("The cohort has no such version.", "Freeze it: readingroom cohort freeze")
    return found


def members_of(session: Session, version: CohortVersion) -> list[CohortMember]:
    """Return the members that are still in it. Whoever takes data of theirs asks for consent again."""
    gone = select(RemovedMember.member_id)
    rows = select(CohortMember).where(CohortMember.version_id == version.id, CohortMember.id.not_in(gone))
    return list(session.scalars(rows.order_by(CohortMember.id)))


def removed_from(session: Session, version: CohortVersion) -> int:
    """Return how many members withdrawals have taken out."""
    rows = (
        select(func.count()).select_from(RemovedMember).join(CohortMember, CohortMember.id == RemovedMember.member_id)
    )
    return session.scalar(rows.where(CohortMember.version_id == version.id)) or 0


def is_intact(session: Session, cohort: Cohort, version: CohortVersion) -> bool:
    """Whether the version, with those taken out since, is what was frozen."""
    members = session.scalars(select(CohortMember).where(CohortMember.version_id == version.id))
    return digest_of(cohort, version, members) == version.sha256


def remove(session: Session, patient_id: int, purpose: Purpose) -> list[Made]:
    """Take a patient out of every version of every cohort of that purpose; return of which (``REMOVERS``)."""
    gone = select(RemovedMember.member_id)
    members = session.scalars(
        select(CohortMember)
        .join(CohortVersion, CohortVersion.id == CohortMember.version_id)
        .join(Cohort, Cohort.id == CohortVersion.cohort_id)
        .where(CohortMember.patient_id == patient_id, Cohort.purpose == purpose, CohortMember.id.not_in(gone))
    ).all()
    session.add_all(RemovedMember(member_id=member.id) for member in members)
    session.flush()
    return [Made(ROOM, "cohort", version_id) for version_id in sorted({member.version_id for member in members})]


def _words(left_out: dict[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in left_out.items())
