"""Failures of any kind become one line on stderr, and signals a stop that can be resumed.

No code below the command line catches unknown errors. Here all are caught, because a scan that
fails for any reason must not end the others.
"""

import contextlib
import errno
import faulthandler
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from lungmask_jax.errors import LungmaskError
from lungmask_jax.files import printable

_LONGEST: Final = 1000
_FULL: Final = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


class _Terminated(KeyboardInterrupt):
    """The process was told to end, which is no other than Ctrl-C."""


@dataclass
class Failures:
    """Failed scans, each with a line on stderr.

    Attributes:
        debug: Whether to print tracebacks, too.
        reasons: Name of each failed scan to what was wrong.
    """

    debug: bool = False
    reasons: dict[str, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """A block whose failure is that of one scan; signals pass through."""
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # decoders in Rust raise even that
            self.reasons[name] = _said(error)
            for note in getattr(error, "__notes__", []):
                print_error(f"{name}: {note}")
            print_error(f"{name}: {self.reasons[name]}", error if self.debug else None)


@contextlib.contextmanager
def bordered(*, quiet: bool) -> Iterator[None]:
    """A block in which SIGTERM acts as Ctrl-C, any console will do, and a crash says where."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.__stderr__ and not faulthandler.is_enabled():
        faulthandler.enable(sys.__stderr__)
    with contextlib.ExitStack() as stack:
        if quiet:
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGTERM, _terminate)
            stack.callback(signal.signal, signal.SIGTERM, before)
        yield


def exit_code(error: BaseException, *, debug: bool) -> int:
    """Says on stderr what ended a command: 1 for an error, 130 for Ctrl-C, 143 for SIGTERM."""
    if isinstance(error, KeyboardInterrupt):
        print_error(": ".join(["lungmask-jax: stopped", *getattr(error, "__notes__", [])]))
        return 128 + (signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT)
    print_error(f"lungmask-jax: {_said(error)}", error if debug else None)
    return 1


@contextlib.contextmanager
def stopping(words: Callable[[], str]) -> Iterator[None]:
    """A block after whose stop the command reports what is done and how to continue."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(words())
        raise


def print_error(words: str, error: BaseException | None = None) -> None:
    """One line on stderr; below it where the error arose, if one is given."""
    print(one_line(words), file=sys.stderr)
    if error is not None:
        traceback.print_exception(error)


def one_line(words: str) -> str:
    """Words without line breaks and without what would steer a terminal."""
    line = printable(" ".join(words.split()))
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."


def _said(error: BaseException) -> str:
    """The message of an error; for an unexpected one also its type and location."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return (
            f"no space for results ({error.strerror}), so none were written: free some, or "
            "give another --out"
        )
    if isinstance(error, LungmaskError | OSError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"not enough memory {error}: close other programs, or use a larger machine"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}: {error} (--debug shows more)"


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
