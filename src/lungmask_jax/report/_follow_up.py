"""The page of a patient: the scans of several dates side by side, and what changed."""

import itertools
import os
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from lungmask_jax.errors import ScanError
from lungmask_jax.files import printable
from lungmask_jax.report import _over_time, _tables
from lungmask_jax.report._levels import LEVELS
from lungmask_jax.report._over_time import as_date
from lungmask_jax.report._pages import base64_text, rendered

_MEASURED: Final = ("_ml", "_percent")
_MINUS: Final = "\u2212"


class Visit(NamedTuple):
    """A scan of a patient.

    Attributes:
        row: The values of its JSON file; ``study_date`` says when it was made.
        page: Name of its page in the same folder; empty if there is none.
        pictures: From `level_pictures`; empty if there are none.
        problem: Why there are no pictures.

    Example:
        >>> Visit({"scan": "a", "study_date": "20200131"}).page
        ''
    """

    row: Mapping[str, Any]
    page: str = ""
    pictures: tuple[bytes, ...] = ()
    problem: str = ""

    @property
    def day(self) -> date | None:
        """When the scan was made; none if that is not known."""
        return as_date(self.row.get("study_date", ""))


def follow_up_page(visits: Iterable[Visit], *, patient: str, state: str = "") -> str:
    """A page about scans of one patient: dates side by side, changes in ml and %, and plots.

    Dates are in order. The change of a scan is that from the date before; of several scans of that
    date, from the first by name. Scans whose date is not known come last, without changes.

    Args:
        visits: The scans.
        patient: Name or number, on top.
        state: Identifies the content, for `page_state`.

    Returns:
        HTML, to be written as UTF-8.

    Raises:
        ScanError: There is no scan.
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.

    Example:
        >>> scans = [
        ...     Visit({"scan": day, "study_date": day, "infection_ml": ml})
        ...     for day, ml in (("20200101", 40.0), ("20200201", 60.0))
        ... ]
        >>> "+20.0 (+50 %)" in follow_up_page(scans, patient="one")
        True
    """
    scans = sorted(visits, key=_order)
    if not scans:
        raise ScanError(f"expected scans of the patient {printable(patient)}, found none")
    dated = [scan for scan in scans if scan.day]
    days = [scan.day for scan in dated if scan.day]
    kinds = _over_time.CHARTS if days else ()
    charts = [_over_time.chart(kind, days, [scan.row for scan in dated]) for kind in kinds]
    return rendered(
        "follow_up.html",
        styles=("page.css", "follow_up.css"),
        scripts=(),
        title=printable(patient),
        state=state,
        span=" to ".join(map(str, dict.fromkeys([days[0], days[-1]]))) if days else "",
        undated=len(scans) - len(dated),
        heads=[_head(scan, days) for scan in scans],
        pictures=_pictures(scans),
        problems=[printable(scan.problem) for scan in scans],
        texts=_texts(scans),
        measures=_measures(scans),
        several=len(set(days)) > 1,
        charts=[one for one in charts if one],
        doubts=_doubts(scans),
    )


def _order(scan: Visit) -> tuple[bool, date, str]:
    return scan.day is None, scan.day or date.min, str(scan.row.get("scan", ""))


def _head(scan: Visit, days: Sequence[date]) -> dict[str, Any]:
    after = (scan.day - days[0]).days if scan.day else 0
    return {
        "name": printable(str(scan.row.get("scan", ""))),
        "page": urllib.parse.quote(os.fsencode(scan.page)),
        "date": str(scan.day or "date not known"),
        "after": f"day {after + 1}"
        if scan.day
        else printable(str(scan.row.get("study_date") or "")),
    }


def _pictures(scans: Sequence[Visit]) -> list[dict[str, Any]]:
    """A line for each level that any scan shows."""
    lines = [
        {
            "name": name,
            "shown": [
                base64_text(scan.pictures[place]) if place < len(scan.pictures) else ""
                for scan in scans
            ],
        }
        for place, name in enumerate(LEVELS)
    ]
    return [line for line in lines if any(line["shown"])]


