"""Scans a minute by one process and by workers, beside lungmask in a loop, and a simulation.

    python benchmarks/cohort_rate.py --peer-python ENVIRONMENT/bin/python
    python benchmarks/cohort_rate.py --scans 4 --slices 24 --workers 0 1 2

Each row is one command, or a loop of the shell with a process a scan, over the same scans, which
are phantoms that differ in their noise; all segment lungs alone. lungmask, if that interpreter has
it, has weights made by hand, as `peer_lungmask_weights.py` says. Clock, processor time of all
processes and the memory of the largest one are those of the whole command, its start included;
processor time says more than the clock on a machine that is busy. By default there are as many
workers as cores, in powers of two.

The simulation gives each worker cores of its own. A disk and the main process serve one scan at a
time; what they and the worker need for a scan is measured here. So the rate stops growing where one
of these two is always busy, which is said below the table.
"""

import argparse
import heapq
import multiprocessing
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from end_to_end import Run, measured

HERE = Path(__file__).parent
SPAWN = multiprocessing.get_context("spawn")
"""The memory of this process would count for those that it forks."""
DISKS = {"one disk of 200 MB/s": 200e6, "storage of 5 GB/s": 5e9}
"""Bytes a second."""
LUNGS = ("--weights", "lungs")
SIMULATED = (1, 2, 4, 8, 16, 32, 64)
TINY = 40
"""Scans that show what the main process does for each."""


class Costs(NamedTuple):
    """What a scan costs, without the start of a process.

    Attributes:
        read: Processor seconds of a worker.
        compute: The same.
        write: The same, with the picture.
        main: Processor seconds of the main process.
        size: Bytes that are read and written.
    """

    read: float
    compute: float
    write: float
    main: float
    size: float


LARGE = Costs(read=1.0, compute=16.1, write=0.6, main=0.0, size=103e6)
"""Seconds of two cores for 300 slices of 512 x 512, lungs and infection: docs/performance.md."""


