import functools
import itertools
import os
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lungmask_jax.errors import ConformanceError, ShapeError
from lungmask_jax.models import Model, from_nnx
from lungmask_jax.testing import check_loss, check_metric, check_model, check_preprocess

DRAWS = itertools.count()  # for parts that draw numbers of their own


def init(key):
    return {"w": jnp.float32(2), "b": jax.random.normal(key)}, {"seen": jnp.float32(0)}


def apply(params, state, images, *, train=False, key=None):
    if images.shape[-1] != 1:
        raise ShapeError(f"expected images of one channel, found {images.shape}")
    return images * params["w"] + params["b"], {"seen": state["seen"] + float(train)}


def changed(change, *, only=(False, True), **fields):
    """The network whose logits and state go through a change, in training or out of it."""

    def changing(params, state, images, *, train=False, key=None):
        logits, after = apply(params, state, images)
        return change(logits, after) if train in only else (logits, after)

    return Model(init, changing, **fields)


def answering(change, **options):
    """The network whose logits go through a change."""
    return changed(lambda logits, state: (change(logits), state), **options)


def noisy(logits):
    return logits + next(DRAWS)


def stretched(logits):
    low, high = (limit(logits, axis=(1, 2, 3), keepdims=True) for limit in (jnp.min, jnp.max))
    return (logits - low) / (high - low)


def by_value(logits):
    return logits if float(logits.sum()) > 0 else -logits


def folded(images):
    """A network of stride 2 that also takes other sides."""
    return jnp.repeat(jnp.repeat(images[:, ::2, ::2], 2, axis=1), 2, axis=2)[
        :, : images.shape[1], : images.shape[2]
    ]


def volumes(*, heads=2):
    def apply(params, state, images, *, train=False, key=None):
        _, depth, rows, columns, channels = images.shape
        if depth % 2 or rows % 4 or columns % 4 or channels != 3:
            raise ShapeError("expected images that fit")
        logits = params["w"] * images.mean(axis=-1, keepdims=True)
        return (jnp.stack([logits] * heads) if train else logits), state

    return Model(lambda key: ({"w": jnp.float32(1)}, {}), apply, 3, 1, 4, 3, 2, heads)


@pytest.mark.parametrize("model", [Model(init, apply), lambda: Model(init, apply), volumes])
def test_a_network_that_keeps_to_it_passes(model):
    assert check_model(model) is None


def test_a_network_without_parameters_or_state_passes():
    check_model(from_nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (3, "a Model or a function that makes one, found 3"),
        (lambda: "net", "returns a Model, found str: return what from_nnx"),
        (lambda width=4: Model(init, apply), r"given by name, found width=4: put a \* before"),
        (functools.partial(lambda a=1, b=2: Model(init, apply), a=3), "given by name, found .*a=3"),
        (lambda **options: Model(init, apply), r"given by name, found \*\*options"),
        (lambda *, width: Model(init, apply), "a default for the option 'width', found none"),
        (lambda *, kind=jnp.sin: Model(init, apply), "'kind' that JSON can hold.*take numbers"),
        (lambda *, at=(1,): Model(init, apply, {(1,): 1}[at]), "lists for tuples, found TypeError"),
        (Model(init, apply, ndim=4), "ndim 2 or 3, found 4"),
        (Model(init, apply, stride=0), "stride of at least 1, found 0: give a Python int"),
        (Model(types.SimpleNamespace(), apply), "a key of a dict, found TypeError"),
    ],
)
def test_what_a_network_says_of_itself_is_looked_at(model, message):
    with pytest.raises(ConformanceError, match=message):
        check_model(model)


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (lambda key: {"w": jnp.ones(2)}, "params, state of init, found a dict: return both"),
        (
            lambda key: ({"w": jnp.int32(1)}, {}),
            "floating dtypes in params, found int32 in w: keep",
        ),
        (lambda key: ({"w": jnp.float32(next(DRAWS))}, {}), "same again.*use the key"),
        (lambda key: ({"w": jnp.log(jnp.zeros(3))}, {}), "finite .* found 3 of 3 .* in 0/w"),
        (
            lambda key: ({}, {"key": key}),
            "number dtypes in the state, found key<fry> in key: keep no",
        ),
        (lambda key: ({"w": float(key)}, {}), r"under jax\.vmap, found .*: use jax\.numpy"),
    ],
)
def test_what_init_gives_is_looked_at(init, message):
    with pytest.raises(ConformanceError, match=message):
        check_model(Model(init, apply))


