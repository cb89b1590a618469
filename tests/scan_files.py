"""Small scans, and the files that hold them."""

import itertools
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np

ORIENTATIONS = [
    "".join(pair[sign] for pair, sign in zip(pairs, signs, strict=True))
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for signs in itertools.product((0, 1), repeat=3)
]


def chest(shape: tuple[int, ...] = (5, 6, 7)) -> np.ndarray:
    """Every value from air to bone once or more, so that no two voxels can be exchanged."""
    return np.linspace(-1020, 1500, int(np.prod(shape))).round().astype(np.int16).reshape(shape)


def body(shape: tuple[int, ...] = (8, 32, 32)) -> np.ndarray:
    """Air around fat, soft tissue, lungs and bone."""
    array = np.random.default_rng(0).normal(-1000, 10, shape)
    array[:, 4:28, 4:28] += 900
    array[:, 6:26, 6:26] += 140
    array[:, 8:20, 8:14] -= 850
    array[:, 22:24, 14:18] += 500
    return np.maximum(array, -1024).round().astype(np.int16)


def affine_of(
    axcodes: str = "LPS",
    spacing: tuple[float, ...] = (0.75, 1.5, 2.5),
    degrees: float = 0.0,
) -> np.ndarray:
    """Axes of such names, turned around the first axis of the patient."""
    affine = np.eye(4)
    for column, (axis, sign) in enumerate(nib.orientations.axcodes2ornt(axcodes)):
        affine[:3, column] = np.eye(3)[int(axis)] * sign * spacing[column]
    affine[:3, 3] = -120.5, 33.25, 700.0
    turn, angle = np.eye(4), np.deg2rad(degrees)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return turn @ affine


def nifti(
    path: Path,
    array: np.ndarray,
    affine: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
    kind: type = nib.Nifti1Image,
) -> Path:
    image = kind(array, np.diag([0.75, 0.75, 2.5, 1.0]) if affine is None else affine)
    image.set_qform(image.affine, int(codes[0]))
    image.set_sform(image.affine, int(codes[1]))
    nib.save(image, path)
    return path


def picture(path: Path, array: np.ndarray, *options: int) -> Path:
    assert cv2.imwrite(str(path), array, options)
    return path


def gray_body(shape: tuple[int, ...] = (8, 32, 32)) -> np.ndarray:
    return ((np.clip(body(shape), -1250, 250) + 1250) / 1500 * 255).round().astype(np.uint8)


def enhanced(path: Path, frames: int = 4, *, undefined: bool = False, **tags: object) -> Path:
    """An enhanced CT, the highest frame first, each with a slope of its own."""
    import pydicom

    dataset = pydicom.dcmread(path)
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, tag)
    for tag in ("RescaleSlope", "RescaleIntercept", "SliceThickness"):
        delattr(dataset, tag)
    shared, orientation, measures = (pydicom.Dataset() for _ in range(3))
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.75], 3
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for number in range(frames):
        group, position, scale = (pydicom.Dataset() for _ in range(3))
        position.ImagePositionPatient = [-100, -120, -2.0 * number]
        scale.RescaleSlope, scale.RescaleIntercept = 1 + number % 2, -1024
        scale.RescaleType = "HU"
        group.PlanePositionSequence = [position]
        group.PixelValueTransformationSequence = [scale]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    for tag in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        dataset[tag].is_undefined_length = undefined
    ramp = np.add.outer(np.arange(24) * 60, np.arange(32) * 30)
    stored = np.stack([ramp // (1 + number % 2) for number in range(frames)])
    dataset.NumberOfFrames, dataset.PixelData = frames, stored.astype("<u2").tobytes()
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(path)
    return path
