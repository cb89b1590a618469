import numpy as np
import pytest

from lungmask_jax import viz
from lungmask_jax.cli._progress import summary
from lungmask_jax.inference import Segmentation
from lungmask_jax.quality import basic_checks
from lungmask_jax.quantify import lobe_score, measures
from lungmask_jax.volume import Volume

AFFINE = np.diag([10.0, 10.0, 10.0, 1.0])
NAMES = ("left_upper", "left_lower", "right_upper", "right_middle", "right_lower")


def row(*values):
    """A volume of one row of voxels of 1 ml."""
    return Volume(np.array([[values]], np.int16).astype(np.uint8), AFFINE)


def chest():
    """Four voxels of each lobe, of which 0, 1, 2, 3 and 4 are infected."""
    lobes = row(*np.repeat([1, 2, 3, 4, 5], 4))
    infection = row(*(place % 4 < place // 4 for place in range(20)))
    hu = np.where(infection.array == 1, -300, np.where(np.arange(20) % 4 == 3, -960, -860))
    lungs = row(*np.repeat([2, 2, 1, 1, 1], 4))
    masks = {"lungs": lungs, "lobes": lobes, "infection": infection}
    return Volume(hu.astype(np.int16), AFFINE), masks


@pytest.mark.parametrize(
    ("percent", "score"),
    [(0, 0), (0.5, 0), (0.6, 1), (5, 1), (5.1, 2), (25, 2), (26, 3), (50, 3), (75, 4), (76, 5)],
)
def test_a_lobe_scores_by_its_involved_share(percent, score):
    assert lobe_score(percent) == score


def test_lobes_have_volume_infection_density_and_score():
    ct, masks = chest()
    found = measures(masks, ct=ct)
    assert [found[f"{name}_lobe_ml"] for name in NAMES] == pytest.approx([4.0] * 5)
    assert found["lobes_ml"] == pytest.approx(20)
    infected = [found[f"{name}_lobe_infection_ml"] for name in NAMES]
    assert infected == pytest.approx([0, 1, 2, 3, 4])
    assert [found[f"{name}_lobe_infection_percent"] for name in NAMES] == [0, 25, 50, 75, 100]
    assert [found[f"{name}_lobe_score"] for name in NAMES] == [0, 2, 3, 4, 5]
    assert found["ct_severity_score"] == 14
    assert found["left_upper_lobe_mean_hu"] == pytest.approx(-885)
    assert found["left_upper_lobe_below_minus_950_hu_percent"] == 25
    assert found["right_lower_lobe_below_minus_950_hu_percent"] == 0


def test_a_lobe_that_is_not_there_has_no_share_and_no_score():
    ct, masks = chest()
    masks["lobes"] = masks["lobes"].with_array(masks["lobes"].array % 5)
    found = measures(masks, ct=ct)
    assert found["right_lower_lobe_ml"] == found["right_lower_lobe_infection_ml"] == 0
    for key in ("infection_percent", "score", "mean_hu", "below_minus_950_hu_percent"):
        assert np.isnan(found[f"right_lower_lobe_{key}"])
    assert np.isnan(found["ct_severity_score"])


def test_without_infection_or_scan_there_is_only_what_lobes_have_alone():
    ct, masks = chest()
    found = measures({"lobes": masks["lobes"]})
    assert list(found) == [*(f"{name}_lobe_ml" for name in NAMES), "lobes_ml"]
    assert "ct_severity_score" not in measures({"lobes": masks["lobes"]}, ct=ct)


def test_shares_and_scores_need_no_size_of_voxels():
    _, masks = chest()
    found = measures({name: Volume(mask.array) for name, mask in masks.items()})
    assert np.isnan(found["left_lower_lobe_infection_ml"])
    assert found["left_lower_lobe_infection_percent"] == 25
    assert found["ct_severity_score"] == 14


def test_the_score_is_in_the_row_the_line_and_the_picture():
    ct, masks = chest()
    ct, *several = (
        Volume(np.repeat(one.array, 2, axis=0), one.affine) for one in (ct, *masks.values())
    )
    masks = dict(zip(masks, several, strict=True))
    result = Segmentation(ct, masks, {})
    line = summary(result.row("a"))
    assert "lobes 40 ml" in line
    assert "CT severity score 14 of 25" in line
    without = Segmentation(ct, {**masks, "lobes": masks["lobes"].with_array(0 * ct.array)}, {})
    assert "score" not in summary(without.row("a"))
    assert result.row("a")["left_lower_lobe_score"] == 2
    assert not np.array_equal(result.overlay(), viz.montage(ct, masks))


def test_pictures_show_lobes_in_place_of_lungs():
    ct, masks = chest()
    wide = {name: Volume(np.repeat(mask.array, 8, 1)) for name, mask in masks.items()}
    ct = Volume(np.repeat(ct.array, 8, 1))
    both = viz.overlay(ct, {"lungs": wide["lungs"], "lobes": wide["lobes"]}, index=0)
    np.testing.assert_array_equal(both, viz.overlay(ct, {"lobes": wide["lobes"]}, index=0))
    empty = wide["lobes"].with_array(np.zeros_like(wide["lobes"].array))
    lungs = viz.overlay(ct, {"lungs": wide["lungs"]}, index=0)
    np.testing.assert_array_equal(
        lungs, viz.overlay(ct, {"lungs": wide["lungs"], "lobes": empty}, index=0)
    )


def test_a_lobe_that_is_missing_in_a_volume_is_noted():
    ct = Volume(np.zeros((2, 4, 5), np.int16), AFFINE)
    lobes = ct.with_array(np.broadcast_to([1, 2, 3, 4, 4], (2, 4, 5)).astype(np.uint8))
    said = "no right lower lobe found: look at the picture"
    assert said in [one.note for one in basic_checks(ct, {"lobes": lobes}, 0.0)]
    slice_ct, slice_lobes = Volume(ct.array[:1], AFFINE), Volume(lobes.array[:1], AFFINE)
    assert said not in [one.note for one in basic_checks(slice_ct, {"lobes": slice_lobes}, 0.0)]
