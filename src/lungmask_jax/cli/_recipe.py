"""Recipes: options of ``lungmask-jax train`` in a file."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lungmask_jax.errors import SpecError, UnknownNameError, nearest

__all__ = ["KEYS", "with_recipe"]

KEYS = (
    "target",
    "start",
    "model",
    "channels",
    "option",
    "preset",
    "window",
    "lungs",
    "loss",
    "steps",
    "steps-per-epoch",
    "batch-size",
    "learning-rate",
    "accumulate",
    "validation",
    "seed",
)
"""How to train; where the data are and what is written stay on the command line."""


def with_recipe(words: Sequence[str], path: Path) -> list[str]:
    r"""The words of a command with those of a recipe before them, so that what is typed wins.

    Args:
        words: ``train`` and what follows it.
        path: A TOML file of `KEYS`; ``option`` is a table.

    Returns:
        Words for the parser.

    Raises:
        SpecError: It is no TOML, or the value of a key cannot be an option.
        UnknownNameError: It has another key.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "quick.toml")
        ...     _ = path.write_text("steps = 100\nchannels = [8, 16]")
        ...     with_recipe(["train", "--steps", "5"], path)
        ['train', '--steps', '100', '--channels', '8', '16', '--steps', '5']
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, or not UTF-8
        raise SpecError(f"expected a recipe in TOML, found {path}: {error}") from error
    added: list[str] = []
    for key, value in table.items():
        if key not in KEYS:
            raise UnknownNameError(f"no key {key!r} in a recipe, {path}: {nearest(key, KEYS)}")
        added += [f"--{key}", *_values(key, value, path)]
    command, *rest = words
    return [command, *added, *rest]


def _values(key: str, value: Any, path: Path) -> Iterator[str]:
    if (key == "option") != isinstance(value, dict):
        expected = "a table, as in [option]" if key == "option" else "a value or a list"
        raise SpecError(f"expected {expected}, found {key} = {value!r} in {path}")
    if isinstance(value, dict):
        yield from (f"{name}={json.dumps(one)}" for name, one in value.items())
    elif isinstance(value, list):
        yield from map(str, value)
    else:
        yield str(value)
