"""Pictures in a row as an animation."""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from lungmask_jax.errors import MissingPackageError, ShapeError
from lungmask_jax.files import atomic
from lungmask_jax.viz._canvas import check_picture
from lungmask_jax.viz._page import labelled, slice_label
from lungmask_jax.viz._slices import WINDOW, overlay
from lungmask_jax.volume import Volume

_COLORS: Final = 128


def frames(
    ct: Volume,
    masks: Mapping[str, Volume] | None = None,
    *,
    window: tuple[float, float] = WINDOW,
    alpha: float = 0.45,
) -> Iterator[np.ndarray]:
    """All slices with their masks, from head to feet, for `save_gif`.

    Args:
        ct: In HU.
        masks: By the name of their task, as in `overlay`.
        window: ``(low, high)`` HU that become black and white.
        alpha: Opacity of fillings, from 0 to 1.

    Yields:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        ShapeError: A mask has another shape than the CT.

    Example:
        >>> [frame.shape for frame in frames(Volume(np.full((2, 64, 64), -800, np.int16)))]
        [(64, 64, 3), (64, 64, 3)]
    """
    for index in reversed(range(len(ct))):
        picture = overlay(ct, masks, index=index, window=window, alpha=alpha)
        yield labelled(picture, slice_label(index, len(ct)), longest=slice_label(len(ct), len(ct)))


def save_gif(pictures: Iterable[np.ndarray], path: str | Path, *, seconds: float = 0.1) -> None:
    """Writes pictures as an animated GIF that repeats, atomically.

    Args:
        pictures: ``(H, W, 3)`` uint8 each, all of one shape, as from `frames`.
        path: The file.
        seconds: Time of each picture.

    Raises:
        ShapeError: There is none, one is no picture, or they have different shapes.
        MissingPackageError: Pillow is missing, which the extra ``plots`` brings.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "grey.gif"
        ...     save_gif([np.full((4, 4, 3), grey, np.uint8) for grey in (0, 99)], path)
        ...     path.read_bytes()[:6]
        b'GIF89a'
    """
    if importlib.util.find_spec("PIL") is None:
        raise MissingPackageError(
            "expected Pillow to write a GIF, found no such package: "
            'pip install "lungmask-jax[plots]"'
        )
    from PIL import Image

    made = [Image.fromarray(one).quantize(_COLORS) for one in _checked(pictures)]
    if not made:
        raise ShapeError("expected pictures, found none: give those of a scan")
    with atomic(Path(path)) as temporary:
        made[0].save(
            temporary,
            "GIF",
            save_all=True,
            append_images=made[1:],
            duration=round(1000 * seconds),
            loop=0,
        )


def _checked(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    shape = None
    for one in pictures:
        check_picture(one)
        if shape not in (None, one.shape):
            raise ShapeError(f"expected pictures of one shape, found {shape} and {one.shape}")
        shape = one.shape
        yield one
