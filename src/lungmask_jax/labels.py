"""Label values, and the conversions between conventions.

Ours (and lungmask's): 0 background, 1 right lung, 2 left lung. Right and left are the patient's.
Infection by type: 1 ground-glass opacity, 2 consolidation.
COVID-19-CT-Seg has the lungs the other way round (1 left, 2 right) and adds 3 infection.
`concept` gives the codes by which other programs know what a label shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from lungmask_jax.errors import ScanError, ShapeError

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "BACKGROUND",
    "CONSOLIDATION",
    "GROUND_GLASS",
    "LEFT",
    "OWN_SCHEME",
    "RIGHT",
    "Code",
    "Concept",
    "concept",
    "from_covid19_ct_seg",
    "refuse_above",
    "swap_sides",
]

BACKGROUND: Final = 0
RIGHT: Final = 1
LEFT: Final = 2
GROUND_GLASS: Final = 1
CONSOLIDATION: Final = 2

_ADVICE: Final = {
    1: "make them 0 and 1; if 2 is consolidation, evaluate by type",
    2: "make them 0, 1 (right) and 2 (left) for lungs; 0 and 1 for infection, or 1 (ground glass) "
    "and 2 (consolidation)",
}


class Code(NamedTuple):
    """A coded term of a terminology.

    Attributes:
        value: The code.
        meaning: What it stands for, in English.
        scheme: The terminology, as DICOM names it: ``"SCT"`` is SNOMED CT.

    Example:
        >>> Code("39607008", "Lung").scheme
        'SCT'
    """

    value: str
    meaning: str
    scheme: str = "SCT"


class Concept(NamedTuple):
    """What a label shows, in the codes of DICOM segmentations (PS3.16, CID 7150 and 7151).

    Attributes:
        category: The kind of structure.
        type: The structure.
        side: Which of two it is, if there is one on each side.
        region: What it lies in, if that is not clear from its type.

    Example:
        >>> concept("left_lung").side.meaning
        'Left'
    """

    category: Code
    type: Code
    side: Code | None = None
    region: Code | None = None


_ANATOMY: Final = Code("123037004", "Anatomical Structure")
_ABNORMAL: Final = Code("49755003", "Morphologically Abnormal Structure")
_SIDES: Final = {"right": Code("24028007", "Right"), "left": Code("7771000", "Left")}
_LUNG: Final = Code("39607008", "Lung")
_UPPER: Final = Code("45653009", "Upper lobe of lung")
_LOWER: Final = Code("90572001", "Lower lobe of lung")
OWN_SCHEME: Final = "99LUNGMASK_JAX"
"""Of codes that no terminology has."""


_CONCEPTS: Final = {
    "right_lung": Concept(_ANATOMY, _LUNG, _SIDES["right"]),
    "left_lung": Concept(_ANATOMY, _LUNG, _SIDES["left"]),
    "right_upper_lobe": Concept(_ANATOMY, _UPPER, _SIDES["right"]),
    "right_middle_lobe": Concept(_ANATOMY, Code("72481006", "Middle lobe of right lung")),
    "right_lower_lobe": Concept(_ANATOMY, _LOWER, _SIDES["right"]),
    "left_upper_lobe": Concept(_ANATOMY, _UPPER, _SIDES["left"]),
    "left_lower_lobe": Concept(_ANATOMY, _LOWER, _SIDES["left"]),
    "infection": Concept(_ABNORMAL, Code("409774005", "Inflammation"), region=_LUNG),
    "ground_glass": Concept(_ABNORMAL, Code("112120", "Ground glass opacity", "DCM"), region=_LUNG),
    "consolidation": Concept(_ABNORMAL, Code("95436008", "Lung consolidation"), region=_LUNG),
    "lung_nodules": Concept(_ABNORMAL, Code("27925004", "Nodule"), region=_LUNG),
    "pleural_effusion": Concept(_ABNORMAL, Code("60046008", "Pleural effusion")),
    "pericardial_effusion": Concept(_ABNORMAL, Code("373945007", "Pericardial effusion")),
    "lung_airways": Concept(_ANATOMY, Code("89187006", "Airway structure"), region=_LUNG),
    "lung_arteries": Concept(_ANATOMY, Code("81040000", "Pulmonary artery")),
    "lung_veins": Concept(_ANATOMY, Code("122972007", "Pulmonary vein")),
    "lung_vessels": Concept(_ANATOMY, Code("59820001", "Blood Vessel"), region=_LUNG),
    "lung_trachea_bronchia": Concept(_ANATOMY, Code("110726009", "Trachea and bronchus")),
}

_OTHER_ADVICE: Final = "use the labels of the task"


def swap_sides(lungs: np.ndarray) -> np.ndarray:
    """The same lungs with right and left exchanged.

    A horizontal flip of an image turns the patient's right into its left: flip the mask *and* swap
    its sides.

    Args:
        lungs: Any shape, values 0, 1 (right), 2 (left).

    Returns:
        Same shape, uint8.

    Example:
        >>> import numpy as np
        >>> swap_sides(np.array([0, 1, 2, 2], np.uint8))
        array([0, 2, 1, 1], dtype=uint8)
    """
    return _translate(lungs, (BACKGROUND, LEFT, RIGHT))


def concept(name: str, *, abnormal: bool = False) -> Concept:
    """The codes of a label.

    Args:
        name: Name of the label.
        abnormal: Whether an unknown one is an abnormal structure, not an anatomical one.

    Returns:
        Codes of SNOMED CT and DICOM; for unknown names, one of this library.

    Example:
        >>> concept("ground_glass").type
        Code(value='112120', meaning='Ground glass opacity', scheme='DCM')
        >>> concept("bulla", abnormal=True).type
        Code(value='bulla', meaning='bulla', scheme='99LUNGMASK_JAX')
    """
    own = Code(name, name.replace("_", " "), OWN_SCHEME)
    return _CONCEPTS.get(name, Concept(_ABNORMAL if abnormal else _ANATOMY, own))


def from_covid19_ct_seg(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lungs and infection from a COVID-19-CT-Seg ``lung_and_infection_mask``.

    The joint mask has one label per voxel, so infected lung (3) has no side: it becomes infection
    only, and the lungs have a hole there. Use the separate lung mask if you need the lungs.

    Args:
        mask: Any shape, values 0, 1 (left), 2 (right), 3 (infection).

    Returns:
        ``(lungs, infection)``: uint8 with values 0, 1 (right), 2 (left), and uint8 0, 1.

    Example:
        >>> import numpy as np
        >>> from_covid19_ct_seg(np.array([0, 1, 2, 3]))
        (array([0, 2, 1, 0], dtype=uint8), array([0, 0, 0, 1], dtype=uint8))
    """
    return _translate(mask, (BACKGROUND, LEFT, RIGHT, BACKGROUND)), _translate(mask, (0, 0, 0, 1))


