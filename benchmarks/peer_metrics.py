"""Metrics of a peer: what `metrics.py` runs beside us, with an interpreter that has the peer.

    python benchmarks/peer_metrics.py monai PAIRS.npz 1.0 0.75 0.75 2.0

The numbers are the spacing and the tolerance in mm. Prints times and the worse value of each pair.
"""

import json
import sys
import time

import numpy as np

Values = dict[str, float]
Spacing = tuple[float, ...]


def surface_distance(
    prediction: np.ndarray, target: np.ndarray, spacing: Spacing, tolerance: float
) -> Values:
    """One pass over the surfaces, as it is meant to be used."""
    from surface_distance import metrics as peer

    found = peer.compute_surface_distances(target, prediction, spacing)
    return {
        "Dice": float(peer.compute_dice_coefficient(target, prediction)),
        "HD95": float(peer.compute_robust_hausdorff(found, 95)),
        "mean": _mean(found),
        "surface Dice": float(peer.compute_surface_dice_at_tolerance(found, tolerance)),
    }


def _mean(found: dict[str, np.ndarray]) -> float:
    """Over both surfaces together; surface-distance itself gives one for each."""
    distances = np.concatenate([found["distances_gt_to_pred"], found["distances_pred_to_gt"]])
    areas = np.concatenate([found["surfel_areas_gt"], found["surfel_areas_pred"]])
    return float(distances @ areas / areas.sum())


def medpy(
    prediction: np.ndarray, target: np.ndarray, spacing: Spacing, _tolerance: float
) -> Values:
    """A pass for each: there is no other way."""
    from medpy.metric import binary as peer

    return {
        "Dice": float(peer.dc(prediction, target)),
        "HD95": float(peer.hd95(prediction, target, voxelspacing=spacing)),
        "mean": float(peer.assd(prediction, target, voxelspacing=spacing)),
    }


def monai(prediction: np.ndarray, target: np.ndarray, spacing: Spacing, tolerance: float) -> Values:
    """A pass for each: there is no other way."""
    import torch
    from monai import metrics as peer

    one, other = (torch.from_numpy(mask)[None, None] for mask in (prediction, target))
    options = {"include_background": True, "spacing": spacing}
    return {
        "Dice": float(peer.compute_dice(one, other)),
        "HD95": float(peer.compute_hausdorff_distance(one, other, percentile=95, **options)),
        "mean": float(peer.compute_average_surface_distance(one, other, symmetric=True, **options)),
        "surface Dice": float(
            peer.compute_surface_dice(one, other, class_thresholds=[tolerance], **options)
        ),
    }


def main() -> None:
    """Times all pairs, reading left out."""
    name, path, *numbers = sys.argv[1:]
    measured = {"surface_distance": surface_distance, "medpy": medpy, "monai": monai}[name]
    *spacing, tolerance = map(float, numbers)
    pairs = [*np.load(path).values()]
    __import__(name)
    clock, processor = time.perf_counter(), time.process_time()
    found = [
        measured(prediction, target, tuple(spacing), tolerance)
        for prediction, target in zip(pairs[::2], pairs[1::2], strict=True)
    ]
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    worse = {
        key: (min if "Dice" in key else max)(values[key] for values in found) for key in found[0]
    }
    print(json.dumps(worse | {"clock": clock, "processor": processor}))


if __name__ == "__main__":
    main()
