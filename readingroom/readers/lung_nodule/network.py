"""The second look: one small 3D network that says nodule or not, where its edge is, and how readers would rate it.

An encoder of four levels with residual blocks and a decoder that adds what the encoder saw at each level (a U-Net with
sums, after Ronneberger 2015 and He 2016). ``where`` is a class activation map (Zhou 2016): the share of each place in
the log-odds of "nodule". Only training imports this module: it needs PyTorch; the reader runs the exported ONNX.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from readingroom.readers.lung_nodule.detect import OUTPUTS
from readingroom.readers.lung_nodule.ratings import NAMES


class _Block(nn.Module):
    """Two convolutions and what came in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv3d(width, width, 3, padding=1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm3d(width), nn.BatchNorm3d(width)])

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.norms[0](self.first(x)))
        return functional.relu(x + self.norms[1](self.second(y)))


def _step(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv3d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.ReLU())


def _grown(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


class NoduleNet(nn.Module):
    """``(n, 1, 32, 32, 32)`` -> ``detect.OUTPUTS``, in their order."""

    def __init__(self, width: int = 8, dropout: float = 0.3) -> None:
        super().__init__()
        sizes = [width, 2 * width, 4 * width, 8 * width]
        self.enter = _step(1, sizes[0], 1)
        self.down = nn.ModuleList([_step(a, b, 2) for a, b in pairwise(sizes)])
        self.blocks = nn.ModuleList([_Block(s) for s in sizes[1:]])
        self.up = nn.ModuleList([nn.Conv3d(b, a, 1) for a, b in pairwise(sizes)])
        self.merge = nn.ModuleList([_step(a, a, 1) for a in sizes[:3]])
        self.edge = nn.Conv3d(sizes[0], 1, 1)
        # Few voxels are a nodule's: begun at that share, the edge does not drown the other tasks at first.
        nn.init.constant_(self.edge.bias, -3.0)  # type: ignore[arg-type]
        self.drop = nn.Dropout(dropout)
        self.nodule = nn.Linear(sizes[2] + sizes[3], 1)
        self.rate = nn.Linear(sizes[2] + sizes[3], len(NAMES))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        levels = [self.enter(image)]
        for down, block in zip(self.down, self.blocks, strict=True):
            levels.append(block(down(levels[-1])))
        # The middle half of the patch is where the candidate is; the rest only gives the surroundings.
        fine, coarse = levels[2], levels[3]
        features = torch.cat([fine[:, :, 2:6, 2:6, 2:6].mean((2, 3, 4)), coarse.mean((2, 3, 4))], dim=1)
        kept = self.drop(features)
        nodule, ratings = self.nodule(kept)[:, 0], torch.sigmoid(self.rate(kept))
        x = levels[3]
        for n in (2, 1, 0):
            x = self.merge[n](levels[n] + _grown(self.up[n](x)))
        return nodule, self.edge(x)[:, 0], ratings, features, self._where(fine, coarse)

    def _where(self, fine: Tensor, coarse: Tensor) -> Tensor:
        weight = self.nodule.weight[0]
        share = torch.einsum("ncxyz,c->nxyz", fine, weight[: fine.shape[1]])
        wide = torch.einsum("ncxyz,c->nxyz", coarse, weight[fine.shape[1] :])
        whole = _grown(_grown(share[:, None] + _grown(wide[:, None])))
        return functional.relu(whole[:, 0])


class Together(nn.Module):
    """The networks of all folds as one: the mean of each of their outputs; features side by side."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        said = [network(image) for network in self.networks]
        mean = [torch.stack([one[n] for one in said]).mean(0) for n in range(len(OUTPUTS))]
        mean[OUTPUTS.index("features")] = torch.cat([one[OUTPUTS.index("features")] for one in said], dim=1)
        return tuple(mean)
