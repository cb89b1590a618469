"""Records of results: one JSON file per scan, one CSV table per folder."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic, checksum, locked, printable

__all__ = [
    "Row",
    "add_file",
    "cell",
    "change",
    "read_csv",
    "read_json",
    "table",
    "table_text",
    "text",
    "update_csv",
    "write_csv",
    "write_json",
]

Row = Mapping[str, str | float | None]

_FORMULA: Final = ("=", "+", "-", "@")
_LONGEST: Final = 10_000_000  # characters of a JSON file that is read
_SPREADSHEETS: Final = (b"PK\3\4", b"\xd0\xcf\x11\xe0")  # zip, of xlsx and ods; OLE, of xls


def write_json(path: Path, values: Mapping[str, Any], *, files: Iterable[Path] = ()) -> None:
    """Writes a row as JSON, under a temporary name first.

    Args:
        path: The file.
        values: A row of `lungmask_jax.inference.Segmentation.row`, or another mapping; NaN and
            infinity become ``null``.
        files: Other files of the scan. Their names and checksums are stored under
            ``files_written``, so that a later run recognizes its own files.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"scan": "a", "lungs_ml": None})
        ...     json.loads(Path(folder, "a.json").read_text())
        {'scan': 'a', 'lungs_ml': None, 'files_written': {}}
    """
    _write(path, {**_finite(values), "files_written": {one.name: checksum(one) for one in files}})


def add_file(path: Path, file: Path) -> None:
    """Adds a file to those that a JSON file lists; nothing else in it changes.

    Args:
        path: A file of `write_json`.
        file: Another file of the scan, with its final content.

    Raises:
        ScanError: `path` is no such file.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"scan": "a"})
        ...     add_file(Path(folder) / "a.json", Path(os.devnull))
        ...     [*read_json(Path(folder) / "a.json")["files_written"]]
        [...]
    """
    with locked(path):
        values = read_json(path)
        if not values:
            raise ScanError(f"{path} does not list the results of a scan: segment the scan again")
        files = {**values["files_written"], file.name: checksum(file)}
        _write(path, {**values, "files_written": files})


def change(path: Path, **values: Any) -> dict[str, Any]:
    """Changes values of a JSON file; the files that it lists stay.

    Args:
        path: A file of `write_json`, which no other process changes meanwhile.
        values: The new values.

    Returns:
        All values.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"scan": "a", "source": "/old/a.nii"})
        ...     change(Path(folder) / "a.json", source="/new/a.nii")
        {'scan': 'a', 'source': '/new/a.nii', 'files_written': {}}
    """
    changed = {**read_json(path), **values}
    _write(path, changed)
    return changed


def read_json(path: Path) -> dict[str, Any]:
    """Reads a file of `write_json`.

    Args:
        path: The file.

    Returns:
        The values; empty if the file does not exist, or `write_json` did not write it.

    Example:
        >>> read_json(Path("nowhere.json"))
        {}
    """
    try:
        if not path.is_file():  # a pipe would keep us waiting
            return {}
        with path.open(encoding="utf-8") as file:
            values = json.loads(file.read(_LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    files = values.get("files_written") if isinstance(values, dict) else None
    return values if isinstance(files, dict) else {}


def update_csv(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows to a table; a row replaces an earlier one of the same scan.

    Several processes may do so at once: each waits for its turn. Texts that a spreadsheet would
    read as a formula get an apostrophe in front.

    Args:
        path: The table; created if it does not exist, else replaced atomically.
        rows: Rows of `lungmask_jax.inference.Segmentation.row`.

    Raises:
        ScanError: The existing file is not such a table; it is not changed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "table.csv"
        ...     update_csv(table, [{"scan": "a", "lungs_ml": 1.0}])
        ...     update_csv(table, [{"scan": "a", "lungs_ml": 2.0}])
        ...     table.read_text().splitlines()
        ['scan,lungs_ml', 'a,2.0']
    """
    new = [
        {key: cell(value) if isinstance(value, str) else value for key, value in one.items()}
        for one in rows
    ]
    with locked(path):
        table = read_csv(path) if path.exists() else {}
        write_csv(path, {**table, **{str(one["scan"]): one for one in new}}.values())


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    r"""Writes a table, under a temporary name first.

    Args:
        path: The file.
        rows: Rows with any columns; missing values are empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_csv(Path(folder) / "table.csv", [{"case": "a", "dice": 0.5}])
        ...     Path(folder, "table.csv").read_text()
        'case,dice\na,0.5\n'
    """
    rows = [*rows]
    text = io.StringIO()
    columns = list(dict.fromkeys(key for one in rows for key in one))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8", errors="surrogateescape")


