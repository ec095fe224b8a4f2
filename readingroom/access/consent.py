"""Consent: what each patient allows their data to be used for, and the one port that answers it at each use.

Decisions are kept for ever, one row each; where a patient stands on a purpose is a fold over them. The patient is a
number: the key of the archive's table, which this room does not know.

A room that uses patients' data for anything but the care of that very patient asks ``permitted`` (or, for a cohort,
``permitted_among``) in the transaction that takes the data, and declares it with ``for_purpose``. What was permitted
stays so until that transaction ends: a withdrawal waits for it, and then takes out what it made (``uses.py``).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import ParamSpec, TypeVar

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from readingroom.access.tables import ConsentRow
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import PurposeDefault, PurposeDefaults
from readingroom.core.errors import BadInput
from readingroom.core.ids import new_id
from readingroom.core.outbox import emit
from readingroom.core.purposes import Purpose, legal_bases

WITHDRAWN_TOPIC = "consent.withdrawn"
# Any number will do; it only has to be the same in every process.
_LOCK = 7_046_431
_BATCH = 500
P = ParamSpec("P")
T = TypeVar("T")


class Kind(StrEnum):
    GIVEN = "given"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


_SPOKEN = (Kind.GIVEN, Kind.REFUSED, Kind.WITHDRAWN)


@dataclass(frozen=True)
class Decision:
    """What the port answers. ``kind``: how the patient stands, None where they have decided nothing.

    ``reason`` is a sentence for people without anything of the patient in it.
    """

    allowed: bool
    basis: str
    reason: str
    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Statement:
    """One decision as somebody brings it: from a paper form by hand, or from another system.

    ``starts_at`` is when the patient decided (None: now); a decision of a later day goes before it, whenever each of
    them was entered.
    """

    kind: Kind
    purposes: tuple[Purpose, ...]
    basis: str = "consent"
    reference: str = ""
    source: str = "hand"
    starts_at: datetime | None = None
    ends_at: datetime | None = None


def decide(session: Session, patient_id: int, *said: Statement, actor: str, now: datetime | None = None) -> str:
    """Write down what was decided at once and return the id of the act.

    Refusing or withdrawing takes the patient out of what exists: the worker calls every room that may hold
    something. Raises BadInput where the decision has no basis or no reference, or ends before it begins.
    """
    now = now or utc_now()
    for statement in said:
        _check(statement, now)
    _lock(session, shared=False)
    act = new_id()
    for statement in said:
        for purpose in dict.fromkeys(statement.purposes):
            _write(session, patient_id, statement, purpose, act, actor, now)
    session.flush()
    return act


def _write(
    session: Session, patient_id: int, said: Statement, purpose: Purpose, act: str, actor: str, now: datetime
) -> None:
    before = in_force(_log(session, [patient_id], purpose).get(patient_id, ()), now)
    kind = said.kind
    if kind is Kind.REFUSED and before is not None and before.kind == Kind.GIVEN:
        kind = Kind.WITHDRAWN
    session.add(
        ConsentRow(
            act=act, patient_id=patient_id, purpose=purpose, kind=kind, basis=said.basis, reference=said.reference,
            source=said.source, actor=actor,
            # Taking back holds from the moment it is known here, whatever date is on the form.
            starts_at=now if kind is Kind.WITHDRAWN else said.starts_at or now,
            ends_at=said.ends_at, recorded_at=now,
        )
    )  # fmt: skip
    _note(session, kind, actor, patient_id, purpose, act)
    if kind is not Kind.GIVEN:
        _announce(session, patient_id, purpose, act)


def expire(session: Session, now: datetime | None = None) -> int:
    """Note the periods that have ended and take those patients out of what exists. Returns how many."""
    now = now or utc_now()
    noted = aliased(ConsentRow)
    same = (noted.act == ConsentRow.act, noted.patient_id == ConsentRow.patient_id, noted.purpose == ConsentRow.purpose)
    ended = session.scalars(
        select(ConsentRow).where(
            ConsentRow.kind == Kind.GIVEN,
            ConsentRow.ends_at <= now,
            ~exists().where(*same, noted.kind == Kind.EXPIRED),
        )
    ).all()
    if not ended:
        return 0
    _lock(session, shared=False)
    number = 0
    for row in ended:
        purpose = Purpose(row.purpose)
        if in_force(_log(session, [row.patient_id], purpose)[row.patient_id], now) is not row:
            continue  # a later decision has taken its place
        session.add(
            ConsentRow(
                act=row.act, patient_id=row.patient_id, purpose=row.purpose, kind=Kind.EXPIRED, basis=row.basis,
                reference=row.reference, source="clock", actor="system", starts_at=row.ends_at, recorded_at=now,
            )
        )  # fmt: skip
        _note(session, Kind.EXPIRED, "system", row.patient_id, purpose, row.act)
        _announce(session, row.patient_id, purpose, f"{row.act}-expired")
        number += 1
    return number


def in_force(rows: Iterable[ConsentRow], now: datetime) -> ConsentRow | None:
    """Return the decision that holds now: the last one that has begun. Pure."""
    begun = [row for row in rows if row.kind in _SPOKEN and row.starts_at <= now]
    return max(begun, key=lambda row: (row.starts_at, row.id), default=None)


def fold(rows: Iterable[ConsentRow], default: PurposeDefault, purpose: Purpose, now: datetime) -> Decision:
    """Return where a patient stands on a purpose, from their decisions on it and the site's default. Pure."""
    row = in_force(rows, now)
    if row is None:
        if default.basis:
            title = legal_bases()[default.basis].title
            return Decision(True, default.basis, f"Nothing was decided; this site allows {purpose} ({title}).")
        return Decision(False, "", f"Nothing was decided; {purpose} is not allowed unless the patient allows it.")
    kind = Kind(row.kind)
    if kind is Kind.GIVEN and row.ends_at is not None and row.ends_at <= now:
        reason = f"The permission to use this patient's data for {purpose} expired on {row.ends_at:%Y-%m-%d}."
        return Decision(False, "", reason, Kind.EXPIRED, row.ends_at)
    word = "allowed" if kind is Kind.GIVEN else kind.value
    reason = f"Use of this patient's data for {purpose} was {word} on {row.starts_at:%Y-%m-%d}."
    allowed = kind is Kind.GIVEN
    return Decision(allowed, row.basis if allowed else "", reason, kind, row.starts_at, row.ends_at)


