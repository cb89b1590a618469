"""From a CT to masks: `segment`, and the `Segmentation` it returns."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import io, postprocess, preprocess, quantify, viz, weights
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.models import Model, make_predict
from lungmask_jax.preprocess import Box
from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["DISCLAIMER", "Progress", "Segmentation", "probabilities", "segment"]

DISCLAIMER = "Research use only. Not a medical device."
_BATCH = 4

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Masks of one scan, on its own grid.

    Attributes:
        ct: The scan.
        lungs: uint8: 0 background, 1 right, 2 left.
        infection: uint8, 0 or 1, inside the lungs; ``None`` if no infection model was asked for.
        models: Which weights made it: target to ``"name checksum"``, 12 digits of the checksum.

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

    def measure(self) -> dict[str, float | str]:
        """Volumes, infected shares and severity, as `lungmask_jax.quantify.measures` gives them.

        Returns:
            A flat dict, fit for JSON and CSV.
        """
        return quantify.measures(self.lungs, self.infection)

    def overlay(self, *, title: str = "", count: int = 12) -> np.ndarray:
        """A montage of slices with the masks drawn on them.

        Args:
            title: Printed on top.
            count: How many tiles, the coronal view included.

        Returns:
            ``(H, W, 3)`` uint8 RGB.
        """
        return viz.montage(
            self.ct, self.lungs, self.infection, count=count, title=title, caption=DISCLAIMER
        )

    def save(self, directory: str | os.PathLike[str], *, name: str = "scan") -> list[Path]:
        """Writes the masks and the montage, each under a temporary name first.

        `lungmask_jax.report` writes the numbers.

        Args:
            directory: Made if it is not there.
            name: What the file names begin with.

        Returns:
            The paths: ``<name>_lungs.nii.gz``, ``<name>_infection.nii.gz``, ``<name>_overlay.png``.

        Raises:
            ScanError: A file cannot be written.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        masks = {"lungs": self.lungs, "infection": self.infection}
        paths = []
        for kind, mask in masks.items():
            if mask is not None:
                paths.append(folder / f"{name}_{kind}.nii.gz")
                io.save(mask, paths[-1])
        paths.append(folder / f"{name}_overlay.png")
        viz.save_png(self.overlay(title=name), paths[-1])
        return paths


def segment(
    scan: Volume | str | os.PathLike[str],
    *,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    window: tuple[float, float] | None = None,
    progress: Progress | None = None,
) -> Segmentation:
    """The lungs of a chest CT, and the infection in them.

    Args:
        scan: A CT in HU, or a path that `lungmask_jax.io.load` reads.
        weights: A lung model, and an infection model if infection is wanted: names, paths or loaded
            bundles.
        window: For images and windowed scans: HU of black and white. Not used with a `Volume`.
        progress: Called as ``progress(target, slices_done, slices)``.

    Returns:
        The masks on the grid of the scan.

    Raises:
        ScanError: The scan cannot be read, is not a CT in HU, or a given volume does not lie as
            `lungmask_jax.volume.Volume` says.
        SpecError: There is not exactly one lung model and at most one infection model.
        UnknownNameError: No bundle has such a name.
        WeightsError: A bundle is damaged.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> result = segment(phantom((8, 96, 96)).ct)
        >>> result.lungs.shape
        (8, 96, 96)
    """
    bundles = _by_target(weights)
    ct = _checked(scan if isinstance(scan, Volume) else io.load(scan, window=window))
    body = preprocess.body_box(ct)
    raw = postprocess.without_gas(_mask(ct, bundles["lungs"], None, progress), ct)
    lungs = postprocess.clean_lungs(
        raw, bundles["lungs"].spec.postprocess, midline=(body.left + body.right - 1) / 2
    )
    infection = None
    if "infection" in bundles:
        raw = _mask(ct, bundles["infection"], lungs, progress)
        spec = bundles["infection"].spec.postprocess
        infection = postprocess.clean_infection(raw, lungs, spec)
    models = {target: f"{b.name} {b.checksum[:12]}" for target, b in bundles.items()}
    return Segmentation(ct, lungs, infection, models)


def probabilities(ct: Volume, bundle: Bundle, *, lungs: Volume | None = None) -> np.ndarray:
    """A network's raw answer on the grid of the scan, before any threshold.

    Args:
        ct: A CT in HU.
        bundle: The model.
        lungs: Lungs of the same scan, for a model whose region is the lungs.

    Returns:
        ``(slices, rows, columns)`` float32 in [0, 1].

    Raises:
        SpecError: The model wants the lungs and none are given.
        ScanError: The scan has voxels that are no numbers, or lies otherwise.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> probabilities(phantom((1, 96, 96)).ct, weights.load("lungs")).shape
        (1, 96, 96)
    """
    box = preprocess.region(_checked(ct), bundle.spec.preprocess, lungs)
    return _in_batches(_runner(bundle), ct, bundle, box, np.float32, None)


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


def _mask(ct: Volume, bundle: Bundle, lungs: Volume | None, progress: Progress | None) -> Volume:
    box = preprocess.region(ct, bundle.spec.preprocess, lungs)
    run = _runner(bundle, threshold=bundle.spec.postprocess.threshold)
    return ct.with_array(_in_batches(run, ct, bundle, box, np.bool_, progress))


def _runner(bundle: Bundle, threshold: float | None = None) -> Callable[..., jax.Array]:
    return functools.partial(
        _answers,
        model=bundle.model,
        spec=bundle.spec.preprocess,
        flip=bundle.spec.flip,
        threshold=threshold,
    )


def _in_batches(
    run: Callable[..., jax.Array],
    ct: Volume,
    bundle: Bundle,
    box: Box,
    dtype: Any,
    progress: Progress | None,
) -> np.ndarray:
    """`run` over the slices, in batches of one fixed shape."""
    params, state = jax.device_put((bundle.params, bundle.state))
    corners = jnp.asarray(box, jnp.float32)
    result = np.zeros(ct.shape, dtype)
    _, rows, columns = ct.shape
    for where, batch in preprocess.batches(ct.array, _BATCH):
        answers = np.asarray(run(params, state, batch, corners))
        result[where] = answers[: where.stop - where.start, :rows, :columns]
        if progress is not None:
            progress(bundle.spec.target, where.stop, len(ct))
    return result


@functools.partial(jax.jit, static_argnames=("model", "spec", "flip", "threshold"))
def _answers(
    params: Any,
    state: Any,
    slices: jax.Array,
    box: jax.Array,
    *,
    model: Model,
    spec: PreprocessSpec,
    flip: bool,
    threshold: float | None,
) -> jax.Array:
    """Probabilities, or the mask of those above the threshold, on the grid of the slices."""
    images = preprocess.network_images(slices, box, spec=spec)
    found = make_predict(model, flip=flip)(params, state, images)
    found = preprocess.restore(found, box, size=(slices.shape[1], slices.shape[2]))
    return found if threshold is None else found > threshold


def _by_target(chosen: Sequence[str | os.PathLike[str] | Bundle]) -> dict[str, Bundle]:
    if isinstance(chosen, str | os.PathLike | Bundle):
        chosen = [chosen]
    loaded = [one if isinstance(one, Bundle) else weights.load(one) for one in chosen]
    targets = [bundle.spec.target for bundle in loaded]
    if sorted(targets) not in (["lungs"], ["infection", "lungs"]):
        raise SpecError(f"expected one lung model and at most one infection model, found {targets}")
    return dict(zip(targets, loaded, strict=True))
