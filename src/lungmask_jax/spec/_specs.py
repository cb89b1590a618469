"""The specs, with their ranges and presets."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from lungmask_jax import tasks
from lungmask_jax.errors import SpecError, nearest, shown
from lungmask_jax.spec._json import MILLIMETRES, MOST, VERSION, Checked, same_version, within
from lungmask_jax.spec._volume import VolumeSpec
from lungmask_jax.tasks import Steps

_HU: Final = 1e6
"""CT numbers are below, also of metal on an extended scale."""

_TILES: Final = 256
"""Most tiles of CLAHE: more are smaller than 8 pixels in the largest image."""

_MEMBERS: Final = 100
"""Most networks of an ensemble: beyond ten, another one changes almost nothing."""

_REGIONS: Final = ("full", "body", "bodies")

_SIDE: Final = 2048
"""Pixels of the finest matrix that a CT scanner has."""


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec(Checked):
    """From HU to the input of a network; the same in training and inference.

    Attributes:
        window: HU ``(low, high)`` that become 0 and 1; the rest is clipped.
        normalize: ``"window"`` maps `window` to [0, 1]; ``"minmax"`` then stretches every slice to
            its own smallest and largest value.
        region: The crop before resizing: the ``"full"`` slice, the ``"body"`` without the
            table, or the mask of another task, such as the predicted ``"lungs"``. One box per
            scan, never from the true mask. ``"bodies"`` is the crop of lungmask: one box per
            slice, resized with corners on corners; the step ``onto_scan`` brings the labels back.
        margin_mm: Margin on all sides of the box.
        thickness_mm: Thinner slices are averaged with their neighbors, up to this thickness; 0
            turns this off. See `lungmask_jax.preprocess.thickness`.
        size: ``(rows, columns)`` of the network's input.
        denoise: ``"none"``, a 3x3 ``"median"``, or a ``"bilateral"`` filter.
        clahe_clip_limit: Clip limit of CLAHE on 8-bit slices; 0 turns it off.
        clahe_tiles: Tiles along ``(rows, columns)``.

    Example:
        >>> PreprocessSpec(window=(-1000, 400)).window
        (-1000.0, 400.0)
        >>> PreprocessSpec(window=(400, -1000))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected a window of low < high HU, found (400.0, -1000.0)
    """

    window: tuple[float, float] = (-1100.0, 250.0)
    normalize: Literal["window", "minmax"] = "window"
    region: str = "body"
    margin_mm: float = 0.0
    thickness_mm: float = 0.0
    size: tuple[int, int] = (256, 256)
    denoise: Literal["none", "median", "bilateral"] = "none"
    clahe_clip_limit: float = 0.0
    clahe_tiles: tuple[int, int] = (8, 8)

    @property
    def around(self) -> str:
        """The task whose mask gives the region; none for a whole slice or body."""
        return "" if self.region in _REGIONS else self.region

    @property
    def by_slice(self) -> bool:
        """Whether each slice has a box of its own."""
        return self.region == "bodies"

    def _check(self) -> None:
        if self.around and self.around not in tasks.registry:
            known = ", ".join(map(repr, (*_REGIONS, *tasks.targets())))
            raise SpecError(f"expected a region of {known}, found {shown(self.region)}")
        if not self.window[0] < self.window[1]:
            raise SpecError(f"expected a window of low < high HU, found {self.window}")
        within("window", self.window, -_HU, _HU)
        within("size", self.size, 8, _SIDE)
        within("margin_mm", self.margin_mm, 0, MILLIMETRES)
        within("thickness_mm", self.thickness_mm, 0, MILLIMETRES)
        within("clahe_clip_limit", self.clahe_clip_limit, 0, MOST)
        within("clahe_tiles", self.clahe_tiles, 1, _TILES)


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Checked):
    """A network and its options.

    Attributes:
        name: A name in `lungmask_jax.models`.
        options: Keyword arguments of the network; missing ones have their defaults.
        members: Number of networks whose probabilities are averaged; above 1, an ensemble.

    Example:
        >>> ModelSpec(options={"channels": (8, 16)}) == ModelSpec(options={"channels": [8, 16]})
        True
    """

    name: str = "unet"
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    members: int = 1

    def _check(self) -> None:
        within("members", self.members, 1, _MEMBERS)


@dataclass(frozen=True, kw_only=True)
class PredictSpec(Checked):
    """How a network is applied to a scan.

    Attributes:
        mirror: Which of ``(slices, rows, columns)`` are also mirrored. The mean is over every
            combination: over eight for all three. Mirroring of slices is for 3-D networks.
        shift: If above 0, the mean is also over the image moved by so many pixels along the
            diagonals.
        patch: ``(slices, rows, columns)`` of the patches of a 3-D network, or ``(1, rows,
            columns)`` of a 2-D network; three zeros mean whole slices.
        step: Largest distance to the next patch, as a share of the patch. Where patches overlap,
            voxels near the middle of a patch have larger weights.
        average: What is averaged over views, patches and members: ``"probabilities"``, or
            ``"logits"`` as in nnU-Net (Isensee et al., Nature Methods 2021).

    Example:
        >>> PredictSpec(patch=(32, 96, 96)).step
        0.5
        >>> PredictSpec(step=1.5)
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected a step above 0 and up to 1, found 1.5
    """

    mirror: tuple[bool, bool, bool] = (False, False, False)
    shift: int = 0
    patch: tuple[int, int, int] = (0, 0, 0)
    step: float = 0.5
    average: Literal["probabilities", "logits"] = "probabilities"

    def _check(self) -> None:
        within("shift", self.shift, 0, _SIDE)
        within("patch", self.patch, 0, _SIDE)
        if any(self.patch) and not all(self.patch):
            raise SpecError(f"expected three sides of a patch or three zeros, found {self.patch}")
        if not 0 < self.step <= 1:
            raise SpecError(f"expected a step above 0 and up to 1, found {self.step}")


@dataclass(frozen=True, kw_only=True)
class SegmenterSpec(Checked):
    """All settings that turn a CT into one mask, without the weights.

    Attributes:
        target: The task: a name in `lungmask_jax.tasks`.
        model: The network.
        preprocess: The preprocessing.
        predict: How the network is applied to the scan.
        volume: For networks of nnU-Net, the preprocessing in place of `preprocess`, of which the
            region alone counts, and its inverse.
        postprocess: Post-processing steps, names of `lungmask_jax.postprocess` with their
            parameters; by default, those of the task.
        signs: ``(slope, offset)`` of the probability of signs of pneumonia, as
            `lungmask_jax.quantify.signs` takes them; without them there is no such probability.
        card: Origin of the weights: data, licence, recipe, scores, known failures.
        version: Version of this layout.

    Example:
        >>> SegmenterSpec(target="lungs", preprocess=PRESETS["lungs"]).preprocess.region
        'body'
    """

    target: str
    model: ModelSpec = field(default_factory=ModelSpec)
    preprocess: PreprocessSpec = field(default_factory=PreprocessSpec)
    predict: PredictSpec = field(default_factory=PredictSpec)
    volume: VolumeSpec | None = None
    postprocess: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=(), hash=False)
    signs: tuple[float, float] | None = None
    card: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: int = VERSION

    @property
    def needs(self) -> str:
        """The task whose mask it needs, as its bound or for its box."""
        return tasks.registry[self.target].inside or self.preprocess.around

    def _check(self) -> None:
        same_version(self.version)
        if self.signs is not None:
            within("signs", self.signs, -MOST, MOST)
        if not tasks.is_target(self.target):
            raise SpecError(
                f"no target {shown(self.target)}: {nearest(self.target, tasks.targets())}"
            )
        task, region = tasks.registry[self.target], self.preprocess.around
        if region == task.name:
            raise SpecError(
                f"expected the region 'body' or 'full' for a {task.noun} model, found {region!r}, "
                "which the model itself predicts"
            )
        if region not in ("", self.needs):
            raise SpecError(
                f"expected the region {self.needs!r} for a {task.noun} model, which lies inside, "
                f"found {region!r}"
            )
        if not self.postprocess:
            object.__setattr__(self, "postprocess", task.postprocess)
        count = [name for name, _ in self.postprocess].count("onto_scan")
        if count != self.preprocess.by_slice:
            raise SpecError(
                "expected one step 'onto_scan' with the region 'bodies' and none without, found "
                f"{count} with {self.preprocess.region!r}"
            )


class _Presets(Mapping[str, PreprocessSpec]):
    """The presets of the tasks, and that of the forerunner of this library."""

    def __getitem__(self, name: str) -> PreprocessSpec:
        if name == "forerunner":
            return PreprocessSpec(
                window=(-1024.0, 3071.0),
                normalize="minmax",
                region=tasks.LUNGS.name,
                clahe_clip_limit=5.0,
                size=(224, 224),
            )
        return PreprocessSpec(**tasks.registry[name].preprocess)

    def __iter__(self) -> Iterator[str]:
        return iter(["forerunner", *tasks.targets()])

    def __len__(self) -> int:
        return len(list(iter(self)))


PRESETS: Final = _Presets()
"""Preprocessing by name: that of each task, and ``"forerunner"``."""


def changed_steps(steps: Steps, name: str, **numbers: float) -> Steps:
    """The same steps, one of them with other parameters.

    Args:
        steps: Steps of a spec.
        name: Name of the step; the first of this name is changed, or a new one put first.
        numbers: The changed parameters.

    Returns:
        The steps.

    Example:
        >>> changed_steps((("threshold", {"at": 0.5}), ("sides", {})), "threshold", at=0.4)
        (('threshold', {'at': 0.4}), ('sides', {}))
    """
    place = next((place for place, (one, _) in enumerate(steps) if one == name), None)
    if place is None:
        return ((name, numbers), *steps)
    changed = name, {**steps[place][1], **numbers}
    return (*steps[:place], changed, *steps[place + 1 :])
