"""``lungmask-jax demo``: the whole path on a synthetic scan whose truth is known."""

import argparse
import time

from lungmask_jax import inference, io, metrics, phantoms, report
from lungmask_jax.cli._progress import bar, stepper, summary

__all__ = ["run"]


def run(options: argparse.Namespace) -> int:
    """Makes a phantom, segments it, and prints how well."""
    began = time.perf_counter()
    truth = phantoms.phantom(disease=options.disease, seed=options.seed)
    with bar() as progress:
        task = progress.add_task("phantom", total=None)
        result = inference.segment(truth.ct, progress=stepper(progress, task))
    paths = result.save(options.out, name="phantom")
    io.save(truth.ct, options.out / "phantom.nii.gz")
    row = report.row("phantom", result)
    report.write_json(options.out / "phantom.json", row)
    scores = {"lungs": metrics.dice(result.lungs.array > 0, truth.lungs.array > 0)}
    if result.infection is not None:
        scores["infection"] = metrics.dice(result.infection.array, truth.infection.array)
    seconds = time.perf_counter() - began
    print(f"A synthetic chest CT of {truth.ct.shape} voxels: {summary(row)}")
    dice = ", ".join(f"{target} {score:.3f}" for target, score in scores.items())
    print(f"Dice against its truth: {dice}")
    print(f"Done in {seconds:.0f} s. Look at {paths[-1]}")
    print("Now your own: lungmask-jax segment SCAN.nii.gz -o OUT")
    print(inference.DISCLAIMER)
    return 0
