"""One forward pass: the mean of a network's probabilities over the views of an image."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import jax
import jax.numpy as jnp

from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model

Axes: TypeAlias = tuple[int, ...]
Step: TypeAlias = tuple[int, int]
View: TypeAlias = tuple[Axes, Step]

_AXES: Final = (-4, -3, -2)
"""Slices, rows and columns of ``(N, D, H, W, C)``; the last two also of ``(N, H, W, C)``."""


@functools.cache
def make_predict(
    model: Model,
    *,
    mirror: tuple[bool, bool, bool] = (False, False, False),
    shift: int = 0,
    average: Literal["probabilities", "logits"] = "probabilities",
) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """The jitted forward pass to probabilities, the mean over some views of each image.

    A view is the image moved or mirrored; its probabilities are moved or mirrored back. This does
    not work for labels that mean a side; no network here has such labels.

    Args:
        model: The network.
        mirror: Which of ``(slices, rows, columns)`` are mirrored, in every combination.
        shift: If above 0, each image is also moved by so many pixels along each diagonal, which
            gives five views in all.
        average: Whether the mean is of probabilities, or of logits, which are returned as they are
            for all classes.

    Returns:
        ``predict(params, state, images) -> (N, ..., L)`` float32: the probability of each label
        above the background, one for a model of one class (a sigmoid), ``num_classes - 1`` for
        others (a softmax). Their sum is the probability of any.

    Raises:
        SpecError: A 2-D network cannot be mirrored along slices.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> params, state = model.init(jax.random.key(0))
        >>> make_predict(model)(params, state, jnp.zeros((1, 16, 16, 1))).shape
        (1, 16, 16, 1)
    """
    if mirror[0] and model.ndim == 2:
        raise SpecError(
            "a 2-D network cannot be mirrored along slices: mirror rows and columns only"
        )
    views = _views(mirror, shift)

    def answer(params: Any, state: Any, view: jax.Array) -> jax.Array:
        logits = model.apply(params, state, view)[0]
        return logits if average == "logits" else _probabilities(logits)

    def of_view(params: Any, state: Any, images: jax.Array, axes: Axes, step: Step) -> jax.Array:
        found = answer(params, state, _moved(_mirrored(images, axes), step))
        return _mirrored(_moved(found, (-step[0], -step[1])), axes)

    def predict(params: Any, state: Any, images: jax.Array) -> jax.Array:
        if model.ndim == 3 and shift == 0 and len(views) > 1:
            flags = jnp.array([[axis in axes for axis in _AXES] for axes, _ in views])
            network = functools.partial(answer, params, state)
            return _mean_of_flips(network, images, flags)
        first, *others = [of_view(params, state, images, *view) for view in views]
        return sum(others, first) / len(views)

    return jax.jit(predict)


def _mean_of_flips(
    network: Callable[[jax.Array], jax.Array], images: jax.Array, flags: jax.Array
) -> jax.Array:
    """The mean over mirror images, one after the other; the network is compiled once."""

    def add(total: jax.Array, turned: jax.Array) -> tuple[jax.Array, None]:
        return total + _flipped(network(_flipped(images, turned)), turned), None

    shape = jax.eval_shape(network, images)
    total, _ = jax.lax.scan(add, jnp.zeros(shape.shape, shape.dtype), flags)
    return total / len(flags)


def _flipped(images: jax.Array, turned: jax.Array) -> jax.Array:
    """Mirrored along those of the axes for which a flag is set."""
    for axis, flag in zip(_AXES, turned, strict=True):
        places = jnp.arange(images.shape[axis])
        images = jnp.take(images, jnp.where(flag, places[::-1], places), axis=axis)
    return images


def _views(mirror: tuple[bool, bool, bool], shift: int) -> list[View]:
    """All combinations, the image as it is first."""
    axes = list(itertools.compress(_AXES, mirror))
    mirrored = [itertools.combinations(axes, count) for count in range(len(axes) + 1)]
    steps = [(0, 0)]
    if shift:
        steps += [(down, right) for down in (-shift, shift) for right in (-shift, shift)]
    return [(some, step) for some in itertools.chain(*mirrored) for step in steps]


def _probabilities(logits: jax.Array) -> jax.Array:
    if logits.shape[-1] == 1:
        return jax.nn.sigmoid(logits)
    return jax.nn.softmax(logits)[..., 1:]


def _mirrored(images: jax.Array, axes: Axes) -> jax.Array:
    return jnp.flip(images, axes) if axes else images


def _moved(images: jax.Array, step: Step) -> jax.Array:
    """Down and to the right by whole pixels; what enters repeats the edge."""
    if step == (0, 0):
        return images
    rows, columns = images.shape[-3:-1]
    down = jnp.clip(jnp.arange(rows) - step[0], 0, rows - 1)
    right = jnp.clip(jnp.arange(columns) - step[1], 0, columns - 1)
    return images[..., down, :, :][..., right, :]
