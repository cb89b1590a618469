import dataclasses
import errno
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lungmask_jax import preprocess
from lungmask_jax.errors import ShapeError, SpecError, UnknownNameError, WeightsError
from lungmask_jax.models import Model, unet, unet_3d
from lungmask_jax.spec import PreprocessSpec, TrainSpec
from lungmask_jax.training import (
    Samples,
    create_state,
    load_checkpoint,
    make_train_step,
    optimizer,
    save_checkpoint,
    schedule,
    taught,
    train,
)
from lungmask_jax.training._augmented import augmented, built_in
from lungmask_jax.volume import Volume

SIDE = 16


def pixelwise(scale=None, shift=0.0, noise=0.0, traced=None):
    """Logits ``w x + b``, noisy in training; random unless the start is given.

    Each trace for training is noted.
    """

    def init(key):
        start = jax.random.normal(key) if scale is None else jnp.float32(scale)
        return {"w": start, "b": jnp.float32(shift)}, {}

    def apply(params, state, images, *, train=False, key=None):
        logits = images * params["w"] + params["b"]
        if train and traced is not None:
            traced.append(images.shape)
        if train and noise:
            logits += noise * jax.random.normal(key, logits.shape)
        return logits, state

    return Model(init=init, apply=apply)


def drawn(count=4):
    """Noisy squares on noise, and their masks."""
    generator = np.random.default_rng(0)
    images = generator.random((count, SIDE, SIDE, 1), np.float32) / 3
    masks = np.zeros((count, SIDE, SIDE), np.uint8)
    for number in range(count):
        masks[number, 2 + number : 9 + number, 4:11] = 1
    return Samples.of(images + 0.5 * masks[..., None], masks)


def flat(state):
    """All numbers of a training state."""
    return [np.array(leaf) for leaf in jax.tree.leaves(state)]


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(flat(one), flat(other), strict=True))


def last(epochs):
    *_, epoch = epochs
    return epoch


RANDOM = TrainSpec(steps=4, steps_per_epoch=2, batch_size=2, augment=0)
NOISY = pixelwise(noise=1.0)


@pytest.fixture(scope="module")
def run():
    """States of one uninterrupted run, copied to the host."""
    return [jax.device_get(epoch.train_state) for epoch in train(NOISY, drawn(), RANDOM)]


def test_two_images_are_learnt_by_heart():
    two = drawn(2)
    spec = TrainSpec(
        steps=90, steps_per_epoch=30, batch_size=2, learning_rate=0.02, augment=0, ema_decay=0.9
    )
    epochs = list(train(unet(channels=(4,), stem=1), two, spec, validation=two))
    assert [epoch.step for epoch in epochs] == [30, 60, 90]
    assert epochs[-1].loss < 0.3 * epochs[0].loss
    assert epochs[-1].dice > 0.95
    assert epochs[-1].seconds > 0


def test_one_seed_gives_the_same_numbers_bit_for_bit(run):
    again = last(train(NOISY, drawn(), RANDOM)).train_state
    assert equal(again, run[-1])


def test_another_seed_gives_other_numbers(run):
    spec = TrainSpec(**{**vars(RANDOM), "seed": 1})
    other = last(train(NOISY, drawn(), spec)).train_state
    assert float(other.params["w"]) != float(run[-1].params["w"])


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(run):
    assert int(run[0].step) == 2
    (epoch,) = train(NOISY, drawn(), RANDOM, start=run[0])
    assert epoch.step == 4
    assert equal(epoch.train_state, run[1])


def test_a_finished_run_has_nothing_left_to_do(run):
    assert list(train(NOISY, drawn(), RANDOM, start=run[-1])) == []


def test_the_step_is_compiled_once():
    traced = []
    model = pixelwise(traced=traced)
    spec = TrainSpec(steps=5, steps_per_epoch=2, batch_size=2, augment=0)
    assert [epoch.step for epoch in train(model, drawn(), spec, validation=drawn(3))] == [2, 4, 5]
    assert traced == [(2, SIDE, SIDE, 1)]


