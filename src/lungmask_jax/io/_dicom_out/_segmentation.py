"""A mask as a DICOM segmentation."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from lungmask_jax import DISCLAIMER, __version__
from lungmask_jax.io._dicom_out._source import Source, concept, highdicom_modules
from lungmask_jax.labels import Code
from lungmask_jax.tasks import Task

MAKER: Final = "lungmask-jax"
FIRST_NUMBER: Final = 900
"""Series of results come behind those of the scanner in the list of a study."""

INTELLIGENCE: Final = Code("123110", "Artificial Intelligence", "DCM")

_LONGEST: Final = 64  # characters of a text
_LONGEST_LABEL: Final = 16


def segmentation(
    source: Source, mask: np.ndarray, task: Task, *, model: str, number: int, binary: bool
) -> Any:
    """A label map or, if `binary`, a bit for each segment and voxel.

    Args:
        source: The series.
        mask: ``(slices, rows, columns)``, in the order of the series.
        task: What the mask shows.
        model: What made it.
        number: Of the mask among those of the series, from 1.
        binary: Whether to write bits.
    """
    pydicom, highdicom = highdicom_modules()
    labels = sorted(task.labels)
    uid = uids(source, mask.tobytes(), task.name, model, str(binary))
    made = highdicom.seg.Segmentation(
        source_images=source.images,
        pixel_array=source.by_frame(_numbered(mask, labels) if binary else mask),
        segmentation_type="BINARY" if binary else "LABELMAP",
        segment_descriptions=[*_descriptions(source, task, labels, model, binary)],
        series_instance_uid=uid("series"),
        series_number=FIRST_NUMBER + number,
        sop_instance_uid=uid("instance"),
        instance_number=1,
        content_label=re.sub(r"[^A-Z0-9_ ]", "_", task.name.upper())[:_LONGEST_LABEL],
        content_description=DISCLAIMER[:_LONGEST],
        series_description=f"{task.name} ({MAKER}, research use only)"[:_LONGEST],
        omit_empty_frames=False,  # as viewers expect a frame for each slice
        **maker(),
    )
    if not binary:  # gdcm, as the other encoders of pydicom take seconds
        made.compress(pydicom.uid.RLELossless, encoding_plugin="gdcm", generate_instance_uid=False)
    return source.personalized(made)


def maker() -> dict[str, str]:
    """What made an object."""
    return {
        "manufacturer": MAKER,
        "manufacturer_model_name": MAKER,
        "software_versions": __version__,
        "device_serial_number": __version__,
    }


def uids(source: Source, content: bytes, *more: str) -> Any:
    """A function that gives identifiers by name, the same ones for the same content."""
    pydicom, _ = highdicom_modules()
    known = [source.series, __version__, hashlib.sha256(content).hexdigest(), *more]
    return lambda name: pydicom.uid.generate_uid(entropy_srcs=[*known, name])


def tracking_uid(source: Source, name: str) -> str:
    """The identifier of a structure in all objects of a series."""
    uid: str = uids(source, b"")(f"tracking {name}")
    return uid


def _descriptions(
    source: Source, task: Task, labels: list[int], model: str, binary: bool
) -> Iterator[Any]:
    """A description of each label; segments of bits are numbered without gaps."""
    _, highdicom = highdicom_modules()
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=f"{MAKER} {model}".strip()[:_LONGEST],
        family=concept(INTELLIGENCE),
        version=__version__,
    )
    for number, label in enumerate(labels, 1):
        name, what = task.labels[label], task.concepts[label]
        described = highdicom.seg.SegmentDescription(
            segment_number=number if binary else label,
            segment_label=name.replace("_", " ")[:_LONGEST],
            segmented_property_category=concept(what.category),
            segmented_property_type=concept(what.type),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            tracking_uid=tracking_uid(source, name),
            tracking_id=name,
            anatomic_regions=[concept(what.region)] if what.region else None,
            display_color=highdicom.color.CIELabColor.from_rgb(*task.colors[label]),
        )
        if what.side:
            (kind,) = described.SegmentedPropertyTypeCodeSequence
            kind.SegmentedPropertyTypeModifierCodeSequence = [concept(what.side)]
        yield described


def _numbered(mask: np.ndarray, labels: list[int]) -> np.ndarray:
    """Labels numbered from 1 without gaps."""
    numbers = np.zeros(256, np.uint8)
    numbers[labels] = np.arange(1, len(labels) + 1)
    return numbers[mask]
