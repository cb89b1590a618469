"""What a network says of many prepared slices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.models import Model, make_predict

__all__ = ["answers"]


def answers(
    images: np.ndarray,
    model: Model,
    params: Any,
    state: Any,
    *,
    flip: bool = False,
    batch_size: int = 4,
) -> np.ndarray:
    """Probabilities for prepared images, in batches of one shape.

    Args:
        images: ``(M, ..., C)`` as in `Samples`.
        model: The network.
        params: Its parameters, as in a bundle.
        state: Its state.
        flip: Whether each image is also seen as its mirror image.
        batch_size: Images at a time.

    Returns:
        ``(M, ..., L)`` float32, as `lungmask_jax.models.make_predict` gives them; their sum over
        the labels is the probability of any.

    Example:
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> weights = model.init(jax.random.key(0))
        >>> answers(np.zeros((5, 16, 16, 1), np.float32), model, *weights).shape
        (5, 16, 16, 1)
    """
    predict = make_predict(model, flip=flip)
    params, state = jax.device_put((params, state))
    found = np.zeros((*images.shape[:-1], max(model.num_classes - 1, 1)), np.float32)
    for first in range(0, len(images), batch_size):
        batch = images[first : first + batch_size]
        count = len(batch)
        padded = np.pad(batch, [(0, batch_size - count)] + [(0, 0)] * (images.ndim - 1))
        found[first : first + count] = predict(params, state, jnp.asarray(padded))[:count]
    return found
