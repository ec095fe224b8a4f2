"""What the training engine calls for each batch: augmentation of features, loss, and what a fold is judged by."""

import numpy as np
import torch
from torch.nn import functional

from readingroom.evaluation.classification import auc
from readingroom.readers.head_ct_triage.scores import scan_scores

TYPE_WEIGHT, FRACTURE_WEIGHT, CELL_WEIGHT = 0.3, 0.5, 1.0
SMOOTHED = 0.02


def augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    """Return a batch as the network takes it. Views were made before the trunk (``examples``), with all that is changed
    by chance: here nothing is."""
    return {name: arrays[name].astype(np.float32) for name in ("features", "truth", "known", "where") if name in arrays}


def loss(outputs: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Cross-entropy of bleeding, of its types and of fracture, each where it is known, and of the cells of the map of
    bleeding where it is known which hold blood."""
    truth, known, said = batch["truth"], batch["known"], outputs["scores"]
    each = functional.binary_cross_entropy_with_logits(
        said, truth * (1 - 2 * SMOOTHED) + SMOOTHED, reduction="none"
    ) * known  # fmt: skip
    mean = each.sum(0) / known.sum(0).clamp(min=1)
    where = batch["where"]
    told = (where >= 0).float()
    target = where.clamp(min=0)
    cells = functional.binary_cross_entropy_with_logits(outputs["maps"][:, 0], target, reduction="none")
    cells = (cells * told * (1 + 4 * target)).sum() / told.sum().clamp(min=1)
    return {
        "bleed": mean[0], "types": TYPE_WEIGHT * mean[1:-1].sum(), "fracture": FRACTURE_WEIGHT * mean[-1],
        "cells": CELL_WEIGHT * cells * 4,
    }  # fmt: skip


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Return AUCs on the plain views of this fold: slices that bleed, scans that bleed, slices with a fracture."""
    plain = arrays["plain"].astype(bool)
    brain, bone = plain & (arrays["known"][:, 0] > 0), plain & (arrays["known"][:, -1] > 0)
    truth, said, patient = arrays["truth"][brain, 0] > 0.5, outputs["scores"][brain], arrays["patient"][brain]
    names, scans = scan_scores(said, patient)
    whole = np.array([truth[patient == one].any() for one in names])
    asked = {
        "auc_slice": (truth, said[:, 0]),
        "auc_scan": (whole, scans[:, 0]),
        "auc_fracture": (arrays["truth"][bone, -1] > 0.5, outputs["scores"][bone, -1]),
    }
    return {name: round(auc(*pair), 4) for name, pair in asked.items() if len(set(pair[0].tolist())) == 2}
