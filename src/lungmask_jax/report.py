"""What a run leaves beside the masks: one JSON file a scan, one CSV table a folder."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path

from lungmask_jax import __version__
from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic
from lungmask_jax.inference import DISCLAIMER, Segmentation

__all__ = ["Row", "row", "update_csv", "write_json"]

Row = Mapping[str, str | float | None]


def row(name: str, segmentation: Segmentation) -> dict[str, str | float | None]:
    """The measures of a scan with what made them, fit for JSON and CSV.

    Args:
        name: Of the scan.
        segmentation: Its masks.

    Returns:
        A flat mapping; numbers have three decimals, and what is undefined is ``None``. ``notes``
        are those of the segmentation, divided by semicolons.

    Example:
        >>> import numpy as np
        >>> from lungmask_jax.volume import Volume
        >>> lungs = Volume(np.array([[[1, 2]]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> row("a", Segmentation(lungs, lungs, None, {"lungs": "mine"}))["lungs_ml"]
        2.0
    """
    measured = {key: _plain(value) for key, value in segmentation.measure().items()}
    models = {f"{target}_model": name for target, name in segmentation.models.items()}
    made = {**models, "version": __version__, "note": DISCLAIMER}
    return {"scan": name, **measured, "notes": "; ".join(segmentation.notes), **made}


def write_json(path: Path, values: Row) -> None:
    """Writes a row as JSON, under a temporary name first.

    Args:
        path: Where.
        values: What `row` returned.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_json(Path(folder) / "a.json", {"scan": "a", "lungs_ml": None})
        ...     json.loads(Path(folder, "a.json").read_text())
        {'scan': 'a', 'lungs_ml': None}
    """
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def update_csv(path: Path, rows: Iterable[Row]) -> None:
    """Adds rows to a table; a row replaces an earlier one of the same scan.

    Args:
        path: The table; made if it is not there, replaced in one go if it is.
        rows: What `row` returned.

    Raises:
        ScanError: The file that is there is no such table; it stays as it was.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     table = Path(folder) / "table.csv"
        ...     update_csv(table, [{"scan": "a", "lungs_ml": 1.0}])
        ...     update_csv(table, [{"scan": "a", "lungs_ml": 2.0}])
        ...     table.read_text().splitlines()
        ['scan,lungs_ml', 'a,2.0']
    """
    table: dict[str, Row] = {}
    if path.exists():
        table = _table(path)
    table |= {str(one["scan"]): one for one in rows}
    columns = list(dict.fromkeys(key for one in table.values() for key in one))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(table.values())
    with atomic(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def _table(path: Path) -> dict[str, Row]:
    """The rows of a table by their scan; spreadsheets add a byte order mark."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = list(reader.fieldnames or [])
            if "scan" in found:
                lines = ({key: line[key] for key in line if key} for line in reader)
                return {str(line["scan"]): line for line in lines}
    except (UnicodeDecodeError, csv.Error) as error:
        raise ScanError(f"expected a table in UTF-8, {path} is none ({error}): move it") from error
    raise ScanError(
        f"expected a table with the column scan and commas between, found {found} in "
        f"{path}: move it, or save it with commas"
    )


def _plain(value: float | str) -> float | str | None:
    if isinstance(value, str):
        return value
    return round(value, 3) if math.isfinite(value) else None
