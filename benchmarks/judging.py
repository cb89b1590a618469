"""Scores of bundles on cases that they have not learned from, and what calibration would do."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Item
from recipe import FOLDS, POSTPROCESS, PREPROCESS, TOLERANCE_MM
from splits import patient_folds

from lungmask_jax import calibration, inference, labels, metrics, postprocess, weights
from lungmask_jax.spec import changed_steps
from lungmask_jax.weights import Bundle

KEPT = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "surface_dice",
    "lesion_f1",
    "dice_256",
    "brier",
)


def scored(
    bundle: Bundle, number: int, items: Sequence[Item]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of items that the bundle has not seen."""
    for item in items:
        found = case_scores(bundle, item)
        print(number, item.name, {k: round(found[k], 3) for k in KEPT if k in found}, flush=True)
        yield item.name, {"fold": number, **found}


def judged_again(
    target: str, items: Sequence[Item], numbers: Iterable[int], bundles: str
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of a cross-validation's bundles, with pre- and post-processing as they are here."""
    folds = patient_folds(items, FOLDS)
    for number in numbers:
        bundle = weights.load(Path(bundles.format(fold=number)))
        if set(bundle.spec.card["held_out"]) != folds[number]:
            raise SystemExit(f"{bundle.name} held out other cases than fold {number} has")
        around = {"preprocess": PREPROCESS[target], "postprocess": POSTPROCESS[target]}
        bundle = replace(bundle, spec=replace(bundle.spec, **around))
        yield from scored(bundle, number, [item for item in items if item.group in folds[number]])


def case_scores(bundle: Bundle, item: Item) -> dict[str, float]:
    """All scores of one item; of infection the network alone, and its probabilities, too."""
    if bundle.spec.target == "lungs":
        return _of_mask(inference.segment(item.ct, weights=[bundle]).lungs.array > 0, item, bundle)
    bundle = network_alone(bundle, item)
    likely = inference.probabilities(item.ct, bundle, lungs=item.lungs)
    found, truth = likely > postprocess.decision(bundle.spec.postprocess).at, item.mask.array > 0
    types = postprocess.lesion_types(item.ct.with_array(found.astype(np.uint8)), item.ct).array
    return {
        **_of_mask(found, item, bundle),
        "dice_256": float(metrics.threshold_curves(likely[0], truth[0]).dice.mean()),
        "brier": metrics.brier(likely, truth),
        **by_type(types, item.mask.array),
    }


def network_alone(bundle: Bundle, item: Item) -> Bundle:
    """The bundle for an item; one that is cut out around the lungs already is taken whole."""
    if item.lungs is not None:
        return bundle
    whole = replace(bundle.spec.preprocess, region="full")
    return replace(bundle, spec=replace(bundle.spec, preprocess=whole))


def by_type(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Dice of each type of lesion that is there."""
    types = {"ground_glass": labels.GROUND_GLASS, "consolidation": labels.CONSOLIDATION}
    return {
        f"dice_{name}": metrics.dice(found == label, truth == label)
        for name, label in types.items()
        if (truth == label).any()
    }


def summary(scores: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Means and spread of every score, by source and by exam, and the Dice of exams as wholes."""
    result: dict[str, Any] = {}
    for source in sorted({_parent(name) for name in scores} | {_first(name) for name in scores}):
        cases = [values for name, values in scores.items() if name.startswith(f"{source}/")]
        result[source] = {"cases": len(cases), "pooled_dice": round(pooled_dice(cases), 4)}
        for key in KEPT:
            values = np.array([case[key] for case in cases if key in case], float)
            values = values[np.isfinite(values)]
            if len(values):
                result[source][key] = spread(values)
    return result


def spread(values: np.ndarray) -> dict[str, float | None]:
    """Mean, standard deviation, median and range."""
    return {
        "mean": round(float(values.mean()), 4),
        "sd": round(float(values.std(ddof=1)), 4) if len(values) > 1 else None,
        "median": round(float(np.median(values)), 4),
        "min": round(float(values.min()), 4),
        "max": round(float(values.max()), 4),
    }


def pooled_dice(cases: Sequence[Mapping[str, float]]) -> float:
    """Dice of all the pixels of several cases together; 1 where neither has any."""
    counts = metrics.Counts(*(sum(case[key] for case in cases) for key in ("tp", "fp", "fn", "tn")))
    return metrics.overlap(counts)["dice"]


def calibrate(path: Path, bundles: str, items: Sequence[Item]) -> None:
    """Calibration and threshold from a cross-validation, judged on each fold by the others."""
    found, truth, fold = {}, {}, {}
    for number, held in enumerate(patient_folds(items, FOLDS)):
        bundle = weights.load(Path(bundles.format(fold=number)))
        plain = changed_steps(bundle.spec.postprocess, "calibration", slope=1.0, offset=0.0)
        bundle = replace(bundle, spec=replace(bundle.spec, postprocess=plain))
        for item in items:
            if item.group in held:
                alone = network_alone(bundle, item)
                found[item.name] = inference.probabilities(item.ct, alone, lungs=item.lungs)[0]
                truth[item.name], fold[item.name] = item.mask.array[0] > 0, number
    lines = []
    for number in range(FOLDS):
        numbers, threshold = chosen(found, truth, [name for name in found if fold[name] != number])
        for name in found:
            if fold[name] == number:
                lines.append(judged(found[name], truth[name], numbers, threshold))
        print(f"fold {number}: log-odds x {numbers[0]:.2f} {numbers[1]:+.2f}, above {threshold}")
    means = {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}
    path.write_text(json.dumps(means, indent=1) + "\n")
    print(json.dumps(means, indent=1))


def chosen(
    found: dict[str, np.ndarray], truth: dict[str, np.ndarray], names: Sequence[str]
) -> tuple[tuple[float, float], float]:
    """Calibration, and the best threshold after it."""
    maps, masks = [found[name] for name in names], [truth[name] for name in names]
    numbers = calibration.fit(maps, masks)
    likely = [calibration.calibrated(one, numbers) for one in maps]
    return numbers, calibration.best_threshold(likely, masks)


def judged(
    found: np.ndarray, truth: np.ndarray, numbers: tuple[float, float], threshold: float
) -> dict[str, float]:
    """What calibration and threshold do to one slice that they were not chosen on."""
    likely = calibration.calibrated(found, numbers)
    return {
        "Dice": metrics.dice(likely > threshold, truth),
        "Brier score before": metrics.brier(found, truth),
        "Brier score": metrics.brier(likely, truth),
        "calibration error before": metrics.calibration_error(found, truth),
        "calibration error": metrics.calibration_error(likely, truth),
        "mean Dice over 256 thresholds before": metrics.threshold_curves(found, truth).dice.mean(),
        "mean Dice over 256 thresholds": metrics.threshold_curves(likely, truth).dice.mean(),
    }


def _of_mask(found: np.ndarray, item: Item, bundle: Bundle) -> dict[str, float]:
    truth = item.mask.array > 0
    tolerance = TOLERANCE_MM[bundle.spec.target]
    values = metrics.scores(found, truth, item.ct.spacing, tolerance_mm=tolerance)
    return {**values, **metrics.counts(found, truth)._asdict()}


def _parent(name: str) -> str:
    return name.rsplit("/", 1)[0]


def _first(name: str) -> str:
    return name.split("/", 1)[0]
