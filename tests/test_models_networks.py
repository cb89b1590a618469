"""The built-in networks, by what they share and by what sets each apart."""

import functools
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from lungmask_jax import models, trees
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models._attention_unet import Gate
from lungmask_jax.models._blocks import (
    ConvBlock,
    GroupNorm,
    Residual,
    Style,
    by_slices,
    convolved_enlarged,
    lecun_normal,
)
from lungmask_jax.models._grid import depth_to_space, enlarged, interpolated, pooled, space_to_depth
from lungmask_jax.models._multires_unet import SideBySide
from lungmask_jax.testing import check_model

TINY = {
    "attention_unet": {"channels": [4, 8]},
    "multires_unet": {"channels": [6, 8]},
    "residual_unet": {"channels": [4, 8], "blocks": 1},
    "unet": {"channels": [4, 8]},
    "unet_3d": {"channels": [4, 8], "flat_levels": 1},
    "unet_plus_plus": {"channels": [4, 4, 4]},
}
FOREIGN = {"lungmask_unet", "plain_conv_unet", "residual_encoder_unet"}
OTHERS = {"efficient_unet", *FOREIGN}  # in files of their own
THREE = {"channels": [6, 8, 7], "deep_supervision": True}
COMPILED_LONG = {"attention_unet", "multires_unet", "unet_plus_plus"}
every = pytest.mark.parametrize("name", TINY)
STYLE = Style("none", jnp.dtype("float32"), (3, 3))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def tiny(name, **options):
    return models.create(name, **{**TINY[name], "stem": 1, **options})


def filled(model, seed=0):
    """Random parameters without compiling the initializers, and the true first state."""
    generator = np.random.default_rng(seed)

    def leaf(path, like):
        last = path[-1].key
        if last in ("bias", "mean"):
            values = 0.1 * generator.normal(size=like.shape)
        elif last in ("scale", "var"):
            values = 1 + 0.1 * generator.random(like.shape)
        else:
            values = generator.normal(size=like.shape) * np.sqrt(2 / np.prod(like.shape[:-1]))
        return jnp.asarray(values, like.dtype)

    templates = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree_util.tree_map_with_path(leaf, templates)


def shape_of(model, *sides, count=2):
    """Of images that are `sides` strides high and wide, and four slices deep."""
    rows, columns = (side * model.stride for side in sides)
    depth = (4,) if model.ndim == 3 else ()
    return (count, *depth, rows, columns, model.in_channels)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


class Made(NamedTuple):
    """A network of neighboring slices, compiled once: what comes out, and the gradient."""

    params: Any
    flat: jax.Array
    tree: Callable[[jax.Array], Any]
    run: Callable[..., Any]
    shape: tuple[int, ...]

    def logits(self, images):
        return self.run(self.flat, images, images[..., :1])[0][1]


@functools.cache
def made(name):
    model = tiny(name, in_channels=3)
    params, state = filled(model)
    flat, tree = ravel_pytree(params)

    def loss(flat, images, target):
        logits, _ = model.apply(tree(flat), state, images, train=True)
        return optax.losses.sigmoid_binary_cross_entropy(logits, target).mean(), logits

    run = jax.jit(jax.value_and_grad(loss, has_aux=True))
    return Made(params, flat, tree, run, shape_of(model, 16 // model.stride, 16 // model.stride))


def test_these_are_all():
    assert set(models.registry._builtins) == {*TINY, *OTHERS}


def test_the_package_declares_what_the_registry_has():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["lungmask_jax.models"]
    assert declared == {name: f"lungmask_jax.models:{name}" for name in (*TINY, *OTHERS)}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in COMPILED_LONG else name
        for name in TINY
    ],
)
def test_it_keeps_what_a_network_promises(name):
    options = {**TINY[name], "in_channels": 3, "num_classes": 2, "dropout": 0.5}
    check_model(functools.partial(models.registry[name], **options))


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_other_norms_keep_it_too(norm):
    check_model(models.unet(channels=(4,), stem=4, norm=norm))


