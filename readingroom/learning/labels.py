"""Label sets: what people had decided about the members of a version, frozen, numbered and hashed.

The labels of the test part are in the set like all others, and leave this room by one door only (``locked.py``).
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.consent import for_purpose, permitted_among
from readingroom.archive.tables import Study
from readingroom.archive.visibility import visible
from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.ids import sha256_hex
from readingroom.core.permissions import Permission
from readingroom.core.purposes import Purpose
from readingroom.learning.candidates import said_no
from readingroom.learning.cohorts import members_of, version_of
from readingroom.learning.model import Label, Part, Workshop
from readingroom.learning.tables import Cohort, CohortMember, CohortVersion, LabelRow, LabelSet

_BATCH = 500


def freeze_labels(
    session: Session, cohort: Cohort, version: CohortVersion, workshop: Workshop, actor: Actor
) -> LabelSet:
    """Freeze what people have decided so far about the version's members, and return the new set.

    Raises BadInput where nothing was decided (or the cohort is a folder), Conflict where the newest set says the same.
    """
    members = [m for m in usable(session, cohort, version, workshop, actor) if m.study_id is not None]
    told = workshop.decided.judged(session, {str(m.study_id): m.revision or 0 for m in members})
    complete = sorted(m.id for m in members if told[str(m.study_id)].complete)
    labels = [(m, label) for m in members for label in told[str(m.study_id)].labels]
    if not labels and not complete:
        raise BadInput("Nobody has decided anything about these members.", "Labels come from verdicts on findings.")
    last = newest_set(session, version)
    frozen = LabelSet(
        version_id=version.id, number=last.number + 1 if last else 1, complete=complete, created_by=actor.name,
        sha256=_digest(version, complete, (label for _, label in labels)),
    )  # fmt: skip
    if last and last.sha256 == frozen.sha256:
        raise Conflict(f"Nothing has changed since label set {last.number}.", "That one can be used.", code="unchanged")
    session.add(frozen)
    session.flush()
    session.add_all(
        LabelRow(
            set_id=frozen.id, member_id=member.id, decision=label.decision, verdict_id=label.verdict_id,
            body=label.model_dump(mode="json"),
        )
        for member, label in labels
    )  # fmt: skip
    detail = {"cohort": cohort.id, "version": version.number, "labels": len(labels), "set": frozen.number}
    record(session, AuditCode.PATIENT_RECORD, "labels-frozen", actor.name, detail=detail)
    session.flush()
    return frozen


def _digest(version: CohortVersion, complete: Sequence[int], labels: Iterable[Label]) -> str:
    lines = sorted(label.model_dump_json() for label in labels)
    return sha256_hex(version.sha256, json.dumps([list(complete), lines], separators=(",", ":")))


def is_intact_set(session: Session, version: CohortVersion, frozen: LabelSet) -> bool:
    """Whether the set, with the labels of those taken out since, is what was frozen."""
    rows = session.scalars(select(LabelRow).where(LabelRow.set_id == frozen.id))
    return _digest(version, frozen.complete, (Label.model_validate(row.body) for row in rows)) == frozen.sha256


def usable(
    session: Session, cohort: Cohort, version: CohortVersion, workshop: Workshop, actor: Actor
) -> list[CohortMember]:
    """Return the members whose patients permit it now and whose studies the actor sees. Asked and audited each time."""
    return for_purpose(Purpose(cohort.purpose))(_usable)(session, cohort, version, workshop, actor)


def _usable(
    session: Session, cohort: Cohort, version: CohortVersion, workshop: Workshop, actor: Actor
) -> list[CohortMember]:
    members = members_of(session, version)
    of_studies = {m.patient_id for m in members if m.patient_id is not None}
    purpose = Purpose(cohort.purpose)
    answers = permitted_among(session, of_studies, purpose, defaults=workshop.purposes, actor=actor.name)
    studies = [m.study_id for m in members if m.study_id is not None]
    seen: set[str] = set()
    for start in range(0, len(studies), _BATCH):
        part = studies[start : start + _BATCH]
        condition = (Study.id.in_(part), visible(actor, Permission.COHORT_READ), ~Study.restricted, Study.held == "")
        seen |= set(session.scalars(select(Study.id).where(*condition, Study.project_id == cohort.project_id)))

    def may(member: CohortMember) -> bool:
        answer = answers.get(member.patient_id) if member.patient_id is not None else None
        if member.study_id is not None:
            return member.study_id in seen and answer is not None and answer.allowed
        # A file stands on its folder's legal basis, unless its patient is known here and has said no.
        return not said_no(answer)

    return [member for member in members if may(member)]


def newest_set(session: Session, version: CohortVersion) -> LabelSet | None:
    """Return the version's newest label set, if there is one."""
    rows = select(LabelSet).where(LabelSet.version_id == version.id).order_by(LabelSet.number.desc()).limit(1)
    return session.scalars(rows).first()


