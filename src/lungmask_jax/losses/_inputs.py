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

    Raises:
        ShapeError: The shapes differ, or logits are not floats.
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

    Raises:
        ShapeError: As `checked`, or there is a single channel: its softmax is 1 everywhere.
    """
    if logits.shape[-1] < 2:
        raise ShapeError(
            f"expected a channel for each class, including the background, found {logits.shape}: "
            "for a single channel use a sigmoid loss, such as bce_dice"
        )
    return checked(logits, targets)


def refuse_outside(low: float = 0.0, high: float = math.inf, **options: float) -> None:
    """Raises for options that are out of their range."""
    for name, value in options.items():
        if not isinstance(value, int | float) or not low <= value <= high:
            raise SpecError(f"expected {name} to be a number in [{low}, {high}], found {value!r}")


def spatial_axes(logits: jax.Array) -> tuple[int, ...]:
    """All axes of ``(N, ..., C)`` but the first and the last."""
    return tuple(range(1, logits.ndim - 1))


def ratio(part: jax.Array, whole: jax.Array, *, empty: float = 0.0) -> jax.Array:
    """``part / whole``, or `empty` if the whole is less than a ten-millionth of a pixel.

    Gradients are finite, and 0 where the whole is empty.

    Example:
        >>> import jax.numpy as jnp
        >>> ratio(jnp.array([1.0, 0.0]), jnp.array([2.0, 0.0]), empty=1.0).tolist()
        [0.5, 1.0]
    """
    return jnp.where(whole > _SMALLEST, part / jnp.maximum(whole, _SMALLEST), empty)
