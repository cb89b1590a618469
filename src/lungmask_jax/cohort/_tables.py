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
_MARK: Final = {b"generator": b"lungmask-jax"}
_PRIVATE: Final = ("files_written", "source", "key")


def add_measures(results: Outputs, names: Collection[str]) -> None:
    """Brings the measures of scans into the table, where those of an earlier run may be."""
    path = results.folder / MEASURES
    rows = (
        measures_of(records.read_json(results.folder / f"{name}.json")) for name in sorted(names)
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
        the state ``"failed"`` with a reason, ``"running"`` if its process works on it or was ended,
        or ``"incomplete"`` if a file of its results is gone.

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
    if not os.path.isdir(out):
        raise ScanError(f"expected a folder of results, found none at {out}: segment first")
    results = outputs(out, overwrite=overwrite)
    rows = list(_rows(results))
    if not rows:
        raise ScanError(f"expected results of scans, found none in {out}: give another folder")
    check_table(results, _COHORT)
    path = results.folder / _COHORT
    _check_parquet(results, path.with_suffix(".parquet"))
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
        state = _state_of(results, logged, measures)
        more = {key: {**measures, **logged, **state}.get(key) for key in _LOGGED}
        done = measures if more["state"] == "done" else {}
        yield {"scan": name, **more, "version": "", **measures_of(done)}


def _state_of(
    results: Outputs, logged: Mapping[str, Any], measures: Mapping[str, Any]
) -> dict[str, str]:
    """The state of a scan whose results are there, unless a later attempt has another content."""
    same = logged.get("state", "done") == "done" or logged.get("key") == measures.get("key")
    if not measures or not same:
        return {}
    if all((results.folder / one).is_file() for one in measures.get("files_written", ())):
        return {"state": "done", "reason": ""}
    return {"state": "incomplete", "reason": "a file of its results is gone: segment it again"}


def measures_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The row of the table, out of the record of a scan."""
    return {
        key: value
        for key, value in record.items()
        if key not in _PRIVATE and not isinstance(value, dict | list)
    }


def _cell(value: Any) -> Any:
    return records.cell(value) if isinstance(value, str) else value


def _check_parquet(results: Outputs, path: Path) -> None:
    """Refuses a table of others."""
    if results.overwrite or importlib.util.find_spec("pyarrow") is None or not path.exists():
        return
    import pyarrow
    import pyarrow.parquet

    try:
        ours = pyarrow.parquet.read_schema(path).metadata == _MARK
    except (OSError, pyarrow.ArrowException):
        ours = False
    if not ours:
        raise ScanError(
            f"{path} exists, and this program did not make it: move it, or replace it with "
            "--overwrite"
        )


def _parquet(path: Path, rows: list[dict[str, Any]], columns: dict[str, Any]) -> list[Path]:
    if importlib.util.find_spec("pyarrow") is None:
        return []
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({key: [_cell(row.get(key)) for row in rows] for key in columns})
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table.replace_schema_metadata(_MARK), temporary)
    return [path]
