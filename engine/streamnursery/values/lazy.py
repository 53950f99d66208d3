"""Mappings and sequences whose values are made when they are looked at."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")


class LazyMapping(Mapping[K, V], Generic[K, V, R]):
    """`make` is called once for each value that is looked at, with what was kept for it."""

    __slots__ = ("_kept", "_made", "_make")

    def __init__(self, kept: dict[K, R], make: Callable[[R], V]) -> None:
        self._kept = kept
        self._make = make
        self._made: dict[K, V] = {}

    def __getitem__(self, key: K) -> V:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = self._make(self._kept[key])
        return made

    def __contains__(self, key: object) -> bool:
        return key in self._kept

    def __iter__(self) -> Iterator[K]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(dict(self))


class LazySequence(Sequence[V], Generic[V, R]):
    """The same by position. It equals a tuple of its values, and a slice of it is one."""

    __slots__ = ("_kept", "_made", "_make")

    def __init__(self, kept: list[R], make: Callable[[R], V]) -> None:
        self._kept = kept
        self._make = make
        self._made: dict[int, V] = {}

    @overload
    def __getitem__(self, at: int) -> V: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[V, ...]: ...

    def __getitem__(self, at: int | slice) -> V | tuple[V, ...]:
        places = range(len(self._kept))[at]
        if isinstance(places, range):
            return tuple(self[place] for place in places)
        made = self._made.get(places)
        if made is None:
            made = self._made[places] = self._make(self._kept[places])
        return made

    def __len__(self) -> int:
        return len(self._kept)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
