"""What all commands show while they work."""

import contextlib
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from lungmask_jax import quantify, tasks
from lungmask_jax.tasks import Task

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


@dataclass
class Stages:
    """A stopwatch for stages that follow one another.

    Attributes:
        seconds: Of each stage so far.
        running: The stage that runs, and since when.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    running: tuple[str, float] | None = None

    def begin(self, stage: str) -> None:
        """Ends the stage that runs, and begins another one."""
        self.end()
        self.running = stage, time.perf_counter()

    def end(self) -> None:
        """Ends the stage that runs, if one does."""
        if self.running:
            stage, since = self.running
            passed = time.perf_counter() - since
            self.seconds[stage] = self.seconds.get(stage, 0.0) + passed
            self.running = None

    def table(self) -> Table:
        """Seconds and share of each stage."""
        total = sum(self.seconds.values())
        shown = Table("stage", "seconds", "share")
        for stage, seconds in self.seconds.items():
            shown.add_row(stage, f"{seconds:.2f}", f"{seconds / total:.0%}")
        shown.add_row("all", f"{total:.2f}", "")
        return shown


def stepper(progress: Progress) -> Callable[[str, int, int], None]:
    """What `lungmask_jax.inference.segment` calls to move the latest bar on."""

    def step(target: str, done: int, total: int) -> None:
        progress.update(progress.task_ids[-1], description=target, completed=done, total=total)

    return step


def summary(row: Mapping[str, str | float | None]) -> str:
    """The measures of a scan on one line."""
    known = {f"{name}_ml": name for name in tasks.registry}
    parts = [_part(tasks.registry[known[key]], row) for key in row if key in known]
    score = row.get("ct_severity_score")
    parts += [] if score is None else [f"CT severity score {score:.0f} of 25"]
    likely = row.get("signs_of_pneumonia")
    about = " (at odds with the severity)" if quantify.is_at_odds(row) else ""
    if likely is not None:
        parts.append(f"signs of pneumonia {quantify.in_percent(float(likely))}{about}")
    return ", ".join(parts)


def _part(task: Task, row: Mapping[str, str | float | None]) -> str:
    """Volume of a task, its share of what it lies in, of the worse side there, and the class."""
    part, share = f"{task.name} {_ml(row[f'{task.name}_ml'])}", row.get(f"{task.name}_percent")
    if share is not None:
        sides = [row[key] for key in row if key.endswith(f"_{task.name}_percent")]
        worse = max((float(side or 0) for side in sides), default=None)
        noun = tasks.registry[task.inside].noun
        part += f" ({share:.1f} %{'' if worse is None else f', in the worse {noun} {worse:.1f} %'})"
    known = "" if row.get("severity") != "unknown" else "severity "
    return f"{part}, {known}{row['severity']}" if task.severity else part


def counted(number: int, what: str) -> str:
    """As in "1 scan" and "2 scans"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _ml(value: str | float | None) -> str:
    """Millilitres, with a decimal where they are few; none where the size of voxels is unknown."""
    if value is None:
        return "of unknown size"
    value = float(value)
    return f"{value:.1f} ml" if 0 < value < 10 else f"{value:.0f} ml"
