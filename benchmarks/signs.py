r"""Calibrates the probability of signs of pneumonia, and judges it on patients not seen.

    python benchmarks/signs.py --data DIR --folds infection_fold{fold}.npz --out signs.json

Each slice of the exams of COVID-19-CT-Seg and of COVID-SemiSeg shows signs, each of `lung_slices`
that is not diseased shows none. The infected share of each is found by the network of the fold that
holds its patient out, behind the lung model of the library; slope and offset are fitted to the log
of the shares, slices with signs weighing as much as slices without. Each fold is judged by numbers
that were fitted to the other folds. ``--whole infection.npz`` also judges a bundle with the numbers
of all folds on whole CTs that nothing was fitted to: those of COVID-CT-MD, of which radiologists
said which slices are infected, and healthy ones. The form of the fit was chosen with the former in
sight, and the network learns from the latter: they are no outside test.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from alarms import auc, scans
from datasets import infection_items
from recipe import FOLDS
from scipy import optimize, special
from splits import patient_folds

from lungmask_jax import inference, quantify, weights
from lungmask_jax.weights import Bundle

SOURCES = {"exams": True, "semiseg": True, "lung_slices": False}
LEAST_PERCENT = 0.1  # as in `lungmask_jax.quantify.signs`


class Share(NamedTuple):
    """A slice: the fold that held it out, its infected percent, whether it shows signs."""

    fold: int
    percent: float
    shows: bool


def main() -> None:
    """Fits, judges, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--folds", required=True, help="bundles, as in infection_fold{fold}.npz")
    parser.add_argument("--numbers", type=int, nargs="+", default=[*range(FOLDS)], help="of folds")
    parser.add_argument("--whole", help="bundle to judge on whole CTs, too")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    options = parser.parse_args()
    shares = list(held_out(options.data, options.folds, options.numbers))
    numbers = fitted(shares)
    result: dict[str, Any] = {"signs": numbers, "slices": len(shares), "held_out": judged(shares)}
    result["shares"] = shares
    if options.whole:
        bundle = weights.load(Path(options.whole))
        result["whole"] = dict(whole_scans(options.data, bundle, numbers))
    options.out.write_text(json.dumps(result) + "\n")
    print(json.dumps({key: result[key] for key in result if key != "shares"}, indent=1))


def held_out(data: Path, bundles: str, numbers: Sequence[int]) -> Iterator[Share]:
    """The share of each slice, by the bundle that has not seen its patient."""
    items = [item for item in infection_items(data) if item.group]
    folds = patient_folds(items, FOLDS)
    for number in numbers:
        bundle = weights.load(Path(bundles.format(fold=number)))
        for item in items:
            if item.group in folds[number] and item.source in SOURCES:
                result = inference.segment(item.ct, weights=["lungs", bundle])
                percent = quantify.slice_shares(result.lungs, result.infection)[0]
                if np.isfinite(percent):
                    yield Share(number, float(percent), SOURCES[item.source])


def fitted(shares: Sequence[Share]) -> tuple[float, float]:
    """Slope and offset with the largest likelihood, both kinds of slices with equal weight.

    The kinds hardly overlap, and without a prior the slope would have no end. Platt's, one more
    slice of each kind that is taken for the other, keeps the odds below what so few can show.
    """
    odds = np.log(np.array([share.percent for share in shares]) + LEAST_PERCENT)
    shows = np.array([share.shows for share in shares])
    many, few = shows.sum(), (~shows).sum()
    target = np.where(shows, (many + 1) / (many + 2), 1 / (few + 2))
    weight = np.where(shows, 0.5 / many, 0.5 / few)

    def cost(numbers: np.ndarray) -> float:
        logits = numbers[0] * odds + numbers[1]
        return float((weight * (np.logaddexp(0, logits) - target * logits)).sum())

    slope, offset = optimize.minimize(cost, [1.0, 0.0], method="BFGS").x
    return float(slope), float(offset)


def judged(shares: Sequence[Share]) -> dict[str, float]:
    """Scores of slices, each by numbers from the other folds; of a single fold by its own."""
    likely, shows = [], []
    for number in sorted({share.fold for share in shares}):
        others = [share for share in shares if share.fold != number] or shares
        slope, offset = fitted(others)
        for share in shares:
            if share.fold == number:
                likely.append(special.expit(slope * np.log(share.percent + LEAST_PERCENT) + offset))
                shows.append(share.shows)
    return scores(np.array(likely), np.array(shows))


def scores(likely: np.ndarray, shows: np.ndarray) -> dict[str, float]:
    """How well probabilities tell slices with signs from those without."""
    found = {"auc": auc(likely, shows)} if shows.any() and not shows.all() else {}
    for threshold in (0.2, 0.5, 0.8):
        if shows.any():
            found[f"sensitivity_{threshold}"] = float((likely[shows] > threshold).mean())
        if not shows.all():
            found[f"specificity_{threshold}"] = float((likely[~shows] <= threshold).mean())
    found["brier"] = float(((likely - shows) ** 2).mean())
    return {key: round(value, 4) for key, value in found.items()}


def whole_scans(
    data: Path, bundle: Bundle, numbers: tuple[float, float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The probability of each whole CT, and how well those of its slices are."""
    for scan in scans(data):
        result = inference.segment(scan.ct, weights=["lungs", bundle])
        found = quantify.signs(result.lungs, result.infection, numbers)
        yield scan.name, {"scan": round(found.scan, 4), **scores(found.slices, scan.infected)}


if __name__ == "__main__":
    main()
