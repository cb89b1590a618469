"""How much of healthy lungs is called infected, with noise and on a coarse matrix, too.

    python benchmarks/alarms.py --data DIR --out alarms.json

Whole CTs: low-resolution ones without infection, and those of COVID-CT-MD, of which radiologists
said which slices are infected; of these also how well the infected area of a slice tells that (the
area under the ROC curve). ``--lungs`` and ``--infection`` name other bundles than those that ship.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets import LabelledScan, ct_md, lowres_lungs
from scipy import ndimage, stats

from lungmask_jax import inference
from lungmask_jax.volume import Volume

NOISE_HU = 75.0
MATRIX_MM = 5.0


def main() -> None:
    """Prints a line a scan, and writes all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--lungs", default="lungs", help="lung model")
    parser.add_argument("--infection", default="infection", help="infection model")
    options = parser.parse_args()
    lines = {}
    for scan in scans(options.data):
        lines[scan.name] = judged(scan, (options.lungs, options.infection))
        print(scan.name, lines[scan.name], flush=True)
        options.out.write_text(json.dumps(lines, indent=1) + "\n")


def scans(data: Path) -> Iterator[LabelledScan]:
    """All that are judged."""
    for item in lowres_lungs(data):
        yield LabelledScan(item.name, item.ct, np.zeros(len(item.ct.array), bool))
    yield from ct_md(data)


def judged(scan: LabelledScan, bundles: tuple[str, str]) -> dict[str, float]:
    """Infected percent as the scan is, noisy and coarse; and the AUC of slices, if there is one."""
    found = {}
    for name, ct in (("", scan.ct), ("_noisy", noisy(scan.ct)), ("_coarse", coarse(scan.ct))):
        result = inference.segment(ct, weights=bundles)
        lungs, infection = result.lungs.array > 0, result.infection.array > 0
        found[f"infected_percent{name}"] = round(
            100 * float(infection.sum()) / max(float(lungs.sum()), 1.0), 3
        )
        found[f"lungs_ml{name}"] = round(float(lungs.sum() * ct.voxel_ml), 1)
        if not name and scan.infected.any():
            found["slice_auc"] = round(auc(infection.sum(axis=(1, 2)), scan.infected), 4)
    return found


def noisy(ct: Volume) -> Volume:
    """The scan with normal noise."""
    noise = np.random.default_rng(0).normal(0, NOISE_HU, ct.shape)
    return ct.with_array((ct.array + noise).astype(np.float32))


def coarse(ct: Volume) -> Volume:
    """The scan on a matrix of 5 mm, as attenuation CTs have; slices as they are, if thicker."""
    steps = [max(1, round(MATRIX_MM / side)) for side in ct.spacing]
    smooth = ndimage.uniform_filter(ct.array.astype(np.float32), steps)
    starts = [step // 2 for step in steps]
    kept = smooth[
        tuple(slice(start, None, step) for start, step in zip(starts, steps, strict=True))
    ]
    affine = ct.affine.copy()
    affine[:3, 3] += ct.affine[:3, :3] @ starts
    affine[:3, :3] *= steps
    return Volume(np.ascontiguousarray(kept), affine)


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """How often a positive has the higher score; ties are half."""
    ranks = stats.rankdata(scores)[truth]
    positive, negative = truth.sum(), (~truth).sum()
    return float((ranks.sum() - positive * (positive + 1) / 2) / (positive * negative))


if __name__ == "__main__":
    main()
