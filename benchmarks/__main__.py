"""Runs the comparisons one after the other: tables to RESULTS.md, pictures to docs/images.

    python -m benchmarks --scan SCAN.nii.gz --peer-python ENVIRONMENT/bin/python

Peers take part where that interpreter has them. ``--only`` names some of the comparisons, whose
tables go to an ``--out`` of their own.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def main() -> None:
    """Writes each table as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", help="chest CT as NIfTI (default: a phantom)")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with the peers")
    parser.add_argument("--only", nargs="+", help="names of comparisons")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--pictures", type=Path, default=HERE.parent / "docs" / "images")
    options = parser.parse_args()
    if options.only and options.out == HERE / "RESULTS.md":
        parser.error("--only would leave out the other tables of RESULTS.md: give another --out")
    parts = [f"# Results\n\n{machine()}\n"]
    for name, words in comparisons(options).items():
        if options.only and name not in options.only:
            continue
        command = [sys.executable, str(HERE / f"{name}.py"), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        text = done.stdout if done.returncode == 0 else f"failed: {done.stderr[-500:]}"
        parts.append(f"## {name}\n\n{text.strip()}\n")
        options.out.write_text("\n".join(parts))
        print(parts[-1], flush=True)


def comparisons(options: argparse.Namespace) -> Mapping[str, list[str]]:
    """Names of the scripts, and their words."""
    scan = ["--scan", options.scan] if options.scan else []
    peer = ["--peer-python", options.peer_python]
    scans = ["--scans", options.scan] if options.scan else []
    return {
        "end_to_end": [*scan, *peer],
        "foreign": [*scans, *peer, "--slices", "12"],
        "foreign_nnunet": [*scan, *peer],
        "training": peer,
        "architectures": [],
        "growth": [*scan, "--out", str(options.pictures / "growth.png")],
        "roofline": ["--out", str(options.pictures / "roofline.png")],
        "metrics": peer,
        "parity": [],
        "cohort": [],
    }


def machine() -> str:
    """What was measured on what."""
    packages = ("lungmask-jax", "jax", "jaxlib", "flax", "numpy", "scipy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    rate = matmul_rate()
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{rate:.0f} GFLOP/s in float32 matrix products of 2048 x 2048 (numpy).\n{versions}."
    )


def matmul_rate() -> float:
    """GFLOP a second, the best of some."""
    matrix = np.random.default_rng(0).random((2048, 2048), np.float32)
    return 2 * 2048**3 / min(seconds(matrix)) / 1e9


def seconds(matrix: np.ndarray) -> Iterator[float]:
    """Of some matrix products."""
    for _ in range(8):
        began = time.perf_counter()
        matrix @ matrix
        yield time.perf_counter() - began


if __name__ == "__main__":
    main()