@every
def test_the_defaults_make_networks_of_moderate_size(name):
    params, _ = jax.eval_shape(models.create(name).init, jax.random.key(0))
    assert 1.5e6 < size(params) < 4e6


@pytest.mark.parametrize(
    "name",
    [name if name == "unet" else pytest.param(name, marks=pytest.mark.slow) for name in TINY],
)
def test_it_learns_a_disc_and_gradients_reach_every_parameter(name):
    net = made(name)
    rows, columns = np.mgrid[:16, :16]
    disc = ((rows - 8) ** 2 + (columns - 6) ** 2 < 20).astype(np.float32)
    target = np.broadcast_to(disc[..., None], (*net.shape[:-1], 1))
    images = noise(*net.shape) / 2 + target / 2
    (loss, _), gradient = net.run(net.flat, images, target)
    for leaf, each in trees.leaves(net.tree(gradient)).items():
        assert np.isfinite(each).all(), leaf
        assert np.any(each), leaf
    assert descended(net, images, target, 60) < 0.15 < 0.4 < loss


def descended(net, images, target, steps):
    """The loss after steps of Adam (Kingma and Ba, 2015)."""
    flat, mean, square = np.asarray(net.flat), 0.0, 0.0
    for step in range(1, steps + 1):
        (loss, _), gradient = jax.device_get(net.run(flat, images, target))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.9 * square + 0.1 * gradient**2
        scale = np.sqrt(square / (1 - 0.9**step)) + 1e-8
        flat = flat - 0.03 * mean / (1 - 0.9**step) / scale
    return loss


@every
def test_deep_supervision_adds_heads_and_nothing_else(name):
    model, plain = tiny(name, **THREE), tiny(name, **{**THREE, "deep_supervision": False})
    assert (model.heads, plain.heads) == (2, 1)
    many, few = (
        trees.leaves(jax.eval_shape(one.init, jax.random.key(0))) for one in (model, plain)
    )
    added = sorted(many.keys() - few.keys())
    assert added == ["0/further_heads/0/bias", "0/further_heads/0/kernel"]
    assert few.keys() < many.keys()
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    shape = shape_of(model, 2, 3)
    training = functools.partial(model.apply, train=True)
    answers, _ = jax.eval_shape(training, params, state, jnp.zeros(shape))
    assert (answers.shape, answers.dtype) == ((2, *shape), jnp.float32)


@pytest.mark.parametrize("name", ["unet", "unet_plus_plus"])
def test_the_answer_in_use_is_the_first_of_training(name):
    model = tiny(name, **THREE)
    params, state = filled(model)
    images = noise(*shape_of(model, 2, 3))
    answers, _ = jax.jit(functools.partial(model.apply, train=True))(params, state, images)
    logits, _ = jax.jit(model.apply)(params, state, images)
    np.testing.assert_allclose(answers[0], logits, atol=1e-5)
    assert np.abs(answers[1] - answers[0]).max() > 0.01


def test_a_further_head_of_the_unet_looks_at_a_coarser_level():
    model = tiny("unet", channels=[4, 4, 4], deep_supervision=True)
    params, state = filled(model)
    params["further_heads"][0]["kernel"] = jnp.zeros((4, 1))
    params["further_heads"][0]["bias"] = jnp.array([0.3])
    training = jax.jit(functools.partial(model.apply, train=True))
    answers, _ = training(params, state, noise(1, 8, 8, 1))
    np.testing.assert_allclose(answers[1], 0.3, rtol=1e-6)
    assert np.std(answers[0]) > 0.01


