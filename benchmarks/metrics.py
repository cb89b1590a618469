"""Surface metrics of two lungs in a full-size scan: how long we take, and how long others do.

    python benchmarks/metrics.py --lungs LUNGS.nii.gz

LUNGS.nii.gz is a lung mask of any size; without one, the lungs of the phantom are taken. The mask
is brought to 300 slices of 512 x 512 and split in the middle; the prediction is the mask moved by
some voxels and smoothed. Peers that are installed take part: surface-distance, medpy, monai.
Processor time counts every core, and says more than the clock on a machine that is busy.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from lungmask_jax import metrics

SPACING = (1.0, 0.75, 0.75)
Measured = tuple[float, float]
"""HD95 and mean surface distance; peers define the surface in different ways."""


def main() -> None:
    """Prints one row for us and one for each peer that is installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lungs", type=Path, help="NIfTI file with a lung mask")
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar="VOXELS")
    parser.add_argument("--only", nargs="+", help="names of rows")
    arguments = parser.parse_args()
    pairs = list(labels(resampled(lung_mask(arguments.lungs), arguments.shape)))
    print(f"{'':18} {'processor s':>12} {'clock s':>9} {'ratio':>7} {'HD95 mm':>8} {'mean mm':>8}")
    first = 0.0
    for name, measured in rows():
        if arguments.only and name not in arguments.only:
            continue
        clock, processor = time.perf_counter(), time.process_time()
        values = [measured(*pair) for pair in pairs]
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        first = first or processor
        worst, mean = np.max(values, axis=0)
        print(
            f"{name:18} {processor:12.2f} {clock:9.2f} {processor / first:7.1f} "
            f"{worst:8.3f} {mean:8.3f}",
            flush=True,
        )


def lung_mask(path: Path | None) -> np.ndarray:
    """``(slices, rows, columns)``, boolean."""
    if path is None:
        from lungmask_jax.phantoms import phantom

        return phantom((64, 128, 128)).lungs.array > 0
    import nibabel

    image = nibabel.as_closest_canonical(nibabel.load(path))
    return np.moveaxis(np.asarray(image.dataobj) > 0, (0, 1, 2), (2, 1, 0))


def resampled(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The mask on a grid of this shape."""
    factors = [size / have for size, have in zip(shape, mask.shape, strict=True)]
    return ndimage.zoom(mask.astype(np.float32), factors, order=1) > 0.5


def labels(lungs: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Prediction and target of the right and of the left half."""
    moved = ndimage.shift(lungs, (1, 2, -1), order=0)
    predicted = ndimage.gaussian_filter(moved.astype(np.float32), 3) > 0.45
    middle = lungs.shape[2] // 2
    for half in (slice(None, middle), slice(middle, None)):
        side = np.zeros(lungs.shape, bool)
        side[:, :, half] = True
        yield predicted & side, lungs & side


def rows() -> Iterator[tuple[str, Callable[[np.ndarray, np.ndarray], Measured]]]:
    """Name and function of everyone who is here."""
    yield "lungmask_jax", ours
    for name, function in (
        ("monai", with_monai),
        ("surface-distance", with_surface_distance),
        ("medpy", with_medpy),
    ):
        try:
            __import__(name.replace("-", "_"))
        except ImportError:
            continue
        yield name, function


def ours(prediction: np.ndarray, target: np.ndarray) -> Measured:
    """One pass over the surfaces, two numbers."""
    surfaces = metrics.surface_distances(prediction, target, SPACING)
    return surfaces.hausdorff(percent=95), surfaces.mean()


def with_surface_distance(prediction: np.ndarray, target: np.ndarray) -> Measured:
    """One pass, as it is meant to be used."""
    from surface_distance import metrics as peer

    found = peer.compute_surface_distances(target, prediction, SPACING)
    mean = max(peer.compute_average_surface_distance(found))
    return float(peer.compute_robust_hausdorff(found, 95)), float(mean)


def with_medpy(prediction: np.ndarray, target: np.ndarray) -> Measured:
    """Two passes: there is no other way."""
    from medpy.metric import binary as peer

    return (
        float(peer.hd95(prediction, target, voxelspacing=SPACING)),
        float(peer.assd(prediction, target, voxelspacing=SPACING)),
    )


def with_monai(prediction: np.ndarray, target: np.ndarray) -> Measured:
    """Two passes: there is no other way."""
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    one, other = (torch.from_numpy(mask)[None, None] for mask in (prediction, target))
    options = {"include_background": True, "spacing": SPACING}
    return (
        float(compute_hausdorff_distance(one, other, percentile=95, **options)),
        float(compute_average_surface_distance(one, other, symmetric=True, **options)),
    )


if __name__ == "__main__":
    main()
