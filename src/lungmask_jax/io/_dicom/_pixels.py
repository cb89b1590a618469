"""Pixels of slices, decoded and rescaled."""

from pathlib import Path
from typing import Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._decoders import decoded
from lungmask_jax.io._dicom._elements import UNDEFINED, Damaged, fragments
from lungmask_jax.io._dicom._open import Opened, opened
from lungmask_jax.io._dicom._slices import Pixels, Slice
from lungmask_jax.io._intensity import LOWEST

MOST_VOXELS: Final = 2**31
"""No larger series is read: 4 GiB, eight times 512 x 512 x 1024."""

_SPARE: Final = 2**20


def read_pixels(slices: list[Slice]) -> np.ndarray:
    """The values of slices of one size, rescaled, ``(slices, rows, columns)``.

    Each file is opened once, and one slice is held beside the result. The result is int16 if all
    slopes and intercepts are whole, with values beyond its range clipped, else float32.

    Raises:
        ScanError: A slice cannot be decoded, or there are too many voxels.
    """
    rows, columns = slices[0].pixels.rows, slices[0].pixels.columns
    if len(slices) * rows * columns > MOST_VOXELS:
        raise ScanError(
            f"expected at most {MOST_VOXELS} voxels, found {len(slices)} slices of {rows} x "
            f"{columns} in {slices[0].file.parent}: give a part of them"
        )
    scales = _scales(slices)
    whole = not (scales % 1).any()
    values = np.empty((len(slices), rows, columns), np.int16 if whole else np.float32)
    for file, indices in _by_file(slices).items():
        _read_file(file, [(values[index], slices[index], *scales[index]) for index in indices])
    return values


def stored_pixels(one: Slice) -> bytes:
    """The pixels of a slice as they are in its file; none if they are damaged."""
    try:
        with opened(one.file, _limit(one.pixels)) as file:
            return _frame_bytes(file, one)
    except Damaged:
        return b""


def _scales(slices: list[Slice]) -> np.ndarray:
    """Slope and intercept of each slice; without them, values are HU as they are."""
    for index, tag in enumerate(("RescaleSlope", "RescaleIntercept")):
        without = [one for one in slices if one.rescale[index] is None]
        if 0 < len(without) < len(slices):
            raise ScanError(
                f"expected {tag} in every slice of a series, found {len(without)} of {len(slices)} "
                f"without it, {without[0].file} for one: export the series again"
            )
    pairs = [
        (1.0 if slope is None else slope, intercept or 0.0)
        for slope, intercept in (one.rescale for one in slices)
    ]
    return np.array(pairs)


def _by_file(slices: list[Slice]) -> dict[Path, list[int]]:
    files: dict[Path, list[int]] = {}
    for index, one in enumerate(slices):
        files.setdefault(one.file, []).append(index)
    return files


def _read_file(path: Path, frames: list[tuple[np.ndarray, Slice, float, float]]) -> None:
    """Fills arrays with the frames of one file."""
    try:
        with opened(path, _limit(frames[0][1].pixels)) as file:
            for out, one, slope, intercept in frames:
                out[...] = _rescaled(_stored(file, one), one.pixels, slope, intercept, out.dtype)
    except Damaged as error:
        raise ScanError(
            f"expected pixels that can be decoded, found {path} damaged ({error}): copy it again"
        ) from error


def _limit(pixels: Pixels) -> int:
    """What a packed file may hold at most: what its header asks for, and a little more."""
    return pixels.place.offset + pixels.frame_bytes * pixels.frames + _SPARE


def _stored(file: Opened, one: Slice) -> np.ndarray:
    """``(rows, columns)`` as stored, all allocated bits, without a sign."""
    pixels = one.pixels
    data = _frame_bytes(file, one)
    if pixels.place.length == UNDEFINED:
        return decoded(data, pixels, one.file)
    unsigned = np.dtype(f"{pixels.place.order}u{pixels.bits[0] // 8}")
    return np.frombuffer(data, unsigned).reshape(pixels.rows, pixels.columns)


def _frame_bytes(file: Opened, one: Slice) -> bytes:
    place, length = one.pixels.place, one.pixels.frame_bytes
    if place.length != UNDEFINED:
        file.stream.seek(place.offset + one.frame * length)
        data = file.stream.read(length)
        if len(data) < length:
            raise Damaged("cut short")
        return data
    file.stream.seek(place.offset)
    parts = []
    for offset, size in _frame_spans(file, one):
        file.stream.seek(offset)
        parts.append(file.stream.read(size))
    return b"".join(parts)


def _frame_spans(file: Opened, one: Slice) -> list[tuple[int, int]]:
    """The fragments of a frame (PS3.5, A.4)."""
    frames = one.pixels.frames
    table, *spans = fragments(file.stream, file.size)
    if frames == 1 and spans:
        return spans
    if len(spans) == frames:
        return [spans[one.frame]]
    file.stream.seek(table[0])
    starts = np.frombuffer(file.stream.read(table[1] // 4 * 4), "<u4").astype(np.int64)
    if len(starts) != frames or not spans:
        raise Damaged(f"{len(spans)} fragments and {len(starts)} offsets for {frames} frames")
    places = np.array([offset - 8 for offset, _ in spans]) - (spans[0][0] - 8)
    frame_of = np.searchsorted(starts, places, side="right") - 1
    return [span for span, frame in zip(spans, frame_of, strict=True) if frame == one.frame]


def _rescaled(
    raw: np.ndarray, pixels: Pixels, slope: float, intercept: float, kind: np.dtype
) -> np.ndarray:
    values = _values(raw, pixels)
    precise = np.float32 if pixels.bits[0] <= 16 else np.float64
    hu = values * precise(slope) + precise(intercept)
    if pixels.padding is not None:
        hu[_is_padding(raw, values, pixels)] = LOWEST
    if kind == np.int16:
        limits = np.iinfo(np.int16)
        hu = np.clip(hu, limits.min, limits.max, out=hu)
    return hu


def _values(raw: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Of the stored bits alone, with their sign."""
    allocated, bits, high = pixels.bits
    if bits == allocated:
        return raw.view(raw.dtype.str.replace("u", "i")) if pixels.signed else raw
    stored = (raw >> (high + 1 - bits)) & (2**bits - 1)
    return _signed(stored.astype(np.int64), bits) if pixels.signed else stored


def _is_padding(raw: np.ndarray, values: np.ndarray, pixels: Pixels) -> np.ndarray:
    """Also where the padding is beyond the stored bits, or was written with the other sign."""
    allocated, bits, _ = pixels.bits
    first, last = pixels.padding or (0, 0)
    ends = np.array([first, last], np.int64)
    within = ends % 2**bits
    low, high = np.sort(_signed(ends, allocated)) if pixels.signed else np.sort(ends)
    same = _signed(within, bits)[0] if pixels.signed else within[0]
    padding = (raw == first) | (values == same)
    if first != last:
        padding |= (values >= low) & (values <= high)
    return np.asarray(padding)


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    return np.asarray(values - ((values >> (bits - 1)) << bits))
