"""Warnings about scans, of which two are processed at a time."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lungmask_jax import io
from lungmask_jax.errors import ScanWarning
from lungmask_jax.volume import Volume


@dataclass
class Notes:
    """Warnings by thread and by file.

    Attributes:
        by_thread: Lines since they were taken.
        by_file: Lines of scans that were read and are not done.
    """

    by_thread: dict[int, list[str]] = field(default_factory=dict)
    by_file: dict[Path, list[str]] = field(default_factory=dict)

    def add(self, line: str) -> None:
        """Adds a line to those of this thread."""
        self.by_thread.setdefault(threading.get_ident(), []).append(line)

    def taken(self) -> list[str]:
        """The lines of this thread; the next ones are those of another scan."""
        return self.by_thread.pop(threading.get_ident(), [])

    def load(self, path: Path, window: tuple[float, float] | None) -> Volume:
        """Reads a scan, and keeps its warnings."""
        try:
            return io.load(path, window=window)
        finally:
            self.by_file[path] = self.taken()

    def of(self, path: Path) -> list[str]:
        """The lines of a scan that was read, and those of this thread; they are not kept."""
        return [*self.by_file.pop(path, []), *self.taken()]

    @contextmanager
    def added(self, path: Path) -> Iterator[None]:
        """A block for a scan; an error gets the scan's warnings, which may be the reason."""
        try:
            yield
        except Exception as error:
            for line in self.of(path):
                error.add_note(line)
            raise


@contextmanager
def noted() -> Iterator[Notes]:
    """A block whose warnings about scans are kept, not shown; others are shown as usual."""
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("always", ScanWarning)
        show = warnings.showwarning

        def keep(message: Warning | str, category: type[Warning], *args: Any, **more: Any) -> None:
            if issubclass(category, ScanWarning):
                notes.add(str(message))
            else:
                show(message, category, *args, **more)

        warnings.showwarning = keep
        yield notes
