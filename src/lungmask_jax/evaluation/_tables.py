"""Rows of scores: read from the table of another model, summarized, compared."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lungmask_jax import records
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation._masks import SEEN
from lungmask_jax.evaluation._scores import TEXTS, Row, compare, summarize

SHOWN: Final = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "surface_dice",
    "hausdorff95_mm",
    "lesion_f1",
)
"""The scores that tables and pictures show."""


def read_rows(path: str | os.PathLike[str], labels: Sequence[str]) -> list[Row]:
    """The rows of a ``cases.csv`` for comparison: with all of `SHOWN`, and one of the labels."""
    path = Path(path)
    if not path.is_file():
        raise ScanError(f"expected the cases.csv of another model, found no file {path}")
    columns, lines = records.table(path)
    missing = [key for key in ("case", "label", *SHOWN) if key not in columns or not lines]
    if missing:
        raise ScanError(
            f"expected the cases.csv of another model, found another table in {path}, without "
            f"{', '.join(missing)}"
        )
    found = {(line["case"], line["label"]) for line in lines}
    if len(found) < len(lines) or not {label for _, label in found} & set(labels):
        raise ScanError(
            f"expected one row per case of {' or '.join(labels)} in {path}, found {len(lines)} "
            f"rows of {len(found)} cases and labels, "
            f"{', '.join(sorted({label for _, label in found}))}"
        )
    return [_numbers(line, path) for line in lines]


def _numbers(line: Mapping[str, str], path: Path) -> Row:
    try:
        return {key: value if key in TEXTS else float(value) for key, value in line.items()}
    except (TypeError, ValueError) as error:
        raise ScanError(f"expected scores in {path}, found {error}: write it again") from error


def labels_of(rows: Sequence[Row]) -> list[str]:
    """The labels of rows, in their order."""
    return list(dict.fromkeys(str(row["label"]) for row in rows))


def unseen(rows: Sequence[Row]) -> list[Row]:
    """The rows of cases that the model has not seen."""
    return [row for row in rows if not row.get("seen")]


def summaries(rows: Sequence[Row]) -> dict[str, Any]:
    """Summaries by label and score: ``summary``, and those of cases the model has seen."""
    known = {seen.replace(" ", "_"): _summaries(rows, seen) for seen in SEEN}
    return {"summary": _summaries(rows, ""), **{key: some for key, some in known.items() if some}}


def _summaries(rows: Sequence[Row], seen: str) -> dict[str, dict[str, dict[str, float]]]:
    chosen = [row for row in rows if row.get("seen", "") == seen]
    return {label: _summary(chosen, label) for label in labels_of(chosen)}


def _summary(rows: Sequence[Row], label: str) -> dict[str, dict[str, float]]:
    scores = dict.fromkeys(key for row in rows if row["label"] == label for key in row)
    return {
        score: summarize(rows, score, label=label)._asdict()
        for score in scores
        if score not in TEXTS
    }


def comparisons(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Any]:
    """The differences of two models on their common cases and labels that neither has seen."""
    known = {row["case"] for row in (*rows, *others) if row.get("seen")}
    labels = labels_of([row for row in rows if row["case"] not in known])
    ours, theirs = (
        {
            (str(row["case"]), str(row["label"])): row
            for row in some
            if row["case"] not in known and row["label"] in labels
        }
        for some in (rows, others)
    )
    both = [key for key in ours if key in theirs]
    first, second = [theirs[key] for key in both], [ours[key] for key in both]
    return {
        "comparison": {
            label: {score: compare(first, second, score, label=label)._asdict() for score in SHOWN}
            for label in labels_of(second)
        },
        "not_compared": [" ".join(key) for key in {**ours, **theirs} if key not in both],
    }
