"""`Predictor`: a network with its weights, which predicts probabilities."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import jax
import numpy as np

from lungmask_jax.errors import SpecError
from lungmask_jax.models import Model
from lungmask_jax.prediction._patches import Read, in_patches
from lungmask_jax.prediction._views import make_predict
from lungmask_jax.spec import PredictSpec

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Predictor:
    """A network with its weights, for images, volumes and scans.

    One shape is compiled for a network; smaller inputs are padded. If the memory of the device is
    short, batches are halved.

    Attributes:
        model: The network.
        params: Its parameters, as in a bundle.
        state: Its state.
        spec: Mirror axes, and patches of volumes.

    Raises:
        SpecError: The patch does not fit the network.

    Example:
        >>> from lungmask_jax.models import unet
        >>> model = unet(channels=(4, 8))
        >>> predictor = Predictor(model, *model.init(jax.random.key(0)))
        >>> predictor.images(np.zeros((5, 16, 16, 1), np.float32)).shape
        (5, 16, 16, 1)
    """

    model: Model
    params: Any
    state: Any
    spec: PredictSpec = field(default_factory=PredictSpec)

    def __post_init__(self) -> None:
        patch, model = self.spec.patch, self.model
        if not any(patch):
            return
        if model.ndim == 2 and patch[0] != 1:
            raise SpecError(
                f"expected a patch of one slice for a 2-D network, found {patch}: omit it, or give "
                "its first side as 1"
            )
        strides = 1 if model.ndim == 2 else model.depth_stride, model.stride, model.stride
        if any(side % stride for side, stride in zip(patch, strides, strict=True)):
            raise SpecError(f"expected patch sides that are multiples of {strides}, found {patch}")

    @property
    def labels(self) -> int:
        """The number of labels above the background, or of all labels where these are logits."""
        logits = self.spec.average == "logits"
        return self.model.num_classes if logits else max(self.model.num_classes - 1, 1)

    def forward(self) -> Callable[[np.ndarray], jax.Array]:
        """The compiled forward pass, with the weights on the device.

        Returns:
            ``forward(images) -> (N, ..., L)``, see `make_predict`.
        """
        spec = self.spec
        predict = make_predict(
            self.model, mirror=spec.mirror, shift=spec.shift, average=spec.average
        )
        return functools.partial(predict, *jax.device_put((self.params, self.state)))

    def images(self, images: np.ndarray, *, batch_size: int = 4) -> np.ndarray:
        """Probabilities for prepared images.

        Args:
            images: ``(M, H, W, C)``, or ``(M, D, H, W, C)`` for a 3-D network, as in
                `lungmask_jax.training.Samples`.
            batch_size: Images at a time.

        Returns:
            ``(M, ..., L)`` float32; the sum over the labels is the probability of any.
        """
        forward = self.forward()
        results = np.zeros((*images.shape[:-1], self.labels), np.float32)

        def work(start: int, count: int) -> tuple[int, np.ndarray]:
            batch = images[start : start + count]
            missing = [(0, count - len(batch))] + [(0, 0)] * (images.ndim - 1)
            return start, np.asarray(forward(np.pad(batch, missing)))[: len(batch)]

        for start, probabilities in in_batches(work, len(images), batch_size):
            results[start : start + len(probabilities)] = probabilities
        return results

    def volume(self, volume: np.ndarray) -> np.ndarray:
        """Probabilities for a prepared volume of any size, in patches.

        Args:
            volume: ``(D, H, W, C)`` float32; for a network of slices, of these.

        Returns:
            ``(D, H, W, L)`` float32.
        """
        mean = self.patches(lambda start, stop: volume[start:stop], len(volume))
        results = np.zeros((*volume.shape[:-1], self.labels), np.float32)
        for place in range(len(volume)):
            results[place] = mean(place, place + 1)[0]
        return results

    def patches(self, read: Read, length: int) -> Callable[[int, int], np.ndarray]:
        """Probabilities for a volume that is read during prediction, in patches.

        Args:
            read: ``read(start, stop) -> (stop - start, rows, columns, C)``, some of its slices; at
                most as many as a patch has.
            length: Slices of the volume.

        Returns:
            ``mean(start, stop) -> (stop - start, rows, columns, L)``, the mean over the patches. A
            call begins where the last one did, or later; slices in between are skipped.

        Raises:
            SpecError: The spec has no patch.
        """
        if not any(self.spec.patch):
            raise SpecError("the spec has no patch size for volumes: set PredictSpec.patch")
        forward = self.forward()
        if self.model.ndim == 3:
            return in_patches(forward, read, length, labels=self.labels, spec=self.spec)

        def of_slice(patch: np.ndarray) -> jax.Array:
            return forward(patch[0])[None]

        return in_patches(of_slice, read, length, labels=self.labels, spec=self.spec)


def in_batches(
    work: Callable[[int, int], T], total: int, count: int, *, least: int = 1
) -> Iterator[T]:
    """Yields batch after batch; if the device's memory is too small, halved ones.

    Args:
        work: ``work(start, count)`` of one batch, the last of which may reach past the end. It
            waits until the device is done, and has no side effects: a batch may be repeated.
        total: Number of items.
        count: The size of a batch.
        least: The smallest size.

    Yields:
        The results of `work`.

    Raises:
        JaxRuntimeError: The memory is too small for the smallest batch, or something else failed.
    """
    start = 0
    while start < total:
        try:
            result = work(start, count)
        except jax.errors.JaxRuntimeError as error:
            if count <= least or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            count //= 2
        else:
            yield result
            start += count
