"""What a training run leaves in its folder, read with suspicion: bounded, no links, plain files, finite numbers.

The folder is the operator's, but a run may be cut off anywhere, copied from elsewhere or put there by somebody else:
nothing in it may hang a page, fill its memory or show a path of this machine.
"""

import json
import os
import re
import stat
from datetime import datetime
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_FACTS_BYTES = 1 << 20
MAX_LOG_BYTES = 8 << 20
"""Of a longer log the end is read."""
MAX_WORDS = 300

_PATH = re.compile(r"(?<![\w.:/])(?:[A-Za-z]:\\|~?/)[^\s'\"]*[/\\][^\s'\"]*")


class Unreadable(Exception):
    """A file that cannot be used; its text is the reason, for people."""


def words(text: str) -> str:
    """Return ``text`` on one line, cut, without control characters and paths."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return _PATH.sub("…", " ".join(plain.split()))[:MAX_WORDS]


Words = Annotated[str, AfterValidator(words)]
Name = Annotated[str, Field(max_length=64), AfterValidator(words)]
Number = Annotated[float, Field(ge=-1e30, le=1e30)]
"""What no sum or product here takes out of range."""
Count = Annotated[int, Field(ge=0, lt=2**53)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Numbers = Annotated[dict[Name, Number], Field(max_length=32)]
Settings = Annotated[dict[Name, bool | Count | Number | Name], Field(max_length=32)]


class _Read(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class NetworkFacts(_Read):
    factory: Words = ""
    arguments: Settings = {}


class RecipeFacts(_Read):
    """Of the recipe what the page shows; the whole is known by its hash. A table's has no network and one step."""

    kind: Literal["network", "table"] = "network"
    folds: int = Field(ge=1, le=100)
    draws: Count = 1
    epochs: Count = 1
    batch: int = Field(default=1, ge=1)
    minutes: float = Field(gt=0, le=1e6)
    parity: Number | None = None
    select: Name
    direction: Literal["maximise", "minimise"]
    optimiser: Settings = {}
    network: NetworkFacts = NetworkFacts()

    @model_validator(mode="after")
    def _whole(self) -> "RecipeFacts":
        needed = {"draws", "epochs", "batch", "parity", "optimiser", "network"}
        if self.kind == "network" and not needed <= self.model_fields_set:
            raise ValueError("a network's recipe says how it was trained")
        return self

    @property
    def steps(self) -> int:
        """Steps of one network, as the engine counts them."""
        return max(1, self.epochs * self.draws // self.batch)


class RunFile(_Read):
    """``run.json``, as ``learning.engine.run`` writes it."""

    reader: Name
    reader_version: Name
    recipe: RecipeFacts
    recipe_sha256: Hash
    data: Annotated[str, AfterValidator(lambda text: words(PurePath(text).name))]
    data_sha256: Hash
    examples: Count
    groups: Count
    seed: Count
    threads: Count
    device: Name
    machine: Words
    versions: Annotated[dict[Name, Name], Field(max_length=32)]
    commit: str = Field(pattern=r"^([0-9a-f]{7,64}\+?)?$")
    started_at: datetime
    ended_at: datetime | None = None
    state: Literal["training", "done", "stopped"]
    reason: Words = ""
    """Why it stopped."""
    seconds: Number | None = None
    onnx_largest_difference: Number | None = None
    onnx_compared_on: Count | None = None


class LogLine(_Read):
    """A line of ``log.jsonl``: a step with its loss, or how the network of a fold did on that fold."""

    fold: int = Field(ge=0, lt=100)
    seconds: float = Field(ge=0, le=1e9)
    step: Count | None = None
    of: Count | None = None
    loss: Number | None = None
    parts: Numbers = {}
    validation: Numbers | None = None
    n: Count | None = None


class Trial(_Read):
    """A line of ``search/trials.jsonl``."""

    trial: Count
    settings: Settings
    epochs: Count
    state: Literal["done", "failed"]
    validation: Numbers | None = None
    score: Number | None = None
    reason: Words = ""
    seconds: float = Field(ge=0, le=1e9)


M = TypeVar("M", bound=_Read)


def read_bytes(path: Path, most: int, end: bool = False) -> bytes:
    """Return a plain file's bytes; with ``end`` the last ``most`` of a longer one.

    Raises FileNotFoundError, and Unreadable for a link, what is no file (a pipe would never end) or is too long.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError:
        raise Unreadable(f"{path.name} is a link or cannot be opened.") from None
    with os.fdopen(handle, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Unreadable(f"{path.name} is not a file.")
        if about.st_size > most:
            if not end:
                raise Unreadable(f"{path.name} is longer than {most >> 10} KiB.")
            file.seek(about.st_size - most)
        return file.read(most)


def read_run(folder: Path) -> RunFile:
    """Read ``run.json``. Raises FileNotFoundError, Unreadable."""
    data = read_bytes(folder / "run.json", MAX_FACTS_BYTES)
    try:
        return RunFile.model_validate(_loads(data))
    except ValidationError as error:
        wrong = sorted({str(e["loc"][0]) for e in error.errors() if e["loc"]} & set(RunFile.model_fields))
        raise Unreadable(f"run.json is wrong: {', '.join(wrong) or 'no facts of a run'}.") from None
    except (ValueError, RecursionError):
        raise Unreadable("run.json is not JSON.") from None


def read_lines(path: Path, model: type[M], most: int = MAX_LOG_BYTES) -> tuple[list[M], int]:
    """Return the lines that are ``model``, and how many are not. A last line that is still written is neither.

    A file that is not there has none. Raises Unreadable.
    """
    try:
        data = read_bytes(path, most, end=True)
    except FileNotFoundError:
        return [], 0
    whole, _, _ = data.rpartition(b"\n")
    texts = whole.split(b"\n") if whole else []
    if len(data) == most:
        texts = texts[1:]  # it began in the middle
    found, wrong = [], 0
    for text in texts:
        try:
            found.append(model.model_validate(_loads(text)))
        except (ValueError, RecursionError):
            wrong += 1
    return found, wrong


def _loads(data: bytes) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    return json.loads(data, parse_constant=refuse)
