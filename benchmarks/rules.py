"""lungmask's rules for regions, in its own program and in ours, on noisy labels of five lobes.

    python benchmarks/rules.py --peer-python ENVIRONMENT/bin/python

That interpreter has lungmask. Both programs clean the same labels in turn, several times, each in a
process of its own: five lobes in two ellipsoids, where some voxels have another label, one by one
or in grains. Printed are processor seconds of each pair, and how many voxels differ.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time

import numpy as np

LUNGMASK = """
import sys, time, json, numpy
from lungmask import utils
labels = numpy.load(sys.argv[1])
began = time.process_time()
found = utils.postprocessing(labels)
print(json.dumps(time.process_time() - began))
numpy.save(sys.argv[2], found)
"""


def main() -> None:
    """Prints a row for each pair."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with lungmask")
    parser.add_argument("--shape", type=int, nargs=3, default=(40, 256, 256))
    parser.add_argument("--noise", type=float, default=0.02, help="share of voxels that change")
    parser.add_argument("--grain", type=float, default=0.0, help="sigma of a grain in voxels")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--ours", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        clean(*options.ours)
        return
    labels = noisy_lobes(tuple(options.shape), options.noise, options.grain)
    print(f"{labels.shape}, {regions(labels):,} regions of {len(np.unique(labels)) - 1} labels\n")
    print("| theirs s | ours s | times as fast | voxels that differ |\n" + "| --- " * 4 + "|")
    with tempfile.TemporaryDirectory() as folder:
        given, theirs, ours = (f"{folder}/{name}.npy" for name in ("given", "theirs", "ours"))
        np.save(given, labels)
        for _ in range(options.pairs):
            one = seconds([options.peer_python, "-c", LUNGMASK, given, theirs])
            other = seconds([sys.executable, __file__, "--ours", given, ours])
            differ = np.count_nonzero(np.load(theirs) != np.load(ours))
            print(f"| {one:.2f} | {other:.2f} | {one / other:.0f} | {differ} |", flush=True)


def noisy_lobes(shape: tuple[int, ...], share: float, grain: float) -> np.ndarray:
    """Labels 1 to 5 in two ellipsoids, cut by slanting planes; some voxels have any label."""
    from scipy import ndimage

    chance = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    slant = z + 0.5 * y
    right = np.where(slant > 0.3, 3, np.where(slant > -0.2, 4, 5))
    lobes = np.where(x < 0, right, np.where(slant > 0, 1, 2))
    inside = ((np.abs(x) - 0.45) / 0.35) ** 2 + (y / 0.7) ** 2 + (z / 0.95) ** 2 < 1
    fields = ndimage.gaussian_filter(chance.normal(size=(7, *shape)), (0, *[grain] * 3))
    changed = fields[0] > np.quantile(fields[0], 1 - share)
    return np.where(changed, fields[1:].argmax(axis=0), lobes * inside).astype(np.uint8)


def regions(labels: np.ndarray) -> int:
    """How many connected parts of one label there are."""
    from scipy import ndimage

    return sum(ndimage.label(labels == one, np.ones((3, 3, 3)))[1] for one in range(1, 6))


def clean(given: str, out: str) -> None:
    """The same rules here, with the seconds that they take."""
    import lungmask_jax as lj
    from lungmask_jax.postprocess import join_regions, solid_regions

    labels = np.load(given)
    began = time.process_time()
    found = solid_regions(join_regions(lj.Volume(labels))).array
    print(json.dumps(time.process_time() - began))
    np.save(out, found)


def seconds(command: list[str]) -> float:
    """What a program prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
