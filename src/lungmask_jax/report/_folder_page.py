"""The page of a folder: all scans in one table."""

import os
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from lungmask_jax import quantify
from lungmask_jax.files import printable
from lungmask_jax.report import _tables
from lungmask_jax.report._over_time import as_date
from lungmask_jax.report._pages import base64_text, rendered

_SIGNS: Final = "signs_of_pneumonia"
_COLUMNS: Final = (
    "patient",
    "study_date",
    "lungs_ml",
    "infection_ml",
    "infection_percent",
    "right_infection_percent",
    "left_infection_percent",
    "severity",
    "ct_severity_score",
    _SIGNS,
    "qc",
)
_DRAWN: Final = ("lungs_ml", "infection_percent", _SIGNS, "ct_severity_score")
_BINS: Final = 24


class Entry(NamedTuple):
    """A scan in the table of a folder.

    Attributes:
        row: The values of its JSON file.
        page: Name of its page in the same folder; empty if there is none.
        picture: A small WebP, as from `thumbnail`; empty if there is none.
        problem: Why there is no result or no page; empty if all went well.

    Example:
        >>> Entry({"scan": "a"}, problem="the file is damaged").problem
        'the file is damaged'
    """

    row: Mapping[str, Any]
    page: str = ""
    picture: bytes = b""
    problem: str = ""


def folder_page(
    entries: Iterable[Entry], *, title: str = "Scans", patients: Mapping[str, str] | None = None
) -> str:
    """A page about many scans: a table to sort and filter, and the distributions of measures.

    Args:
        entries: The scans, those that failed too.
        title: On top.
        patients: Name of the page of a patient, as from `follow_up_page`, in the same folder.

    Returns:
        HTML, to be written as UTF-8.

    Raises:
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.

    Example:
        >>> page = folder_page([Entry({"scan": "a", "lungs_ml": 4012.0}, page="a.html")])
        >>> page.startswith("<!doctype html>")
        True
    """
    scans = [*entries]
    columns = [
        name for name in _COLUMNS if any(_plain(one.row.get(name)) is not None for one in scans)
    ]
    data: dict[str, Any] = {
        "noun": "scan",
        "head": "Scan",
        "columns": [{"key": name, "name": _name(name)} for name in columns],
        "rows": [_line(entry, columns) for entry in scans],
    }
    if patients:
        data["patients"] = {printable(name): _address(page) for name, page in patients.items()}
    return rendered(
        "folder.html",
        styles=("page.css", "folder.css"),
        scripts=("numbers.js", "folder.js"),
        title=printable(title),
        data=data,
        count=len(scans),
        failed=sum(bool(entry.problem) for entry in scans),
        doubted=any(entry.problem or _tables.is_doubted(entry.row) for entry in scans),
        charts=[
            _chart(name, values)
            for name in _DRAWN
            if len(np.unique(values := _numbers(name, scans))) > 1
        ],
        severities=_choices("severity", scans),
        checks=_choices("qc", scans),
    )


def _line(entry: Entry, columns: Sequence[str]) -> list[Any]:
    """Name, page, picture, problem, notes, and a value for each column."""
    values = [_plain(_shown(name, entry.row.get(name))) for name in columns]
    picture = base64_text(entry.picture)
    notes = "; ".join(_tables.notes(entry.row))
    name = printable(str(entry.row.get("scan", "")))
    return [name, _address(entry.page), picture, printable(entry.problem), notes, *values]


def _address(page: str) -> str:
    return urllib.parse.quote(os.fsencode(page))


def _plain(value: Any) -> str | float | None:
    """A number, a text, or none."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    return value if isinstance(value, int | float) else printable(str(value))


def _shown(key: str, value: Any) -> Any:
    """A date as ISO 8601 has it, which sorts as text."""
    return str(as_date(value) or value) if key == "study_date" and value else value


def _name(key: str) -> str:
    named = {
        "ct_severity_score": "CT score",
        _SIGNS: "signs of pneumonia",
        "qc": "checks",
    }
    return named.get(key) or _tables.words(key).replace(" percent", " %")


def _choices(key: str, entries: Sequence[Entry]) -> list[str]:
    return sorted({str(found) for entry in entries if (found := entry.row.get(key)) is not None})


def _numbers(key: str, entries: Sequence[Entry]) -> np.ndarray:
    found = [_plain(entry.row.get(key)) for entry in entries]
    return np.array([one for one in found if isinstance(one, int | float)], float)


def _chart(key: str, values: np.ndarray) -> dict[str, Any]:
    """A histogram as bars for the template: 0 to 240 across, 0 to 60 from the top down."""
    counts, edges = np.histogram(values, _BINS)
    width = 240 / _BINS
    bars = [
        {"x": round(place * width, 2), "height": round(56 * float(count) / counts.max(), 2)}
        for place, count in enumerate(counts)
    ]
    low, median, high = (
        quantify.in_percent(float(one))
        if key == _SIGNS
        else _tables.number(float(one), _digits(edges))
        for one in (edges[0], np.median(values), edges[-1])
    )
    return {
        "name": _name(key), "bars": bars, "low": low, "high": high, "median": median,
        "width": width - 1,
    }  # fmt: skip


def _digits(edges: np.ndarray) -> int:
    return 0 if edges[-1] >= 100 else 1 if edges[-1] > 1 else 2
