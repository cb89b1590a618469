"""Labels from a teacher, for slices that nobody has labelled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax.models import Model, make_predict
from lungmask_jax.training._samples import Samples

_BATCH = 4


def taught(
    images: np.ndarray, model: Model, params: Any, state: Any, *, weight: float = 1.0
) -> Samples:
    """Samples whose masks are what a trained network believes, the mean over four mirror images.

    A student that learns from them under augmentation agrees with its teacher where that was sure
    and is free where it was not (Xie et al., Noisy Student, CVPR 2020, arXiv:1911.04252).

    Args:
        images: ``(M, H, W, C)`` float32 in [0, 1], prepared as for training.
        model: The teacher's network.
        params: The teacher's parameters, as in a bundle.
        state: The teacher's state.
        weight: How often each slice is drawn.

    Returns:
        Samples with masks of float16, a channel for each label.

    Example:
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> teacher = model.init(jax.random.key(0))
        >>> taught(np.zeros((2, 16, 16, 1), np.float32), model, *teacher).masks.shape
        (2, 16, 16, 1)
    """
    predict = make_predict(model, flip=True)
    params, state = jax.device_put((params, state))
    found = np.zeros((*images.shape[:-1], max(model.num_classes - 1, 1)), np.float16)
    for first in range(0, len(images), _BATCH):
        batch = images[first : first + _BATCH]
        full = np.zeros((_BATCH, *images.shape[1:]), np.float32)
        full[: len(batch)] = batch
        upright = predict(params, state, jnp.asarray(full))
        upside_down = predict(params, state, jnp.asarray(full[..., ::-1, :, :]))[..., ::-1, :, :]
        found[first : first + _BATCH] = ((upright + upside_down) / 2)[: len(batch)]
    return Samples(images, found, np.full(len(images), weight, np.float64))
