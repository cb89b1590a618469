"""The first step of every loss: check shapes and options, and convert both arrays to float32."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lungmask_jax.errors import ShapeError, SpecError

Loss = Callable[[jax.Array, jax.Array], jax.Array]

_SMALLEST = 1e-7


def checked(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logits and targets as float32, if they have the same shape ``(N, ..., C)``.

    Args:
        logits: ``(N, ..., C)`` of any float type.
        targets: Same shape, in [0, 1], of any type.

    Returns:
        The two.

    Raises:
        ShapeError: The shapes differ, or logits are not floats.

    Example:
        >>> import jax.numpy as jnp
        >>> logits, targets = checked(jnp.zeros((1, 4, 4, 1)), jnp.ones((1, 4, 4, 1), bool))
        >>> str(targets.dtype)
        'float32'
    """
    if logits.shape != targets.shape or logits.ndim < 3:
        raise ShapeError(
            f"expected logits and targets of one shape (N, ..., C), found {logits.shape} and "
            f"{targets.shape}: add a channel axis with targets[..., None]"
        )
    if not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ShapeError(f"expected float logits, found {logits.dtype}: give raw network outputs")
    return logits.astype(jnp.float32), targets.astype(jnp.float32)


def checked_classes(logits: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `checked`, for mutually exclusive channels.

    Args:
        logits: ``(N, ..., C)``.
        targets: Same shape.

    Returns:
        The two as float32.

    Raises:
        ShapeError: As `checked`, or there is a single channel: its softmax is 1 everywhere.

    Example:
        >>> import jax.numpy as jnp
        >>> checked_classes(jnp.zeros((1, 4, 4, 2)), jnp.ones((1, 4, 4, 2)))[0].shape
        (1, 4, 4, 2)
    """
    if logits.shape[-1] < 2:
        raise ShapeError(
            f"expected a channel for each class, including the background, found {logits.shape}: "
            "for a single channel use a sigmoid loss, such as bce_dice"
        )
    return checked(logits, targets)


def refuse_outside(low: float = 0.0, high: float = math.inf, **options: float) -> None:
    """Raises for options that are out of their range.

    Args:
        low: Smallest value.
        high: Largest value.
        options: Python numbers under their names.

    Raises:
        SpecError: One of them is smaller, larger or not a number.

    Example:
        >>> refuse_outside(smooth=1.0)
    """
    for name, value in options.items():
        if not isinstance(value, int | float) or not low <= value <= high:
            raise SpecError(f"expected {name} to be a number in [{low}, {high}], found {value!r}")


def spatial_axes(logits: jax.Array) -> tuple[int, ...]:
    """All axes but the first and the last.

    Args:
        logits: ``(N, ..., C)``.

    Returns:
        Axes to sum over.

    Example:
        >>> import jax.numpy as jnp
        >>> spatial_axes(jnp.zeros((1, 4, 4, 2)))
        (1, 2)
    """
    return tuple(range(1, logits.ndim - 1))


def ratio(part: jax.Array, whole: jax.Array, *, empty: float = 0.0) -> jax.Array:
    """``part / whole``, or `empty` if the whole is less than a ten-millionth of a pixel.

    Args:
        part: Sums over pixels.
        whole: Same shape, not negative.
        empty: The value for an empty whole.

    Returns:
        Same shape; gradients are finite, and 0 where the whole is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> ratio(jnp.array([1.0, 0.0]), jnp.array([2.0, 0.0]), empty=1.0).tolist()
        [0.5, 1.0]
    """
    return jnp.where(whole > _SMALLEST, part / jnp.maximum(whole, _SMALLEST), empty)
