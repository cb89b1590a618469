r"""Many small scans, processes killed at random moments, and several runs at once.

    python benchmarks/cohort.py
    python benchmarks/cohort.py --scans 100 --kills 10 --only kills

The scans are phantoms, and a threshold takes the place of the networks, a slice that of the
picture, because what is tested is everything around them. ``kills``: processes of a run and workers
of Dask are killed; then the same command must leave what an undisturbed run leaves, to the byte,
with a row for every scan. ``three``: three runs at once on one folder. `cohort_rate.py` has their
rate.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
from distributed import Client, WorkerPlugin

from lungmask_jax import cohort, inference, io, phantoms
from lungmask_jax.cohort import _cluster, _segment_many
from lungmask_jax.inference import Segmentation
from lungmask_jax.volume import Volume

FORK = multiprocessing.get_context("fork")
SHAPE = (3, 24, 24)


def main() -> None:
    """Prints each part as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--worker-kills", type=int, default=10, help="how many of them of workers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=["kills", "three"])
    options = parser.parse_args()
    by_threshold()
    good = True
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = made(folder / "scans", options.scans)
        seconds = timed(lambda: apart(run, scans, folder / "whole"))
        expected = contents(folder / "whole")
        print(f"undisturbed: {options.scans} scans, {seconds:.0f} s", flush=True)
        if "kills" in options.only:
            good &= killed(scans, folder / "killed", expected, options)
        if "three" in options.only:
            good &= three(scans, folder / "three", expected)
    sys.exit(not good)


def made(folder: Path, count: int) -> Path:
    """Phantoms that differ in their noise."""
    folder.mkdir()
    base = phantoms.phantom(SHAPE, noise_hu=0.0).ct
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 20, SHAPE)
        array = np.clip(base.array + noise, -1024, 3071).astype(np.int16)
        io.save(base.with_array(array), folder / f"case{number:04d}.nii.gz")
    return folder


class ByThreshold(WorkerPlugin):
    """In each worker, a threshold in the place of the networks."""

    def setup(self, worker: Any) -> None:
        """Also in a worker that replaces one that was killed."""
        by_threshold()


def by_threshold() -> None:
    """Has this process segment by a threshold."""
    inference.segment = segmented  # type: ignore[assignment]
    Segmentation.overlay = small_picture  # type: ignore[assignment,method-assign]
    _segment_many.by_target = bundles  # type: ignore[assignment]
    _cluster._models = lambda names: tuple(bundles(names).values())  # type: ignore[assignment]


def small_picture(result: Segmentation, **_more: Any) -> np.ndarray:
    """A slice, in the place of the montage, which takes most of the time of so small a scan."""
    gray = (np.clip(result.ct.array[1], -1000, 1000) / 8 + 127).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def bundles(names: Any) -> dict[str, Any]:
    """As much of bundles as is asked for."""
    spec = {name: SimpleNamespace(target=name, needs="") for name in names}
    return {name: SimpleNamespace(name=name, checksum="0" * 64, spec=spec[name]) for name in names}


