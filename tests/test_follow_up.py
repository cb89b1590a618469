import json
import re
from datetime import date

import cv2
import numpy as np
import pytest
from test_report import HOSTILE, data_of

from lungmask_jax import cohort, io, records, report
from lungmask_jax.errors import ScanError
from lungmask_jax.inference import Segmentation
from lungmask_jax.phantoms import phantom
from lungmask_jax.report import Visit, _over_time
from lungmask_jax.report._follow_up import change
from lungmask_jax.volume import Volume


@pytest.fixture(scope="module")
def chest():
    return phantom((6, 32, 32), disease=0.2, seed=1)


def visit(scan, day, **values):
    return Visit({"scan": scan, "study_date": day, **values})


def cells(page):
    """The lines of the table, without tags."""
    lines = re.findall(r"<tr>(.*?)</tr>", page.partition("<tbody>")[2], re.S)
    texts = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.S) for line in lines]
    return {line[0]: [re.sub("<[^>]+>", " ", one).strip() for one in line[1:]] for line in texts}


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20200229", date(2020, 2, 29)),
        (" 2020-02-29T10:00", date(2020, 2, 29)),
        ("2020.02.29", date(2020, 2, 29)),
        ("20210229", None),
        ("00000000", None),
        ("2020022", None),
        ("2020-0229", None),
        ("1/2/2020", None),
        ("", None),
        (None, None),
        ("<b>", None),
    ],
)
def test_a_date_is_a_day_that_there_was(text, day):
    assert _over_time.as_date(text) == day


def test_changes_are_in_ml_and_percent_or_in_points():
    one = visit("a", "", infection_ml=40.0, infection_percent=1.0, lungs_ml=4000.0, gas_ml=0.0)
    two = visit("b", "", infection_ml=30.0, infection_percent=1.5, lungs_ml=4000.0, gas_ml=5.0)
    assert change("infection_ml", one, two) == "\u221210.0 (\u221225 %)"
    assert change("infection_percent", one, two) == "+0.5 points"
    assert change("lungs_ml", one, two) == "0 (0 %)"
    assert change("gas_ml", one, two) == "+5.0"
    assert change("gas_ml", one, visit("c", "", gas_ml=None)) == ""


def test_dates_are_in_order_and_compared_with_the_date_before():
    days = {"d": "2020-03-01", "x": "", "b2": "20200201", "b1": "20200201", "a": "20200101"}
    volumes = {"a": 10.0, "b1": 20.0, "b2": 30.0, "d": 40.0, "x": 99.0}
    scans = [visit(name, day, infection_ml=volumes[name]) for name, day in days.items()]
    page = report.follow_up_page(scans, patient="p")
    assert re.findall(r"<bdi>(\w+)</bdi></th>", page) == ["a", "b1", "b2", "d", "x"]
    assert cells(page)["Infection, ml"] == [
        "10.0", "20.0 +10.0 (+100 %)", "30.0 +20.0 (+200 %)", "40.0 +20.0 (+100 %)", "99.0",
        "+30.0 (+300 %)",
    ]  # fmt: skip
    assert "1 without a date" in page
    (dots,) = [page.count(f"<title>2020-0{month}") for month in (1,)]
    assert dots == 1
    (points,) = re.findall(r'polyline class="line0" points="([^"]*)"', page)
    assert len(points.split()) == 3


@pytest.mark.parametrize("day", ["20200101", ""])
def test_one_date_has_no_changes(day):
    page = report.follow_up_page([visit("a", day, lungs_ml=4000.0)], patient="p")
    assert cells(page)["Lungs, ml"] == ["4\u202f000"]
    assert "first to last" not in page
    assert ("<polyline" in page) is bool(day)


def test_a_page_needs_a_scan():
    with pytest.raises(ScanError, match="scans of the patient p, found none"):
        report.follow_up_page([], patient="p")


def test_values_that_are_missing_leave_gaps():
    scans = [visit("a", "20200101", lungs_ml=None), visit("b", "20200102", lungs_ml=4000.0)]
    page = report.follow_up_page(scans, patient="p")
    assert cells(page)["Lungs, ml"] == ["", "4\u202f000", ""]
    assert page.count("<circle") == 1


def test_other_models_and_notes_are_reasons_to_doubt():
    scans = [
        visit("a", "20200101", lungs_model="one"),
        visit("b", "20200102", lungs_model="two", notes="much noise"),
    ]
    page = report.follow_up_page(scans, patient="p")
    assert "not all segmented by the same models" in page
    assert "<li>b: much noise</li>" in page
    assert "Reasons to doubt" not in report.follow_up_page(scans[:1], patient="p")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text(name):
    row = {"scan": name, "study_date": name, "severity": name, "notes": name}
    scans = [Visit(row, page=name, problem=name), visit("b", "20200101"), visit(name, "20200102")]
    page = report.follow_up_page(scans, patient=name)
    assert page.encode("utf-8")
    assert "<script" not in page
    assert "<img src=x" not in page
    assert 'onload="' not in page
    assert "\u202e" not in page


