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
        patient: Whose scan it is, if a table says so; DICOM headers need not be repeated.
        study_date: When it was made, likewise.

    Example:
        >>> Scan(Path("/scans/a.nii.gz")).source
        '/scans/a.nii.gz'
    """

    path: Path
    series: str = ""
    patient: str = ""
    study_date: str = ""

    @property
    def source(self) -> str:
        """An identifier of the scan among others of the same name."""
        return os.path.abspath(self.path) + (f"#{self.series}" if self.series else "")


Window: TypeAlias = tuple[float, float] | None
"""HU of black and white."""

Read: TypeAlias = Callable[[Scan, Window], Volume]
"""Reads a scan, with the HU of black and white."""


def load(scan: Scan, window: Window) -> Volume:
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
