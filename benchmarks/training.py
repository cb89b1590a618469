"""Training steps a second: ours, with and without augmentation, and PyTorch's.

    python benchmarks/training.py --peer-python ENVIRONMENT/bin/python

The same U-Net, batch, loss (BCE and Dice) and optimizer (AdamW); images are 256 x 256. The programs
take turns; medians of the steps after the first ones. Processor time counts all cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE = 256


def main() -> None:
    """Prints a row for each; as a peer, its own numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with torch")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8, help="of each turn (default: 8)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument(
        "--run", choices=["ours", "augmented", "cores", "torch"], help=argparse.SUPPRESS
    )
    options = parser.parse_args()
    if options.run:
        runs = {"ours": ours, "augmented": augmented, "cores": by_cores, "torch": with_torch}
        steps = runs[options.run]
        print(json.dumps(timed(steps(*data(options.batch_size)), options.steps)))
        return
    pythons = dict.fromkeys(["ours", "augmented", "cores"], sys.executable)
    pythons["torch"] = options.peer_python
    if subprocess.run([options.peer_python, "-c", "import torch"], capture_output=True).returncode:
        del pythons["torch"]
    words = [__file__, "--batch-size", str(options.batch_size), "--steps", str(options.steps)]
    turns = [
        {name: asked([python, *words, "--run", name]) for name, python in pythons.items()}
        for _ in range(options.turns)
    ]
    print("| Step | clock s | processor s | ratio |\n| --- | --- | --- | --- |")
    first = None
    for name in pythons:
        clock, processor = np.median([turn[name] for turn in turns], axis=0)
        first = first or processor
        print(f"| {name} | {clock:.2f} | {processor:.2f} | {processor / first:.2f} |")


def asked(command: list[str]) -> list[float]:
    """What one program says of itself."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def timed(step: Callable[[], None], count: int) -> tuple[float, float]:
    """Median seconds of a step, by the clock and of all cores, after two that warm up."""
    clock, processor = [], []
    for _ in range(count + 2):
        began, used = time.perf_counter(), time.process_time()
        step()
        clock.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return statistics.median(clock[2:]), statistics.median(processor[2:])


def data(batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images and masks, ``(N, H, W, 1)``."""
    generator = np.random.default_rng(0)
    images = generator.random((batch_size, SIZE, SIZE, 1), np.float32)
    return images, (images > 0.7).astype(np.float32)


def ours(
    images: np.ndarray, masks: np.ndarray, *, augment: float = 0.0, devices: int = 1
) -> Callable[[], None]:
    """One step of `lungmask_jax.training`."""
    import jax

    from lungmask_jax import training
    from lungmask_jax.models import unet
    from lungmask_jax.spec import TrainSpec

    model, spec = unet(), TrainSpec(batch_size=len(images), augment=augment)
    state = training.create_state(model, spec)
    mesh = None if devices == 1 else training.make_mesh(count=devices)
    run = training.make_train_step(model, spec, mesh=mesh)

    def step() -> None:
        nonlocal state
        state, loss = run(state, images, masks)
        jax.block_until_ready((state, loss))

    return step


def augmented(images: np.ndarray, masks: np.ndarray) -> Callable[[], None]:
    """The same with augmentation."""
    return ours(images, masks, augment=1.0)


def by_cores(images: np.ndarray, masks: np.ndarray) -> Callable[[], None]:
    """Every core a device of its own, which takes its part of the batch: `train --devices`."""
    import jax

    cores = os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)
    return ours(images, masks, devices=cores)


def with_torch(images: np.ndarray, masks: np.ndarray) -> Callable[[], None]:
    """One step of PyTorch, in the layout of memory that is faster on a CPU."""
    sys.path.insert(0, str(Path(__file__).parent))
    import torch
    import torch_unet

    layout = torch.channels_last
    given, truth = (
        torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout)
        for array in (images, masks)
    )
    model = torch_unet.UNet().to(memory_format=layout)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        optimizer.zero_grad()
        torch_unet.loss(model(given), truth).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
