import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungmask_jax.cli._progress import summary
from lungmask_jax.errors import ShapeError
from lungmask_jax.inference import Segmentation
from lungmask_jax.labels import swap_sides
from lungmask_jax.phantoms import phantom
from lungmask_jax.quantify import (
    is_at_odds,
    measures,
    of_slices,
    severity,
    signs,
    slice_shares,
)
from lungmask_jax.tasks import Task, registry
from lungmask_jax.volume import Volume

SHAPE = (2, 3, 4)
lung_masks = arrays.arrays(np.uint8, SHAPE, elements=st.integers(0, 2))
infections = arrays.arrays(np.uint8, SHAPE, elements=st.integers(0, 1))
percents = st.floats(0, 100)


def at(values, spacing=(10.0, 10.0, 10.0)):
    """Voxels of 1 ml, unless said otherwise."""
    return Volume(np.asarray(values, np.uint8), np.diag([*spacing, 1.0]))


def measured(lungs, infection=None, lesions=None):
    masks = {"lungs": lungs, "infection": infection, "lesions": lesions}
    return measures({name: mask for name, mask in masks.items() if mask is not None})


def row(*values):
    return at([[values]])


def test_no_lungs_have_no_volume_no_share_and_no_class():
    empty = row(0, 0, 0)
    found = measured(empty, row(1, 1, 1))
    assert found["lungs_ml"] == found["infection_ml"] == 0
    assert math.isnan(found["infection_percent"])
    assert math.isnan(found["right_infection_percent"])
    assert found["severity"] == "unknown"


def test_a_missing_lung_has_no_share_and_the_other_decides():
    found = measured(row(1, 1, 0), row(1, 0, 1))
    assert found["left_lung_ml"] == 0
    assert math.isnan(found["left_infection_percent"])
    assert found["right_infection_percent"] == found["infection_percent"] == 50
    assert found["severity"] == "CT-2"


def test_without_an_infection_only_the_lungs_are_measured():
    found = measured(row(1, 1, 2, 0))
    assert found == pytest.approx({"right_lung_ml": 2, "left_lung_ml": 1, "lungs_ml": 3})


def test_measures_by_hand():
    lungs = row(1, 1, 1, 1, 2, 2, 0, 0)
    infection = row(1, 0, 0, 0, 1, 0, 1, 1)  # the last two lie outside the lungs
    found = measured(lungs, infection)
    assert found == {
        "right_lung_ml": pytest.approx(4),
        "left_lung_ml": pytest.approx(2),
        "lungs_ml": pytest.approx(6),
        "right_infection_ml": pytest.approx(1),
        "left_infection_ml": pytest.approx(1),
        "infection_ml": pytest.approx(2),
        "right_infection_percent": pytest.approx(25),
        "left_infection_percent": pytest.approx(50),
        "infection_percent": pytest.approx(100 / 3),
        "severity": "CT-2",
    }


def test_volumes_follow_the_spacing_and_shares_do_not():
    lungs, infection = np.array([[[1, 1, 2]]]), np.array([[[1, 0, 0]]])
    found = measured(at(lungs, (5, 2, 0.5)), at(infection, (5, 2, 0.5)))
    assert found["right_lung_ml"] == pytest.approx(0.010)
    assert found["right_infection_percent"] == pytest.approx(50)


@given(lung_masks, infections)
def test_both_sides_add_up(lungs, infection):
    found = measured(at(lungs), at(infection))
    for part in ("lung", "infection"):
        whole = found["lungs_ml" if part == "lung" else "infection_ml"]
        assert found[f"right_{part}_ml"] + found[f"left_{part}_ml"] == pytest.approx(whole)
    assert found["lungs_ml"] == pytest.approx(np.count_nonzero(lungs))
    assert found["infection_ml"] == pytest.approx(np.count_nonzero(infection[lungs > 0]))


@given(lung_masks, infections)
def test_swapping_sides_swaps_their_measures_and_keeps_the_class(lungs, infection):
    found, swapped = (measured(at(m), at(infection)) for m in (lungs, swap_sides(lungs)))
    for name in ("lung_ml", "infection_ml", "infection_percent"):
        assert found[f"right_{name}"] == pytest.approx(swapped[f"left_{name}"], nan_ok=True)
    assert found["severity"] == swapped["severity"]


