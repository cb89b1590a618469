"""Colors, text and files. Helpers here draw in place, on a canvas their caller has just made."""

import struct
import zlib
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from lungmask_jax.errors import ShapeError
from lungmask_jax.files import atomic, printable
from lungmask_jax.tasks import Color

GREEN: Final = (0, 158, 115)
BLUE: Final = (0, 114, 178)
VERMILION: Final = (213, 94, 0)

_SMALLEST: Final = 6
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FINER = 4
_LONGEST = 200  # characters that are drawn
_HEADED: Final = 33  # bytes of a PNG file up to the end of its header


def save_png(rgb: np.ndarray, path: str | Path, *, dpi: int | None = None) -> None:
    """Writes a picture as PNG, atomically.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        path: The file; an existing one is replaced when the new one is complete.
        dpi: Pixels per inch on paper, as journals ask for; by default not stated.

    Raises:
        ShapeError: `rgb` is not a picture.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "red.png"
        ...     save_png(np.full((2, 2, 3), (255, 0, 0), np.uint8), path, dpi=300)
        ...     cv2.imread(str(path))[0, 0].tolist()  # OpenCV reads blue first
        [0, 0, 255]
    """
    encoded = png(rgb, dpi=dpi)
    with atomic(Path(path)) as temporary:
        temporary.write_bytes(encoded)


def png(rgb: np.ndarray, *, dpi: int | None = None) -> bytes:
    """A picture as the bytes of a PNG file, for notebooks and web pages.

    Args:
        rgb: ``(H, W, 3)`` uint8.
        dpi: As for `save_png`.

    Returns:
        The content of a file of `save_png`.

    Raises:
        ShapeError: `rgb` is not a picture.

    Example:
        >>> png(np.zeros((2, 2, 3), np.uint8))[1:4]
        b'PNG'
    """
    check_picture(rgb)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    content = encoded.tobytes()
    return content if dpi is None else content[:_HEADED] + _density(dpi) + content[_HEADED:]


def check_picture(rgb: np.ndarray) -> None:
    """Raises a `ShapeError` unless it is a picture."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not rgb.size or rgb.dtype != np.uint8:
        raise ShapeError(
            f"expected a picture (H, W, 3) of uint8, found shape {rgb.shape} of {rgb.dtype}"
        )


def _density(dpi: int) -> bytes:
    """The chunk of a PNG file that holds its pixels per metre."""
    per_metre = round(dpi / 0.0254)
    body = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def canvas(height: int, width: int, color: Color) -> np.ndarray:
    """A new picture of one color: ``(height, width, 3)`` uint8."""
    return np.full((height, width, 3), color, np.uint8)


def text(
    picture: np.ndarray,
    words: str,
    place: tuple[float, float],
    *,
    height: int,
    color: Color,
    align: Literal["left", "center", "right"] = "left",
    halo: Color | None = None,
) -> None:
    """Words drawn in place, `height` pixels tall, their middle at `place` = ``(x, y)``.

    They are drawn finer and shrunk, which smooths them in every OpenCV. What lies outside the
    picture is cut off. A halo keeps them readable on any ground.
    """
    stamp = _stamp(words, height)
    if halo is not None:
        around = cv2.GaussianBlur(cv2.dilate(stamp, np.ones((3, 3), np.uint8)), (0, 0), 0.6)
        _press(picture, around, place, halo, align)
    _press(picture, stamp, place, color, align)


def text_width(words: str, height: int) -> int:
    """How many columns `text` needs."""
    return int(_stamp(words, height).shape[1])


def fitting_height(words: str, height: int, columns: float) -> int:
    """The height, or less where the words would need more columns; not below 6 pixels."""
    while height > _SMALLEST and text_width(words, height) > columns:
        height -= 1
    return height


def _press(
    picture: np.ndarray,
    stamp: np.ndarray,
    place: tuple[float, float],
    color: Color,
    align: str,
) -> None:
    rows, columns = stamp.shape
    left = round(place[0] - {"left": 0.0, "center": 0.5, "right": 1.0}[align] * columns)
    top = round(place[1] - rows / 2)
    bottom, right = min(top + rows, picture.shape[0]), min(left + columns, picture.shape[1])
    y, x = max(top, 0), max(left, 0)
    if y < bottom and x < right:
        share = stamp[y - top : bottom - top, x - left : right - left, None]
        below = picture[y:bottom, x:right]
        picture[y:bottom, x:right] = np.rint(below + share * (np.array(color) - below))


def _stamp(words: str, height: int) -> np.ndarray:
    """``(rows, columns)`` float in [0, 1]: how much of each pixel the words cover."""
    words = printable(words[:_LONGEST])  # OpenCV crashes on text that is no UTF-8
    thickness = max(1, round(height * _FINER / 9))
    scale = height * _FINER / 22  # a capital letter is 22 units tall
    (width, _), _ = cv2.getTextSize(words, _FONT, scale, thickness)
    rows, columns = 2 * height, -(-width // _FINER) + 2
    stamp = np.zeros((rows * _FINER, columns * _FINER), np.uint8)
    baseline = (_FINER, round(1.5 * height * _FINER))
    cv2.putText(stamp, words, baseline, _FONT, scale, 255, thickness, cv2.LINE_AA)
    small = cv2.resize(stamp, (columns, rows), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255
