import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from lungmask_jax import metrics
from lungmask_jax.errors import ShapeError
from lungmask_jax.metrics import Counts
from lungmask_jax.volume import Volume

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
    return bool(np.array_equal(one, other, equal_nan=True))


def numbers(found):
    """All that a metric gives: one number, or those of a mapping, a tuple or a dataclass."""
    if dataclasses.is_dataclass(found):
        found = vars(found)
    if isinstance(found, dict):
        return [*found.values()]
    return [*found] if isinstance(found, tuple) else [found]


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
    for name, value in metrics.overlap(*masks).items():
        signed = name in ("mcc", "kappa", "volume_error")
        assert math.isnan(value) or name == "volume_error" or -signed - 1e-9 <= value <= 1 + 1e-9


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
    assert list(metrics.overlap(*masks))[:5] == RATIOS
    assert same(getattr(metrics, name)(*masks), metrics.overlap(*masks)[name])


def in_millimetres(metric):
    return lambda prediction, target: metric(prediction, target, (1.5, 1.0, 0.5)[-target.ndim :])


@pytest.mark.parametrize(
    "metric",
    [
        *(getattr(metrics, name) for name in RATIOS),
        metrics.counts,
        metrics.overlap,
        metrics.f_beta,
        metrics.lesions,
        metrics.brier,
        metrics.calibration_error,
        metrics.reliability,
        metrics.mean_absolute_error,
        in_millimetres(metrics.scores),
        in_millimetres(metrics.surface_distances),
    ],
)
@pytest.mark.parametrize("shape", [(9, 11), (5, 9, 11)])
def test_numbers_of_a_metric_are_plain_and_the_same_for_masks_of_all_types(metric, shape):
    target, wrong = np.zeros((2, *shape), bool)
    target[..., 1:4, 1:5] = wrong[..., 3:9, 4:9] = True
    kept, found = wrong.copy(), numbers(metric(wrong, target))
    assert all(type(one) in (int, float, np.ndarray) for one in found)
    assert all(math.isfinite(one) for one in found if not isinstance(one, np.ndarray))
    for kind in (bool, np.uint8, np.int64, np.float32):
        assert all(map(same, numbers(metric(wrong.astype(kind), target.astype(kind))), found))
    assert not all(map(same, numbers(metric(target, target)), found))
    np.testing.assert_array_equal(wrong, kept)
    empty, full = np.zeros_like(target), np.ones_like(target)
    for pair in ((empty, empty), (target, empty), (empty, target), (full, target), (full, full)):
        with np.errstate(divide="raise", invalid="raise"):
            metric(*pair)
    for pair in ((target, target[..., :-1]), (2 * target, target), (target, 2 * target)):
        with pytest.raises(ShapeError):
            metric(*pair)


@pytest.mark.parametrize("name", [*RATIOS, "counts", "overlap", "lesions"])
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


REFERENCES = np.load(Path(__file__).parent / "references" / "metrics.npz")
SURFACES = sorted({name.split("/")[0] for name in REFERENCES.files if name.startswith("surface")})
MAPS = sorted({name.split("/")[0] for name in REFERENCES.files if name.startswith("map")})
solids = st.integers(2, 3).flatmap(
    lambda ndim: arrays.array_shapes(min_dims=ndim, max_dims=ndim, max_side=5).flatmap(
        lambda shape: st.tuples(arrays.arrays(bool, shape), arrays.arrays(bool, shape))
    )
)


def test_chance_corrected_ratios_by_hand():
    found = metrics.overlap(Counts(tp=6, fp=2, fn=1, tn=3))
    assert found["mcc"] == pytest.approx((18 - 2) / math.sqrt(8 * 7 * 5 * 4))
    agreed, expected = 9 / 12, (8 * 7 + 4 * 5) / 144
    assert found["kappa"] == pytest.approx((agreed - expected) / (1 - expected))
    assert found["balanced_accuracy"] == pytest.approx((6 / 7 + 3 / 5) / 2)
    assert found["volume_similarity"] == pytest.approx(1 - 1 / 15)
    assert found["volume_error"] == pytest.approx(1 / 7)


