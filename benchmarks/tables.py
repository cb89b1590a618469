r"""The tables of docs/models.md, from the files that the other benchmarks write.

    python benchmarks/tables.py --lungs lungs.json --infection infection.json \
        --alarms alarms.json --signs signs.json

Prints Markdown; each file is optional, and several are taken as one: the folds of a
cross-validation may lie apart.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judging import pooled_dice, spread

Scores = Mapping[str, Mapping[str, Any]]

LUNGS = {
    "lung_slices": "slices of Finding and Measuring Lungs",
    "exams": "slices of COVID-19-CT-Seg, cut out around the lungs",
    "whole": "the same, whole",
    "semiseg": "slices of COVID-SemiSeg, outlines made from intensity and infection",
    "lowres": "whole low-resolution CTs",
    "lungsegdb": "slices of LungSegDB",
    "dicom": "slices of lung-cancer patients, outlines made from intensity",
}
COLUMNS = ("sensitivity", "precision", "surface_dice", "lesion_f1", "dice_256", "brier")
HEADS = ("Sensitivity", "Precision", "Surface Dice, 3 mm", "Lesion F1", "Dice, 256", "Brier")


def main() -> None:
    """Prints what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    makers = {"lungs": lungs, "infection": infection, "alarms": alarms, "signs": signs}
    for name in makers:
        parser.add_argument(f"--{name}", type=Path, nargs="+", default=[], help="JSON files")
    options = parser.parse_args()
    for name, maker in makers.items():
        merged: dict[str, Any] = {}
        for path in getattr(options, name):
            merged |= json.loads(path.read_text())
        if merged:
            print("\n".join(maker(merged)), end="\n\n")


def lungs(scores: Scores) -> Iterator[str]:
    """Dice and surface Dice of each data set."""
    yield from head("Held out", "Cases", "Dice, mean ± SD", "Median", "Range", "Surface Dice, 1 mm")
    for source, name in LUNGS.items():
        cases = of(scores, source)
        if cases:
            yield line(name, len(cases), *described(cases), mean(cases, "surface_dice"))


def infection(scores: Scores) -> Iterator[str]:
    """Each exam, pooled and by slice, their mean, and the slices of COVID-SemiSeg."""
    yield from head("Held out", "Slices", "Dice, pooled", "Dice of slices, mean ± SD", *HEADS)
    exams = sorted({name.split("/")[1] for name in scores if name.startswith("exams/")})
    rows = {exam: of(scores, f"exams/{exam}") for exam in exams}
    for exam, cases in rows.items():
        yield line(f"{exam} (fold {cases[0]['fold']})", len(cases), *infected(cases))
    if rows:
        pooled = [pooled_dice(cases) for cases in rows.values()]
        means = [np.mean([case["dice"] for case in cases]) for cases in rows.values()]
        columns = [np.mean([average(cases, key) for cases in rows.values()]) for key in COLUMNS]
        cells = [f"{value:.3f}" for value in (np.mean(pooled), np.mean(means), *columns)]
        yield line("mean of exams", sum(map(len, rows.values())), *cells)
    slices = of(scores, "semiseg")
    if slices:
        yield line("COVID-SemiSeg", len(slices), *infected(slices))


def alarms(scores: Scores) -> Iterator[str]:
    """Infected percent as a scan is, with noise and on a coarse matrix."""
    yield from head("CT", "As it is", "Noise of 75 HU", "Matrix of 5 mm", "AUC of slices")
    for name, case in scores.items():
        shares = [f"{case[f'infected_percent{kind}']:.2g}" for kind in ("", "_noisy", "_coarse")]
        yield line(f"`{name}`", *shares, f"{case['slice_auc']:.3f}" if "slice_auc" in case else "")


def signs(result: Mapping[str, Any]) -> Iterator[str]:
    """Sensitivity and specificity at three thresholds, held out and on whole CTs."""
    keys = [f"{kind}_{at}" for at in (0.2, 0.5, 0.8) for kind in ("sensitivity", "specificity")]
    heads = [f"{kind} at {at}" for at in (0.2, 0.5, 0.8) for kind in ("Sensitivity", "Specificity")]
    yield from head("Slices of", "Scan", "AUC", *heads, "Brier")
    rows = {f"{result['slices']} held-out patients' slices": result["held_out"]}
    rows |= {f"`{name}`": case for name, case in result.get("whole", {}).items()}
    for name, case in rows.items():
        cells = [case.get(key) for key in ("scan", "auc", *keys, "brier")]
        yield line(name, *("" if cell is None else f"{cell:.3f}" for cell in cells))


def of(scores: Scores, start: str) -> list[Mapping[str, Any]]:
    """The cases whose names begin so."""
    return [case for name, case in scores.items() if name.startswith(f"{start}/")]


def infected(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of an exam."""
    dice = spread(np.array([case["dice"] for case in cases]))
    whole = f"{dice['mean']:.3f} ± {dice['sd'] or 0:.3f}"
    return [f"{pooled_dice(cases):.3f}", whole, *(mean(cases, key) for key in COLUMNS)]


def described(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mean, median and range of the Dice."""
    dice = spread(np.array([case["dice"] for case in cases]))
    whole = f"{dice['mean']:.3f} ± {dice['sd'] or 0:.3f}"
    return [whole, f"{dice['median']:.3f}", f"{dice['min']:.3f} to {dice['max']:.3f}"]


def mean(cases: Sequence[Mapping[str, Any]], key: str) -> str:
    """A score's mean over the cases that have it."""
    return f"{average(cases, key):.3f}"


def average(cases: Sequence[Mapping[str, Any]], key: str) -> float:
    """The same as a number; NaN without any."""
    values = [case[key] for case in cases if np.isfinite(case.get(key, np.nan))]
    return float(np.mean(values)) if values else float("nan")


def head(*names: str) -> Iterator[str]:
    """The first two lines of a table."""
    yield line(*names)
    yield line(*("---" for _ in names))


def line(*cells: Any) -> str:
    """A row."""
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main()
