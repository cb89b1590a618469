"""Losses: ``loss(logits, targets, *, options) -> (N,)``, one number per image, lower is better.

Logits are ``(N, ..., C)`` floats with two or three spatial axes; targets have the same shape and
lie in [0, 1]. Channels are independent sigmoids; only `cross_entropy`, `dice_cross_entropy` and
`lovasz_softmax` treat the channels as mutually exclusive classes, with one-hot targets.

Soft targets are used directly if the formula allows it; if it needs a set of pixels
(`boundary`, `hausdorff_dt`, `lovasz_hinge`, `lovasz_softmax`), pixels above 1/2 belong to it.
Options are plain Python values. Everything is jit-able and vmap-able; values and gradients are
finite for logits of any size, for empty and for full targets.
"""

from lungmask_jax.losses._boundary import boundary, hausdorff_dt
from lungmask_jax.losses._centerline import cldice
from lungmask_jax.losses._create import create, registry
from lungmask_jax.losses._entropy import bce, cross_entropy, focal, weighted_bce
from lungmask_jax.losses._inputs import Loss
from lungmask_jax.losses._lovasz import lovasz_hinge, lovasz_softmax
from lungmask_jax.losses._overlap import dice, generalized_dice, jaccard
from lungmask_jax.losses._sums import (
    bce_dice,
    dice_cross_entropy,
    dice_focal,
    nested_bce_dice,
)
from lungmask_jax.losses._tversky import focal_tversky, tversky

__all__ = [
    "Loss",
    "bce",
    "bce_dice",
    "boundary",
    "cldice",
    "create",
    "cross_entropy",
    "dice",
    "dice_cross_entropy",
    "dice_focal",
    "focal",
    "focal_tversky",
    "generalized_dice",
    "hausdorff_dt",
    "jaccard",
    "lovasz_hinge",
    "lovasz_softmax",
    "nested_bce_dice",
    "registry",
    "tversky",
    "weighted_bce",
]
