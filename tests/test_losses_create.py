"""Losses by name: what they take, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn_losses import NAMES, compiled, drawn, drawn_masks, every, of_classes, one_of_four

from lungmask_jax import losses
from lungmask_jax.errors import ShapeError, SpecError, UnknownNameError


@every
def test_volumes_and_boolean_targets_are_welcome_under_vmap_and_jit(name):
    pairs = [drawn_masks(seed) for seed in range(2)]
    logits, targets = (jnp.stack(arrays)[:, :, None] for arrays in zip(*pairs, strict=True))
    found = jax.jit(jax.vmap(losses.create(name)))(logits, targets > 0)
    # one slice is a volume, too
    expected = jnp.stack([compiled(name)(*pair) for pair in pairs])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@every
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_comes_out_as_float32(name, dtype):
    array = jax.ShapeDtypeStruct((3, 4, 5, 6, 2), dtype)
    found = jax.eval_shape(losses.create(name), array, array)
    assert found == jax.ShapeDtypeStruct((3,), jnp.float32)


@every
@pytest.mark.parametrize(
    ("logits", "targets"),
    [((2, 4, 4, 2), (2, 4, 4)), ((2, 4, 4, 2), (1, 4, 4, 2)), ((4, 4), (4, 4))],
)
def test_shapes_that_do_not_fit_are_refused(name, logits, targets):
    with pytest.raises(ShapeError, match=r"one shape \(N, ..., C\)"):
        losses.create(name)(jnp.zeros(logits), jnp.zeros(targets))


@every
def test_labels_given_as_logits_are_refused(name):
    masks = jnp.zeros((1, 4, 4, 2), jnp.uint8)
    with pytest.raises(ShapeError, match="float logits, found uint8"):
        losses.create(name)(masks, masks)


@of_classes
def test_a_softmax_of_one_channel_is_refused(name):
    with pytest.raises(ShapeError, match="a channel for each class"):
        losses.create(name)(*one_of_four())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dice", {"smooth": -1.0}, r"smooth to be a number in \[0.0, inf\], found -1.0"),
        ("tversky", {"beta": -0.1}, "beta to be a number"),
        ("focal_tversky", {"gamma": 0.0}, r"gamma to be a number in \[0.1, inf\]"),
        ("focal", {"alpha": 2}, r"alpha to be a number in \[0.0, 1.0\], found 2"),
        ("focal", {"gamma": None}, "gamma to be a number"),
        ("weighted_bce", {"positive_weight": float("nan")}, "found nan"),
        ("hausdorff_dt", {"alpha": 9.0}, "alpha to be a number"),
        ("cldice", {"iterations": -1}, "iterations to be a number"),
        ("boundary", {"spacing": [1.0, 2.0, 3.0]}, "2 positive spacings or a single one"),
        ("boundary", {"spacing": 0.0}, "2 positive spacings"),
        ("cross_entropy", {"class_weights": [1.0]}, "2 class_weights"),
        ("cross_entropy", {"class_weights": [1.0, -1.0]}, "class_weights to be a number"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    loss = losses.create(name, **options)
    with pytest.raises(SpecError, match=message):
        loss(*drawn_masks(0))


def test_every_loss_has_the_name_of_its_function():
    others = {"Loss", "create", "names", "register", "registry"}
    assert set(NAMES) == set(losses.__all__) - others
    for name in NAMES:
        assert losses.create(name) is getattr(losses, name)


def test_options_are_bound():
    logits, targets = drawn(0)
    bound = losses.create("dice", smooth=5.0, squared=True)
    expected = losses.dice(logits, targets, smooth=5.0, squared=True)
    np.testing.assert_array_equal(bound(logits, targets), expected)


def test_equal_calls_give_the_same_loss_and_compile_once():
    first = losses.create("tversky", alpha=0.2, beta=0.5)
    assert losses.create("tversky", beta=0.5, alpha=0.2) is first
    assert losses.create("tversky", alpha=0.2, beta=0.6) is not first
    weighted = losses.create("cross_entropy", class_weights=[1.0, 2.0])
    assert losses.create("cross_entropy", class_weights=(1.0, 2.0)) is weighted
    traces = []

    def step(loss, logits, targets):
        traces.append(loss)
        return loss(logits, targets)

    jitted = jax.jit(step, static_argnums=0)
    for _ in range(3):
        jitted(losses.create("tversky", alpha=0.2, beta=0.5), *drawn(0))
    assert len(traces) == 1


def test_a_registered_loss_is_created_by_name_with_its_options():
    losses.registry.register(
        "scaled_dice_for_tests", lambda x, t, *, scale=1.0: scale * losses.dice(x, t)
    )
    try:
        found = losses.create("scaled_dice_for_tests", scale=2.0)(*drawn(0))
        np.testing.assert_allclose(found, 2 * losses.dice(*drawn(0)), rtol=1e-6)
        losses.registry.register("scaled_dice_for_tests", losses.dice)
        assert losses.create("scaled_dice_for_tests") is losses.dice
    finally:
        losses.registry._registered.clear()


def test_an_unknown_loss_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match=r"no 'dise' .*did you mean 'dice'"):
        losses.create("dise")


def test_an_unknown_option_is_answered_with_those_there_are():
    with pytest.raises(SpecError, match="'dice' has no option 'smoth': known: 'smooth', 'squared'"):
        losses.create("dice", smoth=1.0)
    with pytest.raises(SpecError, match="'bce' has no option 'smooth': known: none"):
        losses.create("bce", smooth=1.0)


@pytest.mark.parametrize("value", [np.ones(2), jnp.ones(()), "heavy", [[1.0]]])
def test_options_that_are_no_plain_values_are_refused(value):
    with pytest.raises(SpecError, match="class_weights to be a number, a boolean or a list"):
        losses.create("cross_entropy", class_weights=value)
