"""Pytrees of arrays as one ``.npz``: leaves under ``/``-joined names, texts, and a checksum.

Readable without this library by ``numpy.load``; nothing in a file is executed. Written under a
temporary name first, and equal content gives equal bytes. An untrusted file is safe to read: the
declared content of its members is compared with the expected one before they are decompressed.
"""

from lungmask_jax.trees._archive import read_errors, zip_file
from lungmask_jax.trees._file import Stored, read, write
from lungmask_jax.trees._others import described
from lungmask_jax.trees._tree import checksum, fill, leaves

__all__ = [
    "Stored",
    "checksum",
    "described",
    "fill",
    "leaves",
    "read",
    "read_errors",
    "write",
    "zip_file",
]
