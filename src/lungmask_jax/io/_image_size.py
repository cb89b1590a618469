"""The declared size of an image, from its header alone.

A decoder allocates the declared size before it finds that there is no such picture.
"""

import struct
from collections.abc import Iterator
from typing import Final

_START_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG's markers without a length."""

_WIDTH: Final = 256
_HEIGHT: Final = 257


def page_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    r"""``(rows, columns)`` of each page of a TIFF, each frame of a PNG, or of a JPEG.

    Raises:
        ValueError: The header is damaged.

    Example:
        >>> head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 512, 384)
        >>> list(page_sizes(head + bytes(9)))
        [(384, 512)]
    """
    try:
        if data.startswith(b"\x89PNG"):
            yield from _png_sizes(data)
        elif data.startswith(b"\xff\xd8"):
            yield _jpeg_size(data)
        else:
            yield from _tiff_sizes(data)
    except (struct.error, OverflowError) as error:
        raise ValueError("its header is cut short") from error


def _png_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """That of the image, and again for each frame after the first of an animated one."""
    columns, rows = struct.unpack_from(">II", data, 16)
    yield rows, columns
    place, frames = 8, 0
    while place < len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        place += 12 + length  # with a checksum; a decoder allocates the length that is claimed
        if place > len(data):
            raise ValueError("a part of it is longer than the file")
        frames += name == b"fcTL"
        if name == b"fcTL" and frames > 1:
            yield rows, columns
        if name == b"IEND":
            return


def _jpeg_size(data: bytes) -> tuple[int, int]:
    place = 2
    while place < len(data):
        if data[place] != 0xFF:
            raise ValueError("its header is damaged")
        marker = data[place + 1] if place + 1 < len(data) else 0
        if marker == 0xFF:  # padding
            place += 1
        elif marker in _ALONE:
            place += 2
        elif marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", data, place + 5)
            return rows, columns
        else:
            place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    raise ValueError("it has no size")


def _tiff_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    count, pointer, entry = ("Q", "Q", 20) if big else ("H", "I", 12)
    (page,) = struct.unpack_from(order + pointer, data, 8 if big else 4)
    seen: set[int] = set()
    while page:
        if page in seen:
            raise ValueError("its pages form a loop")
        seen.add(page)
        (entries,) = struct.unpack_from(order + count, data, page)
        first = page + struct.calcsize(order + count)
        if first + entries * entry > len(data):
            raise ValueError("its header is cut short")
        tags = dict(_tags(data, order, first, entries, entry))
        yield tags.get(_HEIGHT, 0), tags.get(_WIDTH, 0)
        (page,) = struct.unpack_from(order + pointer, data, first + entries * entry)


def _tags(
    data: bytes, order: str, first: int, entries: int, size: int
) -> Iterator[tuple[int, int]]:
    """Number and value of the tags that hold one number."""
    count = 8 if size == 20 else 4
    for place in range(first, first + entries * size, size):
        tag, kind = struct.unpack_from(order + "HH", data, place)
        if tag in (_WIDTH, _HEIGHT):
            number = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
            if number is None:
                raise ValueError("its header is damaged")
            yield tag, struct.unpack_from(order + number, data, place + size - count)[0]
