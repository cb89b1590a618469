import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lungmask_jax import metrics
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.evaluation import case_rows, compare, summarize
from lungmask_jax.volume import Volume

AFFINE = np.diag([1.0, 1.0, 4.0, 1.0])


def rows(values, label="infection"):
    return [{"case": str(n), "label": label, "dice": value} for n, value in enumerate(values)]


def volume(array):
    return Volume(np.asarray(array, np.uint8), np.eye(4))


def test_a_summary_of_nothing_defined_counts_it():
    found = summarize(rows([math.nan, math.inf]), "dice")
    assert (found.cases, found.undefined, found.infinite) == (0, 1, 1)
    assert math.isnan(found.mean)
    assert math.isnan(found.high)


def test_a_summary_by_hand():
    found = summarize(rows([0.0, 0.5, 1.0, math.nan, math.inf]), "dice")
    assert found[:4] == (3, 1, 1, 0.5)
    assert found.sd == 0.5
    assert (found.median, found.q1, found.q3, found.min, found.max) == (0.5, 0.25, 0.75, 0, 1)


def test_one_case_has_no_spread():
    found = summarize(rows([0.7]), "dice")
    assert (found.mean, found.median) == (0.7, 0.7)
    assert np.isnan([found.sd, found.low, found.high]).all()


def test_one_patient_says_nothing_of_others():
    alone = [{**row, "patient": "one"} for row in rows([0.2, 0.4, 0.9])]
    found = summarize(alone, "dice")
    assert (found.cases, found.patients, found.mean) == (3, 1, 0.5)
    assert np.isnan([found.low, found.high]).all()
    compared = compare(alone, [{**row, "dice": 1.0} for row in alone], "dice")
    assert np.isnan([compared.low, compared.high]).all()


def test_patients_are_drawn_with_all_of_their_cases():
    # of two patients, half of all draws have both, a quarter each has one of them twice
    alike = [{**row, "patient": "one"} for row in rows([1.0] * 9)]
    other = [{"case": "last", "label": "infection", "dice": 0.0}]
    found = summarize(alike + other, "dice")
    assert (found.cases, found.patients, found.mean) == (10, 2, 0.9)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_comparison_counts_each_patient_once():
    before = [{**row, "patient": "abc"[n // 2]} for n, row in enumerate(rows([0.5] * 6))]
    after = [{**row, "dice": 0.6 + n / 100} for n, row in enumerate(before)]
    found = compare(before, after, "dice")
    assert (found.cases, found.patients, found.better) == (6, 3, 6)
    assert found.p == 0.25  # of 2 ** 3 signs, two are as extreme
    alone = compare(*([{**row, "patient": ""} for row in some] for some in (before, after)), "dice")
    assert (alone.patients, alone.p) == (6, 2 / 2**6)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_the_interval_holds_the_mean_and_stays_within_the_range(values):
    found = summarize(rows(values), "dice")
    assert found.min - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= found.max + 1e-9


def test_the_interval_is_that_of_scipy():
    values = np.random.default_rng(1).random(25)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", rng=np.random.default_rng(5)
    ).confidence_interval
    found = summarize(rows(values), "dice")
    assert found.low == pytest.approx(expected.low, abs=0.005)
    assert found.high == pytest.approx(expected.high, abs=0.005)


def test_labels_are_summed_up_apart():
    both = rows([0.2, 0.4]) + rows([0.8, 1.0], "lungs")
    assert summarize(both, "dice", label="lungs").mean == pytest.approx(0.9)
    assert summarize(both, "dice").cases == 4


def test_unknown_scores_and_labels_are_named():
    with pytest.raises(SpecError, match="with 'dise', found none: known are dice"):
        summarize(rows([1.0]), "dise")
    with pytest.raises(SpecError, match="of 'lung'"):
        summarize(rows([1.0]), "dice", label="lung")


def test_equal_models_do_not_differ():
    found = compare(rows([0.1, 0.9, math.nan]), rows([0.1, 0.9, math.nan]), "dice")
    assert found == (2, 0, 0, 0, 0, 0, 1, 2)


def test_nothing_to_compare_is_undefined():
    assert math.isnan(compare(rows([math.nan]), rows([0.5]), "dice").p)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=6, max_size=12))
