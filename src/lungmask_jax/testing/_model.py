"""Checks of networks."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from lungmask_jax import trees, weights
from lungmask_jax.models import Model
from lungmask_jax.spec import SegmenterSpec
from lungmask_jax.tasks import INFECTION
from lungmask_jax.testing._batch import outputs
from lungmask_jax.testing._expect import (
    TRACEABLE,
    expect,
    expect_close,
    expect_finite,
    expect_refusal,
    floats,
    jitted,
    plain_options,
    result,
    tried,
)

_KEY = "use the key that is given, and no other source of random numbers"


def check_model(model: Model | Callable[..., Model], *, tolerance: float = 1e-3) -> None:
    """Checks that a network can be trained, stored and used like a built-in one.

    - A function that makes one has options by name, with defaults that JSON can hold.
    - ``init`` works under ``jit`` and ``vmap``, and the same key gives the same numbers; they go
      through a weights bundle unchanged.
    - ``apply`` gives float32 logits of the shape that `Model` says, for all sides that are
      multiples of the strides, and refuses others; under ``jit`` and ``vmap``; finite also for
      images of one value; independent for each image. It does not change the state.
    - In training, too, the same key gives the same output; the state keeps its shapes, gradients
      are finite, and not all are 0.

    Args:
        model: A `Model`, or a function that makes one. Its defaults are checked;
            ``functools.partial(my_net, channels=(4, 8))`` is smaller and faster.
        tolerance: Largest difference between two ways to the same logits, as a share of the
            largest logit; use more for networks that compute in bfloat16.

    Raises:
        ConformanceError: At the first failure.

    Example:
        >>> from flax import nnx
        >>> from lungmask_jax.models import from_nnx
        >>> check_model(lambda: from_nnx(lambda rngs: nnx.Conv(1, 1, (3, 3), rngs=rngs)))
        >>> check_model(lambda: from_nnx(lambda rngs: nnx.Conv(1, 2, (3, 3), rngs=rngs)))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ConformanceError: expected logits float32(3, 1, 1, 1) of images ...
    """
    __tracebackhide__ = True
    if not isinstance(model, Model):
        model = _made(model)
    with jax.default_matmul_precision("highest"):  # so that all ways agree on a GPU, too
        _check_sizes(model)
        numbers = _numbers(model)
        _check_shapes(model, *numbers)
        _check_bundle(*numbers)
        _check_outputs(model, *numbers, tolerance)
        _check_training(model, *numbers)


def _made(build: Callable[..., Model]) -> Model:
    __tracebackhide__ = True
    expect(callable(build), "a Model or a function that makes one", repr(build), "give one of them")
    options = plain_options(build, positional=0)
    model: Model = tried(
        "a model of the defaults, with lists for tuples",
        "take options as JSON brings them back",
        lambda: build(**options),
    )
    expect(
        isinstance(model, Model),
        "a function that returns a Model",
        type(model).__name__,
        "return what from_nnx or from_linen makes, or Model(init, apply)",
    )
    return model


def _check_sizes(model: Model) -> None:
    """What a model says about itself."""
    __tracebackhide__ = True
    tried("a model that can be a key of a dict", "take functions for init and apply", hash, model)
    expect(model.ndim in (2, 3), "ndim 2 or 3", model.ndim, "2 for slices, 3 for volumes")
    for name in ("in_channels", "num_classes", "stride", "depth_stride", "heads"):
        value = getattr(model, name)
        expect(
            isinstance(value, int) and value >= 1,
            f"{name} of at least 1",
            repr(value),
            "give a Python int",
        )


def _numbers(model: Model) -> tuple[Any, Any]:
    """Parameters and state."""
    __tracebackhide__ = True
    key, expected = jax.random.key(0), "params, state of init"
    tried(f"{expected} under jax.vmap", TRACEABLE, jax.eval_shape, jax.vmap(model.init), key[None])
    numbers = result(model.init, key, expected=expected, advice=_KEY)
    expect(
        isinstance(numbers, tuple) and len(numbers) == 2,
        expected,
        f"a {type(numbers).__name__}",
        "return both, an empty dict for no state",
    )
    params, state = numbers
    _check_dtypes(params, jnp.floating, "keep untrained values in the state")
    _check_dtypes(state, jnp.number, "keep no keys, flags or texts there")
    expect_finite(numbers, "what init gives", "look at the initializers")
    return params, state


def _check_dtypes(tree: Any, kind: Any, advice: str) -> None:
    __tracebackhide__ = True
    where = "params" if kind is jnp.floating else "the state"
    for name, leaf in trees.leaves(tree).items():
        fits = jnp.issubdtype(leaf.dtype, kind)
        expect(fits, f"{kind.__name__} dtypes in {where}", f"{leaf.dtype} in {name}", advice)


def _shape(model: Model, count: int, depth: int, rows: int, columns: int) -> tuple[int, ...]:
    """Of images that are so many strides deep, high and wide."""
    deep = (depth * model.depth_stride,) if model.ndim == 3 else ()
    return (count, *deep, rows * model.stride, columns * model.stride, model.in_channels)


def _images(model: Model) -> np.ndarray:
    """Three images: noise, one value everywhere, other noise."""
    shape = _shape(model, 3, 2, 2, 3)
    images = np.random.default_rng(0).random(shape, np.float32)
    images[1] = 0
    return images


def _check_shapes(model: Model, params: Any, state: Any) -> None:
    """Logits and state, without computing them."""
    __tracebackhide__ = True
    for train, sides in ((False, (1, 1, 1)), (False, (1, 3, 1)), (True, (3, 2, 5))):
        shape = _shape(model, 3, *sides)
        heads = (model.heads,) if train and model.heads > 1 else ()
        mode = f"with train={train}"

        def traced(images: jax.Array, train: bool = train) -> Any:
            return model.apply(params, state, images, train=train, key=jax.random.key(0))

        found = tried(
            f"an output for images {shape} {mode}",
            "take any sides that are multiples of the strides, and set the strides in the Model",
            jax.eval_shape,
            traced,
            floats(*shape),
        )
        _check_pair(found, mode)
        _check_logits(found[0], (*heads, *shape[:-1], model.num_classes), shape, mode)
        _check_state(found[1], state, mode)
    _check_refusals(model, params, state)


def _check_pair(found: Any, mode: str) -> None:
    __tracebackhide__ = True
    expect(
        isinstance(found, tuple) and len(found) == 2,
        f"apply to return (logits, state) {mode}",
        type(found).__name__,
        "return both, the state unchanged if it is not used",
    )


def _check_logits(found: Any, wanted: tuple[int, ...], shape: tuple[int, ...], mode: str) -> None:
    __tracebackhide__ = True
    expect(
        (found.dtype, found.shape) == (jnp.float32, wanted),
        f"logits float32{wanted} of images {shape} {mode}",
        f"{found.dtype}{found.shape}",
        "return to the size of the images, cast last, and declare num_classes and heads",
    )


def _check_state(found: Any, state: Any, mode: str) -> None:
    __tracebackhide__ = True
    after, before = (
        {name: f"{leaf.dtype}{leaf.shape}" for name, leaf in trees.leaves(each).items()}
        for each in (found, state)
    )
    expect(
        after == before and str(jax.tree.structure(found)) == str(jax.tree.structure(state)),
        f"a state of the leaves {before} after apply {mode}",
        after,
        "return a state of the same structure, shapes and dtypes",
    )


def _check_refusals(model: Model, params: Any, state: Any) -> None:
    """Images that do not fit."""
    __tracebackhide__ = True
    fits = _shape(model, 1, 1, 2, 2)
    wrong = [(*fits[:-1], fits[-1] + 1)]
    if model.stride > 1:
        wrong += [(*fits[:-2], fits[-2] + model.stride // 2, fits[-1])]
    if model.ndim == 3 and model.depth_stride > 1:
        wrong += [(1, fits[1] + model.depth_stride // 2, *fits[2:])]
    for shape in wrong:
        expect_refusal(
            f"images {shape} where {fits} would do",
            "check the shape first and raise a ShapeError, as from_nnx and from_linen do",
            jax.eval_shape,
            lambda images: model.apply(params, state, images),
            floats(*shape),
        )


def _check_bundle(params: Any, state: Any) -> None:
    """A round trip through a file, at full precision."""
    __tracebackhide__ = True
    advice = "let params and state be nested dicts and lists of float arrays"

    def stored() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "bundle.npz")
            tree = {"params": params, "state": state}
            weights.save(path, SegmenterSpec(target=INFECTION.name), params, state, half=False)
            arrays = trees.read(path, "a weights bundle", shapes=lambda _: tree).arrays
            return trees.fill(tree, arrays, path)

    found = tried("params and state that a weights bundle can hold", advice, stored)
    same = jax.tree.map(np.array_equal, found, {"params": params, "state": state})
    expect(jax.tree.all(same), "the same numbers from a weights bundle", "others", advice)


def _check_outputs(model: Model, params: Any, state: Any, tolerance: float) -> None:
    """At inference."""
    __tracebackhide__ = True
    images = _images(model)

    def logits(params: Any, state: Any, images: jax.Array) -> jax.Array:
        return model.apply(params, state, images)[0]

    bound = Partial(logits, params, state)  # type: ignore[no-untyped-call]
    outputs(bound, images, what="logits", tolerance=tolerance)
    if jax.tree.leaves(state):
        after = jitted(lambda *given: model.apply(*given)[1])(params, state, images)
        advice = "change the state with train=True only"
        expect_close(after, state, "apply not to change the state", advice, tolerance=0.0)


def _check_training(model: Model, params: Any, state: Any) -> None:
    """One gradient."""
    __tracebackhide__ = True

    def loss(params: Any, state: Any, images: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        logits, after = model.apply(params, state, images, train=True, key=key)
        return ((logits - 1) ** 2).mean(), (logits, after)

    step = jax.grad(loss, has_aux=True)
    given = params, state, _images(model), jax.random.key(1)
    gradient, found = result(step, *given, expected="gradients in training", advice=_KEY)
    advice = "guard divisions, roots and logarithms where they have no gradient"
    expect_finite(found, "logits and state in training", advice)
    expect_finite(gradient, "the gradient", advice)
    leaves = jax.tree.leaves(gradient)
    expect(
        any(map(np.any, leaves)) or not leaves,
        "a gradient that is not 0 everywhere",
        "no trainable parameter",
        "let logits depend on the parameters without rounding or stop_gradient",
    )
