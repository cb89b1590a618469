import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from shapes import at, ball, bases, lungs, masks, spacings

from lungmask_jax import postprocess
from lungmask_jax.errors import PluginError, SpecError, UnknownNameError
from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.postprocess import Scan
from lungmask_jax.spec import SegmenterSpec, from_json
from lungmask_jax.volume import Volume

# --- types of lesions ---


def test_lesions_follow_the_density_around_them():
    hu = np.full((3, 40, 60), -600, np.int16)
    hu[:, :, 30:] = -100
    hu[:, 20, :30] = 100  # a vessel, thinner than what is looked at
    infection = np.zeros(hu.shape, np.uint8)
    infection[1, 5:35, 5:55] = 1
    place = np.diag([5.0, 0.7, 0.7, 1.0])
    found = postprocess.lesion_types(Volume(infection, place), Volume(hu, place)).array
    assert set(np.unique(found[1, 5:35, 5:27])) == {1}
    assert set(np.unique(found[1, 5:35, 33:55])) == {2}
    np.testing.assert_array_equal(found > 0, infection > 0)


def test_ground_glass_at_the_chest_wall_has_no_rim_of_consolidation():
    hu = np.full((1, 40, 60), -650, np.int16)
    hu[:, :, 30:] = 40  # the wall
    infection = np.zeros(hu.shape, np.uint8)
    infection[:, 5:35, 22:30] = 1
    place = np.diag([0.7, 0.7, 5.0, 1.0])[:, [2, 1, 0, 3]] * [1, -1, -1, 1]
    found = postprocess.lesion_types(Volume(infection, place), Volume(hu, place)).array
    np.testing.assert_array_equal(found, infection)


def test_without_infection_there_are_no_lesions():
    nothing = Volume(np.zeros((2, 8, 8), np.uint8))
    assert not postprocess.lesion_types(nothing, Volume(np.zeros((2, 8, 8), np.int16))).array.any()


@given(st.integers(0, 2**31))
@settings(max_examples=10)
def test_lesions_are_those_of_the_whole_slice_smoothed(seed):
    generator = np.random.default_rng(seed)
    hu = generator.integers(-900, 100, (2, 30, 24)).astype(np.int16)
    infection = np.zeros(hu.shape, np.uint8)
    top, left = generator.integers(0, 20, 2)
    infection[:, top : top + 8, left : left + 3] = 1
    total = ndimage.gaussian_filter(np.where(infection, hu, 0.0), (0, 1.5, 1.5))
    weight = ndimage.gaussian_filter(infection.astype(float), (0, 1.5, 1.5))
    expected = infection * np.where(total > -400 * weight, 2, 1)
    found = postprocess.lesion_types(Volume(infection), Volume(hu)).array
    np.testing.assert_array_equal(found, expected)


# --- fill_holes ---


def test_an_empty_mask_has_nothing_to_fill():
    assert not postprocess.fill_holes(at(np.zeros((2, 4, 4)))).array.any()


def test_a_cavity_closed_in_three_dimensions_is_filled_whatever_its_size():
    shell = ball((24, 40, 40), (12, 20, 20), 11) & ~ball((24, 40, 40), (12, 20, 20), 9)
    found = postprocess.fill_holes(at(shell), max_hole_mm2=0).array
    np.testing.assert_array_equal(found, shell | ball((24, 40, 40), (12, 20, 20), 9))


def test_a_liver_dome_that_opens_below_is_not_lung():
    lung = np.zeros((10, 40, 40), bool)
    lung[:, 4:36, 4:36] = True
    dome = ball((10, 40, 40), (0, 20, 20), (6, 12, 12))
    lung &= ~dome
    found = postprocess.fill_holes(at(lung, (5, 1, 1)), max_hole_mm2=10).array
    np.testing.assert_array_equal(found[:5], lung[:5])


def test_a_dome_stays_open_where_the_scan_goes_on_below():
    lung = np.zeros((12, 40, 40), bool)
    lung[2:, 4:36, 4:36] = True
    lung &= ~ball((12, 40, 40), (2, 20, 20), (6, 12, 12))
    found = postprocess.fill_holes(at(lung, (5, 1, 1)), max_hole_mm2=10).array
    np.testing.assert_array_equal(found[:7], lung[:7])


