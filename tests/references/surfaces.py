"""Makes surfaces.json: what other packages find, for tests/test_metrics_surfaces.py to compare.

Run once, where surface-distance, medpy and monai are installed:

    python tests/references/surfaces.py > tests/references/surfaces.json

Masks are unions of ellipsoids, given by center and radii in voxels, so the tests can draw them.
"""

import importlib.metadata
import itertools
import json
import warnings

import numpy as np
import torch
from medpy.metric import binary as medpy
from monai import metrics as monai
from surface_distance import lookup_tables
from surface_distance import metrics as deepmind

PEERS = ("surface-distance", "medpy", "monai", "numpy", "scipy")
TOLERANCES_MM = (0.0, 1.0, 2.5, 6.0)
PERCENTS = (60.0, 95.0, 100.0)

SURFACES = {  # shape, spacing, ellipsoids of prediction and target
    "apart": ((20, 24, 28), (2.5, 0.7, 0.9), [(6, 6, 6, 3, 4, 4)], [(13, 17, 20, 4, 5, 6)]),
    "close": ((16, 40, 40), (5.0, 0.7, 0.7), [(8, 20, 20, 5, 13, 12)], [(8, 21, 19, 5, 12, 13)]),
    "cut off": ((9, 9, 9), (1.0, 1.0, 1.0), [(0, 4, 8, 5, 4, 6)], [(2, 8, 8, 5, 5, 5)]),
    "missed": (
        (24, 40, 40),
        (1.5, 1.1, 0.8),
        [(12, 10, 10, 8, 7, 7)],
        [(12, 11, 10, 8, 7, 6), (6, 33, 34, 3, 3, 4)],
    ),
    "one voxel": ((5, 6, 7), (3.0, 2.0, 1.0), [(2, 2, 2, 0.5, 0.5, 0.5)], [(1, 4, 5, 1, 1, 1)]),
    "slice": ((60, 64), (0.7, 1.3), [(30, 30, 20, 14)], [(27, 34, 17, 16), (52, 10, 4, 4)]),
    "thin": ((7, 30), (4.0, 0.5), [(3, 10, 0.5, 8)], [(3, 14, 1.2, 9)]),
}
CODE_SPACINGS = ((1.0, 1.0, 1.0), (5.0, 0.7, 0.9), (0.4, 1.7, 3.0))
SQUARE_SPACINGS = ((1.0, 1.0), (0.7, 2.2))


def drawn(shape, ellipsoids):
    grid = np.indices(shape).reshape(len(shape), -1).T
    mask = np.zeros(len(grid), bool)
    for numbers in ellipsoids:
        center, radii = np.split(np.array(numbers, float), 2)
        mask |= np.square((grid - center) / radii).sum(axis=1) <= 1
    return mask.reshape(shape)


def surfaces(shape, spacing, predicted, true):
    prediction, target = drawn(shape, predicted), drawn(shape, true)
    found = deepmind.compute_surface_distances(target, prediction, spacing)
    to_prediction, to_target = deepmind.compute_average_surface_distance(found)
    one, other = (torch.from_numpy(mask)[None, None] for mask in (prediction, target))
    subvoxels = {"include_background": True, "spacing": spacing, "use_subvoxels": True}
    return {
        "shape": shape,
        "spacing": spacing,
        "prediction": predicted,
        "target": true,
        "average_distances": [to_target, to_prediction],
        "hausdorff": {p: deepmind.compute_robust_hausdorff(found, p) for p in PERCENTS},
        "surface_dice": {
            mm: deepmind.compute_surface_dice_at_tolerance(found, mm) for mm in TOLERANCES_MM
        },
        "monai_surface_dice": {
            mm: float(monai.compute_surface_dice(one, other, class_thresholds=[mm], **subvoxels))
            for mm in TOLERANCES_MM
        },
        "medpy": {
            "dice": medpy.dc(prediction, target),
            "iou": medpy.jc(prediction, target),
            "sensitivity": medpy.recall(prediction, target),
            "specificity": medpy.specificity(prediction, target),
            "precision": medpy.precision(prediction, target),
            "volume_error": medpy.ravd(prediction, target),
        },
        "monai": {
            ours: confusion(one, other, theirs)
            for ours, theirs in (
                ("mcc", "matthews correlation coefficient"),
                ("balanced_accuracy", "balanced accuracy"),
                ("dice", "f1 score"),
            )
        },
    }


def confusion(prediction, target, name):
    matrix = monai.get_confusion_matrix(prediction.float(), target.float())
    return float(monai.compute_confusion_matrix_metric(name, matrix.sum(dim=(0, 1)).double()))


def codes(spacings, kernel, table):
    """The area that surface-distance gives the cube with these corners, lowest index first."""
    ndim = len(spacings[0])
    filled = [np.reshape(bits, (2,) * ndim) for bits in itertools.product((0, 1), repeat=2**ndim)]
    return [
        {
            "spacing": spacing,
            "areas": [round(float(table(spacing)[int((one * kernel).sum())]), 9) for one in filled],
        }
        for spacing in spacings
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(
        json.dumps(
            {
                "origin": {peer: importlib.metadata.version(peer) for peer in PEERS},
                "surfaces": {name: surfaces(*case) for name, case in SURFACES.items()},
                "cubes": codes(
                    CODE_SPACINGS,
                    lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL,
                    lookup_tables.create_table_neighbour_code_to_surface_area,
                ),
                "squares": codes(
                    SQUARE_SPACINGS,
                    lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL,
                    lookup_tables.create_table_neighbour_code_to_contour_length,
                ),
            }
        )
    )
