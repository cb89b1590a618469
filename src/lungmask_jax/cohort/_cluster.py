"""Scans segmented by the workers of Dask, one scan at a time in each process."""

import contextlib
import functools
import importlib.util
import logging
import os
import threading
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from lungmask_jax import inference
from lungmask_jax.cohort import _state
from lungmask_jax.cohort._attempt import (
    Job,
    Outcome,
    Worker,
    attempt,
    ended,
)
from lungmask_jax.cohort._limits import MOST_KILLED, killed_error
from lungmask_jax.cohort._scan import Scan
from lungmask_jax.errors import MissingPackageError, ScanWarning, SpecError
from lungmask_jax.weights import Bundle, by_target

_ALONE: Final = threading.Lock()
"""Held while a scan is worked on: its warnings and its limit of time are those of the process."""

_LOCAL: Final = "local:"
_SETTINGS: Final = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.deploy.lost-worker-timeout": "10 minutes",  # a busy machine starts one slowly
}
_PATIENCE_S: Final = 30


@contextlib.contextmanager
def connected(address: str) -> Iterator[Any]:
    """A client of the workers of an address, which ends with the block.

    Args:
        address: ``"local:2"`` starts two workers on this machine, which share its cores;
            ``"tcp://host:8786"`` is the scheduler of a cluster.

    Yields:
        A ``dask.distributed.Client``.

    Raises:
        MissingPackageError: Dask is not installed.
        SpecError: The address is wrong, or nobody answers.

    Example:
        >>> with connected("local:0"):
        ...     pass
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.SpecError: expected local:2 or tcp://host:8786 ..., found 'local:0'
    """
    _check_installed()
    import dask
    from distributed import Client

    number = address.removeprefix(_LOCAL)
    if address.startswith(_LOCAL) and number.isdecimal() and int(number):
        with dask.config.set(_SETTINGS), _local(int(number)) as cluster, Client(cluster) as client:
            yield client
        return
    if "://" not in address:
        raise SpecError(
            f"expected local:2 or tcp://host:8786 as the address of a cluster, found {address!r}"
        )
    try:
        client = Client(address, timeout=_PATIENCE_S)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"no scheduler of Dask answers at {address} ({error}): start one with dask scheduler"
        ) from error
    with client:
        yield client


def _check_installed() -> None:
    if importlib.util.find_spec("distributed") is None:
        raise MissingPackageError(
            "expected Dask to use a cluster, found no such package: "
            'pip install "lungmask-jax[cluster]"'
        )


def _local(count: int) -> Any:
    """Worker processes on this machine, each with its share of the cores, and a GPU of its own."""
    from distributed import Nanny, Scheduler, SpecCluster

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = str(max(1, (cores or 1) // count))
    given = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
    gpus = given or [str(number) for number in range(count)]
    workers = {
        number: {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "memory_limit": 0,
                "host": "127.0.0.1",
                "dashboard": False,
                "silence_logs": logging.CRITICAL,
                "env": {
                    "NPROC": threads,  # of XLA
                    "OMP_NUM_THREADS": threads,
                    "CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)],
                },
            },
        }
        for number in range(count)
    }
    place = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": place}
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)


def distributed(client: Any, scans: Mapping[str, Scan], job: Job) -> Iterator[Outcome]:
    """The outcome of each scan by the workers of a client; models are checked before the first."""
    _check_installed()
    loaded = [one for one in job.weights if isinstance(one, Bundle)]
    if loaded:
        raise SpecError(
            f"expected names or paths of bundles for workers, found {loaded[0].name}, which is "
            "loaded here: give its file"
        )
    client.submit(_model_names, job.weights, pure=False).result()
    return _spread(client, scans, job)


def _spread(client: Any, scans: Mapping[str, Scan], job: Job) -> Iterator[Outcome]:
    """As many scans at once as there are workers, so that one that dies takes but one with it."""
    from distributed import as_completed

    known = _state.latest(job.results.folder)
    todo, again, names, lost = iter(scans), deque[str](), dict[str, str](), Counter[str]()
    running = as_completed()

    def submit() -> None:
        while len(names) < max(1, len(client.nthreads())):
            name = next(todo, "")
            wait = not name
            if wait and not again:
                return
            name = name or again.popleft()
            words = name, scans[name], known.get(name, {}), job, wait
            future = client.submit(_attempted, *words, pure=False)
            names[future.key] = name
            running.add(future)

    submit()
    try:
        for future in running:
            name = names.pop(future.key)
            outcome = _outcome(future, name, scans[name], job, lost)
            if outcome is None or outcome.state == "busy":
                again.append(name)
            else:
                yield outcome
            submit()
    finally:
        client.cancel([*names])


def _outcome(future: Any, name: str, scan: Scan, job: Job, lost: Counter[str]) -> Outcome | None:
    """The outcome of a scan; nothing if its worker died, and another one may be tried."""
    from distributed.scheduler import KilledWorker

    if not isinstance(future.exception(), KilledWorker):
        outcome: Outcome = future.result()
        return outcome
    tries = _state.Attempts.of(job.results.folder, name)
    lost[name] += 1
    if tries.killed() < MOST_KILLED and lost[name] < MOST_KILLED:
        return None
    tries.forget()
    why = str(killed_error(MOST_KILLED))
    row = {"scan": name, "source": scan.source, "state": "failed", "reason": why, "lasting": True}
    _state.append(job.results.folder, row)
    return Outcome(name, scan, "failed", reason=why)


def _attempted(name: str, scan: Scan, known: Mapping[str, Any], job: Job, wait: bool) -> Outcome:
    """What a worker does with a scan."""
    with _ALONE, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ScanWarning)
        worker = Worker(job, _models(job.weights))
        outcome = ended(attempt(name, scan, known, worker, wait=wait))
    notes = [str(one.message) for one in caught if issubclass(one.category, ScanWarning)]
    return replace(outcome, notes=(*notes, *outcome.notes))


def _model_names(weights: tuple[str | os.PathLike[str], ...]) -> list[str]:
    """What a worker can load; bundles themselves would travel back, and are large."""
    return [one.name for one in _models(weights)]


@functools.lru_cache(maxsize=1)
def _models(weights: tuple[str | os.PathLike[str], ...]) -> tuple[Bundle, ...]:
    """The bundles, loaded once by a process."""
    return tuple(inference.ordered(by_target(weights)).values())
