"""The settings of ``lungmask-jax train``: as options, in a recipe file, and from a bundle."""

import argparse
import json
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from lungmask_jax import fitting
from lungmask_jax.cli._options import SETTINGS, TABLES
from lungmask_jax.errors import SpecError, UnknownNameError, nearest, shown
from lungmask_jax.spec import (
    ModelSpec,
    Recipe,
    SegmenterSpec,
    TrainSpec,
    from_json,
    json_value,
    to_json,
)

_BYTES: Final = 32_000
"""Of a recipe: those of our weights have 2,000."""

_DOTS: Final = 100
"""In a line that is no comment: tables in tables take the time of their number squared."""


def recipe(options: argparse.Namespace) -> Recipe:
    """The recipe of a command: its file, over which typed settings win, and defaults."""
    settings = _read(options.recipe) if options.recipe else {}
    for name in SETTINGS:
        value = getattr(options, name)
        if value is not None:
            typed = pairs(name, value) if name in TABLES else value
            settings[name] = {**settings.get(name, {}), **typed} if name in TABLES else typed
    for table, own in (("option", {"channels"}), ("setting", SETTINGS)):
        _refuse_own(table, settings.get(table, {}), own)
    return fitting.recipe(**settings.pop("setting", {}), **settings)


def pairs(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as a mapping; values are JSON, or else words, as in norm=batch."""
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"expected --{name} NAME=VALUE, found {shown(text)}")
        if key in values:
            raise SpecError(f"expected --{name} {shown(key)} once, found it twice: give one value")
        try:
            values[key] = json_value(value, f"a value of --{name} {key[:100]}")
        except SpecError as error:
            if not isinstance(error.__cause__, json.JSONDecodeError):
                raise
            values[key] = value
    return values


def _refuse_own(table: str, values: Mapping[str, Any], own: Collection[str]) -> None:
    """Refuses what has an option of its own: there is one way to say it."""
    for key, value in values.items():
        if key in own:
            option = key.replace("_", "-")
            text = f"{key}={json.dumps(value)}"[:100]
            raise SpecError(f"expected --{option} VALUE, found --{table} {text}")


def _read(path: Path) -> dict[str, Any]:
    """The settings in a recipe file, by their names in Python."""
    known = [name.replace("_", "-") for name in SETTINGS]
    settings = {}
    for key, value in _table(path).items():
        if key not in known:
            raise UnknownNameError(
                f"no key {shown(key)} in a recipe, {path}: {nearest(key, known)}"
            )
        if (key in TABLES) != isinstance(value, dict):
            expected = f"a table, as in [{key}]" if key in TABLES else "a value or a list"
            raise SpecError(f"expected {expected}, found {key} = {shown(value)} in {path}")
        if isinstance(value, dict):
            value = {**ModelSpec(options=value).options}  # as JSON has them, or an error
        settings[key.replace("-", "_")] = value
    return settings


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


def toml(spec: SegmenterSpec) -> str:
    """The recipe of a bundle whose card says how it was trained, as TOML that `recipe` reads."""
    if "members" in spec.card:  # an ensemble, whose networks were trained alike
        spec = replace(spec, card=spec.card["members"][0])
    if "training" not in spec.card:
        raise SpecError(
            "expected a card with the training settings, found no 'training' in it: "
            "ask who made them"
        )
    top, tables = _network(spec)
    top |= {key: spec.card[key] for key in ("window", "lungs", "validation") if key in spec.card}
    training = json.loads(to_json(from_json(json.dumps(spec.card["training"]), TrainSpec)))
    for name, value in training.items():
        own = name in SETTINGS
        into = top if own else tables.setdefault("setting", {})
        into[name.replace("_", "-") if own else name] = value
    parts = [_lines(top), *(f"[{name}]\n{_lines(one)}" for name, one in tables.items() if one)]
    return "\n".join(_origin(spec)) + "\n\n".join(parts)


def _network(spec: SegmenterSpec) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The network and its preprocessing, as values and tables, or the bundle it started from."""
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
        yield f"# one of {spec.model.members} networks of an ensemble"
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