def test_what_is_kept_is_the_running_mean():
    spec = TrainSpec(steps=12, steps_per_epoch=1, batch_size=2, augment=0, ema_decay=0.5, warmup=0)
    mean = float(create_state(pixelwise(), spec).params["w"])
    for epoch in train(pixelwise(), drawn(), spec):
        decay = min(0.5, epoch.step / (epoch.step + 10))
        mean = decay * mean + (1 - decay) * float(epoch.train_state.params["w"])
        assert float(epoch.train_state.ema["w"]) == pytest.approx(mean, rel=1e-5)


def test_loss_is_the_mean_since_the_last_record():
    spec = {"steps": 4, "batch_size": 2, "augment": 0}
    each = [e.loss for e in train(pixelwise(), drawn(), TrainSpec(steps_per_epoch=1, **spec))]
    pairs = [e.loss for e in train(pixelwise(), drawn(), TrainSpec(steps_per_epoch=2, **spec))]
    np.testing.assert_allclose(pairs, [(each[0] + each[1]) / 2, (each[2] + each[3]) / 2], rtol=1e-5)


STILL = TrainSpec(steps=1, batch_size=2, learning_rate=1e-9, augment=0, loss="bce")


def test_every_step_draws_its_own_augmentation():
    spec = TrainSpec(steps=3, steps_per_epoch=1, batch_size=2, learning_rate=1e-9)
    losses = [epoch.loss for epoch in train(pixelwise(5), drawn(2), spec)]
    assert len(set(losses)) == 3


def test_without_validation_dice_is_undefined():
    model = pixelwise(100, -50)
    none = Samples.of(np.zeros((0, SIDE, SIDE, 1)), np.zeros((0, SIDE, SIDE)))
    for validation in (None, none):
        assert np.isnan(last(train(model, drawn(), STILL, validation=validation)).dice)


def test_dice_is_the_mean_over_validation_slices():
    images, masks = np.zeros((3, SIDE, SIDE, 1)), np.zeros((3, SIDE, SIDE))
    images[0, :2, :2], masks[0, :2, :2] = 1, 1  # found: 1
    images[1, 0, :2], masks[1, 0, 0] = 1, 1  # two found, one true: 2/3
    epoch = last(train(pixelwise(100, -50), drawn(), STILL, validation=Samples.of(images, masks)))
    assert epoch.dice == pytest.approx((1 + 2 / 3 + 1) / 3)  # nothing to find, nothing found: 1


@pytest.mark.parametrize("batch_size", [2, 8])
def test_samples_of_weight_zero_are_never_drawn(batch_size):
    bad = Samples.of(np.full((2, SIDE, SIDE, 1), np.nan), np.zeros((2, SIDE, SIDE)), weight=0)
    samples = Samples.joined([bad, drawn(3)])
    spec = TrainSpec(steps=30, batch_size=batch_size, augment=0)
    assert np.isfinite(last(train(pixelwise(), samples, spec)).loss)


def test_samples_are_drawn_in_proportion_to_their_weights():
    shape = (1, 4, 4, 1)
    dark = Samples.of(np.zeros(shape), np.zeros(shape[:3]), weight=1)
    bright = Samples.of(np.ones(shape), np.zeros(shape[:3]), weight=3)
    spec = TrainSpec(
        steps=400, steps_per_epoch=400, batch_size=1, learning_rate=1e-9, augment=0, loss="bce"
    )
    # a bright image costs 50, a dark one nothing
    epoch = last(train(pixelwise(100, -50), Samples.joined([dark, bright]), spec))
    assert epoch.loss / 50 == pytest.approx(0.75, abs=0.08)


def test_no_image_comes_twice_in_a_batch_if_there_are_enough():
    shape = (4, 4, 4, 1)
    images = np.broadcast_to(np.arange(4.0)[:, None, None, None], shape)
    spec = TrainSpec(
        steps=5, steps_per_epoch=1, batch_size=4, learning_rate=1e-9, augment=0, loss="bce"
    )
    losses = [
        epoch.loss for epoch in train(pixelwise(1), Samples.of(images, np.zeros(shape[:3])), spec)
    ]
    np.testing.assert_allclose(losses, np.log1p(np.exp([0, 1, 2, 3])).mean(), rtol=1e-5)


