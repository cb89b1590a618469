"""Checks of masks against their scan: density, body, right and left, ends, borders.

The limits leave room beyond the largest values that `benchmarks/checks.py` prints of right masks.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import cv2
import numpy as np

from lungmask_jax import preprocess, tasks
from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.quality._check import Check
from lungmask_jax.tasks import Task
from lungmask_jax.volume import Volume

_COARSE: Final = 128
_AIR_HU: Final = -970.0
_DENSE_HU: Final = -400.0
_DENSITY: Final = (
    "a lung of full breath has a mean of -900 to -700 HU, and even with much consolidation is "
    "below -400; air outside is near -1000"
)
_OUTSIDE: Final = 0.02
_LARGEST_SHARE: Final = 0.75
_BODY: Final = "212 slices of patients: lungs fill 12 to 60 % of the box around the body"
_ORDER: Final = "anatomy, with the patient's right and left from the affine"
_END_SHARE: Final = 0.10
_FIELD: Final = "the field of view of a whole chest CT holds both lungs"
_ENDS: Final = "a whole chest CT begins and ends outside the lungs"
_BORDER_MM: Final = 3.0
_BORDER_SHARE: Final = 0.9
_LEAST_PERCENT: Final = 0.5
_BORDER: Final = (
    "motion and partial volume look like a thin rim; disease reaches deeper than 3 mm somewhere"
)


def of_place(ct: Volume, masks: Mapping[str, Volume]) -> Iterator[Check]:
    """Checks of each organ in its scan, and of what lies inside it."""
    for name, mask in masks.items():
        task = tasks.registry[name]
        if task.usual_ml is not None and mask.array.any():
            yield _density(ct, mask, task)
            yield from _in_body(ct, mask, task)
            yield from _order(mask, task)
            yield from _cut(mask, task)
        outer = masks.get(task.inside)
        if outer is not None and not task.divides and outer.array.any():
            yield from _border(mask, outer, task)


def _coarse(volume: Volume) -> np.ndarray:
    """Every second or fourth pixel is enough for a mean."""
    step = max(1, max(volume.shape[1:]) // _COARSE)
    return volume.array[:, ::step, ::step]


def _density(ct: Volume, mask: Volume, task: Task) -> Check:
    there = _coarse(mask) != 0
    mean = float(_coarse(ct)[there].mean()) if there.any() else float("nan")
    name = f"{task.name}_density"
    if mean < _AIR_HU:
        note = (
            f"the {task.noun} mask has a mean of {mean:.0f} HU, which is air: look at the picture"
        )
        return Check(name, "fail", mean, note, _DENSITY)
    if mean > _DENSE_HU:
        note = (
            f"the {task.noun} mask has a mean of {mean:.0f} HU, denser than {task.noun}: is it "
            "consolidated, or another organ?"
        )
        return Check(name, "look", mean, note, _DENSITY)
    return Check(name, "pass", mean, source=_DENSITY)


def _in_body(ct: Volume, mask: Volume, task: Task) -> Iterator[Check]:
    """How much lies outside the box of the body, and how much of that box it fills."""
    body = preprocess.body_box(ct)
    total = int(np.count_nonzero(mask.array))
    within = mask.array[:, body.top : body.bottom, body.left : body.right]
    outside = 1 - np.count_nonzero(within) / total
    note = f"{outside:.0%} of the {task.name} lie outside the body: look at the picture"
    name = f"{task.name}_in_body"
    bad = outside > _OUTSIDE
    yield Check(name, "fail" if bad else "pass", outside, note if bad else "", _BODY)
    slices = int(np.count_nonzero(mask.array.any(axis=(1, 2))))
    share = np.count_nonzero(within) / max(within[0].size * slices, 1)
    note = f"the {task.name} fill {share:.0%} of the body: look at the picture"
    bad = share > _LARGEST_SHARE
    yield Check(
        f"{task.name}_share_of_body", "fail" if bad else "pass", share, note if bad else "", _BODY
    )


def _order(mask: Volume, task: Task) -> Iterator[Check]:
    """Columns run from the patient's right to the left."""
    columns = np.arange(mask.shape[2])
    middles = []
    for side in (RIGHT, LEFT):
        counts = np.count_nonzero(mask.array == side, axis=(0, 1)) if side in task.sides else [0]
        if not np.any(counts):
            return
        middles.append(float(np.average(columns, weights=counts)))
    apart = middles[1] - middles[0]
    note = f"the right {task.noun} lies on the patient's left: check the orientation in the header"
    bad = apart < 0
    yield Check(f"{task.name}_order", "fail" if bad else "pass", apart, note if bad else "", _ORDER)


def _cut(mask: Volume, task: Task) -> Iterator[Check]:
    """Organs that reach the first or last slice, or the edge of the slices."""
    areas = np.count_nonzero(mask.array, axis=(1, 2))
    largest = int(areas.max())
    if len(mask) > 1:
        share = max(areas[0], areas[-1]) / largest
        where = "lowest" if areas[0] >= areas[-1] else "highest"
        note = f"the {where} slice shows {task.noun}: the scan does not hold all of it"
        bad = share > _END_SHARE
        yield Check(
            f"{task.name}_ends", "look" if bad else "pass", share, note if bad else "", _ENDS
        )
    array = mask.array
    touching = sum(
        int(np.count_nonzero(plane))
        for plane in (array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1])
    )
    note = f"the {task.name} reach the edge of the slices: the field of view is cut"
    bad = touching > np.sqrt(largest)
    yield Check(
        f"{task.name}_field",
        "look" if bad else "pass",
        float(touching),
        note if bad else "",
        _FIELD,
    )


def _border(mask: Volume, outer: Volume, task: Task) -> Iterator[Check]:
    """Structures that lie along the border of what they are in, and nowhere else."""
    total, whole = (int(np.count_nonzero(one.array)) for one in (mask, outer))
    if not outer.has_size or total * 100 < whole * _LEAST_PERCENT:
        return
    rows, columns = (max(1, round(_BORDER_MM / side)) for side in outer.spacing[1:])
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * columns + 1, 2 * rows + 1))
    deep = sum(
        int(np.count_nonzero(cv2.erode((around != 0).astype(np.uint8), kernel) * (plane != 0)))
        for plane, around in zip(mask, outer, strict=True)
        if plane.any()
    )
    share = 1 - deep / total
    note = (
        f"{share:.0%} of the {task.name} lie within {_BORDER_MM:g} mm of the border: it may be "
        "motion or the chest wall"
    )
    bad = share > _BORDER_SHARE
    yield Check(
        f"{task.name}_border", "look" if bad else "pass", share, note if bad else "", _BORDER
    )
