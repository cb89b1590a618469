"""Region losses: Dice, its generalization to two labels, and Jaccard."""

import jax
import jax.numpy as jnp

from lungmask_jax.losses._inputs import checked, ratio, refuse_outside, spatial_axes


def dice(
    logits: jax.Array, targets: jax.Array, *, smooth: float = 1.0, squared: bool = False
) -> jax.Array:
    r"""Soft Dice loss, the mean over channels.

    .. math:: 1 - \frac{2 \sum_i p_i t_i + s}{\sum_i p_i^k + \sum_i t_i^k + s}

    k is 1, or 2 if `squared`. An image with neither target nor prediction has loss 0.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        smooth: s, in pixels.
        squared: Squares in the denominator, as in V-Net: the gradient of a pixel then vanishes
            near its target. A soft target that is met exactly costs nothing.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.
        SpecError: The smoothing is negative.

    References:
        Milletari et al., V-Net, 3DV 2016, arXiv:1606.04797 (with squares); Drozdzal et al., The
        Importance of Skip Connections, 2016, arXiv:1608.04117 (without).

    Example:
        >>> import jax.numpy as jnp
        >>> dice(jnp.full((1, 4, 4, 1), 50.0), jnp.ones((1, 4, 4, 1))).tolist()
        [0.0]
    """
    logits, targets = checked(logits, targets)
    return each_dice(jax.nn.sigmoid(logits), targets, smooth, squared=squared).mean(axis=-1)


def generalized_dice(logits: jax.Array, targets: jax.Array) -> jax.Array:
    r"""Dice loss over a channel and its background, each weighted by its inverse squared size.

    .. math::
        1 - 2 \frac{\sum_l w_l \sum_i p_{li} t_{li}}{\sum_l w_l \sum_i (p_{li} + t_{li})},
        \quad w_l = \left(\sum_i t_{li}\right)^{-2}

    The labels l are the target and its background; channels are independent, and the loss is their
    mean. Small regions count as much as large ones. If one of the two labels is empty, its weight
    is undefined; both then get the same weight, and the loss is the mean error of a pixel.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.

    References:
        Sudre et al., Generalised Dice overlap, DLMIA 2017, arXiv:1707.03237.

    Example:
        >>> import jax.numpy as jnp
        >>> nothing = jnp.zeros((1, 4, 4, 1))
        >>> generalized_dice(nothing, nothing).tolist()  # half of every pixel is wrong
        [0.5]
    """
    logits, targets = checked(logits, targets)
    labels = jnp.stack([targets, 1 - targets])
    found = jnp.stack([jax.nn.sigmoid(logits), jax.nn.sigmoid(-logits)])
    axes = tuple(axis + 1 for axis in spatial_axes(logits))
    weights = _size_weights(labels.mean(axis=axes))
    missed = (found * (1 - labels) + labels * (1 - found)).sum(axis=axes)
    total = (found + labels).sum(axis=axes)
    return ratio((weights * missed).sum(axis=0), (weights * total).sum(axis=0)).mean(axis=-1)


def jaccard(logits: jax.Array, targets: jax.Array, *, smooth: float = 1.0) -> jax.Array:
    r"""Soft Jaccard loss (intersection over union), the mean over channels.

    .. math:: 1 - \frac{\sum_i p_i t_i + s}{\sum_i p_i + \sum_i t_i - \sum_i p_i t_i + s}

    An image with neither target nor prediction has loss 0.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        smooth: s, in pixels.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.
        SpecError: The smoothing is negative.

    References:
        Rahman and Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image
        Segmentation, ISVC 2016.

    Example:
        >>> import jax.numpy as jnp
        >>> jaccard(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1)), smooth=0.0).tolist()
        [0.5]
    """
    refuse_outside(smooth=smooth)
    logits, targets = checked(logits, targets)
    probabilities, axes = jax.nn.sigmoid(logits), spatial_axes(logits)
    overlap = (probabilities * targets).sum(axis=axes)
    union = (probabilities + targets - probabilities * targets).sum(axis=axes)
    return (1 - ratio(overlap + smooth, union + smooth, empty=1.0)).mean(axis=-1)


def each_dice(
    probabilities: jax.Array, targets: jax.Array, smooth: float, *, squared: bool = False
) -> jax.Array:
    """Dice loss of each channel, ``(N, C)``, from any probabilities; see `dice`."""
    refuse_outside(smooth=smooth)
    axes = spatial_axes(targets)
    overlap = (probabilities * targets).sum(axis=axes)
    power = 2 if squared else 1
    total = (probabilities**power).sum(axis=axes) + (targets**power).sum(axis=axes)
    return 1 - ratio(2 * overlap + smooth, total + smooth, empty=1.0)


def _size_weights(shares: jax.Array) -> jax.Array:
    """Inverse squares of the two labels' sizes ``(2, N, C)``, scaled to stay in [0, 1]."""
    both = (shares > 0).all(axis=0, keepdims=True)
    return jnp.where(both, jnp.flip(shares, axis=0) ** 2, 1.0)
