"""Weights of networks that were trained in PyTorch."""

import re
from collections.abc import Mapping
from typing import Any, Final

import jax
import numpy as np

from lungmask_jax import trees
from lungmask_jax.errors import WeightsError, nearest, shown
from lungmask_jax.spec import ModelSpec
from lungmask_jax.weights._bundle import create_model

_UNUSED: Final[Mapping[str, str]] = {
    "lungmask_unet": r".*\.residual_(input_conv|batchnorm)\..*|.*\.num_batches_tracked",
    "plain_conv_unet": r".*\.all_modules\..*|decoder\.encoder\..*|decoder\.seg_layers\..*",
    "residual_encoder_unet": r".*\.all_modules\..*|decoder\.encoder\..*|decoder\.seg_layers\..*",
}
"""Tensors that the original has twice, or does not use, by network."""

_LEAVES: Final = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}


def converted(tensors: Mapping[str, np.ndarray], model: ModelSpec) -> tuple[Any, Any]:
    """The weights of a PyTorch network, for the same network here.

    Every tensor must belong to a parameter, and every parameter must get a tensor of the right
    shape; tensors that the original has twice or does not use are ignored.

    Args:
        tensors: Its state_dict, from `read_pth`.
        model: Name and options: ``"lungmask_unet"``, ``"plain_conv_unet"`` or
            ``"residual_encoder_unet"``.

    Returns:
        Parameters and state, float32.

    Raises:
        WeightsError: The tensors are not those of the network, or not all are finite.
        UnknownNameError: No architecture has that name.
        SpecError: An option is out of range.

    Example:
        >>> converted({}, ModelSpec(name="lungmask_unet", options={"channels": [4]}))
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.WeightsError: the tensor 'down_path.0.block.0.bias' of 'lungmask_unet'
        is missing: known: none
    """
    if model.name not in _UNUSED:
        raise WeightsError(
            f"no tensor names are known for {shown(model.name)}: {nearest(model.name, _UNUSED)}"
        )
    params, state = jax.eval_shape(create_model(model).init, jax.random.key(0))
    template = {"params": params, "state": state}
    left = {str(name).removeprefix("module."): tensor for name, tensor in tensors.items()}
    arrays = {
        path: _array(path, leaf.shape, left, model.name)
        for path, leaf in trees.leaves(template).items()
    }
    unknown = [name for name in left if not re.fullmatch(_UNUSED[model.name], name)]
    if unknown:
        raise WeightsError(
            f"expected the tensors of {model.name!r}, found {len(unknown)} others, such as "
            f"{shown(sorted(unknown)[0])}: name the network and its options as they were trained"
        )
    filled = jax.tree.unflatten(jax.tree.structure(template), list(arrays.values()))
    return filled["params"], filled["state"]


def _array(
    path: str, shape: tuple[int, ...], left: dict[str, np.ndarray], model: str
) -> np.ndarray:
    """The values of a leaf, taken from the remaining tensors."""
    *parts, leaf = path.split("/")[1:]
    name = ".".join([*parts, _LEAVES.get(leaf, leaf)])
    if name not in left:
        raise WeightsError(f"the tensor {name!r} of {model!r} is missing: {nearest(name, left)}")
    tensor = left.pop(name)
    if not isinstance(tensor, np.ndarray):
        raise WeightsError(f"expected a tensor as {name!r} of {model!r}, found {shown(tensor)}")
    array = _arranged(tensor, shape, "transpconvs" in parts) if leaf == "kernel" else tensor
    if array.shape != shape:
        raise WeightsError(
            f"expected {shape} numbers for {name!r} of {model!r}, found a tensor {tensor.shape}: "
            "give the options that the network was trained with"
        )
    numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise WeightsError(f"expected finite numbers in {name!r} of {model!r}, found others")
    return numbers


def _arranged(tensor: np.ndarray, shape: tuple[int, ...], transposed: bool) -> np.ndarray:
    """A kernel with channels last; in PyTorch, outputs come first, or inputs if transposed."""
    if tensor.ndim < 2:
        return tensor
    if transposed:
        return np.moveaxis(tensor, 1, -1)
    if len(shape) == 2 and tensor.ndim > 2 and tensor.shape[2:] == (1,) * (tensor.ndim - 2):
        tensor = tensor.reshape(tensor.shape[:2])
    return np.moveaxis(tensor, (1, 0), (-2, -1))
