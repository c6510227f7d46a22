"""A memory with a bound: the newest values, by count and by weight."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Final, Generic, TypeVar

V = TypeVar("V")

MEBI: Final = 1024 * 1024


class Recent(Generic[V]):
    """The newest values by id; the oldest go when there are more than `most`, or when they weigh too much.

    The weight is in bytes or characters, near enough; it bounds memory whatever people send.
    """

    def __init__(self, most: int, weight: int = 64 * MEBI) -> None:
        self._most = most
        self._limit = weight
        self._weight = 0
        self._values: OrderedDict[str, tuple[V, int]] = OrderedDict()

    def put(self, key: str, value: V, weight: int = 0) -> None:
        self._values[key] = (value, weight)
        self._weight += weight
        self._shrink()

    def grow(self, key: str, weight: int) -> None:
        """Says that a value got heavier (or lighter); one that has gone already is let be."""
        if key in self._values:
            value, before = self._values[key]
            self._values[key] = (value, before + weight)
            self._weight += weight
            self._shrink()

    def _shrink(self) -> None:
        while self._values and (len(self._values) > self._most or self._weight > self._limit):
            _, (_, weight) = self._values.popitem(last=False)
            self._weight -= weight

    def get(self, key: str) -> V | None:
        found = self._values.get(key)
        return found[0] if found else None

    def clear(self) -> None:
        self._values.clear()
        self._weight = 0

    def drop(self, key: str) -> None:
        """Forgets a value; one that has gone already is let be."""
        _, weight = self._values.pop(key, (None, 0))
        self._weight -= weight

    def newest(self, most: int) -> list[V]:
        """The newest values, oldest first."""
        return [value for value, _ in itertools.islice(reversed(self._values.values()), most)][::-1]
