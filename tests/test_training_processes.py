"""Training that is killed, and training on several devices and in several processes."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest

ONE_OF_EIGHT = """
import sys
import numpy as np
import jax
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, make_mesh, make_train_step, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=3, batch_size=8, accumulate=int(sys.argv[1]), steps_per_epoch=1)
model = unet(channels=(4, 8))
for count in (1, 8 // spec.accumulate):
    mesh = make_mesh(count=count)
    for epoch in train(model, samples, spec, mesh=mesh):
        sums = [float(abs(leaf).sum()) for leaf in jax.tree.leaves(epoch.train_state.ema)]
        print(count, epoch.step, epoch.loss, *sums)
    print("compiled", make_train_step(model, spec, mesh=mesh)._cache_size())
"""


STOPPED_AND_RESUMED = """
import sys
from pathlib import Path
import numpy as np
import jax
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, load_checkpoint, save_checkpoint, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=40, batch_size=4, steps_per_epoch=1)
model, path = unet(channels=(4, 8), dropout=0.2), Path(sys.argv[1])
start = load_checkpoint(path, model, spec) if path.exists() else None
for epoch in train(model, samples, spec, start=start):
    save_checkpoint(path, epoch.train_state, spec)
    print(epoch.step, flush=True)
"""


def test_a_run_killed_at_any_moment_ends_where_the_uninterrupted_one_ends(tmp_path):
    whole, broken = tmp_path / "whole.npz", tmp_path / "broken.npz"
    lines_of(in_a_process(STOPPED_AND_RESUMED, whole))
    killed = in_a_process(STOPPED_AND_RESUMED, broken)
    for _ in range(int(np.random.default_rng().integers(1, 20))):
        killed.stdout.readline()
    killed.kill()
    killed.communicate()
    first, *_ = lines_of(in_a_process(STOPPED_AND_RESUMED, broken))[0]
    assert 1 < int(first) <= 40
    with np.load(whole) as one, np.load(broken) as other:
        assert sorted(one.files) == sorted(other.files)
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


ONE_OF_TWO_PROCESSES = """
import sys
import numpy as np
import jax

address, count, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if count > 1:
    jax.distributed.initialize(address, count, number)
from lungmask_jax.models import unet
from lungmask_jax.spec import TrainSpec
from lungmask_jax.training import Samples, make_mesh, train

generator = np.random.default_rng(0)
images = generator.random((8, 16, 16, 1), np.float32)
samples = Samples.of(images, images[..., 0] > 0.5)
spec = TrainSpec(steps=3, batch_size=4, steps_per_epoch=1)
mesh = make_mesh()
assert mesh.size == count
for epoch in train(unet(channels=(4, 8)), samples, spec, validation=samples, mesh=mesh):
    sums = [float(abs(leaf).sum()) for leaf in jax.tree.leaves(epoch.train_state.ema)]
    print(epoch.step, epoch.loss, epoch.dice, *sums)
"""


def test_two_processes_train_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    pair = [in_a_process(ONE_OF_TWO_PROCESSES, address, 2, number) for number in (0, 1)]
    alone = in_a_process(ONE_OF_TWO_PROCESSES, address, 1, 0)
    one, two, expected = (np.array(lines_of(process), float) for process in (*pair, alone))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_allclose(one, expected, rtol=1e-4)
    assert one.shape[0] == 3


def in_a_process(code, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
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


@pytest.mark.parametrize("accumulate", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_eight_devices_train_as_one(accumulate):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    lines = lines_of(in_a_process(ONE_OF_EIGHT, accumulate, XLA_FLAGS=flags))
    numbers = [[float(x) for x in line[1:]] for line in lines if line[0] != "compiled"]
    assert [n[0] for n in numbers] == [1, 2, 3, 1, 2, 3]
    np.testing.assert_allclose(numbers[:3], numbers[3:], rtol=1e-4)
    assert [line[1] for line in lines if line[0] == "compiled"] == ["1", "1"]
