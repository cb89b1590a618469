"""The recipe of a bundle, and the settings of its training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lungmask_jax.errors import SpecError
from lungmask_jax.spec._json import MOST, Checked, within
from lungmask_jax.spec._specs import SegmenterSpec
from lungmask_jax.tasks import LUNGS

_BATCH: Final = 65_536
"""Most slices per step: more than in any published training."""

_CYCLES: Final = 1_000
"""Each is a schedule of its own."""

_SEED: Final = 2**63 - 1
"""The largest seed of JAX."""


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Checked):
    """Settings of a training.

    Attributes:
        steps: Optimizer steps.
        batch_size: Slices per step.
        accumulate: Number of parts into which a batch is divided, to save memory; they share
            one update.
        learning_rate: Peak of the schedule.
        schedule: After the warm-up: ``"cosine"`` to zero, ``"poly"`` (power 0.9) to zero, or
            ``"constant"``.
        cycles: Number of times the schedule starts at its peak; more than 1 are warm restarts.
        warmup: Share of the steps with linear warm-up.
        weight_decay: Weight decay of AdamW.
        clip_norm: Largest global norm of a gradient.
        ema_decay: Decay of the running mean of the weights, which is saved.
        loss: A name in `lungmask_jax.losses`.
        loss_options: Its keyword arguments, class weights for instance.
        augment: Strength of flips, warps and changes of intensity; 0 turns them off.
        gas: Share of images with synthetic gas outside the lungs; half as many get a bone
            window. For lung models only.
        opacities: Share of images with synthetic dense disease inside the lungs; half as many get
            emphysema. For lung models only, which must keep such lung inside their mask.
        coarse: Share of images with coarse and noisy pixels.
        steps_per_epoch: Steps between two records of the log, with a validation each.
        seed: Seed of weights, order and augmentation; the same seed gives the same model.

    Example:
        >>> TrainSpec(steps=100, loss="dice").batch_size
        8
    """

    steps: int = 600
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    cycles: int = 1
    warmup: float = 0.05
    weight_decay: float = 1e-4
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    loss: str = "bce_dice"
    loss_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    augment: float = 1.0
    opacities: float = 0.0
    gas: float = 0.0
    coarse: float = 0.0
    steps_per_epoch: int = 50
    seed: int = 0

    def _check(self) -> None:
        for name in ("steps", "steps_per_epoch"):
            within(name, getattr(self, name), 1, MOST)
        within("batch_size", self.batch_size, 1, _BATCH)
        within("accumulate", self.accumulate, 1, _BATCH)
        within("cycles", self.cycles, 1, _CYCLES)
        within("seed", self.seed, 0, _SEED)
        if self.batch_size % self.accumulate:
            raise SpecError(
                f"expected a batch_size that is a multiple of accumulate, found {self.batch_size} "
                f"and {self.accumulate}"
            )
        for name in ("weight_decay", "augment", "learning_rate", "clip_norm"):
            within(name, getattr(self, name), 0, MOST)
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise SpecError(f"expected {name} above 0, found {getattr(self, name)}")
        for name in ("warmup", "ema_decay", "opacities", "gas", "coarse"):
            within(name, getattr(self, name), 0, 1)


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
