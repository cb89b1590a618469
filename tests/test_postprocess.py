import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from lungmask_jax import labels, postprocess
from lungmask_jax.errors import PluginError, SpecError, UnknownNameError
from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.postprocess import Scan
from lungmask_jax.spec import SegmenterSpec, from_json
from lungmask_jax.volume import Volume

masks = arrays.arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 10), st.integers(1, 12)))
spacings = st.sampled_from([(1, 1, 1), (5, 0.7, 0.7), (0.5, 0.5, 0.5), (10, 2, 2)])


def at(array, spacing=(1.0, 1.0, 1.0)):
    return Volume(np.asarray(array), np.diag([*spacing, 1.0]))


def ball(shape, center, radius):
    """An ellipsoid; `radius` is one number an axis."""
    grid = np.indices(shape)
    parts = zip(grid, center, np.broadcast_to(radius, 3), strict=True)
    return sum(((line - middle) / size) ** 2 for line, middle, size in parts) <= 1


def lungs(slices=10, *, bridge=(), gap=12, rows=48, columns=80):
    """Two ellipsoids, right and left of the middle, joined in the slices of `bridge`."""
    shape, half = (slices, rows, columns), gap / 2 + 13
    middle = (columns - 1) / 2
    right, left = (
        ball(shape, ((slices - 1) / 2, rows / 2, middle + side * half), (0.8 * slices, 18, 13))
        for side in (-1, 1)
    )
    joined = np.zeros(shape, bool)
    low, high = int(middle - half), int(middle + half)
    joined[list(bridge), rows // 2 - 14 : rows // 2 - 11, low:high] = True
    return right, left, right | left | joined


# --- sides ---


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
    """Pictures of unknown spacing have wide junctions; both lungs were called right."""
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


# --- filled ---


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
    )
    assert postprocess.decision(()) == (1.0, 0.0, 0.5)


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


# --- with_aerated ---


def chest(lung=-850, bone=700):
    """A round lung in soft tissue, 10 slices of 80 x 80, and a mask of it without an apex."""
    hu = np.full((10, 80, 80), 40, np.int16)
    round_lung = np.hypot(*np.indices((80, 80)) - np.reshape([25, 25], (2, 1, 1))) < 16
    hu[:, round_lung] = lung
    hu[:, 0, 0] = bone
    mask = np.zeros(hu.shape, bool)
    mask[:7, round_lung] = True
    return hu, mask


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 0.7, 0.7), (5, 3, 3)])
def test_aerated_lung_beside_the_mask_joins_it(spacing):
    hu, mask = chest()
    mask[6, :, 25:] = False  # half of the last slice
    joined = postprocess.with_aerated(at(mask, spacing), at(hu, spacing)).array
    assert not joined[hu > -500].any()
    assert joined[hu < -500].mean() > 0.98


@pytest.mark.parametrize(
    ("lung", "bone", "why"),
    [(-850, 250, "a window"), (-1000, 700, "gas alone"), (-450, 700, "ground glass")],
)
def test_what_hu_do_not_tell_to_be_aerated_stays_out(lung, bone, why):
    hu, mask = chest(bone=bone)
    hu[7:, 10:40, 10:40] = lung
    np.testing.assert_array_equal(postprocess.with_aerated(at(mask), at(hu)).array, mask)


def test_voxels_of_hardly_any_size_need_no_more_memory():
    hu, mask = chest()
    tiny = (1e-9, 1e-9, 1e-9)
    joined = postprocess.with_aerated(at(mask, tiny), at(hu, tiny)).array
    assert joined[mask].all()


def test_aerated_tissue_that_is_thin_or_apart_stays_out():
    hu, mask = chest()
    hu[7:] = 40
    hu[:, 50:75, 50:75] = -850  # another organ
    hu[:, 25, 40:60] = hu[:, 25:50, 60] = -850  # even with a thin bridge
    np.testing.assert_array_equal(postprocess.with_aerated(at(mask), at(hu)).array, mask)
    hu[:, 53:72, 53:72] = -1000  # gas, with a rim of 3 mm
    mask[:, 44:50, 50:75] = True  # and the mask beside it
    np.testing.assert_array_equal(postprocess.with_aerated(at(mask), at(hu)).array, mask)


FINEST = (1.5, 1.5, 1.5)  # the grid on which parts are judged


def lung_square():
    """Lung as a square of 30 x 30 pixels in soft tissue, in 12 slices, and a mask of it."""
    hu = np.full((12, 80, 80), 40, np.int16)
    hu[:, 10:40, 10:40], hu[:, 0, 0] = -850, 700
    mask = np.zeros(hu.shape, bool)
    mask[:, 10:40, 10:40] = True
    return hu, mask


def joined(hu, mask):
    return postprocess.with_aerated(at(mask, FINEST), at(hu, FINEST)).array & ~mask


@pytest.mark.parametrize(("pixels", "joins"), [(3, False), (4, False), (5, True), (9, True)])
def test_aerated_tissue_beside_dense_lung_joins_where_it_is_wide(pixels, joins):
    hu, mask = lung_square()
    hu[:, 10:40, 30:40] = 0  # dense, so that the rest is not wide by the lung beside it
    strip = np.s_[:, 10:40, 40 : 40 + pixels]
    hu[strip] = -850
    assert joined(hu, mask)[strip].mean() == pytest.approx(float(joins), abs=0.05)


@pytest.mark.parametrize(("pixels", "joins"), [(8, True), (10, True), (14, False), (38, False)])
def test_aerated_tissue_joins_where_much_of_its_surface_is_beside_the_mask(pixels, joins):
    hu, mask = lung_square()
    tongue = np.s_[:, 19:31, 40 : 40 + pixels]  # 12 of its 24 + 2 * pixels faces in a slice
    hu[tongue] = -850
    assert joined(hu, mask)[tongue].mean() == pytest.approx(float(joins), abs=0.05)


