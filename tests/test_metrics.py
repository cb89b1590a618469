import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungmask_jax import metrics
from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics import Counts

RATIOS = ["dice", "iou", "sensitivity", "specificity", "precision"]
pairs = arrays.array_shapes(min_dims=1, max_dims=3, max_side=4).flatmap(
    lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape))
)


def naive(prediction, target):
    """Counts, voxel by voxel."""
    seen = list(zip(prediction.ravel().tolist(), target.ravel().tolist(), strict=True))
    kinds = ((True, True), (True, False), (False, True), (False, False))
    return Counts(*(seen.count(kind) for kind in kinds))


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


def test_two_empty_masks_agree_and_leave_the_other_ratios_undefined():
    empty = np.zeros((2, 3), bool)
    found = metrics.overlap(empty, empty)
    assert (found["dice"], found["iou"], found["specificity"]) == (1, 1, 1)
    assert math.isnan(found["sensitivity"])
    assert math.isnan(found["precision"])


def test_masks_without_voxels_agree():
    none = np.zeros((0, 3))
    assert metrics.counts(none, none) == Counts(0, 0, 0, 0)
    assert metrics.dice(none, none) == 1
    assert math.isnan(metrics.specificity(none, none))


def test_one_empty_mask_agrees_with_nothing():
    empty, full = np.zeros(4), np.ones(4)
    assert metrics.dice(full, empty) == metrics.dice(empty, full) == 0
    assert metrics.precision(full, empty) == 0
    assert math.isnan(metrics.sensitivity(full, empty))
    assert metrics.sensitivity(empty, full) == 0
    assert math.isnan(metrics.precision(empty, full))
    assert math.isnan(metrics.specificity(empty, full))


def test_ratios_by_hand():
    prediction = np.array([[1, 1, 1, 0], [0, 0, 0, 0]])
    target = np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    assert metrics.counts(prediction, target) == Counts(tp=2, fp=1, fn=2, tn=3)
    assert metrics.dice(prediction, target) == 4 / 7
    assert metrics.iou(prediction, target) == 2 / 5
    assert metrics.sensitivity(prediction, target) == 2 / 4
    assert metrics.specificity(prediction, target) == 3 / 4
    assert metrics.precision(prediction, target) == 2 / 3


@given(pairs)
def test_counts_are_those_of_a_loop_over_voxels(masks):
    assert metrics.counts(*masks) == naive(*masks)


@given(pairs)
def test_swapping_prediction_and_target_swaps_precision_and_sensitivity(masks):
    one, other = metrics.overlap(*masks), metrics.overlap(*masks[::-1])
    assert one["dice"] == other["dice"]
    assert one["iou"] == other["iou"]
    assert same(one["precision"], other["sensitivity"])


@given(pairs)
def test_turning_masks_inside_out_turns_specificity_into_sensitivity(masks):
    inverted = metrics.overlap(~masks[0], ~masks[1])
    assert same(metrics.specificity(*masks), inverted["sensitivity"])


@given(pairs)
def test_ratios_lie_between_zero_and_one(masks):
    for value in metrics.overlap(*masks).values():
        assert math.isnan(value) or 0 <= value <= 1


@given(pairs)
def test_dice_follows_from_iou(masks):
    iou = metrics.iou(*masks)
    assert metrics.dice(*masks) == pytest.approx(2 * iou / (1 + iou))


@given(pairs)
def test_a_mask_agrees_with_itself(masks):
    assert metrics.dice(masks[0], masks[0]) == metrics.iou(masks[0], masks[0]) == 1


@given(pairs, st.integers(0, 4))
def test_counts_of_parts_add_up_to_those_of_the_whole(masks, cut):
    parts = [[mask[:cut] for mask in masks], [mask[cut:] for mask in masks]]
    summed = [
        sum(values) for values in zip(*(metrics.counts(*part) for part in parts), strict=True)
    ]
    whole = metrics.counts(*masks)
    assert Counts(*summed) == whole
    assert sum(whole) == masks[0].size
    for mine, theirs in zip(
        metrics.overlap(Counts(*summed)).values(), metrics.overlap(*masks).values(), strict=True
    ):
        assert same(mine, theirs)


@given(pairs, st.sampled_from(RATIOS))
def test_one_ratio_is_that_of_all_at_once(masks, name):
    assert list(metrics.overlap(*masks)) == RATIOS
    assert same(getattr(metrics, name)(*masks), metrics.overlap(*masks)[name])


@given(pairs, st.sampled_from([np.uint8, np.int64, np.float32]))
def test_the_type_of_a_mask_does_not_matter(masks, dtype):
    assert metrics.counts(*(mask.astype(dtype) for mask in masks)) == metrics.counts(*masks)


def test_volume_counts_voxels():
    mask = np.zeros((2, 3, 4), np.uint8)
    assert metrics.volume_ml(mask, 0.5) == 0
    mask[0, :2, :2] = 1
    assert metrics.volume_ml(mask, 0.5) == 2


@pytest.mark.parametrize("name", [*RATIOS, "counts", "overlap"])
def test_masks_of_two_shapes_are_refused(name):
    with pytest.raises(ShapeError, match=r"one shape, found \(2,\) and \(3,\)"):
        getattr(metrics, name)(np.zeros(2), np.zeros(3))


@pytest.mark.parametrize(
    ("values", "shown"), [([0, 2], "2"), ([0.5, 1], r"0\.5"), ([-1, 0], "-1"), ([np.nan], "nan")]
)
def test_labels_and_probabilities_are_no_masks(values, shown):
    wrong, right = np.array(values), np.zeros(len(values))
    with pytest.raises(ShapeError, match=rf"prediction of 0 and 1, found .*{shown}"):
        metrics.counts(wrong, right)
    with pytest.raises(ShapeError, match=rf"target of 0 and 1, found .*{shown}"):
        metrics.counts(right, wrong)


def test_one_mask_alone_is_refused():
    with pytest.raises(ShapeError, match="found one mask"):
        metrics.overlap(np.zeros(2))