@pytest.mark.parametrize(
    ("percent", "expected"),
    [
        (0, "CT-0"),
        (0.5, "CT-0"),
        (0.6, "CT-1"),
        (25, "CT-1"),
        (25.1, "CT-2"),
        (50, "CT-2"),
        (50.1, "CT-3"),
        (75, "CT-3"),
        (75.1, "CT-4"),
        (100, "CT-4"),
    ],
)
def test_classes_begin_above_their_limits(percent, expected):
    assert severity(percent, 0.0) == severity(0.0, percent) == expected


@given(percents, percents)
def test_the_worse_lung_decides(right, left):
    worse = max(right, left)
    assert severity(right, left) == severity(left, right) == severity(worse, worse)


@given(percents, percents)
def test_more_infection_never_lowers_the_class(one, other):
    low, high = sorted([one, other])
    assert severity(low, 0.0) <= severity(high, 0.0)


def test_a_lung_that_is_not_there_does_not_count():
    assert severity(math.nan, 30.0) == severity(30.0, math.nan) == "CT-2"
    assert severity(math.nan, math.nan) == "unknown"


def test_masks_of_two_scans_are_refused():
    with pytest.raises(ShapeError, match=r"one scan, found shapes \(1, 1, 2\) and \(1, 1, 3\)"):
        measured(row(1, 2), row(0, 0, 1))


