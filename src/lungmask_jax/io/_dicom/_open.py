"""DICOM files opened: with or without preamble, packed with gzip or deflated."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from lungmask_jax.io._dicom._elements import (
    UNKNOWN,
    Damaged,
    Encoding,
    Item,
    encoding_at,
    read_item,
    text,
)
from lungmask_jax.io._stream import GZIP, unreadable

DEFLATED: Final = "1.2.840.10008.1.2.1.99"

HEADER_BYTES: Final = 2**26
"""No more of a packed file is unpacked for its header; functional groups of 4,000 frames fit."""


class Opened(NamedTuple):
    """A file, unpacked as far as asked for, that stands behind its meta information.

    The size is `UNKNOWN` if there is more.
    """

    stream: BinaryIO
    meta: Item
    size: int


@contextmanager
def opened(file: Path, limit: int = HEADER_BYTES) -> Iterator[Opened]:
    """A DICOM file, decompressed up to `limit` bytes, at the first element of its data set.

    Raises:
        ScanError: The file cannot be read.
        Damaged: It cannot be decompressed.
    """
    try:
        with file.open("rb") as stream:
            yield _without_deflation(_part_10(_without_gzip(stream, limit), limit), limit)
    except OSError as error:
        raise unreadable(file, error) from error


def read_header(file: Path) -> Item:
    """The wanted elements of a file, with the meta information, and the place of the pixels.

    Raises:
        ScanError: The file cannot be read.
        Damaged: It is not a DICOM file, or is damaged.
    """
    with opened(file) as (stream, meta, size):
        item = read_item(stream, encoding_at(stream), size)
        return item._replace(elements={**meta.elements, **item.elements})


def _without_gzip(stream: BinaryIO, limit: int) -> BinaryIO:
    if stream.read(len(GZIP)) != GZIP:
        stream.seek(0)
        return stream
    stream.seek(0)
    most = limit + limit // 1000 + 2**16  # what cannot be packed grows a little
    return BytesIO(_unpacked(stream.read(most), limit, wbits=31))


def _unpacked(data: bytes, limit: int, wbits: int) -> bytes:
    """No more than `limit` bytes."""
    unpacker = zlib.decompressobj(wbits)
    try:
        unpacked = unpacker.decompress(data, limit)
    except zlib.error as error:
        raise Damaged("cannot be unpacked") from error
    if not unpacker.eof and len(unpacked) < limit:
        raise Damaged("cut short")
    return unpacked


def _part_10(stream: BinaryIO, limit: int) -> Opened:
    head = stream.read(132)
    stream.seek(132 if head[128:] == b"DICM" else 4 if head[:4] == b"DICM" else 0)
    size = _size(stream)
    meta = Item({}, {})
    while (group := stream.read(2)) == b"\2\0":
        stream.seek(-2, os.SEEK_CUR)
        meta.elements.update(_meta_element(stream, size).elements)
    stream.seek(-len(group), os.SEEK_CUR)
    partial = isinstance(stream, BytesIO) and size == limit
    return Opened(stream, meta, UNKNOWN if partial else size)


def _without_deflation(file: Opened, limit: int) -> Opened:
    if text(file.meta, "TransferSyntaxUID") != DEFLATED:
        return file
    start = file.stream.tell()
    rest = _unpacked(file.stream.read(), limit, wbits=-zlib.MAX_WBITS)
    stream = BytesIO(bytes(start) + rest)
    stream.seek(start)
    return Opened(stream, file.meta, UNKNOWN if len(rest) == limit else start + len(rest))


def _meta_element(stream: BinaryIO, size: int) -> Item:
    """One element of group 2, which is explicit and little endian in every file."""
    start = stream.tell()
    head = stream.read(12)
    if not head[4:6].isalpha():
        raise Damaged("its meta information")
    long = head[4:6] in (b"OB", b"UN", b"OW", b"UT")
    length = int.from_bytes(head[8:12] if long else head[6:8], "little")
    stop = start + (12 if long else 8) + length
    if stop > size:
        raise Damaged("cut short")
    stream.seek(start)
    return read_item(stream, Encoding(implicit=False, order="<"), stop)


def _size(stream: BinaryIO) -> int:
    here = stream.tell()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return end
