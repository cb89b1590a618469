"""Every error the library raises on purpose.

::

    LungmaskError
    ├── ScanError (ValueError)             a scan or mask that cannot be used as it is
    ├── ShapeError (ValueError)            an array of the wrong rank, shape or dtype
    ├── SpecError (ValueError)             a setting that is unknown or out of range
    ├── WeightsError (ValueError)          a weights bundle that is damaged or does not fit
    ├── UnknownNameError (KeyError)        a name that no registry holds
    ├── MissingPackageError (ImportError)  a package of an extra that is not installed
    ├── PluginError (ImportError)          a third-party entry point that fails
    └── ConformanceError (AssertionError)  a part that fails a check of `lungmask_jax.testing`

    ScanWarning (UserWarning)              a scan that was corrected while it was read

Each is also the builtin error that a Python programmer expects, so ``except ValueError`` works. A
message says what was expected, what was found, and what to do.
"""

import difflib
import errno
import reprlib
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = [
    "ConformanceError",
    "LungmaskError",
    "MissingPackageError",
    "PluginError",
    "ScanError",
    "ScanWarning",
    "ShapeError",
    "SpecError",
    "UnknownNameError",
    "WeightsError",
    "is_full",
    "nearest",
    "reason",
    "shown",
]

_LONGEST_NAME: Final = 100
"""Characters of a name that are compared with the known names."""

_FULL: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)

_BRIEF: Final = reprlib.Repr()
_BRIEF.maxlist = _BRIEF.maxtuple = _BRIEF.maxdict = 12
_BRIEF.maxstring = _BRIEF.maxother = 120


class LungmaskError(Exception):
    """Base of all errors raised on purpose by this library."""


class ScanError(LungmaskError, ValueError):
    """A scan or mask that cannot be read, or whose values are wrong."""


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


class MissingPackageError(LungmaskError, ImportError):
    """A package that only an extra brings, and that is not installed."""


class PluginError(LungmaskError, ImportError):
    """An entry point of another package that cannot be loaded or is claimed twice."""


class ConformanceError(LungmaskError, AssertionError):
    """A network, loss, metric or preprocessing step that fails a check."""


class ScanWarning(UserWarning):
    """A scan that was corrected while it was read; the message says how."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The last clause of an error: the nearest known name, or all of them.

    Args:
        name: The unknown name.
        known: The known names.

    Returns:
        ``"did you mean 'x'?"`` if a name is close, else ``"known: 'x', 'y'"``.

    Example:
        >>> nearest("unnet", ["unet", "linear"])
        "did you mean 'unet'?"
        >>> nearest("zzz", ["unet", "linear"])
        "known: 'linear', 'unet'"
    """
    choices = sorted(known)
    close = difflib.get_close_matches(name[:_LONGEST_NAME], choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known: " + (", ".join(repr(choice) for choice in choices) or "none")


def shown(value: object) -> str:
    """A value as shown in errors: its ``repr``, shortened if it is long or deep.

    Args:
        value: Anything, of any size.

    Returns:
        A few hundred characters at most.

    Example:
        >>> shown([1] * 10**5), shown("a" * 10**6)[:5]
        ('[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, ...]', "'aaaa")
        >>> shown(10**5000)
        'an int too long to show'
    """
    try:
        return _BRIEF.repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return f"an {type(value).__name__} too long to show"


def reason(error: BaseException) -> str:
    """The message of an error; for an unexpected one also its type and location.

    Args:
        error: Any error that ended the work on a scan, or a command.

    Returns:
        One or more lines that say what is wrong and, if that is known, what to do.

    Example:
        >>> reason(ScanError("expected a CT, found a text")), reason(KeyError("a"))
        ('expected a CT, found a text', "KeyError: 'a' (--debug shows more)")
    """
    if isinstance(error, OSError) and is_full(error):
        return (
            f"no space for results ({error.strerror}), so none were written: free some, or "
            "give another --out"
        )
    if isinstance(error, PermissionError) and error.filename:
        return f"{error.filename} is not open to you ({error.strerror}): check its permissions"
    if isinstance(error, LungmaskError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"not enough memory {error}: close other programs, or use a larger machine"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {error} (--debug shows more)"


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because the disk or its quota is full.

    Args:
        error: An error of the operating system.

    Returns:
        Whether freeing space would help.

    Example:
        >>> is_full(OSError(errno.ENOSPC, "full")), is_full(OSError(errno.EACCES, "denied"))
        (True, False)
    """
    return error.errno in _FULL
