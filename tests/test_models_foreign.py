"""The networks of lungmask and nnU-Net, against what PyTorch makes of the same tensors."""

import functools
from pathlib import Path

import jax
import numpy as np
import pytest

from lungmask_jax import models
from lungmask_jax.errors import ShapeError, SpecError, WeightsError
from lungmask_jax.spec import ModelSpec
from lungmask_jax.testing import check_model
from lungmask_jax.weights import converted, create_model, read_pth

REFERENCES = Path(__file__).parent / "references" / "torch_networks.pth"
FLAT = {"kernels": [[3, 3]] * 3, "strides": [[1, 1], [2, 2], [2, 1]]}
DEEP = {"kernels": [[1, 3, 3], *[[3, 3, 3]] * 2], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 1]]}
SHARED = {"in_channels": 2, "num_classes": 3, "features": [2, 2, 4], "decoder_blocks": [1, 2]}
OPTIONS = {
    "lungmask_unet": {"channels": [2, 4, 8]},
    "plain_conv_unet 2": {**SHARED, **FLAT, "blocks": [2, 1, 1]},
    "plain_conv_unet 3": {**SHARED, **DEEP, "blocks": [2, 1, 1]},
    "residual_encoder_unet 2": {**SHARED, **FLAT, "blocks": [1, 1, 2]},
    "residual_encoder_unet 3": {**SHARED, **DEEP, "blocks": [1, 1, 2]},
}
TWO = {"features": [2, 4], "decoder_blocks": [1], "in_channels": 3}
TINY = {
    "lungmask_unet": {"channels": [2, 4], "in_channels": 3},
    "plain_conv_unet": {**TWO, "kernels": [[3, 3]] * 2, "strides": [[1, 1], [2, 2]]},
    "residual_encoder_unet": {
        **TWO,
        "kernels": [[1, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
    },
}
TINY["plain_conv_unet"]["blocks"] = TINY["residual_encoder_unet"]["blocks"] = [1, 2]
every = pytest.mark.parametrize("name", OPTIONS)


@functools.cache
def references():
    return read_pth(REFERENCES)


def spec(name):
    return ModelSpec(name=name.split()[0], options=OPTIONS[name])


def last(array):
    """Channels last, as here."""
    return np.moveaxis(array, 1, -1)


@every
def test_logits_are_those_of_pytorch(name):
    reference = references()[name]
    params, state = converted(reference["tensors"], spec(name))
    apply = jax.jit(create_model(spec(name)).apply)
    logits, _ = apply(params, state, last(reference["images"]))
    if name == "lungmask_unet":  # it answers with the logarithms of probabilities
        logits = jax.nn.log_softmax(logits)
    wanted = last(reference["logits"])
    assert np.abs(wanted).max() > 0.5
    assert np.abs(np.asarray(logits) - wanted).max() < 1e-4


@pytest.mark.parametrize(
    "name",
    [
        name if name != "plain_conv_unet" else pytest.param(name, marks=pytest.mark.slow)
        for name in TINY
    ],
)
def test_it_keeps_what_a_network_promises(name):
    check_model(functools.partial(models.registry[name], **TINY[name]))


def test_a_missing_tensor_is_named():
    tensors = dict(references()["lungmask_unet"]["tensors"])
    del tensors["up_path.0.up.1.weight"]
    with pytest.raises(WeightsError, match=r"'up_path.0.up.1.weight' of 'lungmask_unet' is miss"):
        converted(tensors, spec("lungmask_unet"))


def test_tensors_of_another_network_are_refused():
    tensors = dict(references()["plain_conv_unet 3"]["tensors"])
    with pytest.raises(WeightsError, match=r"'encoder.stages.0.blocks.* is missing"):
        converted(tensors, spec("residual_encoder_unet 3"))
    with pytest.raises(WeightsError, match=r"1 others, such as 'more'"):
        converted({**tensors, "more": np.zeros(2)}, spec("plain_conv_unet 3"))
    with pytest.raises(
        WeightsError, match=r"expected \(3, 3, 4, 2\) numbers for .*\(2, 4, 3, 3, 3\)"
    ):
        converted(tensors, spec("plain_conv_unet 2"))


def test_only_finite_tensors_are_taken():
    tensors = dict(references()["plain_conv_unet 2"]["tensors"])
    name = "decoder.transpconvs.0.bias"
    with pytest.raises(WeightsError, match=f"finite numbers in '{name}'"):
        converted({**tensors, name: np.full(2, np.nan)}, spec("plain_conv_unet 2"))
    with pytest.raises(WeightsError, match=f"expected a tensor as '{name}'"):
        converted({**tensors, name: 5}, spec("plain_conv_unet 2"))


def test_tensors_saved_on_several_devices_have_one_more_name():
    reference = references()["plain_conv_unet 2"]
    tensors = {f"module.{name}": tensor for name, tensor in reference["tensors"].items()}
    converted(tensors, spec("plain_conv_unet 2"))


def test_tensors_of_our_own_networks_are_not_known():
    with pytest.raises(WeightsError, match="no tensor names are known for 'unet'"):
        converted({}, ModelSpec(name="unet"))


def test_lungmask_has_as_many_numbers_as_it_should():
    params, _ = jax.eval_shape(models.lungmask_unet().init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 28_953_539


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": [2, 4]}, "kernels of 2 stages"),
        ({"kernels": [[3, 3, 2], *[[3, 3, 3]] * 3]}, "kernels of odd sides"),
        ({"kernels": [[3, 3]] * 4}, "two axes each or of three"),
        ({"kernels": [3, 3, 3, 3]}, "kernels of each axis"),
        ({"strides": [[0, 1, 1], *[[1, 1, 1]] * 3]}, "strides from 1 to 8"),
        ({"blocks": [1, 2, 3]}, "blocks of 4 stages"),
        ({"decoder_blocks": [1, 2, 0]}, "decoder_blocks from 1 to 64"),
        ({"num_classes": 0}, "num_classes from 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    for build in (models.plain_conv_unet, models.residual_encoder_unet):
        with pytest.raises(SpecError, match=message):
            build(**options)


def test_each_axis_has_sides_of_its_own():
    model = create_model(spec("plain_conv_unet 3"))
    assert (model.stride, model.depth_stride) == (4, 2)
    params, state = converted(
        references()["plain_conv_unet 3"]["tensors"], spec("plain_conv_unet 3")
    )
    with pytest.raises(ShapeError, match=r"multiples of \(2, 4, 2\), found \(2, 6, 4\)"):
        model.apply(params, state, np.zeros((1, 2, 6, 4, 2), np.float32))
