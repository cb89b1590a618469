"""What file names say: which files belong together, and which scans are one patient's."""

import re
from typing import Final

SUFFIXES: Final = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".dcm")
SAME_PATIENT: Final = re.compile(
    r".*(coronacases\D*\d+|radiopaedia.*?\d+(?=_\d+_\d+))", re.IGNORECASE
)
"""COVID-19-CT-Seg: a Radiopaedia patient is followed by study and series, as in ``10_85902_1``."""


def stem(name: str) -> str:
    """A file name without what tells its type.

    Args:
        name: A file name.

    Returns:
        The name up to the suffix; dots inside it stay.

    Example:
        >>> stem("a.1.nii.gz"), stem("b.v2")
        ('a.1', 'b.v2')
    """
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def patient(name: str) -> str:
    """Whose scan it is, where the name tells.

    Args:
        name: A case's name.

    Returns:
        The same text for scans of one patient of COVID-19-CT-Seg, else the name.

    Example:
        >>> patient("radiopaedia_10_85902_1"), patient("radiopaedia_10_85902_3"), patient("case_1")
        ('radiopaedia_10', 'radiopaedia_10', 'case_1')
    """
    match = SAME_PATIENT.match(name)
    return match[1] if match else name
