import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungmask_jax import metrics
from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics import _nearest, surface_distances
from lungmask_jax.metrics._surfels import full_code, surfel_areas, surfel_codes

REFERENCE = json.loads(
    (Path(__file__).parent / "references" / "surfaces.json").read_text(encoding="utf-8")
)
spacings = st.sampled_from([0.5, 1.0, 1.7, 4.0])
cases = arrays.array_shapes(min_dims=2, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(bool, shape),
        arrays.arrays(bool, shape),
        st.tuples(*(spacings for _ in shape)),
    )
)


def drawn(shape, ellipsoids):
    """As in references/surfaces.py."""
    grid = np.indices(shape).reshape(len(shape), -1).T
    mask = np.zeros(len(grid), bool)
    for numbers in ellipsoids:
        center, radii = np.split(np.array(numbers, float), 2)
        mask |= np.square((grid - center) / radii).sum(axis=1) <= 1
    return mask.reshape(shape)


def naive_places(mask, spacing):
    """Every cube whose corners differ, looked at one by one."""
    around = np.pad(mask, 1)
    for place in itertools.product(*(range(size - 1) for size in around.shape)):
        cube = around[tuple(slice(at, at + 2) for at in place)]
        if cube.any() and not cube.all():
            yield np.array(place) * spacing


def naive_distances(mask, other, spacing):
    others = list(naive_places(other, spacing))
    return [
        min((math.dist(place, there) for there in others), default=math.inf)
        for place in naive_places(mask, spacing)
    ]


def box(shape, *sides):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


@pytest.mark.parametrize("shape", [(0, 3), (3, 4), (2, 3, 4)])
def test_two_empty_masks_have_no_surfaces_and_agree(shape):
    empty = np.zeros(shape)
    surfaces = surface_distances(empty, empty, (1.0,) * len(shape))
    assert surfaces.to_target.shape == surfaces.target_areas.shape == (0,)
    assert surfaces.hausdorff() == surfaces.hausdorff(percent=95) == 0
    assert surfaces.mean() == 0
    assert surfaces.means() == (0, 0)
    assert surfaces.dice(1.0) == 1


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask_is_infinitely_far_away(swap):
    masks = [np.zeros((3, 4)), np.ones((3, 4))]
    surfaces = surface_distances(*(masks[::-1] if swap else masks), (1.0, 1.0))
    assert surfaces.hausdorff() == surfaces.hausdorff(percent=50) == math.inf
    assert surfaces.mean() == math.inf
    assert surfaces.means() == (math.inf, math.inf)
    assert surfaces.dice(1e9) == 0
    there = surfaces.to_prediction if swap is False else surfaces.to_target
    assert np.isinf(there).all()
    assert len(there) == 14


def test_a_voxel_is_an_octahedron_with_an_eighth_in_each_corner():
    voxel = np.ones((1, 1, 1))
    surfaces = surface_distances(voxel, voxel, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(surfaces.target_areas, np.full(8, math.sqrt(3) / 8))
    assert surfaces.to_target.tolist() == [0] * 8


def test_the_outline_of_a_pixel_is_half_a_diagonal_at_each_corner():
    pixel = np.ones((1, 1))
    surfaces = surface_distances(pixel, pixel, (3.0, 4.0))
    np.testing.assert_allclose(surfaces.target_areas, np.full(4, 2.5))


def test_a_flat_face_has_its_own_area():
    wall = np.zeros((4, 4, 4), bool)
    wall[:2] = True
    code = surfel_codes(wall)[1, 1, 1]
    assert surfel_areas((3.0, 0.5, 7.0))[code] == 0.5 * 7.0


def test_a_box_moved_along_an_axis_is_as_far_as_it_moved():
    one, other = box((6, 9, 9), (1, 4), (1, 5), (1, 6)), box((6, 9, 9), (1, 4), (4, 8), (1, 6))
    surfaces = surface_distances(one, other, (5.0, 0.7, 0.8))
    assert surfaces.hausdorff() == pytest.approx(3 * 0.7)
    assert surfaces.dice(2.11) == 1
    assert 0 < surfaces.dice(2.09) < 1


def test_a_percentile_is_weighed_by_length():
    one, other = box((4, 24), (1, 3), (1, 2)), box((4, 24), (1, 3), (1, 22))
    surfaces = surface_distances(one, other, (1.0, 1.0))
    half = surfaces.hausdorff(percent=50)
    reached = surfaces.target_areas[surfaces.to_prediction <= half].sum()
    assert surfaces.hausdorff() == 20
    assert 9 <= half <= 11
    assert reached >= surfaces.target_areas.sum() / 2


@given(cases)
def test_distances_are_those_of_a_search_through_all_pairs(case):
    prediction, target, spacing = case
    surfaces = surface_distances(prediction, target, spacing)
    expected = sorted(naive_distances(prediction, target, spacing))
    np.testing.assert_allclose(surfaces.to_target, expected, atol=1e-9)
    expected = sorted(naive_distances(target, prediction, spacing))
    np.testing.assert_allclose(surfaces.to_prediction, expected, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 20, 300])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (0.2, 3.0, 1.0)])
