"""Every route of both apps, DIMSE verb, command and background job declares one permission, and each role gets what the
table says: the one walk over all of them. What a study's project and visibility add is ``test_visibility.py``'s.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from support import ROOT
from web_support import Site, make_site

from readingroom.archive.dimse.permissions import DIMSE_PERMISSIONS
from readingroom.cli.main import COMMANDS
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import (
    ABOUT_STUDIES,
    FOR_TOKENS,
    MEMBER_ROLES,
    ROLE_PERMISSIONS,
    TABLE,
    House,
    Permission,
    ProjectKind,
    Role,
    allowed,
    in_project,
    job,
    permission_of,
    through_glass,
)
from readingroom.web.permissions import STUDY_PARAMETERS, declared

PACKAGE = ROOT / "readingroom"
PEOPLE = [role for role in Role if role is not Role.SERVICE]
EVERYBODY = [*Role, *House]
# Threads that only serve an entrance whose every verb or route is declared, or a child that a declared job or command
# started.
NOT_JOBS = {"_serve", "_when_listening", "_ask", "_send"}


@pytest.fixture
def site(sqlite_database: Database, settings: Settings) -> Site:
    return make_site(sqlite_database, settings)


def routes(app: FastAPI) -> Iterator[tuple[str, str, set[Permission]]]:
    """Yield method, path template and declared permissions of every route."""
    for context in iter_route_contexts(app.routes):
        dependant = getattr(context, "dependant", None)
        found = declared(context) if dependant is not None else set()
        for method in sorted(context.methods or {"ANY"}):
            yield method, context.path or "", found


def address(template: str) -> str:
    """Fill a template with things that do not exist but look right."""
    return re.sub(r"\{(\w+)(:path)?\}", lambda m: "1" if m[1] in ("frames", "frame") else "1.2.3", template)


def jobs() -> dict[str, Permission]:
    """Return every function that declares itself a background job, by module and name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            if any(isinstance(d, ast.Call) and ast.unparse(d.func) == "job" for d in node.decorator_list):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                function = getattr(importlib.import_module(module), node.name)
                found[f"{module}.{node.name}"] = permission_of(function)
    return found


