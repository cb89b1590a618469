"""The models of a command."""

from collections.abc import Sequence

from lungmask_jax import weights
from lungmask_jax.errors import SpecError
from lungmask_jax.weights import Bundle

__all__ = ["bundles"]


def bundles(names: Sequence[str], *needed: str) -> list[Bundle]:
    """One bundle a target; what cannot work is refused before a scan is read.

    Several of one target become one that answers for all.
    """
    groups: dict[str, list[Bundle]] = {}
    for bundle in map(weights.load, names):
        groups.setdefault(bundle.spec.target, []).append(bundle)
    missing = sorted({*needed} - groups.keys())
    if missing:
        raise SpecError(
            f"expected a model for {' and '.join(missing)} among --weights, found "
            f"{', '.join(names)}: add one"
        )
    return [weights.ensemble(group) for group in groups.values()]