def test_chance_corrected_ratios_of_masks_of_one_kind():
    empty, full = np.zeros(4), np.ones(4)
    for same in (empty, full):
        found = metrics.overlap(same, same)
        assert found["mcc"] == found["kappa"] == found["volume_similarity"] == 1
    found = metrics.overlap(full, empty)
    assert found["mcc"] == found["kappa"] == found["volume_similarity"] == 0
    assert math.isnan(found["volume_error"])
    assert metrics.overlap(empty, full)["volume_error"] == -1


@given(pairs)
def test_correlation_is_that_of_numpy(masks):
    one, other = (mask.ravel() for mask in masks)
    if 0 < one.mean() < 1 and 0 < other.mean() < 1:
        expected = np.corrcoef(one, other)[0, 1]
        assert metrics.overlap(*masks)["mcc"] == pytest.approx(expected, abs=1e-9)


@given(pairs, st.floats(0.1, 10))
def test_f_beta_is_a_weighted_harmonic_mean(masks, beta):
    found = metrics.overlap(*masks)
    assert metrics.f_beta(*masks, beta=1) == pytest.approx(found["dice"])
    if found["precision"] > 0:
        mean = (1 + beta**2) / (1 / found["precision"] + beta**2 / found["sensitivity"])
        assert metrics.f_beta(*masks, beta=beta) == pytest.approx(mean)


def test_surfaces_of_empty_masks():
    empty, full = np.zeros((3, 3), bool), np.ones((3, 3), bool)
    none = metrics.surface_distances(empty, empty, (1, 1))
    assert (none.hausdorff(), none.mean(), none.dice(1)) == (0, 0, 1)
    for pair in ((empty, full), (full, empty)):
        one = metrics.surface_distances(*pair, (1, 1))
        assert (one.hausdorff(percent=95), one.mean(), one.dice(100)) == (math.inf, math.inf, 0)


def test_surfaces_of_boxes_by_hand():
    one, other = np.zeros((2, 12, 12, 12), bool)
    one[2:8, 3:9, 3:9] = other[2:8, 3:9, 5:11] = True
    distances = metrics.surface_distances(one, other, (4.0, 1.0, 0.5))
    assert distances.hausdorff() == 1.0  # two voxels of half a millimetre
    assert distances.dice(1.0) == 1
    assert 0 < distances.dice(0.9) < 1


def test_the_outline_of_a_large_disc_is_as_long_as_it_should_be():
    # marching squares go around at most 8 % too far, by steps of 45 degrees
    rows, columns = np.mgrid[-60:61, -60:61]
    disc = rows**2 + columns**2 <= 50**2
    length = metrics.surface_distances(disc, disc, (0.5, 0.5)).areas.sum()
    assert 1 <= length / (2 * np.pi * 25) <= 1.083


def test_the_areas_of_a_box_are_those_of_its_faces_less_its_blunt_edges():
    box = np.ones((3, 4, 5), bool)
    areas = metrics.surface_distances(box, box, (1, 1, 1)).areas
    faces = 2 * (2 * 3 + 2 * 4 + 3 * 4)
    edges = 4 * (2 + 3 + 4) * math.sqrt(0.5)
    corners = 8 * math.sqrt(3) / 8
    assert areas.sum() == pytest.approx(faces + edges + corners)


@pytest.mark.parametrize("name", SURFACES)
def test_surface_metrics_are_those_of_deepminds_surface_distance(name):
    prediction, target = REFERENCES[f"{name}/masks"]
    found = metrics.surface_distances(prediction, target, REFERENCES[f"{name}/spacing"])
    ours = [found.hausdorff(percent=percent) for percent in (100, 95, 50)]
    ours.append(found.dice(1.0))
    area, target_area = found.areas.sum(), found.target_areas.sum()
    ours.append(found.to_prediction @ found.target_areas / target_area)
    ours.append(found.to_target @ found.areas / area)
    np.testing.assert_allclose(
        [*ours, target_area, area], REFERENCES[f"{name}/expected"], rtol=1e-9, atol=1e-9
    )
    both = (ours[4] * target_area + ours[5] * area) / (target_area + area)
    assert found.mean() == pytest.approx(both)


