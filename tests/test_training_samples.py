"""Scans as samples to learn from."""

import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import preprocess
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models import unet, unet_3d
from lungmask_jax.spec import PreprocessSpec, TrainSpec
from lungmask_jax.training import Samples, train
from lungmask_jax.volume import Volume


@pytest.mark.parametrize(
    ("images", "masks"),
    [((2, 8, 8), (2, 8, 8)), ((2, 8, 8, 1), (2, 4, 8, 1)), ((2, 8, 8, 1), (3, 8, 8))],
)
def test_samples_of_other_shapes_are_refused(images, masks):
    with pytest.raises(ShapeError, match=r"images \(M, H, W, C\) and masks \(M, H, W\)"):
        Samples.of(np.zeros(images), np.zeros(masks))


@pytest.mark.parametrize("value", [255, 1.5, -1, np.nan])
def test_masks_other_than_labels_are_refused(value):
    with pytest.raises(ShapeError, match=f"labels from 0 to 9, found values .*{value}"):
        Samples.of(np.zeros((1, 8, 8, 1)), np.full((1, 8, 8), value))
    with pytest.raises(ShapeError, match=f"shares from 0 to 1, found values .*{value}"):
        Samples.of(np.zeros((1, 8, 8, 1)), np.full((1, 8, 8, 1), value))


def test_labels_join_shares_as_shares():
    images = np.zeros((1, 4, 4, 1))
    labels = Samples.of(images, np.full((1, 4, 4), 2))
    shares = Samples.of(images, np.full((1, 4, 4, 2), 0.25))
    joined = Samples.joined([labels, shares])
    np.testing.assert_array_equal(joined.masks[:, 0, 0], [[0, 1], [0.25, 0.25]])
    one = Samples.joined([labels, Samples.of(images, np.full((1, 4, 4, 1), 0.5))])
    np.testing.assert_array_equal(one.masks[:, 0, 0, 0], [1, 0.5])
    assert Samples.joined([labels, labels]).masks.dtype == np.uint8
    with pytest.raises(ShapeError, match="samples to join, found none"):
        Samples.joined([])


def scan(slices=5, rows=40, columns=36):
    noise = np.random.default_rng(0).integers(-1000, 300, (slices, rows, columns))
    mask = np.zeros(noise.shape, np.uint8)
    mask[1:, 10:20, 5:30] = 2
    ct = Volume(noise.astype(np.int16)).as_checked()
    return ct, ct.with_array(mask)


def test_samples_of_a_scan_are_what_inference_would_see():
    ct, mask = scan()
    spec = PreprocessSpec(region="full", size=(24, 16))
    samples = Samples.of_scan(ct, mask, spec, weight=2.0)
    box = jnp.asarray(preprocess.region(ct, spec), jnp.float32)
    wide = np.pad(ct.array, [(0, 0), (0, 128 - 40), (0, 128 - 36)], mode="edge")
    expected = preprocess.network_images(wide, box, spec=spec)
    np.testing.assert_allclose(samples.images, expected, atol=1e-5)
    assert samples.masks.shape == (5, 24, 16)
    assert samples.weights.tolist() == [2.0] * 5


def test_thin_slices_are_learned_as_they_are_seen():
    ct, mask = scan(slices=192)
    ct = Volume.of(ct.array, spacing=(1.0, 0.7, 0.7)).as_checked()
    mask = ct.with_array(mask.array)
    mask.array[100] = 0
    spec = PreprocessSpec(region="full", size=(40, 36), thickness_mm=2.0)
    samples = Samples.of_scan(ct, mask, spec)
    thick = Volume(ct.array.reshape(96, 2, 40, 36).mean(axis=1)).as_checked()
    half = thick.with_array(mask.array.reshape(96, 2, 40, 36).max(axis=1))  # a half suffices
    plain = Samples.of_scan(thick, half, spec)
    np.testing.assert_allclose(samples.images, plain.images, atol=1e-3)
    np.testing.assert_array_equal(samples.masks, plain.masks)


def test_masks_of_a_scan_keep_their_place():
    ct, mask = scan()
    samples = Samples.of_scan(ct, mask, PreprocessSpec(region="full", size=(40, 36)))
    np.testing.assert_array_equal(samples.masks, mask.array > 0)


