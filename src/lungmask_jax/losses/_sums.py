"""Sums of a loss of pixels and a loss of regions: the first calibrates, the second balances."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lungmask_jax.losses._entropy import bce, cross_entropy, focal
from lungmask_jax.losses._inputs import checked_classes
from lungmask_jax.losses._overlap import dice, each_dice


def bce_dice(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The sum of `bce` and `dice`: the first for calibration, the second for imbalance.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.

    References:
        Isensee et al., nnU-Net, Nature Methods 2021, arXiv:1809.10486.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))
        >>> bool(bce_dice(logits, targets) == bce(logits, targets) + dice(logits, targets))
        True
    """
    return bce(logits, targets) + dice(logits, targets)


def dice_cross_entropy(
    logits: jax.Array,
    targets: jax.Array,
    *,
    smooth: float = 1.0,
    class_weights: Sequence[float] | None = None,
) -> jax.Array:
    r"""The sum of `cross_entropy` and the Dice loss of the same softmax.

    .. math::
        -\frac{1}{M} \sum_{ic} w_c t_{ic} \log p_{ic} + \frac{1}{C} \sum_c \left(
        1 - \frac{2 \sum_i p_{ic} t_{ic} + s}{\sum_i p_{ic} + \sum_i t_{ic} + s} \right)

    All classes count in the Dice loss, including the background.

    Args:
        logits: ``(N, ..., C)``, a channel for each class.
        targets: Same shape; one-hot, or shares that add up to 1.
        smooth: s, in pixels.
        class_weights: w of the cross-entropy, one number for each class; ones if None.

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ, or there is a single channel.
        SpecError: An option is negative, or there are not as many weights as classes.

    References:
        Isensee et al., nnU-Net, Nature Methods 2021, arXiv:1809.10486.

    Example:
        >>> import jax
        >>> targets = jax.nn.one_hot(jax.numpy.zeros((1, 4, 4), int), 2)
        >>> bool(dice_cross_entropy(50 * targets, targets)[0] < 1e-6)
        True
    """
    entropy = cross_entropy(logits, targets, class_weights=class_weights)
    logits, targets = checked_classes(logits, targets)
    return entropy + each_dice(jax.nn.softmax(logits), targets, smooth).mean(axis=-1)


def dice_focal(
    logits: jax.Array,
    targets: jax.Array,
    *,
    smooth: float = 1.0,
    gamma: float = 2.0,
    alpha: float | None = None,
) -> jax.Array:
    """The sum of `dice` and `focal`: regions by size, pixels by difficulty.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        smooth: As in `dice`, in pixels.
        gamma: As in `focal`.
        alpha: As in `focal`.

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.
        SpecError: An option is out of its range.

    References:
        Zhu et al., AnatomyNet, Medical Physics 2019, arXiv:1808.05238.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))
        >>> bool(dice_focal(logits, targets) == dice(logits, targets) + focal(logits, targets))
        True
    """
    return dice(logits, targets, smooth=smooth) + focal(logits, targets, gamma=gamma, alpha=alpha)


def nested_bce_dice(logits: jax.Array, targets: jax.Array) -> jax.Array:
    r"""`bce_dice` of nested regions: any label, the second or a later one, and so on.

    For labels within a region that matters more than its types, such as ground glass and
    consolidation within the infection. The probability of the k-th region is the sum over its
    labels, whose log-odds are

    .. math:: r_k = \log \sum_{c \ge k} e^{z_c} - \log \sum_{c < k} e^{z_c}.

    Args:
        logits: ``(N, ..., C)``, a channel for each class, the background first.
        targets: Same shape; one-hot, or shares that add up to 1.

    Returns:
        ``(N,)`` float32, the mean over the C - 1 regions.

    Raises:
        ShapeError: The shapes differ, or there is a single channel.

    References:
        Isensee et al., nnU-Net for Brain Tumor Segmentation, BrainLes 2020, arXiv:2011.00848, whose
        regions have a sigmoid each.

    Example:
        >>> logits = jax.nn.one_hot(jnp.zeros((1, 4, 4), int), 3)
        >>> bool(jnp.isfinite(nested_bce_dice(logits, logits)[0]))
        True
    """
    logits, targets = checked_classes(logits, targets)
    levels = range(1, logits.shape[-1])
    odds = [
        jax.nn.logsumexp(logits[..., k:], -1) - jax.nn.logsumexp(logits[..., :k], -1)
        for k in levels
    ]
    regions = [targets[..., k:].sum(axis=-1) for k in levels]
    return bce_dice(jnp.stack(odds, axis=-1), jnp.stack(regions, axis=-1))
