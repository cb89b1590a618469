"""The forward pass that inference and validation share."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from lungmask_jax.errors import SpecError
from lungmask_jax.models._model import Model

__all__ = ["make_predict"]


@functools.cache
def make_predict(model: Model, *, flip: bool = False) -> Callable[[Any, Any, jax.Array], jax.Array]:
    """The jitted forward pass of a one-channel model, up to probabilities.

    Args:
        model: The network.
        flip: Whether to average over each image and its mirror image.

    Returns:
        ``predict(params, state, images) -> (N, H, W)`` float32 probabilities.

    Raises:
        SpecError: The model has more classes.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> params, state = model.init(jax.random.key(0))
        >>> make_predict(model)(params, state, jnp.zeros((1, 16, 16, 1))).shape
        (1, 16, 16)
    """
    if model.num_classes != 1:
        raise SpecError(f"expected a model of one class, found num_classes = {model.num_classes}")

    def predict(params: Any, state: Any, images: jax.Array) -> jax.Array:
        probabilities = jax.nn.sigmoid(model.apply(params, state, images)[0])
        if flip:
            mirrored = jax.nn.sigmoid(model.apply(params, state, images[:, :, ::-1])[0])
            probabilities = (probabilities + mirrored[:, :, ::-1]) / 2
        return probabilities[..., 0]

    return jax.jit(predict)
