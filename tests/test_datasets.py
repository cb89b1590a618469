"""The loaders of the training recipe, on tiny folders; they live in `benchmarks`."""

import importlib
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax import io
from lungmask_jax.volume import Volume

RECIPE = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(RECIPE))
alarms, datasets, exams, splits, train_weights = (
    importlib.import_module(name)
    for name in ("alarms", "datasets", "exams", "splits", "train_weights")
)
sys.path.remove(str(RECIPE))

HEADER = "image,exam,patient,fold,full_slice,ecc,m00,m01,m02,m10,m11,m12,orientation\n"


def item(group, source="exams", fold=None):
    empty = Volume(np.zeros((1, 4, 4), np.float32))
    return datasets.Item(f"{source}/{group}", group, source, empty, empty, fold=fold)


@pytest.fixture
def exam(tmp_path):
    """A crop of an exam of coronacases: stored turned, as is the whole slice, lung dark on top."""
    upright = np.full((20, 30), 90, np.uint8)  # muscle
    upright[:8] = 14  # lung
    upright += np.arange(30, dtype=np.uint8) % 20  # grey levels, as a CT has
    masks = np.zeros((20, 30), np.uint8)
    masks[:8], masks[2:4, 5:9] = 1, 2
    whole = np.full((40, 40), 160, np.uint8)  # upright, as coronacases are
    whole[10:14, 12:27] = 40
    marked = np.zeros((40, 40), np.uint8)
    marked[10:14, 12:27] = 1
    folder = tmp_path / "covid19_ct_seg"
    for name in ("crop_labels", "full_ct", "full_labels"):
        (folder / name).mkdir(parents=True)
    images = tmp_path / "covid_semiseg" / "unlabelled"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "one.png"), np.rot90(upright, -1))
    cv2.imwrite(str(folder / "crop_labels" / "one.png"), np.rot90(masks, -1))
    cv2.imwrite(str(folder / "full_ct" / "0007.jpg"), whole, [cv2.IMWRITE_JPEG_QUALITY, 100])
    cv2.imwrite(str(folder / "full_labels" / "0007.png"), marked)
    # stored, the crop starts 40 - 20 = 20 columns and 12 rows into the turned whole slice
    place = "0.5,0,19.75,0,0.5,11.75,3"
    row = f"one.png,coronacases_001,coronacases_001,2,0007,0.9,{place}\n"
    (folder / "crops.csv").write_text(HEADER + row)
    return tmp_path


def test_crops_are_upright_and_in_hu(exam):
    (crop,) = exams.exam_crops(exam)
    side = exams.CROP_SIDE
    assert (crop.exam, crop.patient, crop.fold) == ("coronacases_001", "coronacases_001", 2)
    assert crop.ct.array.shape == crop.labels.array.shape == (1, side, side)
    rows = [side // 10, side // 2, side * 9 // 10]
    np.testing.assert_allclose(crop.ct.array[0, rows, 0], [-860, 37, 37], atol=15)
    places = np.argwhere(crop.labels.array[0] == 2)
    first, last = places.min(axis=0), places.max(axis=0)
    np.testing.assert_allclose(first / side, [2 / 20, 5 / 30], atol=0.01)
    np.testing.assert_allclose(last / side, [4 / 20, 9 / 30], atol=0.01)


def test_crops_keep_the_size_that_they_have_in_the_patient(exam):
    (crop,) = exams.exam_crops(exam)
    sides = np.array(crop.ct.spacing[1:]) * exams.CROP_SIDE
    np.testing.assert_allclose(sides / (350 / 256), [10, 15])  # pixels of the whole slice
    assert crop.ct.affine[0, 2] < 0  # columns from right to left, as the library wants them


def test_whole_slices_hold_the_crop_in_its_place(exam):
    (whole,) = exams.exam_slices(exam)
    assert whole.ct.array.shape == whole.labels.array.shape == (1, 80, 80)
    lung = whole.labels.array[0] > 0
    inner = cv2.erode(lung.astype(np.uint8), np.ones((3, 3))) > 0
    assert inner.sum() > 100
    assert -875 < whole.ct.array[0][inner].min() < whole.ct.array[0][inner].max() < -630
    beyond = cv2.dilate(lung.astype(np.uint8), np.ones((5, 5))) == 0
    assert 20 < whole.ct.array[0][beyond].min() < whole.ct.array[0][beyond].max() < 290


def test_slices_of_radiopaedia_are_transposed():
    stored = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(exams._turned(stored, "radiopaedia_4_85506_1"), stored.T)


@pytest.mark.parametrize("orientation", range(8))
def test_a_whole_slice_is_turned_by_its_number(orientation):
    whole = np.arange(6).reshape(2, 3)
    base = whole if orientation < 4 else whole.T
    np.testing.assert_array_equal(
        exams._as_crop(whole, orientation), np.rot90(base, orientation % 4)
    )


def test_lung_slices_are_in_hu(tmp_path):
    for name in ("images", "lungs"):
        (tmp_path / "lung_slices" / name).mkdir(parents=True)
    stored = np.full((8, 32), 1024 - 870, np.uint16)
    stored[4:] = 1024 + 40
    stored += np.arange(32, dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "lung_slices" / "images" / "ID_0001_Z_0146.png"), stored)
    lungs = np.where(stored < 1024, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "lung_slices" / "lungs" / "ID_0001_Z_0146.png"), lungs)
    for name in ("images", "lungs"):  # one whose labels are known to be wrong
        folder = tmp_path / "lung_slices" / name
        (folder / "ID_0079_Z_0072.png").write_bytes((folder / "ID_0001_Z_0146.png").read_bytes())
    (found,) = datasets.lung_slices(tmp_path)
    np.testing.assert_allclose(found.ct.array[0, ::4, 0], [-870, 40], atol=1)
    np.testing.assert_array_equal(found.mask.array[0] > 0, stored < 1024)


