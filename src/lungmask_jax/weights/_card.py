"""The cases that the networks of a bundle have seen, from its card."""

from collections.abc import Mapping
from typing import Any, Final, Literal

_SEEN: Final[Mapping[str, Literal["learned from", "held out"]]] = {
    "trained_on": "learned from",
    "held_out": "held out",
}


def exposure(
    card: Mapping[str, Any], case: str, fingerprint: str
) -> Literal["", "held out", "learned from"]:
    """Whether the networks of a bundle have seen a case.

    Args:
        card: Card of a bundle, also of an ensemble. ``lungmask-jax train`` stores fingerprints of
            all scans in it, ``trained_on_images`` and ``held_out_images``; without these, the
            names are compared, ``trained_on`` and ``held_out``.
        case: Name of the case.
        fingerprint: `lungmask_jax.data.fingerprint` of its scan.

    Returns:
        ``"learned from"``; ``"held out"``, if epoch and threshold were chosen on it; or ``""``, if
        the card does not say that it was seen.

    Example:
        >>> exposure({"trained_on": ["a"], "held_out": ["b"]}, "b", "")
        'held out'
    """
    members = card.get("members")
    if isinstance(members, list):
        known = {exposure(one, case, fingerprint) for one in members if isinstance(one, Mapping)}
    else:
        known = {word for key, word in _SEEN.items() if _named(card, key, case, fingerprint)}
    return next((word for word in _SEEN.values() if word in known), "")


def _named(card: Mapping[str, Any], key: str, case: str, fingerprint: str) -> bool:
    images, names = card.get(f"{key}_images"), card.get(key)
    if isinstance(images, list):
        return fingerprint in images
    return isinstance(names, list) and case in names
