from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.volume import CANONICAL, Header, Volume

millimetres = st.floats(0.1, 20)
angles = st.floats(-3, 3)


def rotation(yaw, pitch, roll):
    """Turns about z, y and x."""

    def plane(angle, one, other):
        turn = np.eye(3)
        turn[[one, other], [one, other]] = np.cos(angle)
        turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
        return turn

    return plane(yaw, 0, 1) @ plane(pitch, 0, 2) @ plane(roll, 1, 2)


def affine_of(matrix, offset=(0, 0, 0)):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, offset
    return affine


def test_a_bare_array_is_canonical_with_unit_spacing():
    volume = Volume(np.zeros((2, 3, 4), np.int16))
    assert volume.axcodes == CANONICAL == "SPL"
    assert volume.shape == (2, 3, 4)
    assert volume.spacing == (1, 1, 1)
    assert volume.voxel_ml == 0.001


def test_slices_go_up_rows_go_back_and_columns_go_left_by_default():
    affine = Volume(np.zeros((1, 1, 1))).affine
    np.testing.assert_array_equal(affine @ [1, 0, 0, 0], [0, 0, 1, 0])  # superior
    np.testing.assert_array_equal(affine @ [0, 1, 0, 0], [0, -1, 0, 0])  # posterior
    np.testing.assert_array_equal(affine @ [0, 0, 1, 0], [-1, 0, 0, 0])  # left


@given(st.tuples(angles, angles, angles), st.tuples(millimetres, millimetres, millimetres))
def test_spacing_does_not_depend_on_how_the_grid_is_turned(turns, spacing):
    volume = Volume(np.zeros((1, 1, 1)), affine_of(rotation(*turns) * spacing, (-120, 80, 900)))
    np.testing.assert_allclose(volume.spacing, spacing, rtol=1e-9)
    np.testing.assert_allclose(volume.voxel_ml, np.prod(spacing) / 1000, rtol=1e-9)


@given(st.tuples(millimetres, millimetres, millimetres), st.floats(-5, 5))
def test_shear_leaves_the_volume_of_a_voxel_alone(spacing, shear):
    sheared = np.diag(spacing)
    sheared[1, 0] = shear  # a gantry tilt: slices are shifted, not thinned
    volume = Volume(np.zeros((1, 1, 1)), affine_of(sheared))
    np.testing.assert_allclose(volume.voxel_ml, np.prod(spacing) / 1000, rtol=1e-9)
    np.testing.assert_allclose(volume.spacing[0], np.hypot(spacing[0], shear), rtol=1e-9)


def test_with_array_keeps_the_place_and_leaves_the_original():
    place = affine_of(np.diag([5.0, 0.7, 0.7]), (1, 2, 3))
    header = Header(b"header", place, (2, 3, 4), "LPS")
    ct = Volume(np.zeros((2, 3, 4)), place, "LPS", header)
    mask = ct.with_array(np.ones((2, 3, 4), np.uint8))
    assert mask.array.all()
    assert not ct.array.any()
    assert (mask.axcodes, mask.header) == ("LPS", header)
    np.testing.assert_array_equal(mask.affine, place)


def test_with_array_refuses_another_shape():
    with pytest.raises(ShapeError, match=r"\(1, 2, 2\), found \(1, 2, 3\)"):
        Volume(np.zeros((1, 2, 2))).with_array(np.zeros((1, 2, 3)))


def test_a_volume_is_a_sequence_of_slices():
    array = np.arange(24).reshape(2, 3, 4)
    volume = Volume(array)
    assert len(volume) == 2
    np.testing.assert_array_equal(np.stack(list(volume)), array)


def test_repr_says_what_it_is_and_not_the_voxels():
    shown = repr(Volume(np.zeros((2, 3, 4), np.int16), np.diag([5, 0.75, 0.75, 1])))
    assert "shape=(2, 3, 4)" in shown
    assert "int16" in shown
    assert "5 x 0.75 x 0.75 mm" in shown


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 1), ()])
def test_an_array_that_is_not_three_dimensional_is_refused(shape):
    with pytest.raises(ShapeError, match=r"\(slices, rows, columns\)"):
        Volume(np.zeros(shape))


