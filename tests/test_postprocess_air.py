import numpy as np
import pytest
from hypothesis import given
from scipy import ndimage
from shapes import at, bases, masks, spacings

from lungmask_jax import postprocess

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
