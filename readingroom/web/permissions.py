"""Who is asking, and whether they may: the dependency that every route declares.

``Depends(requires(Permission.X))`` gives the ``Actor`` or answers 401 or 403. Where the address names a study (by
``study_id``, ours, or by ``study``, its UID) the dependency asks about that study as well, before the route runs, so
that no route can forget to: one that the actor may not know of is 404, as if it were not there. It audits there, too,
who looks at which study.

A browser shows its session by a cookie and proves each change with ``X-CSRF-Token``. A program shows an API token
(``Authorization: Bearer``). Machines that can do neither use HTTP Basic, on ``/dicomweb`` and ``/metrics`` only, with a
service account. The dependency carries its ``permission``, so that a test can walk all routes and fail on an undeclared
one.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from dataclasses import replace
from functools import cache

from fastapi import Request
from fastapi.routing import APIRoute

from readingroom.access import accounts, sessions, tokens
from readingroom.access.actor import NOBODY, Actor, actor_of
from readingroom.access.sign_in import UNTIL_ENROLLED, owes_second_factor
from readingroom.access.tables import Account
from readingroom.archive.visibility import OnStudy, permissions_on
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import monotonic
from readingroom.core.database import Database
from readingroom.core.errors import Forbidden, NotFound, ReadingRoomError
from readingroom.core.permissions import ABOUT_STUDIES, Permission
from readingroom.web.addresses import is_secure
from readingroom.web.seen import Seen, audit_opened

_COOKIE = "readingroom_session"
CSRF_HEADER = "X-CSRF-Token"
# Where machines may come with HTTP Basic: DICOMweb clients, and Prometheus.
MACHINES = ("/dicomweb", "/metrics")
ASKED_BY_THE_PAGE = frozenset({"/api/v1/urgent"})
"""Asked on every page all the time, whether or not somebody is there: it keeps no unused session open."""
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BASIC_SECONDS = 60.0
STUDY_PARAMETERS = ("study_id", "study")
"""What an address calls a study: our id, or its StudyInstanceUID."""

_denied = Seen()


class NotSignedIn(ReadingRoomError):
    """No valid session or credentials. ``challenge`` asks a machine for HTTP Basic (never a browser's page)."""

    code = "not-signed-in"

    def __init__(self, challenge: bool = False) -> None:
        super().__init__("Not signed in.", "Sign in and try again.")
        self.challenge = challenge


class Requirement:
    """The dependency: call it with the request, get the actor. Runs in a worker thread (it asks the database)."""

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    def __call__(self, request: Request) -> Actor:
        if self.permission is Permission.PUBLIC:
            return NOBODY
        actor = identify(request)
        request.app.state.limits.take_for_account(actor.name, self.permission, request.url.path)
        if self.permission not in actor.permissions:
            raise self._forbidden(request, actor)
        study_id, uid = (request.path_params.get(name, "") for name in STUDY_PARAMETERS)
        return self._on_study(request, actor, study_id, uid) if study_id or uid else actor

    def _on_study(self, request: Request, actor: Actor, study_id: str, uid: str) -> Actor:
        """Return the actor with what it may do to the study that the address names. Raises NotFound, Forbidden."""
        database: Database = request.app.state.database
        with database.read() as session:
            found = permissions_on(session, actor, study_id=study_id, uid=uid)
        if found is None and self.permission is Permission.STUDY_STORE:
            # What is stored may be the first of its study.
            return actor
        if found is None or not found.permissions:
            if found is not None:
                self._audit(request, actor, found)
            raise NotFound("There is no such study.")
        if self.permission not in found.permissions:
            raise self._forbidden(request, actor, found)
        if self.permission is Permission.STUDY_READ:
            audit_opened(database, actor, found.study_id, by_dicomweb=request.url.path.startswith("/dicomweb/"))
        held = (actor.permissions - ABOUT_STUDIES) | found.permissions
        return replace(actor, permissions=held, glass_until=found.glass_until)

    def _forbidden(self, request: Request, actor: Actor, study: OnStudy | None = None) -> Forbidden:
        self._audit(request, actor, study)
        return Forbidden(f"The account may not do this ({self.permission.value}).", "Ask an administrator.")

    def _audit(self, request: Request, actor: Actor, study: OnStudy | None) -> None:
        """Write the refusal down, once for each thing and a while: a page that polls is no flood of attempts."""
        study_id = study.study_id if study else None
        if _denied.first(actor.session or actor.name, f"{self.permission} {study_id}"):
            database: Database = request.app.state.database
            with database.write() as session:
                detail = {"permission": self.permission.value}
                record(
                    session,
                    AuditCode.SECURITY_ALERT,
                    "access-denied",
                    actor.name,
                    study_id=study_id,
                    outcome="failure",
                    detail=detail,
                )


@cache
def requires(permission: Permission) -> Requirement:
    """Return the dependency for ``permission``; always the same object, so that tests can override it."""
    return Requirement(permission)


def declared(route: APIRoute) -> set[Permission]:
    """Return the permissions a route declares (a test wants exactly one)."""
    found: set[Permission] = set()
    waiting = list(route.dependant.dependencies)
    while waiting:
        dependant = waiting.pop()
        if isinstance(dependant.call, Requirement):
            found.add(dependant.call.permission)
        waiting.extend(dependant.dependencies)
    return found


def identify(request: Request) -> Actor:
    """Return who asks: by API token, HTTP Basic or session cookie. Raises NotSignedIn, Forbidden (CSRF)."""
    database: Database = request.app.state.database
    machine = request.url.path.startswith(MACHINES)
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _bearer(database, credentials.strip())
    if machine and scheme.lower() == "basic":
        account = _basic(database, credentials)
        with database.read() as session:
            return actor_of(session, account)
    found = current_session(request)
    if found is None:
        # A challenge in answer to a page's fetch would make the browser ask for a password by itself.
        raise NotSignedIn(challenge=machine and "sec-fetch-mode" not in request.headers)
    if request.method not in SAFE_METHODS and not hmac.compare_digest(
        request.headers.get(CSRF_HEADER, "").encode(), found.csrf.encode()
    ):
        raise Forbidden(f"The {CSRF_HEADER} header is missing or wrong.", "Load the page again.", code="csrf")
    with database.read() as session:
        actor = actor_of(session, found.account, web_session=found.token_sha256)
    strong_roles = request.app.state.settings.second_factor_required
    if found.account.password_given or owes_second_factor(
        found.account, strong=found.strong, strong_roles=strong_roles
    ):
        return replace(actor, permissions=UNTIL_ENROLLED, projects={})
    return actor


def session_cookie(request: Request) -> str:
    """Return the name of the session's cookie: by HTTPS one that no other host or path can set in its stead."""
    return f"__Host-{_COOKIE}" if is_secure(request, request.app.state.settings) else _COOKIE


def current_session(request: Request) -> sessions.OpenSession | None:
    """Return the browser's session, if it shows a valid one, and note that it is in use."""
    token = request.cookies.get(session_cookie(request))
    if not token:
        return None
    database: Database = request.app.state.database
    with database.read() as session:
        found = sessions.find_session(session, token)
    if found is not None and found.stale and request.url.path not in ASKED_BY_THE_PAGE:
        with database.write() as session:
            sessions.touch(session, found.token_sha256)
    return found


def _bearer(database: Database, text: str) -> Actor:
    """Return the actor an API token stands for. A program sends it by itself, no browser does: no CSRF to fear."""
    with database.read() as session:
        token = tokens.find_token(session, text)
        actor = actor_of(session, token.account, token=token) if token is not None else None
    if token is None or actor is None:
        raise NotSignedIn
    if tokens.is_stale(token):
        with database.write() as session:
            tokens.touch(session, token.id)
    return actor


class _BasicCache:
    """Credentials that were right a moment ago, so that a machine's every call needn't pay for argon2.

    Kept under a keyed hash that only this process can make, and only while the account's password hash is the same.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: dict[bytes, tuple[float, str]] = {}

    def key(self, name: str, password: str) -> bytes:
        return hmac.digest(self._secret, f"{len(name)}:{name}{password}".encode(), hashlib.sha256)

    def holds(self, key: bytes, password_hash: str) -> bool:
        with self._lock:
            until, kept = self._known.get(key, (0.0, ""))
        return monotonic() < until and kept == password_hash

    def keep(self, key: bytes, password_hash: str) -> None:
        now = monotonic()
        with self._lock:
            self._known = {k: v for k, v in self._known.items() if v[0] > now}
            self._known[key] = (now + BASIC_SECONDS, password_hash)


_CACHE = _BasicCache()


def _basic(database: Database, encoded: str) -> Account:
    try:
        name, _, password = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise NotSignedIn(challenge=True) from None
    if "\0" in name:
        # Nobody is called that, and PostgreSQL cannot even look.
        raise NotSignedIn(challenge=True)
    key = _CACHE.key(name, password)
    with database.read() as session:
        try:
            account = accounts.find_account(session, name)
        except NotFound:
            account = None
    if account is not None and not account.disabled and _CACHE.holds(key, account.password_hash):
        return account
    try:
        account = accounts.check_password(database, name, password, way="basic")
    except accounts.SignInRefused:
        raise NotSignedIn(challenge=True) from None
    _CACHE.keep(key, account.password_hash)
    return account
