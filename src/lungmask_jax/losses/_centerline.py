"""A loss of centerlines: thin, branching things shall stay connected."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lungmask_jax.losses._inputs import checked, ratio, refuse_outside, spatial_axes

__all__ = ["cldice", "skeleton"]


def cldice(
    logits: jax.Array, targets: jax.Array, *, iterations: int = 3, smooth: float = 1.0
) -> jax.Array:
    r"""Soft clDice loss: Dice of centerlines against regions, the mean over channels.

    .. math::
        1 - 2 \frac{P S}{P + S}, \quad
        P = \frac{\sum_i s_i(p) t_i + \epsilon}{\sum_i s_i(p) + \epsilon}, \quad
        S = \frac{\sum_i s_i(t) p_i + \epsilon}{\sum_i s_i(t) + \epsilon}

    P is the share of the prediction's skeleton s that lies in the target, S the share of the
    target's skeleton that is found. An image with neither has loss 0. The width of vessels hardly
    matters, so the paper sums this loss with one of regions, such as `dice`.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        iterations: Erosions; at least the radius of the thickest vessel, in pixels.
        smooth: In pixels.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.
        SpecError: An option is negative.

    References:
        Shit et al., clDice, CVPR 2021, arXiv:2003.07311.

    Example:
        >>> import jax.numpy as jnp
        >>> line = jnp.zeros((1, 5, 5, 1)).at[:, 2].set(1.0)
        >>> cldice(100 * line - 50, line).tolist()
        [0.0]
    """
    refuse_outside(iterations=iterations, smooth=smooth)
    logits, targets = checked(logits, targets)
    probabilities, axes = jax.nn.sigmoid(logits), spatial_axes(logits)
    of_found, of_targets = skeleton(probabilities, iterations), skeleton(targets, iterations)
    precision = ratio(
        (of_found * targets).sum(axis=axes) + smooth, of_found.sum(axis=axes) + smooth, empty=1.0
    )
    sensitivity = ratio(
        (of_targets * probabilities).sum(axis=axes) + smooth,
        of_targets.sum(axis=axes) + smooth,
        empty=1.0,
    )
    return (1 - ratio(2 * precision * sensitivity, precision + sensitivity)).mean(axis=-1)


def skeleton(images: jax.Array, iterations: int) -> jax.Array:
    """What openings take away from ever more eroded images: the ridge lines.

    Args:
        images: ``(N, ..., C)`` in [0, 1].
        iterations: Erosions after the first opening.

    Returns:
        Same shape, in [0, 1].

    Example:
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 7, 1)).at[:, 1:4, 1:6].set(1.0)
        >>> skeleton(bar, 1)[0, 2, :, 0].tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    lines = jax.nn.relu(images - _dilated(_eroded(images)))
    for _ in range(iterations):
        images = _eroded(images)
        fresh = jax.nn.relu(images - _dilated(_eroded(images)))
        lines = lines + jax.nn.relu(fresh - lines * fresh)
    return lines


def _eroded(images: jax.Array) -> jax.Array:
    """The least of each pixel and its neighbors along the axes (a cross)."""
    each = [_along(jnp.minimum, images, axis) for axis in spatial_axes(images)]
    return functools.reduce(jnp.minimum, each)


def _dilated(images: jax.Array) -> jax.Array:
    """The largest of each pixel and all its neighbors (a box)."""
    for axis in spatial_axes(images):
        images = _along(jnp.maximum, images, axis)
    return images


def _along(
    extreme: Callable[[jax.Array, jax.Array], jax.Array], images: jax.Array, axis: int
) -> jax.Array:
    """The extreme of three neighbors; at the edge, of the two there are."""
    length = images.shape[axis]
    first = jax.lax.slice_in_dim(images, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(images, length - 1, length, axis=axis)
    before = jax.lax.slice_in_dim(images, 0, length - 1, axis=axis)
    after = jax.lax.slice_in_dim(images, 1, length, axis=axis)
    shifted = (
        jnp.concatenate([first, before], axis=axis),
        jnp.concatenate([after, last], axis=axis),
    )
    return extreme(extreme(*shifted), images)
