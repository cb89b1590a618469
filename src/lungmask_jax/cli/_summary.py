"""What ``lungmask-jax evaluate`` leaves: cases as CSV, a summary as JSON, tables and box plots."""

import argparse
import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from lungmask_jax import evaluation, viz
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation import Row
from lungmask_jax.files import atomic

__all__ = ["SHOWN", "read_rows", "write"]

SHOWN = ("dice", "iou", "sensitivity", "precision", "surface_dice", "hausdorff95_mm", "lesion_f1")


def write(options: argparse.Namespace, rows: Sequence[Row], shown: Console) -> None:
    """Cases as CSV, the summary as JSON, and both as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = io.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic(options.out / "cases.csv") as temporary:
        temporary.write_text(table.getvalue(), encoding="utf-8")
    labels = list(dict.fromkeys(str(row["label"]) for row in rows))
    result: dict[str, Any] = {"summary": {label: _summary(rows, label) for label in labels}}
    if options.against is not None:
        other = read_rows(options.against)
        result["against"] = str(options.against)
        result["comparison"] = {label: _comparison(other, rows, label) for label in labels}
    for label in labels:
        name = "boxes.png" if len(labels) == 1 else f"boxes_{label}.png"
        viz.save_png(_boxes(options, rows, label), options.out / name)
    with atomic(options.out / "summary.json") as temporary:
        temporary.write_text(json.dumps(_plain(result), indent=2) + "\n", encoding="utf-8")
    for label in labels:
        _print(shown, label, result)
    shown.print(f"every case in {options.out / 'cases.csv'}", markup=False, highlight=False)


def _boxes(options: argparse.Namespace, rows: Sequence[Row], label: str) -> np.ndarray:
    """The scores of one label as boxes; those of another model beside them."""
    models = {options.out.name or "this": rows}
    if options.against is not None:
        other = options.against.parent.name or "other"
        models = {
            f"{other} (before)" if other in models else other: read_rows(options.against),
            **models,
        }
    shares = [key for key in SHOWN if key != "hausdorff95_mm"]
    scores = {
        key: {
            model if len(models) > 1 else "": [
                float(row[key]) for row in some if row["label"] == label
            ]
            for model, some in models.items()
        }
        for key in shares
    }
    cases = sum(row["label"] == label for row in rows)
    return viz.box_plot(scores, title=f"{label}, {cases} cases")


def _summary(rows: Sequence[Row], label: str) -> dict[str, dict[str, float]]:
    scores = dict.fromkeys(key for row in rows if row["label"] == label for key in row)
    return {
        score: evaluation.summarize(rows, score, label=label)._asdict()
        for score in scores
        if score not in ("case", "label")
    }


def _comparison(
    first: Sequence[Row], second: Sequence[Row], label: str
) -> dict[str, dict[str, float]]:
    return {
        score: evaluation.compare(first, second, score, label=label)._asdict() for score in SHOWN
    }


def read_rows(path: Path) -> list[dict[str, str | float]]:
    if not path.is_file():
        raise ScanError(f"expected the cases.csv of another model, found no file {path}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if not lines or not {"case", "label"} <= lines[0].keys():
        raise ScanError(f"expected the cases.csv of another model, found another table in {path}")
    try:
        return [
            {
                key: value if key in ("case", "label") else float(value)
                for key, value in line.items()
            }
            for line in lines
        ]
    except (TypeError, ValueError) as error:
        raise ScanError(f"expected scores in {path}, found {error}: write it again") from error


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(shown: Console, label: str, result: Mapping[str, Any]) -> None:
    table = Table(title=label)
    heads = ["score", "cases", "mean ± sd", "95 % interval", "median (quartiles)", "range"]
    compared = result.get("comparison", {}).get(label)
    for head in [*heads, *(["difference", "p"] if compared else [])]:
        table.add_column(head)
    for score in SHOWN:
        one = result["summary"][label][score]
        cells = [
            score,
            str(one["cases"]),
            f"{one['mean']:.3f} ± {one['sd']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
            f"{one['median']:.3f} ({one['q1']:.3f} to {one['q3']:.3f})",
            f"{one['min']:.3f} to {one['max']:.3f}",
        ]
        if compared:
            other = compared[score]
            cells.append(f"{other['mean']:+.3f} ({other['low']:+.3f} to {other['high']:+.3f})")
            cells.append(f"{other['p']:.3g}")
        table.add_row(*cells)
    shown.print(table)
