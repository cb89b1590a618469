import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from lungmask_jax import cli, io
from lungmask_jax.evaluation import SHOWN
from lungmask_jax.phantoms import phantom


@pytest.fixture(scope="module")
def chests():
    return [phantom((4, 64, 64), disease=0.2, seed=number) for number in range(3)]


@pytest.fixture(scope="module")
def folders(chests, tmp_path_factory):
    """Predictions as segment leaves them, one wrong by a row, and the truth."""
    folder = tmp_path_factory.mktemp("evaluated")
    found, true = folder / "found", folder / "true"
    found.mkdir()
    true.mkdir()
    for number, made in enumerate(chests):
        io.save(made.infection, true / f"case{number}.nii.gz")
        io.save(made.lungs, found / f"case{number}_ct_lungs.nii.gz")
        array = np.roll(made.infection.array, int(number == 2), axis=1)
        io.save(made.infection.with_array(array), found / f"case{number}_ct_infection.nii.gz")
    return folder


@pytest.fixture
def masks(folders, tmp_path):
    """A copy of the folders, which a test may change."""
    shutil.copytree(folders, tmp_path, dirs_exist_ok=True)
    return ["evaluate", "--pred", str(tmp_path / "found"), "--true", str(tmp_path / "true")]


def test_evaluate_writes_every_case_and_a_summary(masks, tmp_path, capsys):
    out = tmp_path / "scores"
    assert cli.main([*masks, "-o", str(out)]) == 0
    with (out / "cases.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["case"] for line in lines] == ["case0", "case1", "case2"]
    assert [float(line["dice"]) == 1 for line in lines] == [True, True, False]
    summary = json.loads((out / "summary.json").read_text())["summary"]["infection"]["dice"]
    assert summary["cases"] == 3
    assert summary["mean"] == pytest.approx(np.mean([float(line["dice"]) for line in lines]))
    assert "infection" in capsys.readouterr().out


def test_evaluate_compares_with_another_model(masks, tmp_path, capsys):
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    words = [*masks, "--against", str(tmp_path / "one" / "cases.csv"), "-o", str(tmp_path / "two")]
    assert cli.main(words) == 0
    found = json.loads((tmp_path / "two" / "summary.json").read_text())["comparison"]["infection"]
    assert found["dice"] == {
        "cases": 3,
        "patients": 3,
        "mean": 0,
        "low": 0,
        "high": 0,
        "better": 0,
        "worse": 0,
        "p": 1,
    }


def test_evaluate_segments_what_a_list_names(tmp_path, capsys):
    made = phantom((4, 96, 96), disease=0.2, seed=3)
    io.save(made.ct, tmp_path / "ct.nii.gz")
    io.save(made.lungs, tmp_path / "lungs.nii.gz")
    io.save(made.infection, tmp_path / "infection.nii.gz")
    row = "ct.nii.gz,lungs.nii.gz,infection.nii.gz"
    (tmp_path / "metadata.csv").write_text(f"ct_scan,lung_mask,infection_mask\n{row}\n")
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--target", "lungs"]
    assert cli.main([*words, "--weights", "lungs", "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    assert list(found) == ["lungs", "right_lung", "left_lung"]
    assert found["lungs"]["dice"]["mean"] > 0.9


@pytest.mark.parametrize("target", ["lungs", "infection"])
def test_a_model_that_lacks_is_asked_for_before_scans_are_read(tmp_path, capsys, target):
    for name in ("ct.nii", "lungs.nii", "infection.nii"):
        (tmp_path / name).write_bytes(b"no scan")
    row = "ct.nii,lungs.nii,infection.nii"
    (tmp_path / "metadata.csv").write_text(f"ct_scan,lung_mask,infection_mask\n{row}\n")
    (other,) = {"lungs", "infection"} - {target}
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--target", target]
    assert cli.main([*words, "--weights", other, "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert f"expected a model for {target} among --weights, found {other}" in printed.err
    assert "ct.nii" not in printed.out
    assert not (tmp_path / "out").exists()


def test_evaluate_draws_boxes_and_the_worst_cases(masks, chests, tmp_path):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, made in enumerate(chests):
        io.save(made.ct, scans / f"case{number}_ct.nii.gz")
    words = [*masks, "--scans", str(scans), "--worst", "1"]
    assert cli.main([*words, "-o", str(tmp_path / "one")]) == 0
    drawn = sorted(path.name for path in (tmp_path / "one").glob("*.png"))
    assert drawn == ["boxes.png", "worst1_case2.png"]  # the only one with an error
    against = ["--against", str(tmp_path / "one" / "cases.csv")]
    assert cli.main([*masks, *against, "-o", str(tmp_path / "two")]) == 0
    single, both = (cv2.imread(str(tmp_path / name / "boxes.png")).shape for name in ("one", "two"))
    assert both[0] > 1.5 * single[0]
    assert not list((tmp_path / "two").glob("worst*"))


def test_without_matplotlib_scores_are_written_and_one_note_said(
    masks, tmp_path, capsys, without_matplotlib
):
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"cases.csv", "summary.json"}
    assert capsys.readouterr().err.count("no box plots: expected matplotlib") == 1


def test_pictures_of_a_former_run_go(masks, chests, tmp_path):
    scans, out = tmp_path / "scans", tmp_path / "out"
    scans.mkdir()
    for number, made in enumerate(chests):
        io.save(made.ct, scans / f"case{number}.nii.gz")
        io.save(made.lungs, tmp_path / "true" / f"case{number}_lungs.nii.gz")
        (tmp_path / "true" / f"case{number}.nii.gz").rename(
            tmp_path / "true" / f"case{number}_infection.nii.gz"
        )
    words = [*masks, "--scans", str(scans), "-o", str(out)]
    assert cli.main(words) == 0
    assert len(list(out.glob("worst*"))) == 3
    assert cli.main([*words, "--worst", "1", "--target", "lungs"]) == 0
    drawn = sorted(path.name for path in out.glob("*.png"))
    assert drawn == [
        "boxes_left_lung.png",
        "boxes_lungs.png",
        "boxes_right_lung.png",
        "worst1_case0.png",
    ]


def test_scores_outlive_a_scan_that_cannot_be_read(masks, chests, tmp_path, capsys):
    scans = tmp_path / "scans"
    scans.mkdir()
    for number, made in enumerate(chests):
        io.save(made.ct, scans / f"case{number}.nii.gz")
    (scans / "case1.nii.gz").write_bytes(b"no scan")
    words = [*masks, "--scans", str(scans)]
    assert cli.main([*words, "-o", str(tmp_path / "three")]) == 1
    printed = capsys.readouterr()
    assert "case1 infection: dice 1.000" in printed.out
    assert printed.err.startswith("case1: ")
    with (tmp_path / "three" / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    drawn = sorted(path.name for path in (tmp_path / "three").glob("worst*"))
    assert drawn == ["worst1_case2.png", "worst2_case0.png"]
    # a case that is not among the worst needs no picture, and its scan is not read
    assert cli.main([*words, "--worst", "1", "-o", str(tmp_path / "one")]) == 0
    (scans / "case1.nii.gz").unlink()
    assert cli.main([*words, "-o", str(tmp_path / "none")]) == 1
    assert "expected a scan of every case" in capsys.readouterr().err


def test_a_case_that_fails_leaves_the_summary_of_a_comparison(masks, chests, tmp_path, capsys):
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    table = tmp_path / "one" / "cases.csv"
    (tmp_path / "found" / "case2_ct_infection.nii.gz").write_bytes(b"no mask")
    words = [*masks, "--by-type", "--against", str(table)]
    for number, made in enumerate(chests):
        for folder, name in (("found", f"case{number}_ct_lesions"), ("true", f"case{number}")):
            io.save(made.lesions, tmp_path / folder / f"{name}.nii.gz")
    (tmp_path / "found" / "case2_ct_lesions.nii.gz").write_bytes(b"no mask")
    assert cli.main([*words, "-o", str(tmp_path / "two")]) == 1
    found = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert list(found["summary"]) == ["infection", "ground_glass", "consolidation"]
    assert list(found["comparison"]) == ["infection"]
    assert found["comparison"]["infection"]["dice"]["cases"] == 2
    assert "case2 infection" in found["not_compared"]
    assert "case0 ground_glass" in found["not_compared"]
    assert "not compared, in one table only: case0 ground_glass" in capsys.readouterr().out
    assert (tmp_path / "two" / "boxes_infection.png").is_file()


SCORES = "case,label,dice,iou,sensitivity,precision,surface_dice,hausdorff95_mm,lesion_f1"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "found no file"),
        ("scan,lungs_ml\na,3\n", "another table"),
        ("case,label,dice\n", "another table"),
        ("case,Größe\n", "of another encoding"),
        (f"case\n{'a' * 200_000}\n", "field larger than"),
        ("case,label,dice\na,infection,1\n", "without iou, sensitivity"),
        (f"{SCORES}\na,infection,high,1,1,1,1,1,1\n", "expected scores in"),
        (f"{SCORES}\na,infection,1\n", "expected scores in"),
        (f"{SCORES}\na,lungs,1,1,1,1,1,1,1\n", "expected one row per case of infection"),
        (f"{SCORES}\n" + 2 * "a,infection,1,1,1,1,1,1,1\n", "2 rows of 1 cases"),
    ],
)
def test_another_table_to_compare_with_is_refused_at_once(masks, tmp_path, capsys, table, message):
    if table is not None:
        (tmp_path / "cases.csv").write_text(table, encoding="latin-1")
    words = [*masks, "--against", str(tmp_path / "cases.csv"), "-o", str(tmp_path / "o")]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_lesions_of_a_list_are_scored_by_type(tmp_path):
    made = phantom((8, 96, 96), disease=0.3, seed=5)
    io.save(made.ct, tmp_path / "ct.nii.gz")
    io.save(made.lesions, tmp_path / "infection.nii.gz")
    (tmp_path / "metadata.csv").write_text("ct_scan,infection_mask\nct.nii.gz,infection.nii.gz\n")
    words = ["evaluate", "--data", str(tmp_path / "metadata.csv"), "--by-type"]
    assert cli.main([*words, "-o", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    assert list(found) == ["infection", "ground_glass", "consolidation"]
    assert cli.main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "pred")]) == 0
    (tmp_path / "true").mkdir()
    io.save(made.lesions, tmp_path / "true" / "ct.nii.gz")
    words = ["evaluate", "--by-type", "--pred", str(tmp_path / "pred")]
    words += ["--true", str(tmp_path / "true"), "-o", str(tmp_path / "two")]
    assert cli.main(words) == 0  # the lesions that segment has written
    again = json.loads((tmp_path / "two" / "summary.json").read_text())["summary"]
    assert again["consolidation"]["dice"] == found["consolidation"]["dice"]
    assert found["infection"]["dice"]["mean"] > 0.3


def test_types_are_not_scored_against_a_truth_that_tells_none(masks, tmp_path, capsys):
    for path in (tmp_path / "found").glob("*_infection*"):
        path.rename(path.with_name(path.name.replace("infection", "lesions")))
    (tmp_path / "true" / "case0.nii.gz").write_bytes(b"no mask")
    assert cli.main([*masks, "--by-type", "-o", str(tmp_path / "scores")]) == 1
    message = "expected a true mask with 2 (consolidation) for --by-type, found none"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_a_case_that_cannot_be_scored_does_not_stop_the_others(masks, tmp_path, capsys):
    made = phantom((2, 64, 64))
    io.save(made.infection, tmp_path / "true" / "case1.nii.gz")
    assert cli.main([*masks, "-o", str(tmp_path / "scores")]) == 1
    assert "case1: expected masks of the same shape" in capsys.readouterr().err
    assert len((tmp_path / "scores" / "cases.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    "more", [[], ["--pred", "x"], ["--pred", "x", "--true", "y", "--data", "z"]]
)
def test_evaluate_wants_folders_or_a_list(more, tmp_path, capsys):
    assert cli.main(["evaluate", *more, "-o", str(tmp_path / "o")]) == 1
    assert "expected --pred with --true, or --data" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pred", "x", "--true", "y", "--worst", "-1"], "--worst of 0 or more, found -1"),
        (["--data", "x", "--tolerance", "nan"], "--tolerance of 0 mm or more, found nan"),
        (["--data", "x", "--tolerance", "-1"], "--tolerance of 0 mm or more, found -1"),
        (["--pred", ".", "--true", f"../{Path.cwd().name}"], "found . as --pred and as --true"),
        (["--data", "x", "--scans", "y"], "expected --scans with --pred"),
        (["--data", "x", "--by-type", "--target", "lungs"], "expected --by-type for infection"),
    ],
)
def test_evaluate_says_what_does_not_fit(words, message, tmp_path, capsys):
    assert cli.main(["evaluate", *words, "-o", str(tmp_path / "o")]) == 1
    assert message in capsys.readouterr().err