def test_how_far_cubes_look_around_before_they_search_the_tree_changes_nothing(
    steps, spacing, monkeypatch
):
    rng = np.random.default_rng(0)
    one, other = rng.random((8, 9, 10)) < 0.01, rng.random((8, 9, 10)) < 0.02
    monkeypatch.setattr(_nearest, "_STEPS", steps)
    _nearest._steps.cache_clear()
    surfaces = surface_distances(one, other, spacing)
    _nearest._steps.cache_clear()
    expected = sorted(naive_distances(one, other, spacing))
    np.testing.assert_allclose(surfaces.to_target, expected, atol=1e-9)
    assert (np.diff(surfaces.to_target) >= 0).all()


def test_needle_shaped_voxels_look_around_a_bounded_box():
    assert max(_nearest.reach(np.array([1000.0, 0.001]))) <= 10


@given(cases)
def test_swapping_the_masks_swaps_the_directions(case):
    prediction, target, spacing = case
    one, back = (
        surface_distances(prediction, target, spacing),
        surface_distances(target, prediction, spacing),
    )
    np.testing.assert_array_equal(one.to_target, back.to_prediction)
    assert one.hausdorff() == back.hausdorff()
    assert one.mean() == pytest.approx(back.mean())
    assert one.means() == back.means()[::-1]


@given(cases, st.floats(0.1, 10))
def test_a_larger_grid_has_larger_distances(case, factor):
    prediction, target, spacing = case
    small = surface_distances(prediction, target, spacing)
    large = surface_distances(prediction, target, [factor * mm for mm in spacing])
    assert large.hausdorff() == pytest.approx(factor * small.hausdorff())
    assert large.mean() == pytest.approx(factor * small.mean())


@given(cases)
def test_turning_the_array_over_changes_nothing(case):
    prediction, target, spacing = case
    one = surface_distances(prediction, target, spacing)
    other = surface_distances(prediction.T, target.T, spacing[::-1])
    np.testing.assert_allclose(one.to_target, other.to_target)
    assert one.target_areas.sum() == pytest.approx(other.target_areas.sum())


def test_the_order_in_memory_changes_nothing():
    rng = np.random.default_rng(1)
    masks = rng.random((2, 5, 6, 7)) < 0.3
    one = surface_distances(*masks, (1.0, 2.0, 3.0))
    other = surface_distances(*(np.asfortranarray(mask) for mask in masks), (1.0, 2.0, 3.0))
    np.testing.assert_array_equal(one.to_target, other.to_target)


@given(cases)
def test_empty_surroundings_change_nothing(case):
    prediction, target, spacing = case
    one = surface_distances(prediction, target, spacing)
    other = surface_distances(np.pad(prediction, 2), np.pad(target, 2), spacing)
    np.testing.assert_allclose(one.to_target, other.to_target)
    np.testing.assert_allclose(one.areas.sum(), other.areas.sum())


