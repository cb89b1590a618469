"""From scans to their masks, pictures and measures in a folder."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from lungmask_jax import inference, io, records, tasks
from lungmask_jax.cohort._outputs import Outputs, source
from lungmask_jax.cohort._pages import check_pages
from lungmask_jax.errors import ScanError
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle, by_target

Guard: TypeAlias = Callable[[str], contextlib.AbstractContextManager[object]]
"""The context of a scan, by its name; it may swallow errors to skip the scan."""

_TABLE: Final = "measures.csv"


@dataclass(frozen=True)
class Segmented:
    """A scan whose results are written.

    Attributes:
        name: Name of its results.
        path: Path of the scan.
        row: Its measures, as in the table.
        notes: Reasons to doubt them, as in `lungmask_jax.inference.Segmentation`.
        seconds: Time that it took.

    Example:
        >>> Segmented("a", Path("a.nii.gz"), {"scan": "a", "lungs_ml": 4012.1}).row["lungs_ml"]
        4012.1
    """

    name: str
    path: Path
    row: records.Row
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class _Job:
    """The common settings of all scans."""

    results: Outputs
    models: Sequence[Bundle]
    uncertainty: bool
    format: str
    pages: bool
    read: Callable[[Path], Volume]
    begin: Callable[[str], None]
    progress: inference.Progress | None

    def files(self, name: str, form: str) -> list[str]:
        """The files of a scan, its JSON file last."""
        masks = tasks.mask_names([model.spec.target for model in self.models])
        return inference.file_names(
            name, masks, uncertainty=self.uncertainty, format=form, page=self.pages
        )


def segment_all(
    scans: Mapping[str, Path],
    results: Outputs,
    *,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    uncertainty: bool = False,
    format: str = "",
    pages: bool = False,
    read: Callable[[Path], Volume] = io.load,
    guard: Guard = contextlib.nullcontext,
    progress: inference.Progress | None = None,
    begin: Callable[[str], None] = lambda _stage: None,
) -> Iterator[Segmented]:
    """Segments scans in sequence; the next one is read meanwhile.

    The files of a scan appear together, and its row in ``measures.csv`` with them.

    Args:
        scans: Name of the results to path, from `find_scans`.
        results: The folder for the results, from `outputs`.
        weights: Models, as for `lungmask_jax.inference.segment`.
        uncertainty: Whether to map the uncertainty of the last model inside another mask.
        format: Of the masks, as for `lungmask_jax.inference.Segmentation.save`.
        pages: Whether to write a page to read for each scan; `write_pages` adds their table.
        read: Reads a scan; called in another thread.
        guard: Context entered with the name of each scan; if it swallows errors, failed scans are
            skipped.
        progress: Called as ``progress(task, slices_done, slices)``.
        begin: Called with the name of each stage as it begins, such as ``"weights"``, ``"read"``,
            ``"lung network"`` and ``"write"``.

    Returns:
        Each scan when its results are written. Table and models are checked before the first.

    Raises:
        ScanError: A scan cannot be read, or its results would replace what they must not.
        SpecError: A model of a task is missing.
        WeightsError: A bundle is damaged.
        MissingPackageError: Pages need Jinja2, which the extra ``report`` brings.

    Example:
        >>> import tempfile
        >>> from lungmask_jax.cohort import find_scans, outputs
        >>> from lungmask_jax.phantoms import phantom
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     io.save(phantom((4, 96, 96)).ct, Path(folder, "a.nii.gz"))
        ...     results = outputs(Path(folder, "results"))
        ...     for one in segment_all(find_scans([Path(folder)]), results, weights=["lungs"]):
        ...         one.name, len(list(results.folder.iterdir()))
        ('a', 4)
    """
    _check_table(results)
    if pages:
        check_pages(results)
    begin("weights")
    models = [*inference.ordered(by_target(weights)).values()]
    return _segmented(
        scans, _Job(results, models, uncertainty, format, pages, read, begin, progress), guard
    )


def _check_table(results: Outputs) -> None:
    """A table of others is found before any work."""
    path = results.folder / _TABLE
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


def _segmented(scans: Mapping[str, Path], job: _Job, guard: Guard) -> Iterator[Segmented]:
    with ThreadPoolExecutor(1) as reader:
        for name, scan in _ahead(scans, job, reader):
            done = None
            with guard(name):
                done = _one(name, scans[name], scan, job)
            if done is not None:
                yield done


def _ahead(
    scans: Mapping[str, Path], job: _Job, reader: ThreadPoolExecutor
) -> Iterator[tuple[str, Future[Volume]]]:
    """Each scan; the next one is read while it is worked on."""
    current: tuple[str, Future[Volume]] | None = None
    for name, path in scans.items():
        following = name, reader.submit(_read, name, path, job)
        if current:
            yield current
        current = following
    if current:
        yield current


def _read(name: str, path: Path, job: _Job) -> Volume:
    """A scan whose results can be written."""
    folder = job.results.folder
    if path.is_dir() and os.path.samefile(path, folder):
        raise ScanError(
            f"results would be written among the slices in {folder}: give another --out"
        )
    form = job.format or io.native_format(path)
    *files, record = job.files(name, form)
    job.results.check(record, files)
    job.results.check_source(record, path)
    ct = job.read(path)
    inference.mask_format(ct, format=form)  # which refuses some
    return ct


def _one(name: str, path: Path, scan: Future[Volume], job: _Job) -> Segmented:
    began = time.perf_counter()
    job.begin("read")
    ct = scan.result()
    result = inference.segment(
        ct,
        weights=job.models,
        uncertainty=job.uncertainty,
        progress=job.progress,
        begin=job.begin,
    )
    job.begin("write")
    with job.results.staged() as folder:
        record = result.save(
            folder, name=name, source=source(path), format=job.format, page=job.pages
        )[-1]
        row = result.row(name)
        with job.results.moved(folder, record.name):
            records.update_csv(job.results.folder / _TABLE, [row])
    return Segmented(name, path, row, result.notes, time.perf_counter() - began)
