"""Scans that kill or stop the worker of Dask that segments them, or fill its disk.

A module of its own, because workers import what they are sent.
"""

import errno
import os
import time

from distributed import WorkerPlugin
from segment_runs import by_density, named_only

from lungmask_jax import inference
from lungmask_jax.cohort import _cluster

KILLS, HANGS, FILLS = -1000, -999, -998
"""The first voxel of a scan that does so."""


class Hostile(WorkerPlugin):
    """No network in any worker, and what the first voxel of a scan says."""

    def setup(self, worker):
        inference.segment = segment
        _cluster._models = lambda names: tuple(named_only(names).values())


def segment(ct, **more):
    first = int(ct.array[0, 0, 0])
    if first == KILLS:
        os.kill(os.getpid(), 9)
    while first == HANGS:
        time.sleep(1)
    if first == FILLS:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return by_density(ct, **more)
