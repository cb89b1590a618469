"""``lungmask-jax evaluate``: masks and their truth in, scores of every case and a summary out."""

import argparse
import csv
import functools
import io as text
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from lungmask_jax import data, evaluation, inference, io, viz, weights
from lungmask_jax.cli._progress import bar, console
from lungmask_jax.cli._worst import Masks, Picture, save, worst
from lungmask_jax.errors import LungmaskError, ScanError, SpecError
from lungmask_jax.evaluation import Row
from lungmask_jax.files import atomic

__all__ = ["run", "write"]

Target: TypeAlias = Literal["lungs", "infection", "lesions"]
_SHOWN = ("dice", "iou", "sensitivity", "precision", "surface_dice", "hausdorff95_mm", "lesion_f1")


def run(options: argparse.Namespace) -> int:
    """Scores every case; one that fails is named and the others go on."""
    _check(options)
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
                    scores = " ".join(f"{key} {row[key]:.3f}" for key in _SHOWN)
                    say(f"{name} {row['label']}: {scores}")
                pictures = worst(pictures, found[0], masks, options.worst)
            except (LungmaskError, OSError) as error:
                failed += 1
                say(f"{name}: {error}", style="red")
    if not rows:
        raise ScanError(f"expected cases to score, all {failed} failed: see above")
    save(pictures, options.out)
    write(options, rows, console())
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
    if options.against is not None:
        _read_rows(options.against)  # before hours are spent


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
    for case in progress.track(data.read_metadata(options.data), description="segmenting"):
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
    if options.target not in truths:
        raise ScanError(f"expected a mask of {options.target} for {case.name}, found none")
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


def write(options: argparse.Namespace, rows: Sequence[Row], shown: Console) -> None:
    """Cases as CSV, the summary as JSON, and both as a table."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    table = text.StringIO()
    writer = csv.DictWriter(table, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic(options.out / "cases.csv") as temporary:
        temporary.write_text(table.getvalue(), encoding="utf-8")
    labels = list(dict.fromkeys(str(row["label"]) for row in rows))
    result: dict[str, Any] = {"summary": {label: _summary(rows, label) for label in labels}}
    if options.against is not None:
        other = _read_rows(options.against)
        result["against"] = str(options.against)
        result["comparison"] = {label: _comparison(other, rows, label) for label in labels}
    for label in labels:
        name = "boxes.png" if len(labels) == 1 else f"boxes_{label}.png"
        viz.save_png(_boxes(options, rows, label), options.out / name)
    with atomic(options.out / "summary.json") as temporary:
        temporary.write_text(json.dumps(_plain(result), indent=2) + "\n", encoding="utf-8")
    for label in labels:
        _print(shown, label, result)
    shown.print(f"every case in {options.out / 'cases.csv'}", markup=False, highlight=False)


def _boxes(options: argparse.Namespace, rows: Sequence[Row], label: str) -> np.ndarray:
    """The scores of one label as boxes; those of another model beside them."""
    models = {options.out.name or "this": rows}
    if options.against is not None:
        other = options.against.parent.name or "other"
        models = {
            f"{other} (before)" if other in models else other: _read_rows(options.against),
            **models,
        }
    shares = [key for key in _SHOWN if key != "hausdorff95_mm"]
    scores = {
        key: {
            model if len(models) > 1 else "": [
                float(row[key]) for row in some if row["label"] == label
            ]
            for model, some in models.items()
        }
        for key in shares
    }
    cases = sum(row["label"] == label for row in rows)
    return viz.box_plot(scores, title=f"{label}, {cases} cases")


def _summary(rows: Sequence[Row], label: str) -> dict[str, dict[str, float]]:
    scores = dict.fromkeys(key for row in rows if row["label"] == label for key in row)
    return {
        score: evaluation.summarize(rows, score, label=label)._asdict()
        for score in scores
        if score not in ("case", "label")
    }


def _comparison(
    first: Sequence[Row], second: Sequence[Row], label: str
) -> dict[str, dict[str, float]]:
    return {
        score: evaluation.compare(first, second, score, label=label)._asdict() for score in _SHOWN
    }


def _read_rows(path: Path) -> list[dict[str, str | float]]:
    if not path.is_file():
        raise ScanError(f"expected the cases.csv of another model, found no file {path}")
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    if not lines or not {"case", "label"} <= lines[0].keys():
        raise ScanError(f"expected the cases.csv of another model, found another table in {path}")
    try:
        return [
            {
                key: value if key in ("case", "label") else float(value)
                for key, value in line.items()
            }
            for line in lines
        ]
    except (TypeError, ValueError) as error:
        raise ScanError(f"expected scores in {path}, found {error}: write it again") from error


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _print(shown: Console, label: str, result: Mapping[str, Any]) -> None:
    table = Table(title=label)
    heads = ["score", "cases", "mean ± sd", "95 % interval", "median (quartiles)", "range"]
    compared = result.get("comparison", {}).get(label)
    for head in [*heads, *(["difference", "p"] if compared else [])]:
        table.add_column(head)
    for score in _SHOWN:
        one = result["summary"][label][score]
        cells = [
            score,
            str(one["cases"]),
            f"{one['mean']:.3f} ± {one['sd']:.3f}",
            f"{one['low']:.3f} to {one['high']:.3f}",
            f"{one['median']:.3f} ({one['q1']:.3f} to {one['q3']:.3f})",
            f"{one['min']:.3f} to {one['max']:.3f}",
        ]
        if compared:
            other = compared[score]
            cells.append(f"{other['mean']:+.3f} ({other['low']:+.3f} to {other['high']:+.3f})")
            cells.append(f"{other['p']:.3g}")
        table.add_row(*cells)
    shown.print(table)
