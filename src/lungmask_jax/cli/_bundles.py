"""The models of a command."""

from collections.abc import Sequence
from typing import Final

from lungmask_jax import data, weights
from lungmask_jax.errors import SpecError
from lungmask_jax.volume import Volume
from lungmask_jax.weights import Bundle

__all__ = ["SEEN", "bundles", "exposed"]

SEEN: Final = ("learned from", "held out")
"""What a model may know of a case, the graver first."""


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


def exposed(models: Sequence[Bundle], name: str, ct: Volume) -> str:
    """Whether any of the models has learned from a case, or was chosen by it."""
    fingerprint = data.fingerprint(ct)
    said = {weights.exposure(model.spec.card, name, fingerprint) for model in models}
    return next((word for word in SEEN if word in said), "")
