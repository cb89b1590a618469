"""From scans to their masks, pictures and measures in a folder, in one process or in many."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lungmask_jax import inference
from lungmask_jax.cohort import _state
from lungmask_jax.cohort._attempt import (
    Job,
    Outcome,
    Steps,
    Worker,
    advanced,
    attempt,
    ended,
)
from lungmask_jax.cohort._cluster import distributed
from lungmask_jax.cohort._outputs import outputs
from lungmask_jax.cohort._pages import check_pages
from lungmask_jax.cohort._scan import Read, Scan, load
from lungmask_jax.cohort._scans import find_scans
from lungmask_jax.cohort._tables import add_measures, check_table
from lungmask_jax.errors import SpecError
from lungmask_jax.weights import Bundle, by_target


def segment_many(
    scans: Mapping[str, Scan] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    client: Any = None,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    uncertainty: bool = False,
    format: str = "",
    pages: bool = False,
    surface: bool = False,
    patient: bool = True,
    window: tuple[float, float] | None = None,
    retry_failed: bool = False,
    again: bool = False,
    overwrite: bool = False,
    timeout_s: float | None = None,
    read: Read = load,
    progress: inference.Progress | None = None,
    begin: Callable[[str], None] = lambda _stage: None,
) -> Iterator[Outcome]:
    """Segments many scans; a scan that fails for any reason does not end the others.

    Scans that are done are not segmented again, unless their content, the models or the settings
    have changed. Several processes on several machines may do so at once with one folder: each scan
    is segmented by one of them. The files of a scan appear together, and what became of it is
    logged. Without a client, the next scan is read while one is segmented.

    Args:
        scans: Name of the results to scan, as from `find_scans`; or paths for it.
        out: Folder for the results.
        client: A ``dask.distributed.Client``, whose workers segment, each one scan at a time. They
            must see the same paths, and load the weights once.
        weights: Models, as for `lungmask_jax.inference.segment`; with a client, names or paths.
        uncertainty: Whether to map the uncertainty of the last model inside another mask.
        format: Of the masks, one of `lungmask_jax.files.FORMATS`; by default that of each scan, if
            it is NRRD or MetaImage, else ``"nii.gz"``.
        pages: Whether to write a page to read for each new result; `write_pages` adds those that
            are missing, and their table.
        surface: Whether to draw the masks as solids, too.
        patient: Whether to store the PatientID and StudyDate of DICOM headers and tables.
        window: For images and windowed scans: HU of black and white.
        retry_failed: Whether to try scans again that failed in an earlier run.
        again: Whether to segment scans again that are done.
        overwrite: Whether to replace files that this program did not make.
        timeout_s: With a client, the seconds after which a scan fails and its worker is ended.
        read: Without a client, reads a scan; called in another thread.
        progress: Without a client, called as ``progress(task, slices_done, slices)``.
        begin: Without a client, called with the name of each stage as it begins, such as
            ``"weights"``, ``"read"``, ``"lung network"`` and ``"write"``.

    Returns:
        What became of each scan, in the order in which they end. Table and models are checked
        before the first.

    Raises:
        ScanError: There is no scan, or the folder or its table cannot be written.
        SpecError: A model of a task is missing, a setting needs a client or none, or DICOM files,
            which name the patient, shall not.
        MissingPackageError: Pages need Jinja2, which the extra ``report`` brings.
        WeightsError: A bundle is damaged.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from lungmask_jax import io
        >>> from lungmask_jax.phantoms import phantom
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     io.save(phantom((4, 96, 96)).ct, Path(folder, "a.nii.gz"))
        ...     for _ in range(2):
        ...         for one in segment_many([folder], Path(folder, "out"), weights=["lungs"]):
        ...             one.name, one.state, one.is_new
        ('a', 'done', True)
        ('a', 'done', False)
    """
    if not patient and format.startswith("dicom"):
        raise SpecError(
            f"masks in the format {format} name the patient and the date, as their series does: "
            "leave out --no-patient, or give another --format"
        )
    found = scans if isinstance(scans, Mapping) else find_scans(scans)
    paths = (scan.path for scan in found.values())
    results = outputs(out, inputs=paths, overwrite=overwrite)
    found = _with_former_names(found, results.folder)
    check_table(results)
    if pages:
        check_pages(results)
    job = Job(
        results,
        tuple(weights),
        uncertainty,
        format,
        pages,
        surface,
        patient,
        window,
        retry_failed,
        again,
        timeout_s,
    )
    if client is not None:
        return _tabled(distributed(client, found, job), job)
    if timeout_s is not None:
        raise SpecError("a limit of time needs workers that can be ended: add --cluster local:1")
    begin("weights")
    models = [*inference.ordered(by_target(weights)).values()]
    return _tabled(_in_sequence(found, Worker(job, models, read, begin, progress)), job)


def _with_former_names(scans: Mapping[str, Scan], folder: Path) -> dict[str, Scan]:
    """The scans by the names of their results in earlier runs, when fewer had to be told apart.

    Only a name that folders were put before is taken back; one that was given stays.
    """
    former = {row.get("source"): name for name, row in _state.latest(folder).items()}
    kept = {
        name: former[scan.source]
        for name, scan in scans.items()
        if former.get(scan.source) is not None
        and former[scan.source] not in scans
        and name.endswith(f"_{former[scan.source]}")
    }
    return {kept.get(name, name): scan for name, scan in scans.items()}


def _tabled(outcomes: Iterator[Outcome], job: Job) -> Iterator[Outcome]:
    """The outcomes; when they end, for whatever reason, the table has their measures."""
    names: set[str] = set()
    try:
        for one in outcomes:
            if one.state == "done":
                names.add(one.name)
            yield one
    finally:
        add_measures(job.results, names)


def _in_sequence(scans: Mapping[str, Scan], worker: Worker) -> Iterator[Outcome]:
    """One scan after the other; first those that nobody works on, and that ended no process."""
    folder = worker.job.results.folder
    known, suspects = _state.latest(folder), _state.attempted(folder)
    left = [name for name in scans if name in suspects]
    calm = (
        attempt(name, scan, known.get(name, {}), worker)
        for name, scan in scans.items()
        if name not in suspects
    )
    for one in _ahead(calm, worker):
        if one.state == "busy":
            left.append(one.name)
        else:
            yield one
    for name in left:
        worker.begin("read")
        yield ended(attempt(name, scans[name], {}, worker, wait=True))


def _ahead(attempts: Iterable[Steps], worker: Worker) -> Iterator[Outcome]:
    """The outcome of each attempt; the next scan is read while one is segmented."""
    begun: deque[tuple[Steps, Future[Outcome | None]]] = deque()
    with ThreadPoolExecutor(1) as reader:
        try:
            for steps in attempts:
                begun.append((steps, reader.submit(advanced, steps)))
                if len(begun) > 1:
                    yield _outcome(*begun[0], worker)
                    begun.popleft()
            for both in begun:
                yield _outcome(*both, worker)
        finally:
            for steps, first in begun:
                if not first.cancel():
                    first.exception()  # waits for the reader
                steps.close()


def _outcome(steps: Steps, first: "Future[Outcome | None]", worker: Worker) -> Outcome:
    worker.begin("read")
    return first.result() or ended(steps)
