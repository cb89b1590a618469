"""The attention U-Net of Oktay et al. (2018, arXiv:1804.03999)."""

import itertools
import math
from collections.abc import Sequence

import jax
from flax import nnx

from lungmask_jax.models._blocks import Norm, Style, double, linear
from lungmask_jax.models._grid import Factors, interpolated, space_to_depth
from lungmask_jax.models._model import Model
from lungmask_jax.models._network import Network, decoder_of, encoder_of
from lungmask_jax.models._plan import Dtype, Plan, levels


def attention_unet(
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
    r"""A U-Net whose skips are suppressed where the coarser level finds nothing relevant.

    With x of a skip and g from the decoder one level coarser, the skip becomes :math:`\alpha x`,

    .. math:: \alpha = \sigma(\psi^T \mathrm{relu}(W_x x + W_g g + b_g) + b_\psi)

    on the coarse grid, interpolated to the fine one; :math:`W_x` has 2x2 kernels and a stride of 2.

    Args:
        in_channels: As in `unet`.
        num_classes: As in `unet`.
        channels: As in `unet`.
        stem: As in `unet`.
        norm: As in `unet`; the gates have none.
        dropout: As in `unet`.
        deep_supervision: As in `unet`.
        dtype: As in `unet`.

    Returns:
        A model whose image sides must be multiples of ``stem * 2 ** (len(channels) - 1)``.

    Raises:
        SpecError: An option is out of range.

    References:
        Oktay et al., Attention U-Net, MIDL 2018, arXiv:1804.03999.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = attention_unet(channels=(8, 16))
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
        pairs = itertools.pairwise(plan.channels)
        return Network(
            plan,
            rngs,
            encoder=encoder_of(plan, double, rngs),
            decoder=decoder_of(plan, double, rngs),
            skips=[
                Gate(high, low, factors, style, rngs)
                for (high, low), factors, style in zip(
                    pairs, plan.poolings, plan.styles, strict=False
                )
            ],
        )

    return plan.model(build)


class Gate(nnx.Module):
    """Additive attention of a skip; strided convolutions are matrix products of folded blocks."""

    def __init__(
        self, inputs: int, coarser: int, factors: Factors, style: Style, rngs: nnx.Rngs
    ) -> None:
        folded, inner, dtype = inputs * math.prod(factors), max(inputs // 2, 1), style.dtype
        self.skip = linear(folded, inner, rngs, use_bias=False, dtype=dtype)
        self.coarser = linear(coarser, inner, rngs, dtype=dtype)
        self.answer = linear(inner, 1, rngs, dtype=dtype)
        self.factors = factors

    def __call__(self, features: jax.Array, coarser: jax.Array) -> jax.Array:
        return features * interpolated(self.weights(features, coarser), features.shape[1:-1])

    def weights(self, features: jax.Array, coarser: jax.Array) -> jax.Array:
        """The share of each coarse pixel that is kept, ``(N, H/2, W/2, 1)`` in [0, 1]."""
        both = self.skip(space_to_depth(features, self.factors)) + self.coarser(coarser)
        return jax.nn.sigmoid(self.answer(jax.nn.relu(both)))
