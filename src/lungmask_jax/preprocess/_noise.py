"""The noise of a scan."""

from typing import Final

import cv2
import numpy as np

from lungmask_jax.volume import Volume

_SLICES = 16
_SOFT_TISSUE_HU = (-150.0, 200.0)
_FEWEST = 50
_TENTH: Final = -1.2816
"""The lowest tenth of a normal distribution, in standard deviations from its mean."""


def noise_hu(ct: Volume, *, matrix: int | None = None) -> float:
    """The standard deviation of the noise in soft tissue.

    Around each pixel of 16 slices a plane is fitted to a square of 5 x 5 to 9 x 9 pixels, some 7 mm
    wide, and the standard deviation about it taken where the mean is that of soft tissue (-150 to
    200 HU): air may be clipped. A slice's noise is their lowest tenth, where there is no edge,
    corrected for being the lowest; a scan's is the median of its slices. In a test, normal noise of
    25 to 150 HU was added to real scans with pixels of 0.7 to 3 mm: the result was the total noise,
    or up to 8 % more. With a soft kernel, whose noise is blurred, up to a third is missed.

    Args:
        ct: A CT in HU.
        matrix: Number of pixels a side at which noise is measured: finer pixels are averaged,
            coarser ones enlarged.

    Returns:
        The noise in HU; NaN without soft tissue, or if it is flat, as outside a narrow window.

    References:
        Christianson et al., Automated Technique to Measure Noise in Clinical CT Examinations, AJR
        2015, 10.2214/AJR.14.13613, which this follows except for the plane.

    Example:
        >>> noisy = np.random.default_rng(0).normal(40, 30, (4, 64, 64)).astype(np.float32)
        >>> round(noise_hu(Volume(noisy)))
        30
    """
    some = np.linspace(0, len(ct) - 1, min(len(ct), _SLICES)).round().astype(int)
    size = max(ct.shape[1:])
    step = 1 if matrix is None else max(1, size // matrix)
    planes = (_shrunk(ct.array[number].astype(np.float32), step) for number in some)
    noise = [sigma for sigma in map(_sigma, planes) if np.isfinite(sigma)]
    if not noise:
        return float("nan")
    return float(np.median(noise)) * (1.0 if matrix is None else step * matrix / size)


def _shrunk(plane: np.ndarray, step: int) -> np.ndarray:
    """The means of squares of so many pixels a side."""
    rows, columns = (max(1, size // step) for size in plane.shape)
    whole = plane[: rows * step, : columns * step]
    return np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA))


def _sigma(plane: np.ndarray) -> float:
    """The noise of one slice; NaN if too little of it is soft tissue."""
    width = 2 * min(max(round(max(plane.shape) / 128), 2), 4) + 1
    if min(plane.shape) < width:
        return float("nan")
    mean, variance = _about_plane(plane, width)
    low, high = _SOFT_TISSUE_HU
    chosen = variance[(mean > low) & (mean < high) & (variance > 0.01)]
    if chosen.size < _FEWEST:
        return float("nan")
    return float(np.sqrt(np.quantile(chosen, 0.1) / _lowest_tenth(width**2 - 3)))


def _lowest_tenth(freedom: int) -> float:
    """Where the lowest tenth of variances with mean 1 ends (Wilson and Hilferty, PNAS 1931)."""
    spread = 2 / (9 * freedom)
    return float((1 - spread + _TENTH * spread**0.5) ** 3)


def _about_plane(plane: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean of each square of pixels, and the variance about the plane that fits it best."""
    reach = width // 2
    flat = np.full(width, 1 / width, np.float32)
    slope = np.arange(-reach, reach + 1, dtype=np.float32)
    ramp = slope / np.sqrt((slope**2).mean()) / width
    base = plane.mean()
    around = plane - base  # small numbers square without loss
    level, across, down = (
        cv2.sepFilter2D(around, -1, *kernels)
        for kernels in ((flat, flat), (ramp, flat), (flat, ramp))
    )
    variance = cv2.sepFilter2D(around**2, -1, flat, flat) - level**2 - across**2 - down**2
    variance *= width**2 / (width**2 - 3)
    inner = slice(reach, -reach)
    return level[inner, inner] + base, variance[inner, inner]
