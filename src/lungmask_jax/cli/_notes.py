"""Warnings about scans, of which two are worked on at a time."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lungmask_jax.errors import ScanWarning

__all__ = ["Notes", "noted"]


class Notes(threading.local):
    """What was warned of in each thread.

    Attributes:
        lines: Of this thread, since they were taken.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []

    def taken(self) -> list[str]:
        """The lines of this thread; the next ones are those of another scan."""
        lines, self.lines = self.lines, []
        return lines

    @contextmanager
    def added(self) -> Iterator[None]:
        """A block whose error takes with it what was warned of, which may be its reason."""
        try:
            yield
        except Exception as error:
            for line in self.taken():
                error.add_note(line)
            raise


@contextmanager
def noted() -> Iterator[Notes]:
    """A block whose warnings about scans are kept, not shown; others are shown as ever."""
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("always", ScanWarning)
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *args: Any, **more: Any) -> None:
            if issubclass(category, ScanWarning):
                notes.lines.append(str(message))
            else:
                show(message, category, *args, **more)

        warnings.showwarning = keep
        yield notes
