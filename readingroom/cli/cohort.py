"""``readingroom cohort add|freeze|list|show|labels|evaluate|export``: cohorts, their labels, the locked test part."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from readingroom.cli.home import add_home, open_home
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Permission
from readingroom.core.purposes import Purpose
from readingroom.learning.model import Folder, Query, Shares, Workshop
from readingroom.learning.tables import Cohort
from readingroom.learning.views import VersionView


@dataclass(frozen=True)
class _Bench:
    database: Database
    workshop: Workshop
    options: argparse.Namespace


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("cohort", help="cohorts, label sets, the locked test part")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_add(actions)
    for name, about in (
        ("freeze", "make the next version: who is in it now, in which part"),
        ("show", "versions, parts, who is left out and why, looks at the test part"),
    ):
        one = actions.add_parser(name, help=about)
        one.add_argument("name")
        add_home(one)
    add_home(actions.add_parser("list", help="list cohorts"))
    labels = actions.add_parser("labels", help="freeze what people have decided about a version's members")
    _add_version(labels)
    evaluate = actions.add_parser(
        "evaluate",
        help="measure a reader on the locked test part; counted",
        description="Measure a reader on the locked test part. Each look is counted and kept, with who, when and why.",
    )
    _add_version(evaluate)
    evaluate.add_argument("reader")
    evaluate.add_argument("--why", required=True, help="kept for ever")
    evaluate.add_argument("--reader-version", default="", help="needed where several have read")
    evaluate.add_argument("--labels", type=int, metavar="N", help="label set (default: the newest)")
    export = actions.add_parser("export", help="members and labels as JSON Lines, without the test part's labels")
    _add_version(export)
    export.add_argument("--labels", type=int, metavar="N", help="label set (default: the newest)")
    export.add_argument("--out", type=Path, metavar="FILE", help="default: standard output")


def _add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")
    parser.add_argument("--version", type=int, metavar="N", help="version of the cohort (default: the newest)")
    add_home(parser)


def _add_add(actions: Any) -> None:
    add = actions.add_parser("add", help="add a cohort: a question to a project's studies, or a folder")
    add.add_argument("name")
    add.add_argument("--project", required=True)
    add.add_argument("--purpose", choices=[Purpose.TRAINING.value, Purpose.RESEARCH.value], required=True)
    add.add_argument("--title", default="")
    add.add_argument("--modality", default="", help="CT, MR ...")
    add.add_argument("--kind", default="", help="type of series: ct-volume, projection ...")
    add.add_argument("--region", default="", help="chest, head ...")
    add.add_argument("--body-part", default="", help="BodyPartExamined")
    add.add_argument("--from", dest="from_day", default="", metavar="YYYYMMDD", help="first study date")
    add.add_argument("--to", dest="to_day", default="", metavar="YYYYMMDD", help="last study date")
    add.add_argument("--found-by", default="", metavar="READER", help="a reader that found something")
    add.add_argument("--signed", action=argparse.BooleanOptionalAction, help="with, or without, a signed report")
    add.add_argument("--simulated", action=argparse.BooleanOptionalAction, help="only, or no, simulated studies")
    add.add_argument("--folder", type=Path, metavar="DIR", help="files of this machine instead of studies")
    add.add_argument("--groups", default="", metavar="FILE", help="CSV in that folder: columns file and group")
    add.add_argument("--basis", default="", help="legal basis on which the folder is held (core/legal_bases.json)")
    add.add_argument("--reference", default="", help="number of the form or approval")
    add.add_argument("--validation", type=float, default=0.15, help="share of the groups (default: 0.15)")
    add.add_argument("--test", type=float, default=0.2, help="share of the groups, locked (default: 0.2)")
    add_home(add)


def run(options: argparse.Namespace) -> int:
    from readingroom.archive.store import open_store
    from readingroom.core.secrets import load_secrets
    from readingroom.review.label_inputs import DECIDED

    settings = open_home(options.home)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        workshop = Workshop(settings.purposes, load_secrets(settings), open_store(settings).source, DECIDED)
        action = {
            "add": _add, "freeze": _freeze, "list": _list, "show": _show, "labels": _labels, "evaluate": _evaluate,
            "export": _export,
        }[options.action]  # fmt: skip
        action(_Bench(database, workshop, options))
    finally:
        database.close()
    return 0


def _found(session: Session, name: str, permission: Permission) -> Cohort:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.cohorts import find

    return find(session, OPERATOR, permission, name=name)


def _add(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.cohorts import add

    o = bench.options
    try:
        shares = Shares(validation=o.validation, test=o.test)
        definition = _folder(o) if o.folder else _query(o)
    except ValueError:
        raise BadInput("The shares, or a part of the question, cannot be used.", "Days are YYYYMMDD.") from None
    with bench.database.write() as session:
        add(
            session, o.name, project=o.project, purpose=Purpose(o.purpose), definition=definition,
            workshop=bench.workshop, actor=OPERATOR, title=o.title, shares=shares,
        )  # fmt: skip
    print(f"cohort {o.name}: added. Freeze it: readingroom cohort freeze {o.name}")


def _folder(options: argparse.Namespace) -> Folder:
    return Folder(
        path=str(options.folder.resolve()), groups=options.groups, basis=options.basis, reference=options.reference
    )


def _query(options: argparse.Namespace) -> Query:
    names = ("modality", "kind", "region", "body_part", "from_day", "to_day", "found_by", "signed", "simulated")
    return Query(**{name: getattr(options, name) for name in names})


def _freeze(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.cohorts import freeze
    from readingroom.learning.views import version_view

    with bench.database.read() as session:
        cohort = _found(session, bench.options.name, Permission.COHORT_WRITE)
    version = freeze(bench.database, cohort.id, bench.workshop, OPERATOR)
    with bench.database.read() as session:
        _print_version(version_view(session, cohort, version, OPERATOR))


def _list(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.views import cohort_lines

    with bench.database.read() as session:
        for one in cohort_lines(session, OPERATOR):
            stands = f"version {one.version}, {one.members} members" if one.version else "never frozen"
            print(f"{one.name}  {one.project}  {one.purpose}  {stands}, test part looked at {one.looks} times")


def _show(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.views import cohort_view

    with bench.database.read() as session:
        view = cohort_view(session, _found(session, bench.options.name, Permission.COHORT_READ), OPERATOR)
    print(f"{view.name}: {view.title or 'no title'}; project {view.project}, for {view.purpose}")
    print("  " + ", ".join(f"{name} {value}" for name, value in view.definition.items() if value not in ("", None)))
    for version in view.versions:
        _print_version(version)
    for look in view.evaluations:
        print(f"evaluation {look.number}: {look.reader} {look.reader_version}, {look.at:%Y-%m-%d} by {look.by}")
        print(f"  {look.why}")


def _print_version(version: VersionView) -> None:
    print(f"version {version.number}  sha256 {version.sha256}  {version.created_at:%Y-%m-%d} by {version.created_by}")
    for part in version.parts:
        print(f"  {part.part}: {part.members} members in {part.groups} groups")
    for reason, number in version.left_out.items():
        print(f"  left out, {reason}: {number}")
    if version.removed:
        print(f"  taken out by withdrawals since: {version.removed}")
    if not version.intact:
        print("  NOT what was frozen: its hash differs")
    for one in version.label_sets:
        counted = "; ".join(
            f"{p}: {', '.join(f'{n} {d}' for d, n in c.items()) or 'none'}" for p, c in one.counts.items()
        )
        print(f"  label set {one.number}: {counted}; test: locked")


def _labels(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.cohorts import version_of
    from readingroom.learning.labels import freeze_labels

    with bench.database.write() as session:
        cohort = _found(session, bench.options.name, Permission.COHORT_WRITE)
        version = version_of(session, cohort, bench.options.version)
        frozen = freeze_labels(session, cohort, version, bench.workshop, OPERATOR)
    print(f"label set {frozen.number} of version {version.number}  sha256 {frozen.sha256}")


def _evaluate(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.cohorts import version_of
    from readingroom.learning.labels import set_of
    from readingroom.learning.locked import Asked, Result, codes_of, evaluate, said

    o = bench.options
    codes = codes_of(o.reader)
    with bench.database.write() as session:
        cohort = _found(session, o.name, Permission.COHORT_WRITE)
        version = version_of(session, cohort, o.version)
        frozen = set_of(session, version, o.labels)
        asked = Asked(o.reader, o.why, o.reader_version)
        look = evaluate(session, cohort, version, frozen, asked, codes, bench.workshop, OPERATOR)
    result = Result.model_validate(look.result)
    print(f"{look.reader} {look.reader_version} on the test part of {cohort.name}, version {version.number}")
    print(f"  {result.lesions} lesions in {result.studies} studies of {result.groups} patients ({result.rule})")
    for name in ("sensitivity", "false_marks_per_study", "froc_mean"):
        one = getattr(result, name)
        if one is not None:
            interval = "no interval" if one.low is None else f"95% CI {one.low:.3f} to {one.high:.3f}"
            print(f"  {name}: {one.value:.3f} ({interval}, n = {one.n})")
    print(said(look))


def _export(bench: _Bench) -> None:
    from readingroom.access.actor import OPERATOR
    from readingroom.learning.labels import export

    o = bench.options
    with bench.database.write() as session:
        cohort = _found(session, o.name, Permission.COHORT_READ)
        lines = export(session, cohort, bench.workshop, OPERATOR, number=o.version, labels=o.labels)
    text = "".join(f"{line}\n" for line in lines)
    if o.out is None:
        sys.stdout.write(text)
        return
    try:
        o.out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"The file cannot be written: {error.strerror}.", "Name another one with --out.") from None
    print(f"{len(lines)} lines")
