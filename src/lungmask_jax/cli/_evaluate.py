"""``lungmask-jax evaluate``: masks and their truth in, scores of every case and a summary out."""

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rich.progress import Progress

from lungmask_jax import data, evaluation, inference, io, weights
from lungmask_jax.cli._progress import bar, console
from lungmask_jax.cli._summary import SHOWN, read_rows, write
from lungmask_jax.cli._worst import Masks, Picture, save, worst
from lungmask_jax.errors import LungmaskError, ScanError, SpecError
from lungmask_jax.evaluation import Row

__all__ = ["run"]

Target: TypeAlias = Literal["lungs", "infection", "lesions"]


def run(options: argparse.Namespace) -> int:
    """Scores every case; one that fails is named and the others go on."""
    _check(options)
    others = read_rows(options.against, options.target)  # before hours are spent
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    pictures: list[Picture] = []
    failed = 0
    with bar() as progress:
        say = functools.partial(progress.console.print, markup=False, highlight=False)
        for name, read in _jobs(options, progress):
            try:
                masks = read()
                found = _scored(name, masks, options)
                rows += found
                for row in found:
                    scores = " ".join(f"{key} {row[key]:.3f}" for key in SHOWN)
                    say(f"{name} {row['label']}: {scores}")
                pictures = worst(pictures, found[0], masks, options.worst)
            except (LungmaskError, OSError) as error:
                failed += 1
                say(f"{name}: {error}", style="red")
    if not rows:
        raise ScanError(f"expected cases to score, all {failed} failed: see above")
    save(pictures, options.out)
    write(options, rows, others, console())
    return 1 if failed else 0


def _check(options: argparse.Namespace) -> None:
    folders = options.pred is not None and options.true is not None
    if folders == (options.data is not None) or (options.pred is None) != (options.true is None):
        raise SpecError(
            "expected --pred with --true, or --data: name two folders or a metadata.csv"
        )
    if options.scans is not None and not folders:
        raise SpecError("expected --scans beside --pred, found --data, which names scans: leave it")
    if options.worst < 0:
        raise SpecError(f"expected --worst of 0 or more, found {options.worst}")


def _jobs(
    options: argparse.Namespace, progress: Progress
) -> Iterator[tuple[str, Callable[[], Masks]]]:
    """Names of cases, and functions that read or make their masks."""
    window = tuple(options.window) if options.window else None
    if options.data is None:
        target: Target = "lesions" if options.by_type else options.target
        pairs = data.pair_masks(options.pred, options.true, target=target)
        scans = _scans(options.scans, [name for name, _, _ in pairs])
        for name, found, truth in progress.track(pairs, description="scoring"):
            yield name, functools.partial(_read, found, truth, scans.get(name), window)
        return
    bundles = [weights.load(name) for name in options.weights]
    cases = data.read_metadata(options.data, masks=[options.target])
    for case in progress.track(cases, description="segmenting"):
        yield case.name, functools.partial(_segmented, case, bundles, window, options)


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
    bundles: Sequence[weights.Bundle],
    window: Any,
    options: argparse.Namespace,
) -> Masks:
    ct, truths = data.load_case(case, window=window, by_type=options.by_type)
    result = inference.segment(ct, weights=bundles)
    infection = result.lesions if options.by_type else result.infection
    found = result.lungs if options.target == "lungs" else infection
    if found is None:
        raise SpecError("expected an infection model among --weights, found none")
    return Masks(found, truths[options.target], lambda: ct)


def _scored(name: str, masks: Masks, options: argparse.Namespace) -> Sequence[Row]:
    return evaluation.case_rows(
        name,
        masks.found,
        masks.truth,
        options.target,
        tolerance_mm=options.tolerance,
        by_type=options.by_type,
    )