def standing(
    session: Session, patient_id: int, defaults: PurposeDefaults, now: datetime | None = None
) -> dict[Purpose, Decision]:
    """Return where a patient stands on every purpose, for a page to show. Using data asks ``permitted``."""
    now = now or utc_now()
    rows = history(session, patient_id)
    return {p: fold([r for r in rows if r.purpose == p], getattr(defaults, p), p, now) for p in Purpose}


def history(session: Session, patient_id: int) -> Sequence[ConsentRow]:
    """Return every decision of a patient, in the order they were written down."""
    return session.scalars(select(ConsentRow).where(ConsentRow.patient_id == patient_id).order_by(ConsentRow.id)).all()


def permitted(
    session: Session, patient_id: int, purpose: Purpose, *, defaults: PurposeDefaults, actor: str
) -> Decision:
    """Whether this patient's data may be used for ``purpose`` now. Every question is audited, whatever the answer.

    Ask in the transaction that takes the data, and look at ``allowed``.
    """
    return permitted_among(session, [patient_id], purpose, defaults=defaults, actor=actor)[patient_id]


def permitted_among(
    session: Session, patient_ids: Collection[int], purpose: Purpose, *, defaults: PurposeDefaults, actor: str
) -> dict[int, Decision]:
    """The same for many patients at once: one question, one event in the audit, an answer for each of them."""
    if session.get_bind().get_execution_options().get("readonly"):
        raise RuntimeError("Ask in a transaction that writes (Database.write): every question is audited.")
    _lock(session, shared=True)
    now = utc_now()
    default: PurposeDefault = getattr(defaults, purpose)
    logs = _log(session, patient_ids, purpose)
    answers = {patient_id: fold(logs.get(patient_id, ()), default, purpose, now) for patient_id in patient_ids}
    allowed = sum(answer.allowed for answer in answers.values())
    detail = {"purpose": purpose.value, "asked": len(answers), "allowed": allowed}
    patient_id = None
    if len(answers) == 1:
        ((patient_id, answer),) = answers.items()
        detail["basis"] = answer.basis
    outcome = "success" if allowed == len(answers) else "refused"
    record(
        session, AuditCode.PATIENT_RECORD, "purpose-asked", actor, patient_id=patient_id, outcome=outcome, detail=detail
    )
    _mark_asked(purpose)
    return answers


def may_use(
    patient_id: InstrumentedAttribute[int], purpose: Purpose, defaults: PurposeDefaults, now: datetime | None = None
) -> ColumnElement[bool]:
    """The same answer as a condition of a query, for lists that show only patients who permit ``purpose``.

    It narrows what is looked at; taking data still asks ``permitted_among``, which is audited.
    """
    now = now or utc_now()
    default: PurposeDefault = getattr(defaults, purpose)
    return ~says_no(patient_id, purpose, now) if default.basis else _says_yes(patient_id, purpose, now)


