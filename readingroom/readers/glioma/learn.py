"""What the training engine calls for each batch of the network: augmentation, loss, and what a fold is judged by."""

import numpy as np
import torch
from torch.nn import functional

from readingroom.readers.glioma.prepare import LOW, channels

SIZE = (208, 176)
"""Of the slices trained on, pixels: cut out after turning and scaling."""
NO_POST = 0.35
"""How often the post-contrast series is withheld, so that FLAIR alone is read too."""
STRIPPED = 0.2
"""How often everything near the skin is taken away, as in images without skull."""


def augment(arrays: dict[str, np.ndarray], random: np.random.Generator | None) -> dict[str, np.ndarray]:
    """Return a batch as the network takes it. By chance: mirrored, turned, scaled, sheared and bent in the image plane;
    other contrast, shading, noise and sharpness; without post-contrast series; without skull. A tumour's mask has no
    side and the head is symmetric: mirroring changes nothing that a label says. Without ``random``: as it is."""
    flair, post = arrays["image"].astype(np.float32), arrays["post"].astype(np.float32)
    has_post, mask = arrays["has_post"].copy(), arrays["mask"].astype(np.float32)
    if random is not None:
        flair, post = _stripped(flair, post, arrays["depth"], random)
        flair, post, mask = _moved(flair, post, mask, random)
        flair, post = _recoloured(flair, random), _recoloured(post, random)
        has_post *= random.random(len(flair)) >= NO_POST
    image = channels(flair, post)
    image[:, 1] *= has_post[:, None, None]
    return {"image": image, "mask": (mask > 0.5).astype(np.float32)}


augment.flips = (3,)  # type: ignore[attr-defined]


def _stripped(
    flair: np.ndarray, post: np.ndarray, depth: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Now and then without what is less deep in the head than some 8 to 16 mm."""
    flair, post = flair.copy(), post.copy()
    for n in np.flatnonzero(random.random(len(flair)) < STRIPPED):
        outside = depth[n] < random.uniform(8, 16)
        flair[n][outside] = post[n][outside] = LOW
    return flair, post


def _moved(
    flair: np.ndarray, post: np.ndarray, mask: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three through one smooth map of the plane, cut to SIZE."""
    n, height, width = flair.shape
    angle = random.uniform(-0.3, 0.3, (n, 1, 1))
    scale = np.exp(random.uniform(-0.22, 0.22, (n, 1, 1, 1)) + random.uniform(-0.08, 0.08, (2, n, 1, 1)).swapaxes(0, 1))
    shear, shift = random.uniform(-0.1, 0.1, (n, 1, 1)), random.uniform(-12, 12, (2, n, 1, 1))
    mirror = np.where(random.random((n, 1, 1)) < 0.5, -1.0, 1.0)
    # From output pixels to input pixels, both from the middle; then in units of half the input's size for grid_sample.
    out_y, out_x = SIZE
    y, x = np.mgrid[:out_y, :out_x].astype(np.float32) - np.array([(out_y - 1) / 2, (out_x - 1) / 2])[:, None, None]
    v = y * scale[:, 0]
    u = x * mirror * scale[:, 1] + shear * v
    at_x = np.cos(angle) * u - np.sin(angle) * v + shift[0]
    at_y = np.sin(angle) * u + np.cos(angle) * v + shift[1]
    bent = _smooth(random.normal(0, 4.0, (n, 2, 6, 5)))
    grid = np.stack([(at_x + bent[:, 0]) / (width / 2), (at_y + bent[:, 1]) / (height / 2)], axis=-1)
    stack = torch.from_numpy(np.stack([flair - LOW, post - LOW, mask], axis=1))
    moved = functional.grid_sample(stack, torch.from_numpy(grid.astype(np.float32)), align_corners=False).numpy()
    return moved[:, 0] + LOW, moved[:, 1] + LOW, moved[:, 2]


def _smooth(knots: np.ndarray) -> np.ndarray:
    """A smooth field of SIZE through few random knots ``(n, fields, rows, columns)``."""
    field = torch.from_numpy(knots.astype(np.float32))
    return functional.interpolate(field, size=SIZE, mode="bicubic", align_corners=True).numpy()


def _recoloured(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Other contrast, shading (coil sensitivity), noise and sharpness; air stays air."""
    n = len(image)
    air = image <= LOW + 0.05
    level = (image - LOW) / -LOW  # normal brain at 1
    level = level ** np.exp(random.uniform(-0.3, 0.3, n))[:, None, None]
    level = level * np.exp(_smooth(random.normal(0, 0.12, (n, 1, 4, 4)))[:, 0])
    out = (level - 1) * -LOW * np.exp(random.uniform(-0.3, 0.3, n))[:, None, None]
    out = out + random.normal(0, 0.3, n)[:, None, None]
    noise = random.standard_normal(image.shape, np.float32)
    out = out + noise * (random.uniform(0, 0.4, n) ** 2)[:, None, None]
    for k in np.flatnonzero(random.random(n) < 0.25):
        coarse = functional.avg_pool2d(torch.from_numpy(out[k][None, None].astype(np.float32)), 2)
        out[k] = functional.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)[0, 0].numpy()
    return np.where(air, LOW, np.clip(out, LOW, 6.0)).astype(np.float32)


def loss(outputs: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tversky's index over the whole batch (Salehi 2017: what is missed weighs more than what is drawn too much; slices
    without tumour count by what is drawn in them) and cross-entropy."""
    said, mask = outputs["tumour"], batch["mask"]
    chance = torch.sigmoid(said)
    hit, extra, missed = (chance * mask).sum(), (chance * (1 - mask)).sum(), ((1 - chance) * mask).sum()
    overlap = (hit + 1) / (hit + 0.35 * extra + 0.65 * missed + 1)
    each = functional.binary_cross_entropy_with_logits(said, mask)
    return {"overlap": 1 - overlap, "edge": 2 * each}


def validate(outputs: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Return the mean over this fold's patients of the Dice of all their slices together."""
    said, mask, patient = outputs["tumour"] > 0, arrays["mask"] > 0, arrays["patient"]
    found = []
    for one in np.unique(patient):
        a, b = said[patient == one], mask[patient == one]
        found.append(2 * (a & b).sum() / max(1, a.sum() + b.sum()))
    return {"dice": round(float(np.mean(found)), 4), "worst": round(float(np.min(found)), 4)}
