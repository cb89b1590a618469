import base64
import gzip
import json
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest

from lungmask_jax import cohort, io, records, report
from lungmask_jax.errors import MissingPackageError, ScanError, ShapeError
from lungmask_jax.inference import Segmentation
from lungmask_jax.phantoms import phantom
from lungmask_jax.report import Entry, _density, _profile, _tables, _voxels
from lungmask_jax.volume import Volume

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"\' onload="alert(1)',
    "<img src=x onerror=alert(1)>",
    "a" * 5000,
    "מטופל\u202e42",
    "日本\udcff",
    "{{ 7 * 7 }}",
]


@pytest.fixture(scope="module")
def chest():
    return phantom((12, 64, 64), disease=0.2, seed=1)


@pytest.fixture
def result(chest):
    masks = {"lungs": chest.lungs, "infection": chest.infection}
    return Segmentation(chest.ct, masks, {"lungs": "mine 123"}, notes=("noise of 99 HU",))


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def decoded(packed, size):
    content = np.frombuffer(gzip.decompress(packed), np.uint8)
    count = len(content) // 5
    labels = np.repeat(content[4 * count :], content[: 4 * count].view("<u4"))
    assert len(labels) == size
    return labels


@pytest.mark.parametrize("labels", [np.zeros(5, np.uint8), np.array([3], np.uint8)])
def test_runs_of_few_voxels(labels):
    assert decoded(_voxels.runs(labels), len(labels)).tolist() == labels.tolist()


def test_runs_are_the_labels():
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    assert (decoded(_voxels.runs(labels), labels.size) == labels.ravel()).all()


def test_codes_are_fine_where_radiologists_look():
    hu = np.arange(-1024, 1501, dtype=np.float32)[None]
    error = np.abs(np.array(_voxels.code_hu())[_voxels.coded(hu)] - hu)
    assert error[hu < -160].max() <= 4.2
    assert error[(hu > -160) & (hu < 240)].max() <= 1.8


def test_large_slices_are_halved_with_their_masks():
    ct = Volume(np.zeros((1, 600, 700), np.int16))
    slices = _voxels.slices(ct)
    assert (slices.shape, slices.step) == ((1, 300, 350), 2)
    assert _voxels.thinned(ct.array.astype(np.uint8), 2).shape == (1, 300, 350)