def decoded(picture):
    return cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)


def test_pictures_have_one_scale_whatever_the_voxels():
    def block(spacing, shape):
        ct = Volume.of(np.full(shape, -1350, np.int16), spacing=spacing)
        inside = tuple(slice(side // 4, side - side // 4) for side in shape)
        ct.array[inside] = 150
        lungs = ct.with_array((ct.array == 150).astype(np.uint8))
        return [
            np.count_nonzero(decoded(one).max(axis=2) > 128)
            for one in report.level_pictures(ct, {"lungs": lungs})
        ]

    coarse, fine = block((10.0, 2.0, 2.0), (20, 100, 100)), block((5.0, 1.0, 4.0), (40, 200, 50))
    np.testing.assert_allclose(coarse, 100 * 100, rtol=0.1)
    np.testing.assert_allclose(fine, coarse, rtol=0.1)


def test_a_single_slice_has_one_picture():
    ct = Volume(np.full((1, 16, 16), -800, np.int16))
    empty = ct.with_array(np.zeros(ct.shape, np.uint8))
    pictures = report.level_pictures(ct, {"lungs": empty})
    assert [bool(one) for one in pictures] == [False, False, True, False]
    assert decoded(pictures[2]).shape == (300, 380, 3)


@pytest.fixture
def results(tmp_path, chest):
    """Two dates of one patient, one of another, and two of a name that means nobody."""
    out = tmp_path / "out"
    result = Segmentation(chest.ct, {"lungs": chest.lungs}, {})
    for name, day in (("a", "20200101"), ("b", "20200201")):
        source = tmp_path / f"{name}_ct.nii.gz"
        io.save(chest.ct, source)
        result.save(out, name=name, source=str(source), patient="p/1", study_date=day)
    for name, patient in (("c", "q"), ("d", "Anonymous"), ("e", "Anonymous")):
        row = {"scan": name, "patient": patient, "study_date": f"2020020{ord(name) % 9 + 1}"}
        records.write_json(out / f"{name}.json", row)
    return cohort.outputs(out)


def pages_of(results):
    return sorted(path.name for path in results.folder.glob("patient_*.html"))


def test_a_patient_with_two_dates_has_a_page_that_the_table_leads_to(results):
    entries = [*cohort.write_pages(results)]
    (name,) = pages_of(results)
    assert re.fullmatch(r"patient_p_1_[0-9a-f]{8}\.html", name)
    page = (results.folder / name).read_text("utf-8")
    assert page.count("<img") == 8
    assert 'href="./a.html"' in page
    table = data_of((results.folder / "index.html").read_text("utf-8"))
    assert table["patients"] == {"p/1": name}
    assert [one["key"] for one in table["columns"]][:2] == ["patient", "study_date"]
    assert table["rows"][1][5:7] == ["p/1", "2020-02-01"]
    assert [entry.problem for entry in entries[:2]] == ["", ""]


def test_the_page_of_a_patient_is_made_again_only_for_other_results(results, tmp_path):
    list(cohort.write_pages(results))
    (page,) = (results.folder / name for name in pages_of(results))
    before = page.stat().st_mtime_ns
    list(cohort.write_pages(results))
    assert page.stat().st_mtime_ns == before
    (tmp_path / "a_ct.nii.gz").unlink()
    list(cohort.write_pages(results))
    text = page.read_text("utf-8")
    assert text.count("<img") == 4
    assert "its scan is no longer at" in text


def test_the_page_of_a_patient_of_others_is_not_replaced(results):
    list(cohort.write_pages(results))
    (page,) = (results.folder / name for name in pages_of(results))
    page.write_text("mine")
    with pytest.raises(ScanError, match="did not make it"):
        list(cohort.write_pages(results))


def test_a_list_names_patients_and_dates(tmp_path):
    table = tmp_path / "list.csv"
    table.write_text("path,patient,study_date\na.nii.gz, p ,2020-01-01\nb.nii.gz,,\n")
    scans = cohort.find_scans([table]).values()
    assert [(one.patient, one.study_date) for one in scans] == [("p", "2020-01-01"), ("", "")]


def test_patient_and_date_of_a_dicom_series_are_stored(tmp_path, write_dicom):
    write_dicom(tmp_path / "one.dcm", PatientID="x7", StudyDate="20200131")
    ct = io.load(tmp_path / "one.dcm")
    lungs = ct.with_array(np.zeros(ct.shape, np.uint8))
    (*_, record) = Segmentation(ct, {"lungs": lungs}, {}).save(tmp_path / "out", format="nii.gz")
    values = json.loads(record.read_text())
    assert (values["patient"], values["study_date"]) == ("x7", "20200131")
    assert records.read_json(record)["patient"] == "x7"
