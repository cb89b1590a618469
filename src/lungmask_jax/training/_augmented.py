"""Training batches: augmented, with a channel for each class."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import augment as augmentation
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.spec import TrainSpec

Augment = Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""``(key, images, masks) -> images, masks``, arrays as in `lungmask_jax.augment`; jitted."""


def augmented(
    key: jax.Array, images: jax.Array, masks: jax.Array, num_classes: int, change: Augment
) -> tuple[jax.Array, jax.Array]:
    """Augmented images, and targets with a channel for each class.

    Slices of a volume change in the same way: they pass through `change` as channels.
    """
    targets = _foreground(masks, images.ndim, num_classes)
    n, *depth, h, w, c = images.shape
    if depth:
        images = jnp.moveaxis(images, 1, 3).reshape(n, h, w, -1)
        targets = jnp.moveaxis(targets, 1, 3).reshape(n, h, w, -1)
    images, targets = change(key, images, targets)
    if depth:
        images = jnp.moveaxis(images.reshape(n, h, w, *depth, c), 3, 1)
        targets = jnp.moveaxis(targets.reshape(n, h, w, *depth, -1), 3, 1)
    if num_classes > 1:
        rest = 1 - targets.sum(-1, keepdims=True)
        targets = jnp.concatenate([rest, targets], axis=-1)
    return images, targets


def _foreground(masks: jax.Array, ndim: int, num_classes: int) -> jax.Array:
    """One channel for each label above 0, or one for all. Shares are such channels already."""
    if masks.ndim == ndim:
        return masks.astype(jnp.float32)
    if num_classes == 1:
        return (masks > 0).astype(jnp.float32)[..., None]
    labels = jnp.arange(1, num_classes, dtype=masks.dtype)
    return (masks[..., None] == labels.reshape((1,) * masks.ndim + (-1,))).astype(jnp.float32)


def built_in(spec: TrainSpec) -> Augment:
    """The augmentation of the spec."""
    return functools.partial(
        augmentation.augment,
        strength=spec.augment,
        opacity_rate=spec.opacities,
        gas_rate=spec.gas,
        coarse_rate=spec.coarse,
    )


def checked(augment: Augment) -> Augment:
    """A user's function, checked before training."""

    def change(key: jax.Array, images: jax.Array, masks: jax.Array) -> tuple[jax.Array, jax.Array]:
        try:
            changed = augment(key, images, masks)
        except jax.errors.JAXTypeError as error:
            raise SpecError(
                "expected an augment that JAX can compile, found one that needs values while "
                "it is traced: write it with jax.numpy and jax.random, without if and for over "
                "values"
            ) from error
        expected, found = _described((images, masks)), _described(changed)
        if found != expected:
            raise ShapeError(
                f"expected augment(key, images, masks) to return images and masks as it takes "
                f"them, {expected}, found {found}"
            )
        return changed

    return change


def _described(arrays: Any) -> str:
    """Shapes and types, for a message."""
    if isinstance(arrays, jax.Array | np.ndarray):
        return f"a single {arrays.dtype} {arrays.shape}"
    if not isinstance(arrays, tuple | list):
        return type(arrays).__name__
    return f"({', '.join(_described(one).removeprefix('a single ') for one in arrays)})"