def rates(steps=(0, 10, 40, 70, 99, 100), **options):
    each = schedule(TrainSpec(steps=100, learning_rate=1.0, warmup=0.1, **options))
    return [float(each(step)) for step in steps]


def test_a_warm_up_rises_to_the_peak_and_a_cosine_falls_to_zero():
    expected = [0, 1, 0.5 * (1 + np.cos(np.pi / 3)), 0.25, 0.0003, 0]
    np.testing.assert_allclose(rates(), expected, atol=1e-4)


def test_a_cycle_starts_at_the_peak_again():
    np.testing.assert_allclose(
        rates((10, 40, 54, 55, 99), cycles=2), [1, 0.25, 0.0012, 1, 0.0012], atol=1e-3
    )


def test_poly_falls_by_its_power_and_a_constant_stays():
    np.testing.assert_allclose(rates((10, 55, 100), schedule="poly"), [1, 0.5**0.9, 0], atol=1e-6)
    np.testing.assert_allclose(rates((0, 5, 10, 99), schedule="constant"), [0, 0.5, 1, 1])


def test_schedules_are_those_of_optax():
    ours = schedule(TrainSpec(steps=50, learning_rate=0.1, warmup=0.2))
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.1, 10, 50)
    for step in range(51):
        assert float(ours(step)) == pytest.approx(float(theirs(step)), abs=1e-8)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_any_share_of_warm_up_is_possible(warmup, steps):
    optimizer(TrainSpec(steps=steps, warmup=warmup))


def test_an_unknown_loss_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'bce_dice'"):
        next(train(pixelwise(), drawn(), TrainSpec(loss="dice_bce_dice")))


def test_the_options_of_a_loss_are_used():
    spec = {"steps": 1, "batch_size": 2, "augment": 0, "loss": "weighted_bce"}
    plain, heavy = (
        last(train(pixelwise(0), drawn(), TrainSpec(**spec, loss_options={"positive_weight": w})))
        for w in (1.0, 3.0)
    )
    assert plain.loss == pytest.approx(np.log(2), rel=1e-5)
    assert plain.loss < heavy.loss < 3 * plain.loss
    with pytest.raises(SpecError, match="no option 'weight'"):
        next(train(pixelwise(), drawn(), TrainSpec(**spec, loss_options={"weight": 1})))


def test_samples_that_cannot_be_drawn_are_refused():
    none = Samples.of(np.zeros((2, SIDE, SIDE, 1)), np.zeros((2, SIDE, SIDE)), weight=0)
    for samples in (none, Samples(*(array[:0] for array in none))):
        with pytest.raises(ShapeError, match="weights above 0"):
            next(train(pixelwise(), samples, STILL))


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


def test_labels_that_a_network_lacks_were_background_to_it():
    images = np.zeros((2, SIDE, SIDE, 1))
    labels = Samples.of(images, np.full((2, SIDE, SIDE), 3))
    three = unet(channels=(4, 8), num_classes=3)
    with pytest.raises(ShapeError, match="labels 0 to 2, found 3 in the masks"):
        next(train(three, labels, dataclasses.replace(STILL, loss="cross_entropy")))
    assert np.isfinite(last(train(pixelwise(), labels, STILL)).loss)  # one class: any of them
    with pytest.raises(ShapeError, match="labels 0 to 2, found 3 in the masks"):
        Samples.joined([labels, Samples.of(images, np.full((2, SIDE, SIDE, 2), 0.5))])