@pytest.mark.parametrize(
    "affine",
    [
        np.eye(3),
        np.zeros((4, 4)),
        np.diag([1, np.nan, 1, 1]),
        np.diag([1, np.inf, 1, 1]),
        np.diag([1, 0, 1, 1]),
        affine_of(
            [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]]
        ),  # its determinant is 0 but for rounding
    ],
)
def test_an_affine_without_an_inverse_is_refused(affine):
    with pytest.raises(ShapeError, match="invertible 4x4 affine"):
        Volume(np.zeros((1, 1, 1)), affine)


@pytest.mark.parametrize(
    "change",
    [
        {"affine": np.diag([5.0, 0.7, 0.8, 1.0])},
        {"array": np.zeros((1, 3, 4))},
        {"axcodes": "RAS"},
    ],
    ids=str,
)
def test_the_header_of_a_file_does_not_outlive_its_place(change):
    place = np.diag([5.0, 0.7, 0.7, 1.0])
    ct = Volume(np.zeros((2, 3, 4)), place, "LPS", Header(b"header", place, (2, 3, 4), "LPS"))
    assert ct.header is not None
    assert replace(ct, **change).header is None


def test_a_mark_of_being_checked_does_not_outlive_the_values():
    ct = Volume(np.zeros((2, 3, 4))).as_checked()
    assert ct.checked
    assert not ct.with_array(np.ones((2, 3, 4))).checked
    assert not replace(ct, array=np.ones((2, 3, 4))).checked


@given(st.tuples(millimetres, st.floats(0.5, 0.9)))
def test_an_array_with_its_spacing_lies_as_a_canonical_volume(sizes):
    step, pixel = sizes
    volume = Volume.of(np.zeros((3, 4, 5)), spacing=(step, pixel, pixel))
    np.testing.assert_allclose(volume.spacing, (step, pixel, pixel))
    np.testing.assert_array_equal(np.sign(volume.affine), np.sign(Volume(volume.array).affine))


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((512, 512, 40), (0.7, 0.7, 5.0)),  # in the order of a file
        ((512, 512, 40), (5.0, 0.7, 0.7)),  # only the spacing was turned
        ((512, 512, 300), (1.0, 1.0, 1.0)),
        ((100, 100, 40), (0.7, 0.7, 5.0)),
        ((40, 512, 512), (0.7, 0.7, 5.0)),  # only the array was turned
    ],
)
def test_slices_that_are_last_are_refused(shape, spacing):
    array = np.broadcast_to(np.int16(0), shape)
    with pytest.raises(ShapeError, match="first"):
        Volume.of(array, spacing=spacing)


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 512, 512), (5.0, 0.7, 0.7)),
        ((40, 400, 512), (0.7, 0.7, 0.7)),
        ((64, 64, 48), (1.0, 1.0, 1.0)),
        ((512, 512, 512), (0.7, 0.7, 0.7)),
        ((300, 512, 512), (0.5, 0.9, 0.9)),
        ((1, 512, 512), (1.0, 0.7, 0.7)),
    ],
)
def test_slices_that_are_first_are_taken(shape, spacing):
    array = np.broadcast_to(np.int16(0), shape)
    assert Volume.of(array, spacing=spacing).spacing == pytest.approx(spacing)


@pytest.mark.parametrize(
    "spacing", [None, 1.0, (1.0, 1.0), (1, 0, 1), (1, -1, 1), (1, np.nan, 1), "abc", (1, "x", 1)]
)
def test_a_spacing_is_three_lengths(spacing):
    with pytest.raises(SpecError, match="three lengths above 0"):
        Volume.of(np.zeros((2, 3, 4)), spacing=spacing)
