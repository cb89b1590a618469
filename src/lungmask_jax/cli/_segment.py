"""``lungmask-jax segment``: scans in, masks, pictures and numbers out."""

import argparse
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lungmask_jax import data, inference, io, report
from lungmask_jax.cli._bundles import bundles
from lungmask_jax.cli._progress import bar, counted, stepper, summary
from lungmask_jax.cli._stages import Stages
from lungmask_jax.errors import LungmaskError, ScanWarning
from lungmask_jax.files import writable
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["run"]


class _Read(NamedTuple):
    """A scan, and what was said while it was read."""

    ct: Volume
    notes: list[str]


def run(options: argparse.Namespace) -> int:
    """Segments every scan; one that fails is named and the others go on."""
    writable(options.out)  # before any work
    stages, failed = Stages(), 0
    stages.begin("weights")
    models = bundles(options.weights, "lungs")
    scans = _named(options.scans)
    with bar() as progress, ThreadPoolExecutor(1) as reader:
        say = progress.console.print
        for name, scan in _ahead(scans, options, reader):
            task = progress.add_task(name, total=None)
            began = time.perf_counter()
            try:
                row, notes = _one(name, scan, options, models, stepper(progress, task), stages)
            except (LungmaskError, OSError) as error:
                failed += 1
                say(f"{name}: {error}", style="red", markup=False, highlight=False)
            else:
                seconds = time.perf_counter() - began
                for line in (*notes, f"{summary(row)} ({seconds:.1f} s)"):
                    say(f"{name}: {line}", markup=False, highlight=False)
            progress.remove_task(task)
        stages.end()
        if options.profile:
            say(stages.table())
        done = len(scans) - failed
        where = f", results in {options.out}" if done else ""
        say(f"{done} of {counted(len(scans), 'scan')} done{where}")
        say(inference.DISCLAIMER)
    return 1 if failed else 0


def _ahead(
    scans: Mapping[str, Path], options: argparse.Namespace, reader: ThreadPoolExecutor
) -> Iterator[tuple[str, Future[_Read]]]:
    """Each scan; the next one is read while it is worked on."""
    window = tuple(options.window) if options.window else None
    current: tuple[str, Future[_Read]] | None = None
    for name, path in scans.items():
        following = name, reader.submit(_read, path, window)
        if current:
            yield current
        current = following
    if current:
        yield current


def _read(path: Path, window: tuple[float, float] | None) -> _Read:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ScanWarning)
        ct = io.load(path, window=window)
    return _Read(ct, [str(note.message) for note in caught if note.category is ScanWarning])


def _one(
    name: str,
    scan: Future[_Read],
    options: argparse.Namespace,
    models: Sequence[Bundle],
    step: inference.Progress,
    stages: Stages,
) -> tuple[report.Row, list[str]]:
    stages.begin("read")
    ct, notes = scan.result()
    result = inference.segment(
        ct, weights=models, uncertainty=options.uncertainty, progress=step, begin=stages.begin
    )
    stages.begin("numbers")
    row = report.row(name, result)
    stages.begin("write")
    numbers = options.out / f"{name}.json"
    if numbers.exists():  # written last: where it is, the scan is done
        numbers.unlink()
        _remove_old(name, result, options.out)
    result.save(options.out, name=name)
    report.update_csv(options.out / "measures.csv", [row])
    report.write_json(numbers, row)
    return row, [*notes, *result.notes]


def _remove_old(name: str, result: inference.Segmentation, out: Path) -> None:
    """Masks that an earlier run wrote and this one will not."""
    for kind in ("infection", "lesions", "uncertainty"):
        if getattr(result, kind) is None:
            (out / f"{name}_{kind}.nii.gz").unlink(missing_ok=True)


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Scans by the name of their results; a folder of NIfTI files stands for the files."""
    scans: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.nii*")) if path.is_dir() else []
        scans += inside or [path]
    return dict(zip(data.names(scans), scans, strict=True))
