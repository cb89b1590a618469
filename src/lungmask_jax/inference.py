"""From a CT to masks: `segment`, and the `Segmentation` it returns."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import entr, logit

from lungmask_jax import io, postprocess, preprocess, quantify, viz, weights
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.files import writable
from lungmask_jax.models import Model, arranged, make_predict, slab
from lungmask_jax.preprocess import Box
from lungmask_jax.spec import PostprocessSpec, SegmenterSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["DISCLAIMER", "Progress", "Segmentation", "labels", "probabilities", "segment"]

DISCLAIMER = "Research use only. Not a medical device."

_Give: TypeAlias = Literal["labels", "probabilities", "unsure"]
_DTYPES: Final[Mapping[_Give, tuple[type, ...]]] = {
    "labels": (np.uint8,),
    "probabilities": (np.float32,),
    "unsure": (np.uint8, np.uint8),
}

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of one scan, on its own grid.

    Attributes:
        ct: The scan.
        lungs: uint8: 0 background, 1 right, 2 left.
        infection: uint8, 0 or 1, inside the lungs; ``None`` if no infection model was asked for.
        models: Which weights made it: target to ``"name checksum"``, 12 digits of the checksum.
        lesions: The infection by its type, uint8: 1 ground glass, 2 consolidation; by density, if
            the infection model does not tell them apart.
        uncertainty: Entropy of the infection's probability inside the lungs, uint8 in percent of a
            bit: 0 is sure, 100 is one half; ``None`` unless asked for.

    Example:
        >>> ct = Volume(np.full((1, 16, 16), -800, np.int16), np.diag([10.0, 10.0, 10.0, 1.0]))
        >>> lungs = ct.with_array(np.ones((1, 16, 16), np.uint8))
        >>> round(Segmentation(ct, lungs, None, {}).measure()["right_lung_ml"])
        256
    """

    ct: Volume
    lungs: Volume
    infection: Volume | None
    models: Mapping[str, str]
    lesions: Volume | None = None
    uncertainty: Volume | None = None

    def measure(self) -> dict[str, float | str]:
        """Volumes, infected shares and severity, as `lungmask_jax.quantify.measures` gives them.

        Returns:
            A flat dict, fit for JSON and CSV.
        """
        return quantify.measures(self.lungs, self.infection, lesions=self.lesions)

    def overlay(self, *, title: str = "", count: int = 12) -> np.ndarray:
        """A montage of slices with the masks drawn on them.

        Args:
            title: Printed on top.
            count: How many tiles, the coronal view included.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        shown = self.infection if self.lesions is None else self.lesions
        return viz.montage(self.ct, self.lungs, shown, count=count, title=title, caption=DISCLAIMER)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return viz.png(self.overlay())

    def save(self, directory: str | os.PathLike[str], *, name: str = "scan") -> list[Path]:
        """Writes the masks and the montage, each under a temporary name first.

        `lungmask_jax.report` writes the numbers. Other files are left alone.

        Args:
            directory: Made if it is not there.
            name: What the file names begin with.

        Returns:
            The paths: ``<name>_lungs.nii.gz``, ``<name>_infection.nii.gz`` and likewise lesions
            and uncertainty, where there are such, and ``<name>_overlay.png``.

        Raises:
            ScanError: A file cannot be written.
        """
        folder = writable(directory)
        masks = {
            "lungs": self.lungs,
            "infection": self.infection,
            "lesions": self.lesions,
            "uncertainty": self.uncertainty,
        }
        picture = folder / f"{name}_overlay.png"
        files = {
            folder / f"{name}_{kind}.nii.gz": mask
            for kind, mask in masks.items()
            if mask is not None
        }
        with ThreadPoolExecutor() as pool:  # compression runs beside the picture
            written = pool.map(io.save, files.values(), files)
            viz.save_png(self.overlay(title=name), picture)
            list(written)
        return [*files, picture]


def segment(
    scan: Volume | str | os.PathLike[str],
    *,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    window: tuple[float, float] | None = None,
    uncertainty: bool = False,
    progress: Progress | None = None,
    begin: Callable[[str], None] | None = None,
) -> Segmentation:
    """The lungs of a chest CT, and the infection in them.

    Args:
        scan: A CT in HU, or a path that `lungmask_jax.io.load` reads.
        weights: A lung model, and an infection model if infection is wanted: names, paths or loaded
            bundles. Several for one target, such as the folds of a cross-validation, answer
            together as an ensemble.
        window: For images and windowed scans: HU of black and white. Not used with a `Volume`.
        uncertainty: Whether to map how unsure the infection model is.
        progress: Called as ``progress(target, slices_done, slices)``.
        begin: Called with the name of each stage as it begins, ``"read"``, ``"lung network"``,
            ``"lung masks"``, ``"infection network"``, ``"infection masks"``; tells where time goes.

    Returns:
        The masks on the grid of the scan.

    Raises:
        ScanError: The scan cannot be read, is not a CT in HU, or a given volume does not lie as
            `lungmask_jax.volume.Volume` says.
        SpecError: There is no lung model, uncertainty is wanted without an infection model, or
            models of one target cannot answer together.
        UnknownNameError: No bundle has such a name.
        WeightsError: A bundle is damaged.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> result = segment(phantom((8, 96, 96)).ct)
        >>> result.lungs.shape
        (8, 96, 96)
    """
    bundles = _by_target(weights)
    if uncertainty and "infection" not in bundles:
        raise SpecError("expected an infection model for its uncertainty, found only a lung model")
    begin = begin or _unseen
    begin("read")
    ct = _checked(scan if isinstance(scan, Volume) else io.load(scan, window=window))
    begin("lung network")
    raw = _found(ct, bundles["lungs"], None, progress).labels
    begin("lung masks")
    raw = postprocess.without_gas(raw, ct)
    raw = postprocess.with_aerated(raw, ct)  # by itself: each mask is as large as the scan
    lungs = _lungs(raw, ct, bundles["lungs"].spec.postprocess)
    del raw  # as large as the lungs
    models = {target: f"{b.name} {b.checksum[:12]}" for target, b in bundles.items()}
    if "infection" not in bundles:
        return Segmentation(ct, lungs, None, models)
    begin("infection network")
    found = _found(ct, bundles["infection"], lungs, progress, unsure=uncertainty)
    begin("infection masks")
    infection, lesions = _infection(found.labels, lungs, ct, bundles["infection"])
    doubt = found.doubt
    if doubt is not None:
        doubt = ct.with_array(doubt.array * (lungs.array != 0))
    return Segmentation(ct, lungs, infection, models, lesions, doubt)


def _unseen(_stage: str) -> None:
    """Nobody looks."""


def _lungs(raw: Volume, ct: Volume, spec: PostprocessSpec) -> Volume:
    body = preprocess.body_box(ct)
    return postprocess.clean_lungs(raw, spec, midline=(body.left + body.right - 1) / 2)


def _infection(raw: Volume, lungs: Volume, ct: Volume, bundle: Bundle) -> tuple[Volume, Volume]:
    """The infection, and its types: the network's if it knows them, else by density."""
    infection = postprocess.clean_infection(raw, lungs, bundle.spec.postprocess)
    if bundle.model.num_classes > 2:
        return infection, infection.with_array(infection.array * np.maximum(raw.array, 1))
    return infection, postprocess.lesions(infection, ct)


