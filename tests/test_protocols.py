import json

import cv2
import numpy as np
import pytest

from lungmask_jax import cli, io, viz
from lungmask_jax.data import Case
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.evaluation import (
    PROTOCOLS,
    covid19_ct_seg_cases,
    covid19_ct_seg_splits,
    covid_semiseg_pairs,
)
from lungmask_jax.evaluation._protocols import _GROUPS
from lungmask_jax.phantoms import phantom

NAMES = [name for group in _GROUPS for name in group]


def longer(name):
    """The name of a case on Kaggle."""
    place, number = name.split("_", 1)
    if place == "coronacases":
        return f"coronacases_org_{number}"
    return f"radiopaedia_org_covid-19-pneumonia-{number}-dcm"


@pytest.fixture
def cases(tmp_path):
    return [Case(name, tmp_path / name, patient=name[:14]) for name in NAMES]


def test_every_table_has_its_columns():
    for protocol in PROTOCOLS.values():
        assert {len(row) for row in protocol.published.values()} == {len(protocol.scores)}
        numbers = [one for row in protocol.published.values() for one in row if one is not None]
        assert all(0 < number < 1 for number in numbers)


@pytest.mark.parametrize("kind", ["train4", "train16"])
@pytest.mark.parametrize("spelled", [str, longer])
def test_published_splits_divide_the_twenty(tmp_path, kind, spelled):
    cases = [Case(spelled(name), tmp_path) for name in NAMES]
    splits = covid19_ct_seg_splits(cases, kind)
    for train, test in splits:
        assert len(train) == int(kind.removeprefix("train"))
        assert {case.name for case in train} | {case.name for case in test} == set(
            map(spelled, NAMES)
        )
    small = [case.name for split in splits for case in split[kind == "train16"]]
    assert sorted(small) == sorted(map(spelled, NAMES))  # each once


def test_the_other_split_keeps_patients_together(cases):
    for train, test in covid19_ct_seg_splits(cases, "patients"):
        assert not {case.patient for case in train} & {case.patient for case in test}
    published = covid19_ct_seg_splits(cases, "train16")
    assert any({c.patient for c in train} & {c.patient for c in test} for train, test in published)


def test_missing_cases_and_unknown_kinds_are_named(cases):
    with pytest.raises(SpecError, match="found none named coronacases_007"):
        covid19_ct_seg_splits(cases[1:], "train4")
    with pytest.raises(SpecError, match="'patients', found 'train8'"):
        covid19_ct_seg_splits(cases, "train8")


def test_missing_data_say_where_they_are(tmp_path, capsys):
    with pytest.raises(ScanError, match=r"zenodo\.org/records/3757476"):
        covid19_ct_seg_cases(tmp_path)
    with pytest.raises(ScanError, match=r"github\.com/DengPingFan/Inf-Net"):
        covid_semiseg_pairs(tmp_path)
    words = ["evaluate", "--protocol", "covid-semiseg", "-o", str(tmp_path)]
    assert cli.main(words) == 1
    assert "expected --data with Imgs and GT" in capsys.readouterr().err


@pytest.mark.parametrize("word", [["--pred", "a"], ["--tolerance", "2"], ["--by-type"]])
def test_what_a_protocol_would_ignore_is_refused(word, tmp_path, capsys):
    words = ["evaluate", "--protocol", "covid19-ct-seg", "--data", str(tmp_path)]
    assert cli.main([*words, *word, "-o", str(tmp_path)]) == 1
    assert f"expected --protocol without {word[0]}" in capsys.readouterr().err


def test_a_wrong_table_to_compare_with_is_refused_before_scans_are_read(tmp_path, capsys):
    (tmp_path / "metadata.csv").write_text("not read")
    words = ["evaluate", "--protocol", "covid19-ct-seg", "--data", str(tmp_path / "metadata.csv")]
    words += ["--against", str(tmp_path / "nowhere.csv"), "-o", str(tmp_path / "o")]
    assert cli.main(words) == 1
    assert "expected the cases.csv of another model" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["lung_mask", "infection_mask"])
