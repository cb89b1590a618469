"""Specs as JSON, and values from JSON as what a spec's fields ask for."""

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar, get_args, get_origin

from lungmask_jax.errors import SpecError, nearest

__all__ = ["VERSION", "coerced", "from_json", "same_version", "to_json"]

VERSION: Final = 1
T = TypeVar("T")


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


def from_json(text: str, kind: type[T]) -> T:
    """A spec from JSON text.

    Args:
        text: What `to_json` wrote, or the same by hand; missing keys have their defaults.
        kind: The spec's class.

    Returns:
        The spec.

    Raises:
        SpecError: The text is not JSON, a key is unknown, or a value does not fit.

    Example:
        >>> from lungmask_jax.spec import PreprocessSpec
        >>> from_json('{"wndow": [-1000, 400]}', PreprocessSpec)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: unknown key 'wndow' in PreprocessSpec: did you mean 'window'?
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"expected a {kind.__name__} as JSON, found {text[:40]!r}") from error
    if isinstance(values, Mapping) and "version" in values:
        same_version(values["version"])  # before its new keys are called unknown
    return coerced(values, kind, kind.__name__)  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def coerced(value: Any, kind: Any, where: str) -> Any:
    """`value` as `kind`, where JSON's types stand for ours; anything else is an error."""
    origin, parameters = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _built(value, kind, where)
    if origin is Literal and value in parameters:
        return value
    if origin is tuple and isinstance(value, list | tuple) and len(value) == len(parameters):
        return tuple(coerced(v, k, where) for v, k in zip(value, parameters, strict=True))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if isinstance(value, Mapping):
            return {key: _plain(item) for key, item in value.items()}
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value):
            return float(value)
    elif type(value) is kind:
        return value
    expected = getattr(kind, "__name__", kind) if origin is None else kind
    raise SpecError(f"expected {expected} for {where}, found {value!r}")


def _built(values: Mapping[str, Any], kind: Any, where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            raise SpecError(f"unknown key {key!r} in {where}: {nearest(key, known)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise SpecError(f"incomplete {where}: {error}") from error


def same_version(version: int) -> None:
    """Raises for a spec of another layout."""
    if version != VERSION:
        raise SpecError(
            f"expected a spec of version {VERSION}, found {version!r}: "
            "another lungmask_jax wrote it, upgrade to read it"
        )
