"""Building blocks of all checks, and their error."""

import functools
import inspect
import json
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from lungmask_jax.errors import ConformanceError

TRACEABLE = "use jax.numpy, and no Python if, float() or numpy on the values of arrays"


def expect(holds: bool, expected: str, found: object, advice: str) -> None:
    """Raises an error that says, in one sentence, what a part should do and does not."""
    __tracebackhide__ = True  # pytest then shows the line of the test
    if not holds:
        raise ConformanceError(f"expected {expected}, found {found}: {advice}")


def tried(expected: str, advice: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a function of the part; its error is raised again, with the advice."""
    __tracebackhide__ = True
    try:
        return function(*arguments)
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise ConformanceError(
            f"expected {expected}, found {type(error).__name__} ({first}): {advice}"
        ) from error


def expect_refusal(what: str, advice: str, function: Callable[..., Any], *arguments: Any) -> None:
    """Raises if a function gives an answer where it should raise an error for its caller."""
    __tracebackhide__ = True
    try:
        found = function(*arguments)
    except (TypeError, ValueError):
        return
    shapes = jax.tree.map(lambda leaf: getattr(leaf, "shape", leaf), found)
    expect(False, f"an error for {what}", f"the answer {shapes}", advice)


def expect_finite(tree: Any, what: str, advice: str) -> None:
    """Raises if a tree of arrays holds NaN or infinity."""
    __tracebackhide__ = True
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        wrong = int(np.size(leaf) - np.isfinite(np.asarray(leaf, np.float64)).sum())
        where = jax.tree_util.keystr(path, simple=True, separator="/")
        found = f"{wrong} of {np.size(leaf)} that are not" + (f" in {where}" if where else "")
        expect(not wrong, f"finite numbers in {what}", found, advice)


def expect_close(
    found: Any, wanted: Any, expected: str, advice: str, *, tolerance: float = 1e-3
) -> None:
    """Raises if arrays differ by more than a share of the largest number."""
    __tracebackhide__ = True
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        one, other = np.asarray(one, np.float64), np.asarray(other, np.float64)
        apart = np.abs(one - other).max(initial=0.0)
        limit = tolerance * max(np.abs(other).max(initial=0.0), 1e-3)
        expect(bool(apart <= limit), expected, f"a difference of {apart:.2g}", advice)


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    """A float32 array without values, for ``jax.eval_shape``."""
    return jax.ShapeDtypeStruct(shape, np.float32)  # type: ignore[no-untyped-call]


def jitted(function: Callable[..., Any]) -> Any:
    """A compiled function; on a CPU compiled in half the time, to be run a few times on little."""
    quick = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
    return jax.jit(function, compiler_options=quick)


def result(function: Callable[..., Any], *arguments: Any, expected: str, advice: str) -> Any:
    """What a function of arrays gives, compiled; traced again it must be the same program."""
    __tracebackhide__ = True
    first, second = (
        tried(expected, TRACEABLE, jitted(lambda *each: function(*each)).lower, *arguments)
        for _ in range(2)
    )
    same = first.as_text() == second.as_text()
    expect(same, f"{expected} that are the same again", "others", advice)
    return first.compile()(*arguments)


def plain_options(
    function: Callable[..., Any], *, positional: int, others: Collection[str] = ()
) -> dict[str, Any]:
    """The options of a function but `others` with their defaults, after a way through JSON."""
    __tracebackhide__ = True
    own = function.func if isinstance(function, functools.partial) else function
    kinds = inspect.signature(own).parameters  # what is bound by name makes the rest keyword-only
    options = {}
    for option in list(inspect.signature(function).parameters.values())[positional:]:
        if option.name in others:
            continue
        kind, name = kinds[option.name].kind, repr(option.name)
        by_name = "put a * before the first option, and name each"
        expect(kind is option.KEYWORD_ONLY, "options that are given by name", option, by_name)
        given = option.default is not option.empty
        expect(given, f"a default for the option {name}", "none", "give it one")
        advice = "take numbers, strings, lists or None, and convert them inside"
        text = tried(f"a default of {name} that JSON can hold", advice, json.dumps, option.default)
        options[option.name] = json.loads(text)
    return options