@pytest.mark.parametrize(("spacing", "closed"), [(1.0, True), (2.0, False)])
def test_holes_of_a_slice_are_filled_up_to_their_area(spacing, closed):
    lung = np.ones((3, 30, 30), bool)
    lung[:, 10:20, 10:20] = False  # a vessel through all slices, 100 or 400 square millimetres
    found = postprocess.fill_holes(at(lung, (5, spacing, spacing))).array
    assert found.all() == closed
    np.testing.assert_array_equal(found.all(axis=(1, 2)), [closed] * 3)


def test_a_hole_at_the_border_of_a_slice_is_open():
    lung = np.ones((1, 8, 8), bool)
    lung[0, 0, 3] = False
    np.testing.assert_array_equal(postprocess.fill_holes(at(lung)).array, lung)


@given(masks, spacings)
def test_filling_only_adds(mask, spacing):
    before = mask.copy()
    found = postprocess.fill_holes(at(mask, spacing)).array
    assert found[mask].all()
    np.testing.assert_array_equal(mask, before)  # the argument is left alone


@given(masks)
def test_filling_without_a_limit_is_that_of_scipy_slice_by_slice(mask):
    found = postprocess.fill_holes(at(mask), max_hole_mm2=1e9).array
    planes = [ndimage.binary_fill_holes(plane) for plane in ndimage.binary_fill_holes(mask)]
    np.testing.assert_array_equal(found, planes)


# --- largest_components ---


def naive_without_small(mask, min_voxels, min_share):
    """Components one at a time."""
    components, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    parts = [components == number for number in range(1, count + 1)]
    largest = max((part.sum() for part in parts), default=0)
    kept = np.zeros(mask.shape, bool)
    for part in parts:
        if part.sum() >= min_voxels and part.sum() >= min_share * largest:
            kept |= part
    return kept


@given(masks, st.integers(0, 12), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_small_components_go_as_in_a_loop_over_components(mask, voxels, share):
    volume = at(mask, (5, 2, 1))  # 0.01 ml a voxel
    found = postprocess.largest_components(
        volume, min_ml=0.01 * voxels - 0.001, min_share=share
    ).array
    smallest = voxels if len(mask) > 1 else 0
    np.testing.assert_array_equal(found, naive_without_small(mask, smallest, share))


def test_by_default_everything_stays():
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[0, 0, 0] = mask[1, 3, 3] = 1
    np.testing.assert_array_equal(postprocess.largest_components(at(mask)).array, mask)


def test_voxels_that_touch_at_a_corner_are_one_component():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert postprocess.largest_components(at(mask), min_ml=0.002).array.sum() == 2


def test_in_a_scan_of_one_slice_nothing_goes_by_volume():
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 0, 0] = True
    assert postprocess.largest_components(at(mask), min_ml=100).array.sum() == 1


# --- the steps of bundles ---


def steps(target, **settings):
    """Those of a bundle of version 1 with such settings."""
    spec = {"target": target, "version": 1, "postprocess": settings}
    return from_json(json.dumps(spec), SegmenterSpec).postprocess


def clean_lungs(mask, *, midline=None, middle_row=None, **settings):
    scan = Scan(mask.with_array(0 * mask.array), midline=midline, middle_row=middle_row)
    return postprocess.applied(steps("lungs", **settings), mask, scan)


def clean_infection(mask, lungs, **settings):
    scan = Scan(mask.with_array(0 * mask.array), inside=lungs)
    found = postprocess.applied(steps("infection", **settings), mask, scan)
    return found.with_array((found.array != 0).astype(np.uint8))


def test_a_step_needs_its_numbers_and_nothing_else():
    done = postprocess.complete((("threshold", {}), ("within", {"rim_mm": 3}), ("sides", {})))
    assert done[:2] == (
        ("threshold", {"at": 0.5}),
        ("within", {"rim_mm": 3.0, "most_share": 0.1}),
    )
    assert postprocess.complete(done) == done
    assert isinstance(done[2][1]["depths_mm"], list)


