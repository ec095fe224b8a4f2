"""What is audited is one table: every action that the code records is in it with its code, and every line is used.

Parsed, not run: each call that names an ``AuditCode`` names the action beside it, in words, as an f-string, or by a
variable or parameter that is given such words.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from readingroom.access.audit.actions import CODES, OUTCOMES, TYPES, actions
from readingroom.core.audit import AuditCode

PACKAGE = Path(__file__).parent.parent.parent / "readingroom"
PAGE = PACKAGE.parent / "docs" / "audit.md"
Function = ast.FunctionDef | ast.AsyncFunctionDef
HOW = {
    AuditCode.APPLICATION_ACTIVITY: "E", AuditCode.AUDIT_LOG_USED: "R", AuditCode.BEGIN_TRANSFERRING: "E",
    AuditCode.INSTANCES_TRANSFERRED: "CRU", AuditCode.STUDY_DELETED: "D", AuditCode.EXPORT: "R", AuditCode.IMPORT: "C",
    AuditCode.NETWORK_ENTRY: "E", AuditCode.QUERY: "E", AuditCode.SECURITY_ALERT: "E",
    AuditCode.USER_AUTHENTICATION: "E",
}  # fmt: skip
"""EventActionCode as the tables of PS3.15 A.5.3 allow it."""
HINT = "add a line to readingroom/access/audit/actions.py and to the table in docs/audit.md"


@cache
def trees() -> dict[Path, ast.Module]:
    found = (p for p in sorted(PACKAGE.rglob("*.py")) if "node_modules" not in p.parts and p.name != "actions.py")
    return {path: ast.parse(path.read_text("utf-8")) for path in found}


@cache
def calls_by_name() -> dict[str, list[tuple[ast.Call, Function, ast.Module]]]:
    """Every call by the name of what is called, with the function and the module it stands in."""
    found: dict[str, list[tuple[ast.Call, Function, ast.Module]]] = {}
    for tree in trees().values():
        for function in functions_of(tree):
            for call in own_calls(function, tree):
                called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                found.setdefault(called, []).append((call, function, tree))
    return found


def calls_of(function: Function) -> list[tuple[ast.Call, Function]]:
    """Return the calls of a function; of a private one those in its own module."""
    home = next((tree for tree in trees().values() if function in ast.walk(tree)), None)
    found = calls_by_name().get(function.name, [])
    return [(call, caller) for call, caller, tree in found if tree is home or not function.name.startswith("_")]


def functions_of(tree: ast.AST) -> list[Function]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def own_calls(function: Function, tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls in a function but not in one within it."""
    within = {id(n) for f in functions_of(function) if f is not function for n in ast.walk(f)}
    yield from (n for n in ast.walk(function) if isinstance(n, ast.Call) and id(n) not in within)


def patterns(node: ast.expr, function: Function, depth: int = 0) -> Iterator[str]:
    """Yield regular expressions for what an action can be; nothing where that cannot be told."""
    match node:
        case ast.Constant(value=str(words)):
            yield re.escape(words)
        case ast.JoinedStr(values=parts):
            yield "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else "[a-z-]+" for p in parts)
        case ast.IfExp(body=one, orelse=other):
            yield from patterns(one, function, depth)
            yield from patterns(other, function, depth)
        case ast.Name(id=name):
            for inner in ast.walk(function):
                targets = inner.targets if isinstance(inner, ast.Assign) else []
                if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                    yield from patterns(inner.value, function, depth)
            yield from given(name, function, depth)


def given(name: str, function: Function, depth: int) -> Iterator[str]:
    """Yield what callers give as the parameter ``name``, and its default."""
    places = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    named = [a.arg for a in function.args.kwonlyargs]
    if name not in places + named or depth > 2:
        return
    defaults = dict(zip(reversed(places), reversed(function.args.defaults), strict=False))
    defaults |= {n: d for n, d in zip(named, function.args.kw_defaults, strict=True) if d is not None}
    if name in defaults:
        yield from patterns(defaults[name], function, depth)
    at = places.index(name) - (places[0] == "self") if name in places else None
    for call, caller in calls_of(function):
        value = next((k.value for k in call.keywords if k.arg == name), None)
        if value is None and at is not None and at < len(call.args):
            value = call.args[at]
        if value is not None:
            yield from patterns(value, caller, depth + 1)


