"""Models of nnU-Net in nnU-Net and here: agreement, processor seconds, peak memory.

    python benchmarks/foreign_nnunet.py --scan CT.nii.gz --peer-python ENVIRONMENT/bin/python

That environment has nnunetv2, and nnunet for the networks of v1. They first train networks for some
steps: small ones, and one of the usual width. Both programs see the middle of the scan, each in a
process of its own and on one thread, twice: seconds are those of the second time, and of the first
time here, which compiles or reads from disk what was compiled before. Of the cascade both stages
run, and are timed; its logits are those after nnU-Net's own first stage. v1 gives probabilities
instead of logits.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

HERE = Path(__file__).parent
MODELS = {
    "3d_lowres": ("Dataset901_plain", "3d_lowres", "0"),
    "2d": ("Dataset901_plain", "2d", "0"),
    "3d_fullres, two folds": ("Dataset901_plain", "3d_fullres", "0,1"),
    "3d_cascade_fullres": ("Dataset901_plain", "3d_cascade_fullres", "0"),
    "residual, regions": ("Dataset902_residual", "3d_fullres", "0"),
    "3d_fullres, usual width": ("Dataset903_wide", "3d_fullres", "0"),
    "v1, 3d_fullres": ("Task801_first", "3d_fullres", "0"),
    "v1, 2d": ("Task801_first", "2d", "0"),
    "v1, oldest plans, other axes": ("Task801_first", "3d_lowres", "0"),
}
PEERS = {"Dataset": ("nnunetv2", "peer_nnunet.py"), "Task": ("nnunet", "peer_nnunet1.py")}
"""By the beginning of the data set's name: the package, and the program that runs it."""

STAGES = ("prepare", "network", "export")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", help="chest CT as NIfTI (default: a phantom)")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with nnunetv2")
    parser.add_argument("--models", type=Path, help="where they are trained, unless they are there")
    parser.add_argument("--share", type=float, default=0.5, help="of each side of the scan")
    parser.add_argument("--networks", nargs="+", choices=MODELS, default=[*MODELS],
                        help="by default all; the cascade needs 3d_lowres")  # fmt: skip
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*options.ours, scan=options.scan)
        return
    with tempfile.TemporaryDirectory() as folder:
        models = options.models or Path(folder)
        options.scan = middle(options.scan, options.share, Path(folder) / "scan.nii.gz")
        options.networks = [name for name in options.networks if there(name, models, options)]
        for line in table(models, Path(folder), options):
            print(line, flush=True)


def there(name: str, models: Path, options: Any) -> bool:
    """Whether the network is there: its data set is trained, unless nobody can."""
    dataset = MODELS[name][0]
    package, program = peer(dataset)
    known = subprocess.run([options.peer_python, "-c", f"import {package}"], capture_output=True)
    if known.returncode:
        print(f"{options.peer_python} has no {package} to compare with: no {name}.")
        return False
    if not (models / dataset).is_dir():
        done([options.peer_python, HERE / program, "train", models])
    return True


def middle(scan: str | None, share: float, path: Path) -> str:
    """The middle of a scan along each axis, as a file."""
    import lungmask_jax as lj

    if scan is None:
        scan = str(path.with_name("phantom.nii.gz"))
        lj.io.save(lj.phantom((40, 128, 128)).ct, scan)
    image = nibabel.load(scan)
    edges = [round(side * (1 - share) / 2) for side in image.shape]
    part = tuple(slice(one, side - one) for one, side in zip(edges, image.shape, strict=True))
    nibabel.save(image.slicer[part], path)
    return str(path)