def test_quality_falls_until_a_page_is_small_enough(monkeypatch):
    noise = np.random.default_rng(0).normal(-800, 200, (3, 64, 64)).astype(np.int16)
    best = _voxels.slices(Volume(noise))
    monkeypatch.setattr(_voxels, "_BYTES", sum(map(len, best.jpegs)) // 2)
    less = _voxels.slices(Volume(noise))
    assert best.quality == 95
    assert sum(map(len, less.jpegs)) <= sum(map(len, best.jpegs)) // 2 * 1.05


def test_bands_of_aeration_add_up_to_the_whole_lung():
    hu = np.array([[[-3000, -950, -900, -600, -300, 0, 500, 0]]], np.int16)
    lungs = np.array([[[1, 1, 1, 1, 2, 2, 2, 0]]], np.uint8)
    right, left = _density.densities(Volume(hu), {"lungs": Volume(lungs)})
    assert (right.name, left.name) == ("right", "left")
    assert right.shares == (50.0, 50.0, 0.0, 0.0)
    np.testing.assert_allclose(left.shares, (0.0, 0.0, 100 / 3, 200 / 3))
    assert right.bins.sum() == pytest.approx(100)


def test_the_profile_counts_each_part_of_each_slice():
    lungs = Volume(np.array([[[1, 1, 2, 2]], [[0, 0, 0, 2]]], np.uint8))
    infection = lungs.with_array(np.array([[[1, 0, 0, 0]], [[0, 0, 0, 1]]], np.uint8))
    found = _profile.profile({"lungs": lungs, "infection": infection})
    assert (found.whole.tolist(), found.sick.tolist()) == ([4, 1], [1, 1])
    whole, sick = found.parts["left lung"]
    assert (whole.tolist(), sick.tolist()) == ([2, 1], [0, 1])


def test_without_lungs_there_is_no_profile():
    empty = Volume(np.zeros((2, 3, 4), np.uint8))
    assert _profile.profile({"lungs": empty}) is None
    assert _profile.profile({}) is None


def test_lobes_have_a_table_of_their_own():
    row = {"lobes_ml": 9.0, "left_upper_lobe_ml": 9.0, "left_upper_lobe_score": 2.0}
    assert [one.name for one in _tables.measures(row)] == ["Lobes"]
    assert _tables.parts(row) == (["ml", "score (0-5)"], [["Left upper lobe", "9.0", "2"]])


def test_a_page_shows_measures_notes_models_and_the_disclaimer(result):
    page = result.page(name="case 1", source="/somewhere/case 1.nii.gz")
    for text in ("case 1.nii.gz", "noise of 99 HU", "mine 123", "Not a medical device", "CT-1"):
        assert text in page
    assert "/somewhere" not in page


def test_a_page_says_what_the_quality_checks_found(chest):
    for found, words in (("pass", "passed"), ("look", "needs a look"), ("fail", "failed")):
        note = "" if found == "pass" else "cut at the apex"
        row = {"qc": found, "qc_checks": [{"name": "ends", "note": note}]}
        page = report.scan_page(chest.ct, {"lungs": chest.lungs}, row)
        assert words in page
        assert ("<li>cut at the apex</li>" in page) is bool(note)
        assert ("Reasons to doubt" in page) is (found != "pass")


def test_a_page_without_any_mask_or_measure():
    page = report.scan_page(Volume(np.full((1, 8, 8), -800, np.int16)), {}, {})
    assert data_of(page)["layers"] == []


def test_of_a_single_slice_there_is_one_view_and_no_severity(chest):
    one = Volume(chest.ct.array[6:7], chest.ct.affine)
    lungs = one.with_array(chest.lungs.array[6:7])
    row = {"severity": "CT-2", "lungs_ml": 40.0}
    page = report.scan_page(one, {"lungs": lungs}, row)
    assert 'data-plane="axial"' in page
    for text in ('data-plane="coronal"', 'data-plane="sagittal"', "CT-2", "Along the body"):
        assert text not in page
        assert text in report.scan_page(chest.ct, {"lungs": chest.lungs}, row)


def test_numbers_that_are_none_are_left_out(chest):
    row = {"infection_ml": np.nan, "signs_of_pneumonia_by_slice": [np.nan, 0.5, None]}
    page = report.scan_page(chest.ct, {"lungs": chest.lungs}, row)
    assert data_of(page)["signs"] == [None, 0.5, None]


@pytest.mark.parametrize("hu", [np.nan, -np.inf])
def test_voxels_without_a_number_are_padding(chest, hu):
    padded, missing = (chest.ct.array.astype(np.float32) for _ in range(2))
    padded[2, 5:40], missing[2, 5:40] = -3024, hu
    pages = [
        report.scan_page(chest.ct.with_array(array), {"lungs": chest.lungs}, {})
        for array in (padded, missing)
    ]
    assert pages[0] == pages[1]


def test_uncertainty_is_a_layer(chest):
    doubt = chest.lungs.with_array((chest.lungs.array > 0).astype(np.uint8) * 47)
    page = report.scan_page(chest.ct, {"lungs": chest.lungs}, {}, uncertainty=doubt)
    layer = data_of(page)["layers"][-1]
    labels = decoded(base64.b64decode(layer["runs"]), doubt.array.size)
    assert (layer["style"], set(labels)) == ("heat", {0, 50})
    assert "from 0 % (certain) to 100 % (undecided" in page
    assert "(undecided" not in report.scan_page(chest.ct, {"lungs": chest.lungs}, {})


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_wherever_they_stand(result, name):
    for page in (
        result.page(name=name, source=name),
        report.folder_page([Entry({"scan": name}, page=name, problem=name)], title=name),
    ):
        assert page.encode("utf-8")
        assert page.count("<script") == page.count("</script>") == (3 if "slices" in page else 2)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert 'onload="' not in page
        assert "\u202e" not in page


def test_only_the_scripts_of_the_package_run_in_a_page(result):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', result.page())[1]
    assert "default-src &#39;none&#39;" in policy
    assert "unsafe" not in policy
    assert "://" not in result.page().replace("http://www.w3.org/2000/svg", "")


def test_a_mask_of_another_shape_is_refused(chest):
    with pytest.raises(ShapeError, match="bring them to the grid of the CT"):
        report.scan_page(chest.ct, {"lungs": Volume(np.zeros((1, 2, 2), np.uint8))}, {})
    with pytest.raises(ShapeError, match="a CT with voxels"):
        report.scan_page(Volume(np.zeros((0, 2, 2), np.int16)), {}, {})


def test_without_jinja_the_error_names_the_extra(monkeypatch, result):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"lungmask-jax\[report\]"):
        result.page()
    assert "<table>" in result._repr_html_()