def probabilities(ct: Volume, bundle: Bundle, *, lungs: Volume | None = None) -> np.ndarray:
    """How likely each voxel is the target, on the grid of the scan, before any threshold.

    The network's answer, calibrated as the bundle says; of several labels the sum.

    Args:
        ct: A CT in HU.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        ``(slices, rows, columns)`` float32 in [0, 1]; 0 far from the given lungs.

    Raises:
        SpecError: The model wants the lungs and none are given.
        ScanError: The scan has voxels that are no numbers, or lies otherwise.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> probabilities(phantom((1, 96, 96)).ct, weights.load("lungs")).shape
        (1, 96, 96)
    """
    box = preprocess.region(_checked(ct), bundle.spec.preprocess, lungs)
    return _in_batches(bundle, ct, box, None, lungs=lungs, give="probabilities")[0]


def labels(ct: Volume, bundle: Bundle, *, lungs: Volume | None = None) -> Volume:
    """What a network makes of each voxel, before anything is cleaned up.

    Args:
        ct: A CT in HU.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        uint8: 0 where the probability is below the bundle's threshold, the likeliest label
        elsewhere.

    Raises:
        SpecError: The model wants the lungs and none are given.
        ScanError: The scan has voxels that are no numbers, or lies otherwise.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> labels(phantom((1, 96, 96)).ct, weights.load("lungs")).array.max()
        np.uint8(1)
    """
    return _found(_checked(ct), bundle, lungs, None).labels


