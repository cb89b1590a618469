import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from lungmask_jax import report
from lungmask_jax.errors import ScanError
from lungmask_jax.inference import Segmentation
from lungmask_jax.volume import Volume


def segmentation(lungs, infection):
    lungs = Volume(np.array([[lungs]], np.uint8), np.diag([10.0, 10.0, 10.0, 1.0]))
    infection = lungs.with_array(np.array([[infection]], np.uint8))
    return Segmentation(lungs, lungs, infection, {"lungs": "mine 123"})


def test_a_row_holds_measures_models_and_the_note():
    row = report.row("case", segmentation([1, 1, 2, 0], [1, 0, 0, 0]))
    assert row["scan"] == "case"
    assert row["right_infection_percent"] == 50.0
    assert row["infection_percent"] == 33.333
    assert row["lungs_model"] == "mine 123"
    assert "medical device" in row["note"]


def test_a_row_holds_the_noise_and_the_notes():
    made = replace(segmentation([1, 0, 0, 0], [0, 0, 0, 0]), noise_hu=81.2345, notes=("a", "b"))
    row = report.row("case", made)
    assert row["noise_hu"] == 81.234
    assert row["notes"] == "a; b"


def test_ml_of_voxels_without_a_size_are_null():
    lungs = Volume(np.array([[[1, 2]]], np.uint8))
    row = report.row("image", Segmentation(lungs, lungs, lungs, {}))
    assert row["lungs_ml"] is None
    assert row["infection_ml"] is None
    assert row["infection_percent"] == 100


def test_what_is_undefined_is_null_in_json(tmp_path):
    row = report.row("case", segmentation([1, 0, 0, 0], [0, 0, 0, 0]))
    report.write_json(tmp_path / "case.json", row)
    values = json.loads((tmp_path / "case.json").read_text())
    assert values["left_infection_percent"] is None


def test_rows_with_other_columns_share_a_table(tmp_path):
    path = tmp_path / "table.csv"
    report.update_csv(path, [{"scan": "a", "x": 1.0}])
    report.update_csv(path, [{"scan": "b", "y": 2.0}, {"scan": "a", "x": 3.0}])
    with path.open() as file:
        assert list(csv.DictReader(file)) == [
            {"scan": "a", "x": "3.0", "y": ""},
            {"scan": "b", "x": "", "y": "2.0"},
        ]


def test_nothing_is_left_behind_but_the_table(tmp_path):
    report.update_csv(tmp_path / "table.csv", [{"scan": "a, with comma", "x": None}])
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_that_a_spreadsheet_saved_keeps_its_rows(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("scan,x\na,1\n", encoding="utf-8-sig")
    report.update_csv(path, [{"scan": "b", "x": 2.0}])
    assert path.read_text().splitlines() == ["scan,x", "a,1", "b,2.0"]


@pytest.mark.parametrize("content", [b"scan;x\na;1\n", b"scan,x\n\xe4,1\n", b""])
def test_another_table_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ScanError, match=r"expected a table .* move it"):
        report.update_csv(path, [{"scan": "b", "x": 2.0}])
    assert path.read_bytes() == content
