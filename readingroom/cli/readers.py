"""``readingroom readers``: which readers are installed, what each card says, and why one can't be used."""

import argparse
import json
import textwrap
from typing import Any

from readingroom.readers.registry import LoadedReader, load_readers


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("readers", help="list the installed readers and their cards")
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of text")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0, also where a reader can't be used: the list says so."""
    loaded = load_readers()
    if args.json:
        print(json.dumps([_as_data(one) for one in loaded], ensure_ascii=False, indent=1))
        return 0
    if not loaded:
        print("No readers are installed.")
    for one in loaded:
        print(_as_text(one))
    return 0


def _as_data(loaded: LoadedReader) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": loaded.name,
        "version": loaded.version,
        "package": loaded.distribution,
        "usable": loaded.reader is not None,
        "error": loaded.error,
    }
    if loaded.reader is not None:
        data["card"] = loaded.reader.card.model_dump(mode="json")
        data["weights_sha256"] = loaded.reader.weights_sha256
        data["configuration_sha256"] = loaded.reader.configuration_sha256
    return data


def _as_text(loaded: LoadedReader) -> str:
    head = f"{loaded.name} {loaded.version}".strip()
    if loaded.reader is None:
        return f"{head}: cannot be used. {loaded.error}\n"
    card = loaded.reader.card
    lines = [
        f"{head}: {card.title}  (evidence level {card.evidence_level}; research use only)",
        f"takes: {card.takes}",
        f"evidence: {card.evidence}",
        f"weights: {card.weights_licence}",
        *(f"limit: {limit}" for limit in card.limits),
    ]
    return "\n".join(textwrap.fill(line, 110, initial_indent="  " if n else "", subsequent_indent="    ")
                     for n, line in enumerate(lines)) + "\n"  # fmt: skip
