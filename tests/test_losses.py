import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungmask_jax import losses
from lungmask_jax.errors import ShapeError, UnknownNameError

EVERY = [losses.bce, losses.dice, losses.bce_dice]
SHAPE = (3, 4, 5, 2)
seeds = st.integers(0, 2**31)
every = pytest.mark.parametrize("loss", EVERY, ids=lambda loss: loss.__name__)


def drawn(seed):
    """Logits and soft targets of `SHAPE`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, SHAPE).astype(np.float32)
    return jnp.asarray(logits), jnp.asarray(generator.random(SHAPE, np.float32))


def naive(logits, targets, smooth=1.0):
    """Mean cross-entropy and Dice loss of each image, pixel by pixel."""
    results = []
    for logit, target in zip(np.float64(logits), np.float64(targets), strict=True):
        entropy, dices = 0.0, []
        for channel in range(logit.shape[-1]):
            overlap = total = 0.0
            for x, t in zip(logit[..., channel].flat, target[..., channel].flat, strict=True):
                p = 1 / (1 + np.exp(-x))
                entropy -= t * np.log(p) + (1 - t) * np.log(1 - p)
                overlap += p * t
                total += p + t
            dices.append(1 - (2 * overlap + smooth) / (total + smooth))
        results.append((entropy / logit.size, np.mean(dices)))
    return np.array(results).T


@every
def test_nothing_to_find_and_nothing_found_costs_nothing(loss):
    nothing = jnp.full((2, 4, 4, 1), -1e4)
    np.testing.assert_array_equal(loss(nothing, jnp.zeros_like(nothing)), [0, 0])


@every
def test_a_perfect_prediction_costs_nothing(loss):
    targets = jnp.asarray(np.random.default_rng(0).integers(0, 2, SHAPE), jnp.float32)
    np.testing.assert_allclose(loss(2e4 * targets - 1e4, targets), np.zeros(3), atol=1e-6)


def test_bce_of_a_coin_is_the_logarithm_of_two():
    np.testing.assert_allclose(losses.bce(jnp.zeros(SHAPE), drawn(0)[1]), np.log(2), rtol=1e-6)


def test_dice_by_hand():
    # one pixel of four is true and all have p = 1/2: 1 - (2 * 0.5 + 1) / (2 + 1 + 1)
    targets = jnp.zeros((1, 2, 2, 1)).at[0, 0, 0, 0].set(1.0)
    np.testing.assert_allclose(losses.dice(jnp.zeros((1, 2, 2, 1)), targets), [0.5])
    # without smoothing: 1 - 1 / 3
    np.testing.assert_allclose(losses.dice(jnp.zeros((1, 2, 2, 1)), targets, smooth=0.0), [2 / 3])


def test_finding_everything_in_an_empty_image_costs_almost_all_dice():
    found = jnp.full((1, 8, 8, 1), 1e4)
    np.testing.assert_allclose(losses.dice(found, jnp.zeros_like(found)), [1 - 1 / 65], rtol=1e-6)


@settings(max_examples=10)
@given(seeds)
def test_all_losses_agree_with_a_loop_over_pixels(seed):
    logits, targets = drawn(seed)
    entropy, dice = naive(logits, targets)
    np.testing.assert_allclose(losses.bce(logits, targets), entropy, rtol=1e-4)
    np.testing.assert_allclose(losses.dice(logits, targets), dice, rtol=1e-4)
    np.testing.assert_allclose(losses.bce_dice(logits, targets), entropy + dice, rtol=1e-4)


@settings(max_examples=10)
@given(seeds)
def test_losses_of_hard_masks_agree_with_optax(seed):
    logits, targets = drawn(seed)
    targets = (targets > 0.5).astype(jnp.float32)
    # there the smoothing is added to half the denominator
    each = [
        optax.losses.dice_loss(logits[..., c, None], targets[..., c, None], smooth=0.5)
        for c in range(2)
    ]
    np.testing.assert_allclose(losses.dice(logits, targets), (each[0] + each[1]) / 2, rtol=1e-5)
    entropy = optax.losses.sigmoid_binary_cross_entropy(logits, targets)
    np.testing.assert_allclose(losses.bce(logits, targets), entropy.mean((1, 2, 3)), rtol=1e-5)


@every
@settings(max_examples=10)
@given(seed=seeds, order=st.permutations(range(3)))
def test_the_order_of_a_batch_does_not_matter(loss, seed, order):
    logits, targets = drawn(seed)
    order = jnp.array(order)
    expected = loss(logits, targets)[order]
    np.testing.assert_allclose(loss(logits[order], targets[order]), expected, rtol=1e-6)


@every
@settings(max_examples=5)
@given(seed=seeds)
def test_a_better_logit_costs_less(loss, seed):
    logits, targets = drawn(seed)
    targets = (targets > 0.5).astype(jnp.float32)
    better = logits + 0.5 * (2 * targets - 1)
    assert (loss(better, targets) < loss(logits, targets)).all()


@every
@pytest.mark.parametrize("value", [-1e4, 1e4])
@pytest.mark.parametrize("target", [0.0, 1.0, 0.3])
def test_extreme_logits_have_finite_losses_and_gradients(loss, value, target):
    logits, targets = jnp.full((1, 2, 2, 1), value), jnp.full((1, 2, 2, 1), target)
    cost, gradient = jax.value_and_grad(lambda x: loss(x, targets).sum())(logits)
    assert np.isfinite(cost)
    assert np.isfinite(gradient).all()


@every
def test_one_channel_of_two_counts_half(loss):
    logits, targets = drawn(1)
    both = loss(logits, targets)
    each = [loss(logits[..., c : c + 1], targets[..., c : c + 1]) for c in range(2)]
    np.testing.assert_allclose(both, (each[0] + each[1]) / 2, rtol=1e-5)


@every
def test_volumes_and_boolean_targets_are_welcome_under_jit(loss):
    logits = drawn(2)[0].reshape(1, 3, 4, 5, 2)
    targets = logits > 0
    found = jax.jit(loss)(logits, targets)
    assert found.shape == (1,)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, loss(logits, targets.astype(jnp.float32)), rtol=1e-6)


@every
@pytest.mark.parametrize(
    ("logits", "targets"),
    [((2, 4, 4, 1), (2, 4, 4)), ((2, 4, 4, 1), (1, 4, 4, 1)), ((4, 4), (4, 4))],
)
def test_shapes_that_do_not_fit_are_refused(loss, logits, targets):
    with pytest.raises(ShapeError, match=r"one shape \(N, ..., C\)"):
        loss(jnp.zeros(logits), jnp.zeros(targets))


@every
def test_labels_given_as_logits_are_refused(loss):
    masks = jnp.zeros((1, 4, 4, 1), jnp.uint8)
    with pytest.raises(ShapeError, match="float logits, found uint8"):
        loss(masks, masks)


def test_losses_are_found_by_name():
    assert [losses.create(name) for name in losses.names()] == [
        losses.bce,
        losses.bce_dice,
        losses.dice,
    ]


def test_an_unknown_loss_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="no loss 'dise': did you mean 'dice'"):
        losses.create("dise")