def refuse_above(mask: np.ndarray, highest: int, where: object) -> None:
    """Raises for labels that a mask should not have.

    Args:
        mask: Any shape.
        highest: The highest allowed one: 2 for lungs and infection by type, 1 for infection.
        where: What the mask is, for the message.

    Raises:
        ScanError: A label is higher.

    Example:
        >>> import numpy as np
        >>> refuse_above(np.array([0, 255]), 1, "mask.nii")
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.ScanError: expected labels 0 to 1, found up to 255 in mask.nii: ...
    """
    found = int(mask.max(initial=0))
    if found > highest:
        raise ScanError(
            f"expected labels 0 to {highest}, found up to {found} in {where}: "
            f"{_ADVICE.get(highest, _OTHER_ADVICE)}"
        )


def _translate(mask: np.ndarray, table: tuple[int, ...]) -> np.ndarray:
    import numpy as np  # here: the command asks for names and values before it needs arrays

    mask = np.asarray(mask)
    if mask.size and (mask.min() < 0 or mask.max() >= len(table)):
        raise ShapeError(
            f"expected label values 0 to {len(table) - 1}, found {mask.min()} to {mask.max()}: "
            "check that this is the right mask"
        )
    return np.asarray(table, np.uint8)[mask.astype(np.intp)]