def table(models: Path, out: Path, options: Any) -> Iterator[str]:
    """Lines of Markdown."""
    yield (
        "| network | logits differ by | voxels differ | least Dice | first s, ours "
        "| s, theirs / ours | peak MB, theirs / ours |"
    )
    yield "|" + " --- |" * 7
    coarse = 0.0
    for name in options.networks:
        dataset, configuration, folds = MODELS[name]
        model = models / dataset / f"nnUNetTrainer__nnUNetPlans__{configuration}"
        before = out / "before.nii.gz" if "cascade" in configuration else ""
        theirs, mine = out / "theirs.npz", out / "mine.npz"
        words = [model, folds, options.scan, theirs, *([before] if before else [])]
        done([options.peer_python, HERE / peer(dataset)[1], "predict", *words])
        done(
            [sys.executable, __file__, "--scan", options.scan, "--ours", model, mine, folds, before]
        )
        said, ran = (json.loads(path.with_suffix(".json").read_text()) for path in (theirs, mine))
        seconds = sum(said[stage] for stage in STAGES) + (coarse if before else 0.0)
        with np.load(theirs) as one, np.load(mine) as other:
            agreement = compared(one, other)
            if configuration == "3d_lowres":
                saved(one["mask"], options.scan, out / "before.nii.gz")
                coarse = seconds
        yield (
            f"| {name} | {agreement} | {ran['first']:.1f} | {seconds:.1f} / {ran['again']:.1f} "
            f"| {said['peak_mb']:.0f} / {ran['peak_mb']:.0f} |"
        )


def compared(theirs: Any, ours: Any) -> str:
    """The largest difference of logits, voxels that differ, and the least Dice of a label."""
    logits = np.abs(np.moveaxis(theirs["logits"], 0, -1) - ours["logits"]).max()
    one, other = theirs["mask"], ours["mask"]
    pairs = [(one == label, other == label) for label in np.union1d(one, other) if label]
    dice = [2 * np.count_nonzero(a & b) / (a.sum() + b.sum()) for a, b in pairs]
    differ = np.count_nonzero(one != other)
    return f"{logits:.1e} | {differ} of {one.size:,} | {min(dice, default=1.0):.5f}"


def peer(dataset: str) -> tuple[str, str]:
    """The package that made a network, and the program that runs it."""
    return next(both for start, both in PEERS.items() if dataset.startswith(start))


def done(command: list[Any]) -> None:
    """Runs it, and shows what it says where it fails."""
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(ran.stderr[-2000:])


def saved(mask: np.ndarray, scan: str, path: Path) -> None:
    """A mask in the order of SimpleITK, at the place of the scan."""
    nibabel.save(nibabel.Nifti1Image(mask.astype(np.uint8).T, nibabel.load(scan).affine), path)


def ours(model: str, out: str, folds: str, before: str, *, scan: str) -> None:
    """Logits and mask by this library."""
    import lungmask_jax as lj
    from lungmask_jax import inference, preprocess
    from lungmask_jax.prediction import Predictor

    labels = {"lungs": 1, "left_lung": 2} if "residual" in model else None
    labels = {"1": 1, "2": 2} if "Task" in model else labels
    bundle = lj.weights.read_nnunet(
        model, target="lungs", labels=labels, folds=tuple(folds.split(","))
    )
    ct = lj.io.load(scan)
    previous = lj.io.load_mask(before) if before else None
    seconds = []
    for _ in range(2):
        began = time.process_time()
        mask = inference.labels(ct, bundle)
        seconds.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    spec = bundle.spec.volume
    frame = preprocess.Frame.of(ct, spec)
    hu, spacing = frame.scan(ct)
    box = preprocess.nonzero_box(hu)
    stage = None if previous is None else frame.view(previous.array)[box]
    volume = preprocess.network_volume(hu[box], spacing, spec, previous=stage)
    network = Predictor(bundle.model, bundle.params, bundle.state, bundle.spec.predict)
    ran = {"first": seconds[0], "again": seconds[1], "peak_mb": peak}
    file = preprocess.Frame.of(ct, replace(spec, axes=(0, 1, 2)))
    np.savez(out, mask=file.view(mask.array), logits=network.volume(volume))
    Path(out).with_suffix(".json").write_text(json.dumps(ran))


if __name__ == "__main__":
    main()
