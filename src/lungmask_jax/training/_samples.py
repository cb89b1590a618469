"""Slices to learn from, as the network sees them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from lungmask_jax import preprocess, trees
from lungmask_jax.errors import ShapeError, WeightsError
from lungmask_jax.spec import PreprocessSpec
from lungmask_jax.volume import Volume

_BATCH = 4


class Samples(NamedTuple):
    """Slices to learn from, as the network sees them.

    Attributes:
        images: ``(M, H, W, C)`` float32 in [0, 1].
        masks: ``(M, H, W)`` uint8, 0 or 1; or float16 in [0, 1], a share of belief, as a teacher
            gives it.
        weights: ``(M,)`` how often each is drawn, relative to the others.

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
            images: ``(M, H, W, C)`` float32 in [0, 1].
            masks: ``(M, H, W)``, 0 or 1, or floats from 0 to 1.
            weight: How often each is drawn.

        Returns:
            The samples.

        Raises:
            ShapeError: The shapes do not fit, or a mask is not within 0 and 1.
        """
        if images.ndim != 4 or masks.shape != images.shape[:3]:
            raise ShapeError(
                "expected images (M, H, W, C) and masks (M, H, W), "
                f"found {images.shape} and {masks.shape}"
            )
        soft = masks.dtype.kind == "f" and not np.isin(masks, (0, 1)).all()
        if (masks.size and not 0 <= masks.min() <= masks.max() <= 1) or np.isnan(masks).any():
            found = np.unique(masks)[:5].tolist()
            raise ShapeError(f"expected masks of 0 and 1, found values {found}: give mask != 0")
        masks = np.asarray(masks, np.float16 if soft else np.uint8)
        weights = np.full(len(images), weight, np.float64)
        return cls(np.asarray(images, np.float32), masks, weights)

    @classmethod
    def of_scan(
        cls,
        ct: Volume,
        mask: Volume,
        spec: PreprocessSpec,
        *,
        lungs: Volume | None = None,
        weight: float = 1.0,
    ) -> "Samples":
        """The slices of a scan, prepared as inference would prepare them.

        Args:
            ct: A CT in HU.
            mask: The truth for it; what is not 0 counts.
            spec: What the network will see.
            lungs: Predicted lungs; needed for the region ``"lungs"``. Slices without lung are left
                out, so a scan without any gives no samples.
            weight: How often each slice is drawn.

        Returns:
            The samples.

        Raises:
            SpecError: The spec asks for the lungs and none are given.
            ShapeError: The masks are not of this scan.
        """
        for other in (mask, lungs):
            if other is not None and other.shape != ct.shape:
                raise ShapeError(f"expected masks of shape {ct.shape}, found {other.shape}")
        box = jnp.asarray(preprocess.region(ct, spec, lungs), jnp.float32)
        inside = slice(None) if lungs is None else np.any(lungs.array, axis=(1, 2))
        images = [np.zeros((0, *spec.size, 1), np.float32)]
        masks = [np.zeros((0, *spec.size), np.uint8)]
        for where, batch in preprocess.batches(ct.array[inside], _BATCH):
            seen = preprocess.network_images(batch, box, spec=spec)
            images.append(np.asarray(seen)[: where.stop - where.start])
        for where, batch in preprocess.batches(mask.array[inside] != 0, _BATCH):
            truth = preprocess.resample(jnp.asarray(batch, jnp.float32), box, size=spec.size)
            masks.append((np.asarray(truth)[: where.stop - where.start] >= 0.5).astype(np.uint8))
        return cls.of(np.concatenate(images), np.concatenate(masks), weight)

    @classmethod
    def cached(cls, path: Path, make: "Callable[[], Samples]") -> "Samples":
        """Samples from a file; made and written to it if it is not there or damaged.

        Args:
            path: Ends in ``.npz``. Its name must tell all that the samples depend on apart: the
                scan, the spec, the lung model.
            make: Makes the samples.

        Returns:
            The samples, equal whether they were made or read.

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
    def checksum(self) -> str:
        """The SHA-256 of it all, in hex; equal samples in equal order have the same one."""
        return trees.checksum(self._asdict())

    @classmethod
    def joined(cls, parts: "Sequence[Samples]") -> "Samples":
        """Several sets of samples as one.

        Args:
            parts: At least one set; all of one image size.

        Returns:
            The samples one after the other.
        """
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
