"""Ctrl-C and SIGTERM while a network learns: the step is ended first, so that none is lost."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_TO_RESUME: Final = {
    "training": "--resume continues after the last epoch",
    "calibrating": "training is complete: repeat the command with --resume to calibrate",
}


@dataclass
class Stop:
    """Whether to stop.

    Attributes:
        number: Of the signal that asked for it; none as long as there was none.
        stage: Of the work; in any other than training a first signal stops at once, too.
    """

    number: int | None = None
    stage: str = "training"


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
        if stop.stage != "training" or stop.number is not None:
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


def to_resume(stop: Stop) -> str:
    """The advice after an immediate stop, by the stage that it ended."""
    return _TO_RESUME.get(stop.stage, "no epoch is complete yet, start again")


def exit_code(number: int) -> int:
    """The exit code of a process that was ended by a signal, as in a shell."""
    return 128 + number
