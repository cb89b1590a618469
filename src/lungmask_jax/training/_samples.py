"""Training samples: prepared slices with their masks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import io, preprocess, trees
from lungmask_jax.errors import ShapeError, WeightsError
from lungmask_jax.models import Model
from lungmask_jax.prediction import Slab
from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume

_BATCH = 4
_LABELS = 9


class Samples(NamedTuple):
    """Training samples: prepared slices with their masks.

    Attributes:
        images: ``(M, H, W, C)`` float32 in [0, 1], or ``(M, D, H, W, C)`` for a 3-D network.
        masks: The shape of the images without channels, uint8 labels from 0, which is background;
            or float16 in [0, 1] with a channel for each label above 0: probabilities, as from a
            teacher.
        weights: ``(M,)``, the frequency of each, relative to the others.

    Example:
        >>> images, masks = np.zeros((4, 16, 16, 1)), np.zeros((4, 16, 16))
        >>> few, many = Samples.of(images[:1], masks[:1], weight=3.0), Samples.of(images, masks)
        >>> Samples.joined([few, many]).weights.tolist()
        [3.0, 1.0, 1.0, 1.0, 1.0]
    """

    images: np.ndarray
    masks: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, images: np.ndarray, masks: np.ndarray, weight: float = 1.0) -> "Samples":
        """Samples that share one weight.

        Args:
            images: ``(M, H, W, C)`` or ``(M, D, H, W, C)`` float32 in [0, 1].
            masks: The same shape without channels, labels from 0 to 9; or with a channel for each
                label, shares from 0 to 1.
            weight: Frequency of each sample.

        Returns:
            The samples.

        Raises:
            ShapeError: The shapes do not fit, or a mask has other values.
        """
        soft = masks.ndim == images.ndim
        place = masks.shape[:-1] if soft else masks.shape
        if images.ndim not in (4, 5) or place != images.shape[:-1]:
            raise ShapeError(
                "expected images (M, H, W, C) and masks (M, H, W), "
                f"found {images.shape} and {masks.shape}"
            )
        _check_values(masks, soft=soft)
        masks = np.asarray(masks, np.float16 if soft else np.uint8)
        weights = np.full(len(images), weight, np.float64)
        return cls(np.asarray(images, np.float32), masks, weights)

    @classmethod
    def of_scan(
        cls,
        ct: object,
        mask: Volume,
        spec: PreprocessSpec,
        *,
        lungs: Volume | None = None,
        model: Model | None = None,
        weight: float = 1.0,
    ) -> "Samples":
        """The slices of a scan, prepared as for inference.

        Args:
            ct: A CT in HU, or what else `lungmask_jax.io.as_volume` takes.
            mask: The true mask: labels from 0; for a model of one class, any label above 0 counts.
            spec: The preprocessing.
            lungs: Predicted lungs; needed for the region ``"lungs"``. Slices without lung are
                skipped, so a scan without any gives no samples.
            model: The network, which may need neighboring slices as channels, volumes or several
                labels. By default, single slices and one label.
            weight: Frequency of each sample.

        Returns:
            The samples.

        Raises:
            ScanError: The scan is not a CT in HU, or lies otherwise.
            SpecError: The spec needs the lungs and none are given, or the model is not for scans.
            ShapeError: The masks do not belong to this scan, or have more labels than the model.
        """
        ct = io.as_volume(ct)
        for other in (mask, lungs):
            if other is not None and other.shape != ct.shape:
                raise ShapeError(f"expected masks of shape {ct.shape}, found {other.shape}")
        labels = 1 if model is None else max(model.num_classes - 1, 1)
        truth = mask.array != 0 if labels == 1 else mask.array
        if truth.max(initial=0) > labels:
            raise ShapeError(f"expected labels 0 to {labels}, found {truth.max()} in a mask")
        box = jnp.asarray(preprocess.region(ct, spec, lungs), jnp.float32)
        count = preprocess.thickness(ct, spec)
        slices, truth = preprocess.averaged(ct.array, count), preprocess.majority(truth, count)
        inside = np.ones(len(slices), bool)
        if lungs is not None:
            inside = np.any(preprocess.majority(lungs.array != 0, count), axis=(1, 2))
        places = _places(inside, model)
        needed, where = np.unique(places, return_inverse=True)
        images = _images(slices[needed], box, spec)[where.reshape(places.shape)]
        masks = _labels(truth[needed], box, spec, labels)[where.reshape(places.shape)]
        if model is None or model.ndim == 2:  # neighbors become channels
            images = np.moveaxis(images[..., 0], 1, -1)
            masks = masks[:, places.shape[1] // 2]
        return cls.of(images, masks, weight)

    @classmethod
    def cached(cls, path: Path, make: "Callable[[], Samples]") -> "Samples":
        """Samples from a file; computed and written to it if it is missing or damaged.

        Args:
            path: Ends in ``.npz``. Its name must identify all that the samples depend on: the
                scan, the spec, the lung model.
            make: Computes the samples.

        Returns:
            The samples, equal whether they were computed or read.

        Example:
            >>> import tempfile
            >>> one = Samples.of(np.zeros((1, 8, 8, 1)), np.zeros((1, 8, 8)))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     for attempt in range(2):
            ...         samples = Samples.cached(Path(folder, "one.npz"), lambda: one)
            >>> samples.images.shape
            (1, 8, 8, 1)
        """
        try:
            return cls(**trees.read(path, "prepared slices").arrays)
        except WeightsError:
            samples = make()
        trees.write(path, samples._asdict(), {})
        return samples

    @property
    def soft(self) -> bool:
        """Whether the masks are probabilities, not labels."""
        return self.masks.ndim == self.images.ndim

    def shares(self, count: int) -> np.ndarray:
        """The masks as shares of each label.

        Args:
            count: Number of labels above 0; with one, every label above 0 counts.

        Returns:
            ``(M, ..., count)`` float16, 0 or 1.

        Raises:
            ShapeError: There are more labels.
        """
        self.refuse_above(count)
        if count == 1:
            return (self.masks > 0).astype(np.float16)[..., None]
        found: np.ndarray = self.masks[..., None] == np.arange(1, count + 1)
        return found.astype(np.float16)

    def refuse_above(self, count: int) -> None:
        """Raises for labels that would be lost.

        Args:
            count: Number of labels above 0; with one, every label above 0 counts as it.

        Raises:
            ShapeError: There are more.
        """
        found = 1 if self.soft or count == 1 else int(self.masks.max(initial=0))
        if found > count:
            raise ShapeError(
                f"expected labels 0 to {count}, found {found} in the masks: take a network of "
                f"{found + 1} classes, or change the masks"
            )

    @property
    def checksum(self) -> str:
        """The SHA-256 of all samples, in hex; equal samples in equal order have the same one."""
        return trees.checksum(self._asdict())

    @classmethod
    def joined(cls, parts: "Sequence[Samples]") -> "Samples":
        """Several sets of samples as one.

        Args:
            parts: At least one set; all of one image size.

        Returns:
            The samples in sequence; labels become shares if other parts have shares.

        Raises:
            ShapeError: There is no set, or labels are higher than the number of shares.
        """
        if not parts:
            raise ShapeError("expected samples to join, found none")
        count = max((part.masks.shape[-1] for part in parts if part.soft), default=0)
        if count:
            parts = [
                part if part.soft else part._replace(masks=part.shares(count)) for part in parts
            ]
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _check_values(masks: np.ndarray, *, soft: bool) -> None:
    largest = 1 if soft else _LABELS
    bad = (masks < 0) | (masks > largest) | np.isnan(masks)
    if not soft and masks.dtype.kind == "f":
        bad |= masks != np.round(masks)
    if bad.any():
        found = np.unique(masks[bad])[:5].tolist()
        expected = "shares from 0 to 1" if soft else f"labels from 0 to {_LABELS}"
        raise ShapeError(f"expected masks of {expected}, found values {found}: give mask != 0")


def _places(inside: np.ndarray, model: Model | None) -> np.ndarray:
    """The slices of each sample, ``(M, S)``; past the ends the last one is repeated."""
    inner, around = (1, 0) if model is None else Slab.of(model)
    if model is None or model.ndim == 2:
        inner, first = 1, np.flatnonzero(inside)
    else:
        first = np.arange(0, len(inside), inner)
        first = first[[inside[start : start + inner].any() for start in first]]
    steps = np.arange(-around, inner + around)
    return np.clip(first[:, None] + steps, 0, len(inside) - 1)


def _images(slices: np.ndarray, box: jax.Array, spec: PreprocessSpec) -> np.ndarray:
    found = [np.zeros((0, *spec.size, 1), np.float32)]
    for where, batch in preprocess.batches(slices, _BATCH):
        seen = preprocess.network_images(batch, box, spec=spec)
        found.append(np.asarray(seen)[: where.stop - where.start])
    return np.concatenate(found)


def _labels(truth: np.ndarray, box: jax.Array, spec: PreprocessSpec, count: int) -> np.ndarray:
    """Labels on the grid of the network: the majority in each pixel."""
    found = [np.zeros((0, *spec.size), np.uint8)]
    for where, batch in preprocess.batches(truth, _BATCH):
        shares = np.stack(
            [
                preprocess.resample(jnp.asarray(batch == label, jnp.float32), box, size=spec.size)
                for label in range(1, count + 1)
            ]
        )
        labels = 1 + shares.argmax(axis=0).astype(np.uint8)
        found.append(np.where(shares.sum(axis=0) >= 0.5, labels, 0)[: where.stop - where.start])
    return np.concatenate(found)
