"""Checks of a scan by itself: voxels, slices, noise."""

from collections.abc import Iterator
from typing import Final

from lungmask_jax import preprocess
from lungmask_jax.quality._check import Check
from lungmask_jax.volume import Volume

_MATRIX: Final = 128
_NOISE_LIMIT_HU: Final = 50
"""Tolerable noise, at 128 pixels a side. Noise of 50 to 100 HU was added to seven healthy scans,
four real ones with pixels of 1.3 to 3.3 mm and three phantoms. Up to 96 HU, none gained more than
0.13 % infection, and at 117 HU one had 0.6 %, enough for another class. But true infection is found
less completely: 1.9 % instead of 2.2 % in a patient with 75 HU. The previous networks tolerated
50 HU, and the limit of the note was not changed."""
_NOISE: Final = "noise added to four CTs and three phantoms"
_THICKEST_MM: Final = 10.0
_SINGLE: Final = "severity and scores are defined for whole lungs (Morozov et al., 2020)"
_SPACING: Final = (
    "the severity classes were made on slices 8 mm apart (Morozov et al., 2020, arXiv:2005.06465); "
    "beyond 10 mm findings lie between slices"
)


def of_size(ct: Volume) -> Iterator[Check]:
    """Whether the voxels have a size."""
    note = "the size of the voxels is not known: there are percentages, but no ml"
    if ct.has_size:
        yield Check("voxel_size", "pass", ct.voxel_ml, source="the header")
    else:
        yield Check("voxel_size", "look", 0.0, note, "the header")


def of_noise(ct: Volume, noise_hu: float) -> Iterator[Check]:
    """Whether noise may be taken for infection."""
    value = preprocess.noise_hu(ct, matrix=_MATRIX)
    if value > _NOISE_LIMIT_HU:
        note = (
            f"noise of {noise_hu:.0f} HU, more than the networks were shown to tolerate in pixels "
            "of this size: the marked infection may be noise"
        )
        yield Check("noise", "look", value, note, _NOISE)
    else:
        yield Check("noise", "pass", value, source=_NOISE)


def of_slices(ct: Volume) -> Iterator[Check]:
    """Whether there are several slices, close enough to each other."""
    note = "a single slice: its shares and its severity say nothing about the rest of the lungs"
    if len(ct) == 1:
        yield Check("single_slice", "look", 1.0, note, _SINGLE)
        return
    yield Check("single_slice", "pass", float(len(ct)), source=_SINGLE)
    if ct.has_size:
        yield _of_spacing(ct)


def _of_spacing(ct: Volume) -> Check:
    spacing = ct.spacing[0]
    if spacing > _THICKEST_MM:
        note = f"slices are {spacing:.1f} mm apart: small findings may lie between them"
        return Check("slice_spacing", "look", spacing, note, _SPACING)
    return Check("slice_spacing", "pass", spacing, source=_SPACING)
