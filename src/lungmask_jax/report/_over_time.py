"""Measures over time, as lines of SVG."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from lungmask_jax.report import _tables

_WIDTH: Final = 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 466, 14, 170
_APART: Final = 74  # between the labels of dates
_DATE: Final = re.compile(r"([0-9]{4})([-./]?)([0-9]{2})\2([0-9]{2})(?![0-9])")


class Drawn(NamedTuple):
    """A chart: its name, its unit, and the keys that it shows, with the names of their lines."""

    name: str
    unit: str
    lines: Mapping[str, str]


CHARTS: Final = (
    Drawn("Infected share", "%", {
        "infection_percent": "both lungs",
        "right_infection_percent": "right",
        "left_infection_percent": "left",
    }),
    Drawn("Infection", "ml", {
        "infection_ml": "both lungs",
        "right_infection_ml": "right",
        "left_infection_ml": "left",
    }),
    Drawn("Lung volume", "ml", {
        "lungs_ml": "both lungs",
        "right_lung_ml": "right",
        "left_lung_ml": "left",
    }),
    Drawn("CT severity score", "of 25", {"ct_severity_score": "both lungs"}),
)  # fmt: skip


def chart(
    kind: Drawn, days: Sequence[date], rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """A chart for the template, in a box of 480 x 200; none where nothing is known.

    The axis of time is to scale, and the other one begins at 0.
    """
    values = {key: [_number(row.get(key)) for row in rows] for key in kind.lines}
    known = [one for line in values.values() for one in line if one is not None]
    if not known:
        return None
    top = nice(max(known))
    x = _across(days)
    return {
        "name": kind.name,
        "unit": kind.unit,
        "lines": [
            _line(name, x, days, values[key], top, kind.unit)
            for key, name in kind.lines.items()
            if any(one is not None for one in values[key])
        ],
        "ticks": [
            {"y": _down(share * top, top), "text": _tables.number(share * top, _digits(top))}
            for share in (0, 0.5, 1)
        ],
        "dates": _labels(days, x),
    }


def nice(most: float) -> float:
    """The next of 1, 2, 5, 10, 20 and so on; 1 for nothing.

    Example:
        >>> nice(34.0), nice(0.0), nice(0.03)
        (50.0, 1.0, 0.05)
    """
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in (1, 2, 5, 10, 20) if step * power >= most * (1 - 1e-9))


def as_date(text: object) -> date | None:
    """The date in a text of DICOM or of ISO 8601; none if there is no such day.

    Example:
        >>> as_date("20200229"), as_date("2021-02-29"), as_date("1/2/2020")
        (datetime.date(2020, 2, 29), None, None)
    """
    found = _DATE.match(str(text).strip())
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def _number(value: Any) -> float | None:
    return float(value) if _tables.number(value) else None


def _across(days: Sequence[date]) -> list[float]:
    first, last = min(days), max(days)
    length = (last - first).days
    if not length:
        return [(_LEFT + _RIGHT) / 2] * len(days)
    return [round(_LEFT + (_RIGHT - _LEFT) * (day - first).days / length, 1) for day in days]


def _down(value: float, top: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * value / top, 1)


def _line(
    name: str,
    x: Sequence[float],
    days: Sequence[date],
    values: Sequence[float | None],
    top: float,
    unit: str,
) -> dict[str, Any]:
    """Points with their words, and the line through the first one of each date."""
    known = [
        (at, day, one) for at, day, one in zip(x, days, values, strict=True) if one is not None
    ]
    firsts = {day: (at, _down(one, top)) for at, day, one in reversed(known)}
    return {
        "name": name,
        "points": " ".join(f"{at},{down}" for _, (at, down) in sorted(firsts.items())),
        "dots": [
            {
                "x": at,
                "y": _down(one, top),
                "text": f"{day}, {name}: {_tables.number(one, 1)} {unit}",
            }
            for at, day, one in known
        ],
    }


def _labels(days: Sequence[date], x: Sequence[float]) -> list[dict[str, Any]]:
    """The dates on the axis: the first, the last, and those between that have room."""
    places = sorted(dict(zip(days, x, strict=True)).items())
    kept = places[:1]
    for day, at in places[1:-1]:
        if at - kept[-1][1] >= _APART and places[-1][1] - at >= _APART:
            kept.append((day, at))
    kept += places[1:][-1:]
    ends = {kept[0][0]: "start", kept[-1][0]: "end"} if len(kept) > 1 else {}
    return [{"x": at, "text": str(day), "anchor": ends.get(day, "middle")} for day, at in kept]


def _digits(top: float) -> int:
    return 0 if top >= 10 else 1 if top >= 1 else 2