patients = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.sampled_from(["slices", "volumes"])), max_size=30
)


@given(patients)
def test_every_patient_is_held_out_once(pairs):
    items = [item(f"{source} {group}", source) for group, source in pairs]
    folds = splits.patient_folds([*items, item("")], 5)
    held = [group for fold in folds for group in fold]
    assert sorted(held) == sorted({one.group for one in items})


def test_published_folds_are_kept_for_all_slices_of_a_patient():
    items = [item("one", fold=3), item("two", fold=0), item("one", "whole", fold=3), item("three")]
    folds = splits.patient_folds(items, 5)
    assert "one" in folds[3]
    assert "two" in folds[0]
    assert sum("three" in fold for fold in folds) == 1


def test_a_patient_counts_as_the_root_of_its_slices():
    items = [item("many"), item("few"), item("", "phantom"), item("many")]
    counts = [8, 1, 10, 8]
    shares = train_weights.slice_shares(items, counts, {"exams": 0.75, "phantom": 0.25})
    drawn = np.array(shares) * counts
    np.testing.assert_allclose(drawn[0] + drawn[3], 0.75 * 4 / 5)
    np.testing.assert_allclose(drawn[1], 0.75 / 5)
    np.testing.assert_allclose(drawn[2], 0.25)


def test_the_area_under_the_curve_by_hand():
    assert alarms.auc(np.array([0, 1, 2, 3]), np.array([False, False, True, True])) == 1
    assert alarms.auc(np.array([5, 5]), np.array([True, False])) == 0.5
    assert alarms.auc(np.array([0, 1, 2]), np.array([False, True, False])) == 0.5


def test_a_coarse_scan_lies_where_the_scan_lay():
    places = np.indices((4, 60, 60)).astype(np.float32).sum(axis=0)
    ct = Volume(places, np.diag([2.5, 1.0, 1.0, 1.0]))
    found = alarms.coarse(ct)
    assert found.spacing == (5.0, 5.0, 5.0)
    corner = np.linalg.inv(ct.affine) @ found.affine @ [1, 5, 6, 1]
    np.testing.assert_allclose(found.array[1, 5, 6], corner[:3].sum(), atol=0.6)


def test_slices_without_a_list_are_not_infected(tmp_path):
    folder = tmp_path / "ct_md"
    folder.mkdir()
    values = np.random.default_rng(0).normal(-400, 400, (5, 16, 16)).astype(np.int16)
    for name in ("P001", "normal001"):
        io.save(Volume(values, Volume(values).affine * [2, 2, 2, 1]), folder / f"{name}_ct.nii.gz")
    (folder / "P001_slices.json").write_text('{"infected": [0, 0, 1, 1, 0]}')
    sick, well = datasets.ct_md(tmp_path)
    assert sick.infected.tolist() == [False, False, True, True, False]
    assert not well.infected.any()
