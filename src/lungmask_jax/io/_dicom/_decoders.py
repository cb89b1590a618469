"""Compressed pixels, decoded with the packages that pydicom finds."""

import importlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from lungmask_jax.errors import ScanError
from lungmask_jax.io._dicom._elements import Damaged
from lungmask_jax.io._dicom._jpeg import check_frame
from lungmask_jax.io._dicom._rle import rle_decoded
from lungmask_jax.io._dicom._slices import Pixels

_START: Final = "1.2.840.10008.1.2."
_RLE: Final = "1.2.840.10008.1.2.5"
_GDCM: Final = ("gdcm", "python-gdcm")
_CHARLS: Final = ("pyjpegls", "pyjpegls")
_OPENJPEG: Final = ("pylibjpeg", "pylibjpeg pylibjpeg-openjpeg")

DECODERS: Final = {
    "4.50": _GDCM,
    "4.51": _GDCM,
    "4.57": _GDCM,
    "4.70": _GDCM,
    "4.80": _CHARLS,
    "4.81": _CHARLS,
    "4.90": _OPENJPEG,
    "4.91": _OPENJPEG,
    "4.201": _OPENJPEG,
    "4.202": _OPENJPEG,
    "4.203": _OPENJPEG,
}
"""By the end of a transfer syntax, pydicom's name of the decoder, and the packages that it needs.

No other is tried: on damaged JPEG-LS and JPEG 2000, GDCM ends the process.
"""

CONVERT: Final = "convert it, for example with gdcmconv --raw, or with dcm2niix"


def decoded(data: bytes, pixels: Pixels, file: Path) -> np.ndarray:
    """A frame of compressed pixels as ``(rows, columns)``, unsigned, with the allocated bits.

    Raises:
        ScanError: There is no decoder for it.
        Damaged: The decoder fails, or the frame does not have the size in the header.
    """
    if pixels.syntax == _RLE:
        return rle_decoded(data, (pixels.rows, pixels.columns), pixels.bits[0])
    pydicom, decoder, plugin = _decoder(pixels, file)
    end = pixels.syntax.removeprefix(_START)
    check_frame(data, end, (pixels.rows, pixels.columns), pixels.bits[0])
    try:
        array, _ = decoder.as_array(
            pydicom.encaps.encapsulate([data], has_bot=False),
            index=0,
            validate=False,
            decoding_plugin=plugin,
            **_options(pixels),
        )
    except Exception as error:  # decoders raise all kinds
        _refuse_12_bits(pixels, file)
        raise Damaged(_reason(error)) from error
    if array.shape != (pixels.rows, pixels.columns):
        raise Damaged(f"decoded to {array.shape}")
    return np.asarray(array).astype(f"i{pixels.bits[0] // 8}").view(f"u{pixels.bits[0] // 8}")


def _options(pixels: Pixels) -> dict[str, object]:
    """What a decoder of pydicom must be told."""
    return {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "pixel_keyword": "PixelData",
        "bits_allocated": pixels.bits[0],
        "bits_stored": pixels.bits[1],
        "pixel_representation": int(pixels.signed),
    }


def _decoder(pixels: Pixels, file: Path) -> tuple[Any, Any, str]:
    """The package pydicom, its decoder of a transfer syntax, and the name of what it uses."""
    if not pixels.syntax:
        raise Damaged("compressed, and without its TransferSyntaxUID")
    plugin, packages = DECODERS.get(pixels.syntax.removeprefix(_START), ("", ""))
    if not plugin:
        raise ScanError(
            f"expected pixels in a usual transfer syntax, found {pixels.syntax} in {file}, which "
            f"cannot be decoded: {CONVERT}"
        )
    try:
        pydicom = importlib.import_module("pydicom")
        tools = importlib.import_module("pydicom.pixels")
    except ImportError as error:
        raise ScanError(
            f"expected pydicom to decode {file}, found none: "
            'pip install "lungmask-jax[dicom]", or convert the scan to NIfTI'
        ) from error
    decoder = tools.get_decoder(pixels.syntax)
    if plugin not in decoder.available_plugins:
        raise ScanError(
            f"expected a decoder for {pydicom.uid.UID(pixels.syntax).name} ({pixels.syntax}) in "
            f"{file}, found none: pip install {packages}"
        )
    return pydicom, decoder, plugin


def _refuse_12_bits(pixels: Pixels, file: Path) -> None:
    """JPEG Extended of 12 bits is decoded by no package under a permissive licence."""
    if pixels.syntax.endswith(".4.51") and pixels.bits[1] > 8:
        raise ScanError(
            f"expected pixels that can be decoded, found lossy JPEG of {pixels.bits[1]} bits in "
            f"{file}: {CONVERT}"
        )


def _reason(error: Exception) -> str:
    """The last line of what pydicom says, which is that of a decoder."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
