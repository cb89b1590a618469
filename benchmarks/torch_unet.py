"""The U-Net of this library in PyTorch, for comparisons: the same layers, as many numbers."""

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Sequential):
    """Two convolutions, each with a group norm and a ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for size in (inputs, outputs):
            layers += [
                nn.Conv2d(size, outputs, 3, padding=1, bias=False),
                nn.GroupNorm(8, outputs),
                nn.ReLU(inplace=True),
            ]
        super().__init__(*layers)


class UNet(nn.Module):
    """``(N, 1, H, W)`` to logits ``(N, 1, H, W)``."""

    def __init__(self, channels: Sequence[int] = (32, 64, 128, 256)) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(itertools.starmap(Block, itertools.pairwise((4, *channels))))
        pairs = list(itertools.pairwise(channels))[::-1]
        self.decoder = nn.ModuleList([Block(low + high, high) for high, low in pairs])
        self.head = nn.Conv2d(channels[0], 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits."""
        features, kept = functional.pixel_unshuffle(images, 2), []
        for level, block in enumerate(self.encoder):
            features = block(functional.avg_pool2d(features, 2) if level else features)
            kept.append(features)
        for block, skip in zip(self.decoder, kept[-2::-1], strict=True):
            enlarged = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([enlarged, skip], dim=1))
        return functional.pixel_shuffle(self.head(features), 2)


def loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """BCE and soft Dice, the mean over the images."""
    entropy = functional.binary_cross_entropy_with_logits(logits, masks)
    likely = torch.sigmoid(logits)
    both = (likely * masks).sum((1, 2, 3))
    dice = (2 * both + 1) / (likely.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    return entropy + (1 - dice).mean()