def test_batch_statistics_of_all_blocks_move_in_training_only():
    model = tiny("residual_unet", norm="batch")
    params, state = filled(model)
    images = noise(*shape_of(model, 1, 1))
    _, after = jax.jit(model.apply)(params, state, images)
    _, moved = jax.jit(functools.partial(model.apply, train=True))(params, state, images)
    before, after, moved = (trees.leaves(each) for each in (state, after, moved))
    assert before.keys() == moved.keys()
    for leaf in before:
        np.testing.assert_array_equal(before[leaf], after[leaf])
        assert (before[leaf] != moved[leaf]).any()


@every
def test_in_bfloat16_convolutions_are_and_parameters_and_norms_are_not(name):
    model = tiny(name, dtype="bfloat16")
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    program = str(jax.make_jaxpr(model.apply)(params, state, jnp.zeros(shape_of(model, 1, 1))))
    assert set(re.findall(r":(\w+)\[\S* = conv_general_dilated", program)) == {"bf16"}
    assert set(re.findall(r":(\w+)\[\S* = rsqrt", program)) == {"f32"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["attention_unet", "unet_3d"])
def test_bfloat16_is_close(name):
    net = made(name)
    images = noise(*net.shape)
    expected = net.logits(images)
    found, _ = jax.jit(tiny(name, in_channels=3, dtype="bfloat16").apply)(net.params, {}, images)
    assert found.dtype == jnp.float32
    difference = np.abs(found - expected)
    assert 0 < difference.mean() < 0.05 * np.std(expected)


@every
@pytest.mark.parametrize("axis", [-3, -2])
def test_sides_that_are_no_multiple_of_the_stride_are_refused(name, axis):
    model = tiny(name, stem=2)
    shape = list(shape_of(model, 2, 2))
    shape[axis] += model.stride // 2
    with pytest.raises(ShapeError, match=rf"expected .* multiples of .*{model.stride}.* found"):
        model.apply({}, {}, jnp.zeros(shape))


