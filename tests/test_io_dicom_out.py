"""DICOM segmentations and structured reports: read back, validated, and sent through a PACS."""

import contextlib
import gzip
import io
import json
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scan_files import body, enhanced

import lungmask_jax
from lungmask_jax import Volume, inference, quantify, tasks
from lungmask_jax.errors import MissingPackageError, ScanError, ShapeError
from lungmask_jax.io import load, load_mask, save_dicom

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")

IDS = {
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.3",
    "PatientName": "anonymous",
    "PatientID": "case 1",
}
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def series(write, target, **tags):
    """Eight slices, in files whose names say nothing of their order."""
    for number, plane in enumerate(body()):
        write(target / f"{number * 5 % 8}.dcm", 2.5 * number, plane + 1024, **{**IDS, **tags})
    return target


def masks_of(ct):
    lungs, lobes, infection = (np.zeros(ct.shape, np.uint8) for _ in range(3))
    slices = len(lungs)
    lungs[slices // 4 :, 8:20, 4:10] = 1
    lungs[1:-1, 8:20, 20:28] = 2
    infection[slices // 2, 10:14, 5:9] = 1
    lobes[lungs == 1], lobes[lungs == 2] = 5, 1
    masks = {"lungs": lungs, "lobes": lobes, "infection": infection, "lesions": 2 * infection}
    return {name: ct.with_array(mask) for name, mask in masks.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_dicom):
    return series(write_dicom, tmp_path_factory.mktemp("ct") / "series")


@pytest.fixture(scope="module")
def ct(folder):
    return load(folder)


@pytest.fixture(scope="module")
def reported(ct, tmp_path_factory):
    """Measures, the segmentations of their masks, and the report."""
    masks = masks_of(ct)
    more = {"noise_hu": float("nan"), "signs_of_pneumonia": 0.4}
    measures = {**quantify.measures(masks, ct=ct), **more}
    target = tmp_path_factory.mktemp("report")
    *segmentations, report = save_dicom(masks, target, measures=measures, binary=True)
    return measures, segmentations, report


def read_back(path):
    """The labels of a segmentation in its place in the patient."""
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    return volume.array, TO_LPS @ volume.affine


def same_place(mask, array, affine):
    """Whether every voxel of a mask has its label in another array at the same point."""
    indices = np.stack(np.nonzero(mask.array))
    points = mask.affine @ np.vstack([indices, np.ones(indices.shape[1])])
    there = np.rint(np.linalg.inv(affine) @ points)[:3].astype(int)
    labels = array[tuple(there)]
    return np.array_equal(labels, mask.array[tuple(indices)]) and (array > 0).sum() == len(labels)


# segmentations


@pytest.mark.parametrize("binary", [False, True])
def test_a_mask_is_read_back_at_its_place(ct, tmp_path, binary):
    masks = masks_of(ct)
    paths = save_dicom(masks, tmp_path / "out", name="a", binary=binary)
    assert [path.name for path in paths] == [f"a_{name}.dcm" for name in masks]
    for mask, path in zip(masks.values(), paths, strict=True):
        array, affine = read_back(path)
        assert same_place(mask, array, affine)


@pytest.mark.parametrize(
    "cosines", [[1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1], [0.96, 0.28, 0, -0.28, 0.96, 0]]
)
def test_a_mask_of_turned_slices_is_read_back_at_its_place(tmp_path, write_dicom, cosines):
    normal = np.cross(cosines[:3], cosines[3:])
    for number, plane in enumerate(body()):
        place = (np.array([10.0, 20, 30]) + 2.5 * number * normal).tolist()
        write_dicom(
            tmp_path / "s" / f"{number}.dcm", 0, plane + 1024,
            ImagePositionPatient=place, ImageOrientationPatient=cosines, **IDS,
        )  # fmt: skip
    ct = load(tmp_path / "s")
    mask = ct.with_array((ct.array > 300).astype(np.uint8))
    (path,) = save_dicom({"infection": mask}, tmp_path / "out")
    assert same_place(mask, *read_back(path))


def test_frames_of_an_enhanced_ct_are_referred_to(tmp_path, write_dicom):
    file = enhanced(write_dicom(tmp_path / "a", **IDS))
    ct = load(file)
    mask = ct.with_array(np.zeros(ct.shape, np.uint8))
    mask.array[1, 2:5, 3] = 1
    (path,) = save_dicom({"infection": mask}, tmp_path / "out")
    found = pydicom.dcmread(path)
    assert (found.NumberOfFrames, found.PatientName) == (4, "anonymous")
    assert same_place(mask, *read_back(path))


def test_a_packed_series_without_preambles_is_referred_to(tmp_path, write_dicom):
    packed = series(write_dicom, tmp_path / "s", syntax="1.2.840.10008.1.2")
    for file in packed.iterdir():
        file.write_bytes(gzip.compress(file.read_bytes()[128:], 1))
    mask = masks_of(load(packed))["lungs"]
    (path,) = save_dicom({"lungs": mask}, tmp_path / "out")
    assert same_place(mask, *read_back(path))


def test_a_segmentation_refers_to_its_series_with_codes_and_colors(ct, folder, tmp_path):
    models = {"lungs": "lungs 0123456789ab"}
    found = pydicom.dcmread(save_dicom(masks_of(ct), tmp_path / "out", models=models)[0])
    sources = [pydicom.dcmread(file) for file in folder.iterdir()]
    (of,) = found.ReferencedSeriesSequence
    assert of.SeriesInstanceUID == IDS["SeriesInstanceUID"]
    referred = {one.ReferencedSOPInstanceUID for one in of.ReferencedInstanceSequence}
    assert referred == {one.SOPInstanceUID for one in sources}
    for tag in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID"):
        assert found[tag].value == IDS[tag]
    assert (found.NumberOfFrames, found.SegmentationType) == (8, "LABELMAP")  # empty ones, too
    right = found.SegmentSequence[1]
    (kind,) = right.SegmentedPropertyTypeCodeSequence
    (side,) = kind.SegmentedPropertyTypeModifierCodeSequence
    assert (right.SegmentNumber, right.SegmentLabel) == (1, "right lung")
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("39607008", "SCT")
    assert (side.CodeValue, side.CodeMeaning) == ("24028007", "Right")
    color = highdicom.color.CIELabColor.from_dicom_value(right.RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(color.to_rgb(), tasks.LUNGS.colors[1], atol=2)
    (algorithm,) = right.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmName == "lungmask-jax lungs 0123456789ab"


@pytest.mark.parametrize("task", list(tasks.registry))
def test_codes_are_those_of_the_dictionary_of_dicom(task):
    known = {
        (scheme, value): meaning
        for scheme, concepts in pydicom.sr._concepts_dict.concepts.items()
        for one in concepts.values()
        for value, (meaning, _) in one.items()
    }
    missing = set()
    for concept in tasks.registry[task].concepts.values():
        missing |= {code.meaning for code in concept if code and code[::-2] not in known}
    assert missing <= {"Lung consolidation", "lung airways wall"}  # SNOMED CT has the first one


def test_the_same_masks_have_the_same_identifiers(ct, tmp_path):
    masks = masks_of(ct)
    (first,), (again,) = (
        save_dicom({"lungs": masks["lungs"]}, tmp_path / name) for name in ("a", "b")
    )
    other = masks["lungs"].with_array(masks["lungs"].array[:, :, ::-1].copy())
    (third,) = save_dicom({"lungs": other}, tmp_path / "c")
    ids = [pydicom.dcmread(path).SOPInstanceUID for path in (first, again, third)]
    assert ids[0] == ids[1] != ids[2]


# what is refused


def test_masks_without_a_series_are_refused(ct, tmp_path):
    lungs = masks_of(ct)["lungs"]
    with pytest.raises(ShapeError, match="found none"):
        save_dicom({}, tmp_path)
    with pytest.raises(ScanError, match="'lungs' is not on the grid of a DICOM series"):
        save_dicom({"lungs": replace(lungs, header=None)}, tmp_path)
    cropped = replace(lungs, array=lungs.array[2:])
    with pytest.raises(ScanError, match="not on the grid of a DICOM series"):
        save_dicom({"lungs": cropped}, tmp_path)
    part = replace(lungs.header, slices=lungs.header.slices[::-1])
    with pytest.raises(ScanError, match="masks of one DICOM series, found several"):
        save_dicom({"lungs": lungs, "lobes": replace(lungs, header=part)}, tmp_path)


def test_a_series_without_identifiers_is_refused(tmp_path, write_dicom):
    ct = load(series(write_dicom, tmp_path / "s", FrameOfReferenceUID=None))
    with pytest.raises(ScanError, match=r"\.dcm has no FrameOfReferenceUID, by which"):
        save_dicom({"lungs": masks_of(ct)["lungs"]}, tmp_path / "out")


def test_values_that_highdicom_refuses_are_named_or_taken_over(tmp_path, write_dicom):
    ct = load(series(write_dicom, tmp_path / "s", PatientSex="X", PatientBirthDate="unknown"))
    (path,) = save_dicom({"lungs": masks_of(ct)["lungs"]}, tmp_path / "out")
    assert pydicom.dcmread(path)["PatientSex"].value == "X"
    with pytest.raises(ScanError, match="cannot be referred to from DICOM objects"):
        save_dicom({"lungs": ct.with_array(np.full(ct.shape, 9, np.uint8))}, tmp_path / "out")


def test_without_highdicom_it_is_said_what_to_install(ct, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom.seg", None)
    with pytest.raises(MissingPackageError, match=r'pip install "lungmask-jax\[dicom\]"'):
        save_dicom({"lungs": masks_of(ct)["lungs"]}, tmp_path / "out")


# reports


def test_measures_stand_in_the_report_beside_their_segments(reported):
    measures, segmentations, path = reported
    report = highdicom.sr.srread(path)
    groups = report.content.get_volumetric_roi_measurement_groups()
    numbers = {
        (group.tracking_identifier, one.name.meaning, *map(str, sites(one))): one.value
        for group in groups
        for one in group.get_measurements()
    }
    assert numbers["right_lung", "Volume"] == round(measures["right_lung_ml"], 3)
    assert numbers["consolidation", "Volume"] == round(measures["consolidation_ml"], 3)
    assert numbers["infection", "Volume", "Lung", "Right"] == round(
        measures["right_infection_ml"], 3
    )
    share = numbers["infection", "Share of the organ around it", "Lower lobe of lung", "Right"]
    assert share == round(measures["right_lower_lobe_infection_percent"], 3)
    lung = next(group for group in groups if group.tracking_identifier == "right_lung")
    lungs = pydicom.dcmread(segmentations[0])
    assert reference(lung).ReferencedSOPInstanceUID == lungs.SOPInstanceUID
    text = json.dumps(report.to_json_dict())
    for word in (measures["severity"], "signs of pneumonia", IDS["SeriesInstanceUID"]):
        assert word in text
    assert "noise hu" not in text  # not a number


def sites(measurement):
    """Where a number was measured, and on which side."""
    for item in measurement[0].get("ContentSequence", []):
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Finding Site":
            yield item.ConceptCodeSequence[0].CodeMeaning
            sides = item.get("ContentSequence", [])
            yield from (one.ConceptCodeSequence[0].CodeMeaning for one in sides)


def reference(group):
    items = group[0].ContentSequence
    (one,) = (i for i in items if i.ConceptNameCodeSequence[0].CodeMeaning == "Referenced Segment")
    return one.ReferencedSOPSequence[0]


def test_every_measure_is_in_the_report_once(reported):
    measures, _, path = reported
    report = highdicom.sr.srread(path)
    kinds = [item.ValueType for item in everything(report)]
    finite = [one for one in measures.values() if not isinstance(one, str) and np.isfinite(one)]
    assert kinds.count("NUM") == len(finite)


def everything(dataset):
    for item in dataset.get("ContentSequence", []):
        yield item
        yield from everything(item)


VALIDATED = pytest.mark.skipif(
    not shutil.which("dciodvfy"), reason="no dciodvfy: apt install dicom3tools"
)


@VALIDATED
def test_a_validator_finds_no_error(reported):
    _, segmentations, report = reported
    for path in (*segmentations, report):
        assert list(errors_of(path)) == []


@VALIDATED
def test_a_validator_finds_no_error_but_that_it_does_not_know_label_maps(ct, reported, tmp_path):
    unknown = (
        "Error - Information Object Not found",
        "Error - SegmentNumber not monotonically increasing from one by one",  # 0 is background
        "Error - Shall not be present for Referenced SOP Class that is not segmentation",
    )
    for path in save_dicom(masks_of(ct), tmp_path, measures=reported[0]):
        assert [line for line in errors_of(path) if not line.startswith(unknown)] == []


def errors_of(path):
    found = subprocess.run(["dciodvfy", path], capture_output=True, text=True).stderr
    return (line for line in found.splitlines() if line.startswith("Error"))


@pytest.mark.parametrize("binary", [False, True])
def test_the_programs_of_dcmqi_read_the_same_labels_colors_and_measures(ct, tmp_path, binary):
    pytest.importorskip("dcmqi", reason="no dcmqi: its wheels are not for every platform")
    masks = masks_of(ct)
    measures = quantify.measures(masks, ct=ct)
    *paths, report = save_dicom(masks, tmp_path, measures=measures, binary=binary)
    for path, (name, mask) in zip(paths, masks.items(), strict=True):
        read, segments = segmentation_by_dcmqi(path, tmp_path / name)
        assert same_place(mask, np.maximum.reduce([one.array for one in read]), read[0].affine)
        task = tasks.registry[name]
        for label, color in task.colors.items():
            segment = segments[label]
            assert segment["SegmentLabel"] == task.labels[label].replace("_", " ")
            assert segment["SegmentAlgorithmType"] == "AUTOMATIC"
            assert np.abs(np.subtract(segment["recommendedDisplayRGBValue"], color)).max() <= 1
    run_dcmqi("tid1500reader", "--inputDICOM", report, "--outputMetadata", tmp_path / "read.json")
    groups = {
        one["TrackingIdentifier"]: one["measurementItems"]
        for one in json.loads((tmp_path / "read.json").read_text())["Measurements"]
    }
    assert float(groups["infection"][0]["value"]) == round(measures["infection_ml"], 3)
    assert float(groups["left_lung"][0]["value"]) == round(measures["left_lung_ml"], 3)


def segmentation_by_dcmqi(path, target):
    """The volumes of a segmentation, and what is said of each label."""
    target.mkdir()
    words = ("--outputDirectory", target, "--prefix", "s", "--outputType", "nii")
    run_dcmqi("segimage2itkimage", "--inputDICOM", path, *words)
    said = json.loads((target / "s-meta.json").read_text())["segmentAttributes"]
    volumes = [load_mask(one) for one in sorted(target.glob("*.nii.gz"))]
    return volumes, {one["labelID"]: one for group in said for one in group}


def run_dcmqi(name, *words):
    subprocess.run([Path(sys.executable).with_name(name), *words], check=True, capture_output=True)


# a PACS

PAGE = Path(__file__).parents[1] / "docs" / "dicom.md"
ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGINS = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@contextlib.contextmanager
def pacs(folder):
    """The address of an empty Orthanc on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [str(PLUGINS)],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with subprocess.Popen(
        [ORTHANC, str(folder / "orthanc.json")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/dicom-web"
        finally:
            server.terminate()


@pytest.mark.skipif(
    not (ORTHANC and PLUGINS.exists()), reason="no Orthanc: apt install orthanc orthanc-dicomweb"
)
def test_the_lines_of_the_page_go_through_a_pacs_and_back(ct, folder, tmp_path, monkeypatch):
    dicomweb = pytest.importorskip("dicomweb_client.api")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lungmask_jax, "segment", without_network)
    files = sorted(folder.iterdir())
    with pacs(tmp_path) as url:
        client = dicomweb.DICOMwebClient(url)
        client.store_instances([pydicom.dcmread(file) for file in files])
        study, of = IDS["StudyInstanceUID"], IDS["SeriesInstanceUID"]
        lines = PAGE.read_text().split("## From and to an archive")[1].split("```")[1]
        for given, mine in {
            "http://localhost:8042/dicom-web": url,
            '"1.2.840.1", "1.2.840.1.2"': f'"{study}", "{of}"',
        }.items():
            assert given in lines
            lines = lines.replace(given, mine)
        exec(lines.removeprefix("python"), {})
        again = load(tmp_path / "series")
        np.testing.assert_array_equal(again.array, ct.array)
        kinds = [one["00080060"]["Value"][0] for one in client.search_for_series(study)]
        assert sorted(kinds) == ["CT", "SEG", "SEG", "SEG", "SEG", "SR"]
        sent, masks = pydicom.dcmread(tmp_path / "out" / "scan_lungs.dcm"), masks_of(again)
        back = client.retrieve_instance(study, sent.SeriesInstanceUID, sent.SOPInstanceUID)
    stored = io.BytesIO()
    back.save_as(stored, enforce_file_format=True)
    (tmp_path / "back.dcm").write_bytes(stored.getvalue())
    assert same_place(masks["lungs"], *read_back(tmp_path / "back.dcm"))


def without_network(path):
    scan = load(path)
    return inference.Segmentation(scan, masks_of(scan), {"lungs": "mine 0123456789ab"})


def test_an_array_has_no_series(tmp_path):
    mask = Volume.of(np.ones((2, 3, 4), np.uint8), spacing=(5, 1, 1))
    with pytest.raises(ScanError, match="segment a series, or write another format"):
        save_dicom({"lungs": mask}, tmp_path)
