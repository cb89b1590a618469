"""The pages of a folder of results: one a scan, and one with all scans in a table."""

import base64
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from lungmask_jax import io, records, report, tasks
from lungmask_jax.cohort._outputs import Outputs
from lungmask_jax.cohort._scan import Read, Scan, load
from lungmask_jax.cohort._state import latest
from lungmask_jax.errors import LungmaskError, ScanError
from lungmask_jax.report import Entry

Window: TypeAlias = tuple[float, float] | None

_TABLE: Final = "index.html"
_OWN: Final = b'<meta name="generator" content="lungmask-jax'
_HEAD: Final = 8192  # bytes that hold the generator and the icon of a page
_UNCERTAINTY: Final = "uncertainty"


def write_pages(
    results: Outputs,
    *,
    window: Window = None,
    read: Read = load,
) -> Iterator[Entry]:
    """Writes the page of each scan in a folder of results, and then ``index.html``, their table.

    Pages that are there and belong to the results stay. A page needs its scan at the place where it
    was read; if that fails, the scan is in the table, with the reason. So are scans that could not
    be segmented.

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
    entries = [Entry({"scan": name}, problem=row["reason"]) for name, row in sorted(failed.items())]
    yield from entries
    for name, record in found.items():
        values = records.read_json(record)
        if "scan" in values and name not in failed:
            entries.append(_entry(results, record, values, read, window))
            yield entries[-1]
    title = results.folder.resolve().name
    report.write_page(results.folder / _TABLE, report.folder_page(entries, title=title))


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
    _refuse_others(results, results.folder / _TABLE)


def _entry(
    results: Outputs, record: Path, values: Mapping[str, Any], read: Read, window: Window
) -> Entry:
    page = results.folder / f"{record.stem}.html"
    if page.name.lower() == _TABLE:
        return Entry(values, problem=f"no page: {_TABLE} is the table of all; rename the scan")
    _refuse_others(results, page)
    try:
        if page.name not in values["files_written"] or not page.is_file():
            _write(page, record, values, read, window)
    except (LungmaskError, OSError) as error:
        return Entry(values, problem=f"no page: {error}")
    return Entry(values, page=page.name, picture=_icon(page))


def _write(page: Path, record: Path, values: Mapping[str, Any], read: Read, window: Window) -> None:
    scan = _scan(values.get("source", ""))
    if any(name.endswith(".dcm") for name in values["files_written"]):
        raise ScanError("its masks are DICOM, which are not read here: segment it with --report")
    masks = {name: io.load_mask(path) for name, path in _masks(record, values).items()}
    uncertainty = masks.pop(_UNCERTAINTY, None)
    made = report.scan_page(read(scan, window), masks, values, uncertainty=uncertainty)
    report.write_page(page, made)
    records.add_file(record, page)


def _scan(source: str) -> Scan:
    """The scan that `Scan.source` identifies."""
    folder, _, series = source.rpartition("#")
    for scan in (Scan(Path(source)), Scan(Path(folder), series)):
        if scan.source == source and scan.path.exists():
            return scan
    raise ScanError(f"its scan is no longer at {source}: move it back, or segment it again")


def _masks(record: Path, values: Mapping[str, Any]) -> dict[str, Path]:
    """The files of masks by the name of their task."""
    named = {
        name.removeprefix(f"{record.stem}_").partition(".")[0]: record.parent / Path(name).name
        for name in values["files_written"]
        if name.startswith(f"{record.stem}_")
    }
    return {name: path for name, path in named.items() if name in {*tasks.registry, _UNCERTAINTY}}


def _icon(page: Path) -> bytes:
    """The small picture in the head of a page; empty without one."""
    found = re.search(rb'href="data:image/webp;base64,([A-Za-z0-9+/=]+)"', _head(page))
    return base64.b64decode(found[1]) if found else b""


def _refuse_others(results: Outputs, page: Path) -> None:
    if results.overwrite or not page.exists() or _OWN in _head(page):
        return
    raise ScanError(
        f"{page} exists, and this program did not make it: move it, or replace it with --overwrite"
    )


def _head(page: Path) -> bytes:
    with page.open("rb") as file:
        return file.read(_HEAD)
