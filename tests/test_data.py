import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax import io
from lungmask_jax.data import (
    Case,
    fingerprint,
    folds,
    load_case,
    names,
    pair_folders,
    pair_masks,
    read_metadata,
    similar_names,
    split,
)
from lungmask_jax.errors import ScanError, SpecError
from lungmask_jax.volume import Volume

HEADER = "ct_scan,lung_mask,infection_mask,lung_and_infection_mask\n"
FOLDERS = ("ct_scans", "lung_mask", "infection_mask", "lung_and_infection_mask")
SHAPE = (2, 6, 8)


def kaggle(root: Path, name: str = "coronacases_001.nii") -> str:
    """One case as the Kaggle set has it, and its row."""
    for folder in FOLDERS:
        (root / folder).mkdir(exist_ok=True)
        (root / folder / name).write_bytes(b"")
    return ",".join(f"../input/covid19-ct-scans/{folder}/{name}" for folder in FOLDERS) + "\n"


def placed(values: np.ndarray) -> Volume:
    return Volume.of(values, spacing=(2.5, 0.75, 0.75))


def scan(path: Path, affine: np.ndarray | None = None) -> Path:
    values = np.linspace(-1000, 300, np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    io.save(placed(values) if affine is None else Volume(values, affine), path)
    return path


def mask(path: Path, labels: dict[int, slice]) -> Path:
    array = np.zeros(SHAPE, np.uint8)
    for label, columns in labels.items():
        array[:, :, columns] = label
    io.save(placed(array), path)
    return path


# metadata.csv


def test_kaggle_paths_are_found_beside_the_list(tmp_path: Path) -> None:
    rows = [kaggle(tmp_path, f"{name}.nii") for name in ("coronacases_001", "coronacases_002")]
    (tmp_path / "metadata.csv").write_text(HEADER + "".join(rows))
    first, second = read_metadata(tmp_path / "metadata.csv")
    assert first == Case(
        "coronacases_001",
        tmp_path / "ct_scans/coronacases_001.nii",
        {
            "lungs": tmp_path / "lung_mask/coronacases_001.nii",
            "infection": tmp_path / "infection_mask/coronacases_001.nii",
        },
        "coronacases_001",
    )
    assert second.name == "coronacases_002"


def test_byte_order_mark_blank_lines_other_columns_and_windows_paths_do_not_matter(
    tmp_path: Path,
) -> None:
    row = kaggle(tmp_path).replace("/", "\\")
    text = "\ufeffnote," + HEADER + "\nfirst," + row + "\n"
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    assert len(read_metadata(tmp_path / "metadata.csv")) == 1


def test_two_series_of_one_patient_share_the_patient(tmp_path: Path) -> None:
    stem = "radiopaedia_org_covid-19-pneumonia-10_85902"
    rows = [kaggle(tmp_path, f"{stem}_{series}-dcm.nii") for series in (1, 3)]
    (tmp_path / "metadata.csv").write_text(HEADER + "".join(rows))
    first, second = read_metadata(tmp_path / "metadata.csv")
    assert first.name != second.name
    assert first.patient == second.patient == "radiopaedia_org_covid-19-pneumonia-10"


def test_a_column_tells_whose_scans_are_one_patients(tmp_path: Path) -> None:
    rows = [kaggle(tmp_path, f"{name}.nii") for name in ("may", "june", "other")]
    whose = zip(["ann,", "ann,", ","], rows, strict=True)
    (tmp_path / "metadata.csv").write_text("patient," + HEADER + "".join(a + b for a, b in whose))
    cases = read_metadata(tmp_path / "metadata.csv")
    assert [case.patient for case in cases] == ["ann", "ann", "other"]


def test_scans_of_one_name_are_cases_of_their_own(tmp_path: Path) -> None:
    rows = []
    for folder in ("p0", "p1"):
        (tmp_path / folder).mkdir()
        for name in ("ct.nii", "lungs.nii"):
            (tmp_path / folder / name).write_bytes(b"")
        rows.append(f"{folder}/ct.nii,{folder}/lungs.nii\n")
    table = tmp_path / "metadata.csv"
    table.write_text("ct_scan,lung_mask\n" + "".join(rows))
    cases = read_metadata(table)
    assert [case.name for case in cases] == [case.patient for case in cases] == ["p0_ct", "p1_ct"]
    table.write_text("ct_scan,lung_mask\n" + 2 * rows[0])
    with pytest.raises(ScanError, match=r"each scan once, found .*ct\.nii twice"):
        read_metadata(table)


@pytest.mark.parametrize(
    "note",
    ["none.nii", "", '"two\nlines, and a comma"', 'a "word" in it', '"never closed', "a" * 200_000],
    ids=["file", "empty", "lines", "word", "open", "long"],
)
def test_a_column_that_is_not_used_may_hold_anything(tmp_path: Path, note: str) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.nii").touch()
        (tmp_path / f"{name}_lungs.nii").touch()
    header = "note,ct_scan,lung_mask,infection_mask,lung_and_infection_mask\n"
    rows = [f"{note},{name}.nii,{name}_lungs.nii,none.nii,\n" for name in ("a", "b")]
    (tmp_path / "metadata.csv").write_text(header + "".join(rows))
    cases = read_metadata(tmp_path / "metadata.csv", masks=["lungs"])
    assert [(case.name, [*case.masks]) for case in cases] == [("a", ["lungs"]), ("b", ["lungs"])]


def test_shifted_rows_are_all_reported_with_their_number(tmp_path: Path) -> None:
    good = kaggle(tmp_path)
    fields = good.strip().split(",")
    rows = [
        good,
        ",".join(fields[1:]),
        ",".join([*fields[1:], fields[3]]),
        ",".join(["", *fields[1:]]),
        ",".join(["../input/none.nii", *fields[1:]]),
        ",".join([fields[0], fields[0], fields[2], fields[3]]),
    ]
    (tmp_path / "metadata.csv").write_text(HEADER + "\n".join(row.strip() for row in rows))
    with pytest.raises(ScanError) as caught:
        read_metadata(tmp_path / "metadata.csv")
    message = str(caught.value)
    assert "row 2" not in message
    assert "row 3: expected 4 fields, found 3" in message
    assert "row 4: ct_scan names a lung_mask" in message
    assert "row 4: lung_mask names a infection_mask" in message
    assert "row 5: ct_scan is empty" in message
    assert "row 6: no file for ct_scan '../input/none.nii'" in message
    assert "row 7: lung_mask names a ct_scan" in message


def test_ct_that_is_called_a_mask_or_is_its_own_mask_is_refused(tmp_path: Path) -> None:
    for name in ("a.nii", "a_mask.nii"):
        (tmp_path / name).write_bytes(b"")
    table = tmp_path / "metadata.csv"
    table.write_text("ct_scan,lung_mask\na_mask.nii,a.nii\na.nii,a.nii\n")
    with pytest.raises(ScanError, match=r"row 2: ct_scan names a mask .* row 3: lung_mask is the"):
        read_metadata(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found none in"),
        ("image,label\na,b\n", "found image, label in"),
        ("ct_scan,mask\na,b\n", "found ct_scan, mask in"),
        ("ct_scan,lung_mask\n", "found no rows"),
        ("ct_scan;lung_mask\na;b\n", "save it with commas between the columns"),
        ("ct_scan\tlung_mask\na\tb\n", "save it with commas between the columns"),
    ],
)
def test_list_without_columns_or_rows_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(ScanError, match=message):
        read_metadata(tmp_path / "metadata.csv")


