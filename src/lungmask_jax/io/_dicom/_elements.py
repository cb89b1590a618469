"""Data elements of a DICOM file, as they are stored (PS3.5, chapter 7).

pydicom has a reader, too. It warns of its repairs (a character set, a value representation)
through the caller's warning filters, and decompresses deflated files without a limit; here values
are read from their bytes, without warnings.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal, NamedTuple

from lungmask_jax.io._dicom._tags import TAGS, WANTED

PIXELS: Final = 0x7FE00010
FLOAT_PIXELS: Final = (0x7FE00008, 0x7FE00009)
UNDEFINED: Final = 0xFFFFFFFF
UNKNOWN: Final = 2**62
"""The end of a file that is unpacked in part."""

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_LONG: Final = ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_DEEPEST: Final = 16
_LONGEST: Final = 65_536


class Damaged(ValueError):
    """The bytes are not those of a DICOM file; the message says how."""


class BadValue(Damaged):
    """A value that is no number, in a file that may be sound elsewhere."""


class Unusable(ValueError):
    """A file without a CT slice; its arguments are its type, and what to do."""


class Encoding(NamedTuple):
    """How elements are written."""

    implicit: bool
    order: Literal["<", ">"]


class Head(NamedTuple):
    """What stands before a value."""

    tag: int
    vr: str
    length: int


class Element(NamedTuple):
    """A value as it is stored."""

    vr: str
    data: bytes
    order: str


class PixelPlace(NamedTuple):
    """Where the pixels lie in the unpacked file; a length of `UNDEFINED` means fragments.

    The length is what there is, should the file be cut short.
    """

    tag: int
    offset: int
    length: int
    order: Literal["<", ">"]


class Item(NamedTuple):
    """Elements by their tags, sequences as items."""

    elements: dict[int, Element]
    sequences: dict[int, list["Item"]]
    pixels: PixelPlace | None = None


def encoding_at(stream: BinaryIO) -> Encoding:
    """What the next element is written in; what a header declares is wrong now and then.

    Args:
        stream: Stands at an element, and still does afterwards.
    """
    head = stream.read(6)
    stream.seek(-len(head), 1)
    order: Literal["<", ">"] = ">" if head[:1] == b"\0" and head[1:2] != b"\0" else "<"
    return Encoding(not head[4:6].isalpha() or not head[4:6].isupper(), order)


def read_item(stream: BinaryIO, encoding: Encoding, end: int, depth: int = 0) -> Item:
    """The wanted elements of a data set, or of a sequence item at a nesting level of `depth`.

    Raises:
        Damaged: A value, or a fragment of pixels, reaches beyond `end`, or items are nested without
            end.
    """
    item = Item({}, {})
    for head in _heads(stream, encoding, end):
        if depth == 0 and head.tag in (PIXELS, *FLOAT_PIXELS):
            return item._replace(pixels=_pixel_place(stream, head, encoding, end))
        if _is_sequence(head):
            inner = list(_items(stream, _inside(head, encoding), head.length, end, depth + 1))
            if head.tag in WANTED:
                item.sequences[head.tag] = inner
        elif head.tag in WANTED:
            item.elements[head.tag] = Element(head.vr, exactly(stream, head.length), encoding.order)
        elif head.length == UNDEFINED:
            fragments(stream, end, encoding.order)
        else:
            _skip(stream, head.length, end)
    return item


def fragments(stream: BinaryIO, end: int, order: str = "<") -> list[tuple[int, int]]:
    """Offsets and lengths of the items of compressed pixels; the first is the table of offsets.

    Raises:
        Damaged: An item reaches beyond the end, or there is no item.
    """
    spans: list[tuple[int, int]] = []
    while True:
        tag, length = _item_head(stream, order)
        if tag == _SEQUENCE_END and spans:
            return spans
        if tag != _ITEM or length == UNDEFINED:
            raise Damaged("pixels are not in items")
        spans.append((stream.tell(), length))
        _skip(stream, length, end)
        if stream.tell() == end:  # without the delimiter
            return spans


def exactly(stream: BinaryIO, length: int) -> bytes:
    """That many bytes.

    Raises:
        Damaged: There are fewer, or a value of the header is longer than any is.
    """
    if length > _LONGEST:
        raise Damaged(f"a value of {length} bytes in the header")
    data = stream.read(length)
    if len(data) < length:
        raise Damaged("cut short")
    return data


def text(item: Item, keyword: str) -> str:
    """A value as text; empty if it is not there."""
    element = item.elements.get(TAGS[keyword][0])
    return "" if element is None else _decoded(element.data)


def numbers(item: Item, keyword: str) -> tuple[float, ...]:
    """A value as numbers; none if it is not there or empty.

    Raises:
        BadValue: It is no number.
    """
    tag, usual = TAGS[keyword]
    element = item.elements.get(tag)
    if element is None:
        return ()
    vr = usual if element.vr in ("", "UN") else element.vr
    if vr in _NUMBERS:
        size = struct.calcsize(_NUMBERS[vr])
        count = len(element.data) // size
        return struct.unpack_from(f"{element.order}{count}{_NUMBERS[vr]}", element.data)
    shown = _decoded(element.data)
    try:
        return tuple(float(part) for part in shown.split("\\") if part.strip())
    except ValueError as error:
        raise BadValue(f"{keyword} is {shown[:60]!r}") from error


def integer(item: Item, keyword: str, default: int) -> int:
    """The first of a value's numbers, or the default where there is none.

    Raises:
        BadValue: It is no whole number.
    """
    values = numbers(item, keyword)
    if values and values[0] % 1 != 0:
        raise BadValue(f"{keyword} is {values[0]:g}")
    return int(values[0]) if values else default


def items(item: Item, keyword: str) -> list[Item]:
    """The items of a sequence; none if it is not there."""
    return item.sequences.get(TAGS[keyword][0], [])


def _heads(stream: BinaryIO, encoding: Encoding, end: int) -> Iterator[Head]:
    """The stream stands at each value, and must be left behind it."""
    while stream.tell() + 8 <= end:
        first = exactly(stream, 8)
        group, number, length = struct.unpack(f"{encoding.order}HHI", first)
        tag, vr = group << 16 | number, ""
        if tag in (_ITEM_END, _SEQUENCE_END):
            return
        if not encoding.implicit and first[4:6].isalpha() and first[4:6].isupper():
            vr = first[4:6].decode("ascii")
            (length,) = struct.unpack(f"{encoding.order}H", first[6:])
            if vr in _LONG:
                (length,) = struct.unpack(f"{encoding.order}I", exactly(stream, 4))
        yield Head(tag, vr, length)


def _pixel_place(stream: BinaryIO, head: Head, encoding: Encoding, end: int) -> PixelPlace:
    offset, length = stream.tell(), head.length
    if length != UNDEFINED:
        length = min(length, max(end - offset, 0))
    elif end < UNKNOWN:
        fragments(stream, end, encoding.order)
    return PixelPlace(head.tag, offset, length, encoding.order)


def _is_sequence(head: Head) -> bool:
    """One that is wanted, or that can only be skipped item by item."""
    if WANTED.get(head.tag) == "SQ":
        return True
    return head.length == UNDEFINED and head.vr in ("", "SQ", "UN") and head.tag != PIXELS


def _inside(head: Head, encoding: Encoding) -> Encoding:
    return encoding._replace(implicit=True) if head.vr == "UN" else encoding


def _items(
    stream: BinaryIO, encoding: Encoding, length: int, end: int, depth: int
) -> Iterator[Item]:
    if depth > _DEEPEST:
        raise Damaged(f"items nested more than {_DEEPEST} deep")
    last = end if length == UNDEFINED else stream.tell() + length
    if last > end:
        raise Damaged("cut short")
    while stream.tell() + 8 <= last:
        tag, size = _item_head(stream, encoding.order)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise Damaged("a sequence without items")
        stop = last if size == UNDEFINED else stream.tell() + size
        if stop > last:
            raise Damaged("cut short")
        yield read_item(stream, encoding, stop, depth)
        if size != UNDEFINED:
            stream.seek(stop)


def _item_head(stream: BinaryIO, order: str) -> tuple[int, int]:
    group, number, length = struct.unpack(f"{order}HHI", exactly(stream, 8))
    return group << 16 | number, length


def _skip(stream: BinaryIO, length: int, end: int) -> None:
    if stream.tell() + length > end:
        raise Damaged("cut short")
    stream.seek(length, 1)


def _decoded(data: bytes) -> str:
    """Without control characters, so that it can be shown."""
    try:
        shown = data.decode("utf-8")
    except UnicodeDecodeError:
        shown = data.decode("latin-1")
    return "".join(letter if letter.isprintable() else " " for letter in shown).strip()