def _checked(ct: Volume) -> Volume:
    """The scan, unless its voxels are no numbers or do not lie as a canonical volume's do."""
    if ct.array.dtype.kind == "f" and not np.isfinite(ct.array).all():
        share = 1 - np.isfinite(ct.array).mean()
        raise ScanError(
            f"expected HU, found NaN or infinity in {share:.2%} of the voxels: make them -1024"
        )
    directions = ct.affine[:3, :3] / np.linalg.norm(ct.affine[:3, :3], axis=0)
    if min(directions[2, 0], -directions[1, 1], -directions[0, 2]) < 0.3:
        raise ScanError(
            "expected slices from feet to head, rows from front to back and columns from right to "
            f"left, found an affine that says otherwise, {ct.affine[:3, :3].tolist()}: read the "
            "file with lungmask_jax.load, or turn the array"
        )
    return ct


class _Found(NamedTuple):
    """Labels of all slices, and how unsure they are."""

    labels: Volume
    doubt: Volume | None


def _found(
    ct: Volume,
    bundle: Bundle,
    lungs: Volume | None,
    progress: Progress | None,
    *,
    unsure: bool = False,
) -> _Found:
    box = preprocess.region(ct, bundle.spec.preprocess, lungs)
    give: _Give = "unsure" if unsure else "labels"
    arrays = _in_batches(bundle, ct, box, progress, lungs=lungs, give=give)
    found = [ct.with_array(array) for array in arrays]
    return _Found(found[0], found[1] if unsure else None)


def _in_batches(
    bundle: Bundle,
    ct: Volume,
    box: Box,
    progress: Progress | None,
    *,
    lungs: Volume | None,
    give: _Give,
) -> tuple[np.ndarray, ...]:
    """The answers for all slices, in batches of one shape; those without lung are passed over."""
    params, state = jax.device_put((bundle.params, bundle.state))
    corners = jnp.asarray(box, jnp.float32)
    spec = replace(bundle.spec, card={})  # the rest is part of the compiled programs
    results: tuple[np.ndarray, ...] = tuple(np.zeros(ct.shape, dtype) for dtype in _DTYPES[give])
    _, rows, columns = ct.shape
    count = preprocess.together(ct, spec.preprocess)
    before: jax.Array | None = None

    def fill(where: slice, batch: np.ndarray) -> None:
        nonlocal before
        if lungs is None or lungs.array[where].any():
            thick = _thick(batch, count, where, len(ct), slab(bundle.model).around)
            shares = _shares(params, state, thick, corners, model=bundle.model, spec=spec)
            previous = shares[:, :1] if before is None else before
            parts = preprocess.between(where, count, len(ct), follows=before is not None)
            for share, answered, slices in parts:
                answers = _answers(previous, shares, share, spec=spec.postprocess, give=give)
                for result, answer in zip(results, answers, strict=True):
                    result[slices] = np.asarray(answer)[answered, :rows, :columns]
            before = shares[:, -1:]  # last: where memory was short, all this is done again
        else:
            before = None
        if progress is not None:
            progress(bundle.spec.target, where.stop, len(ct))

    _in_memory(fill, ct.array, bundle.model, count)
    return results


