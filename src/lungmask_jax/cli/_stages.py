"""Where the time of a command goes."""

import time
from dataclasses import dataclass, field

from rich.table import Table


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
