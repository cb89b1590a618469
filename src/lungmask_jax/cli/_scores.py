"""The printed lines and the files of ``lungmask-jax evaluate``."""

import argparse
import functools
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lungmask_jax import report, viz
from lungmask_jax.cli._border import one_line, print_error
from lungmask_jax.cli._progress import console
from lungmask_jax.cohort import Outputs, outputs
from lungmask_jax.evaluation import SEEN, SHOWN, Report, Row

_RECORD = "summary.json"


def results(options: argparse.Namespace) -> Outputs:
    """The folder for the scores; files of others in it are found before any work."""
    if options.report:
        report.check_installed()
    inputs = [options.against] if options.against else []
    found = outputs(options.out, inputs=inputs, overwrite=options.overwrite)
    patterns = ("boxes.png", "boxes_*.png", "worst[0-9]*_*.png", "cases.csv", "report.html")
    names = [path.name for pattern in patterns for path in found.folder.glob(pattern)]
    found.check(_RECORD, names)
    for record in ("cases.json", "table.json") if options.protocol else ():
        found.check(record, [])
    return found


def watcher(
    progress: Progress, options: argparse.Namespace
) -> Callable[[int, int, Sequence[Row]], None]:
    """A callback of an evaluation: checks the folder first, then prints each row."""
    task = progress.add_task("scoring", total=None)
    say = functools.partial(progress.console.print, markup=False, highlight=False)

    def watch(done: int, total: int, rows: Sequence[Row]) -> None:
        if not done:
            results(options)
        progress.update(task, completed=done, total=total)
        for row in rows:
            scores = " ".join(f"{key} {row[key]:.3f}" for key in SHOWN)
            seen = f" ({row['seen']})" if row.get("seen") else ""
            say(one_line(f"{row['case']} {row['label']}: {scores}{seen}"))

    return watch


def save(judged: Report, options: argparse.Namespace) -> None:
    """Writes all of a report, and prints its summary."""
    with results(options).written(_RECORD) as folder:
        judged.save(folder, name=options.out.name or "this", page=options.report)
    if missing := viz.missing_plots():
        print_error(f"no box plots: {missing}")
    summary, shown = judged.summary(), console()
    for label, scores in summary["summary"].items():
        _print(shown, label, scores, summary.get("comparison", {}).get(label))
    for seen in SEEN:
        for label, scores in summary.get(seen.replace(" ", "_"), {}).items():
            _print(shown, f"{label}, cases {seen}", scores, None)
        names = dict.fromkeys(str(row["case"]) for row in judged.rows if row.get("seen") == seen)
        if names:
            print_error(
                f"{seen} by the model, so no evidence of its quality, and summarized separately: "
                f"{', '.join(names)}"
            )
    say = functools.partial(shown.print, markup=False, highlight=False)
    if summary.get("not_compared"):
        say(f"not compared, in one table only: {', '.join(summary['not_compared'])}")
    say(one_line(f"every case in {options.out / 'cases.csv'}"))


def _print(
    shown: Console, title: str, scores: Mapping[str, Any], compared: Mapping[str, Any] | None
) -> None:
    """The scores of a label, and below how they differ from another model's."""
    rows = table(title, "cases", "mean ± sd", "95 %", "median (quartiles)")
    for score in SHOWN:
        one = scores[score]
        mean, sd, low, high, median, q1, q3 = (
            _short(one[key]) for key in ("mean", "sd", "low", "high", "median", "q1", "q3")
        )
        spread, interval = f" ± {sd}" if sd else "", f"{low}-{high}" if low else ""
        quartiles = f"{median} ({q1}-{q3})" if median else ""
        rows.add_row(score, _cases(one), f"{mean}{spread}", interval, quartiles)
    shown.print(rows)
    if compared:
        rows = table(f"{title}, difference", "cases", "mean (95 %)", "higher", "lower", "p")
        for score, one in compared.items():
            interval = "" if isnan(one["low"]) else f" ({one['low']:+.3f} to {one['high']:+.3f})"
            mean = f"{one['mean']:+.3f}{interval}"
            counts = (str(one[key]) for key in ("cases", "better", "worse"))
            cases, higher, lower = counts
            rows.add_row(score, cases, mean, higher, lower, f"{one['p']:.3g}")
        shown.print(rows)


def table(title: str, *heads: str) -> Table:
    """One that fits into 80 columns."""
    return Table("score", *heads, title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))


def _short(value: float) -> str:
    """A number of few digits; nothing for NaN."""
    if isnan(value):
        return ""
    return f"{value:.3f}" if not abs(value) >= 10 else f"{value:.1f}"


def _cases(one: Mapping[str, Any]) -> str:
    """The number of cases with the score; infinite and undefined ones are in no mean."""
    others = {"inf": one["infinite"], "nan": one["undefined"]}
    more = " ".join(f"{number} {what}" for what, number in others.items() if number)
    return f"{one['cases']} +{more}" if more else str(one["cases"])
