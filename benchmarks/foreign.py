"""Weights of lungmask in its own program and in ours: agreement, seconds by stage, peak memory.

    python benchmarks/foreign.py --scans SCAN.nii.gz ... --peer-python ENVIRONMENT/bin/python

That interpreter has lungmask and PyTorch. Weights are made by hand or by chance, as
`peer_lungmask_weights.py` says: nothing is downloaded. Both programs see slices in batches of four,
in one process each, which also gives the peak of resident memory. Seconds are those of all
processors together, from the scan on disk to the mask in memory, without the start of the programs;
ours include compilation, or its reading from disk after a run before.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

HERE = Path(__file__).parent
PROGRAMS = {"R231": ["lungs"], "random": ["random"], "LTRC": ["lobes"], "fused": ["lobes", "lungs"]}
"""Names of weights that run together; the second one fills."""


class Run(NamedTuple):
    """What a program made, and what it took."""

    mask: np.ndarray
    seconds: dict[str, float]
    gigabytes: float


def main() -> None:
    """Prints a row for each scan and each kind of weights; or runs our program on one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=Path, nargs="+", help="NIfTI files (default: a phantom)")
    parser.add_argument("--features", type=int, default=64, help="of the first level (default: 64)")
    parser.add_argument("--slices", type=int, help="in the middle of each scan (default: all)")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=[*PROGRAMS])
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with lungmask")
    parser.add_argument("--ours", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        *weights, scan, out = options.ours
        segment(weights, scan, out)
        return
    known = subprocess.run([options.peer_python, "-c", "import lungmask"], capture_output=True)
    if known.returncode:
        print(f"{options.peer_python} has no lungmask to compare with.")
        return
    with tempfile.TemporaryDirectory() as folder:
        for line in table(options, Path(folder)):
            print(line, flush=True)


def segment(weights: Sequence[str], scan: str, out: str) -> None:
    """Segments, and prints what took how long."""
    import lungmask_jax as lj

    models = [lj.weights.load(one) for one in weights]
    seconds: dict[str, float] = defaultdict(float)
    stage, began = "", time.process_time()

    def begin(following: str) -> None:
        nonlocal stage, began
        now = time.process_time()
        seconds[stage.rpartition(" ")[2]] += now - began
        stage, began = following, now

    result = lj.segment(scan, weights=models, begin=begin)
    begin("")
    seconds.pop("", None)
    lj.save(result.masks[models[0].spec.target], out)
    print(json.dumps({**seconds, "all": sum(seconds.values())}))


def table(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Markdown, a line at a time."""
    yield (
        "| scan | weights | voxels that differ | agreement % | labels | network s, theirs / ours | "
        "rules s, theirs / ours | all s, theirs / ours | peak GB, theirs / ours |"
    )
    yield "|" + " --- |" * 9
    peer = [options.peer_python, str(HERE / "peer_lungmask_weights.py")]
    subprocess.run([*peer, "make", folder, str(options.features)], check=True)
    for scan in options.scans or [phantom(folder)]:
        if options.slices:
            scan = middle(scan, options.slices, folder)
        for name in options.programs:
            files = [str(folder / f"{one}.pth") for one in PROGRAMS[name]]
            words = [*files, str(scan), str(folder / "mask.nii.gz")]
            theirs = run([*peer, "segment", *words])
            ours = run([sys.executable, __file__, "--ours", *words])
            yield row(scan, name, theirs, ours)


def phantom(folder: Path) -> Path:
    """A synthetic scan."""
    import lungmask_jax as lj

    lj.save(lj.phantom((24, 256, 256), disease=0.1).ct, folder / "phantom.nii.gz")
    return folder / "phantom.nii.gz"


def middle(scan: Path, count: int, folder: Path) -> Path:
    """So many slices of a scan, in a file of its own."""
    import nibabel

    image = nibabel.load(scan)
    first = max(0, (image.shape[2] - count) // 2)
    nibabel.save(image.slicer[:, :, first : first + count], folder / scan.name)
    return folder / scan.name


def run(command: Sequence[str]) -> Run:
    """A program with its mask, seconds and memory."""
    import nibabel

    peak = ["-c", "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"]  # fmt: skip
    done = subprocess.run([sys.executable, *peak, *command], check=True, capture_output=True)
    seconds, kilobytes = done.stdout.decode().splitlines()[-2:]
    mask = np.asarray(nibabel.load(command[-1]).dataobj)
    return Run(mask, json.loads(seconds), int(kilobytes) * 1024 / 1e9)


def row(scan: Path, name: str, theirs: Run, ours: Run) -> str:
    """A line of the table."""
    differ = int(np.count_nonzero(theirs.mask != ours.mask))
    agreement = 100 * (1 - differ / theirs.mask.size)
    stages = [
        f"{theirs.seconds.get('forward', 0):.1f} / {ours.seconds['network']:.1f}",
        f"{theirs.seconds['postprocessing']:.1f} / {ours.seconds['masks']:.1f}",
        f"{theirs.seconds['all']:.1f} / {ours.seconds['all']:.1f}",
        f"{theirs.gigabytes:.2f} / {ours.gigabytes:.2f}",
    ]
    labels = len(np.unique(theirs.mask)) - 1
    cells = [scan.name.split(".")[0], name, f"{differ:,}", f"{agreement:.4f}", str(labels), *stages]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
