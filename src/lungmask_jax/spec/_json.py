"""Specs as JSON, and JSON values as the types of a spec's fields."""

import dataclasses
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from lungmask_jax.errors import SpecError, nearest, shown

VERSION: Final = 2

CHARACTERS: Final = 4_000_000
"""Of the longest text: a card that names ten thousand scans has a tenth of them."""

DEPTH: Final = 32
"""Of lists and tables in each other: cards have four levels, and Python ends at a thousand."""

INTEGER: Final = 2**63
"""The limit of integers, which all other programs can read, too."""

MOST: Final = 1e9
"""The limit of numbers without another one: no setting makes sense beyond it."""

MILLIMETRES: Final = 10_000.0
"""No scanner's table is longer."""


def to_json(spec: object) -> str:
    """A spec as JSON text, keys in the order of the fields.

    Args:
        spec: One of the specs of `lungmask_jax.spec`.

    Returns:
        JSON that `from_json` turns into an equal spec.

    Example:
        >>> from lungmask_jax.spec import ModelSpec
        >>> to_json(ModelSpec(name="unet", options={"channels": [16, 32]}))
        '{"name": "unet", "options": {"channels": [16, 32]}, "members": 1}'
    """
    return json.dumps(_plain(spec))


def json_value(text: str, what: str) -> Any:
    """A value from untrusted JSON text.

    Args:
        text: At most `CHARACTERS` of JSON, without NaN and Infinity, each key once.
        what: The expected type, for the error: ``"a TrainSpec"``.

    Returns:
        The value.

    Raises:
        SpecError: The text is something else; if it is not JSON at all, its cause is a
            ``json.JSONDecodeError``.

    Example:
        >>> json_value("[16, 32]", "channels")
        [16, 32]
    """
    if len(text) > CHARACTERS:
        raise SpecError(
            f"expected {what} in at most {CHARACTERS} characters of JSON, found {len(text)}"
        )
    try:
        return json.loads(text, object_pairs_hook=_table, parse_constant=_no_number)
    except SpecError as error:
        raise SpecError(f"expected {what} as JSON, {error}") from error
    except json.JSONDecodeError as error:
        raise SpecError(f"expected {what} as JSON, found {text[:40]!r}") from error
    except (RecursionError, ValueError) as error:  # lists in lists in lists, or 5,000 digits
        raise SpecError(f"expected {what} as JSON, {text[:40]!r} is too much: {error}") from error


def _table(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise SpecError(f"found the key {shown(twice)} twice: leave one")
    return table


def _no_number(text: str) -> Any:
    raise SpecError(f"found {text}, which is not finite: give a finite number")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def coerced(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`, converted from JSON's types; anything else is an error."""
    origin, parameters = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _built(value, kind, where)
    if origin is UnionType:  # of a kind and None
        return None if value is None else coerced(value, parameters[0], where)
    if origin is Literal and value in parameters:
        return value
    if origin is tuple and parameters[-1] is ... and isinstance(value, list | tuple):
        return tuple(coerced(one, parameters[0], where) for one in value)
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(parameters):
        return tuple(coerced(v, k, where) for v, k in zip(value, parameters, strict=True))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return _json(value, where)
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if abs(value) <= sys.float_info.max:
            return float(value)
    elif type(value) is kind:
        return value
    expected = getattr(kind, "__name__", kind) if origin is None else kind
    raise SpecError(f"expected {expected} for {where}, found {shown(value)}")


def _json(value: Any, where: str, depth: int = 0) -> Any:
    """The value as JSON has it: tables by text, lists, texts, finite numbers, true, false, null."""
    if depth > DEPTH:
        raise SpecError(f"expected at most {DEPTH} levels in {where}, found more: make it flatter")
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(item, where, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, where, depth + 1) for item in value]
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and abs(value) < INTEGER:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise SpecError(
        f"expected strings, finite numbers, lists and tables in {where}, found {shown(value)}"
    )


def _built(values: Mapping[str, Any], kind: Any, where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise SpecError(f"unknown key {shown(key)} in {where}: {nearest(key, known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SpecError(f"incomplete {where}: {error}") from error


def same_version(version: int) -> None:
    """Raises for a spec of another layout."""
    if version != VERSION:
        raise SpecError(
            f"expected a spec of version {VERSION}, found {shown(version)}: "
            "another lungmask_jax wrote it, upgrade to read it"
        )


class Checked:
    """A base that checks types and turns lists into tuples, so values from JSON compare equal."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value = coerced(getattr(self, name), kind, f"{type(self).__name__}.{name}")
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        """Ranges, in the classes that have any."""


def within(name: str, value: float | tuple[float, ...], least: float, most: float) -> None:
    values = value if isinstance(value, tuple) else (value,)
    if not all(least <= one <= most for one in values):
        raise SpecError(f"expected {name} from {least:,.10g} to {most:,.10g}, found {shown(value)}")
