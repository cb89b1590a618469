"""One check, and the verdict of several."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Result: TypeAlias = Literal["pass", "look", "fail"]
"""``"look"``: a person must look at the picture; ``"fail"``: the numbers cannot be used."""

_RANK: Final[tuple[Result, ...]] = ("pass", "look", "fail")


@dataclass(frozen=True)
class Check:
    """The result of a rule.

    Attributes:
        name: Name of the rule, such as ``"lungs_volume"``.
        result: ``"pass"``, ``"look"`` or ``"fail"``.
        value: The number that was compared with the limit.
        note: What is wrong and what to do, without a full stop; empty if it passed.
        source: What the limit rests on.

    Example:
        >>> Check("noise", "pass", 21.5, source="an experiment").note
        ''
    """

    name: str
    result: Result
    value: float
    note: str = ""
    source: str = ""


def verdict(checks: Iterable[Check]) -> Result:
    """The worst result.

    Args:
        checks: Of one scan; ``"pass"`` if there is none.

    Returns:
        ``"pass"``, ``"look"`` or ``"fail"``.

    Example:
        >>> verdict([Check("noise", "pass", 20.0), Check("lungs_found", "fail", 0.0)])
        'fail'
    """
    return max((one.result for one in checks), key=_RANK.index, default="pass")
