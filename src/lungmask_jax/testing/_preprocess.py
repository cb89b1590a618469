"""Checks of preprocessing steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.testing._batch import answers
from lungmask_jax.testing._expect import (
    TRACEABLE,
    expect,
    expect_close,
    expect_finite,
    floats,
    jitted,
    tried,
)

__all__ = ["check_preprocess"]


def check_preprocess(
    function: Callable[..., jax.Array],
    *,
    values: tuple[float, float] = (0.0, 1.0),
    tolerance: float = 1e-3,
) -> None:
    """Checks that a preprocessing step works between scans and networks.

    ``function(images)`` of ``(N, H, W)`` float32 gives ``(N, H', W')`` or ``(N, H', W', C)``
    float32: for sides that are even, odd or 1 apart; under ``jit``, ``vmap`` and ``grad``; for each
    image independent of the others; finite, also for images of one value.

    Args:
        function: The step; bind what else it needs with ``functools.partial``.
        values: Smallest and largest number in the images: HU for a window, 0 and 255 for levels.
        tolerance: As in `check_model`.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> from lungmask_jax.preprocess import median3
        >>> check_preprocess(median3)
        >>> check_preprocess(lambda images: images - images.mean())
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected the same images of an image whatever is ...
    """
    __tracebackhide__ = True
    for sides in ((16, 16), (17, 24), (33, 32)):
        _check_shapes(function, (3, *sides))
    images = _images(values)
    answers(function, images, what="images", tolerance=tolerance)
    _check_gradient(function, images)
    kept = images.copy()
    function(images)
    advice = "make a new array: images belong to the caller"
    expect_close(images, kept, "images that are not changed", advice, tolerance=0.0)


def _images(values: tuple[float, float]) -> np.ndarray:
    """Noise, one value everywhere, and darker noise."""
    low, high = values
    images = np.random.default_rng(0).random((3, 17, 24), np.float32)
    images[1] = 0.5
    images[2] **= 3
    return np.float32(low) + np.float32(high - low) * images


def _check_shapes(function: Callable[..., jax.Array], shape: tuple[int, ...]) -> None:
    __tracebackhide__ = True
    found: Any = tried(
        f"images of {shape} under jax.jit",
        TRACEABLE,
        jax.eval_shape,
        lambda images: function(images),
        floats(*shape),
    )
    expect(
        found.dtype == jnp.float32 and len(found.shape) in (3, 4) and found.shape[0] == shape[0],
        f"images float32 ({shape[0]}, H, W) or ({shape[0]}, H, W, C) of {shape}",
        f"{found.dtype}{found.shape}",
        "keep the first axis, and compute in float32",
    )


def _check_gradient(function: Callable[..., jax.Array], images: np.ndarray) -> None:
    __tracebackhide__ = True
    advice = "guard divisions and roots; use 0 where there is no gradient"
    slope = jitted(jax.grad(lambda images: function(images).sum()))
    expect_finite(tried("a gradient", advice, slope, images), "the gradient", advice)
