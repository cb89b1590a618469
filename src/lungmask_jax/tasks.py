"""Tasks: the structures that can be segmented, and everything specific to them.

Masks, measures, pictures, scores and the defaults of training follow from a `Task`. A package adds
its own through the entry-point group ``lungmask_jax.tasks``, a notebook with
``registry.register``; no other line changes.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.labels import CONSOLIDATION, GROUND_GLASS, LEFT, RIGHT, Concept, concept
from lungmask_jax.registry import Registry

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

Color: TypeAlias = tuple[int, int, int]

Steps: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""Names of `lungmask_jax.postprocess` with their parameters, in the order of application."""

_DECISION: Final[Steps] = (("calibration", {}), ("threshold", {}))

_VERMILION: Final = (213, 94, 0)
_PURPLE: Final = (204, 121, 167)
_COLORS: Final = ((0, 158, 115), (0, 114, 178), (230, 159, 0), _PURPLE, _VERMILION)
"""For tasks without colors: those of Okabe and Ito, which color-blind readers can distinguish."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A structure to segment.

    Attributes:
        name: Name of its masks, files, measures, bundles and entry point.
        noun: The name before another noun, as in "lung network"; the name itself by default.
        labels: Names of the labels of its masks; 1 is the name itself by default.
        sides: Labels of the patient's right and left, with the words for them. Masks of other
            conventions are converted, and structures inside are measured on each side.
        inside: The task whose mask bounds it; by default it may lie anywhere.
        fills: The task whose mask its labels fill without gaps, as lobes fill the lungs, if a
            model of that runs, too. Each label is then measured, with the structures inside it.
        types: The task whose labels divide this one, as ground glass and consolidation divide
            infection. Bundles of this task make both masks.
        colors: Red, green and blue of each label, from 0 to 255; by default distinguishable ones.
        concepts: Codes of each label for DICOM and 3D Slicer; by default from
            `lungmask_jax.labels.concept`.
        outlined: Whether pictures show its outline only.
        column: Column of its masks in a ``metadata.csv``; by default the name and ``_mask``.
        usual_ml: Smallest and largest volume of a whole organ; a note reports other volumes, and
            a missing side.
        severity: Whether its share of each side gives a class from CT-0 to CT-4.
        tolerance_mm: Tolerance of the surface Dice.
        preprocess: Settings of `lungmask_jax.spec.PreprocessSpec` for training.
        postprocess: Steps of a trained bundle: by default calibration, threshold, and the outer
            mask.
        training: Settings of `lungmask_jax.spec.TrainSpec` that differ from its defaults.

    Raises:
        SpecError: A label is not an integer from 1 to 255.

    Example:
        >>> effusion = Task(name="effusion", inside="lungs")
        >>> effusion.labels[1], effusion.column
        ('effusion', 'effusion_mask')
    """

    name: str
    noun: str = ""
    labels: Mapping[int, str] = field(default_factory=dict, hash=False)
    sides: Mapping[int, str] = field(default_factory=dict, hash=False)
    inside: str = ""
    fills: str = ""
    types: str = ""
    colors: Mapping[int, Color] = field(default_factory=dict, hash=False)
    concepts: Mapping[int, Concept] = field(default_factory=dict, hash=False)
    outlined: bool = False
    column: str = ""
    usual_ml: tuple[float, float] | None = None
    severity: bool = False
    tolerance_mm: float = 3.0
    preprocess: Mapping[str, Any] = field(default_factory=dict, hash=False)
    postprocess: Steps = field(default=(), hash=False)
    training: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        labels = self.labels or {1: self.name}
        defaults = {
            "noun": self.name,
            "labels": labels,
            "colors": dict(zip(labels, itertools.cycle(_COLORS), strict=False)),
            "concepts": {
                label: concept(name, abnormal=bool(self.inside)) for label, name in labels.items()
            },
            "column": f"{self.name}_mask",
            "postprocess": (*_DECISION, *((("within", {}),) if self.inside else ())),
        }
        for name, value in defaults.items():
            if not getattr(self, name):
                object.__setattr__(self, name, value)
        wrong = [label for label in self.labels if type(label) is not int or not 0 < label < 256]
        if wrong:
            raise SpecError(
                f"expected labels from 1 to 255 for task {self.name!r}, found {shown(wrong)}: 0 "
                "is the background"
            )

    @property
    def highest(self) -> int:
        """The highest label of its masks, including those of its types."""
        types = [*registry[self.types].labels] if self.types else []
        return max([*self.labels, *types])

    @property
    def whole(self) -> str:
        """The name for all of its labels; for types, that of the task they divide."""
        return self.inside if self.divides else self.name

    @property
    def divides(self) -> bool:
        """Whether its labels are the types of the outer task."""
        return bool(self.inside) and registry[self.inside].types == self.name


