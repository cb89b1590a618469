"""Compares the built-in networks: parameters, work and time a slice on this machine.

    python benchmarks/architectures.py
    python benchmarks/architectures.py --names unet unet_3d --slices 16 --dice dice.json

Every network has its default options. Images are 256 x 256 float32, a batch of slices for the
networks of slices, one volume of as many slices for those of volumes. A GFLOP is 10^9 additions and
multiplications, as XLA counts them before it optimizes. The times are medians; the networks take
turns, so that a busy machine is as unfair to one as to the other. ``--dice`` names a JSON file from
names of networks to a cross-validated Dice, for the last column.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import models
from lungmask_jax.errors import ShapeError
from lungmask_jax.models import Model


class Row(NamedTuple):
    """What is known of a network.

    Attributes:
        name: As in the registry.
        parameters: How many numbers are learned.
        gflop: For a slice.
        ms: For a slice; the median.
    """

    name: str
    parameters: int
    gflop: float
    ms: float


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", default=[*models.registry], help="default: all")
    parser.add_argument("--slices", type=int, default=4, help="of a batch or volume (default: 4)")
    parser.add_argument("--size", type=int, default=256, help="height and width (default: 256)")
    parser.add_argument("--rounds", type=int, default=9, help="times each is run (default: 9)")
    parser.add_argument("--dice", type=Path, help="JSON of cross-validated Dice by name")
    options = parser.parse_args()
    dice = json.loads(options.dice.read_text()) if options.dice else {}
    rows = measured(options.names, options.slices, options.size, options.rounds)
    print(f"{jax.devices()[0].device_kind}, {options.slices} x {options.size} x {options.size}")
    print(table(rows, dice))


def measured(names: list[str], slices: int, size: int, rounds: int) -> list[Row]:
    """A row for each network, timed in turns."""
    rows, runs = [], []
    for name in names:
        model = models.create(name)
        params, state, images = inputs(model, slices, size)
        lowered = jax.jit(model.apply).lower(params, state, images)
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        rows.append(Row(name, count, lowered.cost_analysis()["flops"] / 1e9 / slices, 0.0))
        runs.append(run_of(lowered.compile(), (params, state, images)))
    seconds = [[run() for run in runs] for _ in range(rounds + 1)][1:]  # the first warms up
    medians = [1e3 * statistics.median(each) / slices for each in zip(*seconds, strict=True)]
    return [row._replace(ms=ms) for row, ms in zip(rows, medians, strict=True)]


def inputs(model: Model, slices: int, size: int) -> tuple[Any, Any, jax.Array]:
    """Random weights, which are as fast as learned ones, and random images."""
    if slices % model.depth_stride or size % model.stride:
        raise ShapeError(
            f"expected slices that are a multiple of {model.depth_stride} and a size that is one "
            f"of {model.stride}, found {slices} and {size}"
        )
    generator = np.random.default_rng(0)

    def drawn(like: Any) -> jax.Array:
        return jnp.asarray(generator.normal(scale=0.1, size=like.shape), like.dtype)

    params, state = jax.tree.map(drawn, jax.eval_shape(model.init, jax.random.key(0)))
    front = (slices,) if model.ndim == 2 else (1, slices)
    images = generator.random((*front, size, size, model.in_channels), np.float32)
    return params, jax.tree.map(jnp.abs, state), jnp.asarray(images)


def run_of(compiled: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], float]:
    """A function that runs it once and says how many seconds that took."""

    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - began

    return run


def table(rows: list[Row], dice: dict[str, float]) -> str:
    """Markdown, the fastest first; times are also shown relative to the U-Net's."""
    usual = next((row.ms for row in rows if row.name == "unet"), None)
    lines = [
        "| Network | Parameters | GFLOP a slice | ms a slice | to `unet` | Dice |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: row.ms):
        ratio = f"{row.ms / usual:.2f}" if usual else ""
        score = f"{dice[row.name]:.3f}" if row.name in dice else ""
        lines.append(
            f"| `{row.name}` | {row.parameters / 1e6:.2f} M | {row.gflop:.1f} | {row.ms:.0f} | "
            f"{ratio} | {score} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
