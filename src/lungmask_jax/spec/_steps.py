"""Changes to the steps of post-processing."""

from lungmask_jax.tasks import Steps


def changed_steps(steps: Steps, name: str, **numbers: float) -> Steps:
    """The same steps, one of them with other numbers.

    Args:
        steps: Of a spec.
        name: Of the step; the first of this name is changed. Where there is none it comes first.
        numbers: Those that are to change.

    Returns:
        The steps.

    Example:
        >>> changed_steps((("threshold", {"at": 0.5}), ("sides", {})), "threshold", at=0.4)
        (('threshold', {'at': 0.4}), ('sides', {}))
    """
    place = next((place for place, (one, _) in enumerate(steps) if one == name), None)
    if place is None:
        return ((name, numbers), *steps)
    changed = name, {**steps[place][1], **numbers}
    return (*steps[:place], changed, *steps[place + 1 :])
