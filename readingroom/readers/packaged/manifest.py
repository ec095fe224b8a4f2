"""The manifest of a reader without code: what its network takes, and what its output means.

All axes (``spacing_mm``, ``size``) are in the order of ``axes``, three letters that say where in the patient each array
axis grows to: ``SPL`` is slices to the head, rows to the back, columns to the left; MONAI's ``RAS`` is right, anterior,
superior.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from readingroom.findings import codes
from readingroom.findings.model import Code

LARGEST_SIZE = 512
LETTERS = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "I": (2, -1), "S": (2, 1)}
"""Letter -> axis in LPS and sign."""

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Takes(_Model):
    """What the network takes: one channel of one volume."""

    modality: Literal["CT", "MR"]
    region: str = Field(default="", max_length=32)
    """``chest``, ``head``, ``abdomen``, ``pelvis``, ``limb``; empty: any."""
    axes: str = "SPL"
    spacing_mm: Spacing | None = None
    """None: as the series has it."""
    size: Size
    """Of one patch, voxels; a classifier gets the whole volume at this size."""
    window: tuple[float, float] | None = None
    """Values (HU for CT) that become 0 and 1; beyond them is cut. None: zero mean and unit variance."""
    overlap: float = Field(default=0.25, ge=0, le=0.75)
    """Of neighbouring patches, part of their size."""

    @field_validator("axes")
    @classmethod
    def _three_axes(cls, axes: str) -> str:
        if len(axes) != 3 or not set(axes) <= set(LETTERS) or len({LETTERS[letter][0] for letter in axes}) != 3:
            raise ValueError("three letters, one of each pair R/L, A/P, S/I")
        return axes

    @field_validator("spacing_mm")
    @classmethod
    def _spacing(cls, spacing: Spacing | None) -> Spacing | None:
        if spacing is not None and not all(0.1 <= one <= 20 for one in spacing):
            raise ValueError("each between 0.1 and 20 mm")
        return spacing

    @field_validator("size")
    @classmethod
    def _size(cls, size: Size) -> Size:
        if not all(1 <= one <= LARGEST_SIZE for one in size):
            raise ValueError(f"each between 1 and {LARGEST_SIZE}")
        return size

    @field_validator("window")
    @classmethod
    def _window(cls, window: tuple[float, float] | None) -> tuple[float, float] | None:
        if window is not None and not window[0] < window[1]:
            raise ValueError("the lower value comes first")
        return window


class Class(_Model):
    """One channel of the output, and the finding that it stands for."""

    channel: int = Field(default=0, ge=0, le=255)
    code: Code
    threshold: float = Field(default=0.5, ge=0, lt=1)
    """Score at or above which it counts. With ``softmax`` only where it is the largest channel too."""
    smallest_ml: float = Field(default=0.0, ge=0)
    """Segments below this are dropped."""

    @field_validator("code", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        """Read the short name of a code in our table (``nodule``) as that code."""
        if not isinstance(value, str):
            return value
        try:
            return codes.code(value)
        except KeyError:
            raise ValueError("no code of this name is known; give value, scheme and meaning") from None


class Gives(_Model):
    """What the output means. ``segmentation``: each channel is one segment. ``detection``: each connected part of a
    channel's segment is a finding. ``classification``: a number a channel, about the study."""

    kind: Literal["segmentation", "detection", "classification"]
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What turns the output into scores from 0 to 1."""
    classes: tuple[Class, ...] = Field(min_length=1, max_length=128)


class Manifest(_Model):
    """A whole reader without code."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,19}$")
    title: str = Field(min_length=1, max_length=200)
    question: str = Field(min_length=1, max_length=500)
    input: Takes
    output: Gives
    licence: str = Field(default="not stated", max_length=500)
    data: tuple[str, ...] = ()
    """What it was trained on, as its makers say."""
    notes: tuple[str, ...] = ()
    """What a reader of the card must know besides."""

    @model_validator(mode="before")
    @classmethod
    def _one_class(cls, values: Any) -> Any:
        """Read ``code`` and ``threshold`` beside ``kind`` as the only class."""
        output = values.get("output") if isinstance(values, dict) else None
        if isinstance(output, dict) and "code" in output and "classes" not in output:
            names = [name for name in Class.model_fields if name in output]
            rest = {name: one for name, one in output.items() if name not in names}
            return {**values, "output": {**rest, "classes": [{name: output[name] for name in names}]}}
        return values

    @model_validator(mode="after")
    def _threshold_where_nothing_else_decides(self) -> Self:
        if self.output.activation != "softmax" and not all(one.threshold for one in self.output.classes):
            raise ValueError("a threshold above 0 is needed, but with softmax")
        return self

    @model_validator(mode="after")
    def _classes_differ(self) -> Self:
        channels = [one.channel for one in self.output.classes]
        if len(set(channels)) != len(channels):
            raise ValueError("two classes name the same channel")
        return self