@pytest.mark.parametrize(
    ("step", "numbers", "message"),
    [
        ("within", {"rim": 3}, "no number 'rim' in the step 'within': did you mean 'rim_mm'"),
        ("within", {"inside": 3}, "no number 'inside'"),
        ("within", {"rim_mm": -1}, "from 0 to 10,000 for rim_mm of the step 'within', found -1"),
        ("within", {"most_share": 1.5}, "from 0 to 1 for most_share"),
        ("within", {"rim_mm": True}, "found True"),
        ("within", {"rim_mm": "3"}, "found '3'"),
        ("fill_holes", {"by_label": 1}, "expected bool for by_label"),
        ("sides", {"depths_mm": [1, -2]}, "depths_mm of the step 'sides', found -2"),
        ("threshold", {"at": 1.0}, "threshold between 0 and 1, found 1.0"),
        ("calibration", {"slope": 0}, "slope above 0, found 0"),
        ("calibration", {"slope": 1e300}, "found 1e"),
    ],
)
def test_a_number_that_a_step_cannot_take_is_refused(step, numbers, message):
    with pytest.raises(SpecError, match=message):
        postprocess.complete(((step, numbers),))


def test_an_unknown_step_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'sides'"):
        postprocess.complete((("side", {}),))


def test_a_decision_after_a_mask_is_refused():
    with pytest.raises(SpecError, match="before all other steps, found 'threshold' among sides"):
        postprocess.complete((("sides", {}), ("threshold", {})))


def test_the_decision_is_that_of_the_first_steps():
    assert postprocess.decision(steps("lungs", threshold=0.3, calibration=(2.0, 1.0))) == (
        2,
        1,
        0.3,
        False,
    )
    assert postprocess.decision(()) == (1.0, 0.0, 0.5, False)
    assert postprocess.decision((("most_likely", {}),)).most_likely


def test_what_lies_inside_nothing_is_an_error():
    mask = at(np.ones((1, 4, 4), np.uint8))
    with pytest.raises(SpecError, match="outer mask for the step 'within', found none"):
        postprocess.applied((("within", {}),), mask, Scan(mask))


def test_a_step_that_fails_or_returns_no_mask_is_named():
    mask = at(np.ones((1, 4, 4), np.uint8))
    postprocess.registry.register("half_for_tests", lambda mask: mask.array)
    postprocess.registry.register("zero_for_tests", lambda mask, *, by=0: 1 / by)
    for name, message in (("half_for_tests", "a mask of shape"), ("zero_for_tests", "'by': 0")):
        with pytest.raises(PluginError, match=f"'{name}' .*{message}"):
            postprocess.applied(((name, {"by": 0} if "zero" in name else {}),), mask, Scan(mask))


def test_steps_see_what_they_ask_for_in_the_box_of_the_mask():
    seen = {}

    def step(mask, ct, inside, *, midline, middle_row, typed):
        seen.update(shapes={v.shape for v in (mask, ct, inside)}, at=(midline, middle_row, typed))
        return mask

    postprocess.registry.register("looks_for_tests", step)
    array = np.zeros((2, 9, 9), np.uint8)
    array[1, 3:5, 4:8] = 2
    scan = Scan(at(array), inside=at(array), midline=6.0, middle_row=4.0, typed=True)
    found = postprocess.applied((("crop", {}), ("looks_for_tests", {})), at(array), scan)
    assert seen == {"shapes": {(2, 2, 4)}, "at": (2.0, 1.0, True)}
    np.testing.assert_array_equal(found.array, array)


@given(masks, st.data())
def test_labels_keep_their_own_components_and_holes(mask, data):
    labels = at(mask * data.draw(arrays.arrays(np.uint8, mask.shape, elements=st.integers(1, 2))))
    large = postprocess.largest_components(labels, min_share=0.5, by_label=True).array
    full = postprocess.fill_holes(labels, by_label=True).array
    for label in (1, 2):
        own = labels.array == label
        expected = postprocess.largest_components(at(own), min_share=0.5).array
        np.testing.assert_array_equal(large == label, expected)
        assert (full[own] != 0).all()
        assert postprocess.fill_holes(at(own)).array[full == label].all()


def test_types_that_the_network_tells_stay():
    labels = at(np.array([[[1, 2, 0]]], np.uint8))
    assert postprocess.lesion_types(labels, labels, typed=True) is labels


def test_an_empty_mask_stays_empty():
    empty = at(np.zeros((3, 8, 8), np.uint8))
    settings = {"min_component_ml": 1, "fill_holes": True}
    assert not clean_lungs(empty, **settings).array.any()
    assert not clean_infection(empty, empty, **settings).array.any()