@given(solids)
def test_distances_are_those_of_a_distance_transform(masks):
    prediction, target = masks
    found = metrics.surface_distances(prediction, target, (0.7, 2.0, 1.3)[: prediction.ndim])
    if not target.any() or not prediction.any():
        return
    window = np.ones((2,) * target.ndim)
    outline = [
        ndimage.convolve(np.pad(mask, 1).astype(int), window, origin=-1, mode="constant") > 0
        for mask in masks
    ]
    inner = [
        ndimage.convolve(np.pad(mask, 1).astype(int), window, origin=-1, mode="constant")
        == window.size
        for mask in masks
    ]
    cut, target_cut = (some & ~all_ for some, all_ in zip(outline, inner, strict=True))
    spacing = (0.7, 2.0, 1.3)[: prediction.ndim]
    to_target = ndimage.distance_transform_edt(~target_cut, sampling=spacing)[cut]
    np.testing.assert_allclose(found.to_target, np.sort(to_target), atol=1e-9)


@given(solids)
def test_swapping_masks_swaps_the_directions(masks):
    spacing = (1.0, 2.0, 0.5)[: masks[0].ndim]
    one, other = (metrics.surface_distances(*pair, spacing) for pair in (masks, masks[::-1]))
    assert one.hausdorff() == other.hausdorff()
    np.testing.assert_allclose(one.mean(), other.mean())
    np.testing.assert_array_equal(one.to_target, other.to_prediction)


@pytest.mark.parametrize(
    ("shapes", "spacing"),
    [(((2, 3), (3, 2)), (1, 1)), (((4,), (4,)), (1,)), (((2, 3), (2, 3)), (1, 1, 1))],
)
def test_surfaces_that_cannot_be_compared_are_refused(shapes, spacing):
    with pytest.raises(ShapeError, match="a spacing for each axis"):
        metrics.surface_distances(*(np.zeros(shape) for shape in shapes), spacing)


def test_lesions_of_empty_masks():
    empty, one = np.zeros((4, 4)), np.eye(4)
    assert metrics.lesions(empty, empty).f1 == 1
    assert metrics.lesions(one, empty) == (0, 0, 0, 1)
    assert metrics.lesions(empty, one).f1 == 0
    assert math.isnan(metrics.lesions(empty, one).precision)
    assert math.isnan(metrics.lesions(one, empty).sensitivity)


def test_lesions_are_counted_one_by_one():
    target = np.array([[1, 1, 1, 1, 0, 0, 1, 0, 1, 1, 0, 0]])
    found_ = np.array([[1, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1]])
    found = metrics.lesions(found_, target)
    assert found == (3, 0, 2, 1)  # the second prediction joins two lesions
    assert found.f1 == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert metrics.lesions(found_, target, min_overlap=0.5) == (2, 1, 2, 1)
    assert metrics.lesions(found_, target, min_voxels=2) == (2, 0, 1, 0)


def test_lesions_touch_across_corners():
    assert metrics.lesions(np.eye(5), np.eye(5)) == (1, 0, 1, 0)


@given(pairs)
def test_a_mask_finds_all_its_own_lesions(masks):
    found = metrics.lesions(masks[0], masks[0])
    assert found.missed == found.false == 0
    assert found.f1 == 1


def test_calibration_of_nothing_is_undefined():
    none = np.zeros(0)
    assert math.isnan(metrics.brier(none, none))
    assert math.isnan(metrics.calibration_error(none, none))
    assert np.isnan(metrics.reliability(none, none).confidence).all()


def test_calibration_by_hand():
    probabilities = np.array([0.0, 0.1, 0.1, 0.9, 0.95, 1.0])
    target = np.array([0, 0, 1, 1, 1, 0])
    table = metrics.reliability(probabilities, target, bins=2)
    assert table.voxels.tolist() == [3, 3]
    np.testing.assert_allclose(table.confidence, [0.2 / 3, 2.85 / 3])
    np.testing.assert_allclose(table.frequency, [1 / 3, 2 / 3])
    expected = (abs(0.2 - 1) + abs(2.85 - 2)) / 6
    assert metrics.calibration_error(probabilities, target, bins=2) == pytest.approx(expected)
    assert metrics.brier(probabilities, target) == pytest.approx(
        np.mean((probabilities - target) ** 2)
    )


