"""Tasks: the structures that can be segmented, and everything specific to them.

Masks, measures, pictures, scores and the defaults of training follow from a `Task`. A package adds
its own through the entry-point group ``lungmask_jax.tasks``, a notebook with
``registry.register``; no other line changes.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT
from lungmask_jax.tasks import _task
from lungmask_jax.tasks._task import Color, Steps, Task, registry

__all__ = [
    "EFFUSIONS",
    "INFECTION",
    "LESIONS",
    "LOBES",
    "LUNGS",
    "LUNG_VESSELS",
    "NODULES",
    "VESSELS",
    "Color",
    "Steps",
    "Task",
    "is_target",
    "mask_names",
    "registry",
    "targets",
]

_T = TypeVar("_T")

_MOST_LIKELY: Final[Steps] = (("most_likely", {}),)


def _numbered(*values: _T) -> Mapping[int, _T]:
    """Values by label: the first for 1."""
    return MappingProxyType(dict(enumerate(values, 1)))


LUNGS: Final = Task(
    name="lungs",
    noun="lung",
    labels=MappingProxyType({RIGHT: "right_lung", LEFT: "left_lung"}),
    sides=MappingProxyType({RIGHT: "right", LEFT: "left"}),
    colors=MappingProxyType({RIGHT: _task.SKY, LEFT: _task.YELLOW}),
    outlined=True,
    column="lung_mask",
    usual_ml=(500.0, 12_000.0),  # more than any patient has
    tolerance_mm=1.0,  # as COVID-19-CT-Seg has it: Ma et al., 2021, 10.1002/mp.14676
    preprocess=MappingProxyType({"region": "body", "margin_mm": 5.0, "thickness_mm": 2.5}),
    postprocess=(
        *_task.DECISION,
        ("with_aerated", {}),
        ("crop", {}),
        ("largest_components", {"min_ml": 5.0, "min_share": 0.05}),
        ("without_bowel", {}),
        ("sides", {}),
        ("largest_components", {"min_share": 0.05, "by_label": True}),
        ("fill_holes", {"by_label": True}),
    ),
    training=MappingProxyType({"opacities": 0.5, "gas": 0.5}),
)
"""Both lungs. Training adds synthetic disease, which is lung, and synthetic gas, which is not."""

INFECTION: Final = Task(
    name="infection",
    inside="lungs",
    types="lesions",
    colors=_numbered(_task.VERMILION),
    severity=True,
    tolerance_mm=3.0,  # as above
    preprocess=MappingProxyType({"region": "lungs", "margin_mm": 5.0, "thickness_mm": 2.5}),
    postprocess=(
        *_task.DECISION,
        ("within", {"rim_mm": 5.0}),
        ("largest_components", {"min_ml": 0.1}),
        ("lesion_types", {}),
    ),
)
"""Infected lung."""

LESIONS: Final = Task(
    name="lesions",
    inside="infection",
    labels=MappingProxyType({GROUND_GLASS: "ground_glass", CONSOLIDATION: "consolidation"}),
    colors=MappingProxyType({GROUND_GLASS: _task.VERMILION, CONSOLIDATION: _task.PURPLE}),
    tolerance_mm=3.0,
)
"""The infection by type, from bundles of the infection."""

LOBES: Final = Task(
    name="lobes",
    noun="lobe",
    labels=_numbered(
        "left_upper_lobe",
        "left_lower_lobe",
        "right_upper_lobe",
        "right_middle_lobe",
        "right_lower_lobe",
    ),
    fills="lungs",
    colors=_numbered(_task.YELLOW, _task.ORANGE, _task.SKY, _task.GREEN, _task.BLUE),
    outlined=True,
    postprocess=_MOST_LIKELY,
)
"""The five lobes of the lungs, with the labels of lungmask."""

VESSELS: Final = Task(
    name="vessels",
    noun="vessel",
    labels=_numbered("lung_airways", "lung_airways_wall", "lung_arteries", "lung_veins"),
    colors=_numbered(_task.SKY, _task.YELLOW, _task.BLUE, _task.VERMILION),
    postprocess=_MOST_LIKELY,
)
"""Airways and vessels of the lungs, with the labels of TotalSegmentator."""

LUNG_VESSELS: Final = Task(
    name="lung_vessels",
    noun="lung vessel",
    labels=_numbered("lung_vessels", "lung_trachea_bronchia"),
    colors=_numbered(_task.VERMILION, _task.SKY),
    postprocess=_MOST_LIKELY,
)
"""Vessels of the lungs, arteries and veins alike, and airways, as TotalSegmentator's older model
labels them."""

EFFUSIONS: Final = Task(
    name="effusions",
    noun="effusion",
    labels=_numbered("pleural_effusion", "pericardial_effusion"),
    colors=_numbered(_task.BLUE, _task.PURPLE),
    postprocess=_MOST_LIKELY,
)
"""Fluid around lungs and heart, with the labels of TotalSegmentator."""

NODULES: Final = Task(
    name="nodules",
    noun="nodule",
    labels=_numbered("lung_nodules"),
    postprocess=_MOST_LIKELY,
)
"""Nodules of the lungs, as TotalSegmentator names them."""


def targets() -> list[str]:
    """The tasks for which bundles can be trained; nothing is imported.

    Returns:
        Sorted names.

    Example:
        >>> {"infection", "lungs"} <= set(targets())
        True
    """
    return [name for name in registry if name != LESIONS.name]


def is_target(name: str) -> bool:
    """Whether bundles can be trained for a task.

    Args:
        name: Of the task.

    Returns:
        Whether `targets` has it.

    Example:
        >>> is_target("lungs"), is_target("lesions"), is_target("moon")
        (True, False, False)
    """
    return name in registry and name != LESIONS.name


def mask_names(names: Iterable[str]) -> list[str]:
    """The masks from models of some tasks: those of the tasks, and of their types.

    Args:
        names: Names of tasks.

    Returns:
        Names of masks.

    Example:
        >>> mask_names(["lungs", "infection"])
        ['lungs', 'infection', 'lesions']
    """
    made = [registry[name] for name in names]
    return [name for task in made for name in (task.name, task.types) if name]
