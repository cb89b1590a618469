"""Box plots of the scores of many cases, with a dot for every case."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import cv2
import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.viz._canvas import (
    BLUE,
    FINER,
    GREEN,
    ORANGE,
    PURPLE,
    VERMILION,
    Color,
    canvas,
    fitting_height,
    stroke,
    text,
    text_width,
)

__all__ = ["box_plot"]

_WHITE: Final = (255, 255, 255)
_INK: Final = (45, 45, 45)
_LINE: Final = (225, 225, 225)
_COLORS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE)
_TEXT = 14
_TOP = 3 * _TEXT
_LANE = 46  # pixels of a box and the space around it


def box_plot(
    scores: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    title: str = "",
    width: int = 960,
) -> np.ndarray:
    """Box plots of scores between 0 and 1: quartiles, median, and a dot for every case.

    Whiskers reach to the farthest case within one and a half times the box (Tukey). Values that are
    not finite are skipped, and counted beside the name.

    Args:
        scores: Name of a score to model to a value for each case; models have one color each.
        title: Text above the boxes.
        width: Of the picture.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        SpecError: There is nothing to draw, a value is not between 0 and 1, or there are more than
            five models.

    Example:
        >>> box_plot({"dice": {"mine": [0.7, 0.8, 0.9]}}).shape
        (136, 960, 3)
    """
    models = list(dict.fromkeys(model for row in scores.values() for model in row))
    _check(scores, models)
    lanes = [(name, model) for name, row in scores.items() for model in row]
    left = 3 * _TEXT + max(text_width(_label(name, scores[name]), _TEXT) for name in scores)
    right, bottom = width - 2 * _TEXT, _TOP + _LANE * len(lanes)
    ticks = [(f"{tick / 5:.1f}", left + tick / 5 * (right - left)) for tick in range(6)]
    fine = canvas((bottom + 3 * _TEXT + 6) * FINER, width * FINER, _WHITE)
    for _, x in ticks:
        stroke(fine, (x, _TOP), (x, bottom), _LINE, 1.0)
    for number, (name, model) in enumerate(lanes):
        values = np.array([v for v in scores[name][model] if math.isfinite(v)])
        if len(values):
            middle = _TOP + (number + 0.5) * _LANE
            _draw(fine, left + values * (right - left), middle, _COLORS[models.index(model)])
    rgb = cv2.resize(fine, None, fx=1 / FINER, fy=1 / FINER, interpolation=cv2.INTER_AREA)
    for words, x in ticks:
        place = x, bottom + 1.5 * _TEXT
        text(rgb, words, place, height=_TEXT, color=_INK, align="center")
    _write_names(rgb, scores, left - _TEXT)
    _write_top(rgb, title, models if models != [""] else [], right)
    return rgb


def _check(scores: Mapping[str, Mapping[str, Sequence[float]]], models: Sequence[str]) -> None:
    values = [v for row in scores.values() for some in row.values() for v in some]
    if not any(math.isfinite(value) for value in values):
        raise SpecError("expected scores to draw, found none that is finite")
    outside = [value for value in values if math.isfinite(value) and not 0 <= value <= 1]
    if outside:
        raise SpecError(f"expected scores between 0 and 1, found {outside[0]}")
    if len(models) > len(_COLORS):
        raise SpecError(f"expected at most {len(_COLORS)} models, found {len(models)}")


def _label(name: str, row: Mapping[str, Sequence[float]]) -> str:
    gone = max(sum(not math.isfinite(value) for value in some) for some in row.values())
    return f"{name} ({gone} undefined)" if gone else name


def _draw(fine: np.ndarray, places: np.ndarray, y: float, color: Color) -> None:
    low, median, high = np.percentile(places, [25, 50, 75])
    reach = 1.5 * (high - low)
    inside = places[(places >= low - reach) & (places <= high + reach)]
    pale = tuple(round(255 - 0.25 * (255 - part)) for part in color)
    half = 0.3 * _LANE
    corners = [round(part * FINER) for part in (low, y - half, high, y + half)]
    cv2.rectangle(fine, corners[:2], corners[2:], pale, -1)
    for x in (low, high):
        stroke(fine, (x, y - half), (x, y + half), color, 1.5)
    for side in (-half, half):
        stroke(fine, (low, y + side), (high, y + side), color, 1.5)
    for start, end in ((low, inside.min()), (high, inside.max())):
        stroke(fine, (start, y), (end, y), color, 1.5)
        stroke(fine, (end, y - half / 2), (end, y + half / 2), color, 1.5)
    # golden-ratio steps: dots of near values lie apart, and the same ones always at one place
    for rank, x in enumerate(np.sort(places)):
        away = ((rank * 0.618034) % 1 - 0.5) * 1.4 * half
        center = round(float(x) * FINER), round((y + away) * FINER)
        cv2.circle(fine, center, round(2.6 * FINER), _WHITE, -1, cv2.LINE_AA)
        cv2.circle(fine, center, round(2.0 * FINER), color, -1, cv2.LINE_AA)
    stroke(fine, (median, y - half), (median, y + half), _INK, 2.5)


def _write_names(
    rgb: np.ndarray, scores: Mapping[str, Mapping[str, Sequence[float]]], right: float
) -> None:
    done = 0
    for name, row in scores.items():
        place = right, _TOP + (done + len(row) / 2) * _LANE
        text(rgb, _label(name, row), place, height=_TEXT, color=_INK, align="right")
        done += len(row)


def _write_top(rgb: np.ndarray, title: str, models: Sequence[str], right: float) -> None:
    y = 1.5 * _TEXT
    for model, color in reversed(list(zip(models, _COLORS, strict=False))):
        left = right - text_width(model, _TEXT)
        text(rgb, model, (left, y), height=_TEXT, color=_INK)
        square = round(left - 1.6 * _TEXT), round(y - _TEXT / 2)
        rgb[square[1] : square[1] + _TEXT, max(square[0], 0) : square[0] + _TEXT] = color
        right = square[0] - 1.5 * _TEXT
    height = fitting_height(title, round(1.2 * _TEXT), right - _TEXT)
    text(rgb, title, (_TEXT, y), height=height, color=_INK)
