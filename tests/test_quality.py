import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from lungmask_jax.inference import Segmentation
from lungmask_jax.labels import LEFT, RIGHT, swap_sides
from lungmask_jax.phantoms import phantom
from lungmask_jax.preprocess import noise_hu
from lungmask_jax.quality import Check, basic_checks, place_checks, verdict
from lungmask_jax.volume import Volume

SPACING = (8.0, 4.0, 4.0)


def at(array, spacing=SPACING):
    return Volume(np.asarray(array), np.diag([*spacing, 1.0]))


def lungs(slices=10, right=900, left=900, spacing=SPACING):
    """So many voxels of each lung in every slice."""
    mask = np.zeros((slices, 40, 100), np.uint8)
    flat = mask.reshape(slices, -1)
    flat[:, :right], flat[:, 2000 : 2000 + left] = RIGHT, LEFT
    return at(mask, spacing)


def said(mask, hu=None):
    ct = mask.with_array(np.full(mask.shape, 40, np.int16) if hu is None else hu)
    return tuple(one.note for one in basic_checks(ct, {"lungs": mask}, 12.3) if one.note)


@pytest.mark.parametrize("slices", [1, 10])
def test_a_scan_in_which_all_is_well_has_no_notes(slices):
    assert said(lungs(slices)) == ()


def test_more_lung_than_anybody_has_is_noted():
    (note,) = said(lungs(spacing=(16.0, 8.0, 8.0)))
    assert note.startswith("18432 ml of lung, more than any patient has")


@pytest.mark.parametrize("slices", [1, 10])
def test_no_lungs_are_noted(slices):
    assert said(lungs(slices, 0, 0)) == ("no lungs found: is this a chest CT?",)


def test_no_lungs_in_a_scan_too_small_for_a_chest_are_noted_with_its_size():
    (note,) = said(lungs(right=0, left=0, spacing=(0.8, 0.4, 0.4)))
    assert note == (
        "no lungs found: is this a chest CT? It spans 8 x 16 x 40 mm: check the unit and the voxel "
        "sizes in its header"
    )


@pytest.mark.parametrize("slices", [1, 10])
@pytest.mark.parametrize(("right", "left", "side"), [(0, 900, "right"), (900, 0, "left")])
def test_a_missing_lung_is_noted_in_volumes_and_single_slices(slices, right, left, side):
    assert said(lungs(slices, right, left)) == (f"no {side} lung found: look at the picture",)


@pytest.mark.parametrize(
    ("slices", "left", "noted"),
    [(10, 800, False), (10, 700, True), (1, 700, False), (1, 500, True)],
)
def test_a_lung_far_smaller_than_the_other_is_noted(slices, left, noted):
    found = said(lungs(slices, 1600, left))
    assert any("the left lung is" in note and "of the right one" in note for note in found) == noted
    mirrored = lungs(slices, 1600, left)
    found = said(mirrored.with_array(swap_sides(mirrored.array)))
    assert any("the right lung is" in note for note in found) == noted


def test_little_lung_is_noted_in_ml_where_there_are_several_slices():
    assert said(lungs(10, 150, 150))[0].startswith("only 384 ml of lung: is this a whole chest?")
    assert said(lungs(1, 150, 150)) == ()


@pytest.mark.parametrize("slices", [1, 10])
def test_voxels_without_a_size_are_noted_and_give_no_ml(slices):
    found = said(lungs(slices, 150, 150, (1.0, 1.0, 1.0)))
    assert found == ("the size of the voxels is not known: there are percentages, but no ml",)


