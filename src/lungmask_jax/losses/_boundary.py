"""Boundary losses: errors weighted by their distance from the boundary."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lungmask_jax.losses._distance import signed_distances
from lungmask_jax.losses._inputs import checked, refuse_outside


def boundary(
    logits: jax.Array,
    targets: jax.Array,
    *,
    spacing: float | Sequence[float] | None = None,
) -> jax.Array:
    r"""Distance between two boundaries as an integral over the pixels between them.

    .. math:: \frac{1}{M} \sum_i \phi_i \, (p_i - g_i)

    g is the target as a mask, :math:`\phi` the distance to the nearest pixel of the other kind,
    negative inside the target. The paper drops the constant term with g; with it a perfect
    prediction costs 0, and none costs less. An empty or full target has no boundary and costs 0 for
    any prediction, so combine this loss with one of regions, such as `dice`.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape; above 1/2 is target.
        spacing: Distance of neighbors along each spatial axis, or along all; 1 if None.

    Returns:
        ``(N,)`` float32, not negative, in the unit of the spacing.

    Raises:
        ShapeError: The shapes differ.
        SpecError: The spacing is not positive, or not one for each axis.

    References:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, MIDL 2019,
        arXiv:1812.07032 (whose code takes 1 from the distances inside).

    Example:
        >>> import jax.numpy as jnp
        >>> targets = jnp.zeros((1, 1, 4, 1)).at[0, 0, 0].set(1.0)
        >>> boundary(0 * targets, targets).tolist()  # (1 + 1 + 2 + 3) / 2 / 4
        [0.875]
    """
    logits, targets = checked(logits, targets)
    inside = targets > 0.5
    away = jnp.abs(signed_distances(inside, spacing=spacing))
    wrong = jax.nn.sigmoid(jnp.where(inside, -logits, logits))
    return (away * wrong).mean(axis=tuple(range(1, logits.ndim)))


def hausdorff_dt(
    logits: jax.Array,
    targets: jax.Array,
    *,
    alpha: float = 2.0,
    spacing: float | Sequence[float] | None = None,
) -> jax.Array:
    r"""Squared errors, weighted by distances from the boundaries of target and prediction.

    .. math:: \frac{1}{M} \sum_i (p_i - t_i)^2 \, (d_i(p)^\alpha + d_i(t)^\alpha)

    d is the distance to the nearest pixel of the other kind in the mask of what is above 1/2. It
    has no gradient. An empty or full mask has no boundary, and its d is 0: in an image without
    target, an empty prediction costs 0, and so does a full one. So combine this loss with one of
    regions, such as `dice`.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        alpha: 2 in the paper; larger values weight the farthest errors more.
        spacing: Distance of neighbors along each spatial axis, or along all; 1 if None.

    Returns:
        ``(N,)`` float32, not negative, in the unit of the spacing to the power alpha.

    Raises:
        ShapeError: The shapes differ.
        SpecError: Alpha is not in [0, 4], or the spacing not positive or not one for each axis.

    References:
        Karimi and Salcudean, Reducing the Hausdorff Distance in Medical Image Segmentation with
        Convolutional Neural Networks, IEEE TMI 2019, arXiv:1904.10030.

    Example:
        >>> import jax.numpy as jnp
        >>> targets = jnp.zeros((1, 1, 4, 1)).at[0, 0, 0].set(1.0)
        >>> hausdorff_dt(0 * targets, targets).tolist()  # (1 + 1 + 4 + 9) / 4 / 4
        [0.9375]
    """
    refuse_outside(high=4.0, alpha=alpha)
    logits, targets = checked(logits, targets)
    fields = [signed_distances(masks, spacing=spacing) for masks in (logits > 0, targets > 0.5)]
    away = jnp.abs(fields[0]) ** alpha + jnp.abs(fields[1]) ** alpha
    each = (jax.nn.sigmoid(logits) - targets) ** 2 * away
    return each.mean(axis=tuple(range(1, logits.ndim)))
