"""The tables of many scans: their measures, and what became of each."""

import importlib.util
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from lungmask_jax import records
from lungmask_jax.cohort import _state
from lungmask_jax.cohort._outputs import Outputs, outputs
from lungmask_jax.errors import ScanError
from lungmask_jax.files import atomic

MEASURES: Final = "measures.csv"
_COHORT: Final = "cohort.csv"
_LOGGED: Final = ("state", "reason", "seconds", "source", "key")
_PRIVATE: Final = ("files_written", "source", "key")


def add_measures(results: Outputs, names: Collection[str], new: Collection[str]) -> None:
    """Adds the measures of scans to the table: of new ones, and of others that it lacks."""
    path = results.folder / MEASURES
    known = records.read_csv(path).keys() if path.exists() else set()
    wanted = [*(name for name in names if records.cell(name) not in known), *new]
    rows = (
        measures_of(records.read_json(results.folder / f"{name}.json")) for name in sorted(wanted)
    )
    if found := [row for row in rows if row]:
        records.update_csv(path, found)


def check_table(results: Outputs, name: str = MEASURES) -> None:
    """Refuses a table of others before any work."""
    path = results.folder / name
    if not os.path.lexists(path):
        return
    try:
        ours = path.is_file() and not path.is_symlink()
        ours = ours and all("version" in row for row in records.read_csv(path).values())
    except ScanError:
        if not results.overwrite:
            raise
        ours = False
    if not ours and not results.overwrite:
        raise ScanError(
            f"{path} exists, and this program did not make it: move it, give another --out, or "
            "replace it with --overwrite"
        )
    if path.is_dir() and not path.is_symlink():
        raise ScanError(f"{path} cannot be written because it is a folder: move it")
    if not ours:
        path.unlink()


def collect(out: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Writes a table of all scans in a folder of results: what became of each, and its measures.

    Args:
        out: The folder of `segment_many`.
        overwrite: Whether to replace a table that this program did not make.

    Returns:
        ``cohort.csv`` and, if pyarrow is installed, ``cohort.parquet``. A scan without measures has
        the state ``"failed"`` with a reason, or ``"running"`` if its process works on it or was
        ended.

    Raises:
        ScanError: There are no results, or a table of others is in the way.

    Example:
        >>> import tempfile
        >>> from lungmask_jax import io
        >>> from lungmask_jax.cohort import segment_many
        >>> from lungmask_jax.phantoms import phantom
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     io.save(phantom((4, 96, 96)).ct, Path(folder, "a.nii.gz"))
        ...     scans = segment_many([Path(folder)], Path(folder, "out"), weights=["lungs"])
        ...     states = [one.state for one in scans]
        ...     records.read_csv(collect(Path(folder, "out"))[0])["a"]["state"]
        'done'
    """
    results = outputs(out, overwrite=overwrite)
    rows = list(_rows(results))
    if not rows:
        raise ScanError(f"expected results of scans, found none in {out}: give another folder")
    check_table(results, _COHORT)
    path = results.folder / _COHORT
    columns = dict.fromkeys(key for row in rows for key in row)
    records.write_csv(path, ({key: _cell(row.get(key)) for key in columns} for row in rows))
    return [path, *_parquet(path.with_suffix(".parquet"), rows, columns)]


def _rows(results: Outputs) -> Iterator[dict[str, Any]]:
    """One of each scan in the order of names, complete results before what the log says."""
    known = _state.latest(results.folder)
    files = {path.stem: path for path in results.folder.glob("*.json")}
    for name in sorted({*known, *files}):
        logged, measures = known.get(name, {}), {}
        if name in files:
            measures = records.read_json(files[name])
        if not logged and "version" not in measures:
            continue  # of another program
        state = {"state": "done", "reason": ""} if measures else {}
        more = {key: {**logged, **state}.get(key) for key in _LOGGED}
        yield {"scan": name, **more, "version": "", **measures_of(measures)}


def measures_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the table, out of the record of a scan."""
    return {
        key: value
        for key, value in record.items()
        if key not in _PRIVATE and not isinstance(value, dict | list)
    }


def _cell(value: Any) -> Any:
    return records.cell(value) if isinstance(value, str) else value


def _parquet(path: Path, rows: list[dict[str, Any]], columns: dict[str, Any]) -> list[Path]:
    if importlib.util.find_spec("pyarrow") is None:
        return []
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({key: [row.get(key) for row in rows] for key in columns})
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    return [path]
