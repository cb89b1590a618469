"""MultiResUNet of Ibtehaz and Rahman (2020, arXiv:1902.04049)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.errors import SpecError
from lungmask_jax.models._blocks import ConvBlock, Norm, Pointwise, Residual, Style
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network, decoder_of, encoder_of
from lungmask_jax.models._plan import Dtype, Plan, levels


def multires_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (48, 96, 192, 384),
    stem: int = 2,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    """A U-Net with several scales in each block, and convolutions in its skips.

    A MultiRes block has three 3x3 convolutions in sequence, with a sixth, a third and half
    of its channels: their receptive fields are 3x3, 5x5 and 7x7 pixels. They are concatenated and
    added to a 1x1 convolution of the input. A skip is a path of residual 3x3 convolutions, the
    longer the finer its level.

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: As in `unet`, at least 6 each.
        stem: As in `unet`.
        norm: As in `unet`.
        dropout: As in `unet`.
        deep_supervision: As in `unet`.
        dtype: As in `unet`.

    Returns:
        A model whose image sides must be multiples of ``stem * 2 ** (len(channels) - 1)``.

    Raises:
        SpecError: An option is out of range.

    References:
        Ibtehaz and Rahman, MultiResUNet, Neural Networks 2020, arXiv:1902.04049.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = multires_unet(channels=(6, 12))
        >>> params, state = model.init(jax.random.key(0))
        >>> jax.jit(model.apply)(params, state, jnp.zeros((1, 32, 32, 1)))[0].shape
        (1, 32, 32, 1)
    """
    plan = Plan(
        in_channels=in_channels,
        num_classes=num_classes,
        channels=levels(channels),
        stem=stem,
        norm=norm,
        dropout=dropout,
        deep_supervision=deep_supervision,
        dtype=dtype,
    )
    if min(plan.channels) < 6:
        raise SpecError(f"expected channels of at least 6, found {plan.channels}")

    def build(rngs: nnx.Rngs) -> Network:
        finer = range(len(plan.poolings))
        return Network(
            plan,
            rngs,
            encoder=encoder_of(plan, _multires, rngs),
            decoder=decoder_of(plan, _multires, rngs),
            skips=[
                ResPath(plan.channels[level], len(finer) - level, plan.styles[level], rngs)
                for level in finer
            ],
        )

    return plan.model(build)


def _multires(inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> nnx.Module:
    """A MultiRes block; remaining channels go to the widest scale."""
    sixth, third = outputs // 6, outputs // 3
    views = SideBySide((inputs, sixth, third, outputs - sixth - third), style, rngs)
    return Residual(views, Pointwise(inputs, outputs, style, rngs))


class SideBySide(nnx.Module):
    """Convolutions in sequence, with their outputs concatenated."""

    def __init__(self, channels: Sequence[int], style: Style, rngs: nnx.Rngs) -> None:
        self.block = ConvBlock(channels, style, rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        return jnp.concatenate(self.block.steps(features), axis=-1)


class ResPath(nnx.Module):
    """A skip of some residual convolutions; it does not use the coarser level."""

    def __init__(self, channels: int, length: int, style: Style, rngs: nnx.Rngs) -> None:
        self.steps = nnx.List(
            [
                Residual(
                    ConvBlock((channels, channels), style, rngs, last_relu=False),
                    Pointwise(channels, channels, style, rngs),
                )
                for _ in range(length)
            ]
        )

    def __call__(self, features: jax.Array, _coarser: jax.Array) -> jax.Array:
        for step in self.steps:
            features = step(features)
        return features
