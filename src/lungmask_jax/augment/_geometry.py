"""Geometric augmentation: mirror images, and one linear resampling of images and masks."""

import jax
import jax.numpy as jnp


def flip(
    labels: jax.Array, *, axis: int = -1, swap: tuple[tuple[int, int], ...] = ((1, 2),)
) -> jax.Array:
    """A mask mirrored from left to right, with the labels of the sides exchanged.

    Args:
        labels: Integer labels, any shape.
        axis: The axis from right to left.
        swap: Pairs of labels that stand for the two sides.

    Returns:
        Same shape and dtype.

    Example:
        >>> import jax.numpy as jnp
        >>> flip(jnp.array([[1, 1, 0, 2]])).tolist()
        [[1, 0, 2, 2]]
    """
    mirrored = jnp.flip(labels, axis)
    swapped = mirrored
    for one, other in swap:
        swapped = jnp.where(mirrored == one, other, swapped)
        swapped = jnp.where(mirrored == other, one, swapped)
    return swapped


def warp(
    key: jax.Array, images: jax.Array, masks: jax.Array, *, strength: float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Flips, rotation, zoom, stretch and shift, as one linear resampling.

    Both flips have a probability of 1/2: prone patients are upside down, and the masks have no
    sides to swap (`flip` does that for masks with sides).
    Pixels from outside have one random grey level per image and are background.

    Args:
        key: Random key.
        images: ``(N, H, W, C)``.
        masks: ``(N, H, W, K)``.
        strength: 1 means up to 15 degrees, a zoom of 0.77 to 1.3, 10 % stretch and shift.

    Returns:
        Images and masks of the same shapes.

    Example:
        >>> import jax
        >>> images = jax.numpy.ones((1, 16, 16, 1))
        >>> warp(jax.random.key(0), images, images)[1].max() <= 1
        Array(True, dtype=bool)
    """

    def one(key: jax.Array, image: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        place, grey = jax.random.split(key)
        coordinates = _coordinates(place, (image.shape[0], image.shape[1]), strength)
        outside = jax.random.uniform(grey)
        return _sampled(image - outside, coordinates) + outside, _sampled(mask, coordinates)

    return jax.vmap(one)(jax.random.split(key, len(images)), images, masks)


def _coordinates(key: jax.Array, size: tuple[int, int], strength: float) -> jax.Array:
    """Where each pixel of the result comes from, ``(2, H, W)``."""
    draws = strength * jax.random.uniform(key, (6,), minval=-1.0, maxval=1.0)
    signs = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 1), shape=(2,)), 1.0, -1.0)
    angle, zoom = jnp.deg2rad(15.0) * draws[0], jnp.exp(0.26 * draws[1])
    stretch = jnp.exp(0.1 * draws[2])
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    turn = jnp.array([[cosine, -sine], [sine, cosine]])
    matrix = turn * (signs * jnp.array([zoom * stretch, zoom / stretch]))[:, None]
    sides = jnp.array(size, jnp.float32)[:, None, None]
    centered = jnp.indices(size).astype(jnp.float32) - (sides - 1) / 2
    shift = (0.1 * draws[4:6])[:, None, None] * sides
    return jnp.einsum("ij,jhw->ihw", matrix, centered) + (sides - 1) / 2 + shift


def _sampled(image: jax.Array, coordinates: jax.Array) -> jax.Array:
    def channel(plane: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(
            plane, [*coordinates], order=1, mode="constant", cval=0.0
        )

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)