def read_csv(path: Path) -> dict[str, Row]:
    """The rows of a table, with or without a byte order mark.

    Args:
        path: A file of `update_csv`.

    Returns:
        The row of each scan, all values as text.

    Raises:
        ScanError: It is not such a table.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     update_csv(Path(folder) / "table.csv", [{"scan": "a", "lungs_ml": 1.0}])
        ...     read_csv(Path(folder) / "table.csv")
        {'a': {'scan': 'a', 'lungs_ml': '1.0'}}
    """
    found, lines = table(path)
    if "scan" not in found or any(None in line for line in lines):
        raise ScanError(
            f"expected a table with the column scan and commas between, found {found} in "
            f"{path}: move it, or save it with commas"
        )
    return {str(line["scan"]): line for line in lines}


def table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    r"""The columns and the rows of a CSV file with a header.

    Args:
        path: Of the file, in UTF-8.

    Returns:
        The names of the columns, and each row that is not empty by them.

    Raises:
        ScanError: It is no such file.
        OSError: It cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     size = Path(folder, "list.csv").write_text("path,use\nct.nii.gz,no\n")
        ...     table(Path(folder, "list.csv"))
        (['path', 'use'], [{'path': 'ct.nii.gz', 'use': 'no'}])
    """
    try:
        reader = csv.DictReader(io.StringIO(table_text(path), newline=""))
        return list(reader.fieldnames or []), list(reader)
    except csv.Error as error:
        raise ScanError(f"expected a table, found {error} in {path}: write it again") from error


def table_text(path: Path) -> str:
    """The text of a CSV file.

    Args:
        path: Of the file, in UTF-8, with or without a byte order mark.

    Returns:
        All of it, with its ends of lines.

    Raises:
        ScanError: It is a spreadsheet, or text in another encoding.
        OSError: It cannot be read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     size = Path(folder, "list.csv").write_text("path", encoding="utf-8-sig")
        ...     table_text(Path(folder, "list.csv"))
        'path'
    """
    data = path.read_bytes()
    try:
        if not data.startswith(_SPREADSHEETS):
            return data.decode("utf-8-sig")
        found = "a spreadsheet"
    except UnicodeDecodeError as error:
        found = f"byte {data[error.start]:#04x} at {error.start:,}, which is of another encoding,"
    raise ScanError(
        f"expected a table as text in UTF-8, found {found} in {path}: save it as CSV in UTF-8, "
        "which spreadsheet programs offer"
    )


def cell(text: str) -> str:
    r"""A text that a spreadsheet does not read as a formula.

    Args:
        text: Any, such as the name of a scan.

    Returns:
        The same, printable, with an apostrophe in front if it would be a formula.

    Example:
        >>> cell("case 1"), cell("=1+1"), cell("a\udcff")
        ('case 1', "'=1+1", 'a%FF')
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def text(cell: str) -> str:
    """A text from a table, without the apostrophe that keeps it from being a formula.

    Args:
        cell: From a file of `write_csv` whose texts went through `cell`.

    Returns:
        The text.

    Example:
        >>> text("case 1"), text("'=1+1"), text("'quoted'")
        ('case 1', '=1+1', "'quoted'")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    """The values with null for NaN and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
