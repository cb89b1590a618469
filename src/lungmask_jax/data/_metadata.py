"""The list of cases that comes with COVID-19-CT-Seg on Kaggle."""

import csv
import io
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from lungmask_jax import records, tasks
from lungmask_jax.data._case import Case
from lungmask_jax.data._names import names, patient
from lungmask_jax.errors import ScanError

COLUMNS: Final[Mapping[str, str]] = {
    "ct_scan": "ct_scans",
    "lung_mask": "lung_mask",
    "infection_mask": "infection_mask",
    "lung_and_infection_mask": "lung_and_infection_mask",
}
"""Columns of a ``metadata.csv``, and the folder with the files of each."""

_USUAL: Final = (tasks.LUNGS.name, tasks.INFECTION.name)
MASK_NAME: Final = re.compile(r"(^|[-_. ])masks?([-_. ]|$)", re.IGNORECASE)


def read_metadata(path: str | os.PathLike[str], *, masks: Collection[str] = ()) -> list[Case]:
    """The cases of a ``metadata.csv`` as in the Kaggle set "covid19-ct-scans".

    Its columns are ``ct_scan``, ``lung_mask``, ``infection_mask`` and ``lung_and_infection_mask``
    (not used), or that of another task, such as ``effusion_mask``; each path is relative to the
    file, without leading folders that do not exist. In some copies of this list fields are
    missing, so that a mask takes the place of the CT: every row is checked before any is
    returned. Cases are named as by `names`, so scans with the same file name in several folders
    are different cases. An optional column ``patient`` gives the patient.

    Args:
        path: The file.
        masks: Tasks for which every case must have a mask; by default, a mask of lungs or
            infection is enough.

    Returns:
        One case per row.

    Raises:
        ScanError: The file or a column is missing, a scan occurs twice, or rows are wrong; the
            message names them all.

    Example:
        >>> read_metadata("nowhere.csv")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected a metadata.csv, found none at nowhere.csv: ...
    """
    path = Path(path)
    if path.is_dir():
        raise ScanError(
            f"expected a metadata.csv, found the folder {path}: give the file in it, or folders of "
            "scans and masks"
        )
    header, *rows = _table(path)
    columns = {name: tasks.registry[name].column for name in masks or _USUAL}
    needed = {"ct_scan", *columns.values()}
    _check_header(header, needed if masks else {"ct_scan"}, {*columns.values()}, path)
    files = [_files(header, row, path.parent, needed) for row in rows]
    problems = [
        f"row {row.number}: {problem}"
        for row, found in zip(rows, files, strict=True)
        for problem in _problems(header, row, found, needed)
    ]
    if problems or not rows:
        raise ScanError(
            f"expected a CT and its masks in every row of {path}, found "
            f"{'; '.join(problems) or 'no rows'}: correct the file"
        )
    whole = [{column: file for column, file in found.items() if file} for found in files]
    named = names(found["ct_scan"] for found in whole)
    return [
        _case(name, found, columns, _patient(header, row))
        for name, found, row in zip(named, whole, rows, strict=True)
    ]


class Row(NamedTuple):
    """One line of the file: its line number, from 1, and its fields."""

    number: int
    fields: list[str]


def _table(path: Path) -> list[Row]:
    try:
        text = records.table_text(path)
    except FileNotFoundError as error:
        raise ScanError(f"expected a metadata.csv, found none at {path}: check the path") from error
    except OSError as error:
        raise ScanError(f"expected to read {path}, found: {error}") from error
    try:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        rows = [Row(lines.line_num, fields) for fields in lines]
    except csv.Error:  # a quote that is none, a field too long: a row is a line, whatever is in it
        rows = [Row(n, line.split(",")) for n, line in enumerate(text.splitlines(), 1) if line]
    whole = [row._replace(fields=[field.strip() for field in row.fields]) for row in rows]
    return [row for row in whole if row.fields] or [Row(1, [])]


def _check_header(header: Row, needed: set[str], columns: set[str], path: Path) -> None:
    missing = sorted(needed - set(header.fields))
    if missing or not columns & {*header.fields}:
        found = ", ".join(header.fields) or "none"
        apart = "ct_scan" in found and not {*header.fields} & {*COLUMNS}
        remedy = "save it with commas between the columns" if apart else "restore its first line"
        raise ScanError(
            f"expected the columns {', '.join(missing or COLUMNS)}, found {found} in {path}: "
            f"{remedy}"
        )


def _files(header: Row, row: Row, folder: Path, needed: Collection[str]) -> dict[str, Path | None]:
    """The file of each used column, None if it does not exist."""
    named = zip(header.fields, row.fields, strict=False)
    return {column: _found(text, folder) for column, text in named if column in needed}


def _problems(
    header: Row, row: Row, files: Mapping[str, Path | None], needed: Collection[str]
) -> Iterator[str]:
    if len(row.fields) != len(header.fields):
        yield f"expected {len(header.fields)} fields, found {len(row.fields)}"
        return
    for column, text in zip(header.fields, row.fields, strict=True):
        if column in needed:
            problem = _field_problem(column, text)
            if problem:
                yield problem
            elif files[column] is None:
                yield f"no file for {column} {text!r}"
            elif column != "ct_scan" and files[column] == files["ct_scan"]:
                yield f"{column} is the CT itself"


def _field_problem(column: str, text: str) -> str:
    if not text:
        return f"{column} is empty"
    tail = PurePosixPath(text.replace("\\", "/")).parts[-2:]
    misplaced = [
        other for other, folder in COLUMNS.items() if other != column and folder in tail[:-1]
    ]
    if misplaced:
        return f"{column} names a {misplaced[0]} ({text})"
    if column == "ct_scan" and any(MASK_NAME.search(part) for part in tail):
        return f"{column} names a mask ({text})"
    return ""


def _found(text: str, folder: Path) -> Path | None:
    """The file whose path ends like `text`; a name alone matches only if it is the whole path."""
    parts = PurePosixPath(text.replace("\\", "/")).parts
    candidates = [folder.joinpath(*parts[start:]) for start in range(max(1, len(parts) - 1))]
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def _patient(header: Row, row: Row) -> str:
    return dict(zip(header.fields, row.fields, strict=True)).get("patient", "")


def _case(name: str, files: Mapping[str, Path], columns: Mapping[str, str], whose: str) -> Case:
    masks = {task: files[column] for task, column in columns.items() if column in files}
    return Case(name, files["ct_scan"], masks, whose or patient(name))
