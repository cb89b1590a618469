"""All metrics of two lungs in a full-size scan: how long we take, and how long others do.

    python benchmarks/metrics.py --lungs LUNGS.nii.gz --peer-python ENVIRONMENT/bin/python

LUNGS.nii.gz is a lung mask of any size; without one, the lungs of the phantom are taken. The mask
is brought to 300 slices of 512 x 512 and split in the middle; the prediction is the mask moved by
some voxels and smoothed. We compute Dice, HD95, the mean surface distance (ASSD) and surface Dice
at 2 mm; so does each peer that the interpreter has (surface-distance, monai), or those of them that
it knows (medpy has no surface Dice). Each runs in a process of its own, in turns; medians.
Processor time counts every core, and says more than the clock on a machine that is busy.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

SPACING = (1.0, 0.75, 0.75)
TOLERANCE_MM = 2.0
PEERS = ("monai", "surface_distance", "medpy")
NAMES = ("Dice", "HD95", "mean", "surface Dice")


def main() -> None:
    """Prints one row for us and one for each peer that is installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lungs", type=Path, help="NIfTI file with a lung mask")
    parser.add_argument("--shape", type=int, nargs=3, default=(300, 512, 512), metavar="VOXELS")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with the peers")
    parser.add_argument("--runs", type=int, default=5, help="of us and of monai (default: 5)")
    parser.add_argument("--slow-runs", type=int, default=1, help="of the others (default: 1)")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(ours(options.run)))
        return
    with tempfile.TemporaryDirectory() as name:
        pairs = Path(name, "pairs.npz")
        lungs = resampled(lung_mask(options.lungs), options.shape)
        np.savez(pairs, *(mask for pair in labels(lungs) for mask in pair))
        table(pairs, options)


def table(pairs: Path, options: argparse.Namespace) -> None:
    """Runs them in turns and prints their medians, times and values."""
    python = options.peer_python
    here = {"lungmask_jax": [sys.executable, __file__, "--run", str(pairs)]}
    for peer in PEERS:
        if not subprocess.run([python, "-c", f"import {peer}"], capture_output=True).returncode:
            script = str(Path(__file__).with_name("peer_metrics.py"))
            here[peer] = [python, script, peer, str(pairs), *map(str, (*SPACING, TOLERANCE_MM))]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in here}
    for turn in range(options.runs):
        for name, command in here.items():
            if turn < (options.runs if name in ("lungmask_jax", "monai") else options.slow_runs):
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"| | runs | processor s | clock s | ratio of clocks | {' | '.join(NAMES)} |")
    print("| --- " * (5 + len(NAMES)) + "|")
    first = None
    for name, runs in found.items():
        processor, clock = (np.median([run[key] for run in runs]) for key in ("processor", "clock"))
        first = first or clock
        values = (f"{runs[0][key]:.4f}" if key in runs[0] else "" for key in NAMES)
        times = f"{len(runs)} | {processor:.1f} | {clock:.1f} | {clock / first:.1f}"
        print(f"| {name} | {times} | {' | '.join(values)} |")


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


def ours(path: Path) -> dict[str, float]:
    """Times and values; the worse of both lungs."""
    from lungmask_jax import metrics

    pairs = [*np.load(path).values()]
    clock, processor = time.perf_counter(), time.process_time()
    found = []
    for prediction, target in zip(pairs[::2], pairs[1::2], strict=True):
        surfaces = metrics.surface_distances(prediction, target, SPACING)
        values = (
            metrics.dice(prediction, target),
            surfaces.hausdorff(percent=95),
            surfaces.mean(),
            surfaces.dice(TOLERANCE_MM),
        )
        found.append(values)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    worst = np.array(found)
    values = [worst[:, 0].min(), worst[:, 1].max(), worst[:, 2].max(), worst[:, 3].min()]
    return dict(zip(NAMES, map(float, values), strict=True)) | {
        "clock": clock,
        "processor": processor,
    }


if __name__ == "__main__":
    main()
