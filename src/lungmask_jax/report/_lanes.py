"""Scores as drawings: a lane for each model, with a box, a mean, and a dot for each case."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

_WIDE: Final = 600.0
_EDGE: Final = 8.0  # room for dots at both ends
_MIDDLE: Final = 16.0
_SPREAD: Final = 12.6  # of the dots, up and down
_STEPS: Final = (1, 2, 5, 10)
_TICKS: Final = 5


class Axis(NamedTuple):
    """A range of numbers along a lane, and the numbers that are written below it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def x(self, value: float) -> float:
        """The place of a number in a lane that is 600 wide."""
        share = (value - self.low) / (self.high - self.low)
        return round(_EDGE + (_WIDE - 2 * _EDGE) * min(max(share, 0.0), 1.0), 1)


def axis(values: Iterable[float], *, signed: bool = False) -> Axis:
    """From zero to a round number that no value exceeds; with a sign, as far to both sides."""
    most = max((abs(value) for value in values if math.isfinite(value)), default=0.0) or 1.0
    magnitude = 10.0 ** math.floor(math.log10(most / _TICKS))
    step = next(one * magnitude for one in _STEPS if one * magnitude * _TICKS >= most * 0.999)
    count = math.ceil(most / step - 1e-9)
    every = 2 if signed and count > 3 else 1
    places = range(-(count // every) if signed else 0, count // every + 1)
    ticks = tuple(step * every * place for place in places)
    return Axis(-count * step if signed else 0.0, count * step, ticks)


def ticks(along: Axis) -> list[dict[str, Any]]:
    """Places and texts of the numbers along an axis, for the template."""
    step = along.ticks[1] - along.ticks[0]
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    sign = "+" if along.low < 0 else ""
    return [
        {
            "x": along.x(tick),
            "text": f"{tick:{sign if place else ''}.{decimals}f}".replace("-", "\u2212"),
        }
        for place, tick in enumerate(along.ticks, -len(along.ticks) // 2 + 1 if sign else 0)
    ]


def lane(
    values: Sequence[float],
    cases: Sequence[int],
    along: Axis,
    summary: Mapping[str, float],
    *,
    box: bool = True,
) -> dict[str, Any]:
    """Dots, box, whiskers, and the mean with its interval, for the template.

    Args:
        values: The score of each case; those that are not finite are left out.
        cases: Numbers of the cases.
        along: The axis.
        summary: ``mean``, ``low`` and ``high``, its interval.
        box: Whether to draw quartiles, median and whiskers.
    """
    there = sorted(
        (value, case) for value, case in zip(values, cases, strict=True) if math.isfinite(value)
    )
    # golden-ratio steps: dots of near values lie apart, and the same ones always at one place
    away = (_SPREAD * (place * 0.618034 % 1 - 0.5) for place in range(len(there)))
    return {
        "dots": [
            {"x": along.x(value), "y": round(_MIDDLE + down, 1), "case": case}
            for (value, case), down in zip(there, away, strict=True)
        ],
        "box": _box(np.array([value for value, _ in there]), along) if there and box else None,
        "mean": {key: along.x(summary[key]) for key in ("mean", "low", "high")} if there else None,
    }


def _box(values: np.ndarray, along: Axis) -> dict[str, float]:
    """Quartiles, median, and whiskers to the farthest case within one and a half boxes (Tukey)."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    reach = 1.5 * (q3 - q1)
    near = values[(values >= q1 - reach) & (values <= q3 + reach)]
    ends = {"low": near.min(), "q1": q1, "median": median, "q3": q3, "high": near.max()}
    return {name: along.x(float(value)) for name, value in ends.items()}
