"""The steps of a bundle: their registry, checks and application."""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from lungmask_jax.errors import SpecError, nearest, shown
from lungmask_jax.postprocess._components import bounds
from lungmask_jax.postprocess._decision import Decision
from lungmask_jax.registry import Registry
from lungmask_jax.tasks import Steps
from lungmask_jax.volume import Volume

Step: TypeAlias = Callable[..., Any]

_HERE: Final = "lungmask_jax.postprocess"
_LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "_hu": (-1e6, 1e6),
    "_mm": (0.0, 1e4),
    "_ml": (0.0, 1e9),
    "_mm2": (0.0, 1e9),
    "share": (0.0, 1.0),
}
"""Ranges of parameters by the ending of their name; others end at 10^9."""


class Scan(NamedTuple):
    """The properties of a scan that steps may use, by the names of their arguments.

    Attributes:
        ct: The scan in HU.
        inside: The mask of the outer task; none for a task that may lie anywhere.
        fills: The mask of the task that this one fills; none without a model of that.
        on_scan: Resamples an array from the grid of the network's images to that of the scan, if
            they differ.
        midline: The body's middle column.
        middle_row: The row halfway from its front to its back.
        typed: Whether the network predicts several labels.

    Example:
        >>> Scan(Volume(np.zeros((1, 4, 6), np.int16)), midline=2.5).typed
        False
    """

    ct: Volume
    inside: Volume | None = None
    fills: Volume | None = None
    on_scan: Callable[[np.ndarray], np.ndarray] | None = None
    midline: float | None = None
    middle_row: float | None = None
    typed: bool = False


def crop(mask: Volume) -> Volume:
    """The rows and columns around a mask, in all slices, so that later steps need less memory.

    Later steps count from its corner, so their coarse copies begin there; at the end the mask has
    its original rows and columns again.

    Args:
        mask: Labels.

    Returns:
        A view.

    Example:
        >>> crop(Volume(np.pad(np.ones((1, 2, 3), bool), ((0, 0), (5, 5), (5, 5))))).shape
        (1, 2, 3)
    """
    return _part(mask, _box(mask))


def onto_scan(
    mask: Volume, ct: Volume, *, on_scan: Callable[[np.ndarray], np.ndarray] | None = None
) -> Volume:
    """Labels on the grid of the scan; the steps before see those of the network's images.

    Args:
        mask: Labels.
        ct: The scan.
        on_scan: What brings an array from one grid to the other.

    Returns:
        The labels.

    Example:
        >>> small, ct = Volume(np.ones((1, 2, 2))), Volume(np.zeros((1, 4, 4)))
        >>> onto_scan(small, ct, on_scan=lambda array: array.repeat(2, 1).repeat(2, 2)).shape
        (1, 4, 4)
    """
    return mask if on_scan is None else ct.with_array(on_scan(mask.array))


registry: Registry[Step] = Registry(
    _HERE,
    {
        "calibration": f"{_HERE}._decision:calibration",
        "crop": f"{_HERE}._steps:crop",
        "fill_holes": f"{_HERE}._components:fill_holes",
        "fill_outer": f"{_HERE}._regions:fill_outer",
        "join_regions": f"{_HERE}._regions:join_regions",
        "largest_components": f"{_HERE}._components:largest_components",
        "lesion_types": f"{_HERE}._inside:lesion_types",
        "most_likely": f"{_HERE}._decision:most_likely",
        "onto_scan": f"{_HERE}._steps:onto_scan",
        "sides": f"{_HERE}._sides:sides",
        "solid_regions": f"{_HERE}._regions:solid_regions",
        "threshold": f"{_HERE}._decision:threshold",
        "with_aerated": f"{_HERE}._air:with_aerated",
        "within": f"{_HERE}._inside:within",
        "without_bowel": f"{_HERE}._bowel:without_bowel",
    },
)
"""Steps by name: functions of a mask and of keyword parameters with defaults. An argument with the
name of a field of `Scan` receives that field."""

_DECIDING: Final = ("calibration", "threshold", "most_likely")


def complete(steps: Steps) -> Steps:
    """The same steps with all their parameters, with defaults for missing ones.

    Args:
        steps: Names and parameters.

    Returns:
        Steps that do not depend on later changes of the defaults.

    Raises:
        SpecError: A parameter is unknown, of the wrong type or out of range; or a step for
            probabilities follows one for a mask.
        UnknownNameError: There is no step of that name.
        PluginError: The step is from a package, and cannot be loaded.

    Example:
        >>> complete((("threshold", {}), ("largest_components", {"min_ml": 5})))[1]
        ('largest_components', {'min_ml': 5.0, 'min_share': 0.0, 'by_label': False})
    """
    names = [name for name, _ in steps]
    late = [name for name in names[_deciding(steps) :] if name in _DECIDING]
    if late:
        raise SpecError(
            f"expected {', '.join(_DECIDING)} before all other steps, found {late[0]!r} among "
            f"{', '.join(names)}"
        )
    done = tuple((name, _numbers(name, given)) for name, given in steps)
    decision(done)  # has ranges of its own
    return done