def test_a_state_that_a_bundle_cannot_hold_is_found():
    twice = {"w": jnp.float32(2), "b": jnp.float32(1), "a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}
    with pytest.raises(ConformanceError, match=r"a weights bundle can hold, found .*nested dicts"):
        check_model(Model(lambda key: (twice, {"seen": jnp.float32(0)}), apply))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            answering(lambda x: x[:, ::2]),
            r"logits float32\(3, 3, 1, 1\).*found float32\(3, 2, 1, 1\): return to",
        ),
        (answering(lambda x: x.astype(jnp.bfloat16)), r"found bfloat16\(3, 1, 1, 1\)"),
        (Model(init, apply, num_classes=2), r"float32\(3, 1, 1, 2\)"),
        (Model(init, apply, heads=2), r"float32\(2, 3, 2, 5, 1\).*train=True, found .*heads"),
        (changed(lambda x, state: x), r"\(logits, state\).*found \w+: return both"),
        (changed(lambda x, state: (x, {})), "a state of the leaves .*seen.* found {}"),
        (answering(by_value), "an output for images .*found ConcretizationTypeError"),
        (Model(init, lambda p, s, x, **_: (x * p["w"], s)), "error for images .*raise a ShapeErr"),
        (answering(folded, stride=2), r"error for images \(1, 4, 5, 1\) where \(1, 4, 4, 1\)"),
        (answering(lambda x: x - x.mean()), "whatever is beside it .* found a difference of"),
        (answering(noisy, only=[False]), "whatever is beside it .* no random numbers without a"),
        (answering(stretched), "finite .* logits.*guard divisions"),
        (changed(lambda x, s: (x, {"seen": s["seen"] + 1})), "not to change the state"),
        (answering(noisy, only=[True]), "gradients in training .*same again.* use the key"),
        (
            answering(jax.lax.stop_gradient, only=[True]),
            "not 0 .*found no trainable parameter",
        ),
        (answering(lambda x: jnp.sqrt(jnp.abs(x - x)), only=[True]), "finite .*the gradient"),
    ],
)
def test_what_apply_gives_is_looked_at(model, message):
    with pytest.raises(ConformanceError, match=message):
        check_model(model)


def test_more_tolerance_lets_coarse_networks_pass():
    def coarse(logits):  # another rounding for another batch
        return logits + 0.01 * len(logits)

    check_model(answering(coarse), tolerance=0.1)
    with pytest.raises(ConformanceError, match="whatever is beside it"):
        check_model(answering(coarse))


def squares(logits, targets):
    if logits.shape != targets.shape:
        raise ShapeError("expected one shape")
    return ((jax.nn.sigmoid(logits) - targets) ** 2).mean(tuple(range(1, logits.ndim)))


def of_classes(logits, targets):
    if logits.shape[-1] < 2:
        raise ShapeError("expected several classes")
    return squares(logits, targets)


@pytest.mark.parametrize("loss", [squares, of_classes, functools.partial(squares)])
def test_a_loss_that_keeps_to_it_passes(loss):
    assert check_loss(loss) is None


def refusing(logits, targets):
    raise ShapeError("expected something else")


def broadcasting(logits, targets):
    return ((logits - targets.reshape(logits.shape)) ** 2).mean(tuple(range(1, logits.ndim)))