def test_files_of_others_and_inputs_are_kept(masks, tmp_path, capsys):
    out = tmp_path / "scores"
    out.mkdir()
    for name in ("worst1_memo.png", "cases.csv"):
        (out / name).write_bytes(b"of others")
        assert cli.main([*masks, "-o", str(out)]) == 1
        assert "this program did not make it" in capsys.readouterr().err
        assert (out / name).read_bytes() == b"of others"
        (out / name).unlink()
    assert cli.main([*masks, "-o", str(out)]) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert cli.main([*masks, "--against", str(out / "cases.csv"), "-o", str(out)]) == 1
    assert "it is an input" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_infinite_distances_are_counted_and_the_table_fits_a_terminal(
    masks, tmp_path, capsys, monkeypatch
):
    path = tmp_path / "found" / "case1_ct_infection.nii.gz"
    mask = io.load_mask(path)
    io.save(mask.with_array(0 * mask.array), path)  # no surface: an infinite distance
    assert cli.main([*masks, "-o", str(tmp_path / "one")]) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.split()[:1] == ["hausdorff95_mm"])
    assert "2 +1 inf" in row
    words = ["--against", str(tmp_path / "one" / "cases.csv"), "-o", str(tmp_path / "two")]
    assert cli.main([*masks, *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = [line.rstrip() for line in lines if line.split() and line.split()[0] in SHOWN]
    assert len(table) == 2 * len(SHOWN)
    assert max(map(len, table)) <= 80
