"""Which records are those of which point: computed, not stored, where all points have the same number."""

import numpy as np


class Numbering:
    """Records are numbered point after point.

    counts : (points,) records of each point
    """

    def __init__(self, counts):
        counts = np.asarray(counts, int)
        same = len(counts) > 0 and bool((counts == counts[0]).all())
        self.points, self.records = len(counts), int(counts.sum())
        self._each = int(counts[0]) if same else None
        self._first = None if same else np.concatenate([[0], np.cumsum(counts)])

    def place(self, record: int) -> tuple[int, int]:
        """The point of a record, and its number within the point."""
        if self._first is None:
            return divmod(int(record), self._each)
        point = int(np.searchsorted(self._first, record, "right")) - 1
        return point, int(record - self._first[point])

    def count(self, point: int) -> int:
        """Records of one point."""
        return self._each if self._first is None else int(self._first[point + 1] - self._first[point])

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(records,) point, and number within the point, of all records."""
        first = np.arange(self.points + 1) * self._each if self._first is None else self._first
        point = np.repeat(np.arange(self.points), np.diff(first))
        return point, np.arange(self.records) - first[point]