def careless(logits, targets):
    p = jax.nn.sigmoid(logits)
    each = targets * jnp.log(p) + (1 - targets) * jnp.log(1 - p)
    return -each.mean(tuple(range(1, logits.ndim)))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x, t, smooth=1.0: squares(x, t), "given by name, found smooth=1.0"),
        (refusing, r"one channel or of two, found a ShapeError for both"),
        (lambda x, t: squares(x, t).mean(), r"float32\(5,\).*found float32\(\): take the mean"),
        (lambda x, t: squares(x, t).astype(jnp.float16), "found float16"),
        (lambda x, t: squares(x, t) if x.sum() > 0 else 0, "found TracerBoolConversionError"),
        (lambda x, t: squares(x, t) + x.mean(), "the same losses of an image whatever is beside"),
        (lambda x, t: -squares(x, t), "lower losses for right logits .* 1 - Dice"),
        (broadcasting, r"an error for targets \(2, 4, 4\) beside logits \(2, 4, 4, 1\)"),
        (careless, "finite numbers in .* of logits up to 1e4.*log_sigmoid"),
    ],
)
def test_what_a_loss_gives_is_looked_at(loss, message):
    with pytest.raises(ConformanceError, match=message):
        check_loss(loss)


def accuracy(prediction, target):
    if prediction.shape != target.shape or max(prediction.max(), target.max()) > 1:
        raise ShapeError("expected two masks of one shape")
    return float((prediction == target).mean())


@pytest.mark.parametrize(
    "metric", [accuracy, lambda *masks: {"error": 1 - accuracy(*masks), "bins": np.full(2, np.nan)}]
)
def test_a_metric_that_keeps_to_it_passes(metric):
    assert check_metric(metric) is None


def overwriting(prediction, target):
    prediction[...] = prediction == target
    return float(prediction.mean())


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda p, t: np.float32(accuracy(p, t)), "plain numbers of a metric, found float32"),
        (overwriting, "masks that are not changed"),
        (lambda p, t: accuracy(p, t) + next(DRAWS), "the same value again"),
        (lambda p, t: float("inf"), r"finite numbers .* found \[inf\]"),
        (lambda p, t: float(t.sum()), r"a right and a wrong prediction, found \[12.0\]"),
        (
            lambda p, t: accuracy(p, t) + p.itemsize,
            "of masks of bool.*convert masks to booleans first",
        ),
        (lambda p, t: accuracy(p, t) / int(t.sum()), "every pair of masks, found ZeroDivision"),
        (lambda p, t: float(np.sum(p > 0) - np.sum(t > 0)), "an error for masks of two shapes"),
        (lambda p, t: float((p == t).mean()), "an error for a mask of the labels 0 and 2"),
    ],
)
def test_what_a_metric_gives_is_looked_at(metric, message):
    with pytest.raises(ConformanceError, match=message):
        check_metric(metric)


def halved(images):
    return jnp.tanh(images / 100)[:, ::2, ::2, None]


def test_a_step_of_preprocessing_that_keeps_to_it_passes():
    assert check_preprocess(halved, values=(-1000.0, 1000.0)) is None


def inverting(images):
    if isinstance(images, np.ndarray):
        images *= -1
    return -images


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (np.sort, "under jax.jit, found TracerArrayConversionError .*use jax"),
        (lambda x: x.mean((1, 2)), r"float32 \(3, H, W\) or .* found float32\(3,\)"),
        (lambda x: (255 * x).astype(jnp.uint8), "found uint8"),
        (lambda x: x.reshape(-1, 4, 4)[:3], "whatever is beside it|found TypeError"),
        (lambda x: x - x.mean(), "the same images of an image whatever is beside it"),
        (lambda x: x / (x - x.min((1, 2), keepdims=True)).max((1, 2), keepdims=True), "finite"),
        (lambda x: jnp.sqrt(x - x.min((1, 2), keepdims=True)), "finite .* in the gradient"),
        (inverting, "images that are not changed"),
    ],
)
def test_what_a_step_of_preprocessing_gives_is_looked_at(function, message):
    with pytest.raises(ConformanceError, match=message):
        check_preprocess(function)


ON_FOUR = """
import jax, jax.numpy as jnp
from lungmask_jax import losses, models, preprocess, testing

assert len(jax.devices()) == 4
testing.check_loss(losses.dice)
print("passed")
testing.check_preprocess(lambda images: images + 0.1 * (len(images) == 4))
"""


def test_images_are_divided_among_several_devices():
    four = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": four}
    code, environment = [sys.executable, "-c", ON_FOUR], {**os.environ, **flags}
    done = subprocess.run(code, env=environment, capture_output=True, text=True)
    assert done.stdout == "passed\n"
    assert "expected the same images of images divided among 4 devices, found a diff" in done.stderr
