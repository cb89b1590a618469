"""Options that several commands have."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lungmask_jax import tasks

WINDOW: Final[Mapping[str, Any]] = {
    "nargs": 2,
    "type": float,
    "metavar": ("LOW", "HIGH"),
    "help": "HU of the darkest and brightest grey level, for images and windowed scans",
}


class All(argparse.Action):
    """Values of an option that may be given several times: all of them, instead of the default."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Adds the values to those before them."""
        before = getattr(namespace, self.dest)
        kept = () if before is self.default or before is None else before
        setattr(namespace, self.dest, [*kept, *(values or ())])


def add_weights(command: argparse.ArgumentParser) -> None:
    """The models."""
    command.add_argument(
        "--weights",
        nargs="+",
        action=All,
        default=[tasks.LUNGS.name, tasks.INFECTION.name],
        metavar="NAME",
        help="a lung model and, if infection is wanted, an infection model: names, .npz files, or "
        "files and folders of lungmask, nnU-Net and TotalSegmentator; "
        "several for one task form an ensemble (default: lungs infection)",
    )


def add_overwrite(command: argparse.ArgumentParser) -> None:
    """Whether files of others may be replaced."""
    command.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files in the output folder that this program did not make",
    )


def add_shell(command: argparse.ArgumentParser) -> None:
    """What all commands that work understand."""
    command.add_argument(
        "--device", choices=["cpu", "gpu", "tpu"], help="device to use (default: the fastest)"
    )
    command.add_argument("--quiet", action="store_true", help="print only errors")
    command.add_argument(
        "--debug", action="store_true", help="also print the traceback of an error"
    )
