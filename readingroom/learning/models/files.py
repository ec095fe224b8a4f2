"""Files of a package that somebody brought: read within limits, never outside its folder, and never run."""

import json
from pathlib import Path
from typing import Any

import yaml

from readingroom.core.errors import BadInput

LARGEST_WORDS = 1 << 20
LARGEST_NETWORK = 1 << 30


class _Plain(yaml.SafeLoader):
    """YAML without anchors: a few lines of them unfold to more than any memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def read_bytes(folder: Path, name: str, largest: int = LARGEST_NETWORK) -> bytes:
    """Return a file's bytes. Raises BadInput where it is missing, too large, or lies outside ``folder``."""
    path = folder / name
    try:
        if not path.resolve(strict=True).is_relative_to(folder.resolve(strict=True)) or not path.is_file():
            raise BadInput(f"{name} lies outside the package.", "Put the file itself there, no link.")
        if path.stat().st_size > largest:
            raise BadInput(f"{name} is larger than {largest >> 20} MiB.")
        return path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{name} is missing in the package.") from None
    except OSError as error:
        raise BadInput(f"{name} cannot be read: {error.strerror}.") from None


def read_words(folder: Path, name: str) -> Any:
    """Return what a JSON or YAML file holds. Raises BadInput."""
    data = read_bytes(folder, name, LARGEST_WORDS)
    try:
        text = data.decode("utf-8")
        # JSON's own reader first: its files may hold tabs, which YAML refuses.
        return json.loads(text) if name.endswith(".json") else yaml.load(text, Loader=_Plain)  # noqa: S506
    except (ValueError, yaml.YAMLError, RecursionError):
        raise BadInput(f"{name} is not {'JSON' if name.endswith('.json') else 'YAML without aliases'}.") from None


def first_of(folder: Path, *names: str) -> str:
    """Return the first of these names that is there; empty where none is."""
    return next((name for name in names if (folder / name).is_file()), "")
