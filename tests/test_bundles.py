"""The weights that ship, on scans whose truth is known."""

import json
from importlib import resources
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import lungmask_jax as lj
from lungmask_jax import metrics

SHIPPED = ("infection", "lungs")


def test_both_models_ship():
    assert set(SHIPPED) <= set(lj.weights.registry)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundle_is_small_and_readable_by_numpy_alone(name):
    path = resources.files("lungmask_jax") / "bundles" / f"{name}.npz"
    assert path.stat().st_size <= 10_000_000
    with np.load(path, allow_pickle=False) as file:
        spec = json.loads(str(file["__spec__"]))
        assert all(file[key].dtype == np.float16 for key in file.files if "__" not in key)
    assert spec["target"] == name


@pytest.mark.parametrize("name", SHIPPED)
def test_a_card_says_where_the_weights_come_from(name):
    card = lj.weights.load(name).spec.card
    assert {"data", "license", "recipe", "scores", "known_failures", "training"} <= set(card)
    for source in card["scores"].values():
        assert 0 < source["dice"]["mean"] < 1


@pytest.mark.parametrize("case", ["case1", "case2", "case3"])
def test_lungs_of_real_scans(data_dir, case):
    folder = data_dir / "ct_lowres_volumes"
    truth = lj.io.load_mask(folder / f"{case}_lungs.nii.gz").array[::4]
    found = lj.segment(thinned(folder / f"{case}_ct.nii.gz", step=4), weights=["lungs"]).lungs
    assert metrics.dice(found.array > 0, truth > 0) > 0.95  # it learned from these
    right, left = ((found.array == side).nonzero()[2].mean() for side in (1, 2))
    assert right < left


def thinned(path, first=0, last=None, *, step):
    """A scan of some of its slices."""
    ct = lj.load(path)
    return lj.Volume(ct.array[first:last:step], ct.affine * [step, 1, 1, 1])


def test_consolidation_is_lung_and_infection(data_dir):
    result = lj.segment(thinned(data_dir / "ct_chest" / "covid_2p5mm_ct.nii.gz", 36, 56, step=3))
    assert result.infection is not None
    assert result.measure()["infection_percent"] > 2
    dense = result.ct.array[result.infection.array > 0] > -300
    assert dense.mean() > 0.1


@pytest.mark.parametrize("name", ["apices_2mm", "thick_5mm"])
def test_little_is_called_infection_without_covid(data_dir, name):
    result = lj.segment(thinned(data_dir / "ct_chest" / f"{name}_ct.nii.gz", 20, 40, step=3))
    assert result.measure()["infection_percent"] < 5


# What version 0.1.0 wrote and answered: bundles of version 1, and the masks that it made with them.
VERSION_1 = Path(__file__).with_name("references") / "version1"


def chest():
    """Lungs that touch, bowel, an apex left out, and infection of two densities, in HU."""
    hu = np.full((28, 64, 96), 40, np.int16)
    z, y, x = np.indices(hu.shape)
    for middle in (30, 66):
        lung = ((z - 17) / 13) ** 2 + ((y - 32) / 22) ** 2 + ((x - middle) / 18) ** 2 < 1
        hu[lung] = -850
        hu[lung & (z > 20) & (y < 24)] = -930  # what the network leaves out
        hu[lung & (abs(z - 12) < 4) & (y > 36)] = -550
        hu[lung & (abs(z - 12) < 3) & (y > 42)] = -300
    hu[:, 30:34, 30:34] = np.where(hu[:, 30:34, 30:34] < 0, 30, 40)  # a vessel
    hu[14:20, 30:33, 44:54] = -820  # where the lungs touch
    hu[1:4, 8:20, 50:66] = -880  # bowel
    hu[2, 50, 5] = -900  # a speck
    hu[:, 2, 2] = 900
    affine = np.array([[0, 0, -2, 0], [0, -2, 0, 0], [4, 0, 0, 0], [0, 0, 0, 1.0]])
    return lj.Volume(hu, affine).as_checked()


def test_bundles_of_version_1_answer_as_they_did(tmp_path):
    lj.models.registry.register("version1_for_tests", bands)
    bundles = [lj.weights.load(VERSION_1 / f"{name}.npz") for name in SHIPPED]
    for again in (False, True):
        if again:  # as this version writes them
            for one in bundles:
                lj.weights.save(tmp_path / f"{one.name}.npz", one.spec, one.params, one.state)
            bundles = [lj.weights.load(tmp_path / f"{name}.npz") for name in SHIPPED]
        result = lj.segment(chest(), weights=bundles, uncertainty=True)
        masks = {**result.masks, "uncertainty": result.uncertainty}
        with np.load(VERSION_1 / "masks.npz") as expected:
            assert set(expected) == set(masks)
            for name, mask in masks.items():
                np.testing.assert_array_equal(mask.array, expected[name], name)


def bands():
    """What lies between two grey levels."""

    def apply(params, state, images, /, *, train=False, key=None):
        return 20 * jnp.minimum(params["high"] - images, images - params["low"]), state

    return lj.models.Model(
        init=lambda key: ({"low": jnp.zeros(()), "high": jnp.zeros(())}, {}), apply=apply
    )
