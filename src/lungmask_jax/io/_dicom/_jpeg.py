"""Frames of JPEG, JPEG-LS and JPEG 2000, checked before they are decoded.

Decoders in C allocate the declared size, and that of GDCM crashes on a damaged frame.
"""

import re
import struct
from collections.abc import Iterator
from typing import Final

from lungmask_jax.io._dicom._elements import Damaged

_LOSSLESS: Final = (0xC3,)
_SOF: Final = {"4.50": (0xC0,), "4.51": (0xC0, 0xC1), "4.57": _LOSSLESS, "4.70": _LOSSLESS}
_SOF_LS, _DHT, _SOS, _DQT = 0xF7, 0xC4, 0xDA, 0xDB
_PLAIN: Final = {0xDD, 0xFE, *range(0xE0, 0xF0)}  # restart interval, comments, applications
_NO_DATA: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def check_frame(data: bytes, syntax: str, size: tuple[int, int], bits: int) -> None:
    """Refuses a frame that does not agree with its header.

    The transfer syntax is given without ``1.2.840.10008.1.2.``.

    Raises:
        Damaged: It has another size, or damage that a decoder may not notice.
    """
    if syntax in _SOF:
        _check_jpeg(data, _SOF[syntax], size, bits)
    elif syntax in ("4.80", "4.81"):
        _check_sizes(data, _SOF_LS, size, bits)
    else:
        _check_jpeg_2000(data, size)


def _check_jpeg(data: bytes, starts: tuple[int, ...], size: tuple[int, int], bits: int) -> None:
    """All markers before the one scan, Huffman tables included, and none in its data."""
    tables: set[int] = set()
    framed, lossless = False, starts == _LOSSLESS
    for marker, segment, end in _segments(data):
        if marker in starts and not framed:
            framed = _is_frame(segment, size, bits)
        elif marker == _DHT:
            tables |= _huffman_tables(segment, most=16 if lossless else 255)
        elif marker == _SOS and framed:
            _check_scan(segment, tables, lossless=lossless)
            _check_data(data[end:])
            return
        elif marker not in _PLAIN and (lossless or marker != _DQT):
            raise Damaged(f"JPEG marker {marker:02X}")
    raise Damaged("cut short")


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Markers, what follows them, and where that ends."""
    if data[:2] != b"\xff\xd8":
        raise Damaged("no JPEG")
    place = 2
    while place + 4 <= len(data):
        fill, marker, length = struct.unpack_from(">BBH", data, place)
        if marker == 0xFF:  # fill bytes
            place += 1
            continue
        end = place + 2 + length
        if fill != 0xFF or length < 2 or end > len(data):
            raise Damaged("its JPEG markers")
        yield marker, data[place + 4 : end], end
        place = end


def _check_sizes(data: bytes, start: int, size: tuple[int, int], bits: int) -> None:
    for marker, segment, _ in _segments(data):
        if marker == start:
            _is_frame(segment, size, bits)
            return
    raise Damaged("cut short")


def _is_frame(segment: bytes, size: tuple[int, int], bits: int) -> bool:
    if len(segment) != 9:
        raise Damaged("JPEG of several colors")
    precision, rows, columns, components = struct.unpack_from(">BHHB", segment)
    if (rows, columns) != size or components != 1 or not 2 <= precision <= bits:
        raise Damaged(
            f"a frame of {rows} x {columns} with {precision} bits, for {size[0]} x {size[1]} "
            f"with {bits}"
        )
    return True


def _huffman_tables(segment: bytes, most: int) -> set[int]:
    found = set()
    while segment:
        counts, name = segment[1:17], segment[0]
        values = segment[17 : 17 + sum(counts)]
        codes = sum(count << (16 - length) for length, count in enumerate(counts, 1))
        if len(counts) < 16 or len(values) < sum(counts) or not values or codes > 2**16:
            raise Damaged("a Huffman table")
        if max(values) > most or name & 15 > 3 or name >> 4 > (most > 16):
            raise Damaged("a Huffman table")
        found.add(name)
        segment = segment[17 + len(values) :]
    return found


def _check_scan(segment: bytes, tables: set[int], *, lossless: bool) -> None:
    if len(segment) != 6 or segment[0] != 1:
        raise Damaged("a scan of several colors")
    used = {segment[2] >> 4} if lossless else {segment[2] >> 4, 16 + (segment[2] & 15)}
    first, last, shift = segment[3:]
    good = 1 <= first <= 7 and last == 0 if lossless else (first, last) == (0, 63)
    if not (used <= tables and good and shift < 16):
        raise Damaged("the head of a scan")


def _check_data(data: bytes) -> None:
    """It ends with its marker, and has no other; what is behind is padding."""
    found = _NO_DATA.search(data)
    if found is None:
        raise Damaged("cut short")
    if found.group() != b"\xff\xd9" or data[found.end() :].strip(b"\0\xff"):
        raise Damaged("a marker in the data")


def _check_jpeg_2000(data: bytes, size: tuple[int, int]) -> None:
    start = data[:256].find(b"\xff\x4f\xff\x51")  # some put the boxes of a JP2 file before it
    if start < 0 or len(data) < start + 24:
        raise Damaged("no JPEG 2000")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    if (bottom - top, right - left) != size:
        raise Damaged(f"a frame of {bottom - top} x {right - left}, for {size[0]} x {size[1]}")
