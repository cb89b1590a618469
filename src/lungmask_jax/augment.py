"""Random changes to images and their masks on the device, from an explicit key.

Images are ``(N, H, W, C)`` float32 in [0, 1], masks ``(N, H, W, K)`` float32 in [0, 1]. Every image
of a batch draws its own numbers; its channels, such as neighboring slices, are changed alike.
"""

import math

import jax
import jax.numpy as jnp

__all__ = ["augment", "bone_window", "flip", "gas", "intensities", "opacities", "warp"]


def augment(
    key: jax.Array,
    images: jax.Array,
    masks: jax.Array,
    *,
    strength: float = 1.0,
    opacity_rate: float = 0.0,
    gas_rate: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """The training augmentation: `gas`, `opacities`, `warp` with its flips, `intensities`.

    Where there is gas, half as many images pass through a `bone_window` before, so that black
    alone does not come to mean gas.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        masks: ``(N, H, W, K)`` in [0, 1].
        strength: Scales the ranges of `warp` and `intensities`; 0 turns them off.
        opacity_rate: Share of images that get synthetic disease; the masks must be lungs.
        gas_rate: Share of images that get synthetic gas; the masks must be lungs.

    Returns:
        Images and masks of the same shapes.

    Example:
        >>> import jax
        >>> images = masks = jax.numpy.ones((2, 16, 16, 1))
        >>> images, masks = augment(jax.random.key(0), images, masks)
        >>> images.shape, masks.shape
        ((2, 16, 16, 1), (2, 16, 16, 1))
    """
    bowel, disease, geometry, values = jax.random.split(key, 4)
    if gas_rate > 0:
        images = bone_window(jax.random.fold_in(bowel, 1), images, rate=gas_rate / 2)
        images = gas(bowel, images, masks, rate=gas_rate)
    if opacity_rate > 0:
        images = opacities(disease, images, masks, rate=opacity_rate)
    if strength > 0:
        images, masks = warp(geometry, images, masks, strength=strength)
        images = intensities(values, images, strength=strength)
    return images, masks


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

    Both flips have a chance of 1/2: prone patients are upside down, and the masks know no sides, so
    none are swapped (`flip` does that for masks which do).
    What enters from outside has one random grey level an image and is background.

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


def intensities(key: jax.Array, images: jax.Array, *, strength: float = 1.0) -> jax.Array:
    """Another window, another contrast curve, blur and noise.

    Slices from the web come in windows that nobody wrote down; this is what makes a network read
    them and HU alike.

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
    low = strength * _uniform(keys[0], len(images), minval=-0.1, maxval=0.15)
    high = 1 + strength * _uniform(keys[1], len(images), minval=-0.25, maxval=0.15)
    gamma = jnp.exp(strength * _uniform(keys[2], len(images), minval=-0.4, maxval=0.4))
    sigma = 0.05 * strength * _uniform(keys[3], len(images)) ** 2
    blurred = _uniform(keys[4], len(images)) < strength / 3
    images = jnp.where(blurred, _blurred(images), images)
    images = images + sigma * _normal(keys[5], images.shape)
    images = jnp.clip((images - low) / (high - low), 1e-6, 1.0)
    return images**gamma


def opacities(
    key: jax.Array, images: jax.Array, lungs: jax.Array, *, rate: float = 0.5
) -> jax.Array:
    """Synthetic disease: smooth patches of lung that become as dense as ground glass or muscle.

    Lung models learn from it that dense lung is lung. The lung mask stays as it is.

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
    field = _field(keys[0], images.shape, 6) + 0.4 * _field(keys[1], images.shape, 24)
    threshold = _uniform(keys[2], len(images), minval=-0.5, maxval=1.5)
    grey = _uniform(keys[3], len(images), minval=0.45, maxval=1.0)
    texture = grey * (1 + 0.08 * _field(keys[1], images.shape, 48))
    amount = jnp.clip(4 * (field - threshold), 0.0, 1.0) * lungs
    chosen = _uniform(keys[4], len(images)) < rate
    dense = images + amount * jnp.maximum(texture - images, 0.0)
    return jnp.where(chosen, jnp.clip(dense, 0.0, 1.0), images)


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
    low = _uniform(black, len(images), minval=0.1, maxval=0.45)
    cut = jnp.maximum(images - low, 0.0) / (1 - low)
    return jnp.where(_uniform(chosen, len(images)) < rate, cut, images)


def gas(key: jax.Array, images: jax.Array, lungs: jax.Array, *, rate: float = 0.5) -> jax.Array:
    """Synthetic gas outside the lungs: smooth blobs as dark and even as air in stomach and bowel.

    Lung models learn from it that not all that is dark is lung. As in patients, a wall lies between
    gas and lung: nothing dark goes on from one to the other. An image whose lungs are as dark
    themselves, as in a bone window, stays as it is: there gas and lung cannot be told apart.

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
    keys = jax.random.split(key, 4)
    field = _field(keys[0], images.shape, 7)
    threshold = _uniform(keys[1], len(images), minval=0.8, maxval=2.0)
    level = _uniform(keys[2], len(images), minval=0.0, maxval=0.12)
    amount = jnp.clip(8 * (field - threshold), 0.0, 1.0) * (1 - _grown(lungs))
    as_dark = jnp.where(images < level + 0.03, lungs, 0.0).sum((1, 2, 3), keepdims=True)
    all_lung = jnp.broadcast_to(lungs, images.shape).sum((1, 2, 3), keepdims=True)
    distinct = as_dark <= 0.5 * all_lung
    chosen = distinct & (_uniform(keys[3], len(images)) < rate)
    return jnp.where(chosen, images + amount * jnp.minimum(level - images, 0.0), images)


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
        found: jax.Array = jax.scipy.ndimage.map_coordinates(
            plane, [*coordinates], order=1, mode="constant", cval=0.0
        )
        return found

    return jax.vmap(channel, in_axes=-1, out_axes=-1)(image)


def _blurred(images: jax.Array) -> jax.Array:
    """A 1-2-1 binomial filter, twice, along rows and columns."""
    for axis in (1, 2, 1, 2):
        images = 0.5 * images + 0.25 * (jnp.roll(images, 1, axis) + jnp.roll(images, -1, axis))
    return images


def _grown(masks: jax.Array) -> jax.Array:
    """Masks and what is within a 64th of their height, about the wall of a stomach."""
    reach = 2 * (masks.shape[1] // 64) + 1
    grown: jax.Array = jax.lax.reduce_window(
        masks, 0.0, jax.lax.max, (1, reach, reach, 1), (1, 1, 1, 1), "SAME"
    )
    return grown


def _field(key: jax.Array, shape: tuple[int, ...], cells: int) -> jax.Array:
    """Smooth noise of unit size with about `cells` bumps along a side, one channel."""
    coarse = _normal(key, (shape[0], cells, cells, 1))
    smooth: jax.Array = jax.image.resize(coarse, (*shape[:3], 1), "cubic")
    return smooth


def _uniform(key: jax.Array, count: int, *, minval: float = 0.0, maxval: float = 1.0) -> jax.Array:
    """A number for each image, ``(N, 1, 1, 1)``."""
    row = jax.random.uniform(key, (count,), minval=minval, maxval=maxval)
    return row.reshape(count, 1, 1, 1)


def _normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Normal numbers, drawn in a row: the same ones, and quicker to compile."""
    return jax.random.normal(key, (math.prod(shape),)).reshape(shape)
