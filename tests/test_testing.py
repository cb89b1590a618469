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

from lungmask_jax import postprocess, tasks
from lungmask_jax.errors import ConformanceError, ShapeError
from lungmask_jax.models import Model, from_nnx
from lungmask_jax.tasks import Task
from lungmask_jax.testing import check_loss, check_model, check_step, check_task

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


@pytest.mark.parametrize("task", list(tasks.registry))
def test_tasks_of_this_library_keep_to_it(task):
    assert check_task(tasks.registry[task]) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "a b"}, "a name of letters, digits and _, found 'a b'"),
        ({"inside": "lung"}, "a task to lie inside, found 'lung': name one of 'infection'|infect"),
        ({"colors": {1: (0, 0, 300)}}, r"a color of 1 \(mine\), found \(0, 0, 300\)"),
        ({"labels": {2: "b"}, "colors": {1: (0, 0, 0)}}, r"a color of 2 \(b\), found None"),
        ({"preprocess": {"sise": 3}}, "preprocess that the library can use, found TypeError"),
        ({"training": {"steps": -1}}, "training that the library can use, found SpecError"),
        ({"postprocess": (("sidez", {}),)}, "postprocess .* found UnknownNameError"),
    ],
)
def test_what_a_task_says_is_looked_at(fields, message):
    with pytest.raises(ConformanceError, match=message):
        check_task(Task(**{"name": "mine", **fields}))


OTHER_KINDS = {"calibration", "threshold", "most_likely", "crop"}
STEPS = {*postprocess.registry} - OTHER_KINDS


@pytest.mark.parametrize("name", sorted(STEPS))
def test_steps_of_this_library_keep_to_it(name):
    assert check_step(postprocess.registry[name]) is None


def overwriting(mask):
    mask.array[...] = 1
    return mask


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda mask, share=0.1: mask, "given by name, found share=0.1"),
        (lambda mask, *, share: mask, "a default for the option 'share', found none"),
        (lambda mask: mask.array, r"a mask of shape \(4, 48, 48\), found ndarray"),
        (lambda mask, ct: mask.with_array(mask.array * (ct.array / 1000)), "labels from 0 to 255"),
        (lambda mask: mask.with_array(mask.array + np.uint8(next(DRAWS) % 200)), "the same mask"),
        (lambda mask: mask.with_array(mask.array // mask.array.max()), "found \\w+Error|Warning"),
        (overwriting, "a mask that is left as it is"),
    ],
)
def test_what_a_step_gives_is_looked_at(step, message):
    with pytest.raises(ConformanceError, match=message):
        check_step(step)


ON_FOUR = """
import jax, jax.numpy as jnp
from lungmask_jax import losses, testing

assert len(jax.devices()) == 4
testing.check_loss(losses.dice)
print("passed")
testing.check_loss(lambda logits, targets: losses.dice(logits, targets) + (len(logits) == 4))
"""


def test_images_are_divided_among_several_devices():
    four = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    flags = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": four}
    code, environment = [sys.executable, "-c", ON_FOUR], {**os.environ, **flags}
    done = subprocess.run(code, env=environment, capture_output=True, text=True)
    assert done.stdout == "passed\n"
    assert "expected the same losses of images divided among 4 devices, found a diff" in done.stderr
