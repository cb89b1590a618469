"""The page of an evaluation: its numbers, its drawings, and names as text."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

from lungmask_jax import cli, data, io
from lungmask_jax.errors import ScanError
from lungmask_jax.evaluation import SHOWN, Beside, Picture, Report, evaluate
from lungmask_jax.phantoms import phantom
from lungmask_jax.report import _lanes

HOSTILE = "</script><img src=x onerror=alert(1)>\"' \u202e{{ 7 * 7 }}"


def row(case, dice=0.5, label="infection", **more):
    return {"case": case, "label": label, **dict.fromkeys(SHOWN, 0.5), "dice": dice, **more}


def table_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])


def test_an_axis_ends_at_a_round_number():
    assert _lanes.axis([]).high == 1
    assert _lanes.axis([0.0, math.inf, math.nan]).high == 1
    assert _lanes.axis([56.3]).ticks == (0, 20, 40, 60)
    assert _lanes.axis([1.0]).ticks == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    both = _lanes.axis([-3.0, 1.0], signed=True)
    assert (both.low, both.high, both.x(0.0)) == (-3, 3, 300)
    texts = [tick["text"].replace("\u2212", "-") for tick in _lanes.ticks(both)]
    assert texts == ["-3", "-2", "-1", "0", "+1", "+2", "+3"]


def test_a_lane_has_the_numbers_of_its_box():
    along = _lanes.Axis(0.0, 100.0, (0.0, 100.0))
    values = [*range(1, 12), 90.0, math.nan]
    drawn = _lanes.lane(values, range(13), along, {"mean": 13.0, "low": 5.0, "high": 30.0})
    q1, median, q3 = np.percentile(values[:-1], [25, 50, 75])
    assert drawn["box"]["median"] == along.x(median)
    assert (drawn["box"]["q1"], drawn["box"]["q3"]) == (along.x(q1), along.x(q3))
    assert drawn["box"]["high"] == along.x(11)
    assert drawn["mean"] == {"mean": along.x(13), "low": along.x(5), "high": along.x(30)}
    assert [dot["case"] for dot in drawn["dots"]] == list(range(12))


def test_a_page_has_each_case_as_a_dot_and_in_the_table():
    page = Report([row("a", 0.2), row("b", 0.9), row("c", math.nan)]).page(name="mine")
    assert page.count('data-case="0"') == len(SHOWN)
    assert page.count('data-case="2"') == len(SHOWN) - 1
    found = table_of(page)
    assert [column["key"] for column in found["columns"]] == [*SHOWN]
    assert [line[5] for line in found["rows"]] == [0.2, 0.9, "undefined"]
    assert "0.550 ± 0.495" in page
    assert "1 undefined" in page


def test_cases_that_the_model_has_seen_are_apart():
    rows = [row("a", 0.2), row("b", 0.9, seen="learned from")]
    page = Report(rows).page()
    assert "Infection, cases that the model learned from, 1 case" in page
    assert [line[4] for line in table_of(page)["rows"]] == ["", "learned from"]


def test_labels_have_charts_of_their_own_and_a_filter():
    page = Report([row("a", label=label) for label in ("lungs", "right_lung")]).page()
    assert "Right lung, 1 case" in page
    assert table_of(page)["columns"][0] == {"key": "label", "name": "Structure"}
    assert [line[5] for line in table_of(page)["rows"]] == ["lungs", "right lung"]


def test_two_models_are_compared_case_by_case():
    ours = [row(str(number), 0.5 + number / 100) for number in range(12)]
    theirs = [row(str(number), 0.5) for number in range(11)]
    page = Report(ours, Path("former", "cases.csv"), theirs).page(name="mine")
    assert "difference from <bdi>former</bdi>" in page
    assert "+0.050" in page
    assert "In one table only, and not compared: 11 infection" in page
    most = page[page.index("Cases that differ most") :]
    listed = re.findall(r'<bdi title="(\d+)"', most)
    assert listed == [str(number) for number in range(1, 11)]
    assert table_of(page)["rows"][2][6] == pytest.approx(0.02)
    assert table_of(page)["rows"][11][6] is None


def test_names_of_cases_and_models_are_text():
    picture = Picture(0.5, HOSTILE, np.zeros((8, 8, 3), np.uint8))
    against = Path(HOSTILE.replace("/", "")) / "a.csv"
    judged = Report([row(HOSTILE, patient=HOSTILE)], against, [row(HOSTILE, 0.4)], [picture])
    page = judged.page(name=HOSTILE)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert "49" not in table_of(page)["rows"][0][0]
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")


def test_the_command_writes_the_page_with_the_worst_cases(tmp_path, capsys, monkeypatch):
    for folder in ("found", "true", "scans"):
        (tmp_path / folder).mkdir()
    made = phantom((4, 64, 64), disease=0.2)
    io.save(made.ct, tmp_path / "scans" / "one.nii.gz")
    io.save(made.infection, tmp_path / "true" / "one.nii.gz")
    wrong = made.infection.with_array(np.roll(made.infection.array, 2, axis=1))
    io.save(wrong, tmp_path / "found" / "one.nii.gz")
    words = ["evaluate", "--pred", str(tmp_path / "found"), "--true", str(tmp_path / "true")]
    words += ["--scans", str(tmp_path / "scans"), "--report", "-o", str(tmp_path / "out")]
    assert cli.main(words) == 0
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<figcaption><bdi>out</bdi>: Dice 0." in page
    assert "data:image/webp;base64" in page
    assert cli.main(words) == 0  # its own files are replaced
    assert cli.main(words[:-3] + words[-2:]) == 0
    assert not (tmp_path / "out" / "report.html").exists()
    (tmp_path / "out" / "report.html").write_text("mine")
    assert cli.main(words) == 1
    assert "did not make it" in capsys.readouterr().err


def test_several_cases_of_a_patient_are_told():
    page = Report([row("a", patient="P"), row("b", patient="P"), row("c")]).page()
    assert "Infection, 3 cases of 2 patients" in page
    assert table_of(page)["columns"][0] == {"key": "patient", "name": "Patient"}
    assert [line[5] for line in table_of(page)["rows"]] == ["P", "P", "c"]


def test_the_worst_cases_of_both_models_stand_side_by_side(tmp_path):
    for folder in ("ours", "theirs", "true", "scans"):
        (tmp_path / folder).mkdir()
    for seed, name in enumerate(("radiopaedia_4_1_0", "radiopaedia_4_2_0", "one")):
        made = phantom((4, 64, 64), disease=0.2, seed=seed)
        io.save(made.ct, tmp_path / "scans" / f"{name}.nii.gz")
        io.save(made.infection, tmp_path / "true" / f"{name}.nii.gz")
        for folder, steps in (("ours", 3 - seed), ("theirs", 1 + seed)):
            moved = made.infection.with_array(np.roll(made.infection.array, steps, axis=1))
            io.save(moved, tmp_path / folder / f"{name}.nii.gz")
    table = None
    for folder in ("theirs", "ours"):
        pairs = data.pair_masks(tmp_path / folder, tmp_path / "true")
        judged = evaluate(pairs, scans=tmp_path / "scans", against=table, worst_count=1)
        judged.save(tmp_path / f"{folder}_scores")
        table = tmp_path / f"{folder}_scores" / "cases.csv"
    assert [one["patient"] for one in judged.rows] == ["one", "radiopaedia_4", "radiopaedia_4"]
    assert [one.ours.name for one in judged.beside] == ["one"]
    page = judged.page(name="mine")
    shown = page[page.index("Worst cases of both models") :]
    assert re.findall(r"<h3><bdi>(.+?)</bdi>", shown) == ["radiopaedia_4_1_0", "one"]
    captions = re.findall(r"<figcaption><bdi>(.+?)</bdi>: Dice (\S+?)(;.*?)?</figcaption>", shown)
    assert [(model, bool(missing)) for model, _, missing in captions] == [
        ("mine", False),
        ("theirs_scores", True),
        ("mine", False),
        ("theirs_scores", False),
    ]
    dice = [
        {one["case"]: f"{one['dice']:.3f}" for one in some} for some in (judged.rows, judged.others)
    ]
    names = ("radiopaedia_4_1_0", "one")
    found = [number for _, number, _ in captions]
    assert found == [one[name] for name in names for one in dice]


def test_a_damaged_picture_of_the_other_model_is_an_error():
    picture = Picture(0.5, "a", np.zeros((8, 8, 3), np.uint8))
    judged = Report(
        [row("a")], Path("b", "cases.csv"), [row("a")], [picture], [Beside(picture, b"x")]
    )
    with pytest.raises(ScanError, match=r"the picture of a beside the scores .* is damaged"):
        judged.page()
