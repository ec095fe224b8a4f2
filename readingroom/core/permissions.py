"""Permissions, and which role holds which how far: one table, shown as it is in ``docs/rooms/access.md``.

Every HTTP route, DIMSE verb, command and background job declares one of these; a test walks them all for every role
and fails on an undeclared one. A permission about studies holds within projects (``own``), or for a single study
after breaking the glass (``glass``); ``archive/visibility.py`` is where that is decided for each study.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Permission(StrEnum):
    PUBLIC = "public"
    """Needs no account: the sign-in page and its assets, health; commands that touch no home folder."""
    SESSION = "session"
    """Any person signed in at a browser: who am I, my sessions and tokens, sign out."""
    TOKEN_CREATE = "token:create"  # noqa: S105  (a permission's name)
    """Make API tokens of one's own account."""
    STUDY_QUERY = "study:query"
    STUDY_READ = "study:read"
    STUDY_STORE = "study:store"
    STUDY_RESTRICT = "study:restrict"
    """Say that only named people see a study (a colleague's, a well-known person's), and who."""
    GLASS_BREAK = "glass:break"
    """Open a closed study in an emergency, with a reason; administrators are told."""
    ECHO = "dicom:echo"
    FINDING_JUDGE = "finding:judge"
    REPORT_WRITE = "report:write"
    REPORT_SIGN = "report:sign"
    CONSENT_READ = "consent:read"
    CONSENT_WRITE = "consent:write"
    """Write down what a study's patient allows, refuses or takes back."""
    CONSENT_EXCHANGE = "consent:exchange"
    """Send and fetch consents of any patient, as FHIR."""
    WORKFLOW_CONTROL = "workflow:control"
    """Mark a study ready, have it read again."""
    READER_READ = "reader:read"
    COHORT_READ = "cohort:read"
    """See cohorts of one's projects, and take their labels out, but for those of the locked test part."""
    COHORT_WRITE = "cohort:write"
    """Make and freeze cohorts and label sets; evaluate on the locked test part, which is counted."""
    MODEL_READ = "model:read"
    """Reader versions, their states, and how those in shadow compare."""
    MODEL_MANAGE = "model:manage"
    """Add reader versions; put them in shadow, live, back, to rest."""
    DRIFT_READ = "drift:read"
    """See how readers do on each scanner over time: numbers about many studies together."""
    DRIFT_RESTART = "drift:restart"
    """Say that a change is known, so that a reader is held against a new baseline."""
    RUN_READ = "run:read"
    """Training runs: how they go, what they were made from."""
    QUARANTINE_READ = "quarantine:read"
    SYSTEM_READ = "system:read"
    """Processes, disk, and numbers over all projects."""
    ACCOUNT_MANAGE = "account:manage"
    """Accounts, their roles, projects and memberships."""
    ALERT_READ = "alert:read"
    """See alerts and acknowledge them."""
    AUDIT_READ = "audit:read"
    SYSTEM_RUN = "system:run"
    """Start the processes, migrate the index."""
    WORKFLOW_RUN = "workflow:run"
    """Take studies through the workflow: revisions, readers, the state of their readings."""
    CONSENT_APPLY = "consent:apply"
    """Take patients out of what was made of them after a withdrawal; note that a period has ended."""
    OBJECT_WRITE = "object:write"
    """Write SR, SEG, PDF and FHIR of readings and signed reports into the store."""
    OBJECT_DELIVER = "object:deliver"
    URGENT_SEND = "urgent:send"
    """Tell people of urgent findings by webhook and mail."""
    AUDIT_KEEP = "audit:keep"
    """Seal the audit, look through it, send it on."""
    DRIFT_WATCH = "drift:watch"
    """Take numbers of readings and verdicts into control charts; raise an alert."""
    STORE_SWEEP = "store:sweep"
    """Delete stored bytes that no row names."""


class Role(StrEnum):
    """What an account is for."""

    ADMINISTRATOR = "administrator"
    RADIOLOGIST = "radiologist"
    RESIDENT = "resident"
    TECHNOLOGIST = "technologist"
    RESEARCHER = "researcher"
    SERVICE = "service"


class House(StrEnum):
    """Who acts without an account: our own background jobs, and whoever runs commands on the home folder."""

    SYSTEM = "system"
    OPERATOR = "operator"


class ProjectKind(StrEnum):
    CARE = "care"
    RESEARCH = "research"
    TEACHING = "teaching"


