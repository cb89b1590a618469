"""What pages are made from, and whether a page is this program's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from lungmask_jax import io, tasks
from lungmask_jax.cohort._outputs import Outputs, changed_since
from lungmask_jax.cohort._scan import Read, Scan, Window
from lungmask_jax.errors import ScanError
from lungmask_jax.volume import Volume

_OWN: Final = b'<meta name="generator" content="lungmask-jax'
_HEAD: Final = 8192  # bytes that hold the generator and the icon of a page
_UNCERTAINTY: Final = "uncertainty"


class Result(NamedTuple):
    """A scan with its masks by the name of their task, and its uncertainty."""

    ct: Volume
    masks: dict[str, Volume]
    uncertainty: Volume | None


def result(record: Path, values: Mapping[str, Any], read: Read, window: Window) -> Result:
    """What the files of a result hold, and the scan that they were made from.

    Raises:
        ScanError: The scan is gone, or its masks cannot be read here.
    """
    scan = _scan(values.get("source", ""))
    if any(name.endswith(".dcm") for name in values["files_written"]):
        raise ScanError("its masks are DICOM, which are not read here: segment it with --report")
    files = _masks(record, values)
    if gone := [path.name for path in files.values() if not path.exists()]:
        raise ScanError(
            f"its masks are gone ({', '.join(gone)}): put them back, or segment it again"
        )
    if other := changed_since(record, values):
        raise ScanError(
            f"{', '.join(other)} changed since it was measured: segment it again with --overwrite"
        )
    masks = {name: io.load_mask(path) for name, path in files.items()}
    uncertainty = masks.pop(_UNCERTAINTY, None)
    return Result(read(scan, window), masks, uncertainty)


def refuse_others(results: Outputs, page: Path) -> None:
    """Raises for a page that exists, and that this program did not make."""
    if results.overwrite or not page.exists() or _OWN in head(page):
        return
    raise ScanError(
        f"{page} exists, and this program did not make it: move it, or replace it with --overwrite"
    )


def head(page: Path) -> bytes:
    """The first bytes of a page."""
    with page.open("rb") as file:
        return file.read(_HEAD)


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