@every
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, "in_channels from 1 to 65,536 in whole numbers, found 0"),
        ({"in_channels": 1.0}, "in_channels from 1 .* found 1.0"),
        ({"num_classes": 0}, "num_classes from 1 .* found 0"),
        ({"num_classes": True}, "num_classes from 1 .* found True"),
        ({"channels": []}, r"channels of at least one level and at most 12, found \[\]"),
        ({"channels": [2] * 10**5}, "at most 12, found .2, 2"),
        ({"channels": "abc"}, "channels of at least one level .* found 'abc'"),
        ({"channels": 8}, "channels of at least one level .* found 8"),
        ({"channels": [8, 0]}, "channels from 1 .* found 0"),
        ({"channels": [8, -1]}, "channels from 1 .* found -1"),
        ({"channels": [8.0, 8]}, "channels from 1 .* found 8.0"),
        ({"channels": [1e9]}, "channels from 1 .* found 1000000000.0"),
        ({"channels": [10**9]}, "channels from 1 .* found 1000000000"),
        ({"stem": "two"}, "stem from 1 .* found 'two'"),
        ({"dropout": "much"}, r"dropout in \[0, 1\), found 'much'"),
        ({"dropout": float("nan")}, r"dropout in \[0, 1\), found nan"),
        ({"deep_supervision": "no"}, "deep_supervision true or false, found 'no'"),
        ({"stem": 3}, "a stem of 1, 2 or 4, found 3"),
        ({"norm": "layer"}, "norm 'group', 'batch' or 'none', found 'layer'"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\), found 1.0"),
        ({"dtype": "float16"}, "dtype 'float32' or 'bfloat16', found 'float16'"),
        (
            {"deep_supervision": True, "channels": [8, 8]},
            r"three or more levels for deep_supervision, found channels \(8, 8\)",
        ),
        ({"depth": 3}, "the options {'depth': 3} do not fit"),
    ],
)
def test_options_out_of_range_are_refused(name, options, message):
    with pytest.raises(SpecError, match=message):
        models.create(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("residual_unet", {"blocks": 0}, "blocks from 1 to 100 in whole numbers, found 0"),
        ("residual_unet", {"blocks": 10**9}, "blocks from 1 to 100 .* found 1000000000"),
        ("residual_unet", {"blocks": [1]}, r"blocks from 1 .* found \[1\]"),
        ("multires_unet", {"channels": [5, 12]}, r"channels of at least 6, found \(5, 12\)"),
        ("unet_3d", {"flat_levels": 5}, "flat_levels from 0 to 4 .* found 5"),
        ("unet_3d", {"flat_levels": -1}, "flat_levels from 0 to 4 .* found -1"),
    ],
)
def test_options_of_their_own_out_of_range_are_refused(name, options, message):
    with pytest.raises(SpecError, match=f"expected {message}"):
        models.create(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # i -> o without norms: a 3x3 convolution has 9 i o + o numbers, a 1x1 has i o + o.
        # Encoder 1 -> 4 -> 4 (40 + 148) and 4 -> 8 -> 8 (296 + 584), decoder 12 -> 4 -> 4
        # (436 + 148), head 4 -> 1 (5); that is a U-Net of 1657
        ("unet", {}, 1657),
        # the gate: skip 4 * 4 -> 2 without bias (32), coarser 8 -> 2 (18), answer 2 -> 1 (3)
        ("attention_unet", {}, 1657 + 32 + 18 + 3),
        # 1x1 convolutions 1 -> 4 (8), 4 -> 8 (40), 12 -> 4 (52)
        ("residual_unet", {"blocks": 1}, 1657 + 8 + 40 + 52),
        # a second block for each level of the encoder, 4 -> 4 -> 4 and 8 -> 8 -> 8
        ("residual_unet", {"blocks": 2}, 1657 + 8 + 40 + 52 + 2 * 148 + 2 * 584),
        # with two levels there is nothing to nest
        ("unet_plus_plus", {}, 1657),
        # level 2: 8 -> 8 -> 8 (584 each); its nodes: (1, 1) 16 -> 8 -> 8 (1160 + 584) and
        # (0, 2) 4 + 4 + 8 -> 4 -> 4 (580 + 148)
        ("unet_plus_plus", {"channels": [4, 8, 8]}, 1657 + 2 * 584 + 1160 + 584 + 580 + 148),
        # 27 for 9 where depth is seen
        ("unet_3d", {"flat_levels": 0}, 1657 + 18 * (4 + 16 + 32 + 64 + 48 + 16)),
        ("unet_3d", {"flat_levels": 1}, 1657 + 18 * (32 + 64)),
        # blocks of 6: 3x3 of i -> 1 -> 2 -> 3 (9i + 1, 20, 57), 1x1 of i -> 6 (6i + 6), and twice
        # as wide i -> 2 -> 4 -> 6 (18i + 2, 76, 222), 12i + 12. Encoder 1 -> 6 -> 12, decoder
        # 18 -> 6, one residual convolution on the skip (330 + 42), head 6 -> 1 (7)
        (
            "multires_unet",
            {"channels": [6, 12]},
            (15 + 84) + (30 * 6 + 312) + (15 * 18 + 84) + (330 + 42) + 7,
        ),
    ],
)
def test_parameters_are_as_many_as_by_hand(name, options, expected):
    model = models.create(name, **{"channels": [4, 8], "stem": 1, "norm": "none", **options})
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    assert (size(params), size(state)) == (expected, 0)


def test_a_residual_block_without_a_body_is_a_relu():
    block = Residual(lambda features: jnp.zeros_like(features), None)
    assert block(jnp.array([[-1.0, 2.0]])).tolist() == [[0.0, 2.0]]


def test_the_body_of_a_residual_block_may_take_away():
    features = jnp.asarray(noise(1, 4, 4, 2))
    block = ConvBlock((2, 2, 2), STYLE, nnx.Rngs(0), last_relu=False)
    assert block(features).min() < 0
    first, last = block.steps(features)
    assert first.min() == 0
    np.testing.assert_array_equal(last, block(features))


