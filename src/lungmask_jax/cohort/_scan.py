"""A scan of many, and how it is read."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from lungmask_jax import io
from lungmask_jax.volume import Volume


@dataclass(frozen=True)
class Scan:
    """A scan to segment.

    Attributes:
        path: A file, or the folder of its slices.
        series: The SeriesInstanceUID, where the folder holds several series.

    Example:
        >>> Scan(Path("/scans/a.nii.gz")).source
        '/scans/a.nii.gz'
    """

    path: Path
    series: str = ""

    @property
    def source(self) -> str:
        """An identifier of the scan among others of the same name."""
        return os.path.abspath(self.path) + (f"#{self.series}" if self.series else "")


Read: TypeAlias = Callable[[Scan, tuple[float, float] | None], Volume]
"""Reads a scan, with the HU of black and white."""


def load(scan: Scan, window: tuple[float, float] | None) -> Volume:
    """A scan in HU.

    Args:
        scan: One of `find_scans`.
        window: HU of black and white, as for `lungmask_jax.io.load`.

    Returns:
        The scan.

    Raises:
        ScanError: It cannot be read.

    Example:
        >>> load(Scan(Path("nowhere.nii.gz")), None)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: ...
    """
    return io.load(scan.path, window=window, series_uid=scan.series)
