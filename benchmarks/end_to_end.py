"""From a file to masks and numbers, whole programs: how long we take, and how long lungmask does.

    python benchmarks/end_to_end.py --scan SCAN.nii.gz --peer-python ENVIRONMENT/bin/python

The scan is brought to 300 slices of 512 x 512; without one, a phantom is made. We write lungs,
infection, lesions, numbers and a picture; lungmask, if that interpreter has it, writes lungs.
Clock, processor time of all cores and the peak of resident memory are those of the process; our
programs have run once before, so that what they cache on disk is there. Processor time says more
than the clock on a machine that is busy.
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

SHAPE = (300, 512, 512)


class Run(NamedTuple):
    """What one run of a program took.

    Attributes:
        clock: Seconds that passed.
        processor: Seconds of all cores together.
        gigabytes: Peak of resident memory.
    """

    clock: float
    processor: float
    gigabytes: float


def main() -> None:
    """Prints a row for each program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", type=Path, help="chest CT as NIfTI (default: a phantom)")
    parser.add_argument("--shape", type=int, nargs=3, default=SHAPE, metavar="VOXELS")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with lungmask")
    parser.add_argument("--runs", type=int, default=5, help="of ours (default: 5)")
    parser.add_argument("--peer-runs", type=int, default=5, help="of lungmask (default: 5)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scan = Path(folder, "scan.nii.gz")
        write_scan(scan, options.scan, tuple(options.shape))
        print(table(rows(scan, options), tuple(options.shape)))


def write_scan(
    path: Path, source: Path | None, shape: tuple[int, int, int], slice_mm: float | None = None
) -> None:
    """Writes the scan in a process of its own: the memory of this one counts for its children."""
    writer = multiprocessing.get_context("spawn").Process(
        target=write, args=(path, source, shape, slice_mm)
    )
    writer.start()
    writer.join()
    if writer.exitcode:
        raise SystemExit(f"{path} could not be written")


def write(
    path: Path, source: Path | None, shape: tuple[int, int, int], slice_mm: float | None
) -> None:
    """The scan, or a phantom, on a grid of this shape; stretched until slices are so far apart."""
    import lungmask_jax as lj

    ct = lj.load(source) if source else lj.phantom(shape).ct
    factors = [size / have for size, have in zip(shape, ct.shape, strict=True)]
    array = ndimage.zoom(ct.array.astype(np.float32), factors, order=1).round().astype(np.int16)
    affine = ct.affine.copy()
    affine[:3, :3] /= factors
    if slice_mm:
        affine[:3, 0] *= slice_mm / np.linalg.norm(affine[:3, 0])
    lj.save(lj.Volume(array, affine, ct.axcodes), path)


def rows(scan: Path, options: argparse.Namespace) -> Iterator[tuple[str, Run]]:
    """Name and medians of each program that is here."""
    program = str(Path(sys.executable).with_name("lungmask-jax"))
    ours = [program, "segment", str(scan), "--again", "-o", f"{scan.parent}/ours"]
    yield "lungmask_jax: lungs, infection, numbers, picture", medians(ours, options.runs)
    yield "lungmask_jax: lungs alone", medians([*ours, "--weights", "lungs"], options.runs)
    python = options.peer_python
    if subprocess.run([python, "-c", "import lungmask"], capture_output=True).returncode == 0:
        peer = [python, str(Path(__file__).with_name("peer_lungmask.py")), str(scan)]
        yield (
            "lungmask: lungs alone",
            medians([*peer, f"{scan.parent}/peer.nii.gz"], options.peer_runs, warm=False),
        )


def medians(command: Sequence[str], runs: int, *, warm: bool = True) -> Run:
    """Medians over some runs, after one that warms up what is cached on disk."""
    found = [measured(command) for _ in range(runs + warm)][warm:]
    return Run(*(statistics.median(numbers) for numbers in zip(*found, strict=True)))


def measured(command: Sequence[str]) -> Run:
    """One run of a program."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with {os.waitstatus_to_exitcode(status)}")
    clock = time.perf_counter() - began
    return Run(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9)


def table(found: Iterator[tuple[str, Run]], shape: tuple[int, int, int]) -> str:
    """Markdown; the last columns are relative to the first row and to the scan as float32."""
    volume = 4 * np.prod(shape) / 1e9
    lines = [
        f"{shape[0]} slices of {shape[1]} x {shape[2]}, {os.cpu_count()} cores",
        "",
        "| Program | clock s | processor s | ratio | peak GB | of the scan in float32 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    first = None
    for name, run in found:
        first = first or run
        lines.append(
            f"| {name} | {run.clock:.1f} | {run.processor:.1f} | "
            f"{run.processor / first.processor:.1f} | {run.gigabytes:.2f} | "
            f"{run.gigabytes / volume:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
