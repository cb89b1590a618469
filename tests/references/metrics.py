"""Makes metrics.npz: what other libraries say of random masks. Run where they are installed.

pip install surface-distance pysodmetrics
python tests/references/metrics.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from py_sod_metrics import MAE, Emeasure, Smeasure
from surface_distance import metrics as peer

generator = np.random.default_rng(7)
arrays = {}


def surfaces(name, prediction, target, spacing):
    found = peer.compute_surface_distances(target, prediction, spacing)
    means = peer.compute_average_surface_distance(found)
    arrays[f"{name}/masks"] = np.stack([prediction, target])
    arrays[f"{name}/spacing"] = np.array(spacing)
    arrays[f"{name}/expected"] = np.array(
        [
            peer.compute_robust_hausdorff(found, 100),
            peer.compute_robust_hausdorff(found, 95),
            peer.compute_robust_hausdorff(found, 50),
            peer.compute_surface_dice_at_tolerance(found, 1.0),
            *means,
            found["surfel_areas_gt"].sum(),
            found["surfel_areas_pred"].sum(),
        ]
    )


for number in range(16):
    shape = tuple(generator.integers(1, 14, 2 + number % 2))
    masks = generator.random((2, *shape)) < generator.uniform(0.1, 0.9)
    masks[:, *(0,) * len(shape)] = True  # neither is empty
    surfaces(f"surface{number:02}", *masks, tuple(generator.uniform(0.4, 3, len(shape))))

for number in range(8):
    side = (int(generator.integers(6, 30)), int(generator.integers(6, 30)))
    grey = generator.integers(0, 256, side).astype(np.uint8)
    grey.flat[:2] = 0, 255  # already stretched
    target = generator.random(side) < generator.uniform(0.1, 0.9)
    if number >= 6:
        target[:] = number == 7
    elif (np.argwhere(target).mean(0) % 1 == 0.5).any():
        target.flat[0] ^= True  # a tie: MATLAB and we round it up, pysodmetrics to even
    judges = Smeasure(), Emeasure(), MAE()
    for judge in judges:
        judge.step(grey, (target * 255).astype(np.uint8))
    arrays[f"map{number}/grey"], arrays[f"map{number}/target"] = grey, target
    results = [judge.get_results() for judge in judges]
    arrays[f"map{number}/s"] = np.array(results[0]["sm"])
    arrays[f"map{number}/e"] = np.array(results[1]["em"]["curve"])
    arrays[f"map{number}/mae"] = np.array(results[2]["mae"])

origin = {name: version(name) for name in ("surface-distance", "pysodmetrics", "numpy")}
np.savez_compressed(Path(__file__).with_suffix(".npz"), origin=json.dumps(origin), **arrays)
