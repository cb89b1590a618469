"""Training: samples in, a stream of `Epoch` records out.

One pure, jitted step; the caller prints, stops and saves. All random numbers derive from the seed
and the number of the step, so a resumed run equals an uninterrupted one.
"""

from lungmask_jax.training._augmented import Augment
from lungmask_jax.training._checkpoint import load_checkpoint, save_checkpoint
from lungmask_jax.training._loop import Epoch, best, train
from lungmask_jax.training._optimizer import optimizer, schedule
from lungmask_jax.training._samples import Samples
from lungmask_jax.training._step import (
    TrainState,
    TrainStep,
    create_state,
    make_mesh,
    make_train_step,
)

__all__ = [
    "Augment",
    "Epoch",
    "Samples",
    "TrainState",
    "TrainStep",
    "best",
    "create_state",
    "load_checkpoint",
    "make_mesh",
    "make_train_step",
    "optimizer",
    "save_checkpoint",
    "schedule",
    "train",
]
