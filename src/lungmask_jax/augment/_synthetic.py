"""Synthetic disease inside the lungs, and synthetic gas outside."""

import jax
import jax.numpy as jnp

from lungmask_jax.augment._draws import smooth_field, uniform


def opacities(
    key: jax.Array, images: jax.Array, lungs: jax.Array, *, rate: float = 0.5
) -> jax.Array:
    """Synthetic disease: smooth patches of lung that become as dense as ground glass or muscle.

    Lung models learn from it that dense lung is lung. The lung mask does not change.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        lungs: ``(N, H, W, K)`` in [0, 1]; K is C or 1.
        rate: Share of images that are changed.

    Returns:
        Images of the same shape.

    Example:
        >>> import jax
        >>> images = jax.numpy.full((1, 16, 16, 1), 0.3)
        >>> bool((opacities(jax.random.key(0), images, 0 * images) == images).all())
        True
    """
    keys = jax.random.split(key, 5)
    amount = _patches(keys, images, lungs, fine=0.4, cells=24)
    grey = uniform(keys[3], len(images), minval=0.45, maxval=1.0)
    texture = grey * (1 + 0.08 * smooth_field(keys[1], images.shape, 48))
    chosen = uniform(keys[4], len(images)) < rate
    dense = images + amount * jnp.maximum(texture - images, 0.0)
    return jnp.where(chosen, jnp.clip(dense, 0.0, 1.0), images)


def emphysema(
    key: jax.Array, images: jax.Array, lungs: jax.Array, *, rate: float = 0.15
) -> jax.Array:
    """Synthetic emphysema: smooth patches of lung, small or large, as dark as air.

    Lung models learn from it that air inside the lung is lung. The lung mask does not change.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        lungs: ``(N, H, W, K)`` in [0, 1]; K is C or 1.
        rate: Share of images that are changed.

    Returns:
        Images of the same shape.

    Example:
        >>> import jax
        >>> images = jax.numpy.full((1, 16, 16, 1), 0.2)
        >>> bool((emphysema(jax.random.key(0), images, 0 * images) == images).all())
        True
    """
    keys = jax.random.split(key, 5)
    amount = _patches(keys, images, lungs, fine=0.8, cells=20)
    level = uniform(keys[3], len(images), minval=0.0, maxval=0.1)
    chosen = uniform(keys[4], len(images)) < rate
    return jnp.where(chosen, images + amount * jnp.minimum(level - images, 0.0), images)


def _patches(
    keys: jax.Array, images: jax.Array, lungs: jax.Array, *, fine: float, cells: int
) -> jax.Array:
    """The diseased share of each pixel, in [0, 1]: patches of lung, large and fine."""
    field = smooth_field(keys[0], images.shape, 6)
    field += fine * smooth_field(keys[1], images.shape, cells)
    threshold = uniform(keys[2], len(images), minval=-0.5, maxval=1.5)
    return jnp.clip(4 * (field - threshold), 0.0, 1.0) * lungs


def gas(key: jax.Array, images: jax.Array, lungs: jax.Array, *, rate: float = 0.5) -> jax.Array:
    """Synthetic gas outside the lungs: smooth blobs, even as in a stomach or mottled as in stool.

    Lung models learn from it that not everything dark is lung. As in patients, a wall lies between
    gas and lung, without a dark connection. An image whose lungs are as dark, as in a bone window,
    does not change, because gas and lung cannot be distinguished there.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        lungs: ``(N, H, W, K)`` in [0, 1]; K is C or 1.
        rate: Share of images that are changed.

    Returns:
        Images of the same shape.

    Example:
        >>> import jax
        >>> images = jax.numpy.full((1, 16, 16, 1), 0.8)
        >>> bool((gas(jax.random.key(0), images, 0 * images + 1) == images).all())
        True
    """
    keys = jax.random.split(key, 6)
    field = smooth_field(keys[0], images.shape, 7)
    threshold = uniform(keys[1], len(images), minval=0.8, maxval=2.0)
    level = uniform(keys[2], len(images), minval=0.0, maxval=0.12)
    amount = jnp.clip(8 * (field - threshold), 0.0, 1.0) * (1 - _grown(lungs))
    bubbles = smooth_field(keys[4], images.shape, 40)  # all gas below -3, few bubbles above 1
    amount *= jnp.clip(4 * (bubbles - uniform(keys[5], len(images), minval=-8.0, maxval=1.5)), 0, 1)
    as_dark = jnp.where(images < level + 0.03, lungs, 0.0).sum((1, 2, 3), keepdims=True)
    all_lung = jnp.broadcast_to(lungs, images.shape).sum((1, 2, 3), keepdims=True)
    distinct = as_dark <= 0.5 * all_lung
    chosen = distinct & (uniform(keys[3], len(images)) < rate)
    return jnp.where(chosen, images + amount * jnp.minimum(level - images, 0.0), images)


def _grown(masks: jax.Array) -> jax.Array:
    """Masks and what is within a 64th of their height, about the wall of a stomach."""
    reach = 2 * (masks.shape[1] // 64) + 1
    return jax.lax.reduce_window(
        masks, 0.0, jax.lax.max, (1, reach, reach, 1), (1, 1, 1, 1), "SAME"
    )
