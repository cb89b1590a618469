import csv
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from lungmask_jax import cohort, data, records
from lungmask_jax.errors import ScanError
from lungmask_jax.inference import Segmentation
from lungmask_jax.volume import Volume


def segmentation(lungs, infection):
    lungs = Volume(np.array([[lungs]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
    infection = lungs.with_array(np.array([[infection]], np.uint8))
    return Segmentation(lungs, {"lungs": lungs, "infection": infection}, {"lungs": "mine 123"})


def test_a_row_holds_measures_models_and_the_note():
    row = segmentation([1, 1, 2, 0], [1, 0, 0, 0]).row("case")
    assert row["scan"] == "case"
    assert row["right_infection_percent"] == 50.0
    assert row["infection_percent"] == 33.333
    assert row["lungs_model"] == "mine 123"
    assert "medical device" in row["note"]


def test_a_row_holds_the_noise_and_the_notes():
    made = replace(segmentation([1, 0, 0, 0], [0, 0, 0, 0]), noise_hu=81.2345, notes=("a", "b"))
    row = made.row("case")
    assert row["noise_hu"] == 81.234
    assert row["notes"] == "a; b"


def test_ml_of_voxels_without_a_size_are_null():
    lungs = Volume(np.array([[[1, 2]]], np.uint8))
    row = Segmentation(lungs, {"lungs": lungs, "infection": lungs}, {}).row("image")
    assert row["lungs_ml"] is None
    assert row["infection_ml"] is None
    assert row["infection_percent"] == 100


def test_what_is_undefined_is_null_in_json(tmp_path):
    row = segmentation([1, 0, 0, 0], [0, 0, 0, 0]).row("case")
    records.write_json(tmp_path / "case.json", row)
    values = json.loads((tmp_path / "case.json").read_text())
    assert values["left_infection_percent"] is None


def test_rows_with_other_columns_share_a_table(tmp_path):
    path = tmp_path / "table.csv"
    records.update_csv(path, [{"scan": "a", "x": 1.0}])
    records.update_csv(path, [{"scan": "b", "y": 2.0}, {"scan": "a", "x": 3.0}])
    with path.open() as file:
        assert list(csv.DictReader(file)) == [
            {"scan": "a", "x": "3.0", "y": ""},
            {"scan": "b", "x": "", "y": "2.0"},
        ]


def test_nothing_is_left_behind_but_the_table(tmp_path):
    records.update_csv(tmp_path / "table.csv", [{"scan": "a, with comma", "x": None}])
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_that_a_spreadsheet_saved_keeps_its_rows(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("scan,x\na,1\n", encoding="utf-8-sig")
    records.update_csv(path, [{"scan": "b", "x": 2.0}])
    assert path.read_text().splitlines() == ["scan,x", "a,1", "b,2.0"]


@pytest.mark.parametrize("content", [b"scan;x\na;1\n", b"scan,x\n\xe4,1\n", b""])
def test_another_table_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"expected a table .* (move|save) it"):
        records.update_csv(path, [{"scan": "b", "x": 2.0}])
    assert path.read_bytes() == content


def test_a_row_with_more_cells_than_columns_is_refused_not_cut(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("scan,x\na,1,2\n")
    with pytest.raises(ScanError, match="move it, or save it with commas"):
        records.update_csv(path, [{"scan": "b", "x": 2.0}])


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path):
    path = tmp_path / "table.csv"
    for _ in range(2):
        records.update_csv(path, [{"scan": "=1+1", "x": -2.0}, {"scan": "a\udcff\x1b", "x": 1.0}])
    assert path.read_text().splitlines() == ["scan,x", "'=1+1,-2.0", "a%FF%1B,1.0"]


def test_several_processes_lose_no_row(tmp_path):
    code = (
        "import sys, pathlib; from lungmask_jax import records\n"
        "for row in range(50):\n"
        "    name = f'{sys.argv[1]}-{row}'\n"
        "    records.update_csv(pathlib.Path(sys.argv[2]), [{'scan': name, 'x': 1.0}])\n"
    )
    path = tmp_path / "table.csv"
    words = [[sys.executable, "-c", code, str(number), str(path)] for number in range(3)]
    processes = [subprocess.Popen(one) for one in words]
    assert [process.wait(timeout=120) for process in processes] == [0] * 3
    assert len(records.read_csv(path)) == 150
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]


def test_what_was_written_is_kept_with_its_checksum(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    records.write_json(tmp_path / "a.json", {"scan": "a"}, files=[tmp_path / "a.png"])
    found = records.read_json(tmp_path / "a.json")
    assert found == {"scan": "a", "files_written": {"a.png": "e3b0c44298fc1c14"}}


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"scan": "a"}', '{"files_written": 3}', "[" * 100_000, "\udcff"]
)
def test_another_json_file_says_nothing(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert records.read_json(path) == records.read_json(tmp_path) == {}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("scan,name\na,ü\n".encode("latin-1"), "byte 0xfc at 12"),
        ("scan\na\n".encode("utf-16"), "byte 0xff at 0"),
        (b"PK\3\4" + bytes(60), "a spreadsheet"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "a spreadsheet"),
    ],
    ids=["latin-1", "utf-16", "xlsx", "xls"],
)
@pytest.mark.parametrize(
    "read", [records.read_csv, data.read_metadata, lambda path: cohort.find_scans([path])]
)
def test_a_table_in_another_form_is_named_as_such(tmp_path, read, content, found):
    (tmp_path / "list.csv").write_bytes(content)
    with pytest.raises(ScanError, match=rf"found {found}.*: save it as CSV in UTF-8"):
        read(tmp_path / "list.csv")
