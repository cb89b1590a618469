"""The augmentation of training."""

import jax

from lungmask_jax.augment._geometry import warp
from lungmask_jax.augment._intensities import bone_window, intensities, low_resolution
from lungmask_jax.augment._synthetic import emphysema, gas, opacities


def augment(
    key: jax.Array,
    images: jax.Array,
    masks: jax.Array,
    *,
    strength: float = 1.0,
    opacity_rate: float = 0.0,
    gas_rate: float = 0.0,
    coarse_rate: float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """The training augmentation: synthetic disease, shapes and flips, resolution, intensities.

    In this order: `gas`, `opacities`, `warp`, `low_resolution`, `intensities`.
    With gas, half as many images first get a `bone_window`, so that black alone does not mean gas;
    with opacities, half as many get `emphysema`.

    Args:
        key: Random key.
        images: ``(N, H, W, C)`` in [0, 1].
        masks: ``(N, H, W, K)`` in [0, 1].
        strength: Scales the ranges of `warp` and `intensities`; 0 turns them off.
        opacity_rate: Share of images with synthetic disease; the masks must be lungs.
        gas_rate: Share of images with synthetic gas; the masks must be lungs.
        coarse_rate: Share of images with coarse and noisy pixels.

    Returns:
        Images and masks of the same shapes.

    Example:
        >>> import jax
        >>> images = masks = jax.numpy.ones((2, 16, 16, 1))
        >>> images, masks = augment(jax.random.key(0), images, masks)
        >>> images.shape, masks.shape
        ((2, 16, 16, 1), (2, 16, 16, 1))
    """
    bowel, disease, geometry, values = jax.random.split(key, 4)
    if gas_rate > 0:
        images = bone_window(jax.random.fold_in(bowel, 1), images, rate=gas_rate / 2)
        images = gas(bowel, images, masks, rate=gas_rate)
    if opacity_rate > 0:
        images = emphysema(jax.random.fold_in(disease, 1), images, masks, rate=opacity_rate / 2)
        images = opacities(disease, images, masks, rate=opacity_rate)
    if strength > 0:
        images, masks = warp(geometry, images, masks, strength=strength)
    if coarse_rate > 0:
        images = low_resolution(jax.random.fold_in(values, 1), images, rate=coarse_rate)
    if strength > 0:
        images = intensities(values, images, strength=strength)
    return images, masks
