import dataclasses
import errno

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lungmask_jax.errors import ShapeError, SpecError, UnknownNameError, WeightsError
from lungmask_jax.models import Model, unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import (
    Epoch,
    Samples,
    best,
    create_state,
    load_checkpoint,
    make_train_step,
    optimizer,
    save_checkpoint,
    schedule,
    train,
)
from lungmask_jax.training._augmented import augmented, built_in

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


def test_a_run_stopped_within_an_epoch_goes_on_bit_for_bit():
    spec = dataclasses.replace(RANDOM, steps=9, steps_per_epoch=4)
    whole = [(e.step, e.loss) for e in train(NOISY, drawn(), spec, validation=drawn(2))]
    *before, cut = [
        epoch._replace(train_state=jax.device_get(epoch.train_state))
        for epoch in train(
            NOISY, drawn(), spec, validation=drawn(2), progress=lambda done: done == 5
        )
    ]
    assert [epoch.step for epoch in before] == [4]
    assert 5 <= cut.step <= 6
    assert cut.step == cut.train_state.step
    assert np.isnan([cut.dice, cut.dice_at_best]).all()
    after = [
        (e.step, e.loss)
        for e in train(NOISY, drawn(), spec, validation=drawn(2), start=cut.train_state)
    ]
    assert [(e.step, e.loss) for e in before] + after == whole


def test_a_run_stopped_at_the_end_of_an_epoch_has_its_scores():
    (epoch,) = train(NOISY, drawn(), RANDOM, validation=drawn(2), progress=lambda done: done == 2)
    assert epoch.step == 2
    assert 0 <= epoch.dice_at_best <= 1


def test_every_step_is_told_when_it_is_done():
    spec = dataclasses.replace(RANDOM, steps=7, steps_per_epoch=3)
    told = []
    records = [epoch.step for epoch in train(NOISY, drawn(), spec, progress=told.append)]
    assert records == [3, 6, 7]
    assert told == sorted(told)
    assert {3, 6, 7} <= set(told)
    assert max(np.diff([0, *told])) <= 2


def test_the_dice_that_epochs_are_chosen_by_needs_no_threshold():
    images, masks = np.zeros((2, SIDE, SIDE, 1)), np.zeros((2, SIDE, SIDE))
    images[0, :2, :2], masks[0, :2, :2] = 1, 1
    unsure = pixelwise(1, -3)  # where it is sure of the truth, it thinks 12 %
    epoch = last(train(unsure, drawn(), STILL, validation=Samples.of(images, masks)))
    assert epoch.dice == 0.5  # nothing found: right in one of two slices
    assert epoch.dice_at_best == 1
    nothing = last(train(unsure, drawn(), STILL, validation=Samples.of(images, 0 * masks)))
    assert np.isnan(nothing.dice_at_best)


def epochs_of(*dice):
    return [
        Epoch(step, 1.0, 0.0, value, seconds=1.0, waited=0.0, train_state=jnp.float32(step))
        for step, value in enumerate(dice, 1)
    ]


@pytest.mark.parametrize(
    ("dice", "kept"),
    [
        ([0.3, 0.5, 0.4], 2),
        ([0.5, 0.5, 0.4], 2),
        ([0.0, 0.0], 2),
        ([np.nan, np.nan], 2),
        ([0.2, np.nan], 1),  # stopped within an epoch
    ],
)
def test_the_best_epoch_is_kept_and_of_equal_ones_the_later(dice, kept):
    epoch = best(iter(epochs_of(*dice)))
    assert (epoch.step, int(epoch.train_state)) == (kept, kept)
    assert isinstance(epoch.train_state, np.ndarray | np.float32)


def test_there_is_no_best_of_no_epochs():
    with pytest.raises(ShapeError, match="expected epochs to choose from, found none"):
        best([])


def test_a_loss_that_is_not_finite_ends_the_run():
    images = np.full((2, SIDE, SIDE, 1), np.nan, np.float32)
    bad = Samples.joined([drawn(4), Samples.of(images, np.zeros((2, SIDE, SIDE)), weight=0.3)])
    spec = dataclasses.replace(RANDOM, steps=60, steps_per_epoch=1)
    steps = []
    with pytest.raises(SpecError, match=r"finite loss, found nan at step \d+: lower the learning"):
        steps.extend(e.step for e in train(pixelwise(), bad, spec, validation=drawn(2)))
    assert len(steps) < 60


def test_an_augmentation_of_ones_own_takes_the_place_of_the_built_in_one():
    taken = []

    def dark(key, images, masks):
        taken.append((images.shape, images.dtype, masks.shape, masks.dtype))
        return jnp.zeros_like(images), jnp.zeros_like(masks)

    spec = dataclasses.replace(STILL, augment=1.0)
    epoch = last(train(pixelwise(5, -2), drawn(), spec, augment=dark))
    assert epoch.loss == pytest.approx(np.log1p(np.exp(-2)), rel=1e-5)
    assert taken[0] == ((2, SIDE, SIDE, 1), jnp.float32, (2, SIDE, SIDE, 1), jnp.float32)
    same = last(train(pixelwise(5), drawn(), STILL, augment=lambda key, *both: both))
    assert same.loss == last(train(pixelwise(5), drawn(), STILL)).loss


def test_an_augmentation_of_ones_own_has_a_key_for_each_step():
    def noisy(key, images, masks):
        return images + jax.random.uniform(key), masks

    spec = dataclasses.replace(STILL, steps=3, steps_per_epoch=1)
    runs = [[e.loss for e in train(pixelwise(5), drawn(2), spec, augment=noisy)] for _ in range(2)]
    assert len(set(runs[0])) == 3
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (lambda key, images, masks: (images[:, 1:], masks), ShapeError, r"found \(float32 \(2, 15"),
        (lambda key, images, masks: (images, masks > 0.5), ShapeError, "found .*bool"),
        (lambda key, images, masks: images, ShapeError, "found a single float32"),
        (lambda key, images, masks: None, ShapeError, "found NoneType"),
        (lambda key, images, masks: (images, masks, key), ShapeError, "found .*key"),
        (lambda key, images, masks: (np.flip(np.array(images)), masks), SpecError, "jax.numpy"),
        (lambda key, images, masks: (images, masks) if masks.any() else 0, SpecError, "compile"),
    ],
)
def test_an_augmentation_that_does_not_fit_is_refused(augment, error, message):
    with pytest.raises(error, match=message):
        next(train(pixelwise(), drawn(), STILL, augment=augment))


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


def test_labels_that_a_network_lacks_are_refused():
    images = np.zeros((2, SIDE, SIDE, 1))
    labels = Samples.of(images, np.full((2, SIDE, SIDE), 3))
    three = unet(channels=(4, 8), num_classes=3)
    with pytest.raises(ShapeError, match="labels 0 to 2, found 3 in the masks"):
        next(train(three, labels, dataclasses.replace(STILL, loss="cross_entropy")))
    assert np.isfinite(last(train(pixelwise(), labels, STILL)).loss)  # one class: any of them
    with pytest.raises(ShapeError, match="labels 0 to 2, found 3 in the masks"):
        Samples.joined([labels, Samples.of(images, np.full((2, SIDE, SIDE, 2), 0.5))])


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