def _thick(batch: np.ndarray, count: int, where: slice, total: int, around: int) -> np.ndarray:
    """The means of so many slices; past its ends the scan goes on as in training."""
    if count == 1:
        return batch
    thick = preprocess.averaged(batch, count)
    first = max(0, around - where.start // count)
    last = min(len(thick), around - (where.start - total) // count) - 1
    thick[:first], thick[last + 1 :] = thick[first], thick[last]
    return thick


def _in_memory(
    fill: Callable[[slice, np.ndarray], None], slices: np.ndarray, model: Model, together: int
) -> None:
    """Calls `fill` with batch after batch; where the device's memory is too small, with halves.

    A network of volumes has no smaller batch than one. So many slices are seen as one.
    """
    count, around = slab(model)
    least, done = count if model.ndim == 3 else 1, 0
    while done < len(slices):
        try:
            size, beside = count * together, around * together
            for where, batch in preprocess.batches(slices, size, around=beside, start=done):
                fill(where, batch)
                done = where.stop
        except jax.errors.JaxRuntimeError as error:
            if count == least or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            count //= 2


@functools.partial(jax.jit, static_argnames=("model", "spec"))
def _shares(
    params: Any,
    state: Any,
    slices: jax.Array,
    box: jax.Array,
    *,
    model: Model,
    spec: SegmenterSpec,
) -> jax.Array:
    """Of each label, ``(L, N, H, W)`` on the grid of the inner slices."""
    around = slab(model).around
    inner = slice(around, len(slices) - around)
    images = preprocess.network_images(slices, box, spec=spec.preprocess)
    predict = make_predict(model, flip=spec.flip, shift=spec.shift)
    found = predict(params, state, arranged(model, images))
    shares = jnp.moveaxis(found[0, inner] if model.ndim == 3 else found, -1, 0)
    size = slices.shape[1], slices.shape[2]
    return jax.vmap(lambda one: preprocess.restore(one, box, size=size))(shares)


@functools.partial(jax.jit, static_argnames=("spec", "give"))
def _answers(
    before: jax.Array,
    shares: jax.Array,
    share: jax.Array,
    *,
    spec: PostprocessSpec,
    give: _Give,
) -> tuple[jax.Array, ...]:
    """What is asked for, between each slice and the one before it."""
    previous = jnp.concatenate([before, shares[:, :-1]], axis=1)
    shares = share * shares + (1 - share) * previous
    likely = _calibrated(jnp.minimum(shares.sum(axis=0), 1.0), spec.calibration)
    if give == "probabilities":
        return (likely,)
    types = 1 + shares.argmax(axis=0).astype(jnp.uint8)
    labels = jnp.where(likely > spec.threshold, types, jnp.uint8(0))
    if give == "labels":
        return (labels,)
    bits = (entr(likely) + entr(1 - likely)) / jnp.log(2.0)
    return labels, jnp.round(100 * bits).astype(jnp.uint8)


def _calibrated(probabilities: jax.Array, numbers: tuple[float, float]) -> jax.Array:
    """As `lungmask_jax.calibration.calibrated`; zero, as outside the box, stays zero."""
    slope, offset = numbers
    if (slope, offset) == (1.0, 0.0):
        return probabilities
    odds = logit(jnp.clip(probabilities, 1e-6, 1 - 1e-6))
    return jnp.where(probabilities > 0, jax.nn.sigmoid(slope * odds + offset), 0.0)


def _by_target(chosen: Sequence[str | os.PathLike[str] | Bundle]) -> dict[str, Bundle]:
    if isinstance(chosen, str | os.PathLike | Bundle):
        chosen = [chosen]
    groups: dict[str, list[Bundle]] = {}
    for one in chosen:
        bundle = one if isinstance(one, Bundle) else weights.load(one)
        groups.setdefault(bundle.spec.target, []).append(bundle)
    if "lungs" not in groups:
        raise SpecError(f"expected a lung model and, at will, infection models, found {[*groups]}")
    return {target: weights.ensemble(bundles) for target, bundles in groups.items()}
