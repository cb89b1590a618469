"""The data sets that the shipped models learn from and are judged on, as CTs in HU.

Each loader takes the folder with the data sets and yields an `Item` a scan or slice, in the
radiological view. Pictures of 8 bits become HU by the window that they were stored in, where it is
known or can be told from air and muscle in them. Cases of one patient share a group.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from exams import ExamSlice, exam_crops, exam_slices
from outlines import body_outline, lung_outline

from lungmask_jax import inference, io, labels, phantoms, weights
from lungmask_jax.spec import PRESETS
from lungmask_jax.volume import Volume

WINDOW = PRESETS["infection"].window
WIDE_WINDOW = (-1000.0, 1650.0)  # LungSegDB: soft tissue near 100 of 255, bone near 200
LUNG_SLICES_WINDOW = (-1024.0, 64511.0)  # 16 bits: HU + 1024
LOOKALIKES = ("4 5 16 17 46", "10 43", "3 12 28", "35 67", "13 31", "26 27")
NEIGHBOURS = ("2 81 97 114 131", "152 153 165 168", "372 375 376 379 380")
# Of lung_slices, by eye: one lung alone is marked, or the outline of the body, too
MISLABELLED = "0052 0079 0134 0254"
# Of lung_slices, by eye: opacities or tumors, so that they are no examples of lungs without any
DISEASED = "0026 0037 0088 0116 0117 0118 0139 0142 0172 0191 0198 0232 0233 0237 0243"

# Slices without lung, by eye, from the feet: first and end
LUNGLESS = {
    "ct_body/body_3mm_ct.nii.gz": (0, 99),
    "ct_body/dicom_series": (0, 8),
    "ct_chest/apices_2mm_ct.nii.gz": (41, 49),
}


class Item(NamedTuple):
    """A scan or slice with the truth for one target.

    Attributes:
        name: Of the case.
        group: Cases of one patient share it; they stay on one side of a split. Items without one
            are in every training set.
        source: Which data set.
        ct: In approximate HU.
        mask: The truth; of infection its lesions, 1 ground glass and 2 consolidation, where the
            types are known.
        lungs: The lungs, where the region is the lungs and the scan is not cut out already.
        fold: The one that publishers of the data set hold it out in, if they say so.
    """

    name: str
    group: str
    source: str
    ct: Volume
    mask: Volume
    lungs: Volume | None = None
    fold: int | None = None


class LabelledScan(NamedTuple):
    """A whole CT of which is known where there is infection.

    Attributes:
        name: Of the patient.
        ct: In HU.
        infected: Whether each slice is, from the feet to the head.
    """

    name: str
    ct: Volume
    infected: np.ndarray


def lung_items(data: Path) -> Iterator[Item]:
    """Lungs: volumes, slices, COVID-19 slices with outlines drawn or made here, phantoms."""
    yield from lowres_lungs(data)
    yield from lungsegdb(data)
    yield from lung_slices(data)
    for crop in exam_crops(data):
        yield _item("exams", crop, crop.labels.array > 0)
    for whole in exam_slices(data):
        yield _item("whole", whole, whole.labels.array > 0)
    for path in sorted((data / "ct_dicom_slices").iterdir()):
        ct = io.load(path)
        outline = body_outline(ct)
        if outline.array.any():  # a neck has none, and for SL0058_52 none is found
            yield Item(f"dicom/{path.stem}", f"dicom {path.stem[:6]}", "dicom", ct, outline)
    for item in semiseg(data):
        yield item._replace(mask=lung_outline(item.ct, item.mask))
    yield from without_lungs(data)
    for seed in range(12):
        made = phantoms.phantom((48, 256, 256), disease=0.05 * (seed % 8), seed=1000 + seed)
        yield Item(f"phantom/{seed}", "", "phantom", made.ct, made.lungs)


def infection_items(data: Path) -> Iterator[Item]:
    """Infection: labelled slices, scans and slices without COVID-19, phantoms."""
    yield from semiseg(data)
    for crop in exam_crops(data):
        yield _item("exams", crop, crop.labels.array == 2)
    for item in lung_slices(data):
        if _number(item.name) not in DISEASED.split():
            yield item._replace(mask=_nothing(item.ct), lungs=item.mask)
    lungs = weights.load("lungs")
    healthy = [*sorted((data / "ct_lowres_volumes").glob("*_ct.nii.gz"))]
    healthy += sorted((data / "ct_dicom_slices").iterdir())
    for path in healthy:
        ct = io.load(path)
        found = inference.segment(ct, weights=[lungs]).lungs
        source = "lowres" if path.suffix == ".gz" else "dicom"
        yield Item(f"{source}/{path.name}", "", source, ct, _nothing(ct), found)
    for seed in range(8):
        made = phantoms.phantom((32, 256, 256), disease=0.05 * seed, seed=2000 + seed)
        yield Item(f"phantom/{seed}", "", "phantom", made.ct, made.lesions, made.lungs)


def lowres_lungs(data: Path) -> Iterator[Item]:
    """The whole CTs of low resolution with their lungs."""
    for path in sorted((data / "ct_lowres_volumes").glob("*_ct.nii.gz")):
        name = path.name.removesuffix("_ct.nii.gz")
        mask = io.load_mask(path.with_name(f"{name}_lungs.nii.gz"))
        yield Item(f"lowres/{name}", f"lowres {name}", "lowres", io.load(path), mask)


def without_lungs(data: Path) -> Iterator[Item]:
    """Slices of abdomens and necks, with bowel gas and air around them but no lung."""
    for name, (first, end) in LUNGLESS.items():
        ct = io.load(data / name)
        part = Volume(ct.array[first:end], ct.affine).as_checked()
        yield Item(f"empty/{Path(name).name}", "", "empty", part, _nothing(part))


def lungsegdb(data: Path) -> Iterator[Item]:
    """The slices of LungSegDB."""
    for path in sorted((data / "lungsegdb" / "images").iterdir()):
        mask = io.load_mask(data / "lungsegdb" / "lungs" / path.name)
        group = _group(path.stem, NEIGHBOURS)
        ct = io.load(path, window=WIDE_WINDOW)
        yield Item(f"lungsegdb/{path.stem}", f"lungsegdb {group}", "lungsegdb", ct, mask)


def lung_slices(data: Path) -> Iterator[Item]:
    """Slices of as many patients with lungs drawn by hand, without those that are mislabelled."""
    folder = data / "lung_slices"
    for path in sorted((folder / "images").iterdir()):
        if _number(path.stem) in MISLABELLED.split():
            continue
        ct = io.load(path, window=LUNG_SLICES_WINDOW)
        mask = io.load_mask(folder / "lungs" / path.name)
        name = f"lung_slices/{path.stem}"
        yield Item(name, f"lung_slices {path.stem}", "lung_slices", ct, mask)


def ct_md(data: Path) -> Iterator[LabelledScan]:
    """Whole CTs whose slices three radiologists called infected or not; never to learn from."""
    for path in sorted((data / "ct_md").glob("*_ct.nii.gz")):
        name, ct = path.name.removesuffix("_ct.nii.gz"), io.load(path)
        labelled = path.with_name(f"{name}_slices.json")
        found = json.loads(labelled.read_text())["infected"] if labelled.exists() else []
        infected = np.array(found, bool) if found else np.zeros(len(ct.array), bool)
        yield LabelledScan(name, ct, infected)


def semiseg(data: Path) -> Iterator[Item]:
    """The 50 labelled slices of COVID-SemiSeg and their lesions, in the radiological view."""
    folder = data / "covid_semiseg" / "labelled"
    for path in sorted((folder / "images").iterdir(), key=lambda path: int(path.stem)):
        ct = io.load(path, window=WINDOW)
        mask = lesions(folder / "lesion_types" / f"{path.stem}.png")
        ct, mask = (Volume(np.ascontiguousarray(v.array.transpose(0, 2, 1))) for v in (ct, mask))
        group = f"semiseg {_group(path.stem, LOOKALIKES)}"
        yield Item(f"semiseg/{path.stem}", group, "semiseg", ct.as_checked(), mask)


def lesions(path: Path) -> Volume:
    """Types of lesions from a picture with ground glass in red and consolidation in green."""
    _, green, red = cv2.split(cv2.imread(str(path)))
    types = np.select([red > 64, green > 64], [labels.GROUND_GLASS, labels.CONSOLIDATION], 0)
    return Volume(types.astype(np.uint8)[None])


def _item(source: str, part: ExamSlice, truth: np.ndarray) -> Item:
    mask, name = part.ct.with_array(truth.astype(np.uint8)), f"{source}/{part.exam}/{part.name}"
    return Item(name, f"exams {part.patient}", source, part.ct, mask, fold=part.fold)


def _number(name: str) -> str:
    """Of a slice of lung_slices, as in ID_0001_Z_0146."""
    return name.split("_")[-3]


def _nothing(ct: Volume) -> Volume:
    return ct.with_array(np.zeros(ct.shape, np.uint8))


def _group(name: str, groups: Sequence[str]) -> str:
    return next((group for group in groups if name in group.split()), name)


ITEMS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "lungs": lung_items,
    "infection": infection_items,
}
