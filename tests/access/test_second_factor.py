"""The second factor: the standard's codes, each once, limited; recovery codes; what is kept how."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from readingroom.access import limits, second_factor, sign_in
from readingroom.access.accounts import create_account, find_account, forget_factors
from readingroom.access.limits import TooManyAttempts
from readingroom.access.second_factor import STEP_SECONDS, CodeRefused, code_at
from readingroom.access.sign_in import CodeOwed, Entered
from readingroom.access.tables import Account, RecoveryCode, TotpFactor
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import Conflict, Forbidden
from readingroom.core.permissions import Role
from readingroom.core.secrets import KeyMissing, SecretBox

PASSWORD = "correct horse battery"
BOX = SecretBox([b"k" * 32])


def with_ann(database: Database) -> Database:
    with database.write() as session:
        create_account(session, "ann", PASSWORD, Role.RADIOLOGIST)
    return database


@pytest.fixture
def site(sqlite_database: Database) -> Database:
    return with_ann(sqlite_database)


@pytest.fixture
def either(database: Database) -> Database:
    """The same on SQLite and on PostgreSQL, for what the database decides."""
    return with_ann(database)


def ann(site: Database) -> Account:
    with site.read() as session:
        return find_account(session, "ann")


def secret_of(site: Database) -> bytes:
    with site.read() as session:
        factor = session.scalars(select(TotpFactor)).one()
    return BOX.open(factor.secret, f"totp {factor.account_id}")


def code(site: Database, at: datetime) -> str:
    return code_at(secret_of(site), int(at.timestamp()) // STEP_SECONDS)


def enrol(site: Database, at: datetime) -> list[str]:
    """Turn ann's second factor on at a moment; return the recovery codes."""
    with site.write() as session:
        second_factor.begin(session, BOX, find_account(session, "ann"))
    with site.write() as session:
        return second_factor.confirm(session, BOX, find_account(session, "ann"), code(site, at), now=at)


def check(site: Database, text: str, at: datetime) -> None:
    second_factor.check(site, BOX, ann(site), text, action="sign-in-second-factor", now=at)


@pytest.mark.parametrize(
    ("seconds", "eight_digits"),
    [(59, "94287082"), (1111111109, "07081804"), (1111111111, "14050471"), (1234567890, "89005924"),
     (2000000000, "69279037"), (20000000000, "65353130")],
)  # fmt: skip
def test_codes_are_those_of_rfc_6238(seconds: int, eight_digits: str) -> None:
    """Appendix B gives eight digits; six are their end."""
    assert code_at(b"12345678901234567890", seconds // 30) == eight_digits[2:]


def test_enrolment_and_a_code_of_each_half_minute_beside(site: Database) -> None:
    begun = utc_now() - timedelta(days=1)
    enrol(site, begun)
    for step, late in enumerate((-1, 0, 1)):
        at = begun + timedelta(minutes=5 + step * 2)
        check(site, code(site, at + timedelta(seconds=late * STEP_SECONDS)), at)
    at = begun + timedelta(minutes=30)
    for late in (-2, 2):
        with pytest.raises(CodeRefused):
            check(site, code(site, at + timedelta(seconds=late * STEP_SECONDS)), at)


def test_a_code_counts_once_and_none_before_it_after(either: Database) -> None:
    begun = utc_now() - timedelta(days=1)
    enrol(either, begun)
    with pytest.raises(CodeRefused):
        check(either, code(either, begun), begun)  # it was taken when the app was set up
    at = begun + timedelta(minutes=5)
    check(either, code(either, at), at)
    for text in (code(either, at), code(either, at - timedelta(seconds=STEP_SECONDS))):
        with pytest.raises(CodeRefused):
            check(either, text, at)


def test_one_code_at_the_same_moment_lets_one_in(either: Database) -> None:
    begun = utc_now() - timedelta(days=1)
    enrol(either, begun)
    at = begun + timedelta(minutes=5)
    text = code(either, at)

    def ask(_: int) -> bool:
        try:
            check(either, text, at)
        except CodeRefused:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(ask, range(4))) == [False, False, False, True]


def test_guesses_are_limited_apart_from_passwords(site: Database) -> None:
    begun = utc_now() - timedelta(hours=1)
    enrol(site, begun)
    at = utc_now()
    right = code(site, at)
    wrong = f"{(int(right) + 1) % 10**6:06}"
    for _ in range(limits.FAILURES_PER_NAME):
        with pytest.raises(CodeRefused):
            check(site, wrong, at)
    with pytest.raises(TooManyAttempts):
        check(site, right, at)
    assert isinstance(sign_in.by_password(site, "ann", PASSWORD, ()), CodeOwed)
    later = at + limits.WINDOW + timedelta(seconds=1)
    check(site, code(site, later), later)


def test_recovery_codes_count_once_each_however_they_are_typed(either: Database) -> None:
    codes = enrol(either, utc_now())
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    assert all(re.fullmatch(r"([a-z2-7]{4}-){3}[a-z2-7]{4}", text) for text in codes)
    now = utc_now()
    check(either, codes[0], now)
    check(either, f" {codes[1].replace('-', '').upper()}\n", now)
    with pytest.raises(CodeRefused):
        check(either, codes[0], now)
    with either.read() as session:
        assert second_factor.recovery_codes_left(session, ann(either).id) == len(codes) - 2
    with either.write() as session:
        renewed = second_factor.new_recovery_codes(session, find_account(session, "ann"))
    with pytest.raises(CodeRefused):
        check(either, codes[2], now)
    check(either, renewed[0], now)


