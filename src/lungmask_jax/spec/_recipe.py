"""The recipe of a bundle."""

from dataclasses import dataclass, field

from lungmask_jax.spec._checked import Checked
from lungmask_jax.spec._specs import SegmenterSpec, TrainSpec
from lungmask_jax.tasks import LUNGS


@dataclass(frozen=True, kw_only=True)
class Recipe(Checked):
    """All settings that make a bundle, without the scans.

    `lungmask_jax.fitting.recipe` makes one from a few settings and the defaults of their target.

    Attributes:
        segmenter: Target, network, preprocessing and post-processing; the card of the bundle
            begins with its card.
        training: Settings of the training.
        validation: Held-out share of the scans, whole patients.
        window: HU of black and white, for images and windowed scans; scans in HU do not change.
        lungs: Name or path of the lung model that finds the region, if one is needed.
        start: Name or path of the bundle to fine-tune; empty for none.

    Example:
        >>> Recipe(segmenter=SegmenterSpec(target="lungs")).training.steps
        600
    """

    segmenter: SegmenterSpec
    training: TrainSpec = field(default_factory=TrainSpec)
    validation: float = 0.2
    window: tuple[float, float] | None = None
    lungs: str = LUNGS.name
    start: str = ""