@given(cases, st.floats(0, 8), st.floats(0, 100))
def test_reductions_keep_their_order(case, tolerance_mm, percent):
    surfaces = surface_distances(*case)
    assert 0 <= surfaces.dice(tolerance_mm) <= 1
    assert surfaces.hausdorff(percent=percent) <= surfaces.hausdorff()
    assert surfaces.mean() <= surfaces.hausdorff() + 1e-9
    if tolerance_mm >= surfaces.hausdorff():
        assert surfaces.dice(tolerance_mm) == pytest.approx(1)


def same_shape_cubes(kind):
    for entry in REFERENCE[kind]:
        ndim = len(entry["spacing"])
        filled = itertools.product((0, 1), repeat=2**ndim)
        for bits, area in zip(filled, entry["areas"], strict=True):
            yield entry["spacing"], np.reshape(bits, (2,) * ndim).astype(bool), area


@pytest.mark.parametrize(("kind", "count"), [("cubes", 3 * 256), ("squares", 2 * 16)])
def test_every_cube_has_the_area_that_surface_distance_gives_it(kind, count):
    entries = list(same_shape_cubes(kind))
    assert len(entries) == count
    for spacing, cube, area in entries:
        code = surfel_codes(cube).item()
        assert surfel_areas(spacing)[code] == pytest.approx(area, abs=1e-8)
        assert (code == 0) == (not cube.any())
        assert (code == full_code(cube.ndim)) == cube.all()


@pytest.mark.parametrize("name", REFERENCE["surfaces"])
def test_surfaces_agree_with_surface_distance_and_monai(name):
    case = REFERENCE["surfaces"][name]
    masks = (drawn(case["shape"], case[which]) for which in ("prediction", "target"))
    surfaces = surface_distances(*masks, case["spacing"])
    found = surfaces.means()
    assert found == pytest.approx(case["average_distances"], abs=1e-6)
    for percent, distance in case["hausdorff"].items():
        found = surfaces.hausdorff(percent=float(percent))
        assert found == pytest.approx(distance, abs=1e-6)
    for tolerance_mm, share in case["surface_dice"].items():
        found = surfaces.dice(float(tolerance_mm))
        assert found == pytest.approx(share, abs=1e-6)
        assert found == pytest.approx(case["monai_surface_dice"][tolerance_mm], abs=1e-6)


@pytest.mark.parametrize("name", REFERENCE["surfaces"])
def test_overlap_agrees_with_medpy_and_monai(name):
    case = REFERENCE["surfaces"][name]
    masks = (drawn(case["shape"], case[which]) for which in ("prediction", "target"))
    found = metrics.overlap(*masks)
    for peer in ("medpy", "monai"):
        for ratio, value in case[peer].items():
            assert found[ratio] == pytest.approx(value, abs=1e-6), (peer, ratio)


@pytest.mark.parametrize(
    ("shape", "spacing", "shown"),
    [
        ((4,), (1.0,), r"2-D or 3-D, .* found \(4,\)"),
        ((2, 2, 2, 2), (1.0,) * 4, r"2-D or 3-D, .* found \(2, 2, 2, 2\)"),
        ((2, 3), (1.0, 1.0, 1.0), r"\(2, 3\) and \(1.0, 1.0, 1.0\)"),
        ((2, 3), (1.0, 0.0), r"above 0 mm .*\(1.0, 0.0\)"),
        ((2, 3), (1.0, math.nan), r"above 0 mm .*\(1.0, nan\)"),
    ],
)
def test_what_has_no_surface_is_refused(shape, spacing, shown):
    with pytest.raises(ShapeError, match=shown):
        surface_distances(np.zeros(shape), np.zeros(shape), spacing)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ShapeError, match="of one shape"):
        surface_distances(np.zeros((2, 3)), np.zeros((3, 2)), (1.0, 1.0))
