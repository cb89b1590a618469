"""The recipe of a bundle."""

from dataclasses import dataclass, field

from lungmask_jax.spec._checked import Checked
from lungmask_jax.spec._specs import SegmenterSpec, TrainSpec
from lungmask_jax.tasks import LUNGS


@dataclass(frozen=True, kw_only=True)
class Recipe(Checked):
    """All that says how a bundle is made, but for the scans.

    `lungmask_jax.fitting.recipe` makes one from a few settings and the defaults of their target.

    Attributes:
        segmenter: Target, network, and what comes before and after it; its card is the beginning of
            that of the bundle.
        training: How the network is trained.
        validation: Share of the scans that is held out, whole patients.
        window: HU of black and white, for images and windowed scans; scans in HU stay as they are.
        lungs: Name or path of the lung model that finds the region, where one is needed.
        start: Name or path of the bundle whose weights to go on from; empty for none.

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
