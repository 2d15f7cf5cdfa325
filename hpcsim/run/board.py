"""What records wait for: results of others, and looks at what a `target_error` has reached."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass
class _Point:
    """A point whose next look is at its first `look` records.

    awaited : those of them that have not ended;  beyond : the others that have not
    """

    records: list[int]
    look: int
    awaited: set[int]
    beyond: set[int]

    @classmethod
    def of(cls, records: list[int], look: int, todo: set[int]) -> "_Point":
        return cls(records, look, todo.intersection(records[:look]), todo.intersection(records[look:]))


class Board:
    """Which records may begin, and the results that others begin with, for as long as somebody may ask for them.

    todo    : the records that have not ended
    needs   : {record: the records whose results it starts from}, of those in todo
    looks   : {point: (its records in order, how many of them the next look is at)}; a look is due when these have
              ended, and tells how many more are wanted
    results : {record: what it has left}, of those that have ended
    due     : (point, look) of the looks that are to be taken
    """

    def __init__(self, todo: Iterable[int] = (), needs=None, looks=None, results=None):
        self._todo, needs = set(todo), {record: set(found) for record, found in (needs or {}).items() if found}
        self._missing = {record: found & self._todo for record, found in needs.items()}
        self._needs, self._followers, self._uses = needs, defaultdict(list), Counter()
        for record, found in needs.items():
            self._uses.update(found)
            for each in self._missing[record]:
                self._followers[each].append(record)
        self._points = {point: _Point.of(records, look, self._todo) for point, (records, look) in (looks or {}).items()}
        self._point = {record: point for point, found in self._points.items() for record in found.records}
        wanted = {record for record, found in (results or {}).items() if self._uses[record] or record in self._point}
        self._results = {record: results[record] for record in wanted}
        self.due = deque((point, found.look) for point, found in self._points.items() if not found.awaited)

    @property
    def open(self) -> bool:
        """Whether a look may still ask for records."""
        return bool(self._points)

    @property
    def unwanted(self) -> set[int]:
        """Records that no look has asked for yet."""
        return {record for found in self._points.values() for record in found.beyond}

    def pairs(self) -> list[tuple[int, int]]:
        """(record, one that waits for it), of those that have not ended."""
        return [(needed, record) for record, missing in self._missing.items() for needed in missing]

    def waits(self, record: int) -> bool:
        """Whether something that it needs has not ended."""
        return bool(self._missing.get(record))

    def put(self, record: int, result):
        """What a record has left for others, before it is said to have ended."""
        self._results[record] = result

    def get(self, record: int):
        """What it has left; None where it has failed, or is no longer needed."""
        return self._results.get(record)

    def ended(self, record: int) -> list[int]:
        """It is done or has failed. Returns the records that need no longer wait."""
        free = []
        for follower in self._followers.pop(record, ()):
            self._missing[follower].discard(record)
            if not self._missing[follower]:
                free.append(follower)
        for needed in self._needs.get(record, ()):
            self._uses[needed] -= 1
            self._forget(needed)
        if (found := self._points.get(self._point.get(record, -1))) and record in found.awaited:
            found.awaited.remove(record)
            if not found.awaited:
                self.due.append((self._point[record], found.look))
        return free

    def looked(self, point: int, further: int) -> set[int]:
        """A look wants the first `further` records, and is then taken again; 0: the point has enough.

        Returns the records that are wanted now and were not before.
        """
        found = self._points[point]
        if not further:
            del self._points[point]
            for record in found.records:
                del self._point[record]
                self._forget(record)
            return set()
        found.look, found.awaited = further, found.beyond.intersection(found.records[:further])
        found.beyond -= found.awaited
        if not found.awaited:
            self.due.append((point, further))
        return set(found.awaited)

    def _forget(self, record: int):
        """What nobody will ask for."""
        if self._uses[record] <= 0 and record not in self._point:
            self._results.pop(record, None)
