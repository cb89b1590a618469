"""Random numbers and fields, one draw per image."""

import math

import jax


def smooth_field(key: jax.Array, shape: tuple[int, ...], cells: int) -> jax.Array:
    """Smooth noise of unit size with about `cells` bumps along a side, one channel."""
    coarse = normal(key, (shape[0], cells, cells, 1))
    return jax.image.resize(coarse, (*shape[:3], 1), "cubic")


def uniform(key: jax.Array, count: int, *, minval: float = 0.0, maxval: float = 1.0) -> jax.Array:
    """A number for each image, ``(N, 1, 1, 1)``."""
    row = jax.random.uniform(key, (count,), minval=minval, maxval=maxval)
    return row.reshape(count, 1, 1, 1)


def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal numbers, drawn as a vector: the same ones, and faster to compile."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)