def test_with_lungs_only_their_slices_and_their_box_count():
    ct, mask = scan()
    lungs = ct.with_array(np.zeros(ct.shape, np.uint8))
    lungs.array[2:4, 10:20, 5:30] = 1
    spec = PreprocessSpec(region="lungs", size=(10, 25))
    samples = Samples.of_scan(ct, mask, spec, lungs=lungs)
    assert samples.masks.all()
    grey = np.clip((ct.array[2:4, 10:20, 5:30] + 1100.0) / 1350, 0, 1)
    np.testing.assert_allclose(samples.images[..., 0], grey, atol=1e-5)


def test_neighbors_come_as_channels():
    ct, mask = scan()
    spec = PreprocessSpec(region="full", size=(24, 16))
    single = Samples.of_scan(ct, mask, spec)
    three = Samples.of_scan(ct, mask, spec, model=unet(channels=(4, 8), in_channels=3))
    assert three.images.shape == (5, 24, 16, 3)
    np.testing.assert_array_equal(three.images[..., 1], single.images[..., 0])
    np.testing.assert_array_equal(three.images[1:, ..., 0], single.images[:-1, ..., 0])
    np.testing.assert_array_equal(three.images[:-1, ..., 2], single.images[1:, ..., 0])
    np.testing.assert_array_equal(three.images[-1, ..., 2], single.images[-1, ..., 0])
    np.testing.assert_array_equal(three.masks, single.masks)


def test_volumes_are_whole_slabs_and_cover_the_scan():
    ct, mask = scan()
    spec = PreprocessSpec(region="full", size=(24, 16))
    single = Samples.of_scan(ct, mask, spec)
    slabs = Samples.of_scan(ct, mask, spec, model=unet_3d(channels=(4, 8)))
    assert slabs.images.shape == (1, 16, 24, 16, 1)
    places = np.clip(np.arange(-4, 12), 0, 4)
    np.testing.assert_array_equal(slabs.images[0], single.images[places])
    np.testing.assert_array_equal(slabs.masks[0], single.masks[places])


def test_labels_stay_apart():
    ct, mask = scan()
    types = mask.with_array((mask.array > 0) * (1 + (np.arange(36) % 2)).astype(np.uint8))
    spec = PreprocessSpec(region="full", size=(40, 36))
    three = unet(channels=(4, 8), num_classes=3)
    np.testing.assert_array_equal(Samples.of_scan(ct, types, spec, model=three).masks, types.array)
    joined = Samples.of_scan(ct, types, spec)  # one class: any of them
    np.testing.assert_array_equal(joined.masks, types.array > 0)
    with pytest.raises(ShapeError, match="labels 0 to 2, found 3"):
        Samples.of_scan(ct, types.with_array(types.array + 1), spec, model=three)


@pytest.mark.parametrize(
    "model",
    [
        unet(channels=(4, 8), in_channels=3),
        unet(channels=(4, 8), num_classes=3),
        unet_3d(channels=(4, 8)),
    ],
)
def test_every_kind_of_network_learns_from_a_scan(model):
    _, mask = scan()
    hu = np.where(mask.array > 0, -100, -900)
    ct = mask.with_array(hu.astype(np.int16)).as_checked()
    samples = Samples.of_scan(ct, mask, PreprocessSpec(region="full", size=(24, 16)), model=model)
    loss = "bce_dice" if model.num_classes == 1 else "dice_cross_entropy"
    spec = TrainSpec(steps=20, learning_rate=0.02, loss=loss, steps_per_epoch=10, augment=0)
    records = [
        (epoch.loss, epoch.dice) for epoch in train(model, samples, spec, validation=samples)
    ]
    assert records[-1][0] < records[0][0]
    assert 0 <= records[-1][1] <= 1


def test_a_scan_without_lungs_gives_no_samples():
    ct, mask = scan()
    spec = PreprocessSpec(region="lungs", size=(10, 25))
    samples = Samples.of_scan(ct, mask, spec, lungs=ct.with_array(np.zeros(ct.shape, np.uint8)))
    assert samples.images.shape == (0, 10, 25, 1)


def test_the_region_of_the_lungs_needs_lungs():
    with pytest.raises(SpecError, match="predict it first"):
        Samples.of_scan(*scan(), PreprocessSpec(region="lungs"))


def test_masks_of_another_scan_are_refused():
    ct, _ = scan()
    _, other = scan(rows=44)
    with pytest.raises(ShapeError, match=r"\(5, 40, 36\), found \(5, 44, 36\)"):
        Samples.of_scan(ct, other, PreprocessSpec(region="full"))
