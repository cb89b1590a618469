"""Scans that take too long, or end their processes."""

import contextlib
import faulthandler
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lungmask_jax.cohort import _state
from lungmask_jax.errors import ScanError, is_full

MOST_KILLED: Final = 2
"""A scan that ended so many processes is given up: one may have been ended by others."""


def give_up(tries: _state.Attempts, timeout_s: float | None) -> None:
    """Refuses a scan that took too long, or that ended its process twice."""
    if tries.timed_out():
        tries.forget()
        limit = "" if timeout_s is None else f" of {timeout_s:g} s"
        raise ScanError(
            f"took longer than the limit{limit}, and its process was ended: look at the scan, or "
            "give a longer --timeout with --retry-failed"
        )
    killed = tries.killed()
    if killed >= MOST_KILLED:
        tries.forget()
        raise killed_error(killed)


def killed_error(times: int) -> ScanError:
    """The error of a scan that ended its processes."""
    return ScanError(
        f"its process was killed {times} times while it worked on this scan, perhaps because "
        "memory was short or a decoder crashed: look at the scan, or try it with --retry-failed"
    )


@contextlib.contextmanager
def limited(seconds: float | None, file: Path) -> Iterator[None]:
    """A block that may take so long; after that the process is ended, and the file says where."""
    if seconds is None:
        yield
        return
    with file.open("a", encoding="utf-8") as stream:
        faulthandler.dump_traceback_later(seconds, exit=True, file=stream)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


def is_passing(error: BaseException) -> bool:
    """Whether the next run may succeed, for it is not the fault of the scan."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and is_full(error))
