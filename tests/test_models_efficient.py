"""The U-Net with an encoder of inverted bottlenecks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lungmask_jax import models, trees
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.models._depthwise import depthwise
from lungmask_jax.testing import check_model

TINY = {"channels": [4, 4, 4, 4], "width": 0.1, "depth": 0.3}  # one stage of two blocks


def by_xla(features, kernel, stride):
    return jax.lax.conv_general_dilated(
        features,
        kernel[:, :, None],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=features.shape[-1],
    )


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_depthwise_convolution_and_its_gradients_are_those_of_xla(key, size, stride):
    keys = jax.random.split(key, 3)
    features = jax.random.normal(keys[0], (2, 8, 12, 3))
    kernel = jax.random.normal(keys[1], (size, size, 3))
    weight = jax.random.normal(keys[2], (2, 8 // stride, 12 // stride, 3))

    def all_of(convolve):
        def total(features, kernel):
            found = convolve(features, kernel, stride)
            return (found * weight).sum(), found

        run = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
        return run(features, kernel)

    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4),
        all_of(depthwise),
        all_of(by_xla),
    )


def test_it_keeps_what_a_network_promises():
    check_model(lambda: models.efficient_unet(**TINY, in_channels=3, num_classes=2, dropout=0.5))


@pytest.mark.parametrize(
    ("options", "published", "top"),
    [
        ({}, 4_652_008, 320),
        ({"depth": 1.1}, 5_416_680, 320),
        ({"width": 1.1, "depth": 1.2}, 6_092_072, 352),
    ],
    ids=["Lite0", "Lite1", "Lite2"],
)
def test_the_encoder_is_as_large_as_published(options, published, top):
    params, state = jax.eval_shape(models.efficient_unet(**options).init, jax.random.key(0))
    found = trees.leaves((params["encoder"], state))
    biases = sum(leaf.size for name, leaf in found.items() if name.endswith("bias"))
    # Google's tables say 4.7, 5.4 and 6.1 million; without the last convolution and classifier, one
    # number a channel for a norm's two, and a stem of one color and 4x4 instead of three and 3x3
    last = top * 1280 + 2 * 1280 + 1280 * 1000 + 1000
    stem = 3 * 3 * 3 * 32 - 4 * 4 * 32
    assert sum(leaf.size for leaf in found.values()) == published - last - biases - stem


@pytest.fixture(scope="module")
def fresh():
    """A tiny network, its numbers and images."""
    model = models.efficient_unet(**TINY)
    images = np.random.default_rng(0).random((2, 64, 64, 1), np.float32)
    return model, *model.init(jax.random.key(0)), jnp.asarray(images)


def test_gradients_reach_every_parameter_and_depthwise_kernels_are_none(fresh):
    model, params, state, images = fresh
    names = {name.rsplit("/", 1)[-1] for name in trees.leaves(state)}
    assert names == {"kernel"}
    assert {leaf.ndim for leaf in jax.tree.leaves(state)} == {3}

    def loss(params):
        logits, after = model.apply(params, state, images, train=True)
        return (logits**2).mean(), after

    gradient, after = jax.jit(jax.grad(loss, has_aux=True))(params)
    for name, leaf in trees.leaves(gradient).items():
        assert np.isfinite(leaf).all(), name
        assert np.any(leaf), name
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_fresh_weights_neither_fade_nor_explode(fresh):
    model, params, state, images = fresh
    logits, _ = jax.jit(model.apply)(params, state, images)
    assert 0.05 < float(jnp.std(logits)) < 20


def test_deep_supervision_answers_at_every_level_of_the_decoder():
    model = models.efficient_unet(**TINY, deep_supervision=True)
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    images = jnp.zeros((1, 32, 64, 1))
    answers, _ = jax.eval_shape(
        lambda *given: model.apply(*given, train=True), params, state, images
    )
    assert model.heads == 4
    assert answers.shape == (4, 1, 32, 64, 1)


def test_in_bfloat16_parameters_are_still_float32():
    model = models.efficient_unet(**TINY, dtype="bfloat16")
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((params, state))} == {jnp.dtype("float32")}
    program = str(jax.make_jaxpr(model.apply)(params, state, jnp.zeros((1, 32, 32, 1))))
    assert "conv_general_dilated" in program
    assert "bf16[1,16,16" in program


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": [8, 8]}, r"channels of 4 levels, found \(8, 8\)"),
        ({"width": 0}, "a width above 0, found 0"),
        ({"depth": float("inf")}, r"depth in \[0, 16\), found inf"),
        ({"width": "wide"}, r"width in \[0, 16\), found 'wide'"),
        ({"channels": 8}, "channels of at least one level .* found 8"),
        ({"norm": "layer"}, "norm 'group', 'batch' or 'none', found 'layer'"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(SpecError, match=f"expected {message}"):
        models.efficient_unet(**options)


def test_sides_that_are_no_multiple_of_32_are_refused():
    with pytest.raises(ShapeError, match="multiples of 32, found"):
        models.efficient_unet(**TINY).apply({}, {}, jnp.zeros((1, 32, 48, 1)))
