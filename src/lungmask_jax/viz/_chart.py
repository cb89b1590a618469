"""A line chart of a training log."""

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from lungmask_jax.errors import SpecError, nearest
from lungmask_jax.viz._canvas import (
    BLUE,
    FINER,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILION,
    Color,
    canvas,
    fitting_height,
    stroke,
    text,
    text_width,
)

__all__ = ["learning_curve"]

_WHITE: Final = (255, 255, 255)
_INK: Final = (45, 45, 45)
_LINE: Final = (225, 225, 225)
_COLORS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY_BLUE)
_ROUND: Final = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 20)


class _Axes(NamedTuple):
    """Where the axes lie, in pixels, and the ticks that span them."""

    top: float
    right: float
    bottom: float
    left: float
    x: list[float]
    losses: list[float]
    scores: list[float]


def learning_curve(
    records: Sequence[Mapping[str, float]],
    *,
    x: str = "step",
    series: Sequence[str] = ("loss",),
    scores: Sequence[str] = (),
    title: str = "",
    size: tuple[int, int] = (540, 960),
) -> np.ndarray:
    """The learning curve: losses and scores during training.

    A value that is missing or not finite leaves a gap; a lone value is a dot. Without records the
    axes are empty.

    Args:
        records: One mapping per epoch, name to number.
        x: Name of the horizontal axis.
        series: Names drawn on the left axis, which fits their range.
        scores: Names drawn on the right axis, which goes from 0 to 1.
        title: Above the chart.
        size: ``(rows, columns)`` of the picture.

    Returns:
        ``(*size, 3)`` uint8 RGB.

    Raises:
        SpecError: A name is in none of the records, or there are more names than colors.

    Example:
        >>> records = [{"step": 50, "loss": 0.8, "dice": 0.4}, {"step": 100, "loss": 0.5}]
        >>> learning_curve(records, scores=("dice",)).shape
        (540, 960, 3)
    """
    _check(records, [x, *series, *scores])
    axes = _axes(records, x, series, scores, size)
    fine = canvas(size[0] * FINER, size[1] * FINER, _WHITE)
    _draw_grid(fine, axes)
    for name, color in zip([*series, *scores], _COLORS, strict=False):
        ticks = axes.losses if name in series else axes.scores
        places = _places(records, x, name, axes, ticks)
        _draw_line(fine, places, color)
    rgb = cv2.resize(fine, size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    _write_ticks(rgb, axes, x)
    _write_top(rgb, axes, title, _labels(series, scores))
    return rgb


def _check(records: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    if len(names) - 1 > len(_COLORS):
        raise SpecError(f"expected at most {len(_COLORS)} lines, found {len(names) - 1}")
    known = set().union(*records)
    for name in names:
        if records and name not in known:
            raise SpecError(f"no record has {name!r}: {nearest(name, known)}")


def _axes(
    records: Sequence[Mapping[str, float]],
    x: str,
    series: Sequence[str],
    scores: Sequence[str],
    size: tuple[int, int],
) -> _Axes:
    rows, columns = size
    text_size = _text_size(rows)
    return _Axes(
        top=3.5 * text_size,
        right=columns - text_size * (4.5 if scores else 3),
        bottom=rows - 4.5 * text_size,
        left=text_size * (5.5 if series or not scores else 1.5),
        x=_ticks(_finite(records, [x])),
        losses=_ticks(_finite(records, series)) if series or not scores else [],
        scores=_ticks([0.0, 1.0]) if scores else [],
    )


def _text_size(rows: int) -> int:
    return max(8, rows // 45)


def _finite(records: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[float]:
    values = (float(record.get(name, math.nan)) for record in records for name in names)
    return [value for value in values if math.isfinite(value)]


def _ticks(values: Sequence[float]) -> list[float]:
    """Six round numbers that span the values: always six, so that both axes share one grid."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high - low <= 1e-6 * abs(high):
        low, high = low - (abs(low) / 2 or 0.5), high + (abs(high) / 2 or 0.5)
    power = 10.0 ** math.floor(math.log10((high - low) / 5))
    first, step = next(
        (start, step)
        for step in (power * multiple for multiple in _ROUND)
        if ((start := math.floor(low / step + 1e-6)) + 5.000001) * step >= high
    )
    return [float(f"{index * step:.12g}") for index in range(first, first + 6)]


def _across(axes: _Axes, value: float) -> float:
    share = (value - axes.x[0]) / (axes.x[-1] - axes.x[0])
    return axes.left + share * (axes.right - axes.left)


def _down(axes: _Axes, ticks: Sequence[float], value: float) -> float:
    share = (value - ticks[0]) / (ticks[-1] - ticks[0])
    return axes.bottom - share * (axes.bottom - axes.top)


def _places(
    records: Sequence[Mapping[str, float]],
    x: str,
    name: str,
    axes: _Axes,
    ticks: Sequence[float],
) -> list[tuple[float, float] | None]:
    """Pixels ``(x, y)`` of one line; None where a value is missing."""
    places: list[tuple[float, float] | None] = []
    for record in records:
        along, value = float(record.get(x, math.nan)), float(record.get(name, math.nan))
        there = math.isfinite(along) and math.isfinite(value)
        inside = min(max(value, ticks[0]), ticks[-1])
        places.append((_across(axes, along), _down(axes, ticks, inside)) if there else None)
    return places


def _draw_grid(fine: np.ndarray, axes: _Axes) -> None:
    ticks = axes.losses or axes.scores
    for tick in ticks:
        y = _down(axes, ticks, tick)
        stroke(fine, (axes.left, y), (axes.right, y), _LINE, 1.0)
    bottom = (axes.left, axes.bottom), (axes.right, axes.bottom)
    stroke(fine, *bottom, _INK, 1.2)
    for tick in axes.x:
        x = _across(axes, tick)
        stroke(fine, (x, axes.bottom), (x, axes.bottom + 4), _INK, 1.2)


def _draw_line(
    fine: np.ndarray, places: Sequence[tuple[float, float] | None], color: Color
) -> None:
    padded = [None, *places, None]
    for before, here, after in zip(padded, padded[1:], padded[2:], strict=False):
        if here and after:
            stroke(fine, here, after, color, 2.2)
        elif here and not before:
            center = round(here[0] * FINER), round(here[1] * FINER)
            cv2.circle(fine, center, 4 * FINER, color, -1, cv2.LINE_AA)


def _write_ticks(rgb: np.ndarray, axes: _Axes, x: str) -> None:
    size = _text_size(len(rgb))
    for tick in axes.x:
        place = _across(axes, tick), axes.bottom + 1.6 * size
        text(rgb, f"{tick:.10g}", place, height=size, color=_INK, align="center")
    for tick in axes.losses:
        place = axes.left - 0.8 * size, _down(axes, axes.losses, tick)
        text(rgb, f"{tick:.4g}", place, height=size, color=_INK, align="right")
    for tick in axes.scores:
        place = axes.right + 0.8 * size, _down(axes, axes.scores, tick)
        text(rgb, f"{tick:.4g}", place, height=size, color=_INK)
    middle = (axes.left + axes.right) / 2, axes.bottom + 3.5 * size
    text(rgb, x, middle, height=size, color=_INK, align="center")


def _labels(series: Sequence[str], scores: Sequence[str]) -> list[str]:
    """Names for the legend, with their axis where there are two."""
    if not series or not scores:
        return [*series, *scores]
    return [*(f"{name} (left)" for name in series), *(f"{name} (right)" for name in scores)]


def _write_top(rgb: np.ndarray, axes: _Axes, title: str, names: Sequence[str]) -> None:
    """On the right the lines' names, each after a dash of its color, and left of them the title."""
    size = _text_size(len(rgb))
    y = 1.8 * size
    right = axes.right
    for name, color in reversed(list(zip(names, _COLORS, strict=False))):
        left = right - text_width(name, size)
        text(rgb, name, (left, y), height=size, color=_INK)
        dash = round(left - 2.2 * size), round(left - 0.6 * size)
        rgb[round(y) - 1 : round(y) + 2, max(dash[0], 0) : max(dash[1], 0)] = color
        right = dash[0] - 1.2 * size
    height = fitting_height(title, round(1.2 * size), right - axes.left)
    text(rgb, title, (axes.left, y), height=height, color=_INK)
