"""What the training engine calls for each batch of the network: augmentation, loss, and what a fold is judged by."""

import numpy as np
import torch
from torch.nn import functional

from readingroom.evaluation.classification import auc
from readingroom.readers.lung_nodule.patches import SIZE, normalised
from readingroom.readers.lung_nodule.ratings import NAMES

MASK_WEIGHT, RATING_WEIGHT = 1.0, 2.0


def augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    """Return a batch as the network takes it. By chance: shifted, mirrored, turned in the image plane, other density
    and noise. A nodule has no side, so that nothing a label says is changed. Without ``random``: the middle, as it is.
    """
    hu, mask = arrays["image"], arrays["mask"]
    spare = hu.shape[1] - SIZE
    image = np.empty((len(hu), 1, SIZE, SIZE, SIZE), np.float32)
    drawn = np.empty((len(hu), SIZE, SIZE, SIZE), np.float32)
    for n in range(len(hu)):
        start = (spare // 2,) * 3 if random is None else tuple(int(v) for v in random.integers(0, spare + 1, 3))
        box = tuple(slice(s, s + SIZE) for s in start)
        one, its = hu[n][box].astype(np.float32), mask[n][box]
        if random is not None:
            flips = tuple(slice(None, None, -1 if random.random() < 0.5 else 1) for _ in range(3))
            one, its = one[flips], its[flips]
            if random.random() < 0.5:
                one, its = one.swapaxes(1, 2), its.swapaxes(1, 2)
            one = -850 + (one + 850) * random.uniform(0.92, 1.08) + random.normal(0, 12)
            one = one + random.normal(0, 1, one.shape).astype(np.float32) * random.uniform(0, 25)
            one = _ended(one, random)
        image[n, 0] = normalised(one)
        drawn[n] = its / np.float32(255)
    return {name: a for name, a in arrays.items() if name != "image"} | {"image": image, "mask": drawn}


def _ended(hu: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Now and then the image ends somewhere in the patch, as it does at the edge of a cube or a crop: whether it does
    must say nothing of what is in the middle."""
    if random.random() > 0.35:
        return hu
    axis, width = int(random.integers(3)), int(random.integers(2, 12))
    hu = hu.copy()
    hu[tuple(slice(0, width) if a == axis else slice(None) for a in range(3))] = random.uniform(-900, -800)
    return hu


augment.flips = (2, 3, 4)  # type: ignore[attr-defined]


def loss(outputs: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Cross-entropy of nodule or not (smoothed by 0.02), Dice and cross-entropy of the mask of nodules, squared error
    of the ratings that were given."""
    truth = batch["nodule"]
    parts = {"nodule": functional.binary_cross_entropy_with_logits(outputs["nodule"], truth * 0.96 + 0.02)}
    yes = truth[:, None, None, None]
    mask, said = batch["mask"], outputs["mask"]
    chance = torch.sigmoid(said)
    count = truth.sum().clamp(min=1)
    overlap = (2 * (chance * mask).sum((1, 2, 3)) + 1) / (chance.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
    parts["dice"] = MASK_WEIGHT * ((1 - overlap) * truth).sum() / count
    each = functional.binary_cross_entropy_with_logits(said, mask, reduction="none")
    parts["edge"] = MASK_WEIGHT * (each * yes).sum() / (count * SIZE**3) * 4
    given = (batch["ratings"] >= 0).float()
    wrong = (outputs["ratings"] - batch["ratings"]) ** 2 * given
    parts["ratings"] = RATING_WEIGHT * wrong.sum() / given.sum().clamp(min=1)
    return parts


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the AUC of nodule or not among this fold's patches, Dice of its nodules' masks, error of its ratings."""
    truth = arrays["nodule"] > 0.5
    spare = (arrays["mask"].shape[1] - SIZE) // 2
    middle = slice(spare, spare + SIZE)
    mask = arrays["mask"][truth][:, middle, middle, middle] >= 128
    said = outputs["mask"][truth] > 0
    overlap = 2 * (mask & said).sum((1, 2, 3)) / np.maximum(mask.sum((1, 2, 3)) + said.sum((1, 2, 3)), 1)
    found = {"auc": round(auc(truth, outputs["nodule"]), 4), "dice": round(float(overlap.mean()), 4)}
    for n, name in enumerate(NAMES):
        given = arrays["ratings"][:, n] >= 0
        if given.any():
            away = np.abs(outputs["ratings"][given, n] - arrays["ratings"][given, n])
            found[f"{name}_error"] = round(4 * float(away.mean()), 4)
    return found
