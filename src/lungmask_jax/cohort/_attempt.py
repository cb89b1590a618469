"""One scan of many: claimed, read, segmented and written, or a reason why not."""

import os
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from lungmask_jax import __version__, inference, io, records, tasks
from lungmask_jax.cohort import _state
from lungmask_jax.cohort._limits import give_up, is_passing, limited
from lungmask_jax.cohort._outputs import Outputs
from lungmask_jax.cohort._scan import Read, Scan, load
from lungmask_jax.cohort._tables import measures_of
from lungmask_jax.errors import ScanError, reason
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

State: TypeAlias = Literal["done", "failed", "busy"]


@dataclass(frozen=True)
class Outcome:
    """What became of a scan.

    Attributes:
        name: Name of its results.
        scan: The scan.
        state: ``"done"`` or ``"failed"``.
        is_new: Whether this run did it; otherwise an earlier one, or another one beside it.
        row: Its measures, as in the table; empty if it failed.
        notes: Reasons to doubt them, as in `lungmask_jax.inference.Segmentation`; of a scan that
            failed, the warnings before.
        reason: Why it failed.
        seconds: Time that it took.
        trace: Where it failed, for developers.

    Example:
        >>> from pathlib import Path
        >>> one = Outcome("a", Scan(Path("a.nii.gz")), row={"scan": "a", "lungs_ml": 4012.1})
        >>> one.state, one.row["lungs_ml"]
        ('done', 4012.1)
    """

    name: str
    scan: Scan
    state: State = "done"
    is_new: bool = True
    row: records.Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    reason: str = ""
    seconds: float = 0.0
    trace: str = field(default="", repr=False)


@dataclass(frozen=True)
class Job:
    """The common settings of all scans.

    Attributes:
        results: The folder for the results.
        weights: Names, paths, or bundles, in the order of segmentation.
        uncertainty: Whether to map the uncertainty.
        format: Of the masks; empty for that of each scan.
        pages: Whether to write a page to read for each scan.
        surface: Whether to draw the masks as solids, too.
        patient: Whether to store PatientID and StudyDate.
        window: HU of black and white, for images.
        retry_failed: Whether to try scans again that failed before.
        again: Whether to segment scans again that are done.
        timeout_s: Seconds after which a worker gives a scan up.
    """

    results: Outputs
    weights: tuple[str | os.PathLike[str] | Bundle, ...]
    uncertainty: bool
    format: str
    pages: bool
    surface: bool
    patient: bool
    window: tuple[float, float] | None
    retry_failed: bool
    again: bool
    timeout_s: float | None = None

    def how(self, models: Sequence[Bundle]) -> dict[str, Any]:
        """Models, settings and version of the code, on which results depend."""
        return {
            "version": __version__,
            "models": {one.spec.target: f"{one.name} {one.checksum[:12]}" for one in models},
            "settings": {
                "uncertainty": self.uncertainty,
                "format": self.format,
                "window": None if self.window is None else [*map(float, self.window)],
                **({"surface": True} if self.surface else {}),
                **({} if self.patient else {"patient": False}),
            },
        }


@dataclass(frozen=True)
class Worker:
    """A process that segments, one scan at a time.

    Attributes:
        job: The common settings.
        models: The loaded bundles.
        read: Reads a scan.
        begin: Called with the name of each stage.
        progress: Called as ``progress(task, slices_done, slices)``.
    """

    job: Job
    models: Sequence[Bundle]
    read: Read = load
    begin: Callable[[str], None] = lambda _stage: None
    progress: inference.Progress | None = None


Steps: TypeAlias = Generator[None, None, Outcome]
"""An attempt in two steps, of which the first reads the scan; the second returns the outcome."""


def attempt(
    name: str, scan: Scan, known: Mapping[str, Any], worker: Worker, *, wait: bool = False
) -> Steps:
    """Segments a scan unless that is done, and logs what became of it.

    Args:
        name: Name of the results.
        scan: The scan.
        known: Its latest row in the log, or nothing.
        worker: How.
        wait: Whether to wait for another process that works on it; the state is ``"busy"``
            otherwise.
    """
    results, began = worker.job.results, time.perf_counter()
    row: dict[str, Any] = {"scan": name, "source": scan.source}
    try:
        with results.claimed(f"{name}.json", wait=wait) as held:
            if held:
                return (yield from _claimed(name, scan, None if wait else known, worker, row))
            return Outcome(name, scan, "busy", is_new=False)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # decoders in Rust raise even that
        seconds = round(time.perf_counter() - began, 2)
        return _failed(name, scan, error, seconds, row, results)


