"""Every error the library raises on purpose.

::

    LungmaskError
    ├── ScanError (ValueError)             a scan or mask that cannot be used as it is
    ├── ShapeError (ValueError)            an array of the wrong rank, shape or dtype
    ├── SpecError (ValueError)             a setting that is unknown or out of range
    ├── WeightsError (ValueError)          a weights bundle that is damaged or does not fit
    ├── UnknownNameError (KeyError)        a name that no registry holds
    ├── PluginError (ImportError)          a third-party entry point that fails
    └── ConformanceError (AssertionError)  a part that fails a check of `lungmask_jax.testing`

    ScanWarning (UserWarning)              a scan that was mended on the way in

Each is also the builtin that a Python programmer would expect, so ``except ValueError`` works. A
message says what was expected, what came, and what to do.
"""

import difflib
from collections.abc import Iterable

__all__ = [
    "ConformanceError",
    "LungmaskError",
    "PluginError",
    "ScanError",
    "ScanWarning",
    "ShapeError",
    "SpecError",
    "UnknownNameError",
    "WeightsError",
    "nearest",
]


class LungmaskError(Exception):
    """Base of all errors raised on purpose by this library."""


class ScanError(LungmaskError, ValueError):
    """A scan or mask file that cannot be read, or whose values are not what they must be."""


class ShapeError(LungmaskError, ValueError):
    """An array whose rank, shape or dtype does not fit."""


class SpecError(LungmaskError, ValueError):
    """A setting that is unknown, of the wrong type or out of range."""


class WeightsError(LungmaskError, ValueError):
    """A weights bundle that is damaged or does not fit its model."""


class UnknownNameError(LungmaskError, KeyError):
    """A name that is not registered."""

    def __str__(self) -> str:
        """The message itself; a bare ``KeyError`` would show it quoted."""
        return str(self.args[0]) if self.args else ""


class PluginError(LungmaskError, ImportError):
    """An entry point of another package that cannot be loaded or is claimed twice."""


class ConformanceError(LungmaskError, AssertionError):
    """A network, loss, metric or step of preprocessing that others cannot rely on."""


class ScanWarning(UserWarning):
    """A scan whose values were mended on the way in; the message says how."""


def nearest(name: str, known: Iterable[str]) -> str:
    """A closing clause for an error: the closest known name, or all of them.

    Args:
        name: What was asked for.
        known: What there is.

    Returns:
        ``"did you mean 'x'?"`` where something is close, else ``"known: 'x', 'y'"``.

    Example:
        >>> nearest("unnet", ["unet", "linear"])
        "did you mean 'unet'?"
        >>> nearest("zzz", ["unet", "linear"])
        "known: 'linear', 'unet'"
    """
    choices = sorted(known)
    close = difflib.get_close_matches(name, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(repr(choice) for choice in choices) or "none")
