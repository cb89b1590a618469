"""Names that resolve to objects, provided by this package or by others through entry points.

Listing imports nothing; looking one name up imports the one package that provides it. Built-in
names are entry points like any other, except that nobody can take them.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from lungmask_jax.errors import PluginError, UnknownNameError, nearest

__all__ = ["Registry"]

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from names to what entry points provide, loaded on first use.

    Args:
        group: Entry-point group, for example ``"lungmask_jax.models"``.
        builtins: Name to ``"module:object"``; these cannot be shadowed.

    Example:
        >>> registry = Registry("my.functions", {"join": "os.path:join"})
        >>> list(registry), "join" in registry
        (['join'], True)
        >>> registry["joint"]
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.UnknownNameError: no 'joint' among the functions: did you mean 'join'?
    """

    def __init__(self, group: str, builtins: Mapping[str, str]) -> None:
        self._group = group
        self._builtins = {name: EntryPoint(name, value, group) for name, value in builtins.items()}
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def register(self, name: str, value: T) -> None:
        """Adds a name for this process, for notebooks and scripts; packages use entry points.

        Args:
            name: A name that nothing else has; registering it again replaces it.
            value: What the name stands for.

        Raises:
            PluginError: A built-in or an installed package has the name already.
        """
        if name in self._builtins or any(point.name == name for point in self._installed()):
            raise PluginError(f"expected a new name for {self._group!r}, {name!r} is taken")
        self._registered[name] = value

    def owner(self, name: str) -> str:
        """Who brings a name; nothing is imported.

        Args:
            name: One of the names.

        Returns:
            The name of the package, ``"this process"`` if it was registered.

        Raises:
            UnknownNameError: Nobody brings it.
            PluginError: Two packages do.

        Example:
            >>> Registry("my.functions", {"join": "os.path:join"}).owner("join")
            'lungmask-jax'
        """
        return "this process" if name in self._registered else _owner(self._point(name))

    def __getitem__(self, name: str) -> T:
        if name in self._registered:
            return self._registered[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._point(name))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names()))

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> set[str]:
        installed = {point.name for point in self._installed()}
        return {*self._builtins, *self._registered, *installed}

    def _installed(self) -> list[EntryPoint]:
        """What other packages provide; our own entry points are the built-ins."""
        return [
            point
            for point in entry_points(group=self._group)
            if not (point.dist and point.dist.name == "lungmask-jax")
        ]

    def _point(self, name: str) -> EntryPoint:
        if name in self._builtins:
            return self._builtins[name]
        claims = [point for point in self._installed() if point.name == name]
        if not claims:
            kind = self._group.rpartition(".")[2]
            raise UnknownNameError(f"no {name!r} among the {kind}: {nearest(name, self)}")
        if len({point.value for point in claims}) > 1:
            owners = ", ".join(sorted(f"{_owner(point)} ({point.value})" for point in claims))
            raise PluginError(
                f"expected one provider of {name!r} in {self._group!r}, found {owners}: "
                "uninstall all but one, or ask their authors to rename"
            )
        return claims[0]

    def _load(self, point: EntryPoint) -> T:
        try:
            value: T = point.load()
        except Exception as error:
            raise PluginError(
                f"{point.name!r} in {self._group!r} cannot be loaded from {_owner(point)} "
                f"({point.value}): {type(error).__name__}: {error}"
            ) from error
        return value


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "lungmask-jax"