def test_two_levels_of_unet_plus_plus_are_a_unet():
    options = {"channels": [4, 8], "stem": 1}
    model = models.unet(**options)
    params, state = filled(model)
    images = noise(1, 8, 8, 1)
    expected, _ = jax.jit(model.apply)(params, state, images)
    found, _ = jax.jit(models.unet_plus_plus(**options).apply)(params, state, images)
    np.testing.assert_array_equal(found, expected)


def test_with_open_gates_the_attention_unet_is_a_unet():
    options = {"channels": [4, 8], "stem": 1}
    params, state = filled(models.attention_unet(**options))
    answer = params["skips"][0]["answer"]
    answer["kernel"], answer["bias"] = jnp.zeros_like(answer["kernel"]), jnp.full((1,), 30.0)
    images = noise(1, 8, 8, 1)
    found, _ = jax.jit(models.attention_unet(**options).apply)(params, state, images)
    rest = {part: values for part, values in params.items() if part != "skips"}
    expected, _ = jax.jit(models.unet(**options).apply)(rest, state, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_gate_is_the_formula_of_its_paper():
    gate = Gate(2, 3, (2, 2), STYLE, nnx.Rngs(0))
    features, coarser = noise(1, 4, 4, 2), noise(1, 2, 2, 3, seed=1)
    found = gate.weights(jnp.asarray(features), jnp.asarray(coarser))
    kernel = np.asarray(gate.skip.kernel).reshape(2, 2, 2, 1)  # rows, columns, inputs, outputs
    for row, column in np.ndindex(2, 2):
        block = features[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        inner = np.tensordot(block, kernel, 3) + coarser[0, row, column] @ gate.coarser.kernel
        inner = np.maximum(inner + gate.coarser.bias, 0) @ gate.answer.kernel + gate.answer.bias
        np.testing.assert_allclose(found[0, row, column], 1 / (1 + np.exp(-inner)), rtol=1e-5)
    gated = gate(jnp.asarray(features), jnp.asarray(coarser))
    assert (np.abs(gated) <= np.abs(features)).all()


def test_a_multires_block_sees_three_five_and_seven_pixels():
    block = SideBySide((1, 1, 1, 1), STYLE, nnx.Rngs(0))
    for convolution in block.block.convolutions:
        convolution.kernel[...] = jnp.ones((3, 3, 1, 1))
    middle = np.zeros((1, 9, 9, 1), np.float32)
    middle[0, 4, 4, 0] = 1
    seen = np.asarray(block(jnp.asarray(middle)))[0] > 0
    for channel, width in enumerate((3, 5, 7)):
        assert seen[..., channel].sum() == width**2
        assert seen[4 - width // 2 : 5 + width // 2, 4, channel].all()


@pytest.mark.parametrize("shape", [(3, 3, 3), (1, 3, 3), (3, 1, 1)])
def test_a_convolution_by_slices_is_that_of_volumes(shape):
    volumes, kernel = jnp.asarray(noise(2, 5, 4, 6, 3)), jnp.asarray(noise(*shape, 3, 2))
    layout = ("NDHWC", "DHWIO", "NDHWC")
    expected = jax.lax.conv_general_dilated(volumes, kernel, (1, 1, 1), "SAME", None, None, layout)
    np.testing.assert_allclose(by_slices(volumes, kernel), expected, rtol=1e-5)


def test_with_flat_levels_alone_a_volume_is_its_slices():
    options = {"channels": [4, 8], "stem": 2, "norm": "none"}
    model = models.unet_3d(**options, flat_levels=2)
    assert (model.stride, model.depth_stride) == (4, 1)
    params, state = filled(model)
    volume = noise(1, 3, 8, 8, 1)
    found, _ = jax.jit(model.apply)(params, state, volume)
    flat = jax.tree.map(lambda leaf: leaf[0] if leaf.ndim == 5 else leaf, params)
    expected, _ = jax.jit(models.unet(**options).apply)(flat, state, volume[0])
    np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-5)


def test_a_volume_is_more_than_its_slices():
    model = models.unet_3d(channels=[4, 8], stem=1, norm="none", flat_levels=1)
    params, state = filled(model)
    volume = noise(1, 6, 4, 4, 1)
    changed = volume.copy()
    changed[0, 0] += 1
    apply = jax.jit(model.apply)
    one, other = (np.asarray(apply(params, state, each)[0]) for each in (volume, changed))
    differs = np.abs(one - other).max(axis=(0, 2, 3, 4)) > 1e-6
    assert differs.tolist() == [True] * 3 + [False] * 3  # two convolutions of three slices


@pytest.mark.parametrize(("flat_levels", "expected"), [(0, 4), (1, 2), (2, 1), (3, 1)])
def test_thick_slices_need_not_be_many(flat_levels, expected):
    model = models.unet_3d(channels=[4, 4, 4], flat_levels=flat_levels)
    assert (model.ndim, model.stride, model.depth_stride) == (3, 8, expected)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    shape = (1, 3 * expected, 8, 16, 1)
    assert jax.eval_shape(model.apply, params, state, jnp.zeros(shape))[0].shape == shape
    if expected > 1:
        message = rf"multiples of \({expected}, 8, 8\), found \({expected // 2}, 8, 8\)"
        with pytest.raises(ShapeError, match=message):
            model.apply({}, {}, jnp.zeros((1, expected // 2, 8, 8, 1)))


def test_grids_of_volumes_are_folded_pooled_and_put_back():
    volume = jnp.asarray(noise(2, 4, 6, 8, 3))
    folded = space_to_depth(volume, (1, 2, 4))
    assert folded.shape == (2, 4, 3, 2, 24)
    np.testing.assert_array_equal(folded[0, 1, 2, 1], volume[0, 1, 4:6, 4:8].reshape(-1))
    np.testing.assert_array_equal(depth_to_space(folded, (1, 2, 4)), volume)
    means = pooled(volume, (2, 1, 2))
    np.testing.assert_allclose(means[1, 0, 5, 3], volume[1, :2, 5, 6:8].mean((0, 1)), rtol=1e-6)
    np.testing.assert_allclose(pooled(enlarged(means, (2, 1, 2)), (2, 1, 2)), means, rtol=1e-6)


def test_interpolation_is_linear_between_centers():
    ramp = jnp.array([0.0, 4.0]).reshape(1, 1, 2, 1)
    assert interpolated(ramp, (1, 4)).ravel().tolist() == [0.0, 1.0, 3.0, 4.0]


@pytest.mark.parametrize("shape", [(3, 3, 4, 8), (40, 500), (1, 3, 3, 2, 2)])
def test_kernels_begin_with_the_numbers_of_lecun(key, shape):
    expected = jax.nn.initializers.lecun_normal()(key, shape)
    np.testing.assert_allclose(lecun_normal(key, shape), expected, rtol=1e-6)


def test_coarse_features_are_convolved_as_if_they_had_been_enlarged(key):
    features, kernel = jax.random.normal(key, (2, 5, 7, 3)), jax.random.normal(key, (3, 3, 3, 4))
    expected = jax.lax.conv_general_dilated(
        enlarged(features, (2, 2)),
        kernel,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    np.testing.assert_allclose(convolved_enlarged(features, kernel), expected, atol=1e-4)


@pytest.mark.parametrize("sides", [(6, 5), (3, 4, 5)])
def test_the_group_norm_is_that_of_flax(key, sides):
    features = 3 + 2 * jax.random.normal(key, (2, *sides, 8))
    ours, theirs = GroupNorm(8, 4), nnx.GroupNorm(8, num_groups=4, rngs=nnx.Rngs(0))
    for norm in (ours, theirs):
        norm.scale[...] = jnp.arange(1.0, 9.0)
        norm.bias[...] = jnp.arange(8.0)
    np.testing.assert_allclose(ours(features), theirs(features), atol=1e-4)
