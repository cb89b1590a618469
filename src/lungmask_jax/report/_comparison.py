"""Two models case by case: differences of all scores, and the cases that differ most."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lungmask_jax.files import printable
from lungmask_jax.report import _lanes, _scores
from lungmask_jax.report._scores import Row, Scores, shown, signed
from lungmask_jax.report._tables import words

_MOST: Final = 10  # cases in the list of those that differ most


def compared(model: Scores, other: Scores, scores: Sequence[str]) -> list[dict[str, Any]]:
    """For each label the differences of the scores, and the cases that differ most in the first."""
    numbers = {name: number for number, name in enumerate(_scores.cases(model.rows))}
    return [
        {
            "title": words(label).capitalize(),
            "score": _scores.name(scores[0]),
            "axes": [_on_axis(pairs, found, some, numbers) for some in _scores.on_one_axis(scores)],
            "most": _most(pairs, scores[0], numbers),
            "ticks": _lanes.ticks(_lanes.axis([1.0])),
        }
        for label, found in model.summary.get("comparison", {}).items()
        if (pairs := _scores.pairs(model, other, label))
    ]


def _on_axis(
    pairs: Sequence[tuple[Row, Row]],
    found: Mapping[str, Mapping[str, float]],
    scores: Sequence[str],
    numbers: Mapping[str, int],
) -> dict[str, Any]:
    values = {
        score: [float(ours[score]) - float(theirs[score]) for ours, theirs in pairs]
        for score in scores
    }
    along = _lanes.axis([one for some in values.values() for one in some], signed=True)
    cases = [numbers[str(ours["case"])] for ours, _ in pairs]
    lines = [
        {
            "lane": _lanes.lane(values[score], cases, along, found[score], box=False),
            **_texts(found[score], score),
        }
        for score in scores
    ]
    return {"lines": lines, "ticks": _lanes.ticks(along)}


def _texts(found: Mapping[str, float], score: str) -> dict[str, Any]:
    """The numbers of a comparison."""
    decimals = _scores.digits(score)
    low, mean, high = (signed(found[key], decimals) for key in ("low", "mean", "high"))
    p = found["p"]
    return {
        "name": _scores.name(score),
        "cases": found["cases"],
        "mean": mean,
        "interval": f"{low} to {high}" if mean else "",
        "higher": found["better"],
        "lower": found["worse"],
        "p": "< 0.001" if p < 0.001 else shown(p, 3),
    }


def _most(
    pairs: Sequence[tuple[Row, Row]], score: str, numbers: Mapping[str, int]
) -> list[dict[str, Any]]:
    """The cases with the largest differences, in the order of the difference."""
    differences = [
        (float(ours[score]) - float(theirs[score]), ours, theirs) for ours, theirs in pairs
    ]
    changed = [one for one in differences if math.isfinite(one[0]) and one[0] != 0]
    chosen = sorted(changed, key=lambda one: -abs(one[0]))[:_MOST]
    along = _lanes.axis([1.0])
    return [
        {
            "case": printable(str(ours["case"])),
            "number": numbers[str(ours["case"])],
            "difference": signed(difference, 3),
            **{
                who: {"x": along.x(float(row[score])), "text": shown(float(row[score]), 3)}
                for who, row in (("ours", ours), ("theirs", theirs))
            },
        }
        for difference, ours, theirs in sorted(chosen, key=lambda one: one[0])
    ]
