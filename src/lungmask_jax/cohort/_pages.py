"""The pages of a folder of results: one a scan, one a patient, and the table of all scans."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lungmask_jax import records, report
from lungmask_jax.cohort._outputs import Outputs
from lungmask_jax.cohort._page_files import head, refuse_others, result
from lungmask_jax.cohort._patients import write_patients
from lungmask_jax.cohort._scan import Read, Window, load
from lungmask_jax.cohort._state import latest
from lungmask_jax.errors import LungmaskError
from lungmask_jax.report import Entry

_TABLE: Final = "index.html"


def write_pages(
    results: Outputs,
    *,
    window: Window = None,
    read: Read = load,
) -> Iterator[Entry]:
    """Writes the page of each scan in a folder of results, and then ``index.html``, their table.

    Pages that are there and belong to the results stay. A page needs its scan at the place where it
    was read; if that fails, the scan is in the table, with the reason. So are scans that could not
    be segmented. A patient with scans of two dates or more has a page, too, with a link from the
    table; results know the patient and the date from DICOM or a list of scans.

    Args:
        results: The folder, from `outputs`.
        window: HU of black and white, for images.
        read: Reads a scan.

    Yields:
        Each scan of the table.

    Raises:
        ScanError: ``index.html`` or a page exists, and this program did not make it.
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.cohort import outputs, segment_many
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lost = [*segment_many([Path(folder, "lost.nii.gz")], folder, weights=["lungs"])]
        ...     entries = [*write_pages(outputs(folder))]
        ...     entries[0].problem[:8], Path(folder, "index.html").is_file()
        ('expected', True)
    """
    check_pages(results)
    found = {path.stem: path for path in sorted(results.folder.glob("*.json"))}
    failed = {
        name: row for name, row in latest(results.folder).items() if row.get("state") == "failed"
    }
    entries = [
        Entry({"scan": name}, problem=row.get("reason", "")) for name, row in sorted(failed.items())
    ]
    yield from entries
    for name, record in found.items():
        values = records.read_json(record)
        if "scan" in values and name not in failed:
            entries.append(_entry(results, record, values, read, window))
            yield entries[-1]
    if not entries:  # as of a part without a scan
        return
    title = results.folder.resolve().name
    patients = write_patients(results, entries, window=window, read=read)
    page = report.folder_page(entries, title=title, patients=patients)
    report.write_page(results.folder / _TABLE, page)


def check_pages(results: Outputs) -> None:
    """Raises unless pages can be made, and the table of others is not replaced.

    Args:
        results: The folder.

    Raises:
        ScanError: ``index.html`` exists, and this program did not make it.
        MissingPackageError: Jinja2 is missing, which the extra ``report`` brings.

    Example:
        >>> check_pages(Outputs(Path("nowhere")))
    """
    report.check_installed()
    refuse_others(results, results.folder / _TABLE)


def _entry(
    results: Outputs, record: Path, values: Mapping[str, Any], read: Read, window: Window
) -> Entry:
    page = results.folder / f"{record.stem}.html"
    if page.name.lower() == _TABLE:
        return Entry(values, problem=f"no page: {_TABLE} is the table of all; rename the scan")
    refuse_others(results, page)
    try:
        if page.name not in values["files_written"] or not page.is_file():
            _write(page, record, values, read, window)
    except (LungmaskError, OSError) as error:
        return Entry(values, problem=f"no page: {error}")
    return Entry(values, page=page.name, picture=_icon(page))


def _write(page: Path, record: Path, values: Mapping[str, Any], read: Read, window: Window) -> None:
    ct, masks, uncertainty = result(record, values, read, window)
    report.write_page(page, report.scan_page(ct, masks, values, uncertainty=uncertainty))
    records.add_file(record, page)


def _icon(page: Path) -> bytes:
    """The small picture in the head of a page; empty without one."""
    found = re.search(rb'href="data:image/webp;base64,([A-Za-z0-9+/=]+)"', head(page))
    return base64.b64decode(found[1]) if found else b""
