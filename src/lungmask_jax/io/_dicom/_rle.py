"""Run-length encoding of DICOM (PS3.5, annex G)."""

import struct

import numpy as np

from lungmask_jax.io._dicom._elements import Damaged

_HEADER = 64


def rle_decoded(data: bytes, shape: tuple[int, int], allocated: int) -> np.ndarray:
    """A frame with one gray value per pixel, ``(rows, columns)``, unsigned.

    pydicom warns if bytes are left over, as some writers leave them; here they are ignored.

    Raises:
        Damaged: It does not hold all pixels.
    """
    size = allocated // 8
    if len(data) < _HEADER:
        raise Damaged("cut short")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != size or offsets[0] < _HEADER:
        raise Damaged(f"{count} segments for {allocated} bits")
    starts = [*offsets[:count], len(data)]
    pixels = shape[0] * shape[1]
    planes = [_unpacked(data[starts[i] : starts[i + 1]], pixels) for i in range(count)]
    stacked = np.frombuffer(b"".join(planes), np.uint8).reshape(size, pixels)
    return np.ascontiguousarray(stacked.T).view(f">u{size}").reshape(shape)


def _unpacked(segment: bytes, length: int) -> bytes:
    """The first bytes of a segment: a count, then so many bytes, or one to be repeated."""
    found = bytearray()
    place = 0
    while len(found) < length and place + 1 < len(segment):
        head = segment[place]
        if head < 128:
            found += segment[place + 1 : place + 2 + head]
            place += 2 + head
        else:
            found += segment[place + 1 : place + 2] * (257 - head if head > 128 else 0)
            place += 2 if head > 128 else 1
    if len(found) < length:
        raise Damaged(f"{len(found)} of {length} bytes")
    return bytes(found[:length])