def test_recovery_codes_are_the_accounts_own(site: Database) -> None:
    codes = enrol(site, utc_now())
    with site.write() as session:
        bob = create_account(session, "bob", PASSWORD, Role.RADIOLOGIST)
    now = utc_now()
    with pytest.raises(CodeRefused):
        second_factor.check(site, BOX, bob, codes[0], action="sign-in-second-factor", now=now)
    check(site, codes[0], now)


def test_nothing_is_kept_in_clear(site: Database) -> None:
    with site.write() as session:
        begun = second_factor.begin(session, BOX, find_account(session, "ann"))
    codes = enrol(site, utc_now())
    with site.read() as session:
        factor = session.scalars(select(TotpFactor)).one()
        digests = session.scalars(select(RecoveryCode.code_sha256)).all()
        events = session.scalars(select(AuditEvent)).all()
    kept = " ".join([factor.secret, *digests, *(f"{e.action} {e.detail}" for e in events)])
    assert not any(text.replace("-", "") in kept for text in codes)
    assert begun.secret not in kept
    assert begun.secret in begun.uri
    assert begun.uri.startswith("otpauth://totp/Reading%20Room%3Aann?")
    other = SecretBox([b"x" * 32])
    with pytest.raises(KeyMissing):
        second_factor.check(site, other, ann(site), "123456", action="sign-in-second-factor")


def test_a_used_code_moves_its_secret_to_the_newest_key(site: Database) -> None:
    begun = utc_now() - timedelta(hours=1)
    enrol(site, begun)
    at = begun + timedelta(minutes=5)
    rotated = SecretBox([b"n" * 32, b"k" * 32])
    second_factor.check(site, rotated, ann(site), code(site, at), action="sign-in-second-factor", now=at)
    with site.read() as session:
        assert session.scalars(select(TotpFactor.secret)).one().startswith(rotated.newest)


def test_it_counts_only_once_confirmed(site: Database) -> None:
    with site.write() as session:
        second_factor.begin(session, BOX, find_account(session, "ann"))
    now = utc_now()
    with pytest.raises(CodeRefused):
        check(site, code(site, now), now)
    assert isinstance(sign_in.by_password(site, "ann", PASSWORD, ()), Entered)
    with site.write() as session, pytest.raises(CodeRefused):
        second_factor.confirm(
            session, BOX, find_account(session, "ann"), "000000", now=datetime(2020, 1, 1, tzinfo=UTC)
        )
    enrol(site, now)
    with site.write() as session, pytest.raises(Conflict):
        second_factor.begin(session, BOX, find_account(session, "ann"))


def test_sign_in_owes_a_code_and_the_ticket_is_good_once(site: Database) -> None:
    codes = enrol(site, utc_now() - timedelta(hours=1))
    owed = sign_in.by_password(site, "ann", PASSWORD, ())
    assert isinstance(owed, CodeOwed)
    with pytest.raises(CodeRefused):
        sign_in.by_code(site, BOX, owed.ticket, "000000")
    entered = sign_in.by_code(site, BOX, owed.ticket, codes[0])
    assert (entered.account.name, entered.strong) == ("ann", True)
    for ticket in (owed.ticket, "made up"):
        with pytest.raises(sign_in.TooLate):
            sign_in.by_code(site, BOX, ticket, codes[1])


def test_every_step_is_audited(site: Database) -> None:
    codes = enrol(site, utc_now() - timedelta(hours=1))
    owed = sign_in.by_password(site, "ann", PASSWORD, ())
    assert isinstance(owed, CodeOwed)
    with pytest.raises(CodeRefused):
        sign_in.by_code(site, BOX, owed.ticket, "nonsense")
    sign_in.by_code(site, BOX, owed.ticket, codes[0])
    with site.read() as session:
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    steps = [(e.action, e.outcome, e.detail.get("way", "")) for e in events if e.actor == "ann"]
    assert steps[-5:] == [
        ("second-factor-on", "success", ""),
        ("recovery-codes-made", "success", ""),
        ("sign-in-first-factor", "success", ""),
        ("sign-in-second-factor", "failure", "recovery-code"),
        ("sign-in-second-factor", "success", "recovery-code"),
    ]


def test_a_role_that_must_have_one(site: Database) -> None:
    must = {Role.RADIOLOGIST}
    entered = sign_in.by_password(site, "ann", PASSWORD, must)
    assert isinstance(entered, Entered)
    assert sign_in.owes_second_factor(entered.account, strong=entered.strong, strong_roles=must)
    assert not sign_in.owes_second_factor(entered.account, strong=True, strong_roles=must)
    assert not sign_in.owes_second_factor(entered.account, strong=False, strong_roles={Role.ADMINISTRATOR})
    # Whoever has a passkey uses it: a stolen password alone may not set up a factor of its own.
    from readingroom.access.tables import Passkey

    with site.write() as session:
        account_id = find_account(session, "ann").id
        session.add(
            Passkey(
                id="1", account_id=account_id, name="k", credential_id=b"c", public_key=b"p", sign_count=0, rp_id="x"
            )
        )
    with pytest.raises(Forbidden, match="password alone"):
        sign_in.by_password(site, "ann", PASSWORD, must)
    assert isinstance(sign_in.by_password(site, "ann", PASSWORD, ()), Entered)


def test_a_lost_phone_is_forgotten(site: Database) -> None:
    enrol(site, utc_now())
    with site.write() as session:
        forget_factors(session, "ann", actor="root")
    assert isinstance(sign_in.by_password(site, "ann", PASSWORD, ()), Entered)
    with site.read() as session:
        assert session.scalars(select(RecoveryCode)).all() == []
