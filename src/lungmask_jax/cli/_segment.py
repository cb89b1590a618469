"""``lungmask-jax segment``: scans in, masks, pictures and numbers out."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from rich.progress import Progress

from lungmask_jax import DISCLAIMER, inference, io, report, tasks
from lungmask_jax.cli._border import Failures, one_line, stopping
from lungmask_jax.cli._notes import Notes, noted
from lungmask_jax.cli._outputs import Outputs, outputs
from lungmask_jax.cli._progress import bar, counted, stepper, summary
from lungmask_jax.cli._scans import left_out, named_scans
from lungmask_jax.cli._stages import Stages
from lungmask_jax.errors import ScanError
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle, by_target

__all__ = ["run"]

_TABLE: Final = "measures.csv"


class _Job(NamedTuple):
    """What all scans of a run have in common."""

    options: argparse.Namespace
    models: Sequence[Bundle]
    outputs: Outputs
    failures: Failures
    notes: Notes
    stages: Stages

    def files(self, name: str) -> list[str]:
        """What will be written for a scan, its JSON file last."""
        masks = tasks.mask_names([model.spec.target for model in self.models])
        return inference.file_names(name, masks, uncertainty=self.options.uncertainty)


class _Read(NamedTuple):
    """A scan, where it is from, and what was said while it was read."""

    ct: Volume
    source: str
    notes: list[str]


def run(options: argparse.Namespace) -> int:
    """Segments every scan; one that fails is named on stderr and the others go on."""
    scans = named_scans(options.scans, recursive=options.recursive)
    results = outputs(options.out, [*scans.values()], overwrite=options.overwrite)
    _check_table(results)
    stages = Stages()
    stages.begin("weights")
    models = [*inference.ordered(by_target(options.weights)).values()]
    todo = _without_done(scans, results) if options.skip_existing else scans
    with bar() as progress, noted() as notes:
        job = _Job(options, models, results, Failures(options.debug), notes, stages)
        for line in left_out(options.scans, scans.values()):
            progress.console.print(one_line(line), markup=False, highlight=False)
        done = len(scans) - len(todo)
        with stopping(lambda: f"{_so_far(done, scans, options)}; --skip-existing skips them"):
            for lines in _all(todo, job, progress):
                done += 1
                for line in lines:
                    progress.console.print(one_line(line), markup=False, highlight=False)
        stages.end()
        if options.profile:
            progress.console.print(stages.table())
        said = one_line(_so_far(done, scans, options))
        progress.console.print(said, markup=False, highlight=False)
        progress.console.print(DISCLAIMER)
    return 1 if job.failures.count else 0


def _so_far(done: int, scans: Mapping[str, Path], options: argparse.Namespace) -> str:
    where = f", results in {options.out}" if done else ""
    return f"{done} of {counted(len(scans), 'scan')} done{where}"


def _check_table(results: Outputs) -> None:
    """A table of others is found before any work."""
    path = results.folder / _TABLE
    if not os.path.lexists(path):
        return
    try:
        ours = path.is_file() and not path.is_symlink()
        ours = ours and all("version" in row for row in report.read_csv(path).values())
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


def _without_done(scans: Mapping[str, Path], results: Outputs) -> dict[str, Path]:
    return {
        name: path
        for name, path in scans.items()
        if not results.is_done(f"{name}.json", _source(path))
    }


def _source(path: Path) -> str:
    """What tells a scan from another one of the same name."""
    return os.path.abspath(path)


def _all(scans: Mapping[str, Path], job: _Job, progress: Progress) -> Iterator[list[str]]:
    """What is to be said of each scan that is done."""
    with ThreadPoolExecutor(1) as reader:
        for name, scan in _ahead(scans, job, reader):
            task = progress.add_task(name, total=None)
            began = time.perf_counter()
            lines: list[str] = []
            with job.failures.of(name):
                row, notes = _one(name, scan, job, stepper(progress, task))
                seconds = time.perf_counter() - began
                lines = [
                    f"{name}: {line}" for line in (*notes, f"{summary(row)} ({seconds:.1f} s)")
                ]
            progress.remove_task(task)
            if lines:
                yield lines


def _ahead(
    scans: Mapping[str, Path], job: _Job, reader: ThreadPoolExecutor
) -> Iterator[tuple[str, Future[_Read]]]:
    """Each scan; the next one is read while it is worked on."""
    current: tuple[str, Future[_Read]] | None = None
    for name, path in scans.items():
        following = name, reader.submit(_read, name, path, job)
        if current:
            yield current
        current = following
    if current:
        yield current


def _read(name: str, path: Path, job: _Job) -> _Read:
    """A scan whose results can be written."""
    job.notes.taken()
    _check_place(name, path, job)
    window = tuple(job.options.window) if job.options.window else None
    with job.notes.added():
        ct = io.load(path, window=window)
    return _Read(ct, _source(path), job.notes.taken())


def _check_place(name: str, path: Path, job: _Job) -> None:
    *files, record = job.files(name)
    folder = job.outputs.folder
    if path.is_dir() and os.path.samefile(path, folder):
        raise ScanError(
            f"results would be written among the slices in {folder}: give another --out"
        )
    job.outputs.check(record, files)
    other = report.read_json(folder / record).get("source", _source(path))
    if other != _source(path) and not job.outputs.overwrite:
        raise ScanError(
            f"{folder / record} has the results of another scan, {other}: give another --out, or "
            "replace them with --overwrite"
        )


def _one(
    name: str, scan: Future[_Read], job: _Job, step: inference.Progress
) -> tuple[report.Row, list[str]]:
    job.notes.taken()
    job.stages.begin("read")
    ct, source, notes = scan.result()
    result = inference.segment(
        ct,
        weights=job.models,
        uncertainty=job.options.uncertainty,
        progress=step,
        begin=job.stages.begin,
    )
    job.stages.begin("write")
    with job.outputs.staged() as folder:
        record = result.save(folder, name=name, source=source)[-1]
        row = result.row(name)
        with job.outputs.moved(folder, record.name):
            report.update_csv(job.outputs.folder / _TABLE, [row])
    return row, [*notes, *job.notes.taken(), *result.notes]
