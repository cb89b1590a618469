"""False alarms of quality control on real scans, and faults planted in them that it finds.

    python benchmarks/checks.py --data DIR --out checks.json

Prints for each scan the checks that did not pass, whose justice a person must judge by the picture,
and for each fault in how many volumes it was found. ``--slices`` takes the single slices alone,
whose lungs are drawn by hand.
"""

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from datasets import LUNG_SLICES_WINDOW
from scipy import ndimage

from lungmask_jax import inference, io, quality, weights
from lungmask_jax.inference import Segmentation
from lungmask_jax.labels import LEFT, RIGHT, swap_sides
from lungmask_jax.volume import Volume

VOLUMES = ("ct_lowres_volumes/*_ct*", "ct_md/*_ct*", "ct_chest/*_ct*", "ct_body/*")


def main() -> None:
    """Prints a line a scan, and writes the values of all checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--slices", action="store_true", help="single slices alone")
    options = parser.parse_args()
    values: dict[str, dict[str, float]] = {}
    planted, caught, verdicts = Counter[str](), Counter[str](), Counter[str]()
    for name, result in (of_slices if options.slices else of_volumes)(options.data):
        checks = result.checks
        values[name] = {one.name: one.value for one in checks}
        alarms = [f"{one.name} {one.value:.3g}" for one in checks if one.note]
        verdicts.update([quality.verdict(checks), *(one.name for one in checks if one.note)])
        print(f"{name}: {quality.verdict(checks)} {', '.join(alarms)}", flush=True)
        options.out.write_text(json.dumps(values, indent=1) + "\n")
        before = {one.name for one in checks if one.note}
        for fault, found in [] if options.slices else faults(result):
            planted[fault] += 1
            caught[fault] += bool(found - before)
    for verdict, count in sorted(verdicts.items()):
        print(f"{verdict}: {count} of {len(values)}")
    for fault, count in planted.items():
        print(f"{fault}: found in {caught[fault]} of {count}")


def of_volumes(data: Path) -> Iterator[tuple[str, Segmentation]]:
    """Whole CTs, segmented by the models that ship."""
    models = [weights.load("lungs"), weights.load("infection")]
    for pattern in VOLUMES:
        for path in sorted(data.glob(pattern)):
            yield path.name, inference.segment(path, weights=models)


def of_slices(data: Path) -> Iterator[tuple[str, Segmentation]]:
    """Slices of 212 patients with lungs drawn by hand; their sides lie in the two halves."""
    for path in sorted((data / "lung_slices" / "images").iterdir()):
        ct = io.load(path, window=LUNG_SLICES_WINDOW)
        lungs = io.load_mask(path.parents[1] / "lungs" / path.name).array
        middle = round(float(np.average(np.arange(lungs.shape[2]), weights=lungs.sum((0, 1)))))
        lungs[..., middle:] *= LEFT
        masks = {"lungs": ct.with_array(lungs)}
        checks = (*quality.basic_checks(ct, masks, 0.0), *quality.place_checks(ct, masks))
        yield path.name, Segmentation(ct, masks, {}, checks=checks)


def faults(result: Segmentation) -> Iterator[tuple[str, set[str]]]:
    """Names of faults, and of the checks that do not pass with them."""
    lungs, ct = result.lungs.array, result.ct
    rows, columns = lungs.shape[1:]
    one_side = np.where(lungs == LEFT, 0, lungs)
    outside = lungs.copy()
    outside[:, : rows // 12, : columns // 3] = RIGHT
    shifted = np.roll(lungs, rows // 3, axis=1)
    inner = ndimage.binary_erosion(lungs > 0, ndimage.generate_binary_structure(2, 1)[None])
    rim = ((lungs > 0) & ~inner).astype(np.uint8)
    for name, changed in (
        ("sides exchanged", swap_sides(lungs)),
        ("one lung missing", one_side),
        ("air outside the body", outside),
        ("mask shifted by a third", shifted),
    ):
        yield name, _alarms(ct, {"lungs": ct.with_array(changed)})
    yield (
        "infection is a rim",
        _alarms(ct, {"lungs": result.lungs, "infection": ct.with_array(rim)}),
    )
    middle = int(np.count_nonzero(lungs, axis=(1, 2)).argmax())
    half = np.s_[middle:]
    part = {"lungs": Volume(lungs[half], ct.affine)}
    yield "cut in the middle", _alarms(Volume(ct.array[half], ct.affine), part)
    doubled = Volume(ct.array, ct.affine @ np.diag([2.5, 2.5, 2.5, 1]))
    yield "voxels of 2.5 times the size", _alarms(doubled, {"lungs": Volume(lungs, doubled.affine)})


def _alarms(ct: Volume, masks: dict[str, Volume]) -> set[str]:
    checks = (*quality.basic_checks(ct, masks, 0.0), *quality.place_checks(ct, masks))
    return {one.name for one in checks if one.note}


if __name__ == "__main__":
    main()