def _failed(
    name: str,
    scan: Scan,
    error: BaseException,
    seconds: float,
    row: dict[str, Any],
    results: Outputs,
) -> Outcome:
    """The outcome of an error, which is logged; it lasts if the scan is to blame."""
    lasting, why = row.pop("lasting", False) and not is_passing(error), reason(error)
    failed = {"state": "failed", "reason": why, "seconds": seconds, "lasting": lasting}
    _state.append(results.folder, {**row, **failed})
    notes, trace = tuple(getattr(error, "__notes__", ())), traceback.format_exception(error)
    return Outcome(name, scan, "failed", True, {}, notes, why, seconds, "".join(trace))


def advanced(steps: Steps) -> Outcome | None:
    """Takes a step; the outcome if it was the last."""
    try:
        next(steps)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    return None


def ended(steps: Steps) -> Outcome:
    """Takes all steps that are left."""
    while not (outcome := advanced(steps)):
        pass
    return outcome


def _claimed(
    name: str, scan: Scan, known: Mapping[str, Any] | None, worker: Worker, row: dict[str, Any]
) -> Steps:
    """Nothing if an earlier run did it, else an attempt; `row` becomes that of the log.

    Without a known row, another process may have just logged one.
    """
    job, mark = worker.job, _state.signature(scan)
    same = mark and known is not None and mark == known.get("signature")
    content = (known or {}).get("content", "") if same else ""
    content = content or _state.content(scan)
    how = job.how(worker.models)
    row |= {"signature": mark, "content": content, "key": _state.key_of(content, how), **how}
    record = job.results.result(name, source=scan.source, key=row["key"])
    if record and not job.again:
        logged = {**row, "state": "done", "reason": "", "qc": record.get("qc")}
        if known is not None and any(
            known.get(one) != logged[one] for one in ("signature", "key", "state", "source")
        ):
            _state.append(job.results.folder, logged)
        _state.Attempts.of(job.results.folder, name).forget()  # it was killed after its last step
        return Outcome(name, scan, is_new=False, row=measures_of(record))
    if known is None:
        known = _state.latest(job.results.folder).get(name, {})
    tried = known.get("state") == "failed" and known.get("key") == row["key"]
    if tried and known.get("lasting") and not (job.retry_failed or job.again):
        return Outcome(name, scan, "failed", is_new=False, reason=known.get("reason", ""))
    return (yield from _attempted(name, scan, worker, row))


def _attempted(name: str, scan: Scan, worker: Worker, row: dict[str, Any]) -> Steps:
    """Reads a scan; then segments it, and writes its results."""
    job, began = worker.job, time.perf_counter()
    tries = _state.Attempts.of(job.results.folder, name)
    row["lasting"] = True
    give_up(tries, job.timeout_s)
    with tries.counted() as file, limited(job.timeout_s, file):
        _state.append(job.results.folder, {**row, "state": "running", "lasting": False})
        row["lasting"] = False
        form = _checked_format(name, scan, worker, row["content"])
        row["lasting"] = True
        ct = worker.read(scan, job.window)
        ct = ct if job.patient else _without_patient(ct)
        inference.mask_format(ct, format=form)  # which refuses some
        reading = time.perf_counter() - began
        yield
        began = time.perf_counter()
        result = inference.segment(
            ct,
            weights=worker.models,
            uncertainty=job.uncertainty,
            progress=worker.progress,
            begin=worker.begin,
        )
        row["lasting"] = False
        worker.begin("write")
        with job.results.staged(f"{name}.json") as folder:
            result.save(
                folder,
                name=name,
                source=scan.source,
                key=row["key"],
                format=job.format,
                page=job.pages,
                surface=job.surface,
                patient=scan.patient if job.patient else "",
                study_date=scan.study_date if job.patient else "",
            )
        measures, seconds = result.row(name), round(reading + time.perf_counter() - began, 2)
        done = {"state": "done", "reason": "", "seconds": seconds, "qc": measures.get("qc")}
        _state.append(job.results.folder, {**row, **done})
    return Outcome(name, scan, row=measures, notes=result.notes, seconds=seconds)


def _without_patient(ct: Volume) -> Volume:
    """The same scan, which does not say whose it is and when it was made."""
    header = ct.header and replace(ct.header, patient="", study_date="")
    unnamed = replace(ct, header=header)
    return unnamed.as_checked() if ct.checked else unnamed


def _checked_format(name: str, scan: Scan, worker: Worker, content: str) -> str:
    """The format of the masks; refuses a scan whose results cannot be written."""
    job = worker.job
    form = job.format or io.native_format(scan.path)
    masks = tasks.mask_names([model.spec.target for model in worker.models])
    *files, record = inference.file_names(
        name,
        masks,
        uncertainty=job.uncertainty,
        format=form,
        page=job.pages,
        surface=job.surface,
    )
    folder = job.results.folder
    if job.pages and name.lower() == "index":
        raise ScanError("its page would be index.html, the table of all: rename the scan")
    if scan.path.is_dir() and os.path.samefile(scan.path, folder):
        raise ScanError(
            f"results would be written among the slices in {folder}: give another --out"
        )
    job.results.check(record, files)
    job.results.check_source(record, scan.source, content)
    return form
