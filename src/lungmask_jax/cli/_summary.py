"""What ``lungmask-jax evaluate`` leaves: cases as CSV, a summary as JSON, tables and box plots."""

import argparse
import csv
import functools
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from lungmask_jax import evaluation, report, viz
from lungmask_jax.cli._border import complain, one_line
from lungmask_jax.cli._bundles import SEEN
from lungmask_jax.cli._outputs import Outputs, outputs
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation import TEXTS, Row
from lungmask_jax.files import atomic

__all__ = ["RECORD", "SHOWN", "read_rows", "results", "write"]

RECORD = "summary.json"
SHOWN = ("dice", "iou", "sensitivity", "precision", "surface_dice", "hausdorff95_mm", "lesion_f1")


def read_rows(path: Path | None, *labels: str) -> list[Row]:
    """The cases of another model, fit to be compared: all scores, and one of the labels.

    Without a path there is nothing to compare with.
    """
    if path is None:
        return []
    if not path.is_file():
        raise ScanError(f"expected the cases.csv of another model, found no file {path}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScanError(
            f"expected the cases.csv of another model, {path} is something else ({error})"
        ) from error
    missing = [key for key in ("case", "label", *SHOWN) if not lines or key not in lines[0]]
    if missing:
        raise ScanError(
            f"expected the cases.csv of another model, found another table in {path}, without "
            f"{', '.join(missing)}"
        )
    found = {(line["case"], line["label"]) for line in lines}
    if len(found) < len(lines) or not {label for _, label in found} & set(labels):
        raise ScanError(
            f"expected one row a case of {' or '.join(labels)} in {path}, found {len(lines)} rows "
            f"of {len(found)} cases and labels, {', '.join(sorted({label for _, label in found}))}"
        )
    return [_numbers(line, path) for line in lines]


def _numbers(line: Mapping[str, str], path: Path) -> Row:
    try:
        return {key: value if key in TEXTS else float(value) for key, value in line.items()}
    except (TypeError, ValueError) as error:
        raise ScanError(f"expected scores in {path}, found {error}: write it again") from error


def results(options: argparse.Namespace) -> Outputs:
    """The folder for the scores; files of others in it are found before any work."""
    found = outputs(options.out, [options.against], overwrite=options.overwrite)
    patterns = ("boxes.png", "boxes_*.png", "worst[0-9]*_*.png", "cases.csv")
    names = [path.name for pattern in patterns for path in found.folder.glob(pattern)]
    found.check(RECORD, names)
    for record in ("cases.json", "table.json") if options.protocol else ():
        found.check(record, [])
    return found


def write(
    options: argparse.Namespace,
    rows: Sequence[Row],
    others: Sequence[Row],
    shown: Console,
    folder: Path,
) -> None:
    """Cases as CSV, box plots, a table that is printed, and the summary with what is there.

    Cases that a model knows are summed up apart, and not compared.
    """
    with atomic(folder / "cases.csv") as temporary:
        temporary.write_text(_csv(rows), encoding="utf-8")
    unseen = _unseen(rows)
    _draw(options, unseen or rows, _unseen(others) if unseen else [], folder)
    result: dict[str, Any] = {"summary": _summaries(rows, "")}
    result |= {_key(seen): found for seen in SEEN if (found := _summaries(rows, seen))}
    if others:
        result |= {"against": str(options.against), **_compared(*_unknown(rows, others))}
    report.write_json(folder / RECORD, _plain(result), files=sorted(folder.iterdir()))
    _say(options, rows, result, shown)


def _say(
    options: argparse.Namespace, rows: Sequence[Row], result: Mapping[str, Any], shown: Console
) -> None:
    for label in result["summary"]:
        _print(shown, label, result["summary"][label], result.get("comparison", {}).get(label))
    for seen in SEEN:
        for label, found in result.get(_key(seen), {}).items():
            _print(shown, f"{label}, cases {seen}", found, None)
        names = dict.fromkeys(str(row["case"]) for row in rows if row.get("seen") == seen)
        if names:
            complain(
                f"{seen} by the model, so no evidence of how good it is, and summed up apart: "
                f"{', '.join(names)}"
            )
    say = functools.partial(shown.print, markup=False, highlight=False)
    if result.get("not_compared"):
        say(f"not compared, in one table only: {', '.join(result['not_compared'])}")
    say(one_line(f"every case in {options.out / 'cases.csv'}"))


def _unseen(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.get("seen")]


