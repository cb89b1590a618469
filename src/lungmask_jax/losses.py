"""Losses: ``loss(logits, targets) -> (N,)``, one number an image, lower is better.

Logits are ``(N, ..., C)`` float32; targets have the same shape and lie in [0, 1] (soft labels are
allowed). Channels are independent sigmoids. Everything is jit-able and differentiable.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from lungmask_jax.errors import ShapeError, UnknownNameError, nearest

__all__ = ["Loss", "bce", "bce_dice", "create", "dice", "names"]

Loss = Callable[[jax.Array, jax.Array], jax.Array]


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
    _check(logits, targets)
    each: jax.Array = optax.losses.sigmoid_binary_cross_entropy(
        logits, targets.astype(logits.dtype)
    )
    return each.mean(axis=tuple(range(1, logits.ndim)))


def dice(logits: jax.Array, targets: jax.Array, *, smooth: float = 1.0) -> jax.Array:
    r"""Soft Dice loss, the mean over channels.

    .. math:: 1 - \frac{2 \sum_i p_i t_i + s}{\sum_i p_i + \sum_i t_i + s}

    An image with neither target nor prediction has loss 0.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].
        smooth: s, in pixels.

    Returns:
        ``(N,)`` float32 in [0, 1].

    Raises:
        ShapeError: The shapes differ.

    References:
        Milletari et al., V-Net, 3DV 2016, arXiv:1606.04797 (there with squares in the denominator).

    Example:
        >>> import jax.numpy as jnp
        >>> dice(jnp.full((1, 4, 4, 1), 50.0), jnp.ones((1, 4, 4, 1))).tolist()
        [0.0]
    """
    _check(logits, targets)
    probabilities, targets = jax.nn.sigmoid(logits), targets.astype(logits.dtype)
    spatial = tuple(range(1, logits.ndim - 1))
    overlap = (probabilities * targets).sum(axis=spatial)
    total = probabilities.sum(axis=spatial) + targets.sum(axis=spatial)
    return (1 - (2 * overlap + smooth) / (total + smooth)).mean(axis=-1)


def bce_dice(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The sum of `bce` and `dice`: the first for calibration, the second for imbalance.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape, in [0, 1].

    Returns:
        ``(N,)`` float32.

    Raises:
        ShapeError: The shapes differ.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1))
        >>> bool(bce_dice(logits, targets) == bce(logits, targets) + dice(logits, targets))
        True
    """
    return bce(logits, targets) + dice(logits, targets)


_LOSSES: dict[str, Loss] = {"bce": bce, "bce_dice": bce_dice, "dice": dice}


def names() -> list[str]:
    """The names that `create` knows.

    Returns:
        Sorted names.

    Example:
        >>> names()
        ['bce', 'bce_dice', 'dice']
    """
    return sorted(_LOSSES)


def create(name: str) -> Loss:
    """A loss by name, for settings that come as text.

    Args:
        name: One of `names`.

    Returns:
        The loss.

    Raises:
        UnknownNameError: There is no such loss.

    Example:
        >>> create("dice") is dice
        True
    """
    if name not in _LOSSES:
        raise UnknownNameError(f"no loss {name!r}: {nearest(name, _LOSSES)}")
    return _LOSSES[name]


def _check(logits: jax.Array, targets: jax.Array) -> None:
    if logits.shape != targets.shape or logits.ndim < 3:
        raise ShapeError(
            f"expected logits and targets of one shape (N, ..., C), found {logits.shape} and "
            f"{targets.shape}: add a channel axis with targets[..., None]"
        )
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ShapeError(f"expected float logits, found {logits.dtype}: give raw network outputs")
