"""Labels from a teacher, for unlabeled slices."""

from typing import Any

import numpy as np

from lungmask_jax.models import Model
from lungmask_jax.prediction import Predictor
from lungmask_jax.spec import PredictSpec
from lungmask_jax.training._samples import Samples


def taught(
    images: np.ndarray, model: Model, params: Any, state: Any, *, weight: float = 1.0
) -> Samples:
    """Samples with the probabilities of a trained network as masks, the mean over four mirrorings.

    A student that learns from them under augmentation agrees with its teacher where that was
    certain and is free elsewhere (Xie et al., Noisy Student, CVPR 2020, arXiv:1911.04252).

    Args:
        images: ``(M, H, W, C)`` float32 in [0, 1], prepared as for training.
        model: The teacher's network.
        params: The teacher's parameters, as in a bundle.
        state: The teacher's state.
        weight: Frequency of each slice.

    Returns:
        Samples with masks of float16, a channel for each label.

    Example:
        >>> import jax
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> teacher = model.init(jax.random.key(0))
        >>> taught(np.zeros((2, 16, 16, 1), np.float32), model, *teacher).masks.shape
        (2, 16, 16, 1)
    """
    spec = PredictSpec(mirror=(False, True, True))
    shares = Predictor(model, params, state, spec).images(images)
    return Samples(images, shares.astype(np.float16), np.full(len(images), weight, np.float64))