def _unknown(rows: Sequence[Row], others: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Both, without the cases that either model knows."""
    known = {row["case"] for row in (*rows, *others) if row.get("seen")}
    ours, theirs = ([row for row in some if row["case"] not in known] for some in (rows, others))
    return ours, theirs


def _key(seen: str) -> str:
    return seen.replace(" ", "_")


def _csv(rows: Sequence[Row]) -> str:
    table = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return table.getvalue()


def _labels(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(str(row["label"]) for row in rows))


def _summaries(rows: Sequence[Row], seen: str) -> dict[str, dict[str, dict[str, float]]]:
    """By label and score, of the cases that a model has seen so."""
    chosen = [row for row in rows if row.get("seen", "") == seen]
    return {label: _summary(chosen, label) for label in _labels(chosen)}


def _summary(rows: Sequence[Row], label: str) -> dict[str, dict[str, float]]:
    scores = dict.fromkeys(key for row in rows if row["label"] == label for key in row)
    return {
        score: evaluation.summarize(rows, score, label=label)._asdict()
        for score in scores
        if score not in TEXTS
    }


def _compared(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, Any]:
    """What two models reached on the cases and labels of both, and what only one of them has."""
    labels = _labels(rows)
    ours, theirs = (
        {(str(row["case"]), str(row["label"])): row for row in some if row["label"] in labels}
        for some in (rows, others)
    )
    both = [key for key in ours if key in theirs]
    first, second = [theirs[key] for key in both], [ours[key] for key in both]
    return {
        "comparison": {
            label: {
                score: evaluation.compare(first, second, score, label=label)._asdict()
                for score in SHOWN
            }
            for label in _labels(second)
        },
        "not_compared": [" ".join(key) for key in {**ours, **theirs} if key not in both],
    }


def _draw(
    options: argparse.Namespace, rows: Sequence[Row], others: Sequence[Row], folder: Path
) -> None:
    """The scores of each label as boxes; those of another model beside them."""
    ours, labels = options.out.name or "this", _labels(rows)
    models = {ours: rows}
    if others:
        other = options.against.parent.name or "other"
        models = {f"{other} (before)" if other == ours else other: others, **models}
    for label in labels:
        found = {
            name: [row for row in some if row["label"] == label] for name, some in models.items()
        }
        known = ", known to the model" if any(row.get("seen") for row in found[ours]) else ""
        title = f"{label}, {len(found[ours])} cases{known}"
        picture = viz.box_plot(_boxes({n: some for n, some in found.items() if some}), title=title)
        viz.save_png(picture, folder / ("boxes.png" if len(labels) == 1 else f"boxes_{label}.png"))


def _boxes(models: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, list[float]]]:
    """Scores between 0 and 1, by model; one alone needs no name."""
    return {
        key: {
            model if len(models) > 1 else "": [float(row[key]) for row in some]
            for model, some in models.items()
        }
        for key in SHOWN
        if key != "hausdorff95_mm"
    }


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(
    shown: Console, title: str, found: Mapping[str, Any], compared: Mapping[str, Any] | None
) -> None:
    """The scores of a label, and below how they differ from another model's."""
    table = _table(title, "cases", "mean ± sd", "95 %", "median (quartiles)")
    for score in SHOWN:
        one = found[score]
        mean, sd, low, high, median, q1, q3 = (
            _short(one[key]) for key in ("mean", "sd", "low", "high", "median", "q1", "q3")
        )
        table.add_row(
            score, _cases(one), f"{mean} ± {sd}", f"{low}-{high}", f"{median} ({q1}-{q3})"
        )
    shown.print(table)
    if compared:
        table = _table(f"{title}, difference", "cases", "mean (95 %)", "better", "worse", "p")
        for score, one in compared.items():
            mean = f"{one['mean']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
            counts = (str(one[key]) for key in ("cases", "better", "worse"))
            cases, better, worse = counts
            table.add_row(score, cases, mean, better, worse, f"{one['p']:.3g}")
        shown.print(table)


def _table(title: str, *heads: str) -> Table:
    """One that fits into 80 columns."""
    return Table("score", *heads, title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))


def _short(value: float) -> str:
    return f"{value:.3f}" if not abs(value) >= 10 else f"{value:.1f}"


def _cases(one: Mapping[str, Any]) -> str:
    """How many cases have the score; infinite and undefined ones are in no mean."""
    others = {"inf": one["infinite"], "nan": one["undefined"]}
    more = " ".join(f"{number} {what}" for what, number in others.items() if number)
    return f"{one['cases']} +{more}" if more else str(one["cases"])