def test_a_thumbnail_without_lungs_is_black():
    empty = Volume(np.zeros((2, 3, 4), np.uint8))
    assert report.thumbnail({}) == report.thumbnail({"lungs": empty})


def test_a_thumbnail_of_a_single_slice_shows_the_slice():
    lungs = np.zeros((1, 40, 40), np.uint8)
    lungs[0, 10:30, 5:35] = 1
    pixels = np.frombuffer(report.thumbnail({"lungs": Volume(lungs)}), np.uint8)
    bright = cv2.imdecode(pixels, cv2.IMREAD_GRAYSCALE) > 60
    assert bright.any(axis=0).sum() == pytest.approx(60, abs=3)
    assert bright.any(axis=1).sum() == pytest.approx(40, abs=3)


def test_a_folder_page_has_each_scan_with_its_problem():
    entries = [
        Entry({"scan": "a", "lungs_ml": 4000.0, "severity": "CT-1", "qc": "look"}, page="a.html"),
        Entry({"scan": "b"}, problem="damaged"),
        Entry({"scan": "c", "lungs_ml": float("nan")}),
    ]
    rows = data_of(report.folder_page(entries))["rows"]
    assert [row[0] for row in rows] == ["a", "b", "c"]
    assert (rows[1][3], rows[0][5:], rows[2][5]) == ("damaged", [4000.0, "CT-1", "look"], None)


def test_a_column_without_any_number_is_left_out():
    rows = ({"scan": "a", "lungs_ml": one, "infection_ml": 2.0} for one in (np.inf, np.nan))
    columns = data_of(report.folder_page(map(Entry, rows)))["columns"]
    assert [column["key"] for column in columns] == ["infection_ml"]


def test_values_that_are_all_the_same_are_not_drawn():
    rows = ({"scan": "a", "lungs_ml": 4000.0 + add, "infection_percent": 0.0} for add in (0, 90))
    page = report.folder_page(map(Entry, rows))
    assert "4\u202f090" in page
    assert "-0.5" not in page


def test_few_marked_voxels_and_likely_signs_are_said_to_be_at_odds(chest):
    row = {"severity": "CT-0", "signs_of_pneumonia": 0.9}
    masks = {"lungs": chest.lungs}
    assert "at odds with the severity" in report.scan_page(chest.ct, masks, row)
    for other in ({"severity": "CT-2"}, {"signs_of_pneumonia": float("nan")}):
        assert "at odds" not in report.scan_page(chest.ct, masks, {**row, **other})


def test_an_empty_folder_has_a_page():
    assert data_of(report.folder_page([])) == {
        "noun": "scan",
        "head": "Scan",
        "columns": [],
        "rows": [],
    }


