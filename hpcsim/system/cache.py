"""A bounded cache, which its owner passes on: nothing is kept in modules."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any


class Cache:
    """What later records of a run may use again: the `size` values that were asked for last.

    The ranks of a group ask in the same order, so what one of them has kept all have. Values that have a method
    `destroy` are destroyed when they are dropped: on all ranks of the group at the same time.
    """

    def __init__(self, size: int = 8):
        self._size, self._kept = size, OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value kept under `key`, or make(), kept from now on."""
        if key not in self._kept:
            self._kept[key] = make()
            while len(self._kept) > self._size:
                self._drop()
        self._kept.move_to_end(key)
        return self._kept[key]

    def _drop(self):
        _, value = self._kept.popitem(last=False)
        getattr(value, "destroy", lambda: None)()

    def clear(self):
        """Drop everything. Collective over the group."""
        while self._kept:
            self._drop()
