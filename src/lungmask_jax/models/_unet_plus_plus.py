"""UNet++ of Zhou et al. (2018, arXiv:1807.10165)."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.models._blocks import Norm, double
from lungmask_jax.models._grid import Factors, Joined
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network, encoder_of
from lungmask_jax.models._plan import Dtype, Plan, levels


def unet_plus_plus(
    *,
    in_channels: int = 1,
    num_classes: int = 1,
    channels: Sequence[int] = (32, 64, 128, 256),
    stem: int = 2,
    norm: Norm = "group",
    dropout: float = 0.0,
    deep_supervision: bool = False,
    dtype: Dtype = "float32",
) -> Model:
    r"""A U-Net whose skips are U-Nets themselves: nested and dense.

    With level i and column j, H two convolutions and U a doubling,

    .. math:: X^{i,j} = H([U(X^{i+1,j-1}), X^{i,0}, \dots, X^{i,j-1}])

    for j > 0; :math:`X^{i,0}` is the encoder. The last node of the finest level is the output.

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: As in `unet`.
        stem: As in `unet`.
        norm: As in `unet`.
        dropout: As in `unet`.
        deep_supervision: As in `unet`, but the nodes of the finest level are the outputs, the
            last one first.
        dtype: As in `unet`.

    Returns:
        A model whose image sides must be multiples of ``stem * 2 ** (len(channels) - 1)``.

    Raises:
        SpecError: An option is out of range.

    References:
        Zhou et al., UNet++, DLMIA 2018, arXiv:1807.10165.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = unet_plus_plus(channels=(4, 8, 16))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.zeros((1, 32, 32, 1)))[0].shape
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

    def build(rngs: nnx.Rngs) -> Network:
        encoder = encoder_of(plan, double, rngs)
        nodes = _nodes(plan, rngs)
        finest = plan.channels[:1] * (len(plan.channels) - 2)
        return Network(
            plan, rngs, encoder=encoder, decoder=nodes, decode=_nested, supervised=finest
        )

    return plan.model(build)


def _nodes(plan: Plan, rngs: nnx.Rngs) -> list[nnx.Module]:
    """Column by column, each from the finest level down."""
    channels, depth = plan.channels, len(plan.channels)
    return [
        double(
            channels[level + 1] + column * channels[level],
            channels[level],
            plan.styles[level],
            rngs,
        )
        for column in range(1, depth)
        for level in range(depth - column)
    ]


def _nested(
    blocks: Sequence[Any],
    _skips: Sequence[Any],
    features: list[jax.Array],
    poolings: tuple[Factors, ...],
) -> list[jax.Array]:
    """The finest level from its last node to its first; without columns, the encoder's features."""
    nodes, rows = iter(blocks), [[each] for each in features]
    for column in range(1, len(rows)):
        for level in range(len(rows) - column):
            fine = jnp.concatenate(rows[level], axis=-1)
            below = rows[level + 1][column - 1]
            rows[level].append(next(nodes)(Joined(below, fine, poolings[level])))
    return rows[0][1:][::-1] or features
