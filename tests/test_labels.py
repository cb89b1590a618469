import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungmask_jax import labels
from lungmask_jax.errors import ScanError, ShapeError

shapes = arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)
lungs = arrays.arrays(np.uint8, shapes, elements=st.integers(0, 2))
joint = arrays.arrays(np.uint8, shapes, elements=st.integers(0, 3))


def test_right_is_one_and_left_is_two():
    assert (labels.BACKGROUND, labels.RIGHT, labels.LEFT) == (0, 1, 2)


def test_empty_masks_stay_empty():
    empty = np.zeros((0, 4), np.uint8)
    assert labels.swap_sides(empty).shape == (0, 4)
    assert [part.shape for part in labels.from_covid19_ct_seg(empty)] == [(0, 4), (0, 4)]


def test_swapping_exchanges_right_and_left():
    swapped = labels.swap_sides(np.array([[0, 1], [2, 1]]))
    assert swapped.tolist() == [[0, 2], [1, 2]]
    assert swapped.dtype == np.uint8


@given(lungs)
def test_swapping_twice_changes_nothing(mask):
    np.testing.assert_array_equal(labels.swap_sides(labels.swap_sides(mask)), mask)


def test_the_left_lung_of_covid19_ct_seg_is_label_one():
    ours, infection = labels.from_covid19_ct_seg(np.array([0.0, 1.0, 2.0, 3.0]))
    assert ours.tolist() == [0, labels.LEFT, labels.RIGHT, 0]
    assert infection.tolist() == [0, 0, 0, 1]


@given(joint)
def test_every_voxel_of_a_joint_mask_goes_to_lung_or_infection_or_neither(mask):
    ours, infection = labels.from_covid19_ct_seg(mask)
    assert ours.dtype == infection.dtype == np.uint8
    np.testing.assert_array_equal(infection, mask == 3)
    np.testing.assert_array_equal((ours > 0) | (infection > 0), mask > 0)
    assert not (ours * infection).any()


@pytest.mark.parametrize("value", [3, 255, -1])
def test_unknown_lung_labels_are_refused(value):
    with pytest.raises(ShapeError, match=f"0 to 2, found .*{value}"):
        labels.swap_sides(np.array([0, value]))


def test_unknown_joint_labels_are_refused():
    with pytest.raises(ShapeError, match="0 to 3, found 0 to 4"):
        labels.from_covid19_ct_seg(np.array([0, 4]))


@given(lungs)
def test_labels_up_to_the_highest_pass(mask):
    labels.refuse_above(mask, 2, "a.nii")
    if mask.max(initial=0) == 2:
        with pytest.raises(ScanError, match=r"0 to 1, found up to 2 in a\.nii"):
            labels.refuse_above(mask, 1, "a.nii")
