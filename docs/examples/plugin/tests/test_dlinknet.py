from functools import partial

import jax
import pytest
from lungmask_jax_dlinknet import dlinknet

import lungmask_jax as lj
from lungmask_jax.testing import check_model

SMALL = {"channels": (4, 8), "dilations": (2,)}


def test_it_keeps_what_a_network_promises():
    check_model(partial(dlinknet, in_channels=3, num_classes=2, **SMALL))


def test_it_is_known_by_its_name():
    assert "dlinknet" in lj.models.registry
    assert lj.models.create("dlinknet").stride == 16


@pytest.mark.parametrize("dilations", [[1], [8]])
def test_parameters_are_as_many_as_by_hand(dilations):
    params, state = jax.eval_shape(
        dlinknet(channels=[4], dilations=dilations).init, jax.random.key(0)
    )
    found = sum(leaf.size for leaf in jax.tree.leaves((params, state)))
    normed = 9 * 4 + 8, 9 * 16 + 8, 9 * 16 + 8  # down, residual, middle: a kernel, a norm
    up = 4 + 1, 9 + 1, 2, 4 + 4  # by way of one channel
    assert found == sum(normed) + sum(up) + (4 + 1)


@pytest.mark.parametrize("options", [{"channels": []}, {"dilations": [0]}, {"num_classes": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(lj.errors.SpecError, match="numbers of at least 1, found"):
        dlinknet(**options)
