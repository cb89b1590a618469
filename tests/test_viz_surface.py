"""Masks as solids: where they are, their colors, and what is inside."""

import numpy as np
import pytest

from lungmask_jax import viz
from lungmask_jax.errors import ShapeError, SpecError
from lungmask_jax.inference import Segmentation, file_names
from lungmask_jax.tasks import INFECTION, LUNGS
from lungmask_jax.volume import Volume

AFFINE = np.diag([3.0, 1.0, 1.0, 1.0])  # slices three times as thick as pixels


def ball(center, radius, value=1, shape=(24, 64, 64)):
    place = (np.indices(shape).transpose(1, 2, 3, 0) - center) * (3, 1, 1)
    inside = np.linalg.norm(place, axis=-1) < radius
    return Volume((value * inside).astype(np.uint8), AFFINE)


def colored(picture, color):
    """Pixels of the hue of a color, whatever their light."""
    rgb = picture.astype(float)
    spread = rgb.max(axis=-1) - rgb.min(axis=-1)
    hue = (rgb - rgb.min(axis=-1, keepdims=True)) / np.maximum(spread, 1)[..., None]
    wanted = (np.array(color, float) - min(color)) / (max(color) - min(color))
    return (np.abs(hue - wanted).max(axis=-1) < 0.2) & (spread > 60)


def body(picture, tile=128):
    """The picture without its legend."""
    return picture[-tile:]


@pytest.fixture
def solid():
    return ball((12, 32, 20), 12)


def test_masks_without_voxels_leave_white():
    nothing = Volume(np.zeros((4, 16, 16), np.uint8))
    picture = viz.surface({"infection": nothing}, views=("front",), tile=64)
    assert (picture[-8:-4, 20:40] == 255).all()


def test_a_ball_is_round_whatever_the_voxels(solid):
    picture = viz.surface({"infection": solid}, views=("front", "right"), tile=128)
    for part in (body(picture)[:, :129], body(picture)[:, 130:]):
        seen = colored(part, INFECTION.colors[1])
        height, width = (np.ptp(np.flatnonzero(seen.any(axis=axis))) for axis in (1, 0))
        assert height == pytest.approx(width, abs=8)
        assert seen.sum() == pytest.approx(np.pi / 4 * height * width, rel=0.12)


def test_light_comes_from_the_upper_left(solid):
    picture = body(viz.surface({"infection": solid}, views=("front",), tile=128))
    seen = np.argwhere(colored(picture, INFECTION.colors[1]))
    middle, reach = seen.mean(axis=0).astype(int), int(np.ptp(seen[:, 0])) // 4
    bright, dark = (picture[tuple(middle + sign * reach)].astype(int).sum() for sign in (-1, 1))
    assert bright > 1.3 * dark


def test_the_patients_right_is_left_in_front_and_right_behind():
    right, left = ball((12, 32, 12), 9).array, ball((12, 32, 50), 9, 2).array
    lungs = Volume(right + left, AFFINE)
    both = viz.surface({"lungs": lungs}, views=("front", "back"), tile=128)
    for part, order in ((both[:, :128], 1), (both[:, 132:], -1)):
        columns = [
            np.flatnonzero(colored(part[-46:], LUNGS.colors[label]).any(axis=0)).mean()
            for label in (1, 2)
        ]
        assert np.sign(columns[1] - columns[0]) == order


def test_the_nearer_solid_hides_the_other():
    front, behind = ball((12, 14, 32), 8).array, ball((12, 50, 32), 8, 2).array
    lungs = Volume(front + behind, AFFINE)
    shown = viz.surface({"lungs": lungs}, views=("front", "back"), tile=128)
    for part, label in ((shown[60:, :129], 1), (shown[60:, 131:], 2)):
        assert colored(part, LUNGS.colors[label]).sum() > 1000
        assert colored(part, LUNGS.colors[3 - label]).sum() < 50


def test_infection_is_seen_through_the_lung_and_without_it_the_lung_is_opaque():
    lung, inside = ball((12, 32, 32), 24), ball((12, 32, 32), 8)
    opaque = viz.surface({"lungs": lung}, views=("front",), tile=128)
    glass = viz.surface({"lungs": lung, "infection": inside}, views=("front",), tile=128)
    middle = slice(-72, -56), slice(56, 72)
    assert colored(opaque[middle], LUNGS.colors[1]).all()
    warm = glass[middle].astype(int)
    assert (warm[..., 0] > warm[..., 2]).all()


def test_a_result_saves_its_solids(solid, tmp_path):
    result = Segmentation(solid, {"infection": solid}, {})
    names = [path.name for path in result.save(tmp_path, name="a", format="nrrd", surface=True)]
    assert names == file_names("a", ["infection"], format="nrrd", surface=True)
    assert (tmp_path / "a_surface.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize("thin", [(1, 1, 1), (1, 9, 1), (5, 1, 1)])
def test_the_smallest_masks_are_drawn_without_error(thin):
    array = np.pad(np.ones(thin, np.uint8), [(2, 2)] * 3)
    assert viz.surface({"infection": Volume(array)}, tile=64).shape[1] == 198


def test_what_cannot_be_drawn_is_refused(solid):
    with pytest.raises(SpecError, match="needs a mask"):
        viz.surface({})
    with pytest.raises(SpecError, match="no view 'top'"):
        viz.surface({"infection": solid}, views=("top",))
    with pytest.raises(ShapeError, match="the CT's shape"):
        viz.surface({"infection": solid, "lungs": Volume(np.zeros((2, 2, 2), np.uint8))})
