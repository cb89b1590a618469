"""What the command line understands; nothing here is heavy to import."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from lungmask_jax import DISCLAIMER, __version__, tasks
from lungmask_jax.cli._scan_options import add_collect, add_inspect, add_report, add_segment
from lungmask_jax.cli._shared_options import WINDOW, add_overwrite, add_shell, add_weights
from lungmask_jax.errors import nearest
from lungmask_jax.spec import Recipe, TrainSpec

_TARGET: Final[Mapping[str, Any]] = {
    "choices": tasks.targets(),
    "help": f"what the masks show (default: {tasks.INFECTION.name})",
}

_SEVERAL: Final = {"nargs": "+", "action": "extend", "metavar": "NAME=VALUE"}

SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "target": _TARGET,
    "start": {"help": "bundle to fine-tune: its network and weights"},
    "model": {"help": "network (default: unet)"},
    "channels": {
        "nargs": "+",
        "type": int,
        "help": "features of each level of the network",
    },
    "option": {
        **_SEVERAL,
        "help": "options of the network: in_channels=3 deep_supervision=true",
    },
    "preset": {"help": "preprocessing preset (default: the target's own)"},
    "preprocess": {
        **_SEVERAL,
        "help": "changes to the preset: size=[128,128] denoise=median",
    },
    "window": WINDOW,
    "lungs": {"help": f"lung model that finds the region (default: {Recipe.lungs})"},
    "loss": {"help": "name of a loss (default: bce_dice; nested_bce_dice for several classes)"},
    "steps": {"type": int, "help": f"optimizer steps (default: {TrainSpec.steps})"},
    "steps_per_epoch": {
        "type": int,
        "help": f"steps between two lines of the log (default: {TrainSpec.steps_per_epoch})",
    },
    "batch_size": {"type": int, "help": f"slices per step (default: {TrainSpec.batch_size})"},
    "learning_rate": {
        "type": float,
        "help": f"peak of the schedule (default: {TrainSpec.learning_rate})",
    },
    "accumulate": {
        "type": int,
        "help": f"parts of a batch, to save memory (default: {TrainSpec.accumulate})",
    },
    "setting": {**_SEVERAL, "help": "other fields of TrainSpec: schedule=poly opacities=0.25"},
    "validation": {
        "type": float,
        "help": f"held-out share of the scans (default: {Recipe.validation})",
    },
    "seed": {"type": int, "help": f"seed of weights, split and order (default: {TrainSpec.seed})"},
}
"""The settings of a training, which are options, keys of a recipe, and parameters of
`lungmask_jax.fitting.recipe`: how argparse takes each."""

TABLES: Final = ("option", "preprocess", "setting")
"""Those with names of their own."""


class _Parser(argparse.ArgumentParser):
    """A parser that names the nearest command or choice, where a wrong one was typed."""

    def error(self, message: str) -> NoReturn:
        """Ends the process with the usage, what is wrong, and what may have been meant."""
        wrong = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if wrong:
            known = [choice.strip(" '") for choice in wrong[2].split(",")]
            message = f"{message[: wrong.start()]}no {wrong[1]!r}: {nearest(wrong[1], known)}"
        if message.endswith("required: SCAN"):
            message += (
                " (an option such as --weights takes all words up to the next option: put scans "
                "first; a name that begins with - is written ./-name)"
            )
        super().error(message)


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options that the words of a command line name; the process ends if it cannot."""
    whole = parser()
    options, unknown = whole.parse_known_args(words)
    if unknown:
        (commands,) = (one.choices for one in whole._actions if isinstance(one.choices, dict))
        command = commands[options.command]
        known = [name for name in command._option_string_actions if name.startswith("--")]
        command.error(f"no option {unknown[0]!r}: {nearest(unknown[0].partition('=')[0], known)}")
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; what the shell around them asks for is always there."""
    whole = _Parser(
        prog="lungmask-jax",
        description="Lungs and COVID-19 infection in chest CT, segmented and measured.",
        epilog=DISCLAIMER,
    )
    whole.set_defaults(devices=None, device=None, quiet=False, debug=False)
    whole.add_argument("--version", action="version", version=f"lungmask-jax {__version__}")
    commands = whole.add_subparsers(
        title="commands", dest="command", required=True, metavar="COMMAND"
    )
    add_segment(commands)
    add_inspect(commands)
    add_collect(commands)
    add_report(commands)
    _add_train(commands)
    _add_evaluate(commands)
    _add_import(commands)
    _add_demo(commands)
    _add_discovery(commands)
    _add_info(commands)
    return whole


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train a model on your own scans",
        description="Trains a model, validates it on other patients, and writes a bundle.",
        epilog=DISCLAIMER,
    )
    data = train.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, help="metadata.csv in the covid19-ct-scans layout")
    data.add_argument("--images", type=Path, help="folder of scans, with --masks")
    train.add_argument("--masks", type=Path, help="folder of masks with the names of the scans")
    train.add_argument("-o", "--out", type=Path, required=True, help="the bundle, an .npz file")
    train.add_argument(
        "--recipe",
        type=Path,
        help="TOML file of these settings; options typed here take precedence",
    )
    settings = train.add_argument_group("settings, also possible in a recipe")
    for name, how in SETTINGS.items():
        settings.add_argument(f"--{name.replace('_', '-')}", **how)
    train.add_argument(
        "--devices",
        type=int,
        help="GPUs, TPU cores or, without them, processor cores that share each batch",
    )
    train.add_argument("--cache", type=Path, help="folder for prepared slices, for later runs")
    kept = train.add_mutually_exclusive_group()
    kept.set_defaults(existing="refuse")
    for option, existing, what in (
        ("--resume", "resume", "continue the run in --out"),
        ("--overwrite", "replace", "replace the run in --out"),
    ):
        kept.add_argument(option, dest="existing", action="store_const", const=existing, help=what)
    add_shell(train)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="score masks against the truth",
        description="Writes the scores of every case and a summary; compares two models.",
        epilog=DISCLAIMER,
    )
    evaluate.add_argument("--pred", type=Path, help="folder of predicted masks, with --true")
    evaluate.add_argument("--true", type=Path, help="folder of true masks with the same names")
    evaluate.add_argument(
        "--data",
        type=Path,
        help="metadata.csv of scans to segment and score, or the folder of a protocol",
    )
    evaluate.add_argument(
        "--protocol",
        choices=["covid19-ct-seg", "covid-semiseg"],
        help="a published benchmark: prints its table with our row; --data is its folder",
    )
    evaluate.add_argument(
        "--by-type",
        action="store_true",
        help="masks have labels for types, for infection 1 (ground glass) and 2 "
        "(consolidation): also score each type",
    )
    evaluate.add_argument("--scans", type=Path, help="folder of the scans of --pred, for pictures")
    evaluate.add_argument(
        "--worst", type=int, default=3, help="number of worst cases to draw (default: 3)"
    )
    evaluate.add_argument("--against", type=Path, help="cases.csv of another model to compare with")
    evaluate.add_argument(
        "--report",
        action="store_true",
        help="also write report.html, a page with box plots, the worst cases and all cases",
    )
    evaluate.add_argument("--target", default=tasks.INFECTION.name, **_TARGET)
    add_weights(evaluate)
    evaluate.add_argument("--tolerance", type=float, help="tolerance of the surface Dice, in mm")
    evaluate.add_argument("-o", "--out", type=Path, required=True, help="folder for the results")
    add_overwrite(evaluate)
    evaluate.add_argument("--window", **WINDOW)
    add_shell(evaluate)


def _add_import(commands: Any) -> None:
    bring = commands.add_parser(
        "import",
        help="turn weights that you have into a bundle",
        description="Writes weights of any kind that is read as a bundle, and compares the two.",
        epilog="Nothing is downloaded, and nothing in the file is executed.",
    )
    bring.add_argument(
        "weights",
        type=Path,
        metavar="FILE_OR_FOLDER",
        help="weights of lungmask, a model of nnU-Net or TotalSegmentator, or a bundle",
    )
    bring.add_argument("-o", "--out", type=Path, required=True, help="the bundle, an .npz file")
    bring.add_argument(
        "--half", action="store_true", help="store float16: half the size, a few voxels differ"
    )
    model = bring.add_argument_group("models of nnU-Net whose labels are not those of a task")
    model.add_argument("--target", choices=tasks.targets(), help="what the masks show")
    model.add_argument(
        "--label",
        nargs="+",
        action="extend",
        metavar="NAME=NUMBER",
        help="labels of the target, as in COVID=1",
    )
    model.add_argument("--configuration", help="of several, such as 3d_fullres")
    model.add_argument(
        "--folds", nargs="+", action="extend", metavar="FOLD", help="by default all, averaged"
    )
    model.add_argument("--checkpoint", choices=["final", "best", "latest"], help="default final")
    add_overwrite(bring)
    add_shell(bring)


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="segment a synthetic scan and compare with the truth",
        description="Makes a synthetic chest CT, segments it and prints Dice against the truth.",
        epilog=DISCLAIMER,
    )
    demo.add_argument("-o", "--out", type=Path, default=Path("lungmask-jax-demo"))
    demo.add_argument("--disease", type=float, default=0.12, help="infected share of the lungs")
    demo.add_argument("--seed", type=int, default=0, help="seed of the synthetic patient")
    add_overwrite(demo)
    add_shell(demo)


def _add_discovery(commands: Any) -> None:
    for name, what in (
        ("models", "list networks and their options"),
        ("weights", "list trained models"),
        ("doctor", "show versions and devices, and find broken plugins"),
    ):
        command = commands.add_parser(name, help=what, description=f"{what.capitalize()}.")
        if name == "weights":
            command.add_argument(
                "--recipe",
                dest="recipe_of",
                metavar="NAME",
                help="print the training settings of this one, as a file for train --recipe",
            )


def _add_info(commands: Any) -> None:
    info = commands.add_parser(
        "info",
        help="print versions, devices, formats, models and weights",
        description="Prints versions, devices, formats, models and weights.",
        epilog=DISCLAIMER,
    )
    info.add_argument("--json", action="store_true", help="as JSON, for scripts")
    completion = commands.add_parser(
        "completion",
        help="print the completion of a shell",
        description="Prints a script that completes commands, options and file names.",
    )
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"])
