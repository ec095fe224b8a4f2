"""Calibration as data: a score in log-odds to a probability by Platt scaling or by isotonic steps.

A calibration is a small JSON object, checked when it is read. ``prior_shift`` moves the log-odds from the share of true
ones among the calibration cases to the share expected where the reader is used (Elkan 2001).
"""

import json
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from readingroom.core.errors import BadInput


class Calibration(BaseModel):
    """``platt``: sigmoid(slope * score + offset + prior_shift). ``isotonic``: linear between knots, then shifted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["platt", "isotonic"]
    slope: float = Field(default=1.0, ge=0)
    offset: float = 0.0
    prior_shift: float = 0.0
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _knots(self) -> "Calibration":
        if self.kind == "isotonic":
            rising = np.all(np.diff(self.scores) > 0) and np.all(np.diff(self.probabilities) >= 0)
            if len(self.scores) < 2 or len(self.scores) != len(self.probabilities) or not rising:
                raise ValueError("isotonic knots must rise and match")
        return self

    def log_odds(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated log-odds of ``scores`` (any shape)."""
        scores = np.asarray(scores, np.float64)
        if self.kind == "platt":
            return self.slope * scores + self.offset + self.prior_shift
        probability = np.clip(np.interp(scores, self.scores, self.probabilities), 1e-4, 1 - 1e-4)
        return np.log(probability / (1 - probability)) + self.prior_shift

    def probability(self, scores: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities of ``scores`` (any shape)."""
        return sigmoid(self.log_odds(scores))


def sigmoid(log_odds: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * np.asarray(log_odds, np.float64)))


def read_calibration(data: bytes) -> Calibration:
    """Read a calibration's JSON. Raises BadInput on anything else."""
    try:
        return Calibration.model_validate(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise BadInput(f"Not a calibration: {type(error).__name__}.") from None


def fit_platt(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> Calibration:
    """Fit Platt scaling by Newton's method on smoothed targets (Platt 1999). ``scores``, ``truth``: ``(n,)``."""
    x = np.asarray(scores, np.float64)
    y = np.asarray(truth, bool)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    positives, negatives = w[y].sum(), w[~y].sum()
    if positives <= 0 or negatives <= 0:
        raise BadInput("Calibration needs cases of both kinds.")
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([x, np.ones_like(x)], axis=1)
    beta = np.array([0.0, np.log(positives / negatives)])
    for _ in range(100):
        p = sigmoid(design @ beta)
        gradient = design.T @ (w * (p - target))
        curvature = (design * (w * p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        beta -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return Calibration(kind="platt", slope=max(0.0, float(beta[0])), offset=float(beta[1]))
