"""Tversky losses, with separate weights for false positives and false negatives."""

import jax
import jax.numpy as jnp

from lungmask_jax.losses._inputs import checked, ratio, refuse_outside, spatial_axes

_LINEAR_BELOW = 1e-6


def tversky(
    logits: jax.Array,
    targets: jax.Array,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
) -> jax.Array:
    r"""Soft Tversky loss, the mean over channels.

    .. math::
        1 - \frac{\sum_i p_i t_i + s}
        {\sum_i p_i t_i + \alpha \sum_i p_i (1 - t_i) + \beta \sum_i (1 - p_i) t_i + s}

    Weights of one half give `dice` with twice the smoothing, of one `jaccard`. An image with
    neither target nor prediction has loss 0.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        alpha: Weight of false positives.
        beta: Weight of false negatives; larger than `alpha` favors sensitivity.
        smooth: s, in pixels.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.
        SpecError: An option is negative.

    References:
        Salehi et al., Tversky loss function for image segmentation, MLMI 2017, arXiv:1706.05721.

    Example:
        >>> import jax.numpy as jnp
        >>> tversky(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1)), smooth=0.0).round(3).tolist()
        [0.41...]
    """
    logits, targets = checked(logits, targets)
    return _each_tversky(logits, targets, alpha, beta, smooth).mean(axis=-1)


def focal_tversky(
    logits: jax.Array,
    targets: jax.Array,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    smooth: float = 1.0,
) -> jax.Array:
    r"""Tversky loss of each channel to the power 1 / gamma, the mean over channels.

    .. math:: (1 - T_c)^{1 / \gamma}

    T is the Tversky index as in `tversky`. With gamma above 1 the gradient grows where a channel is
    nearly right; the power is replaced by a line below one millionth, where it would be infinite.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        gamma: 1 is `tversky`.
        smooth: In pixels.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.
        SpecError: An option is negative, or gamma below 0.1.

    References:
        Abraham and Khan, A Novel Focal Tversky Loss Function, ISBI 2019, arXiv:1810.07842 (there
        alpha and beta change places).

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))
        >>> bool(focal_tversky(logits, targets)[0] == tversky(logits, targets)[0] ** 0.75)
        True
    """
    refuse_outside(0.1, gamma=gamma)
    logits, targets = checked(logits, targets)
    each = _each_tversky(logits, targets, alpha, beta, smooth)
    line = each * _LINEAR_BELOW ** (1 / gamma - 1)
    power = jnp.maximum(each, _LINEAR_BELOW) ** (1 / gamma)
    return jnp.where(each > _LINEAR_BELOW, power, line).mean(axis=-1)


def _each_tversky(
    logits: jax.Array, targets: jax.Array, alpha: float, beta: float, smooth: float
) -> jax.Array:
    """One minus the Tversky index of each channel: ``(N, C)``, exactly 0 without errors."""
    refuse_outside(alpha=alpha, beta=beta, smooth=smooth)
    found, axes = jax.nn.sigmoid(logits), spatial_axes(logits)
    overlap = (found * targets).sum(axis=axes)
    for_nothing = (found * (1 - targets)).sum(axis=axes)
    missed = ((1 - found) * targets).sum(axis=axes)
    wrong = alpha * for_nothing + beta * missed
    return ratio(wrong, overlap + wrong + smooth)
