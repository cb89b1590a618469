"""A task: a structure to segment, with its labels, codes, colors and defaults, by name."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from lungmask_jax.errors import SpecError, shown
from lungmask_jax.labels import Concept, concept
from lungmask_jax.registry import Registry

Color: TypeAlias = tuple[int, int, int]

Steps: TypeAlias = tuple[tuple[str, Mapping[str, Any]], ...]
"""Names of `lungmask_jax.postprocess` with their parameters, in the order of application."""

DECISION: Final[Steps] = (("calibration", {}), ("threshold", {}))

# Colors of Okabe and Ito, which color-blind readers can distinguish
SKY: Final = (86, 180, 233)
YELLOW: Final = (240, 228, 66)
GREEN: Final = (0, 158, 115)
BLUE: Final = (0, 114, 178)
ORANGE: Final = (230, 159, 0)
PURPLE: Final = (204, 121, 167)
VERMILION: Final = (213, 94, 0)
_COLORS: Final = (GREEN, BLUE, ORANGE, PURPLE, VERMILION)  # for tasks without any


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
            "postprocess": (*DECISION, *((("within", {}),) if self.inside else ())),
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
