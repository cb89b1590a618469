"""How near the networks come to what this machine can do: the roofline picture.

    python benchmarks/roofline.py --out roofline.png

Each matrix product and each convolution of the shipped networks runs alone at its real shape, a
batch of four slices. Its rate, in GFLOP a second, stands over its intensity: operations for each
byte of input and output. Above is the roof: what a large product reaches in the same process, and
left of it what memory delivers, and the cache for arrays of 4 MB. The whole networks stand there,
too, with the bytes that XLA counts for them. Needs matplotlib.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from lungmask_jax import weights

BATCH = 4
KINDS = {"conv_general_dilated": "convolution", "dot_general": "1 x 1 convolution"}


class Point(NamedTuple):
    """One part of a network, or a whole one.

    Attributes:
        kind: What it is; the name of the bundle for a whole network.
        operations: Additions and multiplications.
        size: Bytes of inputs and outputs.
        seconds: Median of its runs.
    """

    kind: str
    operations: float
    size: float
    seconds: float


def main() -> None:
    """Measures, prints the table and saves the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("roofline.png"))
    parser.add_argument("--bundles", nargs="+", default=["lungs", "infection"])
    options = parser.parse_args()
    rate = product_rate()
    streams = {"memory": copy_rate(256), "cache": copy_rate(4)}
    points = [point for name in options.bundles for point in measured(name)]
    speeds = ", ".join(f"{stream:.0f} GB/s of {name}" for name, stream in streams.items())
    print(f"{rate:.0f} GFLOP/s in products of 2048 x 2048, {speeds}\n")
    print("| Network | GFLOP a slice | ms a slice | GFLOP/s | of the product | FLOP a byte |")
    print("| --- | --- | --- | --- | --- | --- |")
    for point in points:
        if point.kind in options.bundles:
            reached, each = point.operations / point.seconds / 1e9, point.operations / BATCH / 1e9
            print(
                f"| {point.kind} | {each:.1f} | {1e3 * point.seconds / BATCH:.0f} | "
                f"{reached:.0f} | {reached / rate:.0%} | {point.operations / point.size:.0f} |"
            )
    picture(points, options.bundles, rate, streams, options.out)


def measured(name: str) -> Iterator[Point]:
    """The parts of a bundle's network, each shape once, and the whole."""
    bundle = weights.load(name)
    rows, columns = bundle.spec.preprocess.size
    images = jnp.zeros((BATCH, rows, columns, bundle.model.in_channels))
    program = jax.make_jaxpr(lambda *a: bundle.model.apply(*a)[0])(
        bundle.params, bundle.state, images
    )
    seen = set()
    for equation in equations(program.jaxpr):
        shapes = tuple(v.aval.str_short() for v in equation.invars)
        if equation.primitive.name in KINDS and (equation.primitive.name, shapes) not in seen:
            seen.add((equation.primitive.name, shapes))
            yield alone(equation)
    whole = jax.jit(lambda *a: bundle.model.apply(*a)[0])
    given = jax.device_put((bundle.params, bundle.state, images))
    lowered = whole.lower(*given)
    size = lowered.compile().cost_analysis()["bytes accessed"]
    yield Point(name, lowered.cost_analysis()["flops"], size, seconds(whole, given))


def equations(program: Any) -> Iterator[Any]:
    """All steps of a program, those of its parts included."""
    for equation in program.eqns:
        inner = [p for p in equation.params.values() if isinstance(p, (jex.Jaxpr, jex.ClosedJaxpr))]
        if not inner:
            yield equation
        for part in inner:
            yield from equations(getattr(part, "jaxpr", part))


def bytes_of(equation: Any) -> float:
    """Of its inputs and outputs."""
    return sum(v.aval.size * v.aval.dtype.itemsize for v in (*equation.invars, *equation.outvars))


def alone(equation: Any) -> Point:
    """One step of a program, by itself."""
    run = jax.jit(lambda *given: equation.primitive.bind(*given, **equation.params))
    generator = np.random.default_rng(0)
    given = [jnp.asarray(generator.random(v.aval.shape), v.aval.dtype) for v in equation.invars]
    operations = run.lower(*given).cost_analysis()["flops"]
    kind = KINDS[equation.primitive.name]
    return Point(kind, operations, bytes_of(equation), seconds(run, given))


def seconds(run: Callable[..., Any], given: Any, rounds: int = 9) -> float:
    """Median, after two that warm up."""
    found = []
    for _ in range(rounds + 2):
        began = time.perf_counter()
        jax.block_until_ready(run(*given))
        found.append(time.perf_counter() - began)
    return statistics.median(found[2:])


def product_rate() -> float:
    """GFLOP/s of a large matrix product, the best of some."""
    matrix = jnp.asarray(np.random.default_rng(0).random((2048, 2048), np.float32))
    run = jax.jit(jnp.matmul)
    return 2 * 2048**3 / min(seconds(run, (matrix, matrix), 1) for _ in range(5)) / 1e9


def copy_rate(megabytes: int) -> float:
    """GB/s that are read and written, for an array of this size; the best of some."""
    array = jnp.zeros(megabytes << 18, jnp.float32)
    run = jax.jit(lambda values: values + 1)
    return 2 * array.nbytes / min(seconds(run, (array,)) for _ in range(5)) / 1e9


def picture(
    points: list[Point],
    wholes: list[str],
    rate: float,
    streams: Mapping[str, float],
    path: Path,
) -> None:
    """Saves the roof and the points below it, on logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure((7.2, 4.4), dpi=200, layout="constrained")
    axes = figure.subplots()
    along = np.geomspace(1, 1000, 200)
    for (name, stream), style in zip(streams.items(), ("-", "--"), strict=True):
        axes.plot(along, np.minimum(rate, stream * along), style, color="black", lw=1.2)
        axes.text(
            1.0,
            1.2 * stream,
            f" {name} {stream:.0f} GB/s",
            fontsize=9,
            rotation=np.degrees(np.arctan(1.2 * stream)),
            rotation_mode="anchor",
            transform_rotates_text=True,
        )
    axes.text(1000, rate * 1.06, f"matrix product {rate:.0f} GFLOP/s", ha="right", fontsize=9)
    colors = ("#0072B2", "#E69F00", "#D55E00", "#009E73")
    kinds = [*KINDS.values(), *wholes]
    for kind, color in zip(kinds, colors, strict=False):
        some = [point for point in points if point.kind == kind]
        axes.scatter(
            [point.operations / point.size for point in some],
            [point.operations / point.seconds / 1e9 for point in some],
            s=160 if kind in wholes else 26,
            marker="*" if kind in wholes else "o",
            color=color,
            label=f"{kind}, whole network" if kind in wholes else kind,
            zorder=3,
        )
    axes.set(xscale="log", yscale="log", xlim=(1, 1000), ylim=(1, 2 * rate))
    axes.set(xlabel="operations for each byte of input and output", ylabel="GFLOP/s")
    axes.grid(which="major", color="0.88")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    figure.savefig(path)


if __name__ == "__main__":
    main()