@pytest.mark.parametrize(
    ("sigma", "columns", "noted"), [(30, 128, False), (90, 128, True), (90, 384, False)]
)
def test_noise_is_noted_above_what_networks_stand_at_their_pixel_size(sigma, columns, noted):
    mask = np.zeros((2, columns, columns), np.uint8)
    mask[:, :, : columns // 2], mask[:, :, columns // 2 :] = RIGHT, LEFT
    noise = np.random.default_rng(0).normal(40, sigma, mask.shape).astype(np.float32)
    found = said(at(mask, (40.0, 3.0, 3.0)), noise)
    assert any(note.startswith("noise of 12 HU, more than the networks") for note in found) == noted


@given(st.integers(0, 1), st.integers(0, 2000), st.integers(0, 2000))
def test_notes_of_mirrored_lungs_name_the_other_side(volume, right, left):
    one = lungs(1 + 9 * volume, right, left)
    swapped = one.with_array(swap_sides(one.array))
    table = str.maketrans({"\0": "left", "\1": "right"})
    turned = tuple(
        note.replace("right", "\0").replace("left", "\1").translate(table) for note in said(one)
    )
    assert said(swapped) == turned


# Faults that are planted


@pytest.fixture(scope="module")
def made():
    return phantom((24, 96, 96), disease=0.1, seed=1)


def found(made, ct=None, lungs=None, infection=None):
    """Names of the checks that did not pass, and the verdict."""
    masks = {"lungs": made.lungs, "infection": made.infection}
    masks |= {name: made.lungs.with_array(mask) for name, mask in
              (("lungs", lungs), ("infection", infection)) if mask is not None}  # fmt: skip
    ct = made.ct if ct is None else ct
    masks = {name: Volume(mask.array, ct.affine) for name, mask in masks.items()}
    checks = (*basic_checks(ct, masks, noise_hu(ct)), *place_checks(ct, masks))
    return {one.name for one in checks if one.result != "pass"}, verdict(checks)


def test_a_single_slice_needs_a_look_in_place():
    ct = Volume(np.full((1, 4, 4), -800, np.int16), np.diag([5.0, 1.0, 1.0, 1.0]))
    (check,) = place_checks(ct, {})
    assert (check.name, check.result) == ("single_slice", "look")
    (check, _) = place_checks(Volume(np.zeros((2, 4, 4), np.int16), ct.affine), {})
    assert (check.name, check.result) == ("single_slice", "pass")


def test_true_masks_pass_but_for_slices_far_apart(made):
    assert found(made) == ({"slice_spacing"}, "look")


def test_every_check_has_a_source_and_a_sentence_if_it_did_not_pass(made):
    masks = {"lungs": made.lungs, "infection": made.infection}
    for one in (*basic_checks(made.ct, masks, 20.0), *place_checks(made.ct, masks)):
        assert one.source
        assert bool(one.note) == (one.result != "pass")


@pytest.mark.parametrize(
    ("fault", "name", "result"),
    [
        ("nothing", "lungs_found", "fail"),
        ("one side", "lungs_sides", "look"),
        ("sides exchanged", "lungs_order", "fail"),
        ("air outside", "lungs_in_body", "fail"),
        ("all of the body", "lungs_share_of_body", "fail"),
        ("soft tissue", "lungs_density", "look"),
        ("rim", "infection_border", "look"),
    ],
)
def test_faults_of_masks_are_found(made, fault, name, result):
    lungs, ct = made.lungs.array.copy(), made.ct.array
    more = {}
    match fault:
        case "nothing":
            lungs[:] = 0
        case "one side":
            lungs[lungs == LEFT] = 0
        case "sides exchanged":
            lungs = swap_sides(lungs)
        case "air outside":
            lungs[:, :6, :30], lungs[:, :6, 66:] = RIGHT, LEFT
        case "all of the body":
            body = ndimage.binary_fill_holes(ct[12] > -500)
            lungs[:, body] = RIGHT
            lungs[:, 48:] *= 2
        case "soft tissue":
            lungs = np.roll(lungs, 8, axis=0) * (ct > -200)
        case "rim":
            inner = ndimage.binary_erosion(lungs > 0, ndimage.generate_binary_structure(2, 1)[None])
            more["infection"] = ((lungs > 0) & ~inner).astype(np.uint8)
    names, worst = found(made, lungs=lungs, **more)
    assert name in names
    assert worst in (result, "fail")


def test_faults_of_scans_are_found(made):
    def cut(box):
        ct = Volume(made.ct.array[box], made.ct.affine)
        part = SimpleNamespace(
            ct=ct, lungs=Volume(made.lungs.array[box]), infection=Volume(made.infection.array[box])
        )
        return found(part)[0]

    assert "lungs_ends" in cut(np.s_[8:])
    assert "lungs_ends" in cut(np.s_[:16])
    assert "lungs_field" in cut(np.s_[:, :, 30:])
    noise = np.random.default_rng(0).normal(0, 120, made.ct.shape)
    noisy = made.ct.with_array((made.ct.array + noise).astype(np.float32))
    assert "noise" in found(made, ct=noisy)[0]
    huge = Volume(made.ct.array, made.ct.affine @ np.diag([2, 2, 2, 1]))
    assert found(made, ct=huge)[1] == "fail"
    close = Volume(made.ct.array, np.diag([1.0, 1.0, 1.0, 1.0]))
    assert "voxel_size" in found(made, ct=close)[0]


def test_the_verdict_is_the_worst_result():
    assert verdict([]) == "pass"
    assert verdict([Check("a", "pass", 1.0), Check("b", "look", 1.0)]) == "look"
    assert verdict([Check("a", "fail", 1.0), Check("b", "look", 1.0)]) == "fail"


def test_a_result_has_its_checks_in_row_and_file(made, tmp_path):
    checks = (Check("noise", "look", 61.23456, "much", "ours"), Check("voxel_size", "pass", np.nan))
    result = Segmentation(made.ct, {"lungs": made.lungs}, {}, checks=checks)
    row = result.row("a")
    assert (row["qc"], row["qc_reasons"]) == ("look", "noise")
    values = json.loads(result.save(tmp_path, name="a")[-1].read_text())
    assert values["qc_checks"][0] == {
        "name": "noise",
        "result": "look",
        "value": 61.235,
        "note": "much",
        "source": "ours",
    }
    assert values["qc_checks"][1]["value"] is None
