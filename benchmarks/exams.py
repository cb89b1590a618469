"""Slices of COVID-19-CT-Seg with radiologists' masks, cut out around the lungs or whole."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from lungmask_jax import io
from lungmask_jax.volume import Volume

CORONACASES_WINDOW = (-1025.0, 1985.0)  # air near 3 of 255, muscle near 90
RADIOPAEDIA_WINDOW = (-1250.0, 250.0)
EXAM_WINDOWS = {  # of radiopaedia, two whose air and muscle lie elsewhere
    "radiopaedia_36_86526_0": (-1035.0, 230.0),
    "radiopaedia_40_86625_0": (-1160.0, 275.0),
}
CROP_SIDE = 512
FIELD_OF_VIEW_MM = 350.0  # of the exams, assumed: nobody wrote it down


class ExamSlice(NamedTuple):
    """A slice of COVID-19-CT-Seg, cut out around the lungs or whole.

    Attributes:
        name: Of its picture.
        exam: The scan it is from.
        patient: Whose scan; some have two.
        fold: The published one of five.
        ct: In approximate HU.
        labels: 1 lung, 2 infection in it.
    """

    name: str
    exam: str
    patient: str
    fold: int
    ct: Volume
    labels: Volume


def exam_crops(data: Path) -> Iterator[ExamSlice]:
    """Slices of the exams of COVID-19-CT-Seg, cut out around the lungs, and radiologists' masks.

    All are brought to one size, so that nothing is compiled for each of hundreds.
    """
    for row in _exam_rows(data):
        name, exam = Path(row["image"]).stem, row["exam"]
        stored = io.load(data / "covid_semiseg" / "unlabelled" / row["image"], window=_window(exam))
        masks = _grey(data / "covid19_ct_seg" / "crop_labels" / f"{name}.png")
        crop = _turned(stored.array[0].astype(np.float32), exam)
        pixel = FIELD_OF_VIEW_MM / 256 * np.hypot(float(row["m00"]), float(row["m10"]))
        rows, columns = (pixel * side / CROP_SIDE for side in crop.shape)
        affine = Volume(stored.array).affine * [1, rows, columns, 1]
        ct, drawn = (
            Volume(cv2.resize(array, (CROP_SIDE, CROP_SIDE), interpolation=how)[None], affine)
            for array, how in ((crop, cv2.INTER_LINEAR), (_turned(masks, exam), cv2.INTER_NEAREST))
        )
        yield ExamSlice(name, exam, row["patient"], int(row["fold"]), ct.as_checked(), drawn)


def exam_slices(data: Path) -> Iterator[ExamSlice]:
    """The same slices whole: the crop in HU, and the body around it as CLAHE left it.

    What CLAHE left becomes HU by the line that fits it best to the crop.
    """
    folder = data / "covid19_ct_seg"
    for row in _exam_rows(data):
        name, exam = Path(row["image"]).stem, row["exam"]
        crop = io.load(data / "covid_semiseg" / "unlabelled" / row["image"], window=_window(exam))
        whole, masks = (
            _as_crop(_grey(path), int(row["orientation"]))
            for path in (
                folder / "full_ct" / f"{row['full_slice']}.jpg",
                folder / "full_labels" / f"{row['full_slice']}.png",
            )
        )
        placed = _around(crop.array[0], whole, _doubled_map(row))
        size = placed.shape[::-1]
        drawn = cv2.resize(masks, size, interpolation=cv2.INTER_NEAREST)
        ct, drawn = (Volume(_turned(array, exam)[None]) for array in (placed, drawn))
        yield ExamSlice(name, exam, row["patient"], int(row["fold"]), ct.as_checked(), drawn)


def _exam_rows(data: Path) -> list[dict[str, str]]:
    with (data / "covid19_ct_seg" / "crops.csv").open(newline="") as file:
        return [*csv.DictReader(file)]


def _window(exam: str) -> tuple[float, float]:
    wide = "coronacases" in exam
    return CORONACASES_WINDOW if wide else EXAM_WINDOWS.get(exam, RADIOPAEDIA_WINDOW)


def _grey(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def _as_crop(whole: np.ndarray, orientation: int) -> np.ndarray:
    """A whole slice turned as its crop is stored."""
    base = whole.T if orientation >= 4 else whole
    return np.ascontiguousarray(np.rot90(base, orientation % 4))


def _doubled_map(row: dict[str, str]) -> np.ndarray:
    """Where a pixel of the crop lies in the whole slice of twice as many rows and columns."""
    turn = np.array([[float(row[f"m{i}{j}"]) for j in range(3)] for i in range(2)])
    return 2 * turn + np.array([[0, 0, 0.5], [0, 0, 0.5]])


def _around(crop: np.ndarray, whole: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The crop in its place in the whole slice, which becomes HU by the line that fits best."""
    size = (2 * whole.shape[1], 2 * whole.shape[0])
    large = cv2.resize(whole.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    inside = cv2.warpAffine(np.ones(crop.shape, np.uint8), place, size, flags=cv2.INTER_NEAREST) > 0
    placed = cv2.warpAffine(crop.astype(np.float32), place, size, flags=cv2.INTER_LINEAR)
    slope, offset = np.polyfit(large[inside], placed[inside], 1)
    return np.where(inside, placed, slope * large + offset).astype(np.float32)


def _turned(picture: np.ndarray, exam: str) -> np.ndarray:
    """A stored crop of the exam in the radiological view."""
    upright = np.rot90(picture) if "coronacases" in exam else picture.T
    return np.ascontiguousarray(upright)
