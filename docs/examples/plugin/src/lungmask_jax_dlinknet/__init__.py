"""D-LinkNet for lungmask_jax: an encoder-decoder that adds its skips, dilated in the middle.

Zhou et al., D-LinkNet: LinkNet with Pretrained Encoder and Dilated Convolution, CVPR Workshops
2018; the decoder is that of LinkNet, Chaurasia and Culurciello, 2017, arXiv:1707.03718.
"""

import itertools
import math
from collections.abc import Sequence

import jax
from flax import nnx

from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model, from_nnx

__all__ = ["dlinknet"]


def dlinknet(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (32, 64, 128, 256),
    dilations: Sequence[int] = (1, 2, 4),
) -> Model:
    """D-LinkNet, small and without pretrained weights.

    Skips are added, not concatenated, and the decoder works on a quarter of the channels. In the
    middle, 3x3 convolutions of growing dilation follow each other; the sum of what each gives looks
    near and far at once, without further pooling.

    Args:
        in_channels: Channels of the images.
        num_classes: Channels of the logits.
        channels: Features of each level, the finest first; each level halves the image.
        dilations: Of the convolutions in the middle.

    Returns:
        A model whose image sides must be multiples of ``2 ** len(channels)``.

    Raises:
        SpecError: There is no level, or a number is below 1.
    """
    if not channels or min(in_channels, num_classes, *channels, *dilations) < 1:
        raise SpecError(
            "expected one level or more and numbers of at least 1, found "
            f"{in_channels=}, {num_classes=}, {channels=}, {dilations=}"
        )
    return from_nnx(
        lambda rngs: DLinkNet(in_channels, num_classes, tuple(channels), tuple(dilations), rngs),
        in_channels=in_channels,
        num_classes=num_classes,
        stride=2 ** len(channels),
    )


class DLinkNet(nnx.Module):
    """The network as a module of flax.nnx."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        channels: tuple[int, ...],
        dilations: tuple[int, ...],
        rngs: nnx.Rngs,
    ) -> None:
        pairs = list(itertools.pairwise((in_channels, *channels)))
        self.down = nnx.List([Normed(i, o, rngs, strides=2) for i, o in pairs])
        self.residual = nnx.List([Normed(o, o, rngs) for o in channels])
        last = channels[-1]
        self.middle = nnx.List([Normed(last, last, rngs, dilation=d) for d in dilations])
        self.up = nnx.List([Up(o, i, rngs) for i, o in reversed(pairs[1:])])
        self.last = Up(channels[0], channels[0], rngs)
        self.head = nnx.Linear(channels[0], num_classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        skips, features = [], images
        for down, residual in zip(self.down, self.residual, strict=True):
            features = down(features)
            features = features + residual(features)
            skips.append(features)
        near = features
        for dilated in self.middle:
            near = dilated(near)
            features = features + near
        for up, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            features = up(features) + skip
        logits: jax.Array = self.head(self.last(features))
        return logits


class Normed(nnx.Module):
    """A 3x3 convolution, a group norm, a ReLU."""

    def __init__(
        self, inputs: int, outputs: int, rngs: nnx.Rngs, *, strides: int = 1, dilation: int = 1
    ) -> None:
        self.convolution = nnx.Conv(
            inputs,
            outputs,
            (3, 3),
            strides=strides,
            kernel_dilation=dilation,
            use_bias=False,
            rngs=rngs,
        )
        self.norm = nnx.GroupNorm(outputs, num_groups=math.gcd(outputs, 8), rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        return nnx.relu(self.norm(self.convolution(features)))


class Up(nnx.Module):
    """Twice the size, by way of a quarter of the channels: the decoder block of LinkNet."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs) -> None:
        narrow = max(inputs // 4, 1)
        self.reduced = nnx.Linear(inputs, narrow, rngs=rngs)
        self.doubled = nnx.ConvTranspose(narrow, narrow, (3, 3), strides=(2, 2), rngs=rngs)
        self.norm = nnx.GroupNorm(narrow, num_groups=math.gcd(narrow, 8), rngs=rngs)
        self.widened = nnx.Linear(narrow, outputs, rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        doubled = self.norm(self.doubled(nnx.relu(self.reduced(features))))
        return nnx.relu(self.widened(nnx.relu(doubled)))
