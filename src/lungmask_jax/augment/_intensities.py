"""Augmentation of intensities: windows, contrast, blur, noise, coarse pixels."""

import math

import jax
import jax.numpy as jnp

from lungmask_jax.augment._draws import normal, uniform


def intensities(key: jax.Array, images: jax.Array, *, strength: float = 1.0) -> jax.Array:
    """Another window, another contrast curve, blur and noise.

    Public slices often have an unknown window; with this augmentation, a network reads both them
    and HU.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        strength: 1 means window edges moved by up to 0.15 and 0.25, gamma 0.67 to 1.5, noise of a
            standard deviation up to 0.05, and blur in one of three images.

    Returns:
        Same shape, in [0, 1].

    Example:
        >>> import jax
        >>> intensities(jax.random.key(0), jax.numpy.ones((2, 8, 8, 1)), strength=0.5).shape
        (2, 8, 8, 1)
    """
    keys = jax.random.split(key, 6)
    low = strength * uniform(keys[0], len(images), minval=-0.1, maxval=0.15)
    high = 1 + strength * uniform(keys[1], len(images), minval=-0.25, maxval=0.15)
    gamma = jnp.exp(strength * uniform(keys[2], len(images), minval=-0.4, maxval=0.4))
    sigma = 0.05 * strength * uniform(keys[3], len(images)) ** 2
    blurred = uniform(keys[4], len(images)) < strength / 3
    images = jnp.where(blurred, _blurred(images), images)
    images = images + sigma * normal(keys[5], images.shape)
    images = jnp.clip((images - low) / (high - low), 1e-6, 1.0)
    return images**gamma


def bone_window(key: jax.Array, images: jax.Array, *, rate: float = 0.15) -> jax.Array:
    """Lungs as black as in slices that were stored in a bone window; the rest hardly changes.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        rate: Share of images that are changed.

    Returns:
        Same shape, in [0, 1]: what was below 0.1 to 0.45 is 0.

    Example:
        >>> import jax
        >>> images = jax.numpy.full((1, 8, 8, 1), 0.05)
        >>> float(bone_window(jax.random.key(0), images, rate=1.0).max())
        0.0
    """
    black, chosen = jax.random.split(key)
    low = uniform(black, len(images), minval=0.1, maxval=0.45)
    cut = jnp.maximum(images - low, 0.0) / (1 - low)
    return jnp.where(uniform(chosen, len(images)) < rate, cut, images)


def low_resolution(key: jax.Array, images: jax.Array, *, rate: float = 0.3) -> jax.Array:
    """Images with coarse pixels, and the noise of such pixels.

    Attenuation scans have pixels of 5 mm, and enlarged noise of coarse pixels looks like blobs:
    networks must not take vessels and blobs for ground glass. The masks do not change.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        rate: Share of images that are changed.

    Returns:
        Same shape, in [0, 1]: a matrix of an eighth to all of the rows and columns, noise of a
        standard deviation up to 0.08, and linear interpolation back.

    Example:
        >>> import jax
        >>> images = jax.numpy.full((1, 16, 16, 1), 0.5)
        >>> bool((low_resolution(jax.random.key(0), images, rate=0.0) == images).all())
        True
    """
    keys = jax.random.split(key, 4)
    fraction = jnp.exp(uniform(keys[0], len(images), minval=math.log(0.125), maxval=0.0))
    noise = 0.08 * uniform(keys[1], len(images)) * normal(keys[2], images.shape)
    matrices = jax.vmap(_coarse_matrices, in_axes=(0, None))
    down, up = matrices(fraction.reshape(-1), images.shape[1])
    down_columns, up_columns = matrices(fraction.reshape(-1), images.shape[2])
    matrix = jnp.einsum("nih,nhwc,njw->nijc", down, images, down_columns) + noise
    blurred = jnp.einsum("nhi,nijc,nwj->nhwc", up, matrix, up_columns)
    chosen = uniform(keys[3], len(images)) < rate
    return jnp.where(chosen, jnp.clip(blurred, 0.0, 1.0), images)


def _coarse_matrices(fraction: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Matrices from `size` pixels to a fraction of them, by means over triangles, and back.

    Rows of the first past that many are of no pixel; the second does not ask for them.
    """
    count = jnp.maximum(1.0, jnp.round(fraction * size))
    step = size / count
    places = jnp.arange(size, dtype=jnp.float32)
    centers = (places + 0.5) * step - 0.5
    down = jnp.maximum(0.0, 1 - abs(centers[:, None] - places[None]) / step)
    down = down / jnp.maximum(down.sum(axis=1, keepdims=True), 1e-6)
    wanted = jnp.clip((places + 0.5) / step - 0.5, 0.0, count - 1)
    return down, jnp.maximum(0.0, 1 - abs(wanted[:, None] - places[None]))


def _blurred(images: jax.Array) -> jax.Array:
    """A 1-2-1 binomial filter, twice, along rows and columns."""
    for axis in (1, 2, 1, 2):
        images = 0.5 * images + 0.25 * (jnp.roll(images, 1, axis) + jnp.roll(images, -1, axis))
    return images
