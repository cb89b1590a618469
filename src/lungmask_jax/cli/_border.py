"""Failures of any kind become one line on stderr, and signals a stop that can be resumed.

No code below catches unknown errors, but for `lungmask_jax.cohort`. Here all are caught, because a
case that fails for any reason must not end the others.
"""

import contextlib
import faulthandler
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from lungmask_jax.errors import reason
from lungmask_jax.files import printable

_LONGEST: Final = 1000


class _Terminated(KeyboardInterrupt):
    """The process was told to end, which is no other than Ctrl-C."""


@dataclass
class Failures:
    """Failed cases, each with a line on stderr.

    Attributes:
        debug: Whether to print tracebacks, too.
        count: Number of failures so far.
    """

    debug: bool = False
    count: int = 0

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[None]:
        """A block whose failure is that of one case; signals pass through."""
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # decoders in Rust raise even that
            self.count += 1
            for note in getattr(error, "__notes__", []):
                print_error(f"{name}: {note}")
            print_error(f"{name}: {reason(error)}", error if self.debug else None)


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
    """Says on stderr what ended a command: 1 for an error, 130 for Ctrl-C, 143 for SIGTERM.

    Nobody is told that nobody reads on, as in a pipe to ``head``.
    """
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains
        return 128 + signal.SIGPIPE
    if isinstance(error, KeyboardInterrupt):
        print_error(": ".join(["lungmask-jax: stopped", *getattr(error, "__notes__", [])]))
        return 128 + (signal.SIGTERM if isinstance(error, _Terminated) else signal.SIGINT)
    print_error(f"lungmask-jax: {reason(error)}", error if debug else None)
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


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated
