import numpy as np
import pytest
from hypothesis import given, settings
from shapes import at, lungs, masks, spacings

from lungmask_jax import labels, postprocess
from lungmask_jax.labels import LEFT, RIGHT


def test_sides_of_an_empty_mask_are_empty():
    found = postprocess.sides(at(np.zeros((2, 4, 4), bool))).array
    assert found.dtype == np.uint8
    assert not found.any()


@pytest.mark.parametrize("slices", [1, 10])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 0.7, 0.7), (0.6, 0.6, 0.6), (8, 3, 3)])
def test_separate_lungs_are_right_and_left_of_the_middle(slices, spacing):
    right, left, both = lungs(slices)
    found = postprocess.sides(at(both, spacing)).array
    np.testing.assert_array_equal(found, RIGHT * right + LEFT * left)


@pytest.mark.parametrize("bridge", [[5], [3, 4, 5, 6], range(10)])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (5, 0.7, 0.7)])
def test_touching_lungs_are_parted_where_they_touch(bridge, spacing):
    right, left, both = lungs(bridge=bridge)
    found = postprocess.sides(at(both, spacing)).array
    np.testing.assert_array_equal(found > 0, both)
    assert (found[right] == RIGHT).mean() > 0.99
    assert (found[left] == LEFT).mean() > 0.99


@pytest.mark.parametrize("slices", [1, 6])
@pytest.mark.parametrize("reach", [20, 90, 150])
def test_lungs_that_are_one_wide_piece_are_parted_near_the_midline(slices, reach):
    """Pictures of unknown spacing have wide junctions."""
    mask = np.zeros((slices, 260, 300), bool)
    mask[:, 10:250, 10:140] = mask[:, 10:250, 160:290] = True
    mask[:, 10 : 10 + reach, 140:160] = True
    found = postprocess.sides(at(mask)).array
    assert (found[:, :, :130][mask[:, :, :130]] == RIGHT).mean() > 0.97
    assert (found[:, :, 170:][mask[:, :, 170:]] == LEFT).mean() > 0.97


def test_what_never_falls_apart_is_divided_at_the_midline():
    block = np.ones((2, 30, 40), bool)
    found = postprocess.sides(at(block)).array
    assert (found[:, :, :20] == RIGHT).all()
    assert (found[:, :, 20:] == LEFT).all()


def test_a_single_lung_that_crosses_the_midline_is_one():
    block = np.ones((2, 30, 30), bool)
    assert (postprocess.sides(at(block), midline=24).array == RIGHT).all()


def test_a_lung_of_a_twentieth_of_the_other_has_its_own_side():
    mask = np.zeros((1, 100, 100), bool)
    mask[0, :, :40] = mask[0, :21, 70:80] = True
    assert (postprocess.sides(at(mask)).array[0, :21, 70:80] == LEFT).all()


def test_touching_lungs_of_one_slice_are_parted():
    right, left, both = lungs(1, bridge=[0])
    found = postprocess.sides(at(both)).array
    assert (found[right] == RIGHT).mean() > 0.99
    assert (found[left] == LEFT).mean() > 0.99


@pytest.mark.parametrize("bridge", [[], [4, 5], range(10)])
def test_the_mirror_image_has_its_sides_swapped(bridge):
    both = lungs(bridge=bridge)[2]
    found = postprocess.sides(at(both)).array
    mirrored = postprocess.sides(at(both[:, :, ::-1])).array
    swapped = labels.swap_sides(found)[:, :, ::-1]
    assert (mirrored != swapped).mean() <= 0.001 * both.mean()


@pytest.mark.parametrize("side", [RIGHT, LEFT])
def test_a_single_lung_has_the_side_it_lies_on(side):
    lung = lungs()[side - 1]
    np.testing.assert_array_equal(postprocess.sides(at(lung)).array, side * lung)


def test_the_midline_decides_and_not_the_middle_of_the_slice():
    lung = np.zeros((4, 20, 60), bool)
    lung[:, 5:15, 10:25] = True
    assert set(np.unique(postprocess.sides(at(lung), midline=30).array)) == {0, RIGHT}
    assert set(np.unique(postprocess.sides(at(lung), midline=8).array)) == {0, LEFT}


def test_both_lungs_right_of_the_middle_are_told_apart_by_the_midline():
    both = np.zeros((4, 20, 80), bool)
    both[:, 5:15, 2:14] = both[:, 5:15, 20:32] = True
    found = postprocess.sides(at(both), midline=17).array
    np.testing.assert_array_equal(found[0, 10, [5, 25]], [RIGHT, LEFT])


@pytest.mark.parametrize(("column", "side"), [(3, RIGHT), (15, LEFT)])
def test_a_speck_too_small_for_the_coarse_copy_has_its_side(column, side):
    speck = np.zeros((5, 9, 20), bool)
    speck[1, 3, column] = True
    np.testing.assert_array_equal(postprocess.sides(at(speck)).array, side * speck)


@settings(max_examples=60)
@given(masks, spacings)
def test_sides_label_the_mask_and_nothing_else(mask, spacing):
    found = postprocess.sides(at(mask, spacing)).array
    assert found.dtype == np.uint8
    assert set(np.unique(found)) <= {0, RIGHT, LEFT}
    np.testing.assert_array_equal(found > 0, mask)


@pytest.mark.parametrize("mirrored", [False, True])
def test_touching_lungs_with_gas_beside_them_do_not_become_one_side(mirrored):
    mask = np.zeros((6, 60, 120), bool)
    mask[:, 10:50, 10:57] = mask[:, 10:50, 63:98] = True
    mask[2:4, 12:15, 57:63] = True
    mask[0:5, 10:50, 106:118] = True
    low, high = (RIGHT, LEFT)
    columns = [slice(10, 57), slice(63, 98)]
    if mirrored:
        mask, columns = mask[:, :, ::-1], [slice(63, 110), slice(22, 57)]
        low, high = high, low
    found = postprocess.sides(at(mask, (5.0, 2.5, 2.5))).array
    assert (found[:, 10:50, columns[0]] == low).all()
    assert (found[:, 10:50, columns[1]] == high).all()
