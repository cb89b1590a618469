import functools

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax import preprocess
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.preprocess import Box
from lungmask_jax.spec import PRESETS, PreprocessSpec
from lungmask_jax.volume import Volume


def body(rows=slice(30, 100), columns=slice(20, 110), shape=(4, 128, 128)):
    ct = np.full(shape, -1000, np.int16)
    ct[:, rows, columns] = 40
    return Volume(ct)


def test_no_body_gives_the_whole_slice():
    ct = Volume(np.full((2, 40, 60), -1000, np.int16))
    assert preprocess.body_box(ct) == Box(0, 40, 0, 60)


def test_body_box_is_tight():
    assert preprocess.body_box(body()) == Box(30, 100, 20, 110)


def test_body_box_leaves_the_table_out():
    ct = body()
    ct.array[:, 110:112, :] = 200
    assert preprocess.body_box(ct) == Box(30, 100, 20, 110)


def test_body_box_holds_lungs_behind_a_chest_wall_as_thin_as_a_tube():
    """As the front of a large chest, at the mediastinum."""
    ct = np.full((1, 128, 128), -1000, np.int16)
    ct[0, 30:100, 20:110] = 40
    ct[0, 32:90, 24:60] = ct[0, 32:90, 66:106] = ct[0, 32:45, 24:106] = -900
    ct[0, 108:112, 10:120], ct[0, 109:111, 12:118] = 40, -1000  # a hollow table
    box = preprocess.body_box(Volume(ct))
    assert box.top in (30, 31)
    assert box.bottom == 100


def test_body_box_covers_all_slices():
    ct = body()
    ct.array[3, 10:60, 40:60] = 40
    assert preprocess.body_box(ct).top == 10


def test_margin_is_in_millimetres_and_ends_at_the_border():
    ct = body()
    fine = Volume(ct.array, np.diag([1.0, 0.5, 2.0, 1.0]))
    assert preprocess.body_box(fine, margin_mm=10) == Box(10, 120, 15, 115)
    assert preprocess.body_box(fine, margin_mm=1000) == Box(0, 128, 0, 128)


def test_a_large_matrix_is_looked_at_coarsely_and_nothing_is_cut_off():
    box = preprocess.body_box(body(slice(101, 399), slice(57, 471), (2, 512, 512)))
    assert box.top <= 101
    assert box.bottom >= 399
    assert box.left <= 57
    assert box.right >= 471
    assert 101 - box.top < 8
    assert box.bottom - 399 < 8


def test_mask_box_of_an_empty_mask_is_the_whole_slice():
    assert preprocess.mask_box(Volume(np.zeros((2, 5, 7), np.uint8))) == Box(0, 5, 0, 7)


@given(st.tuples(*[st.integers(0, 15)] * 4))
def test_mask_box_is_the_smallest_that_holds_the_mask(corners):
    top, bottom = sorted(corners[:2])
    left, right = sorted(corners[2:])
    mask = np.zeros((3, 16, 16), np.uint8)
    mask[0, top, left] = mask[2, bottom, right] = 1
    assert preprocess.mask_box(Volume(mask)) == Box(top, bottom + 1, left, right + 1)


def test_the_lung_region_needs_lungs():
    with pytest.raises(SpecError, match="predict it first"):
        preprocess.region(body(), PreprocessSpec(region="lungs"))


def test_margins_below_zero_are_refused():
    with pytest.raises(ShapeError, match="margin"):
        preprocess.body_box(body(), margin_mm=-1)


def test_window_maps_its_edges_to_zero_and_one():
    grey = preprocess.windowed(jnp.array([-2000, -1000, -500, 0, 900]), (-1000, 0))
    np.testing.assert_allclose(grey, [0, 0, 0.5, 1, 1])


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from([(24, 40), (40, 24), (33, 33)]))
def test_enlarging_a_box_agrees_with_opencv(seed, size):
    image = np.random.default_rng(seed).random((30, 28)).astype(np.float32)
    box = (3, 23, 5, 25)
    ours = preprocess.resample(jnp.asarray(image[None]), jnp.array(box), size=size)[0]
    theirs = cv2.resize(image[3:23, 5:25], size[::-1], interpolation=cv2.INTER_LINEAR)
    # at the border of the box we interpolate with what lies beyond, OpenCV repeats the edge
    np.testing.assert_allclose(ours[2:-2, 2:-2], theirs[2:-2, 2:-2], atol=1e-5)


