"""Finer and coarser grids: ``(N, H, W, C)`` or ``(N, D, H, W, C)``, with a factor for each side."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

Factors = tuple[int, ...]


class Joined(NamedTuple):
    """Coarse and finer features, the input of a decoder block.

    Attributes:
        coarse: ``(N, H/f, W/f, C)``, or of volumes.
        fine: ``(N, H, W, K)``.
        factors: f for each side.
    """

    coarse: jax.Array
    fine: jax.Array
    factors: Factors

    @property
    def whole(self) -> jax.Array:
        """All features on the fine grid, ``(N, H, W, C + K)``."""
        return jnp.concatenate([enlarged(self.coarse, self.factors), self.fine], axis=-1)


def space_to_depth(images: jax.Array, factors: Factors) -> jax.Array:
    """Blocks of pixels folded into channels: ``(N, H, W, C)`` to ``(N, H/b, W/b, C*b*b)``."""
    count = len(factors)
    order = (0, *range(1, 2 * count, 2), *range(2, 2 * count + 1, 2), 2 * count + 1)
    blocks = _blocks(images, factors).transpose(order)
    return blocks.reshape(*blocks.shape[: count + 1], -1)


def depth_to_space(features: jax.Array, factors: Factors) -> jax.Array:
    """The inverse of `space_to_depth`."""
    n, *sides, c = features.shape
    count = len(sides)
    unfolded = features.reshape(n, *sides, *factors, c // math.prod(factors))
    pairs = [axis for side in range(1, count + 1) for axis in (side, side + count)]
    fine = [side * factor for side, factor in zip(sides, factors, strict=True)]
    return unfolded.transpose(0, *pairs, 2 * count + 1).reshape(n, *fine, -1)


def pooled(features: jax.Array, factors: Factors) -> jax.Array:
    """Means over blocks."""
    return _blocks(features, factors).mean(axis=tuple(range(2, 2 * len(factors) + 1, 2)))


def enlarged(features: jax.Array, factors: Factors) -> jax.Array:
    """Every pixel as a block."""
    for axis, factor in enumerate(factors, 1):
        features = features if factor == 1 else features.repeat(factor, axis=axis)
    return features


def interpolated(features: jax.Array, sides: tuple[int, ...]) -> jax.Array:
    """Values of a finer grid, linear between the centers of the pixels."""
    n, *_, c = features.shape
    return jax.image.resize(features, (n, *sides, c), "linear")


def doubled(features: jax.Array) -> jax.Array:
    """What `interpolated` gives for twice the rows and columns, as sums of neighbors."""
    n, rows, columns, c = features.shape
    for axis, shape in ((1, (n, 2 * rows, columns, c)), (2, (n, 2 * rows, 2 * columns, c))):
        first, last = features.take(0, axis=axis), features.take(-1, axis=axis)
        edge = [jnp.expand_dims(one, axis) for one in (first, last)]
        before = jnp.concatenate([edge[0], jax.lax.slice_in_dim(features, 0, -1, axis=axis)], axis)
        after = jnp.concatenate([jax.lax.slice_in_dim(features, 1, None, axis=axis), edge[1]], axis)
        pair = [0.75 * features + 0.25 * neighbor for neighbor in (before, after)]
        features = jnp.stack(pair, axis=axis + 1).reshape(shape)
    return features


def _blocks(images: jax.Array, factors: Factors) -> jax.Array:
    """``(N, H/b, b, W/b, b, C)``."""
    n, *sides, c = images.shape
    split = [
        part
        for side, factor in zip(sides, factors, strict=True)
        for part in (side // factor, factor)
    ]
    return images.reshape(n, *split, c)