def recorded(tree: ast.AST) -> Iterator[tuple[AuditCode, list[str], int]]:
    """Yield code, what the action can be, and line of each call that records."""
    for function in functions_of(tree):
        for call in own_calls(function, tree):
            for place, argument in enumerate(call.args[:-1]):
                match argument:
                    case ast.Attribute(value=ast.Name(id="AuditCode"), attr=name):
                        yield AuditCode[name], list(patterns(call.args[place + 1], function)), call.lineno


@cache
def calls() -> list[tuple[str, AuditCode, list[str]]]:
    return [
        (f"{path.relative_to(PACKAGE)}:{line}", code, words)
        for path, tree in trees().items()
        for code, words, line in recorded(tree)
    ]


def test_every_recorded_action_is_in_the_table() -> None:
    table, seen = actions(), calls()
    assert len(seen) > 30
    problems = []
    for where, code, words in seen:
        if not words:
            problems.append(f"{where}: its action cannot be read; name it in the function that records it")
        for pattern in words:
            lines = [action for name, action in table.items() if re.fullmatch(pattern, name)]
            if not lines:
                problems.append(f"{where}: {pattern!r} is not in the table: {HINT}")
            elif not any(action.code is code for action in lines):
                problems.append(f"{where}: {pattern!r} is {lines[0].code} in the table")
    assert problems == []


def test_every_line_of_the_table_is_recorded_somewhere() -> None:
    used = [pattern for _, _, words in calls() for pattern in words]
    assert [name for name in actions() if not any(re.fullmatch(pattern, name) for pattern in used)] == []


def test_the_table_speaks_dicom() -> None:
    assert set(CODES) == set(AuditCode)
    assert {action.code for action in actions().values()} == set(AuditCode), "every kind of event of A.5.3 we list"
    for action in actions().values():
        assert action.type in ("", *TYPES), action
        assert len(action.name) <= 64, action
        # Tables A.5.3.1-1, A.5.3.9-1, A.5.3.11-1, A.5.3.12-1: these kinds must say of which type they are.
        if action.code in (
            AuditCode.APPLICATION_ACTIVITY,
            AuditCode.NETWORK_ENTRY,
            AuditCode.SECURITY_ALERT,
            AuditCode.USER_AUTHENTICATION,
        ):
            assert action.type, action
        assert action.how in HOW.get(action.code, "CRUD"), action
    assert OUTCOMES["success"] == "0"


def test_the_docs_show_the_table() -> None:
    shown = {}
    for line in PAGE.read_text("utf-8").splitlines():
        if match := re.match(r"\| `([^`]+)` \| (\d{6}) ([^|]+) \| ([CRUDE]) \| ([^|]*) \| ([^|]+) \|$", line):
            shown[match[1]] = (match[2], match[3].strip(), match[4], match[5].strip(), match[6].strip())
    told = {
        a.name: (a.code.value, CODES[a.code], a.how, f"{a.type} {TYPES[a.type]}" if a.type else "", a.words)
        for a in actions().values()
    }
    assert shown == told


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('def f(s):\n    record(s, AuditCode.QUERY, "one", a)', [["one"]]),
        ('def f(s, k):\n    record(s, AuditCode.QUERY, f"verdict.{k}", a)', [["verdict\\.[a-z-]+"]]),
        ('def f(s, k):\n    x = "a" if k else "b"\n    record_alone(s, AuditCode.QUERY, x, a)', [["a", "b"]]),
        ("def f(s, k):\n    record(s, AuditCode.QUERY, k, a)", [[]]),
        ('def f(s):\n    self._audit(AuditCode.QUERY, "two", {})', [["two"]]),
        ("def f():\n    return AuditEvent.code == AuditCode.QUERY", []),
    ],
)
def test_the_walk_sees_what_it_must(source: str, expected: list[list[str]]) -> None:
    assert [words for _, words, _ in recorded(ast.parse(source))] == expected
