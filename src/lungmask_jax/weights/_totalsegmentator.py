"""Models of TotalSegmentator (Wasserthal et al., 2023), which runs nnU-Net in its own way.

The table is that of TotalSegmentator 2.18.0. As it runs, it crops to the lobes with 20 mm around
them, whatever margin a task asks for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from lungmask_jax.spec import PreprocessSpec, SegmenterSpec

__all__ = ["KNOWN", "Known", "adapted"]

_LOBES: Final[Mapping[int, int]] = {10: 1, 11: 2, 12: 3, 13: 4, 14: 5}
"""Left upper and lower, right upper, middle and lower lobe."""

_MARGIN_MM: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What TotalSegmentator does around a model.

    Attributes:
        target: The task here.
        labels: Those of the task, by those of the model.
        resampled: Whether it brings scans to the spacing of the network itself.
        step: Between patches.
        cropped: Whether it looks around the lobes alone.
    """

    target: str
    labels: Mapping[int, int]
    resampled: bool = True
    step: float = 0.5
    cropped: bool = True


_TOTAL: Final = Known(target="lobes", labels=_LOBES, step=0.8, cropped=False)
_EFFUSIONS: Final = Known(target="effusions", labels={2: 1, 3: 2}, resampled=False)

KNOWN: Final[Mapping[str, Known]] = {
    "Dataset291_TotalSegmentator_part1_organs_1559subj": _TOTAL,
    "Dataset297_TotalSegmentator_total_3mm_1559subj": _TOTAL,
    "Dataset298_TotalSegmentator_total_6mm_1559subj": _TOTAL,
    "Dataset831_TotalSegmentator_part1_organs_1830subj": _TOTAL,
    "Dataset836_TotalSegmentator_total_3mm_1559subj": _TOTAL,
    "Dataset837_TotalSegmentator_total_6mm_1559subj": _TOTAL,
    "Dataset117_lung_airways_arteries_veins_282subj": Known(
        target="vessels", labels={1: 1, 2: 2, 3: 3, 4: 4}
    ),
    "Dataset258_lung_vessels_248subj": Known(
        target="lung_vessels", labels={1: 1, 2: 2}, resampled=False
    ),
    "Dataset315_thoraxCT": _EFFUSIONS,
    "Dataset913_lung_nodules": Known(target="nodules", labels={2: 1}),
}
"""By the name of the data set."""


def adapted(spec: SegmenterSpec, known: Known) -> SegmenterSpec:
    """The spec of a model of nnU-Net as TotalSegmentator uses it: turned, not mirrored, cropped."""
    if spec.volume is None:
        return spec
    return replace(
        spec,
        predict=replace(spec.predict, mirror=(False, False, False), step=known.step),
        preprocess=PreprocessSpec(
            region="lobes" if known.cropped else "full",
            margin_mm=_MARGIN_MM if known.cropped else 0.0,
        ),
        volume=replace(spec.volume, orientation="RAS", totalsegmentator=known.resampled),
        card={**spec.card, "source": "TotalSegmentator", "license": "Apache-2.0"},
    )
