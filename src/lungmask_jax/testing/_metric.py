"""Checks of metrics."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lungmask_jax.testing._expect import expect, expect_refusal, tried

__all__ = ["check_metric"]

_PURE = "work on copies, and keep nothing between calls"


def check_metric(metric: Callable[..., Any]) -> None:
    """Checks that a metric can be put into tables.

    ``metric(prediction, target)`` of two masks, slices or volumes, is a number, or a mapping or
    tuple of numbers or arrays. Numbers are finite where both masks have something; where one is
    empty or full they may be NaN or infinite, and it is no error. They are the same for boolean,
    integer and float masks and when asked again, and others for a right prediction than for a wrong
    one. Masks are left as they are; two shapes, and labels other than 0 and 1, are refused.

    Args:
        metric: The function; one that takes a spacing as
            ``lambda prediction, target: my_metric(prediction, target, (1.0,) * target.ndim)``.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> from lungmask_jax import metrics
        >>> check_metric(metrics.dice)
        >>> check_metric(lambda prediction, target: (prediction * target).sum() / target.sum())
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected plain numbers of a metric, found float64...
    """
    __tracebackhide__ = True
    for shape in ((9, 11), (5, 9, 11)):
        target, wrong = _masks(shape)
        _check_values(metric, target, wrong)
        _check_types(metric, target, wrong)
        _check_empty(metric, target)
    _check_refusals(metric, target)


def _masks(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes of different sizes that hardly meet."""
    one, other = np.zeros((2, *shape), bool)
    one[..., 1:4, 1:5] = other[..., 3:9, 4:9] = True
    return one, other


def _numbers(metric: Callable[..., Any], prediction: np.ndarray, target: np.ndarray) -> list[Any]:
    """All that a metric gives, in order."""
    __tracebackhide__ = True
    advice = "define the value of empty and full masks, without dividing by 0"
    found = tried("a value of every pair of masks", advice, metric, prediction, target)
    for value in _leaves(found):
        expect(
            isinstance(value, int | float | np.ndarray) and not isinstance(value, np.generic),
            "plain numbers of a metric",
            type(value).__name__,
            "return float(...) or int(...), which JSON and tables can hold",
        )
    return _leaves(found)


def _leaves(found: Any) -> list[Any]:
    if dataclasses.is_dataclass(found):
        found = vars(found)
    values = list(found.values()) if isinstance(found, Mapping) else found
    return list(values) if isinstance(values, list | tuple) else [values]


def _same(one: list[Any], other: list[Any]) -> bool:
    pairs = zip(one, other, strict=False)
    return len(one) == len(other) and all(np.array_equal(*pair, equal_nan=True) for pair in pairs)


def _check_values(metric: Callable[..., Any], target: np.ndarray, wrong: np.ndarray) -> None:
    __tracebackhide__ = True
    kept = wrong.copy(), target.copy()
    first = _numbers(metric, wrong, target)
    untouched = np.array_equal(wrong, kept[0]) and np.array_equal(target, kept[1])
    expect(untouched, "masks that are not changed", "others after the call", _PURE)
    again = _numbers(metric, wrong, target)
    expect(_same(first, again), "the same value again", f"{first} and {again}", _PURE)
    expect(
        all(isinstance(value, np.ndarray) or math.isfinite(value) for value in first),
        "finite numbers where both masks have something",
        first,
        "keep NaN for what is undefined",
    )
    right = _numbers(metric, target, target)
    expect(
        not _same(first, right),
        "different values for a right and a wrong prediction",
        f"{right} for both",
        "use both masks",
    )


def _check_types(metric: Callable[..., Any], target: np.ndarray, wrong: np.ndarray) -> None:
    __tracebackhide__ = True
    expected = _numbers(metric, wrong, target)
    for kind in (np.uint8, np.int64, np.float32):
        found = _numbers(metric, wrong.astype(kind), target.astype(kind))
        expect(
            _same(found, expected),
            f"the value {expected} of masks of bool, for {kind.__name__} too",
            found,
            "convert masks to booleans first: ~ and - differ for other types",
        )


def _check_empty(metric: Callable[..., Any], target: np.ndarray) -> None:
    __tracebackhide__ = True
    empty, full = np.zeros_like(target), np.ones_like(target)
    for pair in ((empty, empty), (target, empty), (empty, target), (full, target), (full, full)):
        with np.errstate(divide="raise", invalid="raise"):
            _numbers(metric, *pair)


def _check_refusals(metric: Callable[..., Any], target: np.ndarray) -> None:
    __tracebackhide__ = True
    advice = "raise a ShapeError that says what was given"
    expect_refusal("masks of two shapes", advice, metric, target, target[..., :-1])
    labels = target.astype(np.uint8) * 2
    for pair in ((labels, target), (target, labels)):
        expect_refusal("a mask of the labels 0 and 2", advice, metric, *pair)