def test_a_list_with_one_column_of_masks_is_refused_before_scans_are_read(tmp_path, capsys, column):
    for name in ("ct.nii", "truth.nii"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "metadata.csv").write_text(f"ct_scan,{column}\nct.nii,truth.nii\n")
    words = ["evaluate", "--protocol", "covid19-ct-seg", "--data", str(tmp_path / "metadata.csv")]
    assert cli.main([*words, "-o", str(tmp_path / "o")]) == 1
    (missing,) = {"lung_mask", "infection_mask"} - {column}
    assert f"expected the columns {missing}, found ct_scan, {column}" in capsys.readouterr().err


def test_the_table_of_covid19_ct_seg_has_our_row(tmp_path, capsys):
    made = phantom((8, 96, 96), disease=0.2, seed=4)
    grey = made.ct.with_array(viz.windowed(made.ct.array, (-1250, 250)))
    joined = made.lungs.with_array(np.array([0, 2, 1], np.uint8)[made.lungs.array])  # 1 is left
    for name, ct in (("coronacases_001", made.ct), ("radiopaedia_4_85506_1", grey)):
        for folder, volume in (
            ("COVID-19-CT-Seg_20cases", ct),
            ("Lung_Mask", joined),
            ("Infection_Mask", made.infection),
        ):
            (tmp_path / folder).mkdir(exist_ok=True)
            io.save(volume, tmp_path / folder / f"{name}.nii.gz")
    found = covid19_ct_seg_cases(tmp_path)
    assert [case.patient for case in found] == ["coronacases_001", "radiopaedia_4"]
    words = ["evaluate", "--protocol", "covid19-ct-seg", "--data", str(tmp_path)]
    assert cli.main([*words, "-o", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr().out
    assert "COVID-19-CT-Seg" in printed
    assert "lungmask_jax" in printed
    table = json.loads((tmp_path / "o" / "table.json").read_text())
    (ours,) = table["ours"].values()
    left, _, right, _, infection, _ = ours
    assert min(left, right) > 0.8  # sides are told apart whatever the file calls them
    assert infection > 0.3
    rows = (tmp_path / "o" / "cases.csv").read_text().splitlines()
    assert len(rows) == 1 + 2 * 4


def test_the_table_of_covid_semiseg_has_our_rows(tmp_path, capsys):
    for folder in ("Imgs", "GT"):
        (tmp_path / folder).mkdir()
    made = phantom((5, 128, 128), disease=0.3, seed=2)
    for index in (2, 3):
        grey = viz.windowed(made.ct.array[index], (-1100, 250))
        cv2.imwrite(str(tmp_path / "Imgs" / f"{index}.png"), grey.T)
        cv2.imwrite(str(tmp_path / "GT" / f"{index}.png"), 255 * made.infection.array[index].T)
    words = ["evaluate", "--protocol", "covid-semiseg", "--data", str(tmp_path)]
    assert cli.main([*words, "-o", str(tmp_path / "o")]) == 0
    printed = capsys.readouterr().out
    assert "Semi-Inf-Net" in printed
    table = json.loads((tmp_path / "o" / "table.json").read_text())
    assert list(table["ours"]) == [
        "lungmask_jax infection, map, 2 of 2 slices",
        "lungmask_jax infection, mask, 2 of 2 slices",
    ]
    for dice, *_, error in table["ours"].values():
        assert dice > 0.4
        assert error < 0.2
    lines = json.loads((tmp_path / "o" / "cases.json").read_text())
    assert [line["case"] for line in lines["mask"]] == ["2", "3"]
    (tmp_path / "Imgs" / "3.png").write_bytes(b"no picture")
    assert cli.main([*words, "-o", str(tmp_path / "o")]) == 1  # the other is scored
    assert len(json.loads((tmp_path / "o" / "cases.json").read_text())["map"]) == 1
    table = json.loads((tmp_path / "o" / "table.json").read_text())
    assert next(iter(table["ours"])).endswith("map, 1 of 2 slices")
    assert cli.main([*words, "-o", str(tmp_path / "o"), "--weights", "lungs"]) == 1
    assert "expected a model for infection" in capsys.readouterr().err
