"""Warnings that point to the line of whoever called the library."""

import itertools
import sys
import warnings

from lungmask_jax.errors import ScanWarning


def warn(message: str) -> None:
    """Warns that a scan was mended or is doubtful.

    Args:
        message: What was found, where, and what it means.

    Warns:
        ScanWarning: With that message, at the first caller outside of this package.
    """
    for depth in itertools.count(1):
        name = sys._getframe(depth).f_globals.get("__name__", "")
        if name.partition(".")[0] != "lungmask_jax":
            break
    warnings.warn(message, ScanWarning, stacklevel=depth + 1)
