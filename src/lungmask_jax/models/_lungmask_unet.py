"""The U-Net of lungmask (Hofmanninger et al., 2020)."""

import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.models._blocks import lecun_normal, linear
from lungmask_jax.models._grid import doubled, pooled
from lungmask_jax.models._model import Model, from_nnx
from lungmask_jax.models._plan import levels, whole
from lungmask_jax.models._winograd import convolved


def lungmask_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 3,
    channels: Sequence[int] = (64, 128, 256, 512, 1024),
) -> Model:
    """The U-Net of lungmask, layer by layer, for its published weights.

    Its parts have the names of the original, so `lungmask_jax.weights.converted` finds their
    tensors. Logits are those before its softmax.

    Args:
        in_channels: Channels of the images.
        num_classes: 3 for R231 and R231CovidWeb, 6 for LTRCLobes.
        channels: Feature channels of each level; those of the original are the default.

    Returns:
        A model whose image sides must be multiples of ``2 ** (len(channels) - 1)``.

    Raises:
        SpecError: An option is out of range.

    References:
        Hofmanninger et al., European Radiology Experimental 2020, doi:10.1186/s41747-020-00173-2.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = lungmask_unet(channels=(4, 8))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((1, 32, 32, 1)))[0].shape
        (1, 32, 32, 3)
    """
    sizes = levels(channels)
    whole("in_channels", in_channels, 1, 65_536)
    whole("num_classes", num_classes, 1, 65_536)
    return from_nnx(
        lambda rngs: _UNet(in_channels, num_classes, sizes, rngs),
        in_channels=in_channels,
        num_classes=num_classes,
        stride=2 ** (len(sizes) - 1),
    )


class _Block(nnx.Module):
    """Two times: a 3x3 convolution, a ReLU, a batch norm."""

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs) -> None:
        def convolution(inputs: int) -> nnx.Module:
            return nnx.Conv(
                inputs,
                outputs,
                (3, 3),
                kernel_init=lecun_normal,
                conv_general_dilated=convolved,
                rngs=rngs,
            )

        def norm() -> nnx.Module:
            return nnx.BatchNorm(outputs, momentum=0.9, epsilon=1e-5, rngs=rngs)

        layers = {"0": convolution(inputs), "2": norm(), "3": convolution(outputs), "5": norm()}
        self.block = nnx.Dict(layers)

    def __call__(self, features: jax.Array) -> jax.Array:
        for convolution, norm in (("0", "2"), ("3", "5")):
            features = self.block[norm](jax.nn.relu(self.block[convolution](features)))
        return features


class _Up(nnx.Module):
    """Coarse features enlarged, joined with finer ones, and a block.

    The 1x1 convolution comes before the interpolation, not after it: both are linear, and this is a
    quarter of the work.
    """

    def __init__(self, inputs: int, outputs: int, rngs: nnx.Rngs) -> None:
        self.up = nnx.Dict({"1": linear(inputs, outputs, rngs)})
        self.conv_block = _Block(inputs, outputs, rngs)

    def __call__(self, coarse: jax.Array, fine: jax.Array) -> jax.Array:
        enlarged = doubled(self.up["1"](coarse))
        return self.conv_block(jnp.concatenate([enlarged, fine], axis=-1))


class _UNet(nnx.Module):
    def __init__(
        self, inputs: int, classes: int, channels: tuple[int, ...], rngs: nnx.Rngs
    ) -> None:
        pairs = itertools.pairwise((inputs, *channels))
        self.down_path = nnx.List([_Block(i, o, rngs) for i, o in pairs])
        ups = itertools.pairwise(channels[::-1])
        self.up_path = nnx.List([_Up(i, o, rngs) for i, o in ups])
        self.last = linear(channels[0], classes, rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        features = [self.down_path[0](images)]
        for block in self.down_path[1:]:
            features.append(block(pooled(features[-1], (2, 2))))
        found = features.pop()
        for up in self.up_path:
            found = up(found, features.pop())
        return self.last(found)
