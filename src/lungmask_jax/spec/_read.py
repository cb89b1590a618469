"""Specs from JSON text, of this version and those before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.spec._json import (
    MILLIMETRES,
    MOST,
    Checked,
    coerced,
    json_value,
    same_version,
    within,
)
from lungmask_jax.tasks import INFECTION, LUNGS, Steps

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


def upgraded(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values of a spec of version 1 as those of version 2; others as they are.

    Raises:
        SpecError: Its target or its post-processing settings are not those of version 1.
    """
    version, target = values["version"], values.get("target")
    if type(version) is not int or version != 1:
        return values
    if not isinstance(target, str) or target not in _STEPS:
        raise SpecError(f"expected a target of {', '.join(_STEPS)}, found {shown(target)}")
    post = coerced(values.get("postprocess", {}), Postprocess, "SegmenterSpec.postprocess")
    slope, offset = post.calibration
    decision = (
        ("calibration", {"slope": slope, "offset": offset}),
        ("threshold", {"at": post.threshold}),
    )
    steps = (*decision, *_STEPS[target](post))
    return {**_with_predict(values), "version": 2, "postprocess": steps}


def _with_predict(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same with `flip` and `shift`, which once stood beside `predict`, inside it."""
    if "predict" in values:
        return values
    rest = {key: value for key, value in values.items() if key not in ("flip", "shift")}
    predict = {"mirror": [False, False, values.get("flip", False)], "shift": values.get("shift", 0)}
    return {**rest, "predict": predict}


@dataclass(frozen=True, kw_only=True)
class Postprocess(Checked):
    """The settings of version 1."""

    calibration: tuple[float, float] = (1.0, 0.0)
    threshold: float = 0.5
    min_component_ml: float = 0.0
    fill_holes: bool = False
    rim_mm: float = 0.0

    def _check(self) -> None:
        if not 0 < self.threshold < 1:
            raise SpecError(f"expected a threshold between 0 and 1, found {self.threshold}")
        if not self.calibration[0] > 0:
            raise SpecError(
                f"expected a calibration with a slope above 0, found {self.calibration}"
            )
        within("calibration", self.calibration, -MOST, MOST)
        within("min_component_ml", self.min_component_ml, 0, MOST)
        within("rim_mm", self.rim_mm, 0, MILLIMETRES)


def _of_lungs(post: Postprocess) -> Steps:
    steps: Steps = (
        (
            "with_aerated",
            {
                "gas_hu": -960.0,
                "aerated_hu": -600.0,
                "edge_hu": -500.0,
                "bone_hu": 400.0,
                "tissue_hu": -300.0,
                "tissue_share": 0.2,
                "gas_reach_mm": 1.5,
                "coarse_mm": 1.5,
                "thinnest_mm": 6.0,
                "adjoining_share": 0.25,
                "min_ml": 0.1,
            },
        ),
        ("crop", {}),
        (
            "largest_components",
            {"min_ml": post.min_component_ml, "min_share": 0.05, "by_label": False},
        ),
        ("without_bowel", {"coarse_mm": 4.0, "neck_mm": 4.0, "above_base_mm": 10.0}),
        (
            "sides",
            {
                "coarse_mm": 2.5,
                "seed_share": 0.05,
                "crossing_share": 0.2,
                "both_sides_share": 0.3,
                "mixed_share": 0.03,
                "depths_mm": (2.0, 4.0, 6.0, 9.0, 12.0, 16.0, 20.0, 27.0, 36.0, 48.0, 64.0),
            },
        ),
        ("largest_components", {"min_ml": 0.0, "min_share": 0.05, "by_label": True}),
    )
    return (*steps, _HOLES[True]) if post.fill_holes else steps


def _of_infection(post: Postprocess) -> Steps:
    inside = ("within", {"rim_mm": post.rim_mm, "most_share": 0.1})
    types = ("lesion_types", {"consolidation_hu": -400.0, "blur_mm": 1.5})
    small = {"min_ml": post.min_component_ml, "min_share": 0.0, "by_label": False}
    steps: Steps = (inside, ("largest_components", small))
    return (*steps, *((_HOLES[False], inside) if post.fill_holes else ()), types)


_HOLES: Final = {
    by_label: ("fill_holes", {"max_hole_mm2": 200.0, "by_label": by_label})
    for by_label in (False, True)
}
_STEPS: Final = {LUNGS.name: _of_lungs, INFECTION.name: _of_infection}
