"""The synthetic chest: empty cases, anatomy, tissue, law by law, errors."""

import numpy as np
import pytest
from scipy import ndimage

from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.labels import LEFT, RIGHT
from lungmask_jax.phantoms import Phantom, phantom
from lungmask_jax.phantoms._grid import FIELD_MM

SHAPE = (48, 128, 128)


@pytest.fixture(scope="module")
def chest() -> Phantom:
    return phantom(SHAPE, disease=0.15)


@pytest.fixture(scope="module")
def healthy() -> Phantom:
    return phantom(SHAPE, disease=0, noise_hu=0)


def test_no_disease_has_no_infection(healthy: Phantom) -> None:
    assert not healthy.infection.array.any()
    assert healthy.lungs.array.any()


def test_a_grid_beside_the_lungs_has_empty_masks() -> None:
    beside = phantom((2, 2, 2), spacing_mm=(1.0, 400.0, 400.0))
    assert not beside.lungs.array.any()
    assert not beside.infection.array.any()
    assert (beside.ct.array < -800).all()


def test_shapes_types_labels_and_place(chest: Phantom) -> None:
    for volume in (chest.ct, chest.lungs, chest.infection):
        assert volume.shape == SHAPE
        np.testing.assert_allclose(volume.spacing, np.divide(FIELD_MM, SHAPE))
        np.testing.assert_array_equal(volume.affine, chest.ct.affine)
    assert chest.ct.array.dtype == np.int16
    assert chest.lungs.array.dtype == chest.infection.array.dtype == np.uint8
    assert np.unique(chest.lungs.array).tolist() == [0, RIGHT, LEFT]
    assert np.unique(chest.infection.array).tolist() == [0, 1]


def test_the_middle_of_the_grid_is_the_origin() -> None:
    volume = phantom((3, 5, 7)).ct
    np.testing.assert_allclose(volume.affine @ [1, 2, 3, 1], [0, 0, 0, 1], atol=1e-4)


@pytest.mark.parametrize("seed", [0, 3, 5])
def test_each_lung_is_one_piece_on_its_side_of_physiological_volume(seed: int) -> None:
    lungs = phantom((32, 96, 96), seed=seed, disease=0).lungs
    assert lungs.affine[0, 2] < 0
    assert ndimage.label(lungs.array)[1] == 2
    right, left = lungs.array == RIGHT, lungs.array == LEFT
    assert np.nonzero(right)[2].max() < np.nonzero(left)[2].min()
    assert right.sum() > 0.97 * left.sum()
    for side in (right, left):
        assert ndimage.label(side)[1] == 1
        assert 1800 < side.sum() * lungs.voxel_ml < 3400


def test_same_arguments_give_the_same_chest() -> None:
    first, again = phantom((4, 64, 64), seed=7), phantom((4, 64, 64), seed=7)
    np.testing.assert_array_equal(first.ct.array, again.ct.array)
    np.testing.assert_array_equal(first.infection.array, again.infection.array)


def test_another_seed_is_another_patient() -> None:
    first, second = phantom((4, 64, 64)).lungs.array, phantom((4, 64, 64), seed=1).lungs.array
    assert 0.01 < (first != second).mean() < 0.2


def test_disease_changes_nothing_but_the_lungs(chest: Phantom, healthy: Phantom) -> None:
    np.testing.assert_array_equal(chest.lungs.array, healthy.lungs.array)


def test_the_same_patient_at_every_resolution(healthy: Phantom) -> None:
    coarse = phantom((24, 64, 64), disease=0).lungs
    fine_ml = np.count_nonzero(healthy.lungs.array) * healthy.lungs.voxel_ml
    assert np.count_nonzero(coarse.array) * coarse.voxel_ml == pytest.approx(fine_ml, rel=0.03)


@pytest.mark.parametrize("disease", [0.01, 0.1, 0.4, 1.0])
def test_infection_fills_its_share_inside_the_lungs(disease: float) -> None:
    chest = phantom((24, 64, 64), disease=disease)
    infection, lung = chest.infection.array > 0, chest.lungs.array > 0
    assert not (infection & ~lung).any()
    assert infection.sum() / lung.sum() == pytest.approx(disease, rel=0.02)


def test_infection_lies_to_the_back_and_is_dense(chest: Phantom) -> None:
    infected, lung = chest.infection.array > 0, chest.lungs.array > 0
    assert np.nonzero(infected)[1].mean() > np.nonzero(lung)[1].mean() + 5
    hu = chest.ct.array[infected]
    assert -650 < np.median(hu) < -350
    assert 0.03 < (hu > -200).mean() < 0.5


def test_tissues_have_their_hu(healthy: Phantom) -> None:
    hu, lungs = healthy.ct.array, healthy.lungs.array
    inner = ndimage.binary_erosion(lungs > 0, iterations=2)
    assert -890 < np.median(hu[inner]) < -820
    assert (hu[:, :4] < -950).all()
    liver, heart = hu[6, 55:65, 40:50], hu[20, 48:58, 62:72]
    assert 45 < np.median(liver) < 65
    assert 35 < np.median(heart) < 60
    assert (hu > 350).mean() > 0.005
    fat = (hu > -130) & (hu < -70)
    assert 0.03 < fat.mean() < 0.3


def test_the_back_of_the_lungs_is_denser(healthy: Phantom) -> None:
    inner = ndimage.binary_erosion(healthy.lungs.array > 0, iterations=2)
    rows = np.nonzero(inner)[1]
    hu = healthy.ct.array[inner]
    assert np.median(hu[rows > 72]) > np.median(hu[rows < 56]) + 10


def test_trachea_is_air_outside_the_lungs(healthy: Phantom) -> None:
    middle = slice(58, 70)
    for index in (38, 42):
        plane = healthy.ct.array[index, 55:75, middle]
        row, column = np.unravel_index(plane.argmin(), plane.shape)
        assert plane[row, column] < -930
        assert not healthy.lungs.array[index, 55 + row, 58 + column]


def test_noise_has_the_asked_deviation() -> None:
    shape = (4, 64, 64)
    quiet, loud = phantom(shape, noise_hu=0).ct.array, phantom(shape, noise_hu=20).ct.array
    body = quiet > -900
    assert (loud[body] - quiet[body]).std() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("shape", [(1, 96, 96), (1, 80, 120), (3, 70, 50)])
def test_few_slices_and_oblong_ones_show_both_lungs(shape: tuple[int, int, int]) -> None:
    chest = phantom(shape)
    middle = chest.lungs.array[shape[0] // 2]
    assert {RIGHT, LEFT} <= set(np.unique(middle).tolist())
    assert 0.08 < (middle > 0).mean() < 0.35
    assert chest.infection.array.any()


def test_spacing_is_as_asked() -> None:
    assert phantom((2, 20, 20), spacing_mm=(5.0, 3.0, 2.0)).ct.spacing == (5.0, 3.0, 2.0)


@pytest.mark.parametrize("shape", [(96, 256), (0, 4, 4), (1, 2, 3, 4), (1.5, 2, 3), 7])
def test_a_bad_shape_is_named(shape: object) -> None:
    with pytest.raises(ShapeError, match="three positive integers"):
        phantom(shape)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("disease", -0.1),
        ("disease", 10),
        ("disease", float("nan")),
        ("noise_hu", -1),
        ("seed", -1),
        ("spacing_mm", (1, 2)),
        ("spacing_mm", (1, 0, 1)),
    ],
)
def test_a_bad_setting_is_named(option: str, value: object) -> None:
    with pytest.raises(SpecError, match=option):
        phantom((1, 16, 16), **{option: value})  # type: ignore[arg-type]
