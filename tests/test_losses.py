import functools
import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn_losses import (
    CLASSES,
    NAMES,
    SHAPE,
    compiled,
    drawn,
    drawn_masks,
    every,
    of_classes,
    one_of_four,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lungmask_jax import losses
from lungmask_jax.losses._centerline import skeleton
from lungmask_jax.testing import check_loss

CHANNELS = [name for name in NAMES if name not in CLASSES]
# a pixel that gets better may move the skeleton, or the boundary, to where more is wrong
MONOTONE = [name for name in NAMES if name not in ("cldice", "hausdorff_dt")]
# their formula knows sets of pixels only
SETS = ["boundary", "lovasz_hinge", "lovasz_softmax"]
UNSMOOTHED = ["cldice", "dice", "dice_cross_entropy", "focal_tversky", "jaccard", "tversky"]
REFERENCES = json.loads((Path(__file__).parent / "references" / "losses.json").read_text())

seeds = st.integers(0, 2**31)
of_channels = pytest.mark.parametrize("name", CHANNELS)


@functools.cache
def graded(name, **options):
    """Losses of a batch and the gradient of their sum, compiled."""
    loss = losses.create(name, **options)

    def total(logits, targets):
        each = loss(logits, targets)
        return each.sum(), each

    def values_and_gradient(logits, targets):
        (_, each), gradient = jax.value_and_grad(total, has_aux=True)(logits, targets)
        return each, gradient

    return jax.jit(values_and_gradient)


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


@of_channels
def test_nothing_to_find_and_nothing_found_costs_nothing(name):
    nothing = jnp.full(SHAPE, -1e4)
    np.testing.assert_array_equal(compiled(name)(nothing, jnp.zeros(SHAPE)), [0, 0, 0])


@pytest.mark.parametrize("name", UNSMOOTHED)
def test_without_smoothing_too(name):
    nothing = jnp.full_like(extremes()[0], -1e4).at[..., 0].set(1e4)
    values, _ = graded(name, smooth=0.0)(nothing, (nothing > 0).astype(jnp.float32))
    np.testing.assert_array_equal(values, np.zeros(40))


@every
def test_a_perfect_prediction_costs_nothing(name):
    targets = drawn_masks(0)[1]
    found = compiled(name)(2e4 * targets - 1e4, targets)
    np.testing.assert_allclose(found, np.zeros(3), atol=1e-6)


def test_finding_everything_in_an_empty_image_costs_almost_all_dice():
    found = compiled("dice")(jnp.full(SHAPE, 1e4), jnp.zeros(SHAPE))
    np.testing.assert_allclose(found, [1 - 1 / 21] * 3, rtol=1e-6)


def test_generalized_dice_of_an_empty_image_is_the_mean_probability():
    logits = drawn(0)[0]
    expected = jax.nn.sigmoid(logits).mean((1, 2, 3))
    found = compiled("generalized_dice")(logits, jnp.zeros_like(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    full = compiled("generalized_dice")(-logits, jnp.ones_like(logits))
    np.testing.assert_allclose(full, expected, rtol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_targets_without_boundary_cost_nothing_of_boundaries(target):
    logits = drawn(0)[0]
    targets = jnp.full_like(logits, target)
    np.testing.assert_array_equal(compiled("boundary")(logits, targets), [0, 0, 0])
    same = jnp.where(targets > 0, 1.0, -1.0)  # no boundary either
    np.testing.assert_array_equal(compiled("hausdorff_dt")(same, targets), [0, 0, 0])


def test_lovasz_hinge_of_an_empty_image_is_its_largest_error():
    logits = drawn(3)[0]
    expected = (1 + logits.max((1, 2))).mean(-1)
    found = compiled("lovasz_hinge")(logits, jnp.zeros_like(logits))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_lovasz_softmax_of_no_class_is_nothing():
    logits = drawn(3)[0]
    found = compiled("lovasz_softmax")(logits, jnp.full_like(logits, 0.5))
    np.testing.assert_array_equal(found, [0, 0, 0])


def test_bce_of_a_coin_is_the_logarithm_of_two():
    np.testing.assert_allclose(losses.bce(jnp.zeros(SHAPE), drawn(0)[1]), np.log(2), rtol=1e-6)


def test_entropies_by_hand():
    logits, targets = one_of_four(p=0.2)
    lost, kept = -np.log(0.2), -np.log(0.8)
    expected = {
        "bce": lost + 3 * kept,
        "weighted_bce": 2 * lost + 3 * kept,
        "focal": 0.8**2 * lost + 3 * 0.2**2 * kept,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(compiled(name)(logits, targets), [value / 4], rtol=1e-5)
    weighted = compiled("focal", gamma=1.0, alpha=0.9)(logits, targets)
    by_hand = (0.9 * 0.8 * lost + 3 * 0.1 * 0.2 * kept) / 4
    np.testing.assert_allclose(weighted, [by_hand], rtol=1e-5)


def test_cross_entropy_by_hand():
    # a softmax of 1 : 2 : 1 at two pixels, of the second and of the third class
    logits = jnp.log(jnp.array([[[[1.0, 2.0, 1.0]] * 2]]))
    targets = jnp.array([[[[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]])
    expected = (np.log(2) + np.log(4)) / 2
    np.testing.assert_allclose(compiled("cross_entropy")(logits, targets), [expected], rtol=1e-6)
    weighted = compiled("cross_entropy", class_weights=(7.0, 1.0, 3.0))(logits, targets)
    np.testing.assert_allclose(weighted, [(np.log(2) + 3 * np.log(4)) / 2], rtol=1e-6)
    # Dice: 1 - 1 / (2/4 + 1), 1 - 2 / 3, 1 - 3/2 / (2/4 + 2)
    dices = 1 - 1 / 1.5, 1 - 2 / 3, 1 - 1.5 / 2.5
    both = compiled("dice_cross_entropy")(logits, targets)
    np.testing.assert_allclose(both, [expected + np.mean(dices)], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("dice", {}, 1 - (2 * 0.5 + 1) / (2 + 1 + 1)),
        ("dice", {"smooth": 0.0}, 2 / 3),
        ("dice", {"squared": True}, 1 - (2 * 0.5 + 1) / (4 * 0.25 + 1 + 1)),
        ("jaccard", {}, 1 - (0.5 + 1) / (2 + 1 - 0.5 + 1)),
        ("tversky", {}, 1 - (0.5 + 1) / (0.5 + 0.3 * 1.5 + 0.7 * 0.5 + 1)),
        ("tversky", {"alpha": 0.0, "beta": 1.0, "smooth": 0.0}, 0.5),
        ("focal_tversky", {"alpha": 0.0, "beta": 1.0, "smooth": 0.0, "gamma": 2.0}, 0.5**0.5),
        # weights 1 and 1/9: overlaps 1/2 and 3/2, sums 1 + 2 and 3 + 2
        ("generalized_dice", {}, 1 - 2 * (0.5 + 1.5 / 9) / (3 + 5 / 9)),
        # all errors are 1/2, and all four pixels together have Jaccard loss 1
        ("lovasz_hinge", {}, 1.0),
        # distances 1, 1, 1 and the square root of 2
        ("boundary", {}, (3 + 2**0.5) / 2 / 4),
        ("boundary", {"spacing": [3.0, 4.0]}, (3 + 3 + 4 + 5) / 2 / 4),
        ("hausdorff_dt", {}, (3 + 2) / 4 / 4),
        ("hausdorff_dt", {"alpha": 1.0, "spacing": 2.0}, 2 * (3 + 2**0.5) / 4 / 4),
    ],
)
def test_regions_by_hand(name, options, expected):
    # one pixel of four is true and all have p = 1/2
    found = jax.jit(losses.create(name, **options))(*one_of_four())
    np.testing.assert_allclose(found, [expected], rtol=1e-5)


def test_hausdorff_dt_counts_both_boundaries():
    # a row of five: true at the left end, found at the right end, errors of 1 at both
    targets = jnp.zeros((1, 1, 5, 1)).at[0, 0, 0].set(1.0)
    logits = jnp.full((1, 1, 5, 1), -1e4).at[0, 0, 4].set(1e4)
    np.testing.assert_allclose(compiled("hausdorff_dt")(logits, targets), [2 * (1 + 16) / 5])
    np.testing.assert_allclose(compiled("boundary")(logits, targets), [(1 + 4) / 5])


def test_cldice_of_a_broken_line_by_hand():
    line = jnp.zeros((1, 5, 5, 1)).at[:, 2].set(1.0)
    broken = line.at[:, 2, 2].set(0.0)
    # the skeleton found is in the line, of five pixels four: 1 and (4 + 1) / (5 + 1)
    found = compiled("cldice")(100 * broken - 50, line)
    np.testing.assert_allclose(found, [1 - 2 * (5 / 6) / (1 + 5 / 6)], rtol=1e-5)


def test_cldice_does_not_see_how_wide_a_vessel_is():
    wide = jnp.zeros((1, 7, 9, 1)).at[:, 2:5, 1:8].set(1.0)
    thin = wide * 0 + jnp.zeros((1, 7, 9, 1)).at[:, 3, 1:8].set(1.0)
    np.testing.assert_allclose(compiled("cldice")(100 * thin - 50, wide), [0], atol=1e-6)
    assert compiled("dice")(100 * thin - 50, wide) > 0.4


def test_the_skeleton_of_a_box_in_a_volume_is_its_axis():
    box = jnp.zeros((1, 5, 5, 9, 1)).at[:, 1:4, 1:4, 1:8].set(1.0)
    axis = jnp.zeros_like(box).at[:, 2, 2, 2:7].set(1.0)
    np.testing.assert_array_equal(skeleton(box, 2), axis)


@settings(max_examples=10)
@given(seeds)
def test_losses_agree_with_a_loop_over_pixels(seed):
    logits, targets = drawn(seed)
    entropy, dice = naive(logits, targets)
    np.testing.assert_allclose(compiled("bce")(logits, targets), entropy, rtol=1e-4)
    np.testing.assert_allclose(compiled("dice")(logits, targets), dice, rtol=1e-4)
    np.testing.assert_allclose(compiled("bce_dice")(logits, targets), entropy + dice, rtol=1e-4)


@settings(max_examples=10)
@given(seeds)
def test_losses_are_each_other_at_some_options(seed):
    logits, targets = drawn(seed)
    dice = compiled("dice")(logits, targets)
    for one, options, other in (
        ("weighted_bce", {"positive_weight": 1.0}, "bce"),
        ("focal", {"gamma": 0.0}, "bce"),
        ("tversky", {"alpha": 1.0, "beta": 1.0}, "jaccard"),
        ("tversky", {"alpha": 0.5, "beta": 0.5, "smooth": 0.5}, "dice"),
        ("focal_tversky", {"gamma": 1.0}, "tversky"),
    ):
        found = compiled(one, **options)(logits, targets)
        expected = compiled(other)(logits, targets)
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=f"{one} as {other}")
    both = compiled("dice_focal", gamma=1.0, alpha=0.3)(logits, targets)
    focal = compiled("focal", gamma=1.0, alpha=0.3)(logits, targets)
    np.testing.assert_allclose(both, dice + focal, rtol=1e-6)


@settings(max_examples=5)
@given(seeds)
def test_a_softmax_of_two_is_a_sigmoid(seed):
    logits, targets = drawn(seed, (2, 3, 4, 1))
    two = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    both = jnp.concatenate([1 - targets, targets], axis=-1)
    expected = compiled("bce")(logits, targets)
    np.testing.assert_allclose(compiled("cross_entropy")(two, both), expected, rtol=1e-5)


@settings(max_examples=5)
@given(seeds)
def test_nested_regions_are_what_their_shares_add_up_to(seed):
    logits, _ = drawn(seed, (2, 3, 4, 3))
    labels = np.random.default_rng(seed).integers(0, 3, (2, 3, 4))
    shares = np.exp(np.asarray(logits, np.float64))
    shares /= shares.sum(axis=-1, keepdims=True)
    found = np.stack([shares[..., 1:].sum(-1), shares[..., 2]], axis=-1)
    truth = np.stack([labels > 0, labels > 1], axis=-1)
    entropy = -np.log(np.where(truth, found, 1 - found)).mean(axis=(1, 2, 3))
    overlap, total = (found * truth).sum((1, 2)), (found + truth).sum((1, 2))
    dice = 1 - (2 * overlap + 1) / (total + 1)
    expected = compiled("nested_bce_dice")(logits, jax.nn.one_hot(labels, 3))
    np.testing.assert_allclose(expected, entropy + dice.mean(axis=-1), rtol=1e-4)


@settings(max_examples=5)
@given(seeds)
def test_one_nested_region_is_a_sigmoid(seed):
    logits, targets = drawn(seed, (2, 3, 4, 1))
    two = jnp.concatenate([jnp.zeros_like(logits), logits], axis=-1)
    both = jnp.concatenate([1 - targets, targets], axis=-1)
    expected = compiled("bce_dice")(logits, targets)
    np.testing.assert_allclose(compiled("nested_bce_dice")(two, both), expected, rtol=1e-5)


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
    np.testing.assert_allclose(
        compiled("dice")(logits, targets), (each[0] + each[1]) / 2, rtol=1e-5
    )
    entropy = optax.losses.sigmoid_binary_cross_entropy(logits, targets)
    np.testing.assert_allclose(compiled("bce")(logits, targets), entropy.mean((1, 2, 3)), rtol=1e-5)


@settings(max_examples=10)
@given(seeds)
def test_of_masks_lovasz_losses_are_the_jaccard_loss(seed):
    found, targets = (drawn_masks(seed + more)[1] for more in (0, 1))
    union = jnp.maximum(found, targets).sum((1, 2))
    jaccard = 1 - (found * targets).sum((1, 2)) / jnp.maximum(union, 1)
    present = targets.any(axis=(1, 2)).astype(jnp.float32)
    of_present = (jaccard * present).sum(-1) / present.sum(-1)
    softmax = compiled("lovasz_softmax")(2e4 * found - 1e4, targets)
    np.testing.assert_allclose(softmax, of_present, atol=1e-6)
    # logits of 1 on the wrong side are hinge errors of 2
    empty = union == 0
    hinge = jnp.where(empty, 0.0, 2 * jaccard).mean(-1)
    ones = compiled("lovasz_hinge")(2 * found - 1, targets)
    np.testing.assert_allclose(ones, hinge, atol=1e-6)


@every
def test_it_keeps_what_a_loss_promises(name):
    check_loss(losses.create(name))


@every
@settings(max_examples=4)
@given(seed=seeds)
def test_mirror_images_cost_the_same(name, seed):
    loss = compiled(name)
    logits, targets = drawn_masks(seed)
    for axis in (1, 2):
        mirrored = loss(jnp.flip(logits, axis), jnp.flip(targets, axis))
        np.testing.assert_allclose(mirrored, loss(logits, targets), rtol=1e-5)


@pytest.mark.parametrize("name", MONOTONE)
@settings(max_examples=4)
@given(seed=seeds)
def test_a_better_logit_costs_less(name, seed):
    loss = compiled(name)
    logits, targets = drawn_masks(seed)
    better = logits + 0.5 * (2 * targets - 1)
    assert (loss(better, targets) < loss(logits, targets)).all()


@pytest.mark.parametrize("name", SETS)
def test_sets_are_what_is_above_one_half(name):
    logits, targets = drawn_masks(4)
    soft = 0.2 + 0.5 * targets
    loss = compiled(name)
    np.testing.assert_array_equal(loss(logits, soft), loss(logits, targets))


@pytest.mark.parametrize("name", ["bce", "focal", "dice", "cross_entropy"])
def test_soft_targets_lie_between_hard_ones(name):
    logits, targets = drawn_masks(5)
    loss, soft = compiled(name), 0.1 + 0.8 * targets
    lost = loss(logits, 1 - targets)
    assert (loss(20 * targets - 10, soft) < loss(10 - 20 * targets, soft)).all()
    assert (loss(logits, soft) < jnp.maximum(loss(logits, targets), lost)).all()


@of_channels
def test_channels_do_not_see_each_other(name):
    loss = compiled(name)

    def cost(first, second):
        return loss(
            *(jnp.stack([a[..., 0], b[..., 0]], -1) for a, b in zip(first, second, strict=True))
        )

    a, b, c, d = (drawn(seed) for seed in range(4))
    np.testing.assert_allclose(cost(a, b), cost(b, a), rtol=1e-5)
    np.testing.assert_allclose(cost(a, b) + cost(c, d), cost(a, d) + cost(c, b), rtol=1e-5)
    np.testing.assert_allclose(cost(a, a) + cost(b, b), 2 * cost(a, b), rtol=1e-5)


@of_classes
def test_a_logit_more_for_all_classes_changes_nothing(name):
    loss = compiled(name)
    logits, targets = drawn_masks(6)
    np.testing.assert_allclose(loss(logits + 3, targets), loss(logits, targets), rtol=1e-4)


OPTIONS = [
    *((name, {}) for name in NAMES),
    *((name, {"smooth": 0.0}) for name in UNSMOOTHED),
    ("focal", {"gamma": 0.5, "alpha": 0.25}),
    ("dice", {"smooth": 0.0, "squared": True}),
]


@functools.cache
def extremes():
    """A batch of logits from -1e4 to 1e4, each with empty, full, soft, hard and tiny targets."""
    generator = np.random.default_rng(0)
    pixels = np.arange(20).reshape(4, 5, 1)
    checks = np.broadcast_to(pixels % 2, SHAPE[1:])
    level = [np.full(SHAPE[1:], value) for value in (-1e4, -80, -15, 0, 80, 1e4)]
    logits = [*level, 1e4 - 2e4 * checks, generator.normal(0, 3, SHAPE[1:])]
    targets = [0 * checks, 0 * checks + 1, 0 * checks + 0.3, checks, checks * 1e-20]
    pairs = [(x, t) for x in logits for t in targets]
    return tuple(jnp.asarray(np.stack(each), jnp.float32) for each in zip(*pairs, strict=True))


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_values_and_gradients_are_finite_everywhere(name, options):
    values, gradient = graded(name, **options)(*extremes())
    assert values.shape == (40,)
    assert np.isfinite(values).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hausdorff_dt"])
def test_gradients_are_those_of_small_steps(name):
    shape = extremes()[0].shape
    logits, targets = drawn_masks(7, shape)
    logits = logits / 3
    step = 1e-3 * jnp.asarray(np.random.default_rng(8).normal(size=shape), jnp.float32)
    values, gradient = graded(name)(logits, targets)
    ahead, behind = (graded(name)(logits + s * step, targets)[0] for s in (1, -1))
    expected = (gradient * step).sum((1, 2, 3))
    # a step may cross a kink, which no gradient sees
    close = np.isclose((ahead - behind) / 2, expected, rtol=5e-2, atol=4e-6)
    assert close.mean() > 0.9
    np.testing.assert_allclose(values, (ahead + behind) / 2, rtol=1e-2)


def test_hausdorff_dt_has_no_gradient_through_distances():
    logits, targets = drawn_masks(9, (1, 6, 6, 1))
    masks = np.stack([logits > 0, jnp.zeros_like(targets).at[0, 2, 3].set(1) > 0])[..., 0]
    away = sum(
        (ndimage.distance_transform_edt(m) + ndimage.distance_transform_edt(~m)) ** 2
        for m in masks[:, 0]
    )
    targets = jnp.asarray(masks[1][..., None], jnp.float32)
    p = jax.nn.sigmoid(logits)
    expected = 2 * (p - targets) * p * (1 - p) * jnp.asarray(away, jnp.float32)[None, ..., None]
    _, found = graded("hausdorff_dt")(logits, targets)
    np.testing.assert_allclose(found, expected / 36, rtol=1e-4, atol=1e-7)


def test_a_nearly_perfect_focal_tversky_has_a_bounded_gradient():
    _, targets = drawn_masks(0, (1, 8, 8, 2))
    for size in (12.0, 14.0, 16.0, 18.0):
        gradient = jax.grad(lambda x: losses.focal_tversky(x, targets).sum())(
            size * (2 * targets - 1)
        )
        assert jnp.abs(gradient).max() < 1e-3


def stored():
    for case, content in REFERENCES["cases"].items():
        for call, values in content["losses"].items():
            yield pytest.param(case, call, values, id=f"{case}-{call}")


def options_of(call):
    """``name:option=json,option=json``, the values hashable."""
    name, _, text = call.partition(":")
    pairs = re.findall(r"(\w+)=(\[[^]]*\]|[^,]+)", text)
    values = {option: json.loads(value) for option, value in pairs}
    return name, {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


@pytest.mark.parametrize(("case", "call", "values"), [*stored()])
def test_losses_agree_with_monai_and_smp(case, call, values):
    content = REFERENCES["cases"][case]
    logits, targets = (
        jnp.array(content[kind], jnp.float32).reshape(content["shape"])
        for kind in ("logits", "targets")
    )
    name, options = options_of(call)
    found = compiled(name, **options)(logits, targets)
    np.testing.assert_allclose(found, values, rtol=2e-6)


def test_the_peers_have_seen_every_loss_but_plain_sums():
    seen = {options_of(call)[0] for case in REFERENCES["cases"].values() for call in case["losses"]}
    assert set(NAMES) - seen == {"bce_dice", "nested_bce_dice"}


def test_lovasz_losses_keep_their_precision_in_large_images():
    logits, targets = drawn(10, (1, 500, 500, 1))
    targets = (targets > 0.999).astype(jnp.float32)
    errors = np.maximum(1 - (2 * np.float64(targets) - 1) * np.float64(logits), 0).ravel()
    order = np.argsort(-errors, kind="stable")
    inside = np.float64(targets).ravel()[order]
    union = inside.sum() + np.cumsum(1 - inside)
    rises = np.diff(1 - (inside.sum() - np.cumsum(inside)) / union, prepend=0)
    expected = (errors[order] * rises).sum()
    found = compiled("lovasz_hinge")(logits, targets)
    np.testing.assert_allclose(found, [expected], rtol=1e-4)  # a float32 sum of 250,000 numbers
