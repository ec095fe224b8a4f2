"""What the training engine calls for each batch: augmentation by MONAI's transforms, its Dice with cross-entropy, and
what a fold is judged by."""

from functools import cache

import numpy as np
import torch
from monai import transforms
from monai.losses import DiceCELoss

from readingroom.evaluation.segmentation import dice
from readingroom.readers.hippocampus.crops import PARTS

PATCH = (32, 48, 32)
"""Trained on so much of a crop at once: most hippocampi fit whole, for a third of the time that whole crops take."""
BOTH = ("image", "labels")


@cache
def _varied() -> transforms.Compose:
    """By chance: turned, scaled, sheared and moved; other contrast, noise, sharpness, coarser voxels, uneven coil.
    Nothing is mirrored: the network knows one handedness only."""
    return transforms.Compose(
        [
            transforms.RandAffined(
                BOTH, spatial_size=PATCH, prob=1.0, rotate_range=(0.25, 0.25, 0.25), scale_range=(0.12, 0.12, 0.12),
                shear_range=(0.06,) * 6, translate_range=(5, 5, 5), mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            transforms.RandBiasFieldd("image", degree=2, coeff_range=(0.0, 0.25), prob=0.25),
            transforms.RandAdjustContrastd("image", prob=0.3, gamma=(0.7, 1.5)),
            transforms.RandGaussianSmoothd("image", (0.3, 0.9), (0.3, 0.9), (0.3, 0.9), prob=0.2),
            transforms.RandSimulateLowResolutiond("image", prob=0.15, zoom_range=(0.5, 1.0)),
            transforms.RandScaleIntensityd("image", factors=0.25, prob=0.5),
            transforms.RandShiftIntensityd("image", offsets=0.25, prob=0.5, safe=False),
            transforms.RandGaussianNoised("image", prob=0.4, std=0.2),
        ]
    )  # fmt: skip


def augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    """Return a batch as the network takes it: ``image`` and ``labels`` ``(n, 1, R, A, S)``. Without ``random``: whole
    crops as they are; else patches of them, varied."""
    if random is None:
        return arrays
    vary = _varied()
    vary.set_random_state(seed=int(random.integers(2**31)))
    made = [vary({name: torch.from_numpy(arrays[name][n]) for name in BOTH}) for n in range(len(arrays["image"]))]
    return {name: np.stack([np.asarray(one[name], arrays[name].dtype) for one in made]) for name in BOTH}


augment.flips = ()  # type: ignore[attr-defined]


@cache
def _overlap() -> DiceCELoss:
    return DiceCELoss(to_onehot_y=True, softmax=True, include_background=True, batch=True)


def loss(outputs: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Dice of the three classes over the batch, and cross-entropy."""
    return {"dice and cross-entropy": _overlap()(outputs["logits"], batch["labels"].float())}


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean Dice of each part, of the whole, and the bias of volumes, of this fold's crops."""
    said, truth = outputs["logits"].argmax(axis=1), arrays["labels"][:, 0]
    found = {
        f"dice_{part}": float(np.mean([dice(t == n, s == n) for t, s in zip(truth, said, strict=True)]))
        for n, part in enumerate(PARTS, 1)
    }
    mean = float(np.mean(list(found.values())))
    whole = float(np.mean([dice(t > 0, s > 0) for t, s in zip(truth, said, strict=True)]))
    more = 100 * float(np.mean([(s > 0).sum() / (t > 0).sum() - 1 for t, s in zip(truth, said, strict=True)]))
    return {
        k: round(v, 4) for k, v in ({"dice_mean": mean} | found | {"dice_whole": whole, "bias_percent": more}).items()
    }
