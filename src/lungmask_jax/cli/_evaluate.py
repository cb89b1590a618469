"""``lungmask-jax evaluate``: masks and their truth in, scores of every case and a summary out."""

import argparse
import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from lungmask_jax import data, evaluation, inference, io, report
from lungmask_jax.cli._border import Failures, one_line, stopping
from lungmask_jax.cli._bundles import bundles, exposed
from lungmask_jax.cli._progress import bar, console, counted
from lungmask_jax.cli._summary import RECORD, SHOWN, read_rows, results, write
from lungmask_jax.cli._worst import Masks, Picture, save, worst
from lungmask_jax.errors import LungmaskError, ScanError, SpecError
from lungmask_jax.evaluation import Row
from lungmask_jax.labels import CONSOLIDATION
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["run"]

Target: TypeAlias = Literal["lungs", "infection", "lesions"]


def run(options: argparse.Namespace) -> int:
    """Scores every case; one that fails is named and the others go on."""
    _check(options)
    others, jobs = read_rows(options.against, options.target), _jobs(options)
    where = results(options)
    rows: list[Row] = []
    pictures: list[Picture] = []
    failures = Failures(options.debug)
    with bar() as progress, stopping(lambda: f"no scores of {counted(len(jobs), 'case')} written"):
        say = functools.partial(progress.console.print, markup=False, highlight=False)
        for name, _, read in progress.track(jobs, description="scoring"):
            with failures.of(name):
                masks = read()
                found = _scored(name, masks, options)
                rows += found
                for row in found:
                    scores = " ".join(f"{key} {row[key]:.3f}" for key in SHOWN)
                    seen = f" ({row['seen']})" if row.get("seen") else ""
                    say(one_line(f"{name} {row['label']}: {scores}{seen}"))
                pictures = worst(pictures, found[0], masks, options.worst)
    if not rows:
        raise ScanError(f"expected cases to score, all {failures.count} failed: see above")
    with where.written(RECORD) as folder:
        save(pictures, folder)
        write(options, rows, others, console(), folder)
    return 1 if failures.count else 0


def _check(options: argparse.Namespace) -> None:
    folders = options.pred is not None and options.true is not None
    if folders == (options.data is not None) or (options.pred is None) != (options.true is None):
        raise SpecError(
            "expected --pred with --true, or --data: name two folders or a metadata.csv"
        )
    if options.scans is not None and not folders:
        raise SpecError("expected --scans beside --pred, found --data, which names scans: leave it")
    if options.by_type and options.target != "infection":
        raise SpecError("expected --by-type for infection, found --target lungs: leave it out")
    if folders and options.pred.exists() and options.pred.resolve() == options.true.resolve():
        raise SpecError(f"expected two folders, found {options.pred} as --pred and as --true")
    if options.tolerance is not None and not 0 <= options.tolerance < math.inf:
        raise SpecError(f"expected --tolerance of 0 mm or more, found {options.tolerance}")
    if options.worst < 0:
        raise SpecError(f"expected --worst of 0 or more, found {options.worst}")


class Job(NamedTuple):
    """A case to be scored: its name, its true mask, and what reads or makes both masks."""

    name: str
    truth: Path | None
    masks: Callable[[], Masks]


def _jobs(options: argparse.Namespace) -> list[Job]:
    """All cases, as far as they can be judged without reading a scan."""
    jobs = _of_folders(options) if options.data is None else _of_list(options)
    if options.by_type and not any(_has_types(job.truth) for job in jobs):
        raise SpecError(
            "expected a truth with 2 (consolidation) for --by-type, found none: leave it out"
        )
    return jobs


def _of_folders(options: argparse.Namespace) -> list[Job]:
    target: Target = "lesions" if options.by_type else options.target
    pairs = data.pair_masks(options.pred, options.true, target=target)
    scans = _scans(options.scans, [name for name, _, _ in pairs])
    window = tuple(options.window) if options.window else None
    return [
        Job(name, truth, functools.partial(_read, found, truth, scans.get(name), window))
        for name, found, truth in pairs
    ]


def _of_list(options: argparse.Namespace) -> list[Job]:
    window = tuple(options.window) if options.window else None
    cases = data.read_metadata(options.data, masks=[options.target])
    models = bundles(options.weights, "lungs", options.target)
    return [
        Job(case.name, case.infection, functools.partial(_segmented, case, models, window, options))
        for case in cases
    ]


def _has_types(truth: Path | None) -> bool:
    """Whether there is consolidation; what cannot be read is named when its turn comes."""
    with contextlib.suppress(LungmaskError, OSError):
        return truth is not None and CONSOLIDATION in io.load_mask(truth).array
    return False


def _scans(folder: Path | None, names: Sequence[str]) -> Mapping[str, Path]:
    scans = {} if folder is None else data.by_name(folder)
    alone = [name for name in names if name not in scans]
    if folder is not None and alone:
        raise ScanError(
            f"expected a scan of every case in {folder}, found none of {', '.join(alone)}: give it "
            "the name of the mask, or leave out --scans"
        )
    return scans


def _read(found: Path, truth: Path, scan: Path | None, window: Any) -> Masks:
    ct = None if scan is None else functools.partial(io.load, scan, window=window)
    return Masks(io.load_mask(found), io.load_mask(truth), ct)


def _segmented(
    case: data.Case,
    models: Sequence[Bundle],
    window: Any,
    options: argparse.Namespace,
) -> Masks:
    ct, truths = data.load_case(case, window=window, by_type=options.by_type)
    result = inference.segment(ct, weights=models)
    infection = result.lesions if options.by_type else result.infection
    found = result.lungs if options.target == "lungs" else infection
    used = [model for model in models if model.spec.target in ("lungs", options.target)]
    seen = exposed(used, case.name, ct)
    truth = truths[options.target]
    return Masks(cast(Volume, found), truth, lambda: ct, seen)  # there is a model for it


def _scored(name: str, masks: Masks, options: argparse.Namespace) -> Sequence[Row]:
    rows = evaluation.case_rows(
        report.cell(name),
        masks.found,
        masks.truth,
        options.target,
        tolerance_mm=options.tolerance,
        by_type=options.by_type,
    )
    return rows if masks.seen is None else [{**row, "seen": masks.seen} for row in rows]
