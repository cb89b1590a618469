"""Lists of scans: tables that name their paths, and perhaps their results."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungmask_jax import records
from lungmask_jax.cohort._scan import Scan
from lungmask_jax.errors import ScanError
from lungmask_jax.files import LONGEST_NAME, printable

_PATH: Final = "path"
_COLUMNS: Final = (_PATH, "scan", "series", "patient", "study_date", "use")
_USE: Final = {
    **dict.fromkeys(("", "yes", "y", "true", "1"), True),
    **dict.fromkeys(("no", "n", "false", "0"), False),
}


def rows_of(table: Path) -> Iterator[tuple[Scan, bool, str]]:
    """Each scan of a table, whether it is segmented, and the name of its results if it has one."""
    for line in _lines(table):
        values = {key: (line.get(key) or "").strip() for key in _COLUMNS}
        use = _USE.get(values["use"].lower())
        if use is None:
            raise ScanError(
                f"expected yes or no in the column use, found {values['use']!r} for "
                f"{values[_PATH]} in {table}: write yes, no, or nothing for yes"
            )
        name = records.text(values["scan"])
        _check_name(name, table)
        path = table.parent / line[_PATH]
        path = path if os.path.lexists(path) else table.parent / values[_PATH]
        known = [records.text(values[key]) for key in ("patient", "study_date")]
        yield Scan(path, values["series"], *known), use, name


def _check_name(name: str, table: Path) -> None:
    unfit = os.path.basename(name) != name or name.startswith(".") or printable(name) != name
    if unfit or len(os.fsencode(name)) > LONGEST_NAME:
        why = "" if unfit else f", because it is longer than {LONGEST_NAME} bytes"
        raise ScanError(
            f"{name[:LONGEST_NAME]!r} in {table} cannot be the name of files{why}: rename it"
        )


def _lines(table: Path) -> list[dict[str, str]]:
    try:
        lines = [line for line in records.table(table)[1] if any(line.values())]
    except OSError as error:
        raise ScanError(f"expected a table of scans, cannot read {table}: {error}") from error
    if any(not line.get(_PATH) for line in lines):
        found = ", ".join(map(str, lines[0]))
        raise ScanError(
            f"expected a table with a {_PATH} in every row, found the columns {found} in {table}: "
            "add one, or save the table with commas"
        )
    for line in lines:
        if "\0" in line[_PATH]:
            raise ScanError(
                f"{line[_PATH]!r} in {table} cannot be a path, because it has a NUL character: "
                "write the table again"
            )
    return lines
