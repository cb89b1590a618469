import json

import numpy as np
import pytest
from scan_files import body
from segment_runs import files, segment, whole, without_networks

from lungmask_jax import cli, io, records
from lungmask_jax.phantoms import phantom


@pytest.fixture
def quick(monkeypatch):
    """No network: what is tested is what becomes of its answer."""
    without_networks(monkeypatch)


@pytest.fixture(scope="module")
def small_ct():
    return phantom((4, 48, 48)).ct


@pytest.fixture
def scan(small_ct, tmp_path):
    io.save(small_ct, tmp_path / "one.nii.gz")
    return tmp_path / "one.nii.gz"


@pytest.mark.parametrize("suffix", ["nrrd", "mha"])
def test_masks_have_the_format_of_their_scan_or_the_one_asked_for(
    small_ct, tmp_path, quick, suffix
):
    path = tmp_path / f"one.{suffix}"
    io.save(small_ct, path)
    assert segment(path, "-o", tmp_path / "out", "--weights", "lungs", "--uncertainty") == 0
    assert f"one_lungs.{suffix}" in files(tmp_path / "out")
    assert segment(path, "-o", tmp_path / "out", "--weights", "lungs", "--format", "nii.gz") == 0
    assert files(tmp_path / "out") == {
        "one.json",
        "one_lungs.nii.gz",
        "one_overlay.png",
        "measures.csv",
    }
    assert segment(tmp_path, "-o", tmp_path / "out", "--format", "seg.nrrd", "--uncertainty") == 0
    assert {"one_infection.seg.nrrd", "one_uncertainty.nrrd"} <= files(tmp_path / "out")
    ct, mask = io.load(path), io.load_mask(tmp_path / "out" / "one_lungs.seg.nrrd")
    np.testing.assert_allclose(mask.affine, ct.affine, rtol=0, atol=1e-12)


def test_masks_of_other_scans_cannot_be_dicom(scan, tmp_path, quick, capsys):
    assert segment(scan, "-o", tmp_path / "out", "--format", "dicom-seg") == 1
    assert "one: expected a DICOM series for masks in the format" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        segment(scan, "-o", tmp_path / "out", "--format", "dicom")


def test_masks_of_a_series_become_dicom_of_its_study(tmp_path, quick, write_dicom):
    pydicom = pytest.importorskip("pydicom")
    pytest.importorskip("highdicom")
    for number, plane in enumerate(body()):
        write_dicom(
            tmp_path / "ct" / "nested" / f"{number}", 2.5 * number, plane + 1024,
            StudyInstanceUID="1.2.3", FrameOfReferenceUID="1.2.4",
        )  # fmt: skip
    assert segment(tmp_path / "ct", "-o", tmp_path / "out", "--format", "dicom-seg") == 0
    kinds = ("infection", "lesions", "lungs", "measures")
    made = [pydicom.dcmread(tmp_path / "out" / f"ct_{kind}.dcm") for kind in kinds]
    assert [one.Modality for one in made] == ["SEG", "SEG", "SEG", "SR"]
    assert {one.StudyInstanceUID for one in made} == {"1.2.3"}
    assert segment(tmp_path / "ct", "-o", tmp_path / "out", "--format", "dicom-seg-binary") == 0
    assert pydicom.dcmread(tmp_path / "out" / "ct_lungs.dcm").SegmentationType == "BINARY"
    assert segment(tmp_path / "ct", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == whole("ct")


def test_patient_and_date_are_stored_unless_they_shall_not(tmp_path, quick, write_dicom, capsys):
    for number, plane in enumerate(body()):
        path = tmp_path / "ct" / f"{number}.dcm"
        write_dicom(path, 2.5 * number, plane + 1024, PatientID="MRN 77", StudyDate="20200301")
    (tmp_path / "list.csv").write_text("path,scan,patient,study_date\nct,one,MRN 88,2020-03-02\n")
    words = (tmp_path / "list.csv", "-o", tmp_path / "out", "--report")
    assert segment(*words) == 0
    assert named_in(tmp_path / "out") >= {"one.json", "one.html", "measures.csv", "index.html"}
    assert segment(*words, "--no-patient") == 0
    assert named_in(tmp_path / "out") == set()
    assert records.read_json(tmp_path / "out" / "one.json")["lungs_ml"] > 0
    assert segment(tmp_path / "ct", "-o", tmp_path / "out", "--no-patient") == 0
    assert named_in(tmp_path / "out") == set()
    assert segment(*words, "--no-patient", "--format", "dicom-seg") == 1
    assert "name the patient and the date, as their series does" in capsys.readouterr().err


def named_in(folder):
    """The files that say whose scan it is, or when it was made."""
    texts = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    said = (b"MRN", b"20200301", b"2020-03-0")
    return {name for name, text in texts.items() if any(one in text for one in said)}


@pytest.mark.usefixtures("quick")
def test_pages_are_written_with_the_results_and_again_without_segmenting(tmp_path, scan):
    (tmp_path / "bad.nii.gz").write_text("no scan")
    out = tmp_path / "out"
    assert segment(scan, tmp_path / "bad.nii.gz", "-o", out, "--report") == 1
    record = json.loads((out / "one.json").read_text())
    assert "one.html" in record["files_written"]
    table = (out / "index.html").read_text("utf-8")
    assert '"one.html"' in table
    assert "bad" in table
    assert segment(scan, "-o", out, "--again") == 0
    assert not (out / "one.html").exists()
    assert cli.main(["report", str(out)]) == 1  # as the bad scan has no results
    assert (out / "one.html").is_file()


def test_a_report_of_no_folder_is_an_error(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "nowhere")]) == 1
    assert "segment first" in capsys.readouterr().err


def test_a_report_of_a_folder_without_results_is_an_error_and_leaves_it(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["report", str(tmp_path)]) == 1
    assert "expected results of scans, found none" in capsys.readouterr().err
    assert not (tmp_path / "index.html").exists()
