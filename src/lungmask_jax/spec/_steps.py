"""Changes to post-processing steps."""

from lungmask_jax.tasks import Steps


def changed_steps(steps: Steps, name: str, **numbers: float) -> Steps:
    """The same steps, one of them with other parameters.

    Args:
        steps: Steps of a spec.
        name: Name of the step; the first of this name is changed, or a new one put first.
        numbers: The changed parameters.

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
