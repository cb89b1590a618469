"""The skeleton of all built-in networks: an encoder, skips, a decoder, and heads.

A space-to-depth stem works on a quarter (or a sixteenth) of the pixels, and the head puts the
resolution back with depth-to-space.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import nnx

from lungmask_jax.models._blocks import MakeBlock, linear
from lungmask_jax.models._grid import (
    Factors,
    Joined,
    depth_to_space,
    interpolated,
    pooled,
    space_to_depth,
)
from lungmask_jax.models._plan import Plan

Encode: TypeAlias = Callable[[Sequence[Any], jax.Array, tuple[Factors, ...]], list[jax.Array]]
"""``encode(blocks, images, poolings)``: features of each level, the finest first, of images folded
into channels."""

Decode: TypeAlias = Callable[
    [Sequence[Any], Sequence[Any], list[jax.Array], tuple[Factors, ...]], list[jax.Array]
]
"""``decode(blocks, skips, features, poolings)``: of the encoder's features, the finest first, what
the heads see, the one that answers first."""


def down_path(
    blocks: Sequence[Any], images: jax.Array, poolings: tuple[Factors, ...]
) -> list[jax.Array]:
    """The encoder of the U-Net: downwards level by level, with means over blocks between them."""
    found = [blocks[0](images)]
    for block, factors in zip(blocks[1:], poolings, strict=True):
        found.append(block(pooled(found[-1], factors)))
    return found


def up_path(
    blocks: Sequence[Any],
    skips: Sequence[Any],
    features: list[jax.Array],
    poolings: tuple[Factors, ...],
) -> list[jax.Array]:
    """The decoder of the U-Net: upwards level by level, each joined with its skip."""
    found = [features[-1]]
    for block, level in zip(blocks, reversed(range(len(poolings))), strict=True):
        kept = skips[level](features[level], found[0]) if skips else features[level]
        found.insert(0, block(Joined(found[0], kept, poolings[level])))
    return found


class Network(nnx.Module):
    """An encoder, a decoder, and skips between levels of equal resolution.

    Args:
        plan: Its sizes and options.
        rngs: Source of its initial weights.
        encoder: A block for each level, the finest first.
        decoder: Blocks in the order for `decode`.
        skips: For each level but the deepest, ``skip(features, coarser) -> features``; the
            features themselves, if there are none.
        encode: Computes features with the encoder's blocks.
        decode: Computes the input of the heads from these features.
        supervised: Input channels of the further heads.
    """

    def __init__(
        self,
        plan: Plan,
        rngs: nnx.Rngs,
        *,
        encoder: Sequence[nnx.Module],
        decoder: Sequence[nnx.Module],
        skips: Sequence[nnx.Module] = (),
        encode: Encode = down_path,
        decode: Decode = up_path,
        supervised: Sequence[int] = (),
    ) -> None:
        self.encoder = nnx.List(encoder)
        self.decoder = nnx.List(decoder)
        self.skips = nnx.List(skips)
        self.dropout = nnx.Dropout(plan.dropout, rngs=rngs) if plan.dropout else None
        answers = plan.num_classes
        self.head = linear(plan.channels[0], answers * plan.stem**2, rngs)
        further = (supervised or plan.channels[1:-1]) if plan.deep_supervision else ()
        self.further_heads = nnx.List([linear(c, answers, rngs) for c in further])
        self.encode, self.decode = encode, decode
        self.folds, self.poolings, self.dtype = plan.folds, plan.poolings, plan.styles[0].dtype
        self.deterministic = True  # set by train() and eval()

    def __call__(self, images: jax.Array) -> jax.Array:
        folded = space_to_depth(images, self.folds).astype(self.dtype)
        features = self.encode(self.encoder, folded, self.poolings)
        if self.dropout is not None:
            features[-1] = self.dropout(features[-1])
        finest, *others = self.decode(self.decoder, self.skips, features, self.poolings)
        logits = depth_to_space(self.head(finest.astype(jnp.float32)), self.folds)
        if self.deterministic or not self.further_heads:
            return logits
        coarse = [
            head(other.astype(jnp.float32))
            for head, other in zip(self.further_heads, others, strict=False)
        ]
        return jnp.stack([logits, *(interpolated(each, images.shape[1:-1]) for each in coarse)])


def encoder_of(plan: Plan, make: MakeBlock, rngs: nnx.Rngs) -> list[nnx.Module]:
    """A block for each level, the finest first."""
    inputs = (plan.in_channels * plan.stem**2, *plan.channels)
    sizes = zip(inputs, plan.channels, plan.styles, strict=False)
    return [make(i, o, style, rngs) for i, o, style in sizes]


def decoder_of(plan: Plan, make: MakeBlock, rngs: nnx.Rngs) -> list[nnx.Module]:
    """A block for each level but the deepest, the coarsest first."""
    pairs = zip(itertools.pairwise(plan.channels), plan.styles, strict=False)
    return [make(low + high, high, style, rngs) for (high, low), style in reversed(list(pairs))]