def test_a_column_of_masks_that_is_needed_is_asked_for_before_any_scan(tmp_path: Path) -> None:
    kaggle(tmp_path)
    (tmp_path / "metadata.csv").write_text(
        "ct_scan,lung_mask\nct_scans/coronacases_001.nii,lung_mask/coronacases_001.nii\n"
    )
    (case,) = read_metadata(tmp_path / "metadata.csv", masks=["lungs"])
    assert [*case.masks] == ["lungs"]
    with pytest.raises(ScanError, match="the columns infection_mask, found ct_scan, lung_mask in"):
        read_metadata(tmp_path / "metadata.csv", masks=["lungs", "infection"])


# folders


def folders(root: Path, images: list[str], masks: list[str]) -> tuple[Path, Path]:
    for folder, files in (("images", images), ("masks", masks)):
        (root / folder).mkdir()
        for name in files:
            (root / folder / name).write_bytes(b"")
    return root / "images", root / "masks"


def test_folders_pair_by_name_whatever_the_ending(tmp_path: Path) -> None:
    images, masks = folders(
        tmp_path,
        ["b_0000.nii.gz", "a_ct.nii.gz", "c.png", ".hidden.png", "notes.txt"],
        ["a_lungs.nii", "b.nii.gz", "c_lung_mask.PNG"],
    )
    cases = pair_folders(images, masks, target="lungs")
    assert [(case.name, case.masks) for case in cases] == [
        ("a", {"lungs": masks / "a_lungs.nii"}),
        ("b", {"lungs": masks / "b.nii.gz"}),
        ("c", {"lungs": masks / "c_lung_mask.PNG"}),
    ]