def set_of(session: Session, version: CohortVersion, number: int | None = None) -> LabelSet:
    """Return a label set by its number; the newest where none is named. Raises NotFound."""
    if number is None:
        found = newest_set(session, version)
    else:
        same = (LabelSet.version_id == version.id, LabelSet.number == number)
        found = session.scalar(select(LabelSet).where(*same))
    if found is None:
        raise NotFound("There is no such label set.", "Freeze one: readingroom cohort labels")
    return found


def labels_of(session: Session, frozen: LabelSet, members: Iterable[CohortMember]) -> dict[int, list[Label]]:
    """Return the set's labels of these members, by member. For this room: views and exports use ``open_labels``."""
    wanted = {member.id for member in members}
    found: dict[int, list[Label]] = defaultdict(list)
    for row in session.scalars(select(LabelRow).where(LabelRow.set_id == frozen.id).order_by(LabelRow.id)):
        if row.member_id in wanted:
            found[row.member_id].append(Label.model_validate(row.body))
    return found


def open_labels(session: Session, frozen: LabelSet, members: Iterable[CohortMember]) -> dict[int, list[Label]]:
    """The same without those of the locked test part."""
    return labels_of(session, frozen, [m for m in members if m.part != Part.TEST])


def label_counts(session: Session, version: CohortVersion, frozen: LabelSet) -> dict[str, dict[str, int]]:
    """Return part -> decision -> how many labels; of the locked test part nothing is said."""
    members = {m.id: m for m in members_of(session, version) if m.part != Part.TEST}
    found: dict[str, Counter[str]] = {Part.TRAINING: Counter(), Part.VALIDATION: Counter()}
    for row in session.execute(select(LabelRow.member_id, LabelRow.decision).where(LabelRow.set_id == frozen.id)):
        if row.member_id in members:
            found[members[row.member_id].part][row.decision] += 1
    return {part: dict(sorted(counted.items())) for part, counted in found.items()}


def export(
    session: Session, cohort: Cohort, workshop: Workshop, actor: Actor, *, number: int | None = None,
    labels: int | None = None,
) -> list[str]:  # fmt: skip
    """Return the version as JSON Lines: the version, each member, and the labels of all but the test part.

    ``labels``: the number of the label set; the newest where None. A version without one is exported without labels.
    """
    version = version_of(session, cohort, number)
    members = usable(session, cohort, version, workshop, actor)
    frozen = newest_set(session, version) if labels is None else set_of(session, version, labels)
    lines = list(_lines(cohort, version, members, frozen, open_labels(session, frozen, members) if frozen else {}))
    detail = {"cohort": cohort.id, "version": version.number, "members": len(members)}
    record(session, AuditCode.EXPORT, "cohort-exported", actor.name, detail=detail)
    return lines


def _lines(
    cohort: Cohort, version: CohortVersion, members: Sequence[CohortMember], frozen: LabelSet | None,
    labels: Mapping[int, list[Label]],
) -> Iterator[str]:  # fmt: skip
    complete = set(frozen.complete) if frozen else set()
    yield _line(
        {
            "type": "version", "cohort": cohort.name, "purpose": cohort.purpose, "version": version.number,
            "sha256": version.sha256, "label_set": frozen.number if frozen else None,
            "label_set_sha256": frozen.sha256 if frozen else None,
            "locked": "labels of the test part are left out: readingroom cohort evaluate",
        }
    )  # fmt: skip
    for member in members:
        place = {"study_id": member.study_id, "revision": member.revision} if member.study_id else {"file": member.file}
        open_part = member.part != Part.TEST
        yield _line(
            {
                "type": "member", **place, "sha256": member.sha256, "group": member.group, "part": member.part,
                **({"complete": member.id in complete} if open_part and frozen else {}),
            }
        )  # fmt: skip
        for label in labels.get(member.id, ()):
            yield _line({"type": "label", **label.model_dump(mode="json")})


def _line(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False)
