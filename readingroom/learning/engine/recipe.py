"""The recipe: one ``recipe.yaml`` beside a reader says how it is made. Everything the engine does is named there.

Names of code are ``package.module:name``. What they must offer is in ``Contract`` of each field; the arrays they
exchange are described at ``TrainingData``.
"""

import hashlib
import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from readingroom.core.errors import BadInput

Named = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Network(_Part):
    """``factory(**arguments)`` gives a torch module: an image batch in, a tuple of tensors in the order of
    ``outputs`` out.

    ``together(list of modules)`` makes one module of the networks of all folds, the one that is exported.
    """

    factory: Named
    arguments: dict[str, float | int | str | bool] = {}
    together: Named
    input: str = "image"
    outputs: tuple[str, ...] = Field(min_length=1)


class Optimiser(_Part):
    """AdamW with one rise and fall of the rate over all steps (Smith 2018, "super-convergence")."""

    rate: float = Field(gt=0, le=1)
    weight_decay: float = Field(default=1e-3, ge=0)
    warm_up: float = Field(default=0.2, gt=0, lt=1)


class Choice(_Part):
    """Where a searched setting is drawn from: between ``low`` and ``high`` (in their logarithm if ``log``), or
    ``among``."""

    low: float | None = None
    high: float | None = None
    log: bool = False
    among: tuple[float | int, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> "Choice":
        ranged = self.low is not None and self.high is not None and self.low < self.high
        if ranged == bool(self.among) or (self.log and not (self.low or 0) > 0):
            raise ValueError("give low < high (above 0 for log), or a list of values")
        return self


class Search(_Part):
    """Settings that may be searched: ``rate``, ``weight_decay``, or an argument of the network; judged on one fold."""

    space: dict[str, Choice]
    fold: int = Field(default=0, ge=0)
    share_of_epochs: float = Field(default=0.5, gt=0, le=1)


class Recipe(_Part):
    """``examples(data, seed, processes, report) -> TrainingData``; ``augment(arrays, random) -> arrays`` of one
    batch, image float32; ``loss(outputs by name, batch of tensors by name) -> dict of named parts`` whose sum is
    minimised; ``validate(outputs by name, arrays) -> dict of numbers`` on the fold left out, ``select`` being the one
    that is maximised or minimised; ``finish(run) -> log`` does what is left for the reader: calibration, operating
    point, card.

    ``side_axis``: the axis of the image whose flip would turn left into right where labels have a side; null where
    none has. The engine refuses a recipe whose augmentation flips that axis (``augment`` says which it flips in its
    attribute ``flips``).
    """

    reader: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: str
    examples: Named
    network: Network
    augment: Named
    side_axis: int | None
    loss: Named
    validate_by: Named
    select: str
    direction: Literal["maximise", "minimise"] = "maximise"
    finish: Named
    folds: int = Field(ge=2, le=20)
    draws: int = Field(ge=1)
    """Examples drawn in an epoch."""
    epochs: int = Field(ge=1)
    batch: int = Field(ge=1)
    optimiser: Optimiser
    threads: int = Field(default=2, ge=1)
    """Of each network's training."""
    at_once: int = Field(default=1, ge=1)
    """Networks trained at one time, each by a process of its own (on a CPU)."""
    minutes: float = Field(default=60, gt=0)
    """Time budget of a whole training, searched settings apart."""
    opset: int = Field(default=17, ge=13)
    parity: float = Field(default=1e-3, gt=0)
    """Largest difference of any output between torch and onnxruntime that is let pass."""
    search: Search | None = None

    @property
    def steps(self) -> int:
        """Steps of one network."""
        return max(1, self.epochs * self.draws // self.batch)

    @property
    def sha256(self) -> str:
        """A hash of everything that changes the result; time budget, ``at_once`` and the version's name don't."""
        whole = self.model_dump(mode="json", exclude={"version", "minutes", "search", "at_once"})
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()

    @model_validator(mode="after")
    def _searched(self) -> "Recipe":
        known = {"rate", "weight_decay", *self.network.arguments}
        unknown = set(self.search.space) - known if self.search else set()
        if unknown:
            raise ValueError(f"nothing is called {', '.join(sorted(unknown))} that could be searched")
        if self.at_once > 1 and self.threads > 1:
            raise ValueError("networks trained at one time have one thread each: more would wait for each other")
        if self.search and self.search.fold >= self.folds:
            raise ValueError("the fold to search on is not one of the folds")
        return self

    def with_settings(self, settings: dict[str, float | int]) -> "Recipe":
        """Return the recipe with searched settings put in their places."""
        optimiser = {k: v for k, v in settings.items() if k in ("rate", "weight_decay")}
        arguments = {k: v for k, v in settings.items() if k not in optimiser}
        changed = self.model_dump()
        changed["optimiser"] |= optimiser
        changed["network"]["arguments"] |= arguments
        return Recipe.model_validate(changed)


class TableRecipe(_Part):
    """How a reader is made that learns of numbers in a table and has no network (``kind: table``).

    ``examples`` and ``finish`` as for ``Recipe``; ``fit(arrays, seed) -> model`` of the rows it is given, any
    cross-validation within them being its own; ``predict(model, arrays) -> outputs by name``; ``validate(outputs,
    arrays) -> dict of numbers`` on the fold left out.
    """

    kind: Literal["table"]
    reader: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: str
    examples: Named
    fit: Named
    predict: Named
    validate_by: Named
    select: str
    direction: Literal["maximise", "minimise"] = "maximise"
    finish: Named
    folds: int = Field(ge=2, le=20)
    threads: int = Field(default=2, ge=1)
    minutes: float = Field(default=10, gt=0)

    @property
    def sha256(self) -> str:
        """A hash of everything that changes the result; the time budget doesn't."""
        return hashlib.sha256(self.model_dump_json(exclude={"minutes"}).encode()).hexdigest()


def as_recipe(whole: Any) -> Recipe | TableRecipe:
    """Return a recipe of either kind. Raises pydantic's ValidationError."""
    table = isinstance(whole, dict) and whole.get("kind") == "table"
    return (TableRecipe if table else Recipe).model_validate(whole)


def read_recipe(path: Path) -> Recipe | TableRecipe:
    """Read a recipe of either kind. Raises BadInput naming the field that is wrong."""
    try:
        return as_recipe(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"The recipe {path.name} cannot be read: {type(error).__name__}.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise BadInput(f"The recipe {path.name} is wrong: {wrong}.") from None


def resolve(name: str) -> Any:
    """Return what ``package.module:name`` names. Raises BadInput where there is nothing of that name."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            raise BadInput(f"The recipe names {name}, and there is no such module.") from None
        raise
    except AttributeError:
        raise BadInput(f"The recipe names {name}, and that module holds no such name.") from None