def decision(steps: Steps) -> Decision:
    """The first steps of a bundle, which turn probabilities into a mask.

    Args:
        steps: Of a spec.

    Returns:
        The decision.

    Raises:
        SpecError: A number of it is out of range.

    Example:
        >>> decision((("threshold", {"at": 0.4}), ("sides", {})))
        Decision(slope=1.0, offset=0.0, at=0.4, most_likely=False)
    """
    made = Decision()
    for name, numbers in steps[: _deciding(steps)]:
        made = registry[name](made, **numbers)
    return made


def applied(steps: Steps, mask: Volume, scan: Scan) -> Volume:
    """A mask after the steps that follow the decision.

    Args:
        steps: Of a spec.
        mask: Labels of a network, ``(slices, rows, columns)``.
        scan: The scan of the mask.

    Returns:
        uint8 labels of the same shape.

    Raises:
        SpecError: A step needs a property that the scan lacks, such as an outer mask.
        PluginError: The step of a package fails.

    Example:
        >>> mask = Volume(np.ones((1, 4, 4), np.uint8))
        >>> steps = (("threshold", {"at": 0.4}), ("largest_components", {"min_ml": 5}))
        >>> applied(steps, mask, Scan(mask)).array.sum()
        np.uint64(16)
    """
    steps = steps[_deciding(steps) :]
    for place, (name, numbers) in enumerate(steps, 1):
        if name == "crop":
            return _applied_in_box(steps[place:], mask, scan)
        mask = _taken(name, numbers, mask, scan)
    return mask.with_array(mask.array.astype(np.uint8, copy=False))


def _deciding(steps: Steps) -> int:
    """The number of first steps that are for probabilities."""
    return next((n for n, (name, _) in enumerate(steps) if name not in _DECIDING), len(steps))


def _taken(name: str, numbers: Mapping[str, Any], mask: Volume, scan: Scan) -> Volume:
    """The mask after one step."""
    asked = {one: getattr(scan, one) for one in Scan._fields if one in _arguments(name)}
    if asked.get("inside", mask) is None:
        raise SpecError(f"expected an outer mask for the step {name!r}, found none")
    with registry.plugin_errors(name, f"fails with {shown(dict(numbers))}"):
        found = registry[name](mask, **asked, **numbers)
        shape = scan.ct.shape if name == "onto_scan" else mask.shape
        if not isinstance(found, Volume) or found.shape != shape:
            raise TypeError(f"expected a mask of shape {shape}, found {shown(found)}")
    return found


def _box(mask: Volume) -> tuple[slice, slice, slice]:
    return (slice(None), *bounds(mask.array)[1:])


def _part(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    return Volume(volume.array[box], volume.affine)


def _applied_in_box(steps: Steps, mask: Volume, scan: Scan) -> Volume:
    """The mask after steps that use only the box around it."""
    box = _box(mask)
    cropped = scan._replace(
        ct=_part(scan.ct, box),
        inside=None if scan.inside is None else _part(scan.inside, box),
        fills=None if scan.fills is None else _part(scan.fills, box),
        midline=None if scan.midline is None else scan.midline - box[2].start,
        middle_row=None if scan.middle_row is None else scan.middle_row - box[1].start,
    )
    inner = applied(steps, _part(mask, box), cropped).array
    result = np.zeros(mask.shape, np.uint8)  # as large as the scan: not before
    result[box] = inner
    return mask.with_array(result)


def _arguments(name: str) -> Mapping[str, inspect.Parameter]:
    with registry.plugin_errors(name, "has no numbers that can be read"):
        return _signature(registry[name])


@functools.cache
def _signature(step: Step) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(step).parameters


def _numbers(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters of a step."""
    written = getattr(registry[name], "__kwdefaults__", None) or {}  # signatures may be documented
    known = {
        one.name: written.get(one.name, one.default)
        for one in _arguments(name).values()
        if one.kind is one.KEYWORD_ONLY and one.name not in Scan._fields
    }
    for key in given:
        if key not in known:
            raise SpecError(f"no number {shown(key)} in the step {name!r}: {nearest(key, known)}")
    return {key: _checked(name, key, given.get(key, known[key]), known[key]) for key in known}


def _checked(step: str, key: str, value: Any, default: Any) -> Any:
    """The value, of the kind of the default and in its range."""
    if isinstance(default, tuple) and isinstance(value, list | tuple):
        return [_checked(step, key, one, default[0]) for one in value]
    kind = type(default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    low, high = next((_LIMITS[end] for end in _LIMITS if key.endswith(end)), (-1e9, 1e9))
    if kind is float and number and math.isfinite(value) and low <= value <= high:
        return float(value)
    if kind in (bool, str) and type(value) is kind:
        return value
    if kind is int and type(value) is int and low <= value <= high:
        return value
    what = f"a number from {low:,.10g} to {high:,.10g}" if kind in (int, float) else kind.__name__
    raise SpecError(f"expected {what} for {key} of the step {step!r}, found {shown(value)}")