def test_other_labels_count_for_no_lung():
    """A mask of COVID-19-CT-Seg has 3 for infection."""
    lungs = Volume(np.array([[[1, 2, 3, 14, 0]]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
    lesions = lungs.with_array(np.array([[[1, 2, 1, 1, 12]]], np.uint8))
    result = measured(lungs, lungs.with_array(np.ones_like(lungs.array)), lesions=lesions)
    assert result["lungs_ml"] == pytest.approx(2)
    assert result["infection_ml"] == pytest.approx(2)
    assert result["consolidation_percent"] == pytest.approx(50)


@pytest.mark.parametrize("origin", ["corner", "far corner", "middle"])
def test_voxels_of_unknown_size_have_shares_and_no_ml(origin):
    """Images have voxels of 1 x 1 x 1 mm because nobody knows better."""
    lungs = Volume(np.array([[[1, 1, 2, 0]]], np.uint8))
    affine = lungs.affine.copy()
    ends = -affine[:3, :3] @ (np.array(lungs.shape) - 1)
    affine[:3, 3] = {"corner": 0, "far corner": ends, "middle": ends / 2}[origin]
    lungs = Volume(lungs.array, affine)
    found = measured(lungs, lungs.with_array(np.array([[[1, 0, 0, 0]]], np.uint8)), lesions=lungs)
    assert not lungs.has_size
    positive = ("right_lung_ml", "left_lung_ml", "lungs_ml", "infection_ml", "ground_glass_ml")
    assert all(math.isnan(found[key]) for key in positive)
    assert found["left_infection_ml"] == 0  # nothing is nothing, whatever its size
    assert found["right_infection_percent"] == 50
    assert found["severity"] == "CT-2"


def test_a_scan_brought_to_one_millimetre_has_ml():
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -150.3, 20.0, -1000.5
    lungs = Volume(np.array([[[1, 1, 2, 0]]], np.uint8), affine)
    assert lungs.has_size
    assert measured(lungs)["lungs_ml"] == pytest.approx(0.003)


def test_an_array_of_voxels_of_one_millimetre_has_ml():
    lungs = Volume.of(np.array([[[1, 1, 2, 0]]], np.uint8), spacing=(1, 1, 1))
    assert measured(lungs.with_array(lungs.array))["lungs_ml"] == pytest.approx(0.003)


def test_without_lungs_there_are_no_ml_even_if_voxels_have_no_size():
    assert measured(Volume(np.zeros((1, 2, 2), np.uint8)))["lungs_ml"] == 0


def test_another_task_is_measured_where_it_lies():
    registry.register("fluid_for_tests", Task(name="fluid_for_tests", inside="lungs"))
    registry.register("free_for_tests", Task(name="free_for_tests"))
    mask = row(1, 1, 0, 1)
    found = measures({"lungs": row(1, 1, 2, 0), "fluid_for_tests": mask, "free_for_tests": mask})
    assert found["right_fluid_for_tests_percent"] == pytest.approx(100)
    assert found["left_fluid_for_tests_ml"] == 0
    assert found["fluid_for_tests_ml"] == pytest.approx(2)  # the last lies outside the lungs
    assert found["free_for_tests_ml"] == pytest.approx(3)
    assert "free_for_tests_percent" not in found
    assert "severity" not in found


def test_no_masks_are_refused():
    with pytest.raises(ShapeError, match="expected masks of one scan"):
        measures({})


def test_without_lungs_nothing_is_known_of_signs():
    found = signs(row(0, 0, 0), row(1, 1, 1), (1.0, 0.0))
    assert math.isnan(found.scan)
    assert np.isnan(found.slices).all()


def test_a_slice_counts_by_its_share_of_the_largest_lungs():
    lungs = at([[[1, 1, 2, 2]], [[0, 1, 0, 0]]])
    infection = at([[[1, 0, 0, 0]], [[1, 1, 0, 0]]])
    assert slice_shares(lungs, infection).tolist() == [25.0, 25.0]


def test_the_odds_of_a_slice_are_a_power_of_its_share():
    lungs, infection = row(1, 1, 1, 1), row(1, 0, 0, 0)
    found = signs(lungs, infection, (2.0, -1.0))
    odds = found.slices[0] / (1 - found.slices[0])
    assert odds == pytest.approx(25.1**2 / math.e)
    assert found.scan == pytest.approx(found.slices[0])  # of a single slice


def test_a_speck_in_one_thin_slice_is_no_sign_and_ten_millimetres_are():
    lungs = at(np.ones((20, 10, 10)), (1.25, 1.0, 1.0))
    speck, clear = (lungs.with_array(np.zeros((20, 10, 10), np.uint8)) for _ in range(2))
    speck.array[10, 0, :5] = 1
    clear.array[5:15, 0, :5] = 1
    numbers = (2.0, -1.0)
    assert signs(lungs, speck, numbers).slices.max() > 0.5 > signs(lungs, speck, numbers).scan
    found = signs(lungs, clear, numbers)
    assert found.scan == pytest.approx(found.slices.max())


@given(lung_masks, infections)
def test_more_infection_never_makes_signs_less_likely(lungs, infection):
    more = np.maximum(infection, np.roll(infection, 1, axis=2))
    first, second = (signs(at(lungs), at(mask), (1.5, 0.5)) for mask in (infection, more))
    if (lungs != 0).any():
        assert second.scan >= first.scan
        assert (second.slices >= first.slices).all()
        assert 0 <= first.scan <= 1


def test_signs_of_masks_of_two_scans_are_refused():
    with pytest.raises(ShapeError, match="one scan"):
        signs(row(1, 1), row(1), (1.0, 0.0))


def test_a_single_slice_has_no_severity_in_any_output():
    made = phantom((2, 32, 32), disease=0.5)
    for count in (1, 2):
        ct, lungs, infection = (
            Volume(one.array[:count], one.affine) for one in (made.ct, made.lungs, made.infection)
        )
        lobes = lungs.with_array(lungs.array * np.uint8(2))
        masks = {"lungs": lungs, "infection": infection, "lobes": lobes}
        found = Segmentation(ct, masks, {})
        assert (found.measure()["severity"] == "unknown") == (count == 1)
        assert (found.row("a")["severity"] == "unknown") == (count == 1)
    assert math.isnan(of_slices({"ct_severity_score": 5.0}, 1)["ct_severity_score"])
    assert of_slices({"ct_severity_score": 5.0}, 2) == {"ct_severity_score": 5.0}


@pytest.mark.parametrize(
    ("row", "odd"),
    [
        ({"severity": "CT-0", "signs_of_pneumonia": 0.5}, True),
        ({"severity": "CT-0", "signs_of_pneumonia": 0.49}, False),
        ({"severity": "CT-1", "signs_of_pneumonia": 0.9}, False),
        ({"severity": "CT-0", "signs_of_pneumonia": None}, False),
        ({"severity": "CT-0", "signs_of_pneumonia": np.nan}, False),
        ({}, False),
    ],
)
def test_likely_signs_without_marked_lung_are_at_odds(row, odd):
    assert is_at_odds(row) is odd
    likely = row.get("signs_of_pneumonia")
    if likely is not None:
        assert ("at odds with the severity" in summary(row)) is odd
