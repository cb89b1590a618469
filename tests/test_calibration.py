import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from lungmask_jax.calibration import best_threshold, calibrated, dice_at_best, entropy, fit
from lungmask_jax.errors import ShapeError, SpecError


def drawn(seed, slope=1.0, offset=0.0, count=40_000):
    """Log-odds, and truths that follow them after a slope and an offset."""
    generator = np.random.default_rng(seed)
    odds = generator.normal(0, 2, count)
    return special.expit(odds), generator.random(count) < special.expit(slope * odds + offset)


def test_without_anything_to_learn_nothing_changes():
    assert fit([np.array([0.2, 0.7])], [np.zeros(2)]) == (1.0, 0.0)
    assert fit([np.array([0.2, 0.7])], [np.ones(2)]) == (1.0, 0.0)
    assert fit([np.array([0.9, 0.8, 0.1, 0.2])], [np.array([0, 0, 1, 1])]) == (1.0, 0.0)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.5, 0.0), (0.4, -1.0), (2.0, 0.5)])
def test_the_numbers_of_a_known_law_are_found(slope, offset):
    found, truth = drawn(0, slope, offset)
    assert fit([found], [truth]) == pytest.approx((slope, offset), abs=0.06)


def test_the_fit_is_a_minimum_of_the_cross_entropy():
    found, truth = drawn(1, 0.6, -0.4, count=2000)
    numbers = fit([found[:900], found[900:]], [truth[:900], truth[900:]])

    def cost(slope, offset):
        return -stats.bernoulli.logpmf(truth, calibrated(found, (slope, offset))).mean()

    best = cost(*numbers)
    for change in ((0.02, 0), (-0.02, 0), (0, 0.02), (0, -0.02)):
        assert cost(numbers[0] + change[0], numbers[1] + change[1]) > best


def test_one_and_zero_leave_probabilities_as_they_are():
    found = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(calibrated(found, (1.0, 0.0)), found, rtol=1e-12)
    assert np.isfinite(calibrated(np.array([0.0, 1.0]), (3.0, 1.0))).all()


def test_shapes_that_differ_are_refused():
    for judge in (fit, best_threshold, dice_at_best):
        with pytest.raises(ShapeError, match=r"\(2,\).*\(3,\)"):
            judge([np.zeros(2)], [np.zeros(3)])
        with pytest.raises(ShapeError):
            judge([], [])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_probabilities_that_are_no_numbers_are_refused(value):
    for judge in (fit, best_threshold, dice_at_best):
        with pytest.raises(SpecError, match="expected finite probabilities"):
            judge([np.zeros(2), np.array([0.5, value])], [np.ones(2), np.ones(2)])


def test_without_truth_there_is_no_dice_at_any_threshold():
    assert np.isnan(dice_at_best([np.array([0.2, 0.7])], [np.zeros(2)]))


def test_a_network_that_knows_nothing_reaches_the_dice_of_a_mask_of_everything():
    truth = np.array([1, 0, 0, 0])
    assert dice_at_best([np.full(4, 0.3)], [truth]) == pytest.approx(2 * 0.25 / 1.25)


def test_all_cases_count_as_one():
    large, small = np.ones(8), np.zeros(2)
    found = [np.array([0.9] * 6 + [0.1] * 2), np.array([0.9, 0.1])]
    # up to 0.1 all is marked: 2 * 8 / (10 + 8); above 2 * 6 / (7 + 8)
    assert dice_at_best(found, [large, small]) == pytest.approx(16 / 18)


@given(
    st.lists(st.tuples(st.integers(1, 19), st.booleans()), min_size=1, max_size=30),
    st.floats(0.3, 3),
    st.floats(-3, 3),
)
def test_the_dice_at_the_best_threshold_is_the_same_after_calibration(pixels, slope, offset):
    found, truth = np.array([p / 20 for p, _ in pixels]), np.array([t for _, t in pixels])
    dice = dice_at_best([found], [truth])
    if not truth.any():
        assert np.isnan(dice)
        return
    masks = [found >= level for level in found]
    expected = max(2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for mask in masks)
    assert dice == pytest.approx(expected)
    again = calibrated(found, (slope, offset))
    assert dice_at_best([again], [truth]) == pytest.approx(expected, abs=1e-9)


def test_the_best_threshold_beats_all_others():
    cases = [drawn(seed, count=3000) for seed in range(5)]
    found, truths = zip(*cases, strict=True)

    def mean_dice(level):
        return np.mean([2 * (p > level)[t].sum() / ((p > level).sum() + t.sum()) for p, t in cases])

    best = best_threshold(found, truths)
    dice = mean_dice(best)
    assert dice >= max(mean_dice(level) for level in np.linspace(0.05, 0.95, 91))
    # half of the Dice there is, where probabilities hold (Lipton et al., 2014, arXiv:1402.1892)
    assert best == pytest.approx(dice / 2, abs=0.04)


def test_cases_without_truth_and_without_doubt_do_not_move_the_threshold():
    found = np.array([0.1, 0.2, 0.6])
    truth = np.array([0, 1, 1])
    empty = np.zeros(3)
    assert best_threshold([found, empty], [truth, empty]) == best_threshold([found], [truth])
    assert best_threshold([found], [empty]) == 0.5


def test_false_positives_cost_nothing_in_cases_without_truth():
    found, truth = np.array([0.9] * 10 + [0.3] * 2), np.ones(12)
    healthy, nothing = np.full(12, 0.35), np.zeros(12)
    assert best_threshold([found], [truth]) < 0.3
    # up to 0.3 the mean is (1 + 24 / 36) / 2, from 0.35 on (20 / 22 + 1) / 2
    assert 0.35 <= best_threshold([found, healthy], [truth, nothing]) < 0.9
    # a few false ones cost less than what a higher threshold would miss
    speck = np.array([0.35] + [0.0] * 11)
    assert best_threshold([found, speck], [truth, nothing]) < 0.3
    assert best_threshold([found] + 3 * [speck], [truth] + 3 * [nothing]) >= 0.35


def test_a_scan_in_slices_without_disease_is_judged_as_a_whole():
    disease = np.zeros((100, 400))
    disease[:10, :40] = 1
    found = 0.9 * disease
    found[:10, 40:44] = 0.3
    found[10:, :40] = 0.35
    assert 0.35 <= best_threshold([found], [disease]) < 0.9


def test_entropy_is_that_of_a_coin():
    found = np.linspace(0, 1, 21)
    expected = [stats.bernoulli(p).entropy() / np.log(2) for p in found]
    np.testing.assert_allclose(entropy(found), expected, atol=1e-6)
    assert entropy(found).dtype == np.float32
