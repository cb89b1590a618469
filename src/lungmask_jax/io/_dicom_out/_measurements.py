"""Measures as a structured report (TID 1500), with a group for each segment."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from lungmask_jax import DISCLAIMER, tasks
from lungmask_jax.io._dicom_out._segmentation import (
    FIRST_NUMBER,
    MAKER,
    maker,
    tracking_uid,
    uids,
)
from lungmask_jax.io._dicom_out._source import Source, concept, highdicom_modules
from lungmask_jax.labels import OWN_SCHEME, Code, Concept
from lungmask_jax.tasks import Task


class Quantity(NamedTuple):
    """What a number is.

    Attributes:
        name: Its code.
        unit: Its unit.
        derivation: How it was derived from many values.
    """

    name: Code
    unit: Code
    derivation: Code | None = None


class Place(NamedTuple):
    """What a number was measured in.

    Attributes:
        segment: Task and label of a mask; none for the scan as a whole.
        site: A part of it, such as a side.
    """

    segment: tuple[str, int] | None
    site: Concept | None = None


_ML: Final = Code("ml", "milliliter", "UCUM")
_PERCENT: Final = Code("%", "percent", "UCUM")
_HU: Final = Code("[hnsf'U]", "Hounsfield unit", "UCUM")
_ONE: Final = Code("1", "no units", "UCUM")
_MEAN: Final = Code("373098007", "Mean")
_VOLUME: Final = Code("118565006", "Volume")
_ATTENUATION: Final = Code("112031", "Attenuation Coefficient", "DCM")
_CHEST_CT: Final = Code("24627-2", "CT Chest", "LN")
_REPORT: Final = Code("126000", "Imaging Measurement Report", "DCM")
_DEVICE: Final = Code("121007", "Device", "DCM")


def _own(value: str, meaning: str = "") -> Code:
    return Code(value, meaning or value.replace("_", " "), OWN_SCHEME)


_SUFFIXES: Final = {
    "_below_minus_950_hu_percent": Quantity(_own("below_950_hu", "Share below -950 HU"), _PERCENT),
    "_mean_hu": Quantity(_ATTENUATION, _HU, _MEAN),
    "_percent": Quantity(_own("share", "Share of the organ around it"), _PERCENT),
    "_score": Quantity(_own("score", "Score of involvement, 0 to 5"), _ONE),
    "_ml": Quantity(_VOLUME, _ML),
}
_UNITS: Final = {"_hu": _HU, "_ml": _ML, "_percent": _PERCENT}


def measurements(
    source: Source, segmentations: Mapping[str, Any], measures: Mapping[str, float | str]
) -> Any:
    """A report of measures that refers to segments of masks, and to the series they are of.

    Args:
        source: The series.
        segmentations: DICOM segmentations by task.
        measures: Numbers and classes by the keys of `lungmask_jax.quantify.measures`; numbers that
            are not finite are left out.
    """
    _, highdicom = highdicom_modules()
    uid = uids(source, json.dumps(dict(measures)).encode(), *segmentations)
    content = highdicom.sr.MeasurementReport(
        observation_context=_context(uid("device")),
        procedure_reported=concept(_CHEST_CT),
        imaging_measurements=[*_groups(source, segmentations, measures)],
        title=concept(_REPORT),
    )
    return source.personalized(
        highdicom.sr.Comprehensive3DSR(
            evidence=[*source.images, *segmentations.values()],
            content=content[0],
            series_instance_uid=uid("series"),
            series_number=FIRST_NUMBER,
            sop_instance_uid=uid("instance"),
            instance_number=1,
            is_complete=True,
            series_description=f"Measures. {DISCLAIMER}",
            **maker(),
        )
    )


def _groups(
    source: Source, segmentations: Mapping[str, Any], measures: Mapping[str, float | str]
) -> Iterator[Any]:
    """A group of measures for the scan as a whole, and for each segment that has some.

    The measures of a whole segment come before those of its parts, as not every program shows the
    part.
    """
    known = _places(segmentations)
    keys: dict[tuple[str, int] | None, list[str]] = {None: []}
    for key, value in measures.items():
        if isinstance(value, str) or math.isfinite(value):
            keys.setdefault(_meaning(key, known)[0].segment, []).append(key)
    for segment, names in keys.items():
        if names:
            names.sort(key=lambda key: _meaning(key, known)[0].site is not None)
            values = [*_values({key: measures[key] for key in names}, known)]
            numbers = [one for one, is_number in values if is_number]
            classes = [one for one, is_number in values if not is_number]
            yield _group(source, segmentations, segment, numbers, classes)


def _values(
    measures: Mapping[str, float | str], known: Mapping[str, Place]
) -> Iterator[tuple[Any, bool]]:
    """Each measure as highdicom has it, and whether it is a number, not a class."""
    sr = highdicom_modules().highdicom.sr
    for key, value in measures.items():
        if isinstance(value, str):
            yield sr.QualitativeEvaluation(concept(_own(key)), concept(_own(value))), False
        else:
            yield _number(value, *_meaning(key, known)), True


def _context(device: str) -> Any:
    """A device observed."""
    _, highdicom = highdicom_modules()
    attributes = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=device,
        name=MAKER,
        manufacturer_name=maker()["manufacturer"],
        model_name=maker()["manufacturer_model_name"],
        serial_number=maker()["device_serial_number"],
    )
    observer = highdicom.sr.ObserverContext(concept(_DEVICE), attributes)
    return highdicom.sr.ObservationContext(observer_device_context=observer)


def _places(names: Mapping[str, Any]) -> dict[str, Place]:
    """What the beginnings of keys stand for: labels, and labels on a side or in a part."""
    made: dict[str, Place] = {}
    known = [tasks.registry[name] for name in names]
    for task in known:
        made |= {name: Place((task.name, label)) for label, name in task.labels.items()}
        if len(task.labels) == 1:
            (label,) = task.labels
            for part, site in _parts(known):
                made[f"{part}_{task.name}"] = Place((task.name, label), site)
    return made


def _parts(known: list[Task]) -> Iterator[tuple[str, Concept]]:
    """Sides and parts of organs, by the words that stand for them in keys."""
    for task in known:
        for label, name in task.labels.items():
            yield name, task.concepts[label]
        for label, word in task.sides.items():
            yield word, task.concepts[label]


def _meaning(key: str, known: Mapping[str, Place]) -> tuple[Place, Quantity]:
    """Where and what a measure is; those of the scan as a whole have codes of their own."""
    for suffix, quantity in _SUFFIXES.items():
        subject = key.removesuffix(suffix)
        if key.endswith(suffix) and subject in known:
            return known[subject], quantity
    unit = next((unit for suffix, unit in _UNITS.items() if key.endswith(suffix)), _ONE)
    return Place(None), Quantity(_own(key), unit)


def _group(
    source: Source,
    segmentations: Mapping[str, Any],
    segment: tuple[str, int] | None,
    numbers: list[Any],
    classes: list[Any],
) -> Any:
    """The measures of a segment, or of the scan as a whole."""
    sr = highdicom_modules().highdicom.sr
    found = {"measurements": numbers, "qualitative_evaluations": classes}
    if segment is None:
        return sr.MeasurementsAndQualitativeEvaluations(_tracking(source, "scan"), **found)
    name, label = segment
    task = tasks.registry[name]
    what = task.concepts[label]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        _tracking(source, task.labels[label]),
        referenced_segment=_reference(source, segmentations[name], task.labels[label]),
        finding_category=concept(what.category),
        finding_type=concept(what.type),
        finding_sites=[_site(what)],
        **found,
    )


def _tracking(source: Source, name: str) -> Any:
    sr = highdicom_modules().highdicom.sr
    return sr.TrackingIdentifier(uid=tracking_uid(source, name), identifier=name)


def _number(value: float, place: Place, quantity: Quantity) -> Any:
    sr = highdicom_modules().highdicom.sr
    return sr.Measurement(
        name=concept(quantity.name),
        value=round(value, 3),
        unit=concept(quantity.unit),
        derivation=concept(quantity.derivation) if quantity.derivation else None,
        finding_sites=[_site(place.site)] if place.site else None,
    )


def _site(what: Concept) -> Any:
    """The region of a structure, or the structure itself, with its side."""
    sr = highdicom_modules().highdicom.sr
    return sr.FindingSite(
        concept(what.region or what.type), laterality=concept(what.side) if what.side else None
    )


def _reference(source: Source, segmentation: Any, name: str) -> Any:
    """A segment of a segmentation, by its tracking identifier, and the series it is of."""
    sr = highdicom_modules().highdicom.sr
    (number,) = (
        int(one.SegmentNumber)
        for one in segmentation.SegmentSequence
        if one.get("TrackingID") == name
    )
    return sr.ReferencedSegment(
        segmentation.SOPClassUID,
        segmentation.SOPInstanceUID,
        number,
        source_series=sr.SourceSeriesForSegmentation(source.series),
    )
