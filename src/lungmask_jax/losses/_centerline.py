"""A loss of centerlines, which keeps thin, branching structures connected."""

import functools

import jax
import jax.numpy as jnp

from lungmask_jax.losses._inputs import checked, ratio, refuse_outside, spatial_axes


def cldice(
    logits: jax.Array, targets: jax.Array, *, iterations: int = 3, smooth: float = 1.0
) -> jax.Array:
    r"""Soft clDice loss: Dice of centerlines against regions, the mean over channels.

    .. math::
        1 - 2 \frac{P S}{P + S}, \quad
        P = \frac{\sum_i s_i(p) t_i + \epsilon}{\sum_i s_i(p) + \epsilon}, \quad
        S = \frac{\sum_i s_i(t) p_i + \epsilon}{\sum_i s_i(t) + \epsilon}

    P is the share of the prediction's skeleton s that lies in the target, S the share of the
    target's skeleton that is found. An image with neither has loss 0. The width of vessels has
    little influence, so the paper adds a loss of regions, such as `dice`.

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
    """The ridge lines: the parts of ever more eroded images that openings remove.

    Example:
        >>> import jax.numpy as jnp
        >>> bar = jnp.zeros((1, 5, 7, 1)).at[:, 1:4, 1:6].set(1.0)
        >>> skeleton(bar, 1)[0, 2, :, 0].tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """

    def thinner(
        now: tuple[jax.Array, jax.Array], _: None
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        images, lines = now
        eroded = _eroded(images)
        fresh = jax.nn.relu(images - _dilated(eroded))
        return (eroded, lines + jax.nn.relu(fresh - lines * fresh)), None

    # unrolled, the gradient takes XLA many seconds to compile
    start = (images, jnp.zeros_like(images))
    (_, lines), _ = jax.lax.scan(thinner, start, None, length=iterations + 1)
    return lines


def _eroded(images: jax.Array) -> jax.Array:
    """The least of each pixel and its neighbors along the axes (a cross)."""
    each = [
        jax.lax.reduce_window(images, jnp.inf, jax.lax.min, *_three(images, axis), "SAME")
        for axis in spatial_axes(images)
    ]
    return functools.reduce(jnp.minimum, each)


def _dilated(images: jax.Array) -> jax.Array:
    """The largest of each pixel and all its neighbors (a box)."""
    for axis in spatial_axes(images):
        images = jax.lax.reduce_window(images, -jnp.inf, jax.lax.max, *_three(images, axis), "SAME")
    return images


def _three(images: jax.Array, axis: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A window of three along an axis, and its strides."""
    window = tuple(3 if each == axis else 1 for each in range(images.ndim))
    return window, (1,) * images.ndim