def test_shrinking_by_two_keeps_the_mean_and_averages_noise():
    noise = np.random.default_rng(0).normal(0.5, 0.1, (1, 64, 64)).astype(np.float32)
    small = preprocess.resample(jnp.asarray(noise), jnp.array([0, 64, 0, 64]), size=(32, 32))
    assert float(small.mean()) == pytest.approx(float(noise.mean()), abs=2e-3)
    assert float(small.std()) < 0.6 * float(noise.std())


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_restore_undoes_resample_on_smooth_images(data):
    top, left = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    height, width = data.draw(st.integers(20, 40)), data.draw(st.integers(20, 40))
    rows, columns = np.mgrid[:64, :64] / 64
    image = (0.3 + 0.4 * rows + 0.2 * columns).astype(np.float32)
    box = jnp.array([top, top + height, left, left + width])
    there = preprocess.resample(jnp.asarray(image[None]), box, size=(48, 48))
    back = np.asarray(preprocess.restore(there, box, size=(64, 64)))[0]
    inner = (slice(top + 2, top + height - 2), slice(left + 2, left + width - 2))
    np.testing.assert_allclose(back[inner], image[inner], atol=2e-3)
    outside = np.ones((64, 64), bool)
    outside[top : top + height, left : left + width] = False
    assert not back[outside].any()


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_gives_images_in_range(name):
    slices = np.random.default_rng(1).integers(-1024, 1500, (2, 80, 96), np.int16)
    images = preprocess.network_images(slices, jnp.array([5, 75, 10, 90]), spec=PRESETS[name])
    assert images.shape == (2, *PRESETS[name].size, 1)
    assert images.dtype == jnp.float32
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


BOX = np.array([1, 14, 2, 15])


HU = (-1024.0, 1500.0)
FUNCTIONS = [
    *(
        (functools.partial(preprocess.network_images, box=BOX, spec=PRESETS[n]), HU)
        for n in PRESETS
    ),
    (functools.partial(preprocess.windowed, window=(-1000, 200)), HU),
    (functools.partial(preprocess.resample, box=BOX, size=(8, 12)), HU),
    (functools.partial(preprocess.restore, box=BOX, size=(24, 20)), HU),
    (preprocess.median, (-1000.0, 1000.0)),
    (preprocess.denoise_bilateral, (0.0, 1.0)),
    (preprocess.clahe, (0.0, 255.0)),
]


@pytest.mark.parametrize(("function", "values"), FUNCTIONS)
def test_each_image_is_prepared_by_itself_and_has_a_gradient(function, values):
    low, high = values
    images = np.random.default_rng(0).random((3, 17, 24), np.float32)
    images[1], images[2] = 0.5, images[2] ** 3
    images = np.float32(low) + np.float32(high - low) * images
    kept, together = images.copy(), np.asarray(jax.jit(function)(images))
    alone = jax.jit(jax.vmap(lambda one: function(one[None])[0]))(images)
    apart = np.abs(alone - together) / np.abs(together).max()
    assert apart.max() < 1.01 / 255  # rounded to another of 256 levels, and that hardly ever
    assert apart.mean() < 1e-4
    slope = jax.jit(jax.grad(lambda images: function(images).sum()))(images)
    assert np.isfinite(together).all()
    assert np.isfinite(slope).all()
    function(images)
    np.testing.assert_array_equal(images, kept)


@pytest.mark.parametrize(("function", "values"), FUNCTIONS)
@pytest.mark.parametrize("sides", [(16, 16), (17, 24), (33, 32)])
def test_images_of_any_sides_are_prepared_in_float32(function, values, sides):
    found = jax.eval_shape(function, jax.ShapeDtypeStruct((3, *sides), np.float32))
    assert found.dtype == np.float32
    assert found.shape[0] == 3
    assert len(found.shape) in (3, 4)


