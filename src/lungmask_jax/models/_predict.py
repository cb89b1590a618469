"""The forward pass that inference and validation share."""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from lungmask_jax.models._model import Model

__all__ = ["make_predict"]

Step: TypeAlias = tuple[int, int]


@functools.cache
def make_predict(
    model: Model, *, flip: bool = False, shift: int = 0
) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """The jitted forward pass up to probabilities, the mean over some views of each image.

    A view is an image moved or mirrored, with the answer put back. Labels that mean a side do not
    survive a mirror; the networks here know none.

    Args:
        model: The network.
        flip: Whether each image is also seen as its mirror image, left and right exchanged.
        shift: If above 0, each image is also seen moved by so many pixels along each diagonal, so
            five times in all.

    Returns:
        ``predict(params, state, images) -> (N, ..., L)`` float32: the probability of each label
        above the background, one for a model of one class (a sigmoid), ``num_classes - 1`` for
        others (a softmax). Their sum is the probability of any.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> params, state = model.init(jax.random.key(0))
        >>> make_predict(model)(params, state, jnp.zeros((1, 16, 16, 1))).shape
        (1, 16, 16, 1)
    """
    steps: list[Step] = [(0, 0)]
    if shift:
        steps += [(down, right) for down in (-shift, shift) for right in (-shift, shift)]
    views = [(mirrored, step) for mirrored in [False, True][: 1 + flip] for step in steps]

    def seen(params: Any, state: Any, images: jax.Array, mirrored: bool, step: Step) -> jax.Array:
        images = images[..., ::-1, :] if mirrored else images
        found = _probabilities(model.apply(params, state, _moved(images, step))[0])
        found = _moved(found, (-step[0], -step[1]))
        return found[..., ::-1, :] if mirrored else found

    def predict(params: Any, state: Any, images: jax.Array) -> jax.Array:
        found = [seen(params, state, images, *view) for view in views]
        total: jax.Array = sum(found[1:], found[0])
        return total / len(views)

    return jax.jit(predict)


def _probabilities(logits: jax.Array) -> jax.Array:
    if logits.shape[-1] == 1:
        return jax.nn.sigmoid(logits)
    return jax.nn.softmax(logits)[..., 1:]


def _moved(images: jax.Array, step: Step) -> jax.Array:
    """Down and to the right by whole pixels; what enters repeats the edge."""
    if step == (0, 0):
        return images
    rows, columns = images.shape[-3:-1]
    down = jnp.clip(jnp.arange(rows) - step[0], 0, rows - 1)
    right = jnp.clip(jnp.arange(columns) - step[1], 0, columns - 1)
    return images[..., down, :, :][..., right, :]
