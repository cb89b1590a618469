"""On a GPU: our networks beside PyTorch's U-Net, in slices a second, and a whole volume.

    python benchmarks/gpu.py

Both U-Nets have the same layers (`torch_unet.py`); PyTorch has channels_last, autocast to
bfloat16 and torch.compile. Medians of several rounds after a warm-up. ``--small`` makes all of it
small, to see on a CPU that it runs.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lungmask_jax import inference, training, weights
from lungmask_jax.models import create
from lungmask_jax.phantoms import phantom
from lungmask_jax.prediction import make_predict
from lungmask_jax.spec import TrainSpec

ROUNDS = 7
# of 256 x 256, every convolution as drawn in the paper; our programs need less
GFLOP_A_SLICE = {"unet": 5.2, "efficient_unet": 2.25}


def main() -> None:
    """Prints a row for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--small", action="store_true", help="a trial on a CPU")
    options = parser.parse_args()
    batch, size = (2, 64) if options.small else (options.batch_size, 256)
    peak = matmul_rate(256 if options.small else 8192)
    print(f"{jax.devices()[0].device_kind}: {peak / 1e3:.1f} TFLOP/s in bfloat16 matrix products")
    print("| What | ms | slices a second | share of the matrix rate |")
    print("| --- | --- | --- | --- |")
    scale = (size / 256) ** 2 * batch
    for name, seconds, operations in (*ours(batch, size), *peers(batch, size, options.small)):
        share = operations * scale / seconds / peak
        print(f"| {name} | {1e3 * seconds:.2f} | {batch / seconds:.0f} | {share:.1%} |", flush=True)
    volume((16, 128, 128) if options.small else (300, 512, 512))


def median(run: Callable[[], Any], wait: Callable[[Any], Any]) -> float:
    """Seconds of a run, the first two left out."""
    seconds = []
    for _ in range(ROUNDS + 2):
        began = time.perf_counter()
        wait(run())
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[2:])


def matmul_rate(side: int) -> float:
    """GFLOP a second of a bfloat16 matrix product."""
    matrix = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16)
    seconds = median(lambda: jax.jit(jnp.matmul)(matrix, matrix), jax.block_until_ready)
    return 2 * side**3 / seconds / 1e9


def ours(batch: int, size: int) -> Iterator[tuple[str, float, float]]:
    """Name, seconds, and GFLOP a slice; a training step counts as three passes."""
    images = jax.random.uniform(jax.random.key(0), (batch, size, size, 1))
    masks = (images > 0.7).astype(jnp.float32)
    for (network, operations), dtype in itertools.product(
        GFLOP_A_SLICE.items(), ("float32", "bfloat16")
    ):
        model = create(network, dtype=dtype)
        params, state = model.init(jax.random.key(0))
        predict = make_predict(model)

        def run(predict: Any = predict, params: Any = params, state: Any = state) -> Any:
            return predict(params, state, images)

        seconds = median(run, jax.block_until_ready)
        yield f"`{network}`, inference, {dtype}", seconds, operations
        seconds = _step(model, images, masks)
        yield f"`{network}`, training step, {dtype}", seconds, 3 * operations


def _step(model: Any, images: jax.Array, masks: jax.Array) -> float:
    spec = TrainSpec(batch_size=len(images), augment=0.0)
    state, step = training.create_state(model, spec), training.make_train_step(model, spec)

    def run() -> Any:
        nonlocal state
        state, loss = step(state, images, masks)
        return state, loss

    return median(run, jax.block_until_ready)


def peers(batch: int, size: int, small: bool) -> Iterator[tuple[str, float, float]]:
    """The same for the U-Net with PyTorch, if it is here."""
    try:
        import torch
        import torch_unet
    except ImportError:
        return
    device = "cpu" if small else "cuda"
    images = torch.rand(batch, 1, size, size, device=device).to(memory_format=torch.channels_last)
    masks = (images > 0.7).float()
    model = torch_unet.UNet().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    compiled = model if small else torch.compile(model)

    def wait(_: Any) -> None:
        if not small:
            torch.cuda.synchronize()

    def predict() -> Any:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            return torch.sigmoid(compiled(images))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            logits = compiled(images)
        torch_unet.loss(logits.float(), masks).backward()
        optimizer.step()

    operations = GFLOP_A_SLICE["unet"]
    yield "PyTorch, inference, bfloat16, compiled", median(predict, wait), operations
    yield "PyTorch, training step, bfloat16, compiled", median(step, wait), 3 * operations


def volume(shape: tuple[int, int, int]) -> None:
    """Seconds of a scan, and Dice of what float32 and bfloat16 find."""
    ct = phantom(shape).ct
    inference.segment(ct)
    stages: list[tuple[str, float]] = []
    began = time.perf_counter()
    inference.segment(ct, begin=lambda name: stages.append((name, time.perf_counter() - began)))
    stages.append(("done", time.perf_counter() - began))
    print(f"\nA volume of {shape}:")
    for (name, since), (_, until) in itertools.pairwise(stages):
        print(f"  {name}: {until - since:.2f} s")
    memory = jax.devices()[0].memory_stats() or {}
    print(f"  peak of device memory: {memory.get('peak_bytes_in_use', float('nan')) / 1e9:.2f} GB")
    bundle = weights.load("lungs")
    middle = len(ct.array) // 2
    slices = ct.array[middle - 8 : middle + 8, :, :, None]
    images = jnp.asarray(np.clip((slices + 1100) / 1350, 0, 1), jnp.float32)
    images = jax.image.resize(images, (len(images), 256, 256, 1), "linear")
    found = []
    for dtype in ("float32", "bfloat16"):
        spec = replace(bundle.spec.model, options={**bundle.spec.model.options, "dtype": dtype})
        predict = make_predict(weights.create_model(spec))
        found.append(np.asarray(predict(bundle.params, bundle.state, images)) > 0.5)
    both = 2 * (found[0] & found[1]).sum() / (found[0].sum() + found[1].sum())
    print(f"  Dice of float32 and bfloat16 masks: {both:.5f}")


if __name__ == "__main__":
    main()
