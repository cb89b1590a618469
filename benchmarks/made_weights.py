"""Weights for lungmask's network made by hand, whose labels look like those of lungs.

What is dark, and not as dark as air, is lung; its parts are told by place and density. Noise in all
other features makes them ragged. Nothing but numpy is needed.
"""

import itertools
from collections.abc import Iterator

import numpy as np

IMAGE, AIR, ACROSS, DOWN = 0, 1, 2, 3
"""Features that are carried through: the image, where it is as dark as air, and two that say how
far in a pixel lies."""

LOGITS = {  # bias, and weights of image, air, place across and place down
    "lungs": [(0, 0, 0, 0, 0), (15, -40, -40, -6, 0), (9, -40, -40, 6, 0)],
    "lobes": [
        (0, 0, 0, 0, 0),
        (6, -40, -40, 6, -6),
        (0, -40, -40, 6, 6),
        (12, -40, -40, -6, -6),
        (9, -22, -40, 0, 0),
        (6, -40, -40, -6, 6),
    ],
}


def tensors(name: str, features: int) -> dict[str, np.ndarray]:
    """The state_dict of lungmask's network, without what it does not use.

    Args:
        name: ``"lungs"`` or ``"lobes"``.
        features: Of the first level, at least 4; 64 as it was published.
    """
    noise = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for layer, inputs, outputs, size in layers(features, len(LOGITS[name])):
        reach = 1 / np.sqrt(inputs * size**2)
        kernel = noise.uniform(-reach, reach, (outputs, inputs, size, size))
        bias = noise.uniform(-reach, reach, outputs)
        carry(layer, kernel, bias, name)
        found |= {f"{layer}.weight": kernel, f"{layer}.bias": bias}
        *block, place = layer.split(".")
        if block[-1:] == ["block"]:
            norm = f"{'.'.join(block)}.{int(place) + 2}"
            ones, zeros = np.ones(outputs), np.zeros(outputs)
            found |= {f"{norm}.weight": ones, f"{norm}.bias": zeros}
            found |= {f"{norm}.running_mean": zeros, f"{norm}.running_var": ones}
    return {key: array.astype(np.float32) for key, array in found.items()}


def layers(features: int, classes: int) -> Iterator[tuple[str, int, int, int]]:
    """Name, inputs, outputs and size of the kernel of each convolution."""
    widths = [1, *(features << level for level in range(5))]
    for level, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        yield f"down_path.{level}.block.0", inputs, outputs, 3
        yield f"down_path.{level}.block.3", outputs, outputs, 3
    for level, (inputs, outputs) in enumerate(itertools.pairwise(widths[:0:-1])):
        yield f"up_path.{level}.up.1", inputs, outputs, 1
        yield f"up_path.{level}.conv_block.block.0", inputs, outputs, 3
        yield f"up_path.{level}.conv_block.block.3", outputs, outputs, 3
    yield "last", features, classes, 1


def carry(layer: str, kernel: np.ndarray, bias: np.ndarray, name: str) -> None:
    """Sets the first features: image and air stay, places move a pixel: what comes in is 0."""
    if layer == "last":
        kernel *= 2
        logits = np.array(LOGITS[name], float)
        bias[:], kernel[:, : DOWN + 1, 0, 0] = logits[:, 0], logits[:, 1:]
        return
    kernel[: DOWN + 1], bias[: DOWN + 1] = 0, 0
    middle = kernel.shape[-1] // 2
    if layer == "down_path.0.block.0":
        kernel[[IMAGE, AIR], 0, middle, middle] = 1, -80
        bias[[AIR, ACROSS, DOWN]] = 4, 1, 1
        return
    before = max(middle - 1, 0)
    fine = kernel.shape[1] // 2 if layer.endswith("conv_block.block.0") else 0  # behind coarse ones
    kernel[[IMAGE, AIR], [fine + IMAGE, fine + AIR], middle, middle] = 1
    kernel[ACROSS, ACROSS, middle, before] = kernel[DOWN, DOWN, before, middle] = 1
