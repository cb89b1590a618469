"""Training that is killed, and training on several devices and in several processes.

Run as a program, this file is one of these processes: the name of its part, and its arguments.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import (
    Samples,
    load_checkpoint,
    make_mesh,
    make_train_step,
    save_checkpoint,
    train,
)


def drawn():
    images = np.random.default_rng(0).random((8, 16, 16, 1), np.float32)
    return Samples.of(images, images[..., 0] > 0.5)


def noisy(key, images, masks):
    """Random as the built-in augmentation, but little to compile."""
    return images + jax.random.uniform(key, images.shape), masks


def numbers(epoch):
    sums = [float(abs(leaf).sum()) for leaf in jax.tree.leaves(epoch.train_state.ema)]
    return [epoch.step, epoch.loss, epoch.dice, *sums]


def saved_after_every_step(path):
    """Goes on from the checkpoint at the path if there is one."""
    spec = TrainSpec(steps=40, batch_size=4, steps_per_epoch=1)
    model, path = unet(channels=(4, 8), dropout=0.2), Path(path)
    start = load_checkpoint(path, model, spec) if path.exists() else None
    for epoch in train(model, drawn(), spec, start=start, augment=noisy):
        save_checkpoint(path, epoch.train_state, spec)
        yield [epoch.step]


def test_a_run_killed_at_any_moment_ends_where_the_uninterrupted_one_ends(tmp_path):
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    assert len(list(saved_after_every_step(whole))) == 40
    killed = in_a_process(saved_after_every_step, broken)
    for _ in range(int(np.random.default_rng().integers(1, 20))):
        killed.stdout.readline()
    killed.kill()
    killed.communicate()
    first, *_ = lines_of(in_a_process(saved_after_every_step, broken))[0]
    assert 1 < int(first) <= 40
    with np.load(whole) as one, np.load(broken) as other:
        assert sorted(one.files) == sorted(other.files)
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


def one_of(address, count, number):
    """Trains as one of so many processes."""
    if int(count) > 1:
        jax.distributed.initialize(address, int(count), int(number))
    spec = TrainSpec(steps=3, batch_size=4, steps_per_epoch=1)
    mesh = make_mesh()
    assert mesh.size == int(count)
    samples = drawn()
    model = unet(channels=(4, 8))
    for epoch in train(model, samples, spec, validation=samples, mesh=mesh, augment=noisy):
        yield numbers(epoch)


def test_two_processes_train_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [in_a_process(one_of, address, 2, number) for number in (0, 1)]
    expected = np.array(list(one_of(address, 1, 0)))
    one, two = (np.array(lines_of(process), float) for process in pair)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, expected, rtol=1e-4)
    assert one.shape[0] == 3


def on_one_and_eight_devices(accumulate):
    """Numbers of the epochs on one, then on all, and how often each step was compiled."""
    spec = TrainSpec(steps=3, batch_size=8, accumulate=int(accumulate), steps_per_epoch=1)
    model = unet(channels=(4, 8))
    for count in (1, 8 // spec.accumulate):
        mesh = make_mesh(count=count)
        for epoch in train(model, drawn(), spec, mesh=mesh, augment=noisy):
            yield numbers(epoch)
        step = make_train_step(model, spec, mesh=mesh, augment=noisy)
        yield ["compiled", step._cache_size()]


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_eight_devices_train_as_one(accumulate):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    lines = lines_of(in_a_process(on_one_and_eight_devices, accumulate, XLA_FLAGS=flags))
    each = [[float(x) for x in line] for line in lines if line[0] != "compiled"]
    assert [n[0] for n in each] == [1, 2, 3, 1, 2, 3]
    np.testing.assert_allclose(each[:3], each[3:], rtol=1e-4)
    assert [line[1] for line in lines if line[0] == "compiled"] == ["1", "1"]


def in_a_process(part, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, __file__, part.__name__, *map(str, arguments)],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines_of(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    ours = [line for line in out.splitlines() if not line.startswith("[")]  # [Gloo] ...
    return [line.split() for line in ours]


if __name__ == "__main__":
    name, *words = sys.argv[1:]
    for line in globals()[name](*words):
        print(*line, flush=True)