@given(st.integers(0, 2**31), st.integers(1, 12))
def test_true_probabilities_are_calibrated(seed, bins):
    generator = np.random.default_rng(seed)
    probabilities = generator.integers(0, 9, 200) / 8
    target = np.repeat([0, 1], 100)
    table = metrics.reliability(probabilities, target, bins=bins)
    assert table.voxels.sum() == 200
    assert np.nansum(table.frequency * table.voxels) == pytest.approx(100)
    share = np.array([target[probabilities == p].mean() for p in probabilities])
    assert metrics.calibration_error(share, target, bins=400) < 1e-9


@pytest.mark.parametrize("name", MAPS)
def test_structure_metrics_are_those_of_pysodmetrics(name):
    grey, target = REFERENCES[f"{name}/grey"], REFERENCES[f"{name}/target"]
    probabilities = grey / 255
    assert metrics.s_measure(probabilities, target) == pytest.approx(REFERENCES[f"{name}/s"])
    error = metrics.mean_absolute_error(probabilities, target)
    assert error == pytest.approx(REFERENCES[f"{name}/mae"])
    # there thresholds fall and a pixel counts from them on; here they rise and it counts above them
    ours = metrics.threshold_curves(probabilities, target).e_measure
    np.testing.assert_allclose(ours[:-1], REFERENCES[f"{name}/e"][254::-1], atol=1e-9)


@given(
    arrays.arrays(np.uint8, (5, 6)),
    arrays.arrays(bool, (5, 6)),
    st.integers(0, 255),
)
def test_curves_are_the_ratios_of_every_cut(grey, target, threshold):
    curves = metrics.threshold_curves(grey / 255, target)
    expected = metrics.overlap(grey >= threshold, target)
    if (target & (grey >= threshold)).any():
        assert curves.dice[threshold] == pytest.approx(expected["dice"])
        assert curves.sensitivity[threshold] == pytest.approx(expected["sensitivity"])
        if not target.all():
            assert curves.specificity[threshold] == pytest.approx(expected["specificity"])
    else:
        assert curves.dice[threshold] == curves.specificity[threshold] == 0


def test_a_map_is_stretched_unless_it_is_constant():
    assert metrics.stretched(np.array([0.25, 0.5])).tolist() == [0, 1]
    assert metrics.stretched(np.full(3, 0.3)).tolist() == [0.3] * 3


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [(np.full((2, 2), 1.5), r"in \[0, 1\], found 1.5"), (np.zeros(3), "one shape")],
)
@pytest.mark.parametrize(
    "metric",
    [metrics.brier, metrics.s_measure, metrics.threshold_curves, metrics.mean_absolute_error],
)
def test_logits_and_other_shapes_are_refused(metric, probabilities, message):
    with pytest.raises(ShapeError, match=message):
        metric(probabilities, np.zeros((2, 2)))


def test_scores_hold_all_there_is_of_a_case():
    prediction, target = np.zeros((2, 6, 20, 20), bool)
    prediction[1:5, 4:12, 4:12] = target[1:5, 5:13, 4:12] = True
    found = metrics.scores(prediction, target, (5.0, 1.0, 1.0), tolerance_mm=2.0)
    assert found["dice"] == metrics.dice(prediction, target)
    assert found["hausdorff_mm"] == 1.0
    assert found["surface_dice"] == 1.0
    assert found["lesion_f1"] == 1.0
    assert found["volume_ml"] == found["target_ml"] == pytest.approx(4 * 64 * 5 / 1000)


def test_scores_of_one_slice_compare_outlines():
    prediction, target = np.zeros((2, 1, 20, 20), bool)
    prediction[:, 4:12, 4:12] = target[:, 5:13, 4:12] = True
    found = metrics.scores(prediction, target, (10.0, 1.0, 1.0))
    flat = metrics.scores(prediction[0], target[0], (1.0, 1.0))
    assert found["assd_mm"] == flat["assd_mm"]
    assert "volume_ml" not in flat
    assert found["volume_ml"] == pytest.approx(0.64)


def test_large_counts_from_numpy_do_not_overflow():
    found = Counts(1_000_000, 50_000, 60_000, 30_000_000)
    summed = Counts(*np.sum([found, found], axis=0))
    assert metrics.overlap(summed)["mcc"] == pytest.approx(metrics.overlap(found)["mcc"])


def test_a_volume_is_told_from_its_array():
    mask = np.ones((2, 4, 4), bool)
    with pytest.raises(ShapeError, match=r"found a Volume: give its \.array == 1"):
        metrics.dice(Volume(mask), mask)
