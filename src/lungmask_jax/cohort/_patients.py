"""The pages of patients with scans of several dates."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lungmask_jax import __version__, records, report
from lungmask_jax.cohort._outputs import Outputs
from lungmask_jax.cohort._page_files import head, refuse_others, result
from lungmask_jax.cohort._scan import Read, Window
from lungmask_jax.cohort._tables import measures_of
from lungmask_jax.errors import LungmaskError
from lungmask_jax.report import Entry, Visit

_SHARED: Final = {"anonymous", "anonymized", "anonymised", "anon", "unknown", "none", "n/a", "0"}
"""Names that archives give to many patients, whose scans must not be compared."""


def write_patients(
    results: Outputs, entries: Iterable[Entry], *, window: Window, read: Read
) -> dict[str, str]:
    """Writes a page for each patient with scans of two dates or more.

    A page that is there stays if it was made from the same results.

    Args:
        results: The folder.
        entries: The scans in it.
        window: HU of black and white, for images.
        read: Reads a scan.

    Returns:
        Name of the page by the patient.

    Raises:
        ScanError: A page exists, and this program did not make it.
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.
    """
    pages: dict[str, str] = {}
    for patient, scans in _patients(entries).items():
        page = results.folder / _file_name(patient)
        refuse_others(results, page)
        state = _state(scans)
        if not page.exists() or f'name="state" content="{state}"'.encode() not in head(page):
            visits = (_visit(results, one, window, read) for one in scans)
            made = report.follow_up_page(visits, patient=patient, state=state)
            report.write_page(page, made)
        pages[patient] = page.name
    return pages


def _patients(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """The scans of each patient, of whom two dates are known."""
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        patient = str(entry.row.get("patient") or "")
        if patient and patient.strip().lower() not in _SHARED:
            found.setdefault(patient, []).append(entry)
    return {
        patient: scans
        for patient, scans in found.items()
        if len({day for one in scans if (day := Visit(one.row).day)}) > 1
    }


def _file_name(patient: str) -> str:
    """One that every file system has, and that no other patient has."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", patient)[:40].strip("_")
    digest = hashlib.sha256(patient.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return "_".join(filter(None, ("patient", plain, digest))) + ".html"


def _state(scans: Iterable[Entry]) -> str:
    """Identifies what a page is made from."""
    known = [[measures_of(one.row), one.page, _has_scan(one.row)] for one in scans]
    text = json.dumps([__version__, known], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _has_scan(row: Mapping[str, Any]) -> bool:
    return os.path.exists(str(row.get("source", "")).partition("#")[0])


def _visit(results: Outputs, entry: Entry, window: Window, read: Read) -> Visit:
    record = _record(results, entry.row)
    try:
        ct, masks, _ = result(record, records.read_json(record), read, window)
        pictures, problem = report.level_pictures(ct, masks), ""
    except (LungmaskError, OSError) as error:
        pictures, problem = (), str(error)
    return Visit(entry.row, entry.page, pictures, problem)


def _record(results: Outputs, row: Mapping[str, Any]) -> Path:
    return results.folder / f"{row['scan']}.json"
