"""``lungmask-jax demo``: all steps on a synthetic scan with known true masks."""

import argparse
import time

from lungmask_jax import DISCLAIMER, cohort, inference, io, metrics, phantoms, records, tasks
from lungmask_jax.cli._progress import bar, console, stepper, summary

_FILES = ("", "_lungs", "_infection", "_lesions")


def run(options: argparse.Namespace) -> int:
    """Makes a phantom, segments it, and prints the scores."""
    began = time.perf_counter()
    results = cohort.outputs(options.out, overwrite=options.overwrite)
    names = [f"phantom{kind}.nii.gz" for kind in _FILES]
    results.check("phantom.json", [*names, "phantom_overlay.png"])
    truth = phantoms.phantom(disease=options.disease, seed=options.seed)
    with bar() as progress:
        progress.add_task("phantom", total=None)
        result = inference.segment(truth.ct, progress=stepper(progress))
    row = result.row("phantom")
    with results.written("phantom.json") as folder:
        *files, picture, record = result.save(folder, name="phantom")
        io.save(truth.ct, folder / "phantom.nii.gz")
        records.write_json(record, row, files=[*files, picture, folder / "phantom.nii.gz"])
    scores = {
        name: metrics.dice(mask.array > 0, getattr(truth, name).array > 0)
        for name, mask in result.masks.items()
        if not tasks.registry[name].divides
    }
    seconds = time.perf_counter() - began
    dice = ", ".join(f"{target} {score:.3f}" for target, score in scores.items())
    for line in (
        f"A synthetic chest CT of {truth.ct.shape} voxels: {summary(row)}",
        f"Dice against the truth: {dice}",
        f"Done in {seconds:.0f} s. Look at {options.out / picture.name}",
        "Now your own: lungmask-jax segment SCAN.nii.gz -o OUT",
        DISCLAIMER,
    ):
        console().print(line, markup=False, highlight=False)
    return 0