LUNGS: Final = Task(
    name="lungs",
    noun="lung",
    labels=MappingProxyType({RIGHT: "right_lung", LEFT: "left_lung"}),
    sides=MappingProxyType({RIGHT: "right", LEFT: "left"}),
    colors=MappingProxyType({RIGHT: (86, 180, 233), LEFT: (240, 228, 66)}),
    outlined=True,
    column="lung_mask",
    usual_ml=(500.0, 12_000.0),  # more than any patient has
    tolerance_mm=1.0,  # as COVID-19-CT-Seg has it: Ma et al., 2021, 10.1002/mp.14676
    preprocess=MappingProxyType({"region": "body", "margin_mm": 5.0, "thickness_mm": 2.5}),
    postprocess=(
        *_DECISION,
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
    colors=MappingProxyType({1: _VERMILION}),
    severity=True,
    tolerance_mm=3.0,  # as above
    preprocess=MappingProxyType({"region": "lungs", "margin_mm": 5.0, "thickness_mm": 2.5}),
    postprocess=(
        *_DECISION,
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
    colors=MappingProxyType({GROUND_GLASS: _VERMILION, CONSOLIDATION: _PURPLE}),
    tolerance_mm=3.0,
)
"""The infection by type, from bundles of the infection."""

LOBES: Final = Task(
    name="lobes",
    noun="lobe",
    labels=MappingProxyType(
        {
            1: "left_upper_lobe",
            2: "left_lower_lobe",
            3: "right_upper_lobe",
            4: "right_middle_lobe",
            5: "right_lower_lobe",
        }
    ),
    fills="lungs",
    colors=MappingProxyType(
        {
            1: (240, 228, 66),
            2: (230, 159, 0),
            3: (86, 180, 233),
            4: (0, 158, 115),
            5: (0, 114, 178),
        }
    ),
    outlined=True,
    postprocess=(("most_likely", {}),),
)
"""The five lobes of the lungs, with the labels of lungmask."""

VESSELS: Final = Task(
    name="vessels",
    noun="vessel",
    labels=MappingProxyType(
        {1: "lung_airways", 2: "lung_airways_wall", 3: "lung_arteries", 4: "lung_veins"}
    ),
    colors=MappingProxyType(
        {1: (86, 180, 233), 2: (240, 228, 66), 3: (0, 114, 178), 4: _VERMILION}
    ),
    postprocess=(("most_likely", {}),),
)
"""Airways and vessels of the lungs, with the labels of TotalSegmentator."""

LUNG_VESSELS: Final = Task(
    name="lung_vessels",
    noun="lung vessel",
    labels=MappingProxyType({1: "lung_vessels", 2: "lung_trachea_bronchia"}),
    colors=MappingProxyType({1: _VERMILION, 2: (86, 180, 233)}),
    postprocess=(("most_likely", {}),),
)
"""Vessels of the lungs, arteries and veins alike, and airways, as TotalSegmentator's older model
labels them."""

EFFUSIONS: Final = Task(
    name="effusions",
    noun="effusion",
    labels=MappingProxyType({1: "pleural_effusion", 2: "pericardial_effusion"}),
    colors=MappingProxyType({1: (0, 114, 178), 2: _PURPLE}),
    postprocess=(("most_likely", {}),),
)
"""Fluid around lungs and heart, with the labels of TotalSegmentator."""

NODULES: Final = Task(
    name="nodules",
    noun="nodule",
    labels=MappingProxyType({1: "lung_nodules"}),
    postprocess=(("most_likely", {}),),
)
"""Nodules of the lungs, as TotalSegmentator names them."""

registry: Registry[Task] = Registry(
    "lungmask_jax.tasks",
    {
        "infection": "lungmask_jax.tasks:INFECTION",
        "lesions": "lungmask_jax.tasks:LESIONS",
        "effusions": "lungmask_jax.tasks:EFFUSIONS",
        "lobes": "lungmask_jax.tasks:LOBES",
        "lung_vessels": "lungmask_jax.tasks:LUNG_VESSELS",
        "lungs": "lungmask_jax.tasks:LUNGS",
        "nodules": "lungmask_jax.tasks:NODULES",
        "vessels": "lungmask_jax.tasks:VESSELS",
    },
    Task,
)
"""Tasks by name."""


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
