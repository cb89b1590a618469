"""The weights that ship, on scans whose truth is known."""

import json
from importlib import resources

import numpy as np
import pytest

import lungmask_jax as lj
from lungmask_jax import metrics

SHIPPED = ("infection", "lungs")


def test_both_models_ship():
    assert set(SHIPPED) <= set(lj.weights.names())


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