def segmented(ct: Volume, *, weights: Any, **_more: Any) -> Segmentation:
    """Air is lung, and its front half infected."""
    lungs = ct.with_array((ct.array < -500).astype(np.uint8))
    lungs.array[..., lungs.shape[2] // 2 :] *= 2
    infection = ct.with_array((lungs.array > 0).astype(np.uint8))
    infection.array[:, infection.shape[1] // 2 :] = 0
    models = {model.spec.target: "threshold" for model in weights}
    masks = {"lungs": lungs, "infection": infection, "lesions": infection}
    return Segmentation(ct, masks, models)


def run(scans: Path, out: Path, *, client: Client | None = None, **more: Any) -> int:
    """The number of scans that this run segmented."""
    return sum(one.is_new for one in cohort.segment_many([scans], out, client=client, **more))


def apart(work: Callable[..., object], *words: Any) -> None:
    """In a process of its own, so that this one has no threads and can be forked."""
    process = FORK.Process(target=work, args=words)
    process.start()
    process.join()


def contents(out: Path) -> Mapping[str, bytes]:
    """All files that a user sees; the rows of the table in their order."""
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    files.pop("measures.csv")
    rows = sorted((out / "measures.csv").read_bytes().splitlines())
    return {**files, "measures.csv": b"\n".join(rows)}


def killed(
    scans: Path, out: Path, expected: Mapping[str, bytes], options: argparse.Namespace
) -> bool:
    """Kills processes of runs, then workers; then runs once more, and compares."""
    choose, workers = random.Random(options.seed), options.worker_kills
    began = time.monotonic()
    for _ in range(options.kills - workers):
        process = FORK.Process(target=run, args=(scans, out))
        process.start()
        process.join(choose.uniform(0.2, 6.0))
        process.kill()
        process.join()
    print(f"{options.kills - workers} runs killed: {states(out)}", flush=True)
    out.mkdir(exist_ok=True)
    for name in sorted(path.stem for path in out.glob("case*.json"))[1::2]:
        (out / f"{name}.json").unlink()  # so that there is work for them
        for kind in ("lungs.nii.gz", "infection.nii.gz", "lesions.nii.gz", "overlay.png"):
            (out / f"{name}_{kind}").unlink()
    ends = FORK.Process(target=kill_workers, args=(os.getpid(), out, workers, options.seed))
    ends.start()
    apart(by_workers, scans, out)
    ends.kill()
    ends.join()
    print(f"run by workers, {workers} killed: {states(out)}", flush=True)
    apart(run_again, scans, out)
    table = len(cohort.collect(out)[0].read_text().splitlines()) - 1
    for path in out.glob("cohort.*"):
        path.unlink()
    same = contents(out) == expected
    left = [path.name for path in out.iterdir() if path.name.startswith(".lungmask-jax-")]
    print(
        f"run again: {states(out)}; {table} rows; {'equal' if same else 'DIFFERENT'} to the "
        f"undisturbed run; {len(left)} folders left; {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return same and table == options.scans


def by_workers(scans: Path, out: Path) -> None:
    """A run by two workers."""
    with cohort.connected("local:2") as client:
        client.register_plugin(ByThreshold())
        run(scans, out, client=client, retry_failed=True)


def run_again(scans: Path, out: Path) -> None:
    """A run that tries failed scans, too."""
    run(scans, out, retry_failed=True)


def states(out: Path) -> str:
    """How many scans are in which state, by the log and the files."""
    done = len(list(out.glob("case*.json")))
    latest = cohort._state.latest(out)
    failed = sum(row["state"] == "failed" for row in latest.values())
    return f"{done} done, {failed} failed"


def kill_workers(parent: int, out: Path, count: int, seed: int) -> None:
    """Kills so many workers, each while it works on a scan."""
    choose = random.Random(seed)
    while count:
        time.sleep(choose.uniform(0.5, 4))
        children = {one.pid for one in psutil.Process(parent).children(recursive=True)}
        working = {*pids(out / cohort._state.HIDDEN / "attempts")} & children
        if working:
            os.kill(choose.choice(sorted(working)), signal.SIGKILL)
            count -= 1
    print("all workers killed", flush=True)


def pids(attempts: Path) -> Iterator[int]:
    """The processes that work on a scan, or that did when they ended."""
    for path in attempts.glob("*"):
        try:
            yield int(path.read_text().split()[-1])
        except (OSError, ValueError, IndexError):  # it has just ended
            continue


def three(scans: Path, out: Path, expected: Mapping[str, bytes]) -> bool:
    """Three runs at once."""
    began = time.monotonic()
    processes = [FORK.Process(target=run, args=(scans, out)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    same = contents(out) == expected
    rows = [row for row in cohort._state._rows(out) if row["state"] == "done" and "seconds" in row]
    print(
        f"three runs at once: {len(rows)} segmented, {'equal' if same else 'DIFFERENT'} to the "
        f"undisturbed run; {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return same


def timed(work: Callable[[], object]) -> float:
    """Seconds of the clock."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
