"""Archives of DICOM series, and the lists that ``inspect`` writes."""

import csv
import os
from pathlib import Path

import pytest
from segment_runs import without_networks

from lungmask_jax import cli, cohort, io
from lungmask_jax.cohort import Scan
from lungmask_jax.errors import ScanError
from lungmask_jax.phantoms import phantom


@pytest.fixture
def archive(tmp_path, write_dicom):
    """Two studies of one patient in one folder, and a folder without CT slices."""
    folder = tmp_path / "archive"

    def series(uid, study, slices, kind="ORIGINAL", **tags):
        for number in range(slices):
            write_dicom(
                folder / "mixed" / f"{uid}_{number}.dcm",
                2.5 * number,
                SeriesInstanceUID=f"1.2.{uid}",
                SeriesNumber=uid,
                StudyInstanceUID=f"1.{study}",
                PatientID="ann",
                ImageType=[kind, "PRIMARY"],
                **tags,
            )

    series(1, 1, 2, SeriesDescription="bolus")
    series(2, 1, 9, SeriesDescription="Soft")
    series(3, 1, 10, SeriesDescription="LUNG thin")
    series(4, 1, 12, "DERIVED", SeriesDescription="MIP")
    series(5, 1, 14, ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    series(6, 2, 9, SeriesDescription="Lung")
    write_dicom(folder / "mr" / "1.dcm", Modality="MR")
    (folder / "mr" / "notes.txt").write_text("no scan")
    (folder / "bad").mkdir()
    (folder / "bad" / "1.dcm").write_bytes((folder / "mixed" / "1_0.dcm").read_bytes()[:300])
    return folder


def test_one_series_of_each_study_is_used_by_the_rules(archive):
    found = cohort.candidates([archive], recursive=True)
    assert {one.scan.series: one.reason for one in found.values() if one.scan.series} == {
        "1.2.1": "fewer than 8 slices",
        "1.2.2": "fewer slices: series 3 has 10",
        "1.2.3": "the best one",
        "1.2.4": "derived from other images",
        "1.2.5": "not axial",
        "1.2.6": "the only one",
    }
    used = cohort.find_scans([archive], recursive=True)
    assert {name: scan.series for name, scan in used.items()} == {
        "bad": "",
        "series3": "1.2.3",
        "series6": "1.2.6",
    }
    assert found["mr"].reason.startswith("no CT slices: 1.dcm (of modality MR")
    assert cohort.load(used["series3"], None).shape[0] == 10


@pytest.mark.parametrize(
    ("rule", "used"),
    [("all", "123456"), ("*lung*", "36"), ("1.2.4", "4"), ("soft", "2")],
)
def test_series_are_chosen_by_rule(archive, rule, used):
    found = cohort.find_scans([archive / "mixed"], series=rule)
    assert {scan.series for scan in found.values()} == {f"1.2.{number}" for number in used}


def test_a_folder_of_one_series_has_its_name(archive):
    for path in (archive / "mixed").glob("[1-5]_*"):
        path.unlink()
    (archive / "mixed" / "other.dcm").write_bytes(b"")
    assert cohort.find_scans([archive / "mixed"], series="best") == {
        "mixed": Scan(archive / "mixed")
    }


def test_a_series_that_is_not_there_is_an_error(archive):
    with pytest.raises(ScanError, match=r"expected the series 7, found no slice of it in"):
        cohort.load(Scan(archive / "mixed", "7"), None)
    with pytest.raises(ScanError, match="6 were left out, see lungmask-jax inspect"):
        cohort.find_scans([archive / "mixed"], series="7")
    with pytest.raises(ScanError, match="cannot be read"):
        io.list_series(archive / "nowhere")


def test_inspect_says_that_a_path_leads_nowhere(tmp_path, capsys):
    (tmp_path / "list.csv").write_text("path\nnowhere.nii.gz\n")
    for path in (tmp_path / "nowhere.nii.gz", tmp_path / "list.csv"):
        assert cli.main(["inspect", str(path)]) == 0
        said = capsys.readouterr().out
        assert "there is no such file" in said
        assert "0 of 1 scan would be segmented by segment --recursive" in said


def test_inspect_writes_a_list_that_segment_takes(archive, tmp_path, capsys):
    assert cli.main(["inspect", str(archive), "-o", str(tmp_path / "list.csv")]) == 0
    assert "3 of 8 scans would be segmented" in capsys.readouterr().out
    listed = cohort.find_scans([tmp_path / "list.csv"])
    found = cohort.find_scans([archive], recursive=True)
    assert {name: (scan.path, scan.series) for name, scan in listed.items()} == {
        name: (scan.path, scan.series) for name, scan in found.items()
    }
    assert {scan.patient for scan in listed.values() if scan.series} == {"ann"}
    assert cli.main(["inspect", str(archive), "-o", str(tmp_path / "list.csv")]) == 1
    assert cli.main(["inspect", str(archive), "-o", str(tmp_path / "list.txt")]) == 1
    assert "expected a .csv file" in capsys.readouterr().err


def test_another_series_of_a_folder_is_not_done(archive, tmp_path, monkeypatch):
    without_networks(monkeypatch)
    for series in ("1.2.2", "1.2.3"):
        scans = {"mine": Scan(archive / "mixed", series)}
        outcomes = [*cohort.segment_many(scans, tmp_path / "out", overwrite=True)]
        assert [one.is_new for one in outcomes] == [True]
    scans = {"mine": Scan(archive / "mixed", "1.2.2")}
    (one,) = cohort.segment_many(scans, tmp_path / "out")
    assert "has the results of another scan" in one.reason


def test_a_list_has_no_formulas_and_names_the_same_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = {name: f"{name}.nii.gz" for name in ("=cmd|'C calc'!A0", "[red]b", "c")}
    for name in made.values():
        io.save(phantom((3, 32, 32)).ct, tmp_path / name)
    (tmp_path / "1").write_bytes(bytes(128) + b"DICM")
    Path(os.fsdecode(b"\xff.nii.gz")).touch()
    assert cli.main(["inspect", "."]) == 0
    said = capsys.readouterr().out
    assert "\u2502 =cmd|" in said
    assert "\u2502 [red]b" in said
    assert "skipped 1: give scans of another kind separately" in said
    assert cli.main(["inspect", ".", "-o", "list.csv"]) == 0
    said = capsys.readouterr().out
    assert "3 of 4 scans would be segmented; all are in list.csv" in said
    assert "=cmd|" not in said
    with (tmp_path / "list.csv").open() as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
    cells = [cell for row in rows.values() for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert (rows["%FF"]["use"], rows["%FF"]["reason"]) == (
        "no",
        "its path is not UTF-8: rename it",
    )
    assert cohort.find_scans([tmp_path / "list.csv"]) == {
        name: Scan(tmp_path / path) for name, path in made.items()
    }