def scan(slices=5, rows=40, columns=36):
    noise = np.random.default_rng(0).integers(-1000, 300, (slices, rows, columns))
    mask = np.zeros(noise.shape, np.uint8)
    mask[1:, 10:20, 5:30] = 2
    ct = Volume(noise.astype(np.int16))
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
    affine = np.diag([1.0, 0.7, 0.7, 1.0])
    ct, mask = Volume(ct.array, affine), Volume(mask.array, affine)
    mask.array[100] = 0
    spec = PreprocessSpec(region="full", size=(40, 36), thickness_mm=2.0)
    samples = Samples.of_scan(ct, mask, spec)
    thick = Volume(ct.array.reshape(96, 2, 40, 36).mean(axis=1))
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
    ct = mask.with_array(np.where(mask.array > 0, -100, -900).astype(np.int16))
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


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_parts_gives_the_step_of_the_whole(parts):
    plain = TrainSpec(steps=3, batch_size=4, augment=0)
    split = dataclasses.replace(plain, accumulate=parts)
    whole = last(train(pixelwise(), drawn(), plain))
    divided = last(train(pixelwise(), drawn(), split))
    assert divided.loss == pytest.approx(whole.loss, rel=1e-5)
    close(divided.train_state.params, whole.train_state.params)


def test_a_batch_that_cannot_be_divided_is_refused():
    with pytest.raises(SpecError, match="multiple of accumulate, found 4 and 3"):
        TrainSpec(batch_size=4, accumulate=3)
    step = make_train_step(pixelwise(), TrainSpec(batch_size=4, accumulate=2))
    start = create_state(pixelwise(), TrainSpec())
    with pytest.raises(ShapeError, match="2 equal parts, found 3 images"):
        step(start, *map(jnp.asarray, drawn(3)[:2]))


def test_batches_come_in_order_and_waiting_for_them_is_told():
    spec = TrainSpec(steps=7, steps_per_epoch=3, batch_size=2, augment=0)
    epochs = list(train(pixelwise(), drawn(), spec))
    assert [epoch.step for epoch in epochs] == [3, 6, 7]
    assert all(0 <= epoch.waited <= epoch.seconds for epoch in epochs)


def test_a_run_that_is_left_in_the_middle_ends_quietly():
    epochs = train(pixelwise(), drawn(), RANDOM)
    next(epochs)
    epochs.close()


def test_damaged_data_are_an_error_not_a_silent_end():
    samples = drawn()
    short = samples._replace(masks=samples.masks[:1])
    with pytest.raises(IndexError):
        last(train(pixelwise(), short, TrainSpec(steps=20, batch_size=2)))


def test_labels_of_several_classes_become_channels_that_add_up_to_one():
    masks = jnp.asarray(np.random.default_rng(0).integers(0, 3, (2, 16, 16)), jnp.uint8)
    images = jnp.zeros((2, 16, 16, 1))
    _, targets = augmented(jax.random.key(0), images, masks, 3, built_in(TrainSpec(augment=0)))
    np.testing.assert_array_equal(np.argmax(targets, -1), masks)
    _, moved = augmented(jax.random.key(0), images, masks, 3, built_in(TrainSpec()))
    np.testing.assert_allclose(moved.sum(-1), 1, atol=1e-5)
    assert moved.min() >= -1e-6


def test_slices_of_a_volume_and_channels_of_a_slice_move_alike():
    masks = jnp.asarray(np.random.default_rng(0).integers(0, 2, (2, 16, 16)), jnp.uint8)
    images = masks.astype(jnp.float32)[..., None]
    spec = built_in(TrainSpec(augment=1.0))
    volume, moved = augmented(
        jax.random.key(0), jnp.stack([images] * 3, 1), jnp.stack([masks] * 3, 1), 1, spec
    )
    assert volume.shape == moved.shape == (2, 3, 16, 16, 1)
    np.testing.assert_array_equal(moved[:, 0], moved[:, 2])
    channels, _ = augmented(jax.random.key(0), jnp.concatenate([images] * 3, -1), masks, 1, spec)
    assert channels.shape == (2, 16, 16, 3)


