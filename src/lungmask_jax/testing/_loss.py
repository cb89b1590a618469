"""Checks of losses."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.errors import ShapeError
from lungmask_jax.testing._batch import outputs
from lungmask_jax.testing._expect import (
    TRACEABLE,
    expect,
    expect_finite,
    expect_refusal,
    floats,
    jitted,
    plain_options,
    tried,
)


def check_loss(loss: Callable[..., jax.Array], *, tolerance: float = 1e-3) -> None:
    """Checks that a loss can be trained with.

    ``loss(logits, targets) -> (N,)`` float32, of slices and of volumes; under ``jit`` and ``vmap``;
    independent for each image; values and gradients finite for logits up to 1e4 of either sign with
    empty, full and soft targets; lower for right logits. Options have names, and defaults that
    JSON can hold. One channel and two mutually exclusive ones are tried; a loss may refuse either
    with a `ShapeError`. Targets of another shape are refused.

    Args:
        loss: The function.
        tolerance: As in `check_model`.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> from lungmask_jax import losses
        >>> check_loss(losses.dice)
        >>> check_loss(lambda logits, targets: ((logits - targets) ** 2).mean())
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected losses float32(5,) of logits ...
    """
    __tracebackhide__ = True
    plain_options(loss, positional=2)
    channels = [count for count in (1, 2) if not _refuses(loss, count)]
    expect(
        bool(channels),
        "a loss of one channel or of two",
        "a ShapeError for both",
        "take logits (N, H, W, C) with targets of the same shape",
    )
    for count in channels:
        for sides in ((6, 7), (3, 4, 5)):
            _check_shapes(loss, sides, count)
    _check_values(loss, channels[-1], tolerance)
    shape = (2, 4, 4, channels[0])
    expect_refusal(
        f"targets {shape[:-1]} beside logits {shape}",
        "compare the shapes first and raise a ShapeError, or arrays broadcast unseen",
        jax.eval_shape,
        lambda *batch: loss(*batch),
        floats(*shape),
        floats(*shape[:-1]),
    )


def _refuses(loss: Callable[..., jax.Array], channels: int) -> bool:
    __tracebackhide__ = True
    shape = (2, 4, 4, channels)

    def refused() -> bool:
        try:
            jax.eval_shape(lambda *batch: loss(*batch), floats(*shape), floats(*shape))
        except ShapeError:
            return True
        return False

    return tried(f"losses of logits {shape} under jax.jit", TRACEABLE, refused)


def _check_shapes(loss: Callable[..., jax.Array], sides: tuple[int, ...], channels: int) -> None:
    __tracebackhide__ = True
    shape = (5, *sides, channels)
    array = floats(*shape)
    found = tried(
        f"losses of logits {shape} under jax.jit",
        TRACEABLE,
        jax.eval_shape,
        lambda *batch: loss(*batch),
        array,
        array,
    )
    expect(
        (found.dtype, found.shape) == (jnp.float32, (5,)),
        f"losses float32(5,) of logits {shape}",
        f"{found.dtype}{found.shape}",
        "take the mean over all axes but the first",
    )


def _check_values(loss: Callable[..., jax.Array], channels: int, tolerance: float) -> None:
    __tracebackhide__ = True
    batch = _right_and_wrong(channels)
    good, bad = np.split(outputs(loss, *batch, what="losses", tolerance=tolerance), 2)
    expect(
        bool((good < bad).all()),
        "lower losses for right logits than for wrong ones",
        f"{good.tolist()} and {bad.tolist()}",
        "return a value to minimize, such as 1 - Dice",
    )
    logits, targets = _extremes(channels)
    advice = "clip probabilities, or use log_sigmoid and log_softmax, and guard divisors"
    gradient = jitted(jax.value_and_grad(lambda logits: loss(logits, targets).sum()))
    value, slopes = tried("a gradient of the losses", advice, gradient, logits)
    expect_finite(value, "losses of logits up to 1e4", advice)
    expect_finite(slopes, "the gradient of logits up to 1e4", advice)


def _right_and_wrong(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy logits, right for three masks and then wrong for the same."""
    generator = np.random.default_rng(0)
    masks = np.zeros((3, 6, 7), np.float32)
    for number in range(3):
        masks[number, 1 : 3 + number, 2:6] = 1
    targets = _stacked(masks, channels)
    noise = generator.random(targets.shape, np.float32)
    right = (1 + 4 * noise) * (2 * targets - 1)
    return np.concatenate([right, -right]), np.concatenate([targets, targets])


def _extremes(channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Every level of logits with every kind of targets."""
    checks = np.indices((4, 5)).sum(axis=0) % 2
    masks = [0 * checks, 0 * checks + 1, checks, 0 * checks + 0.3]
    levels = [0 * checks + level for level in (-1e4, -80, 0, 80, 1e4)]
    pairs = [(x, t) for x in (*levels, 1e4 - 2e4 * checks) for t in masks]
    logits, targets = (np.stack(each).astype(np.float32) for each in zip(*pairs, strict=True))
    return np.stack([logits, -logits][:channels], axis=-1), _stacked(targets, channels)


def _stacked(masks: np.ndarray, channels: int) -> np.ndarray:
    """With a last axis; of two channels the first is what the other leaves."""
    parts: list[Any] = [masks] if channels == 1 else [1 - masks, masks]
    return np.stack(parts, axis=-1)
