"""The layout of a state and its batches on several devices."""

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from lungmask_jax.errors import SpecError


def make_mesh(*, count: int | None = None) -> Mesh:
    """A one-dimensional mesh of devices that share each batch, for `make_train_step` and `train`.

    Args:
        count: Number of devices; by default all of this process and its peers.

    Returns:
        A mesh with the one axis ``"batch"``.

    Raises:
        SpecError: There are fewer devices.

    Example:
        >>> make_mesh(count=1).axis_names
        ('batch',)
    """
    devices = jax.devices()
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise SpecError(f"expected 1 to {len(devices)} devices (all there are), found {count}")
    return Mesh(np.array(devices[:count]), ("batch",))


def replicated(mesh: Mesh) -> NamedSharding:
    """A sharding with the same data on every device."""
    return NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]


def divided(mesh: Mesh) -> NamedSharding:
    """A sharding with the first axis divided among the devices."""
    return NamedSharding(mesh, PartitionSpec("batch"))  # type: ignore[no-untyped-call]
