"""Scans and masks from files, and back onto the same grid.

`load` and `load_mask` return a `Volume` in the canonical order ``(slices, rows, columns)``; `save`
reverses the reordering exactly, so a mask matches its scan voxel for voxel. A CT is returned in HU
within [-1024, 3071], int16 if the values are integers, else float32; a mask as uint8.
`as_volume` does the same for scans in any form: paths, arrays, nibabel and SimpleITK images.

Readable formats: NIfTI-1 and NIfTI-2 (``.nii``, ``.nii.gz``), NRRD (``.nrrd``, ``.nhdr``),
MetaImage (``.mha``, ``.mhd``), a zip archive of one of these, PNG, JPEG and TIFF slices, and DICOM,
compressed too with ``pip install "lungmask-jax[dicom]"``. The type is detected from the first bytes
of a file, not from its name. NIfTI, NRRD and MetaImage are also written.
"""

from lungmask_jax.io._dicom import Series, list_series
from lungmask_jax.io._dicom_out import MEASURES, save_dicom
from lungmask_jax.io._entrance import as_volume
from lungmask_jax.io._files import native_format
from lungmask_jax.io._load import load, load_mask
from lungmask_jax.io._save import save

__all__ = [
    "MEASURES",
    "Series",
    "as_volume",
    "list_series",
    "load",
    "load_mask",
    "native_format",
    "save",
    "save_dicom",
]