def _texts(scans: Sequence[Visit]) -> list[dict[str, Any]]:
    """Lines of words."""
    lines = {
        "Severity": [printable(str(scan.row.get("severity") or "")) for scan in scans],
        "CT severity score": [_tables.number(scan.row.get("ct_severity_score")) for scan in scans],
        "Signs of pneumonia": [_tables.signs(scan.row) for scan in scans],
        "Quality checks": [_tables.quality(scan.row)[1] for scan in scans],
    }
    return [{"name": name, "cells": cells} for name, cells in lines.items() if any(cells)]


def _measures(scans: Sequence[Visit]) -> list[dict[str, Any]]:
    """A line for each volume and each share, with the change of each scan and of all dates."""
    keys = dict.fromkeys(key for scan in scans for key in scan.row if key.endswith(_MEASURED))
    known = [key for key in keys if any(_tables.number(scan.row.get(key)) for scan in scans)]
    before = _before(scans)
    first, last = _ends(scans)
    return [
        {
            "name": _named(key),
            "cells": [
                {
                    "value": _value(key, scan),
                    "change": "" if old is None else change(key, old, scan),
                }
                for scan, old in zip(scans, before, strict=True)
            ],
            "whole": "" if first is None or last is None else change(key, first, last),
        }
        for key in known
    ]


def _before(scans: Sequence[Visit]) -> list[Visit | None]:
    """For each scan the first one of the date before; none for those of the first date."""
    firsts = {
        day: next(group)
        for day, group in itertools.groupby(scans, key=lambda scan: scan.day)
        if day
    }
    days = [*firsts]
    earlier = dict(zip(days[1:], days, strict=False))
    return [firsts[earlier[scan.day]] if scan.day in earlier else None for scan in scans]


def _ends(scans: Sequence[Visit]) -> tuple[Visit | None, Visit | None]:
    """The first scans of the first and the last date, if these are two."""
    firsts = {scan.day: scan for scan in reversed(scans) if scan.day}
    days = sorted(day for day in firsts if day)
    return (firsts[days[0]], firsts[days[-1]]) if len(days) > 1 else (None, None)


def change(key: str, old: Visit, new: Visit) -> str:
    """The change of a measure: in ml and percent, or in points of percent; empty if unknown."""
    one, two = old.row.get(key), new.row.get(key)
    if not (_tables.number(one) and _tables.number(two)):
        return ""
    difference = float(two or 0) - float(one or 0)
    digits = 1 if max(abs(float(one or 0)), abs(float(two or 0))) < 100 else 0
    if key.endswith("_percent"):
        return f"{_signed(difference, 1)} points"
    relative = f" ({_signed(100 * difference / float(one), 0)} %)" if one else ""
    return f"{_signed(difference, digits)}{relative}"


def _signed(value: float, digits: int) -> str:
    text = _tables.number(abs(value), digits)
    if not any(one in text for one in "123456789"):
        return text
    return f"{'+' if value > 0 else _MINUS}{text}"


def _value(key: str, scan: Visit) -> str:
    value = scan.row.get(key)
    return _tables.number(value, 1) if key.endswith("_percent") else _tables.volume(value)


def _named(key: str) -> str:
    stem, _, unit = key.rpartition("_")
    return f"{_tables.words(stem).capitalize()}, {'%' if unit == 'percent' else unit}"


def _doubts(scans: Sequence[Visit]) -> list[str]:
    """What may explain a change besides the disease."""
    models = {tuple(_models(scan)) for scan in scans}
    different = ["The scans were not all segmented by the same models."] if len(models) > 1 else []
    notes = [
        f"{printable(str(scan.row.get('scan', '')))}: {note}"
        for scan in scans
        for note in _tables.notes(scan.row)
    ]
    return [*different, *notes]


def _models(scan: Visit) -> list[tuple[str, str]]:
    return sorted((k, str(value)) for k, value in scan.row.items() if k.endswith("_model"))
