"""Specs from JSON text, of this version and those before."""

from collections.abc import Mapping
from typing import TypeVar

from lungmask_jax.spec._json import coerced, json_value, same_version
from lungmask_jax.spec._version1 import upgraded

T = TypeVar("T")


def from_json(text: str, kind: type[T]) -> T:
    """A spec from JSON text.

    Args:
        text: JSON from `to_json` or written by hand; missing keys get their defaults.
        kind: The spec's class.

    Returns:
        The spec.

    Raises:
        SpecError: The text is not JSON, too long or too deep; a key is unknown or duplicate, or a
            value does not fit.

    Example:
        >>> from lungmask_jax.spec import PreprocessSpec
        >>> from_json('{"wndow": [-1000, 400]}', PreprocessSpec)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: unknown key 'wndow' in PreprocessSpec: did you mean 'window'?
    """
    values = json_value(text, f"a {kind.__name__}")
    if isinstance(values, Mapping) and "version" in values:
        values = upgraded(values)
        same_version(values["version"])  # before its new keys are called unknown
    return coerced(values, kind, kind.__name__)