def test_a_comparison_is_that_of_scipy_and_turns_with_the_order(pairs):
    one, other = (rows(values) for values in zip(*pairs, strict=True))
    found, back = compare(one, other, "dice"), compare(other, one, "dice")
    differences = np.array([b - a for a, b in pairs])
    assert found.mean == pytest.approx(differences.mean())
    assert (found.better, found.worse) == (back.worse, back.better)
    if differences.any():
        assert found.p == pytest.approx(stats.wilcoxon(differences).pvalue)
        assert found.p == pytest.approx(back.p)


def test_other_cases_are_refused_by_name():
    with pytest.raises(SpecError, match="found only in one: 2"):
        compare(rows([1, 1]), rows([1, 1, 1]), "dice")


def test_cases_of_one_name_are_refused():
    with pytest.raises(SpecError, match="one row per case and label, found 2 of 1"):
        summarize(rows([0.2]) + rows([0.8]), "dice")


def test_lungs_are_scored_together_and_apart():
    truth = volume([[[1, 1, 0, 2, 2]] * 4] * 2)
    found = case_rows("a", volume([[[1, 1, 0, 2, 0]] * 4] * 2), truth, "lungs")
    assert [row["label"] for row in found] == ["lungs", "right_lung", "left_lung"]
    assert [row["dice"] for row in found] == [pytest.approx(6 / 7), 1, pytest.approx(2 / 3)]


def test_a_truth_of_one_label_is_scored_as_a_whole():
    truth = volume([[[1, 1, 0, 1, 1]] * 4] * 2)
    (row,) = case_rows("a", volume([[[1, 1, 0, 2, 2]] * 4] * 2), truth, "lungs")
    assert row["label"] == "lungs"
    assert row["dice"] == 1


def test_a_row_holds_all_scores_with_the_tolerance_of_its_target():
    truth, found = np.zeros((2, 4, 20, 20), np.uint8)
    truth[1:3, 5:15, 5:15] = found[1:3, 5:15, 7:17] = 1
    (row,) = case_rows("a", volume(found), volume(truth), "infection")
    expected = metrics.scores(found, truth, volume(truth).spacing, tolerance_mm=3.0)
    assert row == {"case": "a", "label": "infection", **expected}
    (strict,) = case_rows("a", volume(found), volume(truth), "infection", tolerance_mm=1.0)
    assert strict["surface_dice"] < row["surface_dice"]


def test_labels_that_are_not_known_are_refused():
    lesions = volume([[[1, 1, 2, 3, 3, 3]]])
    part = volume([[[1, 1, 2, 0, 0, 0]]])
    black_and_white = volume([[[0, 0, 255, 255, 0, 0]]])
    with pytest.raises(ScanError, match="found up to 3 in the truth of a"):
        case_rows("a", part, lesions, "infection")
    with pytest.raises(ScanError, match="found up to 3 in the prediction of a"):
        case_rows("a", lesions, part, "infection")
    with pytest.raises(ScanError, match="found up to 255 in the truth of a: make them 0"):
        case_rows("a", part, black_and_white, "infection")


def test_masks_of_other_shapes_and_places_are_refused():
    with pytest.raises(ScanError, match="the same shape for a"):
        case_rows("a", volume(np.ones((1, 4, 4))), volume(np.ones((1, 4, 5))), "infection")
    affine = np.eye(4)
    affine[0, 3] = 5
    moved = Volume(np.ones((1, 4, 4), np.uint8), affine)
    with pytest.raises(ScanError, match="5 mm apart"):
        case_rows("a", moved, volume(np.ones((1, 4, 4))), "infection")


def test_types_are_scored_as_a_whole_and_each_even_where_one_is_absent():
    truth, found = volume([[[1, 1, 0, 0]] * 2]), volume([[[1, 2, 0, 0]] * 2])
    rows = case_rows("a", found, truth, "lesions")
    assert [row["label"] for row in rows] == ["infection", "ground_glass", "consolidation"]
    assert [row["dice"] for row in rows] == [1, pytest.approx(2 / 3), 0]
    assert [row["label"] for row in case_rows("a", found, truth, "infection")] == ["infection"]
