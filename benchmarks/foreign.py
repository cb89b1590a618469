"""Weights of lungmask in its own program and in ours: agreement, seconds by stage, peak memory.

    python benchmarks/foreign.py --scans SCAN.nii.gz ... --peer-python ENVIRONMENT/bin/python

That interpreter has lungmask and PyTorch. Weights are made by hand or by chance, as
`peer_lungmask_weights.py` says: nothing is downloaded. Both programs see slices in batches of four,
in one process each, which also gives the peak of resident memory. Seconds are those of all
processors together, from the scan on disk to the mask in memory, without the start of the programs;
ours include compilation, or its reading from disk after a run before. Where masks differ, a line
below the table says how many labels of the networks do, how unsure they are, and how many voxels
are left if our rules get lungmask's labels.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
    parser.add_argument("--explain", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.explain:
        *weights, scan, theirs = options.explain
        explain(weights, scan, theirs)
        return
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


def explain(weights: Sequence[str], scan: str, theirs: str) -> None:
    """Prints why masks differ: because of the labels of the networks, or of the rules."""
    import lungmask_jax as lj
    from lungmask_jax import preprocess
    from lungmask_jax.postprocess import Scan, applied

    ct, masks = lj.io.load(scan), {}
    models = [lj.weights.load(one) for one in weights]
    boxes = preprocess.slice_bodies(ct)
    scanned = functools.partial(preprocess.pasted, boxes=boxes, size=ct.shape[1:])
    with np.load(f"{theirs}.npz") as given:
        labels = {one.spec.target: given[f"arr_{n}"] for n, one in enumerate(models)}
    for model in reversed(models):  # the one that fills first
        target = model.spec.target
        own, margins = network_labels(ct, model, boxes)
        unlike = own != labels[target]
        print(
            f"  {target}: {np.count_nonzero(unlike):,} of {own.size:,} labels differ, where the "
            f"two likeliest differ by {margins[unlike].max(initial=0):.1e} in probability at most; "
            f"the median of all is {np.median(margins):.1e}."
        )
        given = lj.Volume(np.ascontiguousarray(labels[target]), ct.affine)
        how = Scan(ct, fills=masks.get("lungs"), on_scan=scanned, typed=True)
        masks[target] = applied(model.spec.postprocess, given, how)
    lj.save(masks[models[0].spec.target], theirs)
    import nibabel

    left = np.asarray(nibabel.load(theirs).dataobj) != np.load(theirs.replace(".nii.gz", ".npy"))
    print(f"  With their labels, {np.count_nonzero(left):,} voxels differ.")


def network_labels(ct: Any, model: Any, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The network's labels, and by how much the likeliest exceeds the next."""
    import jax
    import jax.numpy as jnp

    from lungmask_jax.prediction import Predictor, predict_scan

    def finish(shares: jax.Array) -> tuple[jax.Array, ...]:
        every = jnp.concatenate([1 - shares.sum(axis=0, keepdims=True), shares])
        first, second = jax.lax.top_k(jnp.moveaxis(every, 0, -1), 2)[0].transpose(3, 0, 1, 2)
        clear = shares.max(axis=0) > every[0]
        return jnp.where(clear, 1 + shares.argmax(axis=0), 0), first - second

    images = model.spec.preprocess
    network = Predictor(model.model, model.params, model.state, model.spec.predict)
    labels = np.zeros((len(ct), *images.size), np.uint8)
    margins = np.zeros(labels.shape, np.float32)
    for _, parts in predict_scan(network, ct, images, box=boxes, finish=finish):
        for slices, (some, clear) in parts:
            labels[slices], margins[slices] = some, clear
    return labels, margins


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
            if (theirs.mask != ours.mask).any():
                np.save(folder / "mask.npy", theirs.mask)
                command = [sys.executable, __file__, "--explain", *words]
                yield subprocess.run(command, check=True, capture_output=True, text=True).stdout


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
