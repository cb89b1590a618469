"""The lungs of a scan, the infection in them, and what is kept of both."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lungmask_jax import DISCLAIMER, io, postprocess, preprocess, quantify, viz, weights
from lungmask_jax.errors import SpecError
from lungmask_jax.files import writable
from lungmask_jax.inference._network import Progress, find
from lungmask_jax.inference._notes import notes
from lungmask_jax.spec import PostprocessSpec
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["Segmentation", "segment"]


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
        noise_hu: Standard deviation of the noise, as `lungmask_jax.preprocess.noise_hu` tells it.
        notes: What makes masks and numbers doubtful, in sentences: no lungs, a lung missing or far
            smaller than the other, little lung, no voxel size, much noise.

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
    noise_hu: float = float("nan")
    notes: tuple[str, ...] = ()

    def measure(self) -> dict[str, float | str]:
        """Volumes, infected shares and severity, as `lungmask_jax.quantify.measures` gives them.

        Returns:
            A flat dict, fit for JSON and CSV, with ``noise_hu``.
        """
        measured = quantify.measures(self.lungs, self.infection, lesions=self.lesions)
        return {**measured, "noise_hu": self.noise_hu}

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
    scan: object,
    *,
    spacing: Sequence[float] | None = None,
    weights: Sequence[str | os.PathLike[str] | Bundle] = ("lungs", "infection"),
    window: tuple[float, float] | None = None,
    uncertainty: bool = False,
    progress: Progress | None = None,
    begin: Callable[[str], None] | None = None,
) -> Segmentation:
    """The lungs of a chest CT, and the infection in them.

    Args:
        scan: A path that `lungmask_jax.io.load` reads, a `Volume`, an array ``(slices, rows,
            columns)``, a nibabel or a SimpleITK image: all that `lungmask_jax.io.as_volume` takes.
        spacing: Of an array: distance between voxel centers in mm, ``(slices, rows, columns)``.
        weights: A lung model, and an infection model if infection is wanted: names, paths or loaded
            bundles. Several for one target, such as the folds of a cross-validation, answer
            together as an ensemble.
        window: For images and windowed scans: HU of black and white.
        uncertainty: Whether to map how unsure the infection model is.
        progress: Called as ``progress(target, slices_done, slices)``.
        begin: Called with the name of each stage as it begins, ``"read"``, ``"lung network"``,
            ``"lung masks"``, ``"infection network"``, ``"infection masks"``; tells where time goes.

    Returns:
        The masks on the grid of the scan.

    Raises:
        ScanError: The scan cannot be read, is not a CT in HU, or a given volume does not lie as
            `lungmask_jax.volume.Volume` says.
        ShapeError: An array is not 3-D, or has its slices last.
        SpecError: An array has no spacing, there is no lung model, uncertainty is wanted without an
            infection model, or models of one target cannot answer together.
        UnknownNameError: No bundle has such a name.
        WeightsError: A bundle is damaged.

    Example:
        >>> from lungmask_jax.phantoms import phantom
        >>> result = segment(phantom((4, 96, 96)).ct)
        >>> result.lungs.shape
        (4, 96, 96)
    """
    bundles = _by_target(weights)
    if uncertainty and "infection" not in bundles:
        raise SpecError("expected an infection model for its uncertainty, found only a lung model")
    begin = begin or _unseen
    begin("read")
    ct = io.as_volume(scan, spacing=spacing, window=window)
    begin("lung network")
    raw = find(ct, bundles["lungs"], None, progress).labels
    begin("lung masks")
    raw = postprocess.with_aerated(raw, ct)
    lungs = _lungs(raw, ct, bundles["lungs"].spec.postprocess)
    del raw  # as large as the lungs
    models = {target: f"{b.name} {b.checksum[:12]}" for target, b in bundles.items()}
    noise = preprocess.noise_hu(ct)
    doubts = notes(ct, lungs, noise)
    if "infection" not in bundles:
        return Segmentation(ct, lungs, None, models, noise_hu=noise, notes=doubts)
    begin("infection network")
    found = find(ct, bundles["infection"], lungs, progress, unsure=uncertainty)
    begin("infection masks")
    infection, lesions = _infection(found.labels, lungs, ct, bundles["infection"])
    doubt = found.doubt
    if doubt is not None:
        doubt = ct.with_array(doubt.array * (lungs.array != 0))
    return Segmentation(ct, lungs, infection, models, lesions, doubt, noise, doubts)


def _unseen(_stage: str) -> None:
    """Nobody looks."""


def _lungs(raw: Volume, ct: Volume, spec: PostprocessSpec) -> Volume:
    body = preprocess.body_box(ct)
    row, column = (body.top + body.bottom - 1) / 2, (body.left + body.right - 1) / 2
    return postprocess.clean_lungs(raw, spec, midline=column, middle_row=row)


def _infection(raw: Volume, lungs: Volume, ct: Volume, bundle: Bundle) -> tuple[Volume, Volume]:
    """The infection, and its types: the network's if it knows them, else by density."""
    infection = postprocess.clean_infection(raw, lungs, bundle.spec.postprocess)
    if bundle.model.num_classes > 2:
        return infection, infection.with_array(infection.array * np.maximum(raw.array, 1))
    return infection, postprocess.lesions(infection, ct)


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
