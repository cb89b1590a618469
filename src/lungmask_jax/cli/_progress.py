"""What all commands show while they work."""

import contextlib
import sys
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

__all__ = ["bar", "console", "counted", "stepper", "summary"]


_WIDE = 200


class _Console(Console):
    """A console to which nobody needs to listen, as in ``| head``: the work goes on."""

    def on_broken_pipe(self) -> None:
        """What is printed from here on goes nowhere, by whatever console."""
        with contextlib.suppress(SystemExit):
            super().on_broken_pipe()


def console() -> Console:
    """Where commands print; in a file or a pipe no line is broken and no table is squeezed."""
    found = _Console(emoji=False)  # a name may hold what looks like one
    if found.is_terminal:
        return found
    return _Console(soft_wrap=True, width=max(found.width, _WIDE), emoji=False)


def bar() -> Progress:
    """A progress bar that leaves nothing behind; print through its console."""
    shown = console()
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        console=shown,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),  # or errors would go where progress is shown
        disable=not shown.is_terminal,
    )


def stepper(progress: Progress, task: TaskID) -> Callable[[str, int, int], None]:
    """What `lungmask_jax.inference.segment` calls to move a bar on."""

    def step(target: str, done: int, total: int) -> None:
        progress.update(task, description=target, completed=done, total=total)

    return step


def summary(row: Mapping[str, str | float | None]) -> str:
    """The measures of a scan on one line."""
    parts = [f"lungs {_ml(row['lungs_ml'])}"]
    if "severity" in row:
        shares = [row[f"{side}infection_percent"] for side in ("", "right_", "left_")]
        whole, *sides = (0.0 if share is None else share for share in shares)
        share = (
            "" if shares[0] is None else f" ({whole:.1f} %, in the worse lung {max(sides):.1f} %)"
        )
        parts += [f"infection {_ml(row['infection_ml'])}{share}", str(row["severity"])]
    return ", ".join(parts)


def counted(number: int, what: str) -> str:
    """As in "1 scan" and "2 scans"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ml(value: str | float | None) -> str:
    """Millilitres, with a decimal where they are few; none where the size of voxels is unknown."""
    if value is None:
        return "of unknown size"
    value = float(value)
    return f"{value:.1f} ml" if 0 < value < 10 else f"{value:.0f} ml"
