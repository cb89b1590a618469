import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import preprocess
from lungmask_jax.errors import ShapeError, SpecError, UnknownNameError
from lungmask_jax.models import Model, unet
from lungmask_jax.spec import PreprocessSpec, TrainSpec
from lungmask_jax.training import Samples, create_state, optimizer, train
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
    """All numbers of a training state, keys included."""
    state = state._replace(key=jax.random.key_data(state.key))
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


@pytest.mark.parametrize("warmup", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 10])
def test_any_share_of_warm_up_is_possible(warmup, steps):
    optimizer(TrainSpec(steps=steps, warmup=warmup))


def test_an_unknown_loss_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'bce_dice'"):
        next(train(pixelwise(), drawn(), TrainSpec(loss="dice_bce_dice")))


def test_samples_that_cannot_be_drawn_are_refused():
    none = Samples.of(np.zeros((2, SIDE, SIDE, 1)), np.zeros((2, SIDE, SIDE)), weight=0)
    for samples in (none, Samples(*(array[:0] for array in none))):
        with pytest.raises(ShapeError, match="weights above 0"):
            next(train(pixelwise(), samples, STILL))


@pytest.mark.parametrize(
    ("images", "masks"),
    [((2, 8, 8), (2, 8, 8)), ((2, 8, 8, 1), (2, 8, 8, 1)), ((2, 8, 8, 1), (3, 8, 8))],
)
def test_samples_of_other_shapes_are_refused(images, masks):
    with pytest.raises(ShapeError, match=r"images \(M, H, W, C\) and masks \(M, H, W\)"):
        Samples.of(np.zeros(images), np.zeros(masks))


@pytest.mark.parametrize("value", [2, 0.5, -1])
def test_masks_other_than_zero_and_one_are_refused(value):
    with pytest.raises(ShapeError, match=f"0 and 1, found values .*{value}"):
        Samples.of(np.zeros((1, 8, 8, 1)), np.full((1, 8, 8), value))


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
