"""Pixel losses: cross-entropies, weighted by class or by difficulty."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from lungmask_jax.errors import SpecError
from lungmask_jax.losses._inputs import checked, checked_classes, refuse_outside, spatial_axes


def bce(logits: jax.Array, targets: jax.Array) -> jax.Array:
    r"""Binary cross-entropy, the mean over pixels and channels.

    .. math:: -\frac{1}{M} \sum_i t_i \log p_i + (1 - t_i) \log(1 - p_i)

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> bce(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))).round(4).tolist()
        [0.693...]
    """
    logits, targets = checked(logits, targets)
    each: jax.Array = optax.losses.sigmoid_binary_cross_entropy(logits, targets)
    return each.mean(axis=tuple(range(1, logits.ndim)))


def weighted_bce(
    logits: jax.Array, targets: jax.Array, *, positive_weight: float = 2.0
) -> jax.Array:
    r"""Binary cross-entropy in which pixels of the target count w times.

    .. math:: -\frac{1}{M} \sum_i w t_i \log p_i + (1 - t_i) \log(1 - p_i)

    M is the number of pixels, independent of the weights. Probabilities are too high by design: for
    a true probability p, the minimum is at w p / (w p + 1 - p).

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        positive_weight: w. 1 is `bce`; the share of background over that of the target balances
            the two.

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.
        SpecError: The weight is negative.

    References:
        King and Zeng, Logistic regression in rare events data, Political Analysis 2001.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))
        >>> weighted_bce(logits, targets, positive_weight=10.0).round(2).tolist()
        [6.9...]
    """
    refuse_outside(positive_weight=positive_weight)
    logits, targets = checked(logits, targets)
    found = -targets * jax.nn.log_sigmoid(logits)
    each = positive_weight * found - (1 - targets) * jax.nn.log_sigmoid(-logits)
    return each.mean(axis=tuple(range(1, logits.ndim)))


def cross_entropy(
    logits: jax.Array, targets: jax.Array, *, class_weights: Sequence[float] | None = None
) -> jax.Array:
    r"""Cross-entropy of a softmax over the channels, the mean over pixels.

    .. math:: -\frac{1}{M} \sum_i \sum_c w_c t_{ic} \log p_{ic}

    M is the number of pixels, independent of the class weights.

    Args:
        logits: ``(N, ..., C)``, a channel for each class.
        targets: Same shape; one-hot, or shares that add up to 1.
        class_weights: w, one number for each class; ones if None.

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ, or there is a single channel.
        SpecError: The weights are negative, or not as many as classes.

    Example:
        >>> import jax
        >>> targets = jax.nn.one_hot(jax.numpy.zeros((1, 4, 4), int), 3)
        >>> cross_entropy(0 * targets, targets).round(4).tolist()
        [1.098...]
    """
    logits, targets = checked_classes(logits, targets)
    weighted = targets * _each_weight(class_weights, logits.shape)
    each: jax.Array = optax.losses.softmax_cross_entropy(logits, weighted)
    return each.mean(axis=spatial_axes(logits))


def focal(
    logits: jax.Array, targets: jax.Array, *, gamma: float = 2.0, alpha: float | None = None
) -> jax.Array:
    r"""Binary cross-entropy in which easy pixels count little, the mean over pixels and channels.

    .. math:: -\frac{1}{M} \sum_i \alpha_i (1 - q_i)^\gamma \log q_i

    q is the probability of the truth: p where t = 1, 1 - p where t = 0; for soft targets
    :math:`1 - q = t (1 - p) + (1 - t) p`, and the logarithm is that of `bce`.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        gamma: Strength of the reduction for easy pixels; 0 is `bce`.
        alpha: Weight of the target, with 1 - alpha for the rest; both 1 if None.

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.
        SpecError: Gamma is negative or alpha not in [0, 1].

    References:
        Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv:1708.02002.

    Example:
        >>> import jax.numpy as jnp
        >>> focal(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))).round(4).tolist()
        [0.173...]
    """
    refuse_outside(gamma=gamma)
    refuse_outside(high=1.0, alpha=0.5 if alpha is None else alpha)
    logits, targets = checked(logits, targets)
    each: jax.Array = optax.losses.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma)
    return each.mean(axis=tuple(range(1, logits.ndim)))


def _each_weight(weights: Sequence[float] | None, shape: tuple[int, ...]) -> jax.Array:
    """Weights that fit beside targets of a shape."""
    if weights is None:
        weights = [1.0] * shape[-1]
    if len(weights) != shape[-1]:
        raise SpecError(f"expected {shape[-1]} class_weights, found {weights}: one for each class")
    for weight in weights:
        refuse_outside(class_weights=weight)
    return jnp.broadcast_to(jnp.array(weights, jnp.float32), shape)
