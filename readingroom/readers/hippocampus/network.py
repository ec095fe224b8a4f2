"""The network: MONAI's U-Net of five levels (Falk 2019, Nature Methods 16:67), background, anterior, posterior.

Only training imports this module: it needs PyTorch and MONAI; the reader runs the exported ONNX.
"""

from collections.abc import Sequence

import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn


class HippocampusNet(nn.Module):
    """``(n, 1, 48, 64, 48)`` (or any multiple of 16) -> ``logits`` ``(n, 3, ...)`` and ``features`` ``(n, 96)`` of the
    deepest level, for telling what is unlike the training images."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        features = (width, width, 2 * width, 4 * width, 6 * width, width)
        act = ("LeakyReLU", {"negative_slope": 0.1, "inplace": True})
        self.net = BasicUNet(3, 1, 3, features, act=act, norm=("batch", {"momentum": 0.05}))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        net = self.net
        levels = [net.conv_0(image)]
        for down in (net.down_1, net.down_2, net.down_3, net.down_4):
            levels.append(down(levels[-1]))
        x = levels[4]
        for up, skip in zip((net.upcat_4, net.upcat_3, net.upcat_2, net.upcat_1), levels[3::-1], strict=True):
            x = up(x, skip)
        return net.final_conv(x), levels[4].mean((2, 3, 4))


class Together(nn.Module):
    """The networks of all folds as one: the mean of their logits; features side by side."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        said = [network(image) for network in self.networks]
        return torch.stack([one[0] for one in said]).mean(0), torch.cat([one[1] for one in said], dim=1)