def test_clean_lungs_drops_specks_fills_vessels_and_names_sides():
    right, left, both = lungs()
    raw = both.copy()
    raw[5, 24, 12:15] = False  # a vessel
    raw[0, 0, 0] = True  # a speck
    found = clean_lungs(at(raw), min_component_ml=0.1, fill_holes=True)
    assert found.array.dtype == np.uint8
    np.testing.assert_array_equal(found.array, RIGHT * right + LEFT * left)
    unfilled = clean_lungs(at(raw), min_component_ml=0.1)
    assert not unfilled.array[5, 24, 12:15].any()


def test_a_speck_in_one_slice_of_many_goes_by_its_volume():
    raw = np.zeros((10, 16, 16), np.uint8)
    raw[4, 8, 8] = 1
    found = clean_lungs(at(raw), min_component_ml=1.0)
    assert not found.array.any()


def test_the_midline_is_a_column_of_the_whole_slice():
    raw = np.zeros((4, 20, 60), bool)
    raw[:, 5:15, 30:45] = True
    found = clean_lungs(at(raw), midline=50).array
    np.testing.assert_array_equal(found, RIGHT * raw)


@given(masks, spacings)
def test_clean_lungs_without_filling_lie_inside_the_raw_mask(mask, spacing):
    found = clean_lungs(at(mask, spacing), min_component_ml=0.02).array
    assert not found[~mask].any()


@given(masks, st.booleans(), st.data())
def test_infection_lies_inside_the_lungs(mask, fill, data):
    where = data.draw(arrays.arrays(bool, mask.shape))
    found = clean_infection(at(mask), at(where), fill_holes=fill).array
    assert found.dtype == np.uint8
    assert not found[~where].any()
    assert found[mask & where].all()
    if not fill:
        np.testing.assert_array_equal(found, mask & where)


def test_specks_of_infection_go_by_their_volume():
    raw, where = np.zeros((2, 8, 8)), np.ones((2, 8, 8))
    raw[0, 0, 0] = 1
    raw[:, 3:5, 3:5] = 1
    found = clean_infection(at(raw), at(where), min_component_ml=0.008).array
    assert found.sum() == 8
    assert not found[0, 0, 0]


def test_the_row_in_the_middle_is_that_of_the_whole_slice():
    lung = bases()
    gas = np.zeros_like(lung)
    gas[1:7, 8:20, 50:70] = True
    raw = at(lung | gas, (3.0, 3.0, 3.0))
    assert not clean_lungs(raw).array[gas].any()
    assert clean_lungs(raw, middle_row=5).array[gas].any()


# --- within ---


@pytest.mark.parametrize(("slice_mm", "lost"), [(5.0, 1), (2.5, 2), (2.0, 3), (10.0, 1)])
def test_infection_at_the_ends_of_a_lung_is_partial_volume(slice_mm, lost):
    lungs = np.zeros((40, 4, 4), np.uint8)
    lungs[4:36] = 1
    place = at(lungs, (slice_mm, 1.0, 1.0))
    found = postprocess.within(place, place, rim_mm=5.0).array
    expected = np.zeros(lungs.shape, np.uint8)
    expected[4 + lost : 36 - lost] = 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("slices", "left"), [(9, 7), (3, 1), (2, 2), (1, 1)])
def test_infection_in_a_stack_of_few_images_of_unknown_spacing_is_kept(slices, left):
    lungs = np.zeros((slices + 2, 4, 4), np.uint8)
    lungs[1:-1] = 1
    found = postprocess.within(at(lungs), at(lungs), rim_mm=5.0)
    assert found.array.any(axis=(1, 2)).sum() == left


def test_lungs_cut_by_the_end_of_the_scan_have_no_rim_there():
    lungs = at(np.ones((3, 4, 4), np.uint8))
    assert postprocess.within(lungs, lungs, rim_mm=5.0).array.all()


def test_more_components_than_two_bytes_can_number():
    mask = np.zeros((1, 600, 600), bool)
    mask[0, ::2, ::2] = True
    mask[0, 500:, 500:] = True
    kept = postprocess.largest_components(at(mask), min_share=0.5).array
    assert kept.sum() == mask[0, 500:, 500:].size
    assert kept[0, 500:, 500:].all()