def begun_in_the_background() -> Iterator[tuple[Path, str]]:
    """Yield what is handed to threads, to the workflow's steps and to the worker's round, as it is written there."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name.endswith("Thread"):
                yield from ((path, ast.unparse(k.value)) for k in node.keywords if k.arg == "target")
            elif name in ("steps.run", "_Every", "Registered"):
                yield path, ast.unparse(node.args[1])


# The walks


def test_every_route_declares_one_permission(site: Site) -> None:
    for app in (site.pages, site.viewer):
        seen = list(routes(app))
        assert len(seen) > 20
        undeclared = [(method, path) for method, path, found in seen if len(found) != 1]
        assert undeclared == []


def test_an_undeclared_route_is_seen(site: Site) -> None:
    site.pages.get("/api/v1/forgotten")(lambda: None)
    assert [path for _, path, found in routes(site.pages) if not found] == ["/api/v1/forgotten"]


def test_what_is_public_is_listed_here(site: Site) -> None:
    """A new public route is a decision: it is added here on purpose."""
    public = {
        (method, path)
        for app in (site.pages, site.viewer)
        for method, path, found in routes(app)
        if found == {Permission.PUBLIC} and method != "HEAD"
    }
    assert public == {
        ("GET", "/health"),
        ("POST", "/api/v1/session"),
        ("POST", "/api/v1/session/code"),
        ("POST", "/api/v1/session/passkey"),
        ("POST", "/api/v1/session/passkey/question"),
        ("POST", "/api/v1/session/oidc"),
        ("GET", "/api/v1/session/oidc/back"),
        ("POST", "/api/v1/set-up"),
        ("GET", "/api/v1/session"),
        ("GET", "/api/v1/about"),
        ("GET", "/app-config.js"),
        ("GET", "/init-service-worker.js"),
        ("GET", "/{path:path}"),
    }


def clients(site: Site, app: FastAPI) -> dict[Role | None, TestClient]:
    return {None: site.client(app), **{role: site.signed_in(role, app) for role in Role}}


def test_every_route_for_every_role(site: Site) -> None:
    for app in (site.pages, site.viewer):
        askers = clients(site, app)
        for method, path, found in routes(app):
            # Signing out would end the walk; it has tests of its own.
            if (method, path) == ("DELETE", "/api/v1/session"):
                continue
            (permission,) = found
            for role, client in askers.items():
                answer = client.request(method, address(path), follow_redirects=False)
                what = (method, path, role, answer.status_code)
                if permission is Permission.PUBLIC:
                    assert answer.status_code not in (401, 403), what
                elif role is None:
                    assert answer.status_code == 401, what
                elif allowed(role, permission):
                    assert answer.status_code not in (401, 403), what
                    assert answer.status_code != 500, what
                else:
                    assert answer.status_code == 403, what


def test_every_change_is_refused_without_its_token(site: Site) -> None:
    for app in (site.pages, site.viewer):
        for role in PEOPLE:
            client = site.signed_in(role, app)
            del client.headers["X-CSRF-Token"]
            for method, path, found in routes(app):
                if method in ("GET", "HEAD") or found == {Permission.PUBLIC}:
                    continue
                assert client.request(method, address(path)).status_code == 403, (method, path)


def test_every_verb_of_dimse_for_every_role() -> None:
    assert set(DIMSE_PERMISSIONS) == {"C-ECHO", "C-STORE"}
    for permission in DIMSE_PERMISSIONS.values():
        # Machines call; what each may do is in ``calling_aets`` (``tests/archive/dimse/test_callers.py``).
        assert allowed(Role.SERVICE, permission)
        assert not allowed(House.SYSTEM, permission)
    assert [role for role in PEOPLE if allowed(role, Permission.ECHO)] == []


def test_every_command_declares_what_the_operator_holds() -> None:
    for name, (module, permission, _about) in COMMANDS.items():
        assert allowed(House.OPERATOR, permission), name
        assert hasattr(importlib.import_module(module), "run"), name
    touching = {name for name, (module, *_rest) in COMMANDS.items() if "open_home" in source_of(module)}
    assert touching
    # Whatever opens a home folder needs more than nothing.
    assert [name for name in touching if COMMANDS[name][1] is Permission.PUBLIC] == []


def source_of(module: str) -> str:
    return (ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")


def test_every_background_job_for_every_role() -> None:
    found = jobs()
    assert len(found) > 15
    for name, permission in found.items():
        assert [who for who in EVERYBODY if allowed(who, permission)][-1:] == [House.SYSTEM], name
    # Nothing of the system's is an account's, but for looking at studies.
    of_system = {permission for permission in Permission if allowed(House.SYSTEM, permission)} - {Permission.PUBLIC}
    assert {p for p in of_system if any(allowed(role, p) for role in Role)} == {Permission.STUDY_READ}
    assert set(found.values()) == of_system


def test_nothing_runs_in_the_background_that_is_not_declared() -> None:
    names = {name.rsplit(".", 1)[-1] for name in jobs()}
    undeclared = []
    for path, target in begun_in_the_background():
        called = re.sub(r"^partial\((\w+).*", r"\1", target, flags=re.DOTALL)
        # In the worker's loop over its threads; of the deliverer, whose one job has a thread for each peer.
        if called in ("background", "do") or path.name == "deliver.py":
            continue
        if called.rsplit(".", 1)[-1] not in names | NOT_JOBS:
            undeclared.append(f"{path.relative_to(PACKAGE)}: {target}")
    assert undeclared == []


def test_a_job_that_declares_nothing_or_too_much() -> None:
    with pytest.raises(LookupError, match="declares no permission"):
        permission_of(lambda: None)
    for permission in (Permission.REPORT_SIGN, Permission.ACCOUNT_MANAGE, Permission.STUDY_STORE):
        with pytest.raises(ValueError, match="no background job"):
            job(permission)


# The table


def test_table_is_the_one_in_the_documents() -> None:
    page = (ROOT / "docs" / "rooms" / "access.md").read_text("utf-8")
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    shown = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    shown += ["| " + " | ".join([f"`{line[0]}`", *line[1:]]) + " |" for line in lines]
    assert "\n".join(shown) in page
    for kind, roles in MEMBER_ROLES.items():
        assert f"| {kind} | {', '.join(role for role in Role if role in roles)} |" in page


def test_table_names_every_permission_and_role_once() -> None:
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    assert head == ["permission", *Role, *House, "token"]
    assert sorted(line[0] for line in lines) == sorted(set(Permission) - {Permission.PUBLIC})
    assert {cell for line in lines for cell in line[1:-1]} == {"-", "all", "own", "glass", "own+glass"}
    assert {line[-1] for line in lines} == {"-", "yes"}


def test_every_permission_is_used() -> None:
    declared_by = {permission for _, permission, _ in COMMANDS.values()} | set(DIMSE_PERMISSIONS.values())
    declared_by |= set(jobs().values())
    text = "".join(path.read_text("utf-8") for path in (PACKAGE / "web").glob("*.py"))
    declared_by |= {permission for permission in Permission if f"requires(Permission.{permission.name})" in text}
    assert set(Permission) - declared_by == set()


def test_who_may_not_do_what() -> None:
    """What the table is for, in words."""
    p = Permission
    judging = {p.FINDING_JUDGE, p.REPORT_WRITE, p.REPORT_SIGN}
    # Administrators run the house: they neither judge nor sign, and see a study through broken glass only.
    assert not judging & ROLE_PERMISSIONS[Role.ADMINISTRATOR]
    assert through_glass(Role.ADMINISTRATOR) == {p.STUDY_QUERY, p.STUDY_READ}
    assert all(in_project(Role.ADMINISTRATOR, there, kind) == set() for there in Role for kind in ProjectKind)
    # Residents draft and judge; only radiologists sign, and never by token.
    assert ROLE_PERMISSIONS[Role.RESIDENT] >= judging - {p.REPORT_SIGN}
    assert [role for role in Role if allowed(role, p.REPORT_SIGN)] == [Role.RADIOLOGIST]
    assert p.REPORT_SIGN not in FOR_TOKENS
    assert not judging & ROLE_PERMISSIONS[Role.TECHNOLOGIST]
    assert {p.STUDY_STORE, p.WORKFLOW_CONTROL, p.QUARANTINE_READ} <= ROLE_PERMISSIONS[Role.TECHNOLOGIST]
    # Researchers and machines break no glass; machines have no session.
    assert not {p.GLASS_BREAK} & (ROLE_PERMISSIONS[Role.RESEARCHER] | ROLE_PERMISSIONS[Role.SERVICE])
    assert [role for role in Role if not allowed(role, p.SESSION)] == [Role.SERVICE]
    assert [role for role in Role if allowed(role, p.ACCOUNT_MANAGE)] == [Role.ADMINISTRATOR]
    # Through the glass nobody stores, or says who else may see.
    assert not {p.STUDY_STORE, p.STUDY_RESTRICT} & set().union(*(through_glass(role) for role in Role))
    # A token makes no tokens, and opens nothing that needs a person.
    assert not {p.SESSION, p.TOKEN_CREATE, p.GLASS_BREAK, p.ACCOUNT_MANAGE} & FOR_TOKENS


def test_a_membership_only_narrows() -> None:
    for kind in ProjectKind:
        for role in Role:
            for there in Role:
                found = in_project(role, there, kind)
                assert found <= ROLE_PERMISSIONS[role] & ROLE_PERMISSIONS[there] & ABOUT_STUDIES
                if not {role, there} <= MEMBER_ROLES[kind]:
                    assert found == set()
    assert in_project(Role.RESEARCHER, Role.RESEARCHER, ProjectKind.CARE) == set()


def test_what_addresses_call_a_study(site: Site) -> None:
    """The dependency knows a study by these names; a route that used another would not be asked about it."""
    for app in (site.pages, site.viewer):
        for _, path, found in routes(app):
            names = re.findall(r"\{(\w+)", path)
            assert [name for name in names if "study" in name and name not in STUDY_PARAMETERS] == []
            if set(names) & set(STUDY_PARAMETERS):
                assert found <= ABOUT_STUDIES, path