def close(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_a_checkpoint_gives_back_the_state_bit_for_bit(tmp_path, run):
    save_checkpoint(tmp_path / "run.npz", run[0], RANDOM)
    restored = load_checkpoint(tmp_path / "run.npz", NOISY, RANDOM)
    assert equal(restored, run[0])
    assert equal(last(train(NOISY, drawn(), RANDOM, start=restored)).train_state, run[1])


def test_a_checkpoint_of_other_settings_is_refused_by_name(tmp_path, run):
    save_checkpoint(tmp_path / "run.npz", run[0], RANDOM)
    other = dataclasses.replace(RANDOM, learning_rate=0.5, seed=3)
    with pytest.raises(SpecError, match=r"learning_rate was 0.002, is 0.5, seed was 0, is 3"):
        load_checkpoint(tmp_path / "run.npz", NOISY, other)


def test_a_checkpoint_of_another_network_is_refused(tmp_path, run):
    save_checkpoint(tmp_path / "run.npz", run[0], RANDOM)
    with pytest.raises(WeightsError, match="does not fit"):
        load_checkpoint(tmp_path / "run.npz", unet(channels=(4, 8)), RANDOM)


@pytest.mark.parametrize("keep", [0, 10, 700])
def test_a_damaged_checkpoint_is_refused(tmp_path, run, keep):
    path = tmp_path / "run.npz"
    save_checkpoint(path, run[0], RANDOM)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"a training checkpoint, .* is damaged"):
        load_checkpoint(path, NOISY, RANDOM)


def test_a_full_disk_leaves_the_last_checkpoint_as_it_was(tmp_path, run, monkeypatch):
    path = tmp_path / "run.npz"
    save_checkpoint(path, run[0], RANDOM)

    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, run[1], RANDOM)
    monkeypatch.undo()
    assert equal(load_checkpoint(path, NOISY, RANDOM), run[0])
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]


ONE_OF_EIGHT = """
import sys
import numpy as np
import jax
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, make_mesh, make_train_step, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=3, batch_size=8, accumulate=int(sys.argv[1]), steps_per_epoch=1)
model = unet(channels=(4, 8))
for count in (1, 8 // spec.accumulate):
    mesh = make_mesh(count=count)
    for epoch in train(model, samples, spec, mesh=mesh):
        sums = [float(abs(leaf).sum()) for leaf in jax.tree.leaves(epoch.train_state.ema)]
        print(count, epoch.step, epoch.loss, *sums)
    print("compiled", make_train_step(model, spec, mesh=mesh)._cache_size())
"""


STOPPED_AND_RESUMED = """
import sys
from pathlib import Path
import numpy as np
import jax
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, load_checkpoint, save_checkpoint, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=40, batch_size=4, steps_per_epoch=1)
model, path = unet(channels=(4, 8), dropout=0.2), Path(sys.argv[1])
start = load_checkpoint(path, model, spec) if path.exists() else None
for epoch in train(model, samples, spec, start=start):
    save_checkpoint(path, epoch.train_state, spec)
    print(epoch.step, flush=True)
"""


def test_a_run_killed_at_any_moment_ends_where_the_uninterrupted_one_ends(tmp_path):
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    uninterrupted = in_a_process(STOPPED_AND_RESUMED, whole)
    killed = in_a_process(STOPPED_AND_RESUMED, broken)
    for _ in range(int(np.random.default_rng().integers(1, 20))):
        killed.stdout.readline()
    killed.kill()
    killed.communicate()
    lines_of(uninterrupted)
    first, *_ = lines_of(in_a_process(STOPPED_AND_RESUMED, broken))[0]
    assert 1 < int(first) <= 40
    with np.load(whole) as one, np.load(broken) as other:
        assert sorted(one.files) == sorted(other.files)
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


ONE_OF_TWO_PROCESSES = """
import sys
import numpy as np
import jax

address, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if count > 1:
    jax.distributed.initialize(address, count, number)
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, make_mesh, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=3, batch_size=4, steps_per_epoch=1)
mesh = make_mesh()
assert mesh.size == count
for epoch in train(unet(channels=(4, 8)), samples, spec, validation=samples, mesh=mesh):
    sums = [float(abs(leaf).sum()) for leaf in jax.tree.leaves(epoch.train_state.ema)]
    print(epoch.step, epoch.loss, epoch.dice, *sums)
"""