def says_no(
    patient_id: InstrumentedAttribute[int], purpose: Purpose, now: datetime | None = None
) -> ColumnElement[bool]:
    """The condition that the patient has decided, and that no permission of theirs holds now."""
    now = now or utc_now()
    anything = aliased(ConsentRow)
    decided = exists().where(_begun(anything, patient_id, purpose, now)).correlate_except(anything)
    return and_(decided, ~_says_yes(patient_id, purpose, now))


def _says_yes(patient_id: InstrumentedAttribute[int], purpose: Purpose, now: datetime) -> ColumnElement[bool]:
    row, later = aliased(ConsentRow), aliased(ConsentRow)
    after = or_(later.starts_at > row.starts_at, and_(later.starts_at == row.starts_at, later.id > row.id))
    superseded = exists().where(_begun(later, patient_id, purpose, now), after).correlate_except(later)
    lasts = or_(row.ends_at.is_(None), row.ends_at > now)
    given = (_begun(row, patient_id, purpose, now), row.kind == Kind.GIVEN, lasts, ~superseded)
    return exists().where(*given).correlate_except(row)


def _begun(
    row: type[ConsentRow], patient_id: InstrumentedAttribute[int], purpose: Purpose, now: datetime
) -> ColumnElement[bool]:
    mine = and_(row.patient_id == patient_id, row.purpose == purpose)
    return and_(mine, row.kind.in_(_SPOKEN), row.starts_at <= now)


_asked: ContextVar[set[Purpose] | None] = ContextVar("asked", default=None)


def for_purpose(purpose: Purpose) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Declare that a function uses patients' data for ``purpose``; it fails where it ends without having asked.

    Every function with which a room above takes patients' data for research, training or teaching carries this;
    ``tests/project/test_purposes.py`` fails on a room that takes data without it.
    """

    def declare(function: Callable[P, T]) -> Callable[P, T]:
        if iscoroutinefunction(function) or isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError("for_purpose is for plain functions: others end before their work does.")

        @wraps(function)
        def asking(*args: P.args, **kwargs: P.kwargs) -> T:
            outer, here = _asked.get(), set[Purpose]()
            token = _asked.set(here)
            try:
                result = function(*args, **kwargs)
            finally:
                _asked.reset(token)
                if outer is not None:
                    outer |= here
            if purpose not in here:
                raise RuntimeError(f"{function.__qualname__} is for {purpose} and never asked whether it may.")
            return result

        return asking

    return declare


def _mark_asked(purpose: Purpose) -> None:
    asked = _asked.get()
    if asked is not None:
        asked.add(purpose)


def _check(said: Statement, now: datetime) -> None:
    if said.kind is Kind.EXPIRED or not said.purposes:
        raise BadInput("A decision is given, refused or withdrawn, for at least one purpose.")
    if said.ends_at is not None and said.ends_at <= (said.starts_at or now):
        raise BadInput("The period ends before it begins.", "Look at both dates.")
    if said.kind is not Kind.GIVEN:
        return
    basis = legal_bases().get(said.basis)
    unfit = [p for p in said.purposes if basis is None or p not in basis.purposes]
    if basis is None or unfit:
        raise BadInput("That is no legal basis for this purpose.", "See core/legal_bases.json for those there are.")
    if basis.needs_reference and not said.reference.strip():
        raise BadInput("This basis needs a reference.", "Give the number of the form or of the approval.")


def _log(session: Session, patient_ids: Collection[int], purpose: Purpose) -> dict[int, list[ConsentRow]]:
    found: dict[int, list[ConsentRow]] = defaultdict(list)
    for part in _batches(list(patient_ids)):
        for row in session.scalars(
            select(ConsentRow).where(ConsentRow.patient_id.in_(part), ConsentRow.purpose == purpose)
        ):
            found[row.patient_id].append(row)
    return found


def _batches(values: Sequence[int]) -> Iterator[Sequence[int]]:
    yield from (values[n : n + _BATCH] for n in range(0, len(values), _BATCH))


def _lock(session: Session, *, shared: bool) -> None:
    """Uses go side by side; a decision waits for those under way. On SQLite one transaction writes at a time anyway."""
    if session.get_bind().dialect.name == "postgresql":
        name = func.pg_advisory_xact_lock_shared if shared else func.pg_advisory_xact_lock
        session.execute(select(name(_LOCK)))


def _note(session: Session, kind: Kind, actor: str, patient_id: int, purpose: Purpose, act: str) -> None:
    detail = {"purpose": purpose.value, "act": act}
    record(session, AuditCode.PATIENT_RECORD, f"consent-{kind}", actor, patient_id=patient_id, detail=detail)


def _announce(session: Session, patient_id: int, purpose: Purpose, act: str) -> None:
    payload = {"patient_id": patient_id, "purpose": purpose.value}
    emit(session, WITHDRAWN_TOPIC, f"consent-withdrawn-{act}-{purpose}", payload)