# all: without bounds. own: in projects one is a member of, under the role one has there; of restricted studies only
# those one is named on. glass: for the hour after breaking the glass of a study. The last column says whether an API
# token may carry the permission: the others need a person at the screen.
TABLE = """
permission         administrator  radiologist  resident   technologist  researcher  service  system  operator  token
session            all            all          all        all           all         -        -       -         -
token:create       all            all          all        all           all         -        -       -         -
study:query        glass          own+glass    own+glass  own+glass     own         own      -       -         yes
study:read         glass          own+glass    own+glass  own+glass     own         own      all     -         yes
study:store        -              own          own        own           -           own      -       all       yes
study:restrict     -              own          -          -             -           -        -       -         -
glass:break        all            all          all        all           -           -        -       -         -
dicom:echo         -              -            -          -             -           all      -       -         -
finding:judge      -              own+glass    own+glass  -             -           -        -       -         yes
report:write       -              own+glass    own+glass  -             -           -        -       -         yes
report:sign        -              own+glass    -          -             -           -        -       -         -
consent:read       -              own+glass    own+glass  own+glass     own         -        -       -         yes
consent:write      -              own          -          own           -           -        -       -         -
consent:exchange   -              -            -          -             -           all      -       -         yes
workflow:control   -              own+glass    own+glass  own+glass     -           -        -       -         yes
reader:read        all            all          all        all           all         -        -       all       yes
cohort:read        -              own          own        -             own         own      -       all       yes
cohort:write       -              own          -          -             own         -        -       all       -
model:read         all            -            -          -             -           -        -       all       yes
model:manage       all            -            -          -             -           -        -       all       -
drift:read         all            all          -          -             all         -        -       all       yes
drift:restart      all            -            -          -             -           -        -       -         -
run:read           all            -            -          -             all         -        -       all       yes
quarantine:read    all            all          all        all           -           -        -       -         yes
system:read        all            -            -          -             -           all      -       all       yes
account:manage     all            -            -          -             -           -        -       all       -
alert:read         all            -            -          -             -           -        -       -         -
audit:read         all            -            -          -             -           -        -       all       yes
system:run         -              -            -          -             -           -        -       all       -
workflow:run       -              -            -          -             -           -        all     -         -
consent:apply      -              -            -          -             -           -        all     -         -
object:write       -              -            -          -             -           -        all     -         -
object:deliver     -              -            -          -             -           -        all     -         -
urgent:send        -              -            -          -             -           -        all     -         -
audit:keep         -              -            -          -             -           -        all     -         -
drift:watch        -              -            -          -             -           -        all     -         -
store:sweep        -              -            -          -             -           -        all     -         -
"""

# Research looks at no patient's care; administrators run the house and are members of nothing.
MEMBER_ROLES = {
    ProjectKind.CARE: frozenset({Role.RADIOLOGIST, Role.RESIDENT, Role.TECHNOLOGIST, Role.SERVICE}),
    ProjectKind.RESEARCH: frozenset(Role) - {Role.ADMINISTRATOR},
    ProjectKind.TEACHING: frozenset(Role) - {Role.ADMINISTRATOR},
}
"""Kind of project -> the roles that count in it."""

_HEAD, *_LINES = (line.split() for line in TABLE.strip().splitlines())
_CELLS: dict[str, dict[Permission, frozenset[str]]] = {
    column: {Permission(line[0]): frozenset(line[place].split("+")) - {"-"} for line in _LINES}
    for place, column in enumerate(_HEAD)
    if place
}

ROLE_PERMISSIONS: dict[Role, frozenset[Permission]] = {
    role: frozenset(p for p, reach in _CELLS[role].items() if reach) | {Permission.PUBLIC} for role in Role
}
"""Everything a role holds, however far it reaches."""

ABOUT_STUDIES = frozenset(p for role in Role for p, reach in _CELLS[role].items() if reach & {"own", "glass"})
"""Permissions that hold for some studies only."""

FOR_TOKENS = frozenset(p for p, reach in _CELLS["token"].items() if reach)
"""What an API token may carry."""


def allowed(who: Role | House, permission: Permission) -> bool:
    """Whether ``who`` holds ``permission`` at all; for one about studies, each study is asked about besides."""
    return permission is Permission.PUBLIC or bool(_CELLS[who][permission])


def in_project(role: Role, there: Role, kind: ProjectKind) -> frozenset[Permission]:
    """Return what an account of ``role`` may do to the studies of a project where it is a member as ``there``.

    A membership only narrows: what the account's own role does not hold, none gives.
    """
    if not {role, there} <= MEMBER_ROLES[kind]:
        return frozenset()
    return frozenset(p for p in ABOUT_STUDIES if "own" in _CELLS[role][p] and "own" in _CELLS[there][p])


def through_glass(role: Role) -> frozenset[Permission]:
    """Return what an account of ``role`` may do to a study after breaking its glass."""
    return frozenset(p for p, reach in _CELLS[role].items() if "glass" in reach)


def job(permission: Permission) -> Callable[[F], F]:
    """Declare what a background job does. Jobs run as ``system``: one that it may not do cannot be declared."""
    if not allowed(House.SYSTEM, permission):
        raise ValueError(f"no background job may do {permission.value}")

    def declare(function: F) -> F:
        function.__dict__["permission"] = permission
        return function

    return declare


def permission_of(function: Callable[..., Any]) -> Permission:
    """Return what a background job has declared. Raises LookupError for one that has not: it is not run."""
    while isinstance(function, partial):
        function = function.func
    declared = getattr(function, "permission", None)
    if declared is None:
        raise LookupError(f"the background job {getattr(function, '__qualname__', function)!r} declares no permission")
    return Permission(declared)
