"""``lungmask-jax inspect``: which scans are there, and which of them would be segmented."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lungmask_jax import cohort, records
from lungmask_jax.cli._border import one_line
from lungmask_jax.cli._progress import bar, console, counted
from lungmask_jax.cohort import Candidate
from lungmask_jax.errors import SpecError
from lungmask_jax.files import printable

_SHOWN = ("scan", "use", "reason", "slices", "description")


def run(options: argparse.Namespace) -> int:
    """Prints a row for each scan, or writes them as a list."""
    if options.out:
        _check_list(options.out, overwrite=options.overwrite)
    with bar() as progress:
        progress.add_task("looking for scans", total=None)
        found = cohort.candidates(options.scans, recursive=True, series=options.series or "")
    rows = [_row(name, one, options.out) for name, one in found.items()]
    if options.out:
        records.write_csv(options.out, map(_cells, rows))
    else:
        console().print(_table(rows))
    scans = [one.scan for one in found.values()]
    for line in cohort.left_out(options.scans, scans, recursive=True):
        console().print(one_line(line), markup=False, highlight=False)
    used = sum(row["use"] == "yes" for row in rows)
    where = f"; all are in {options.out}" if options.out else " by segment --recursive"
    line = f"{used} of {counted(len(found), 'scan')} would be segmented{where}"
    console().print(one_line(line), markup=False, highlight=False)
    return 0


def _table(rows: Iterable[records.Row]) -> Table:
    table = Table(*_SHOWN)
    for row in rows:
        table.add_row(*(Text(one_line(str(row.get(key, "")))) for key in _SHOWN))
    return table


def _check_list(path: Path, *, overwrite: bool) -> None:
    if path.suffix.lower() != ".csv":
        raise SpecError(f"expected a .csv file for --out, found {path}: give another name")
    if os.path.lexists(path) and not overwrite:
        raise SpecError(
            f"{path} exists: move it, give another --out, or replace it with --overwrite"
        )


def _row(name: str, one: Candidate, table: Path | None) -> dict[str, str | float | None]:
    """A row of the list that segment takes; paths are relative to it."""
    path, use, why = os.path.abspath(one.scan.path), one.use, one.reason
    if not os.path.exists(path):
        use, why = False, "there is no such file: check the path"
    if table:
        path = os.path.relpath(path, table.absolute().parent)
        if not _is_utf8(path):
            path, use, why = printable(path), False, "its path is not UTF-8: rename it"
    row: dict[str, str | float | None] = {
        "scan": name,
        "path": path,
        "series": one.scan.series,
        "use": "yes" if use else "no",
        "reason": why,
    }
    if one.series:
        keys = ("patient", "study", "number", "description", "slices", "spacing_mm")
        row |= {key: getattr(one.series, key) for key in keys}
    return row


def _cells(row: records.Row) -> records.Row:
    """The row without formulas; a path stays one that can be read."""
    path = str(row["path"])
    path = path if records.cell(path[:1]) == path[:1] else os.path.join(os.curdir, path)
    cells = {
        key: records.cell(value) if isinstance(value, str) else value for key, value in row.items()
    }
    return {**cells, "path": path}


def _is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