def saved(folder, result, name="a", **options):
    io.save(result.ct, folder / f"{name}_source.nii.gz")
    out = folder / "out"
    result.save(out, name=name, source=str(folder / f"{name}_source.nii.gz"), **options)
    return cohort.outputs(out)


def test_pages_are_made_from_results_that_are_there(tmp_path, result):
    results = saved(tmp_path, result)
    (entry,) = cohort.write_pages(results)
    assert (entry.page, entry.problem) == ("a.html", "")
    assert entry.picture[8:12] == b"WEBP"
    assert "a.html" in records.read_json(results.folder / "a.json")["files_written"]
    assert (results.folder / "a.html").read_text("utf-8") == result.page(
        name="a", source=str(tmp_path / "a_source.nii.gz")
    )


def test_pages_that_are_there_stay(tmp_path, result):
    results = saved(tmp_path, result, page=True)
    (tmp_path / "a_source.nii.gz").unlink()
    (entry,) = cohort.write_pages(results)
    assert (entry.page, entry.problem) == ("a.html", "")


def test_a_scan_that_is_gone_is_in_the_table_with_the_reason(tmp_path, result):
    results = saved(tmp_path, result)
    (tmp_path / "a_source.nii.gz").unlink()
    list(cohort.segment_many([tmp_path / "lost.nii.gz"], results.folder, weights=["lungs"]))
    entries = [*cohort.write_pages(results)]
    problems = [entry.problem for entry in entries]
    assert [problem[:24] for problem in problems] == [
        "expected a scan, found n",
        "no page: its scan is no ",
    ]
    rows = data_of((results.folder / "index.html").read_text("utf-8"))["rows"]
    assert [row[3] for row in rows] == problems


def test_masks_that_are_gone_are_named(tmp_path, result):
    results = saved(tmp_path, result)
    (results.folder / "a_infection.nii.gz").unlink()
    (entry,) = cohort.write_pages(results)
    assert entry.problem == (
        "no page: its masks are gone (a_infection.nii.gz): put them back, or segment it again"
    )


def test_masks_that_were_changed_since_are_not_shown_with_old_numbers(tmp_path, result):
    results = saved(tmp_path, result)
    io.save(result.lungs.with_array(result.lungs.array * 0), results.folder / "a_lungs.nii.gz")
    (entry,) = cohort.write_pages(results)
    assert entry.problem.startswith("no page: a_lungs.nii.gz changed since it was measured")


def test_a_folder_without_results_gets_no_table(tmp_path):
    assert not list(cohort.write_pages(cohort.outputs(tmp_path)))
    assert not (tmp_path / "index.html").exists()


def test_a_scan_of_the_name_of_the_table_has_no_page(tmp_path, result):
    results = saved(tmp_path, result, name="index")
    (entry,) = cohort.write_pages(results)
    assert entry.problem.startswith("no page: index.html is the table")


@pytest.mark.parametrize("name", ["index.html", "a.html"])
def test_pages_of_others_are_not_replaced(tmp_path, result, name):
    results = saved(tmp_path, result)
    (results.folder / name).write_text("mine")
    with pytest.raises(ScanError, match="did not make it"):
        list(cohort.write_pages(results))
    assert (results.folder / name).read_text() == "mine"


def test_a_notebook_needs_no_extra_and_shows_names_as_text(result):
    row = {"scan": "<b>", "lungs_ml": 1.0, "notes": "<script>"}
    html = report.summary(np.zeros((2, 2, 3), np.uint8), row)
    assert "<script" not in html
    assert "data:image/png" in result._repr_html_()


def test_scripts_parse():
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node to parse JavaScript with")
    folder = report._pages._FOLDER
    code = "process.argv.slice(1).forEach((path) => new vm.Script(fs.readFileSync(path, 'utf8')))"
    subprocess.run([node, "-e", code, *map(str, folder.glob("*.js"))], check=True)
