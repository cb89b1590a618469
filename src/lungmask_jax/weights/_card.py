"""What the card of a bundle says of the cases that its networks know."""

from collections.abc import Mapping
from typing import Any, Final, Literal

_SEEN: Final[Mapping[str, Literal["learned from", "held out"]]] = {
    "trained_on": "learned from",
    "held_out": "held out",
}


def exposure(
    card: Mapping[str, Any], case: str, fingerprint: str
) -> Literal["", "held out", "learned from"]:
    """Whether the networks of a bundle know a case already.

    Args:
        card: Of a bundle, an ensemble too. ``lungmask-jax train`` puts fingerprints of all scans
            into it, ``trained_on_images`` and ``held_out_images``; where there are none, the names
            count, ``trained_on`` and ``held_out``.
        case: Name of the case.
        fingerprint: What `lungmask_jax.data.fingerprint` says of its scan.

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
