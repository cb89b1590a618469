import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.inference._notes import notes
from lungmask_jax.labels import LEFT, RIGHT, swap_sides
from lungmask_jax.volume import Volume

SPACING = (8.0, 4.0, 4.0)


def at(array, spacing=SPACING):
    return Volume(np.asarray(array), np.diag([*spacing, 1.0]))


def lungs(slices=10, right=900, left=900, spacing=SPACING):
    """So many voxels of each lung in every slice."""
    mask = np.zeros((slices, 40, 100), np.uint8)
    flat = mask.reshape(slices, -1)
    flat[:, :right], flat[:, 2000 : 2000 + left] = RIGHT, LEFT
    return at(mask, spacing)


def said(mask, hu=None):
    ct = mask.with_array(np.full(mask.shape, 40, np.int16) if hu is None else hu)
    return notes(ct, {"lungs": mask}, 12.3)


@pytest.mark.parametrize("slices", [1, 10])
def test_a_scan_in_which_all_is_well_has_no_notes(slices):
    assert said(lungs(slices)) == ()


def test_more_lung_than_anybody_has_is_noted():
    (note,) = said(lungs(spacing=(16.0, 8.0, 8.0)))
    assert note.startswith("18432 ml of lung, more than any patient has")


@pytest.mark.parametrize("slices", [1, 10])
def test_no_lungs_are_noted(slices):
    assert said(lungs(slices, 0, 0)) == ("no lungs found: is this a chest CT?",)


@pytest.mark.parametrize("slices", [1, 10])
@pytest.mark.parametrize(("right", "left", "side"), [(0, 900, "right"), (900, 0, "left")])
def test_a_missing_lung_is_noted_in_volumes_and_single_slices(slices, right, left, side):
    assert said(lungs(slices, right, left)) == (f"no {side} lung found: look at the picture",)


@pytest.mark.parametrize(
    ("slices", "left", "noted"),
    [(10, 800, False), (10, 700, True), (1, 700, False), (1, 500, True)],
)
def test_a_lung_far_smaller_than_the_other_is_noted(slices, left, noted):
    found = said(lungs(slices, 1600, left))
    assert any("the left lung is" in note and "of the right one" in note for note in found) == noted
    mirrored = lungs(slices, 1600, left)
    found = said(mirrored.with_array(swap_sides(mirrored.array)))
    assert any("the right lung is" in note for note in found) == noted


def test_little_lung_is_noted_in_ml_where_there_are_several_slices():
    assert said(lungs(10, 150, 150))[0].startswith("only 384 ml of lung: is this a whole chest?")
    assert said(lungs(1, 150, 150)) == ()


@pytest.mark.parametrize("slices", [1, 10])
def test_voxels_without_a_size_are_noted_and_give_no_ml(slices):
    found = said(lungs(slices, 150, 150, (1.0, 1.0, 1.0)))
    assert found == ("the size of the voxels is not known: there are percentages, but no ml",)


@pytest.mark.parametrize(
    ("sigma", "columns", "noted"), [(30, 128, False), (90, 128, True), (90, 384, False)]
)
def test_noise_is_noted_above_what_networks_stand_at_their_pixel_size(sigma, columns, noted):
    mask = np.zeros((2, columns, columns), np.uint8)
    mask[:, :, : columns // 2], mask[:, :, columns // 2 :] = RIGHT, LEFT
    noise = np.random.default_rng(0).normal(40, sigma, mask.shape).astype(np.float32)
    found = said(at(mask, (40.0, 3.0, 3.0)), noise)
    assert any(note.startswith("noise of 12 HU, more than the networks") for note in found) == noted


@given(st.integers(0, 1), st.integers(0, 2000), st.integers(0, 2000))
def test_notes_of_mirrored_lungs_name_the_other_side(volume, right, left):
    one = lungs(1 + 9 * volume, right, left)
    swapped = one.with_array(swap_sides(one.array))
    table = str.maketrans({"\0": "left", "\1": "right"})
    turned = tuple(
        note.replace("right", "\0").replace("left", "\1").translate(table) for note in said(one)
    )
    assert said(swapped) == turned
