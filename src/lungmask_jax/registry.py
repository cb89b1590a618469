"""Names of objects from this package or, through entry points, from others.

Listing imports nothing; looking one name up imports the one package that provides it. Built-in
names are entry points like any other, except that they cannot be replaced.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Final, Generic, TypeVar

from lungmask_jax.errors import LungmaskError, PluginError, UnknownNameError, nearest, shown

__all__ = ["Registry"]

T = TypeVar("T")

_OURS: Final = "lungmask-jax"
_WORDS: Final = 300
"""Characters of a third-party error that ours repeats."""


class Registry(Mapping[str, T], Generic[T]):
    """A read-only mapping from names to the objects of entry points, loaded on first use.

    Args:
        group: Entry-point group, for example ``"lungmask_jax.models"``.
        builtins: Name to ``"module:object"``; these cannot be shadowed.
        kind: The class of the values; functions by default.

    Example:
        >>> registry = Registry("my.functions", {"join": "os.path:join"})
        >>> list(registry), "join" in registry
        (['join'], True)
        >>> registry["joint"]
        Traceback (most recent call last):
        ...
        lungmask_jax.errors.UnknownNameError: no 'joint' among the functions: did you mean 'join'?
    """

    def __init__(
        self, group: str, builtins: Mapping[str, str], kind: type[T] | None = None
    ) -> None:
        self._group = group
        self._kind = kind
        self._builtins = {name: EntryPoint(name, value, group) for name, value in builtins.items()}
        self._registered: dict[str, T] = {}
        self._loaded: dict[str, T] = {}

    def register(self, name: str, value: T) -> None:
        """Adds a name for this process, for notebooks and scripts; packages use entry points.

        Args:
            name: A name that is not taken; registering it again replaces it.
            value: The object.

        Raises:
            PluginError: A built-in or an installed package has the name already, or the value is
                of another kind.
        """
        if name in self._builtins or any(point.name == name for point in self._installed()):
            raise PluginError(f"expected a new name for {self._group!r}, {name!r} is taken")
        self._registered[name] = self._fitting(name, self._group, value)

    def owner(self, name: str) -> str:
        """The package that defines a name; nothing is imported.

        Args:
            name: One of the names.

        Returns:
            The name of the package, ``"this process"`` if it was registered.

        Raises:
            UnknownNameError: No package defines it.
            PluginError: Two packages do.

        Example:
            >>> Registry("my.functions", {"join": "os.path:join"}).owner("join")
            'lungmask-jax'
        """
        return "this process" if name in self._registered else _owner(self._point(name))

    @contextmanager
    def plugin_errors(self, name: str, what: str) -> Iterator[None]:
        """A context for a call of a registered object: its errors get its name.

        Errors of this library, Ctrl-C and a lack of memory pass unchanged; a call of ``sys.exit``
        does not.

        Args:
            name: One of the names.
            what: A description of the failure: ``"cannot be made"``.

        Raises:
            PluginError: Any other exception was raised.

        Example:
            >>> registry = Registry("my.functions", {"join": "os.path:join"})
            >>> with registry.plugin_errors("join", "cannot be called"):
            ...     registry["join"](5)
            Traceback (most recent call last):
            ...
            lungmask_jax.errors.PluginError: 'join' in 'my.functions' cannot be called, from
            lungmask-jax: TypeError: expected str, bytes or os.PathLike object, not int
        """
        with _plugin_error(f"{shown(name)} in {self._group!r} {what}, from {self.owner(name)}"):
            yield

    def unusable_claims(self) -> Iterator[str]:
        """Names of installed packages that have no effect; nothing is imported.

        Yields:
            A sentence for each name that shadows a built-in one, and for each package whose entry
            points cannot be read.

        Example:
            >>> list(Registry("my.functions", {"join": "os.path:join"}).unusable_claims())
            []
        """
        points, unreadable = _points(self._group)
        for point in points:
            if point.name in self._builtins:
                yield (
                    f"{_owner(point)} claims {point.name!r} in {self._group!r}, which is built in "
                    "and cannot be replaced: ask its authors to rename it"
                )
        for package in unreadable:
            yield f"the entry points of {package} cannot be read: install it again, or remove it"

    def __getitem__(self, name: str) -> T:
        if name in self._registered:
            return self._registered[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(self._point(name))
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        own = (self._builtins, self._registered)  # known without a look at installed packages
        return any(name in names for names in own) or name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names()))

    def __len__(self) -> int:
        return len(self._names())

    def _names(self) -> set[str]:
        installed = {point.name for point in self._installed()}
        return {*self._builtins, *self._registered, *installed}

    def _installed(self) -> list[EntryPoint]:
        return _points(self._group)[0]

    def _point(self, name: str) -> EntryPoint:
        if name in self._builtins:
            return self._builtins[name]
        claims = [point for point in self._installed() if point.name == name]
        if not claims:
            kind = self._group.rpartition(".")[2]
            raise UnknownNameError(f"no {shown(name)} among the {kind}: {nearest(name, self)}")
        if len({point.value for point in claims}) > 1:
            owners = ", ".join(sorted(f"{_owner(point)} ({point.value})" for point in claims))
            raise PluginError(
                f"expected one provider of {name!r} in {self._group!r}, found {owners}: "
                "uninstall all but one, or ask their authors to rename"
            )
        return claims[0]

    def _load(self, point: EntryPoint) -> T:
        where = f"{_owner(point)} ({point.value})"
        with _plugin_error(f"{point.name!r} in {self._group!r} cannot be loaded from {where}"):
            value: T = point.load()
        return self._fitting(point.name, f"{self._group}, from {where}", value)

    def _fitting(self, name: str, where: str, value: T) -> T:
        """The value, if it is of the right kind."""
        if callable(value) if self._kind is None else isinstance(value, self._kind):
            return value
        kind = self._kind.__name__ if self._kind else "function"
        raise PluginError(
            f"expected a {kind} for {name!r} in {where}, found {shown(value)}: "
            f"let the name refer to a {kind}"
        )


def _points(group: str) -> tuple[list[EntryPoint], list[str]]:
    """The entry points of other packages, and packages whose entry points cannot be read.

    Our own entry points are the built-ins. One invalid list makes the standard library give up on
    all of them; then each package is read separately.
    """
    unreadable: list[str] = []
    try:
        points = [*entry_points(group=group)]
    except (TypeError, ValueError):
        points = []
        for package in distributions():
            try:
                points += package.entry_points.select(group=group)
            except (TypeError, ValueError):
                unreadable.append(_name(package))
    return [
        point for point in points if not (point.dist and _name(point.dist) == _OURS)
    ], unreadable


@contextmanager
def _plugin_error(message: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        error.add_note(f"it was stopped in the code of another package: {message}")
        raise
    except (LungmaskError, MemoryError):
        raise
    except BaseException as error:  # also SystemExit, which ends no program of others
        said = f"{type(error).__name__}: {error}"[:_WORDS]
        raise PluginError(f"{message}: {said}") from error


def _owner(point: EntryPoint) -> str:
    return _name(point.dist) if point.dist else _OURS


def _name(package: Distribution) -> str:
    return package.name or f"a package without a name in {package.locate_file('')}"
