"""``lungmask-jax evaluate``: masks and their truth in, scores of every case and a summary out."""

import argparse
import math
from typing import Any

from lungmask_jax import data, evaluation, tasks
from lungmask_jax.cli._border import Failures, stopping
from lungmask_jax.cli._progress import bar, counted
from lungmask_jax.cli._scores import save, watcher
from lungmask_jax.errors import SpecError


def run(options: argparse.Namespace) -> int:
    """Scores every case; one that fails is named and the others go on."""
    _check(options)
    target = tasks.registry[options.target].types if options.by_type else options.target
    failures = Failures(options.debug)
    if options.data is not None:
        cases: Any = data.read_metadata(options.data, masks=[options.target])
    else:
        cases = data.pair_masks(options.pred, options.true, target=target)
    with (
        bar() as progress,
        stopping(lambda: f"no scores of {counted(len(cases), 'case')} written"),
    ):
        report = evaluation.evaluate(
            cases,
            target=target,
            weights=options.weights,
            window=options.window,
            scans=options.scans,
            tolerance_mm=options.tolerance,
            against=options.against,
            worst_count=options.worst,
            guard=failures.of,
            progress=watcher(progress, options),
        )
    save(report, options)
    return 1 if failures.reasons else 0


def _check(options: argparse.Namespace) -> None:
    folders = options.pred is not None and options.true is not None
    if folders == (options.data is not None) or (options.pred is None) != (options.true is None):
        raise SpecError(
            "expected --pred with --true, or --data: name two folders or a metadata.csv"
        )
    if options.scans is not None and not folders:
        raise SpecError("expected --scans with --pred, found --data, which lists scans: omit it")
    if options.by_type and not tasks.registry[options.target].types:
        raise SpecError(
            f"expected --by-type for infection, found --target {options.target}: leave it out"
        )
    if folders and options.pred.exists() and options.pred.resolve() == options.true.resolve():
        raise SpecError(f"expected two folders, found {options.pred} as --pred and as --true")
    if options.tolerance is not None and not 0 <= options.tolerance < math.inf:
        raise SpecError(f"expected --tolerance of 0 mm or more, found {options.tolerance}")
    if options.worst < 0:
        raise SpecError(f"expected --worst of 0 or more, found {options.worst}")
