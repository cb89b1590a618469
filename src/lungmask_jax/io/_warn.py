"""Warnings that point to the caller of the library."""

import sys
import warnings

from lungmask_jax.errors import ScanWarning


def warn(message: str) -> None:
    """Warns that a scan was corrected or is doubtful, at the first caller outside the package."""
    depth, frame = 1, sys._getframe()
    while frame.f_back and frame.f_globals["__name__"].partition(".")[0] == "lungmask_jax":
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, ScanWarning, stacklevel=depth)