def test_folder_of_slices_counts_as_one_scan(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, [], ["a.nii.gz"])
    (images / "a").mkdir()
    assert pair_folders(images, masks)[0].masks == {"infection": masks / "a.nii.gz"}


def test_scans_and_masks_without_partner_are_named(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, ["a.nii", "b.nii"], ["a.nii", "d.nii"])
    with pytest.raises(ScanError, match=r"images/b.nii, .*masks/d.nii"):
        pair_folders(images, masks)


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    images, masks = folders(tmp_path, ["a_ct.nii", "a_lungs.nii"], ["a.nii"])
    with pytest.raises(ScanError, match=r"a_ct.nii and a_lungs.nii for 'a'"):
        pair_folders(images, masks)


def test_masks_of_something_else_are_not_paired(tmp_path: Path) -> None:
    """As what ``segment`` finds of the lungs for infection."""
    found, true = folders(tmp_path, ["a_lungs.nii.gz", "b_lungs.nii.gz"], ["a.nii", "b.nii"])
    with pytest.raises(ScanError, match=r"masks of infection in .*images, found only .*\*_lungs"):
        pair_masks(found, true)
    with pytest.raises(ScanError, match=r"masks of infection in .*images, found only .*\*_lungs"):
        pair_masks(true, found)
    assert [name for name, *_ in pair_masks(found, true, target="lungs")] == ["a", "b"]
    (found / "a_infection.nii.gz").touch()
    (found / "b_infection.nii.gz").touch()
    assert [path.name for _, path, _ in pair_masks(found, true)] == [
        "a_infection.nii.gz",
        "b_infection.nii.gz",
    ]
    (found / "a_overlay.png").touch()
    assert len(pair_masks(found, true)) == 2


def test_a_folder_is_no_metadata(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=r"found the folder .*: give the file in it"):
        read_metadata(tmp_path)


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="found none in"):
        pair_folders(*folders(tmp_path, [], []))


# splits

patients = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=30)


def cases_of(letters: list[str]) -> list[Case]:
    return [Case(f"{n}", Path(f"{n}.nii"), patient=letter) for n, letter in enumerate(letters)]


@given(patients.filter(lambda letters: len(set(letters)) > 1), st.floats(0.01, 0.99))
def test_split_keeps_patients_whole_and_loses_none(letters: list[str], fraction: float) -> None:
    cases = cases_of(letters)
    train, held_out = split(cases, fraction, seed=3)
    assert train
    assert held_out
    assert {case.patient for case in train}.isdisjoint(case.patient for case in held_out)
    assert sorted(train + held_out, key=cases.index) == cases
    again = split(cases[::-1], fraction, seed=3)
    assert (again[0][::-1], again[1][::-1]) == (train, held_out)


def test_split_holds_out_about_the_fraction() -> None:
    cases = [Case(str(n), Path(str(n))) for n in range(20)]
    assert len(split(cases, 0.2)[1]) == 4
    assert split(cases, 0.2) == split(cases, 0.2)
    assert split(cases, 0.2) != split(cases, 0.2, seed=1)


@given(patients, st.integers(2, 8))
def test_folds_hold_out_every_case_once(letters: list[str], count: int) -> None:
    cases = cases_of(letters)
    if count > len(set(letters)):
        with pytest.raises(SpecError, match="folds"):
            folds(cases, count)
        return
    parts = folds(cases, count)
    assert len(parts) == count
    assert sorted((case for _, held in parts for case in held), key=cases.index) == cases
    for train, held in parts:
        assert held
        assert {case.patient for case in train}.isdisjoint(case.patient for case in held)


def test_fraction_out_of_range_and_a_single_patient_are_refused() -> None:
    with pytest.raises(SpecError, match=r"below 1 to hold out, found 1\.0"):
        split(cases_of(["a", "b"]), 1.0)
    with pytest.raises(SpecError, match="two patients"):
        split(cases_of(["a", "a"]), 0.5)


# loading