def test_two_processes_train_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [in_a_process(ONE_OF_TWO_PROCESSES, address, 2, number) for number in (0, 1)]
    alone = in_a_process(ONE_OF_TWO_PROCESSES, address, 1, 0)
    one, two, expected = (np.array(lines_of(process), float) for process in (*pair, alone))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, expected, rtol=1e-4)
    assert one.shape[0] == 3


def in_a_process(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    ours = [line for line in out.splitlines() if not line.startswith("[")]  # [Gloo] ...
    return [line.split() for line in ours]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_eight_devices_train_as_one(accumulate):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    lines = lines_of(in_a_process(ONE_OF_EIGHT, accumulate, XLA_FLAGS=flags))
    numbers = [[float(x) for x in line[1:]] for line in lines if line[0] != "compiled"]
    assert [n[0] for n in numbers] == [1, 2, 3, 1, 2, 3]
    np.testing.assert_allclose(numbers[:3], numbers[3:], rtol=1e-4)
    assert [line[1] for line in lines if line[0] == "compiled"] == ["1", "1"]


def test_a_teacher_labels_each_slice_by_the_mean_over_its_mirror_images():
    images = drawn(5).images
    samples = taught(images, pixelwise(), {"w": jnp.float32(4), "b": jnp.float32(-2)}, {})
    assert samples.masks.dtype == np.float16
    # this network looks at one pixel at a time: mirroring changes nothing
    np.testing.assert_allclose(samples.masks, 1 / (1 + np.exp(2 - 4 * images)), atol=1e-3)

    def position(params, state, images, *, train=False, key=None):
        ramp = jnp.linspace(-3, 3, SIDE)[:, None] + jnp.linspace(-2, 5, SIDE)[None]
        return jnp.broadcast_to(ramp[None, :, :, None], images.shape), state

    lopsided = Model(init=lambda key: ({}, {}), apply=position)
    belief = taught(images, lopsided, {}, {}).masks
    np.testing.assert_allclose(belief, belief[:, ::-1], atol=2e-3)
    np.testing.assert_allclose(belief, belief[:, :, ::-1], atol=2e-3)
    assert np.ptp(belief) > 0.1


def test_soft_masks_are_learnt_as_they_are():
    soft = Samples.of(np.zeros((2, SIDE, SIDE, 1)), np.full((2, SIDE, SIDE, 1), 0.25))
    spec = TrainSpec(
        steps=150, steps_per_epoch=150, batch_size=2, learning_rate=0.1, augment=0, loss="bce"
    )
    state = last(train(pixelwise(0), soft, spec)).train_state
    assert 1 / (1 + np.exp(-float(state.params["b"]))) == pytest.approx(0.25, abs=0.01)


def test_training_can_start_from_weights():
    start = create_state(pixelwise(), STILL, weights=({"w": np.float32(3), "b": np.float32(1)}, {}))
    assert float(start.params["w"]) == float(start.ema["w"]) == 3
    epoch = last(train(pixelwise(), drawn(), STILL, start=start))
    assert float(epoch.train_state.params["w"]) == pytest.approx(3, abs=1e-6)


def test_of_several_heads_each_counts_half_as_much_as_the_one_before():
    def apply(params, state, images, *, train=False, key=None):
        logits = params["w"] * images
        return (jnp.stack([logits, 2 * logits, 3 * logits]) if train else logits), state

    model = Model(init=lambda key: ({"w": jnp.float32(1)}, {}), apply=apply, heads=3)
    spec = TrainSpec(steps=1, batch_size=1, augment=0, loss="bce")
    images, masks = np.ones((1, SIDE, SIDE, 1), np.float32), np.zeros((1, SIDE, SIDE), np.uint8)
    _, loss = make_train_step(model, spec)(create_state(model, spec), images, masks)
    expected = [np.log1p(np.exp(times)) for times in (1, 2, 3)]
    np.testing.assert_allclose(loss, np.average(expected, weights=[4, 2, 1]), rtol=1e-6)
