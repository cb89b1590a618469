"""A U-Net of residual blocks (Zhang et al., 2018, arXiv:1711.10684)."""

from collections.abc import Sequence
from typing import Final

from flax import nnx

from lungmask_jax.models._blocks import Norm, Style, residual
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network, decoder_of, encoder_of
from lungmask_jax.models._plan import Dtype, Plan, levels, whole

_BLOCKS: Final = 100
"""Most blocks of a level: the deepest ResNets have 36."""


def residual_unet(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (32, 64, 128, 256),
    blocks: int = 2,
    stem: int = 2,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    """A U-Net of residual blocks, which can be deeper.

    A block is ``relu(f(x) + x)`` with two convolutions in f, each with its norm, and a 1x1
    convolution of x if the number of channels changes. The decoder has one block per level.

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: As in `unet`.
        blocks: Number of blocks of each level of the encoder, at least 1.
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
        Blocks: He et al., CVPR 2016, arXiv:1512.03385. In a U-Net: Zhang et al., IEEE GRSL 2018,
        arXiv:1711.10684, there with norms and ReLUs before convolutions; a deep encoder beside a
        shallow decoder: Isensee et al., 2024, arXiv:2404.09556.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = residual_unet(channels=(8, 16), blocks=1)
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((1, 32, 32, 1)))[0].shape
        (1, 32, 32, 1)
    """
    whole("blocks", blocks, 1, _BLOCKS)
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

    def level(inputs: int, outputs: int, style: Style, rngs: nnx.Rngs) -> nnx.Module:
        sizes = [inputs, *[outputs] * (blocks - 1)]
        return nnx.Sequential(*(residual(size, outputs, style, rngs) for size in sizes))

    def build(rngs: nnx.Rngs) -> Network:
        encoder = encoder_of(plan, level, rngs)
        return Network(plan, rngs, encoder=encoder, decoder=decoder_of(plan, residual, rngs))

    return plan.model(build)