def test_minmax_stretches_every_slice_and_survives_a_constant_one():
    slices = np.stack([np.full((16, 16), -700), np.linspace(-800, -300, 256).reshape(16, 16)])
    spec = PreprocessSpec(normalize="minmax", region="full", size=(16, 16))
    images = preprocess.network_images(
        slices.astype(np.float32), jnp.array([0, 16, 0, 16]), spec=spec
    )
    assert not np.asarray(images[0]).any()
    assert float(images[1].min()) == 0
    assert float(images[1].max()) == 1


def test_clahe_of_the_pipeline_is_that_of_opencv_within_one_grey_level():
    slices = np.random.default_rng(2).integers(-1000, 200, (1, 64, 64)).astype(np.float32)
    spec = PreprocessSpec(size=(64, 64), clahe_clip_limit=3.0)
    box = jnp.array([0, 64, 0, 64])
    ours = preprocess.network_images(slices, box, spec=spec)[0, ..., 0] * 255
    plain = preprocess.network_images(slices, box, spec=PreprocessSpec(size=(64, 64)))
    grey = np.round(np.asarray(plain[0, ..., 0]) * 255).astype(np.uint8)
    theirs = cv2.createCLAHE(3.0, (8, 8)).apply(grey)
    assert np.abs(np.asarray(ours) - theirs).max() <= 1.001


def test_another_box_does_not_compile_again():
    before = preprocess.network_images._cache_size()
    slices = np.zeros((1, 50, 50), np.float32)
    for top in range(4):
        box = jnp.array([top, 40, 0, 50])
        preprocess.network_images(slices, box, spec=PreprocessSpec(size=(32, 32)))
    assert preprocess.network_images._cache_size() == before + 1


def test_slices_need_three_axes():
    with pytest.raises(ShapeError, match=r"\(N, H, W\)"):
        preprocess.network_images(jnp.zeros((8, 8)), jnp.array([0, 8, 0, 8]), spec=PreprocessSpec())


def test_preprocessing_is_differentiable_to_the_image():
    def total(images):
        return preprocess.resample(images, jnp.array([0, 8, 0, 8]), size=(4, 4)).sum()

    gradient = jax.grad(total)(jnp.ones((1, 8, 8)))
    np.testing.assert_allclose(gradient.sum(), 16, rtol=1e-5)


def test_as_many_slices_are_averaged_as_are_thin_enough():
    def count(slices, mm, thickness_mm=2.5):
        volume = Volume(np.zeros((slices, 1, 1)), np.diag([mm, 0.7, 0.7, 1.0]))
        return preprocess.thickness(volume, PreprocessSpec(thickness_mm=thickness_mm))

    assert [count(400, mm) for mm in (0.1, 0.5, 0.625, 0.9, 1.25, 1.3, 5)] == [4, 4, 4, 2, 2, 1, 1]
    assert [count(slices, 0.625) for slices in (1, 191, 192, 288, 2000)] == [1, 1, 2, 3, 4]
    assert count(400, 0.625, 0.0) == 1
    unknown = Volume(np.zeros((400, 1, 1)))
    assert preprocess.thickness(unknown, PreprocessSpec(thickness_mm=5.0)) == 1


def test_thin_slices_are_averaged_and_vote():
    slices = np.random.default_rng(0).integers(-1000, 1000, (7, 4, 5)).astype(np.int16)
    thick = preprocess.averaged(slices, 3)
    np.testing.assert_array_equal(
        thick[:2], np.rint(slices[:6].reshape(2, 3, 4, 5).mean(axis=1)).astype(np.int16)
    )
    np.testing.assert_array_equal(thick[2], slices[6])
    exact = preprocess.averaged(slices.astype(np.float32), 2)
    np.testing.assert_allclose(exact[0], slices[:2].mean(axis=0))
    labels = np.array([0, 1, 2, 2, 1, 0, 0, 3], np.uint8)[:, None, None]
    assert preprocess.majority(labels, 4).ravel().tolist() == [2, 1]
    assert preprocess.majority(labels > 0, 4).dtype == bool
    assert preprocess.averaged(slices, 1) is slices
    assert preprocess.majority(labels, 1) is labels
