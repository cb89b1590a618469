"""Recipes: options of ``lungmask-jax train`` in a file."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lungmask_jax.errors import SpecError, UnknownNameError, nearest, shown
from lungmask_jax.spec import ModelSpec, SegmenterSpec, TrainSpec, from_json, to_json

__all__ = ["KEYS", "recipe", "with_recipe"]

KEYS = (
    "target",
    "start",
    "model",
    "channels",
    "option",
    "preset",
    "preprocess",
    "window",
    "lungs",
    "loss",
    "steps",
    "steps-per-epoch",
    "batch-size",
    "learning-rate",
    "accumulate",
    "setting",
    "validation",
    "seed",
)
"""How to train; where the data are and what is written stay on the command line."""
_TABLES = ("option", "preprocess", "setting")

_BYTES: Final = 32_000
"""Of a recipe: those of our weights have 2,000."""

_DOTS: Final = 100
"""In a line that is no comment: tables in tables take the time of their number squared."""


def with_recipe(words: Sequence[str], path: Path) -> list[str]:
    r"""The words of a command with those of a recipe before them, so that what is typed wins.

    Args:
        words: ``train`` and what follows it.
        path: A TOML file of `KEYS`; ``option``, ``preprocess`` and ``setting`` are tables.

    Returns:
        Words for the parser.

    Raises:
        SpecError: It is no TOML, too long, or the value of a key cannot be an option.
        UnknownNameError: It has another key.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "quick.toml")
        ...     _ = path.write_text("steps = 100\nchannels = [8, 16]")
        ...     with_recipe(["train", "--steps", "5"], path)
        ['train', '--steps', '100', '--channels', '8', '16', '--steps', '5']
    """
    table = _table(path)
    added: list[str] = []
    for key, value in table.items():
        if key not in KEYS:
            raise UnknownNameError(f"no key {shown(key)} in a recipe, {path}: {nearest(key, KEYS)}")
        added += [f"--{key}", *_values(key, value, path)]
    command, *rest = words
    return [command, *added, *rest]


def _table(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        data = file.read(_BYTES + 1)
    if len(data) > _BYTES:
        raise SpecError(f"expected a recipe of at most {_BYTES} bytes, found more in {path}")
    try:
        text = data.decode()
        if any(line.count(".") > _DOTS for line in text.splitlines() if line[:1] != "#"):
            raise ValueError(f"a line has more than {_DOTS} dots")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
        raise SpecError(f"expected a recipe in TOML, found {path}: {error}") from error


def _values(key: str, value: Any, path: Path) -> Iterator[str]:
    if (key in _TABLES) != isinstance(value, dict):
        expected = f"a table, as in [{key}]" if key in _TABLES else "a value or a list"
        raise SpecError(f"expected {expected}, found {key} = {shown(value)} in {path}")
    if isinstance(value, dict):
        options = ModelSpec(options=value).options  # as JSON has them, or an error that says so
        yield from (f"{name}={json.dumps(one)}" for name, one in options.items())
        return
    for word in map(str, value if isinstance(value, list) else [value]):
        if word.startswith("--"):  # it would be taken for an option of its own
            raise SpecError(f"expected a value for {key}, found {shown(word)} in {path}")
        yield word


def recipe(spec: SegmenterSpec) -> str:
    """The recipe of a bundle, from what it says about itself.

    Args:
        spec: Of a bundle whose card has ``training``, a `TrainSpec`.

    Returns:
        TOML that `with_recipe` reads, with all settings of preprocessing and training.

    Raises:
        SpecError: The card does not say how the bundle was trained.

    Example:
        >>> print(recipe(SegmenterSpec(target="lungs", card={"training": {"steps": 9}})))
        target = "lungs"
        model = "unet"
        steps = 9
        batch-size = 8
        ...
        [preprocess]
        window = [-1100.0, 250.0]
        ...
        [setting]
        schedule = "cosine"
        ...
    """
    if "members" in spec.card:  # an ensemble, whose networks were trained alike
        spec = replace(spec, card=spec.card["members"][0])
    if "training" not in spec.card:
        raise SpecError(
            "expected a card that says how the weights were trained, found no 'training' in it: "
            "ask who made them"
        )
    top, tables = _network(spec)
    top |= {key: spec.card[key] for key in ("window", "lungs", "validation") if key in spec.card}
    training = json.loads(to_json(from_json(json.dumps(spec.card["training"]), TrainSpec)))
    for name, value in training.items():
        key = name.replace("_", "-")
        into, key = (top, key) if key in KEYS else (tables.setdefault("setting", {}), name)
        into[key] = value
    parts = [_lines(top), *(f"[{name}]\n{_lines(one)}" for name, one in tables.items() if one)]
    return "\n".join(_origin(spec)) + "\n\n".join(parts)


def _network(spec: SegmenterSpec) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What the network is and sees: single values, and tables; or the bundle it started from."""
    if "started_from" in spec.card:
        return {"target": spec.target, "start": spec.card["started_from"]}, {}
    top: dict[str, Any] = {"target": spec.target, "model": spec.model.name}
    options = {**spec.model.options}
    if "channels" in options:
        top["channels"] = options.pop("channels")
    return top, {"option": options, "preprocess": json.loads(to_json(spec.preprocess))}


def _origin(spec: SegmenterSpec) -> Iterator[str]:
    """Comments: what a recipe cannot hold."""
    for key, what in {"data": "learned from", "recipe": "made by"}.items():
        if key in spec.card:
            yield f"# {what}: {' '.join(str(spec.card[key]).split())}"
    if spec.model.members > 1:
        yield f"# one of {spec.model.members} networks that answer together"
    yield ""


def _lines(table: Mapping[str, Any]) -> str:
    return "\n".join(f"{key} = {_toml(key, value)}" for key, value in table.items())


def _toml(key: str, value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_toml(key, one) for one in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name} = {_toml(name, one)}' for name, one in value.items())}}}"
    if value is None:
        raise SpecError(f"expected a setting that TOML can hold, found {key} = None")
    return json.dumps(value, ensure_ascii=False)