def main() -> None:
    """Prints each row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=16)
    parser.add_argument("--slices", type=int, default=64, help="of 256 x 256, of each scan")
    parser.add_argument("--workers", type=int, nargs="+", help="0 is one process without Dask")
    parser.add_argument("--features", type=int, default=64, help="of the first level of lungmask")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter with lungmask")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    powers = (2**power for power in range(cores.bit_length()))
    workers = options.workers or [0, *powers, *([2] if cores == 1 else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        apart(make, folder / "scans", options.scans, (options.slices, 256, 256))
        print(f"{options.scans} scans of {options.slices} x 256 x 256, cores: {cores}\n")
        print("| Program | scans a minute | processor s a scan | MB of the largest process |")
        print("| --- | --- | --- | --- |", flush=True)
        for who, command in programs(folder, workers, options):
            print(row(who, measured(command), options.scans), flush=True)
        costs = apart(costs_of, folder)
    for one in (costs, LARGE._replace(main=costs.main)):
        print(f"\n{words(one)}\n")
        print("\n".join(simulation(one)))


def apart(function: Any, *values: Any) -> Any:
    """What a function returns in a process of its own."""
    answers: Queue[Any] = SPAWN.Queue()
    process = SPAWN.Process(target=answered, args=(answers, function, *values))
    process.start()
    answer = answers.get(timeout=3600)
    process.join()
    return answer


def answered(answers: "Queue[Any]", function: Any, *values: Any) -> None:
    """Puts what a function returns where another process waits for it."""
    answers.put(function(*values))


def make(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    """Phantoms that differ in their noise."""
    import lungmask_jax as lj

    folder.mkdir(parents=True)
    base = lj.phantom(shape, noise_hu=0.0, disease=0.1).ct
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 20, shape)
        array = np.clip(base.array + noise, -1024, 3071).astype(np.int16)
        lj.save(base.with_array(array), folder / f"case{number:04d}.nii.gz")


def programs(
    folder: Path, workers: Sequence[int], options: argparse.Namespace
) -> Iterator[tuple[str, list[str]]]:
    """Name and command of each; one warms up what is cached on disk."""
    ours = [str(Path(sys.executable).with_name("lungmask-jax")), "segment"]
    scans = str(folder / "scans")
    measured([*ours, f"{scans}/case0000.nii.gz", *LUNGS, "-o", str(folder / "warm")])
    peer = [options.peer_python, str(HERE / "peer_lungmask_weights.py")]
    made = folder / "weights"
    made.mkdir()
    known = subprocess.run([options.peer_python, "-c", "import lungmask"], capture_output=True)
    if known.returncode == 0:
        measured([*peer, "make", str(made), str(options.features)])
        words = shlex.join([*peer, "segment", str(made / "lungs.pth")])
        mask = f'{shlex.quote(str(made))}/"$(basename "$scan")".mha'
        yield "lungmask, a process a scan", loop(scans, f'{words} "$scan" {mask}')
    words = f'{shlex.join(ours)} "$scan" {shlex.join(LUNGS)} -o {shlex.quote(str(folder / "loop"))}'
    yield "lungmask-jax, a process a scan", loop(scans, words)
    for count in workers:
        cluster = ["--cluster", f"local:{count}"] if count else []
        who = f"{count} worker{'s' * (count > 1)}" if count else "one process"
        out = str(folder / f"by{count}")
        yield f"lungmask-jax, {who}", [*ours, scans, *LUNGS, "-o", out, *cluster]


def loop(scans: str, command: str) -> list[str]:
    """A loop of the shell."""
    return ["bash", "-ec", f"for scan in {shlex.quote(scans)}/case*.nii.gz; do {command}; done"]


def row(who: str, run: Run, scans: int) -> str:
    """A row of the table."""
    numbers = f"{60 * scans / run.clock:.1f} | {run.processor / scans:.1f}"
    return f"| {who} | {numbers} | {1000 * run.gigabytes:.0f} |"


def costs_of(folder: Path) -> Costs:
    """Medians over the scans but the first, which compiles."""
    import lungmask_jax as lj
    from lungmask_jax import cohort

    paths = sorted((folder / "scans").glob("case*.nii.gz"))
    bundles = [lj.weights.load("lungs")]
    stages: list[tuple[float, ...]] = []
    for path in (paths[0], *paths):
        times = [time.process_time()]
        ct = cohort.load(cohort.Scan(path), None)
        times.append(time.process_time())
        result = lj.segment(ct, weights=bundles)
        times.append(time.process_time())
        written = result.save(folder / "saved", name=path.stem)
        times.append(time.process_time())
        size = sum(file.stat().st_size for file in (path, *written))
        stages.append((*np.diff(times), size))
    read, compute, write, size = (
        statistics.median(numbers) for numbers in zip(*stages[1:], strict=True)
    )
    return Costs(read, compute, write, main_seconds(folder / "tiny"), size)


def main_seconds(folder: Path) -> float:
    """What the main process does for a scan while a worker segments tiny ones."""
    from cohort import ByThreshold

    from lungmask_jax import cohort

    make(folder / "scans", TINY, (3, 24, 24))
    with cohort.connected("local:1") as client:
        client.register_plugin(ByThreshold())
        client.wait_for_workers(1)
        began = time.process_time()
        outcomes = cohort.segment_many([folder / "scans"], folder / "out", client=client)
        done = sum(one.state == "done" for one in outcomes)
        return (time.process_time() - began) / done


def words(costs: Costs) -> str:
    """What was measured."""
    return (
        f"Seconds a scan: {costs.read:.2f} to read, {costs.compute:.2f} to compute, "
        f"{costs.write:.2f} to write, {1000 * costs.main:.1f} ms in the main process; "
        f"{costs.size / 1e6:.1f} MB read and written."
    )


def simulation(costs: Costs) -> Iterator[str]:
    """Scans an hour by number of workers for each disk, and which of them is full where."""
    yield "| workers | " + " | ".join(DISKS) + " |"
    yield "| --- |" + " --- |" * len(DISKS)
    for workers in SIMULATED:
        cells = (f"{rate(workers, costs, costs.size / speed):,.0f}" for speed in DISKS.values())
        yield f"| {workers} | " + " | ".join(cells) + " |"
    yield ""
    for name, full in limits(costs).items():
        yield f"- {name} is always busy from {full:,.0f} workers on."


def limits(costs: Costs) -> Mapping[str, float]:
    """So many workers keep each of the shared things busy."""
    own = costs.read + costs.compute + costs.write
    shared = {name: costs.size / speed for name, speed in DISKS.items()}
    return {name: 1 + own / one for name, one in {**shared, "the main process": costs.main}.items()}


def rate(workers: int, costs: Costs, disk_s: float, scans: int = 4000) -> float:
    """Scans an hour, where the disk and the main process serve one scan at a time."""
    free = [0.0] * workers
    disk_free = main_free = 0.0
    for _ in range(scans):
        main_free = max(heapq.heappop(free), main_free) + costs.main
        disk_free = max(main_free, disk_free) + disk_s
        heapq.heappush(free, disk_free + costs.read + costs.compute + costs.write)
    return 3600 * scans / max(free)


if __name__ == "__main__":
    main()