def test_case_loads_with_the_masks_it_has(tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii")
    infection = mask(tmp_path / "infection.nii", {1: slice(0, 2)})
    ct, masks = load_case(Case("a", image, {"infection": infection}))
    assert ct.array.dtype == np.int16
    assert list(masks) == ["infection"]
    assert masks["infection"].array.sum() == 2 * 6 * 2


@pytest.mark.parametrize("labels", [(1, 2), (2, 1)])
def test_right_lung_is_1_in_whatever_convention_the_file_is(
    tmp_path: Path, labels: tuple[int, int]
) -> None:
    right, left = labels
    lungs = mask(tmp_path / "lungs.nii", {right: slice(0, 3), left: slice(5, 8)})
    _, masks = load_case(Case("a", scan(tmp_path / "ct.nii"), {"lungs": lungs}))
    assert np.unique(masks["lungs"].array[:, :, :3]) == 1
    assert np.unique(masks["lungs"].array[:, :, 5:]) == 2


def test_one_label_for_both_lungs_stays(tmp_path: Path) -> None:
    lungs = mask(tmp_path / "lungs.nii", {1: slice(4, 8)})
    _, masks = load_case(Case("a", scan(tmp_path / "ct.nii"), {"lungs": lungs}))
    assert masks["lungs"].array.max() == 1


def test_lesions_by_type_keep_their_labels(tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii")
    lesions = mask(tmp_path / "m.nii", {1: slice(6, 8), 2: slice(1, 3)})  # as lungs it would swap
    _, masks = load_case(Case("a", image, {"infection": lesions}), by_type=True)
    np.testing.assert_array_equal(masks["infection"].array, io.load_mask(lesions).array)


def test_joint_mask_as_lungs_or_infection_is_refused(tmp_path: Path) -> None:
    image, joint = scan(tmp_path / "ct.nii"), mask(tmp_path / "m.nii", {3: slice(1, 2)})
    with pytest.raises(ScanError, match="expected labels 0 to 2, found up to 3"):
        load_case(Case("a", image, {"lungs": joint}))
    with pytest.raises(ScanError, match="expected labels 0 to 1, found up to 3"):
        load_case(Case("a", image, {"infection": joint}))
    with pytest.raises(ScanError, match="expected labels 0 to 2, found up to 3"):
        load_case(Case("a", image, {"infection": joint}), by_type=True)


def test_a_lung_mask_does_not_pass_for_infection(tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii")
    lungs = mask(tmp_path / "lungs.nii", {1: slice(0, 3), 2: slice(5, 8)})
    with pytest.raises(ScanError, match=r"found up to 2 in .*lungs.nii: make them 0 and 1"):
        load_case(Case("a", image, {"infection": lungs}))


def test_mask_of_another_shape_or_place_is_refused_naming_both(tmp_path: Path) -> None:
    image = scan(tmp_path / "ct.nii")
    io.save(Volume(np.zeros((2, 6, 7), np.uint8)), tmp_path / "small.nii")
    with pytest.raises(ScanError, match=r"\(2, 6, 7\) in .*small.nii and \(2, 6, 8\) in .*ct.nii"):
        load_case(Case("a", image, {"lungs": tmp_path / "small.nii"}))
    moved = placed(np.zeros(SHAPE)).affine.copy()
    moved[2, 3] += 40
    io.save(Volume(np.zeros(SHAPE, np.uint8), moved), tmp_path / "moved.nii")
    with pytest.raises(ScanError, match=r"40 mm apart: .*ct.nii and .*moved.nii"):
        load_case(Case("a", image, {"lungs": tmp_path / "moved.nii"}))


@pytest.mark.parametrize("seed", range(10))
def test_a_patient_with_most_of_the_scans_is_not_held_out(seed):
    names = [f"a{number}" for number in range(18)] + ["b0", "c0"]
    cases = [Case(name, Path(name), patient=name[0]) for name in names]
    assert len(split(cases, 0.2, seed=seed)[1]) == 2


def sides(train, held_out, **patients):
    return similar_names(
        *(
            [Case(n, Path(n), patient=patients.get(n, n)) for n in side]
            for side in (train, held_out)
        )
    )


@pytest.mark.parametrize(
    ("train", "held_out", "alike"),
    [
        (["ann_1", "ben_1"], ["ann_2", "eve_1"], [("ann_1", "ann_2")]),
        (["P07", "P08"], ["P07_followup"], [("P07", "P07_followup")]),
        (["P07-a", "P08-a"], ["P08-b"], [("P08-a", "P08-b")]),
        (["case_1b", "case_2", "case_3"], ["case_1"], [("case_1b", "case_1")]),
        (["P1_a", "P1_b", "P2_a", "P2_b"], ["P2_c", "P3_a"], [("P2_a", "P2_c"), ("P2_b", "P2_c")]),
        (["case_1", "case_2"], ["case_3"], []),
        ([f"covid19_{n}" for n in range(30)], ["healthy_1", "covid19_99"], []),
        (["case1", "case10", "case2"], ["case3", "case11"], []),
        (["001", "002"], ["003", "0031"], []),
        ([f"covid_{n}" for n in range(9)], ["healthy_1", "covid_9", "healthy_2"], []),
        (["coronacases_001", "radiopaedia_4_85506_1"], ["coronacases_002"], []),
        (["x"], [], []),
    ],
)
def test_names_that_look_like_one_patients_are_found(train, held_out, alike):
    assert sides(train, held_out) == alike
    assert sides(held_out, train) == [pair[::-1] for pair in alike]


def test_patients_that_are_known_need_no_guess():
    assert sides(["ann_1", "ben_1"], ["ann_2"], ann_1="x", ann_2="y") == []


def test_a_scan_has_the_fingerprint_of_its_numbers_alone(tmp_path):
    values = np.arange(-100, 92, dtype=np.int16).reshape(2, 8, 12)
    ct = Volume(values, Volume(values).affine @ np.diag([2, 2, 2, 1.0]))
    same = [ct.with_array(values.astype(np.float32)), Volume(values, np.diag([1, 2, 2, 1.0]))]
    for name in ("a.nii", "b.nii.gz"):
        io.save(ct, tmp_path / name)
        same.append(io.load(tmp_path / name))
    assert {fingerprint(one) for one in same} == {fingerprint(ct)}
    moved = values.copy()
    moved[0, 0, 0] += 1
    others = [Volume(moved), Volume(values[:, ::-1]), Volume(values.reshape(2, 12, 8))]
    assert len({fingerprint(one) for one in (ct, *others)}) == 4


# names


def test_names_go_up_the_path_until_they_differ() -> None:
    paths = ["p1/visit/ct.nii.gz", "p2/visit/ct.nii", "p2/old/ct.nii", "p2/old/other.nii"]
    assert names(paths) == ["p1_visit_ct", "p2_visit_ct", "old_ct", "other"]
    assert names([" a .nii", " .nii"]) == ["a", " "]
    long = names(["x" * 240, f"{'x' * 240}y", "患" * 80])
    assert len({*long}) == 3
    assert all(190 < len(name.encode()) <= 200 for name in long)
    assert names(["a.nii", "A.nii", "a.nii.gz"]) == ["a.nii", "A.nii_2", "a.nii.gz"]
    assert names(["/A/1/ct.nii", "/a/1/ct.nii", "/b/1/ct.nii"]) == ["A_1_ct", "a_1_ct_2", "b_1_ct"]
    assert names(["/c/É.nii", "/c/E\u0301.nii"]) == ["É", "E\u0301_2"]
    assert names(["a.nii", "a.nii.gz", "b.NII.GZ"]) == ["a.nii", "a.nii.gz", "b"]
    assert names(["/a_b/ct.nii", "/a/b_ct.nii", "/c/ct.nii"]) == ["a_b_ct", "b_ct", "c_ct"]


def test_names_that_are_equal_even_so_get_a_number() -> None:
    paths = ["/a_b/c/x.nii", "/a/b_c/x.nii", "/a_b/c/x/x.nii"]
    assert names(paths[:2]) == ["c_x", "b_c_x"]
    found = names(["/a_b_c/x.nii", "/a/b_c/x.nii", "/a_b/c/x.nii", "/a_b_c_x.nii"])
    assert len(set(found)) == 4
    assert sorted(found)[:2] == ["a_b_c_x", "a_b_c_x_2"]


@given(st.lists(st.text("aA_./é\udcff\x1b\u202e", min_size=1, max_size=6), max_size=6))
def test_names_are_different_and_legible_whatever_the_paths(texts: list[str]) -> None:
    paths = list({os.path.abspath(f"/{text}.nii"): None for text in texts})
    found = names(paths)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in found}) == len(paths)
    assert all(name.isprintable() and name.encode() and "/" not in name for name in found)
