"""The files of a fit: those to resume from, and those not to replace."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from lungmask_jax import viz
from lungmask_jax.errors import SpecError, WeightsError
from lungmask_jax.files import atomic, output_folder
from lungmask_jax.spec import TrainSpec

Existing: TypeAlias = Literal["refuse", "resume", "replace"]
Line: TypeAlias = dict[str, float]
"""A line of the log, without scores that an epoch lacks."""

_LOST: Final = (
    "expected the log of the resumed run, found none, another or a damaged one in {}: put it "
    "back, or start again with --overwrite"
)
_SCORES: Final = ("dice_at_best", "dice")


class RunFiles(NamedTuple):
    """The files of a fit.

    Attributes:
        bundle: Path of the bundle with the best weights.

    Example:
        >>> RunFiles(Path("mine.npz")).log.name
        'mine.jsonl'
    """

    bundle: Path

    @property
    def checkpoint(self) -> Path:
        """The last state, to resume from."""
        return self.bundle.with_suffix(".checkpoint.npz")

    @property
    def log(self) -> Path:
        """One line per epoch."""
        return self.bundle.with_suffix(".jsonl")

    @property
    def curve(self) -> Path:
        """The log as a picture."""
        return self.bundle.with_suffix(".png")

    def refuse(self, existing: Existing) -> None:
        """Raises an error if a fit cannot or must not write.

        Args:
            existing: As for `fit`.

        Raises:
            SpecError: The name does not end in ``.npz``, or a file that must not be replaced
                exists.
            WeightsError: There is no checkpoint to resume from.
            ScanError: The folder cannot be written.
        """
        if self.bundle.suffix != ".npz":
            raise SpecError(
                f"expected --out to end in .npz, found {self.bundle}: give {self.bundle}.npz"
            )
        if existing == "resume" and not self.checkpoint.is_file():
            raise WeightsError(f"expected a training checkpoint, found no file {self.checkpoint}")
        further = {
            self.checkpoint: "; --resume continues it",
            self.bundle: f"; --start {self.bundle} fine-tunes it",
            self.log: "",
            self.curve: "",
        }
        there = [path for path in further if _is_there(path)]
        if folders := [path for path in there if path.is_dir()]:
            raise SpecError(
                f"expected the name of a file, but {folders[0]} is a folder: give another --out"
            )
        if there and existing == "refuse":
            raise SpecError(
                f"expected a new name for --out, found {there[0]}: replace it with --overwrite, or "
                f"give another name{further[there[0]]}"
            )
        output_folder(self.bundle.parent)

    def write_log(self, log: Sequence[Line]) -> None:
        """Writes the log and, where matplotlib is there, its curve."""
        with atomic(self.log) as temporary:
            text = "".join(json.dumps(line) + "\n" for line in log)
            temporary.write_text(text, encoding="utf-8")
        if not viz.missing_plots():
            drawn = [name for name in _SCORES if any(name in line for line in log)]
            viz.save_png(viz.learning_curve(log, scores=drawn), self.curve)

    def read_log(self, step: int, spec: TrainSpec) -> list[Line]:
        """The lines of a run up to a step; later epochs are repeated.

        Raises:
            WeightsError: A line or the bundle of the run is missing, so the best epoch is
                unknown.
        """
        every, last = spec.steps_per_epoch, spec.steps
        ends = sorted({*range(every, step + 1, every), *([last] if step == last else [])})
        if not ends:
            return []
        try:
            lines = [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]
            lines = [line for line in lines if line["step"] <= step]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(f"{_LOST.format(self.log)} ({type(error).__name__})") from error
        if [line["step"] for line in lines] != ends:
            raise WeightsError(_LOST.format(self.log))
        return lines


def _is_there(path: Path) -> bool:
    """Whether the name exists, also as a broken link."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
