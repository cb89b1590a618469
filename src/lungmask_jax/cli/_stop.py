"""Ctrl-C and SIGTERM while a network learns: the step is ended first, so that none is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

__all__ = ["Stop", "stoppable"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Stop:
    """Whether to stop.

    Attributes:
        number: Of the signal that asked for it; none as long as there was none.
    """

    number: int | None = None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """A block that is asked to stop by a first signal, and stopped at once by a second.

    A signal that the process ignores stays ignored. Outside the main thread nothing is changed.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {int(number): signal.getsignal(number) for number in _SIGNALS}

    def ask(number: int, _frame: FrameType | None) -> None:
        if stop.number is not None:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        stop.number = number

    heeded = [number for number in before if before[number] not in (signal.SIG_IGN, None)]
    try:
        for number in heeded:
            signal.signal(number, ask)
        yield stop
    finally:
        for number in heeded:
            signal.signal(number, before[number])
