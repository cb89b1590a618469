"""Rows of scores: their groups, names and numbers as texts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from lungmask_jax.report._tables import number, words

Row: TypeAlias = Mapping[str, str | float]

GROUPS: Final = {
    "summary": "",
    "learned_from": "cases that the model learned from",
    "held_out": "cases by which the model was chosen",
}
"""Parts of a summary, and words for cases that a model has seen."""

_NAMES: Final = {
    "dice": "Dice",
    "iou": "IoU",
    "surface_dice": "Surface Dice",
    "hausdorff95_mm": "Hausdorff 95 %, mm",
    "lesion_f1": "Lesion F1",
    "volume_ml": "Volume, ml",
    "target_ml": "True volume, ml",
}


class Scores(NamedTuple):
    """A model with its scores.

    Attributes:
        name: Of the model.
        rows: One per case and label: ``case``, ``label`` and the scores; if known, also
            ``patient`` and ``seen``.
        summary: As in ``summary.json``, from `lungmask_jax.evaluation.Report.summary`.

    Example:
        >>> Scores("mine", [], {}).name
        'mine'
    """

    name: str
    rows: Sequence[Row]
    summary: Mapping[str, Any]


class Errors(NamedTuple):
    """The errors of a case.

    Attributes:
        case: Its name.
        dice: Of the model.
        rgb: Its picture ``(H, W, 3)`` uint8 RGB, from `lungmask_jax.viz.errors`.
        other_dice: Of the other model; NaN if it has no such case.
        other: Its picture as a PNG; empty if there is none.

    Example:
        >>> Errors("a", 0.5, np.zeros((2, 2, 3), np.uint8)).other
        b''
    """

    case: str
    dice: float
    rgb: np.ndarray
    other_dice: float = math.nan
    other: bytes = b""


def labels(rows: Sequence[Row]) -> list[str]:
    """The labels of rows, in their order."""
    return list(dict.fromkeys(str(row["label"]) for row in rows))


def cases(rows: Sequence[Row]) -> list[str]:
    """The names of cases, in their order."""
    return list(dict.fromkeys(str(row["case"]) for row in rows))


def patient(row: Row) -> str:
    """The patient of a row; its case if none is known."""
    return str(row.get("patient") or row["case"])


def shares_patients(rows: Sequence[Row]) -> bool:
    """Whether several cases are of one patient."""
    return len({*map(patient, rows)}) < len(cases(rows))


def of(rows: Sequence[Row], label: str, group: str) -> list[Row]:
    """The rows of a label that belong to one of `GROUPS`."""
    seen = "" if group == "summary" else words(group)
    return [row for row in rows if row["label"] == label and row.get("seen", "") == seen]


def pairs(model: Scores, other: Scores, label: str) -> list[tuple[Row, Row]]:
    """The rows of both models of each case that neither has seen."""
    theirs = {str(row["case"]): row for row in of(other.rows, label, "summary")}
    ours = of(model.rows, label, "summary")
    return [(row, theirs[str(row["case"])]) for row in ours if str(row["case"]) in theirs]


def is_share(score: str) -> bool:
    """Whether a score is between 0 and 1, and more is better."""
    return not score.endswith(("_mm", "_ml"))


def on_one_axis(scores: Sequence[str]) -> list[list[str]]:
    """Scores that are drawn along one axis: all shares, and every other alone."""
    shares = [score for score in scores if is_share(score)]
    return [*([shares] if shares else []), *([one] for one in scores if not is_share(one))]


def name(score: str) -> str:
    """A score in words."""
    return _NAMES.get(score) or words(score).capitalize()


def digits(score: str) -> int:
    """Decimals of a score."""
    return 3 if is_share(score) else 1


def shown(value: float, decimals: int) -> str:
    """A number in a table, with a true minus sign; an empty text where it is undefined."""
    return "infinite" if math.isinf(value) else number(value, decimals).replace("-", "\u2212")


def signed(value: float, decimals: int) -> str:
    """A difference in a table."""
    return f"+{shown(value, decimals)}" if value > 0 else shown(value, decimals)


def interval(summary: Mapping[str, float], decimals: int) -> str:
    """The interval of a mean."""
    low, high = (shown(summary[key], decimals) for key in ("low", "high"))
    return f"{low} to {high}" if low else ""
