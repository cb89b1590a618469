"""``lungmask-jax evaluate --protocol NAME``: a published table with a row of our own."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress
from rich.table import Table

from lungmask_jax import data, evaluation, inference, io, metrics, protocols, report
from lungmask_jax.cli._border import Failures, stopping
from lungmask_jax.cli._bundles import bundles, exposed
from lungmask_jax.cli._progress import bar, console
from lungmask_jax.cli._summary import RECORD, read_rows, results, write
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.evaluation import Row
from lungmask_jax.protocols import PROTOCOLS
from lungmask_jax.spec import PRESETS
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["run"]

Scores = tuple[float | None, ...]
_WINDOW = (-1250.0, 250.0)  # of the windowed half of COVID-19-CT-Seg


def run(options: argparse.Namespace) -> int:
    """Scores the data of a protocol and prints what others reached on them."""
    if options.data is None:
        protocol = PROTOCOLS[options.protocol]
        raise SpecError(f"expected --data with {protocol.layout}: get {protocol.data}")
    _refuse_ignored(options)
    judge, needed = {
        "covid19-ct-seg": (_ct_seg, "lungs"),
        "covid-semiseg": (_semiseg, "infection"),
    }[options.protocol]
    models = bundles(options.weights, needed)
    results(options)
    with bar() as progress, stopping(lambda: "no scores written"):
        ours, failed = judge(options, models, progress)
    _print(options, ours)
    return 1 if failed else 0


def _refuse_ignored(options: argparse.Namespace) -> None:
    """A protocol says itself what is scored and how."""
    ignored = ["pred", "true", "scans", "tolerance", "by_type"]
    if options.protocol == "covid-semiseg":
        ignored.append("against")
    given = [f"--{name.replace('_', '-')}" for name in ignored if getattr(options, name)]
    if given:
        raise SpecError(f"expected --protocol without {', '.join(given)}: leave it out")


def _ct_seg(
    options: argparse.Namespace, models: Sequence[Bundle], progress: Progress
) -> tuple[dict[str, Scores], int]:
    others = read_rows(options.against, "lungs", "infection")
    cases = protocols.covid19_ct_seg_cases(options.data)
    window = tuple(options.window) if options.window else _WINDOW
    rows: list[Row] = []
    failures = Failures(options.debug)
    for case in progress.track(cases, description="segmenting"):
        with failures.of(case.name):
            rows += _both(case, models, window)
    if not rows:
        raise ScanError(f"expected cases to score, all {failures.count} failed: see above")
    with results(options).written(RECORD) as folder:
        write(options, rows, others, progress.console, folder)
    labels = ("left_lung", "right_lung", "infection")
    ours = tuple(_mean(rows, label, key) for label in labels for key in ("dice", "surface_dice"))
    count = len({row["case"] for row in rows if not row["seen"]})
    return {f"lungmask_jax {_name(models)}, {count} cases": ours}, failures.count


def _both(case: data.Case, models: Sequence[Bundle], window: Any) -> list[dict[str, str | float]]:
    ct, truths = data.load_case(case, window=window)
    result = inference.segment(ct, weights=models)
    rows = evaluation.case_rows(case.name, result.lungs, truths["lungs"], "lungs")
    if result.infection is not None:
        rows += evaluation.case_rows(case.name, result.infection, truths["infection"], "infection")
    seen = exposed(models, case.name, ct)
    return [{**row, "seen": seen} for row in rows]


def _semiseg(
    options: argparse.Namespace, models: Sequence[Bundle], progress: Progress
) -> tuple[dict[str, Scores], int]:
    (bundle,) = (one for one in models if one.spec.target == "infection")
    window = tuple(options.window) if options.window else PRESETS["infection"].window
    lines: dict[str, list[dict[str, Any]]] = {"map": [], "mask": []}
    pairs = protocols.covid_semiseg_pairs(options.data)
    failures = Failures(options.debug)
    for name, image, mask in progress.track(pairs, description="segmenting"):
        with failures.of(name):
            for kind, one in _slice(image, mask, bundle, window).items():
                lines[kind].append({"case": name, **one})
    count = len(lines["map"])
    if not count:
        raise ScanError(f"expected slices to score, all {len(pairs)} failed: see above")
    with results(options).written("cases.json") as folder:
        report.write_json(folder / "cases.json", lines)
    keys = PROTOCOLS["covid-semiseg"].scores
    return {
        f"lungmask_jax {bundle.name}, {kind}, {count} of {len(pairs)} slices": tuple(
            float(np.mean([line[key] for line in some])) for key in keys
        )
        for kind, some in lines.items()
    }, len(pairs) - count


def _slice(image: Path, mask: Path, bundle: Bundle, window: Any) -> dict[str, dict[str, float]]:
    """Scores of the map of probabilities and of the mask."""
    whole = replace(bundle.spec.preprocess, region="full")  # the slices are cut to the lungs
    bundle = replace(bundle, spec=replace(bundle.spec, preprocess=whole))
    ct, truth = _upright(io.load(image, window=window)), _upright(io.load_mask(mask))
    likely = inference.probabilities(ct, bundle)[0]
    found = {"map": likely, "mask": inference.labels(ct, bundle).array[0] > 0}
    return {kind: _toolbox(one, truth.array[0] > 0) for kind, one in found.items()}


def _upright(volume: Volume) -> Volume:
    """The public files lie on their side: rows and columns exchanged."""
    return Volume(np.ascontiguousarray(volume.array.transpose(0, 2, 1))).as_checked()


def _toolbox(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Scores of a slice as the Inf-Net toolbox has them."""
    stretched = metrics.stretched(found.astype(np.float64))
    curves = metrics.threshold_curves(stretched, truth)
    return {
        "Dice": float(curves.dice.mean()),
        "sensitivity": float(curves.sensitivity.mean()),
        "specificity": float(curves.specificity.mean()),
        "S-measure": metrics.s_measure(stretched, truth),
        "E-measure": float(curves.e_measure.mean()),
        "MAE": metrics.mean_absolute_error(stretched, truth),
    }


def _mean(rows: Sequence[Row], label: str, key: str) -> float | None:
    """Over the cases that no model knows; none without any."""
    rows = [row for row in rows if not row["seen"]]
    if not any(row["label"] == label for row in rows):
        return None
    return evaluation.summarize(rows, key, label=label).mean


def _name(models: Sequence[Bundle]) -> str:
    return " ".join(bundle.name for bundle in models)


def _print(options: argparse.Namespace, ours: Mapping[str, Scores]) -> None:
    protocol = PROTOCOLS[options.protocol]
    table = Table(title=f"{protocol.title} ({protocol.paper})")
    for head in ("method", *protocol.scores):
        table.add_column(head)
    rows = {**protocol.published, **ours}
    for number, (method, values) in enumerate(rows.items(), 1):
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        table.add_row(method, *cells, end_section=number == len(protocol.published))
    shown = console()
    shown.print(table)
    for caution in protocol.cautions:
        shown.print(f"- {caution}", markup=False, highlight=False)
    result = {"published": dict(protocol.published), "ours": dict(ours), "scores": protocol.scores}
    with results(options).written("table.json") as folder:
        report.write_json(folder / "table.json", result)
