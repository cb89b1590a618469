"""`phantom`: a chest CT with known lungs and infection."""

import operator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT
from lungmask_jax.phantoms._anatomy import anatomy
from lungmask_jax.phantoms._body import paint_body
from lungmask_jax.phantoms._grid import FIELD_MM, Grid, planes
from lungmask_jax.phantoms._lungs import disease_at, lung_hu
from lungmask_jax.phantoms._thorax import lung_depth
from lungmask_jax.volume import Volume

_BLUR = 0.55


@dataclass(frozen=True)
class Phantom:
    """A synthetic chest CT with its true masks, all ``(slices, rows, columns)``.

    Attributes:
        ct: int16, HU.
        lungs: uint8, 0 background, 1 right lung, 2 left lung; includes vessels and infection, but
            not trachea and main bronchi.
        infection: uint8, 0 or 1, inside the lungs.
        lesions: The infection by type, uint8: 1 ground glass, 2 consolidation.

    Example:
        >>> sorted(vars(phantom((1, 32, 32))))
        ['ct', 'infection', 'lesions', 'lungs']
    """

    ct: Volume
    lungs: Volume
    infection: Volume
    lesions: Volume


def phantom(
    shape: tuple[int, int, int] = (96, 256, 256),
    *,
    disease: float = 0.1,
    seed: int = 0,
    spacing_mm: tuple[float, float, float] | None = None,
    noise_hu: float = 20.0,
) -> Phantom:
    """A chest CT drawn by code, with its lungs and COVID-19 infection.

    The grid covers a field of 320 x 380 x 380 mm around the middle of the chest, from the kidneys
    to the neck; a single slice is the middle one. The same seed gives the same patient for every
    shape and every amount of disease.

    Args:
        shape: ``(slices, rows, columns)``.
        disease: Share of the lungs in the field that is infected, 0 to 1.
        seed: Seed of the patient.
        spacing_mm: Distance between voxel centers along ``shape``; by default the field divided by
            the shape. A grid that misses the lungs has empty masks.
        noise_hu: Standard deviation of the image noise.

    Returns:
        CT, lungs, infection and its types on one grid, deterministic for its arguments.

    Raises:
        ShapeError: ``shape`` is not three positive integers.
        SpecError: Another argument is out of range.

    Example:
        >>> chest = phantom((12, 64, 64), disease=0.2)
        >>> chest.ct
        Volume(shape=(12, 64, 64), dtype=int16, spacing=26.67 x 5.938 x 5.938 mm, axcodes='SPL')
        >>> round(chest.infection.array.sum() / np.count_nonzero(chest.lungs.array), 2)
        np.float64(0.2)
    """
    grid = _checked_grid(shape, spacing_mm)
    _check(disease, seed, noise_hu)
    generator = np.random.default_rng(seed)
    patient = anatomy(generator)
    slices = planes(grid, patient)
    depth = np.stack([lung_depth(plane, patient) for plane in slices])
    ill = disease_at(generator, grid, depth, disease)
    hu = np.stack([paint_body(plane, patient) for plane in slices])
    lung = depth > 0
    hu[lung] = lung_hu(generator, grid, patient, lung, ill)
    ct = Volume(_scanned(generator, hu, noise_hu), grid.affine)
    sides = np.where(slices[0].x < 0, RIGHT, LEFT).astype(np.uint8)
    lesions = np.zeros(grid.shape, np.uint8)
    lesions[lung] = np.where(ill.consolidation > 0.5, CONSOLIDATION, GROUND_GLASS) * ill.mask
    infection = (lesions > 0).astype(np.uint8)
    masks = map(ct.with_array, (sides * lung, infection, lesions))
    return Phantom(ct.as_checked(), *masks)


def _scanned(generator: np.random.Generator, hu: np.ndarray, noise_hu: float) -> np.ndarray:
    """The picture as a scanner gives it: noisy, slightly blurred in the plane, int16."""
    tap = np.exp(-0.5 * (np.arange(-2, 3) / _BLUR) ** 2)
    gain = noise_hu * tap.sum() ** 2 / (tap**2).sum()
    noisy = hu + np.float32(gain) * generator.standard_normal(hu.shape, np.float32)
    blurred = ndimage.gaussian_filter(noisy, (0, _BLUR, _BLUR), truncate=2 / _BLUR)
    return np.asarray(np.clip(np.rint(blurred), -1024, 3071).astype(np.int16))


def _checked_grid(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] | None
) -> Grid:
    try:
        slices, rows, columns = (operator.index(count) for count in shape)
    except (TypeError, ValueError) as error:
        raise ShapeError(_SHAPE_MESSAGE.format(shape)) from error
    if min(slices, rows, columns) < 1:
        raise ShapeError(_SHAPE_MESSAGE.format(shape))
    shape = (slices, rows, columns)
    if spacing_mm is None:
        spacing_mm = (FIELD_MM[0] / slices, FIELD_MM[1] / rows, FIELD_MM[2] / columns)
    if np.shape(spacing_mm) != (3,) or not all(0 < step < np.inf for step in spacing_mm):
        raise SpecError(
            f"expected spacing_mm as three positive lengths, found {spacing_mm!r}: "
            "give (between slices, between rows, between columns), or None"
        )
    return Grid(shape, spacing_mm)


_SHAPE_MESSAGE = (
    "expected a shape of three positive integers (slices, rows, columns), found {!r}: "
    "give a single slice as (1, rows, columns)"
)


def _check(disease: float, seed: int, noise_hu: float) -> None:
    if not 0 <= disease <= 1:
        raise SpecError(f"expected disease from 0 to 1, found {disease!r}: give a share, not a %")
    if not 0 <= noise_hu < np.inf:
        raise SpecError(f"expected noise_hu of 0 or more, found {noise_hu!r}: use 0 for no noise")
    if seed < 0:
        raise SpecError(f"expected a seed of 0 or more, found {seed!r}: give any natural number")