@pytest.mark.parametrize(("pixels", "joins"), [(5, False), (6, True)])
def test_aerated_tissue_of_less_than_a_tenth_of_a_ml_does_not_join(pixels, joins):
    hu, mask = lung_square()
    mask[5, 20 : 20 + pixels, 40 - pixels : 40] = False
    assert joined(hu, mask).any() == joins


@pytest.mark.parametrize(("edge", "joins"), [(-550, True), (-450, False), (-300, False)])
def test_the_edge_of_aerated_tissue_joins_with_it(edge, joins):
    hu, mask = lung_square()
    hu[:, 10:40, 40:52], hu[:, 10:40, 52] = -850, edge
    assert joined(hu, mask)[:, 12:38, 40:52].all()
    assert joined(hu, mask)[:, 12:38, 52].any() == joins
    assert not joined(hu, mask)[:, :, 53:].any()


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.5, 0.75, 0.75), (1.5, 1.5, 1.5)])
def test_gas_that_the_mask_leaves_out_stays_out(spacing):
    radius = np.hypot(*np.indices((80, 80)) - np.reshape([40, 40], (2, 1, 1)))
    hu = np.full((6, 80, 80), -850, np.int16)
    hu[:, radius < 18] = -1000
    hu = np.stack([ndimage.gaussian_filter(plane, 1.5) for plane in hu])
    hu[:, 0, 0] = 700
    mask = np.broadcast_to(radius > 24, hu.shape)
    found = postprocess.with_aerated(at(mask, spacing), at(hu, spacing)).array
    assert not found[np.broadcast_to(radius < 16, hu.shape)].any()


@given(masks, spacings)
def test_with_aerated_only_adds(mask, spacing):
    hu = np.where(np.arange(mask.shape[2]) % 5, -850, 40) + np.zeros(mask.shape)
    hu[0, 0, 0] = 700
    more = postprocess.with_aerated(at(mask, spacing), at(hu.astype(np.int16), spacing)).array
    assert more[mask].all()
    assert mask.any() or not more.any()


# --- without_bowel ---


def bases(slices=30, recess=8):
    """Two lungs of 48 x 32 pixels that reach lowest at the back, in a body of 60 x 100."""
    mask = np.zeros((slices, 60, 100), bool)
    for number in range(recess, slices):
        front = max(6, 50 - 4 * (number - recess))  # the dome of the diaphragm
        mask[number, front:54, 8:40] = mask[number, front:54, 60:92] = True
    return mask


def without_bowel(mask, spacing=(3.0, 3.0, 3.0)):
    return postprocess.without_bowel(at(mask, spacing)).array


def test_nothing_has_no_bowel():
    assert not without_bowel(np.zeros((3, 8, 8), bool)).any()


def test_bowel_apart_below_and_in_front_goes():
    lung = bases()
    gas = np.zeros_like(lung)
    gas[1:7, 8:20, 50:70] = True
    np.testing.assert_array_equal(without_bowel(lung | gas), lung)


def test_bowel_that_hangs_on_by_a_thin_neck_goes_and_the_lung_stays():
    lung = bases()
    gas, neck = np.zeros_like(lung), np.zeros_like(lung)
    gas[1:9, 8:20, 60:80] = True
    neck[8, 20:50, 70:72] = True
    left = without_bowel(lung | gas | neck)
    assert not left[gas].any()
    assert left[lung].all()


@pytest.mark.parametrize("place", ["behind", "above", "wide"])
def test_what_may_be_lung_stays(place):
    mask = bases()
    if place == "behind":
        mask[1:6, 36:54, 60:92] = True  # a base cut off by a dense band
    elif place == "above":
        mask[6:16, 2:6, 44:56] = True  # apart and in front, but it ends higher than the bases
    else:
        mask[2:, 8:30, 60:92] = True  # above an effusion the front of a lung is its base
    np.testing.assert_array_equal(without_bowel(mask), mask)


def test_what_has_no_below_or_no_size_stays():
    mask = np.zeros((1, 60, 100), bool)
    mask[0, 6:54, 8:40] = mask[0, 2:6, 60:70] = True
    np.testing.assert_array_equal(without_bowel(mask), mask)
    images = bases()
    images[1:7, 8:20, 50:70] = True
    np.testing.assert_array_equal(without_bowel(images, (1.0, 1.0, 1.0)), images)


@given(masks, spacings)
def test_without_bowel_only_removes(mask, spacing):
    before = mask.copy()
    assert not without_bowel(mask, spacing)[~mask].any()
    np.testing.assert_array_equal(mask, before)


@given(masks, spacings)
def test_lung_that_reaches_lowest_at_the_back_is_all_kept(mask, spacing):
    mask[:, -1] |= mask.any(axis=1)
    np.testing.assert_array_equal(without_bowel(mask, spacing), mask)


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


@pytest.mark.parametrize("mirrored", [False, True])
def test_touching_lungs_with_gas_beside_them_do_not_become_one_side(mirrored):
    """A third large piece parted the mask before the lungs were, and both lungs were one side."""
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


def test_more_components_than_two_bytes_can_number():
    mask = np.zeros((1, 600, 600), bool)
    mask[0, ::2, ::2] = True
    mask[0, 500:, 500:] = True
    kept = postprocess.largest_components(at(mask), min_share=0.5).array
    assert kept.sum() == mask[0, 500:, 500:].size
    assert kept[0, 500:, 500:].all()
