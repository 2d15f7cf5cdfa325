"""What records cost: estimates made beforehand, corrected by what the finished ones took."""

from typing import NamedTuple

import numpy as np

PARTS = 10  # numbers within a point that are told from each other; all beyond are one
# variances that are expected of log(measured/estimated): of its mean over all, between kinds, between parts, between
# the first record of a point and the others, of its slope against the logarithm of the estimate, between classes of
# like kind and part, and within one
OF_ALL, OF_KIND, OF_PART, OF_FIRST, OF_SLOPE, OWN, OF_NOISE = 1.0, 0.5, 0.2, 1.0, 0.25, 0.05, 0.1
OTHERS = 8.0  # records of its own that weigh as much, for the mean of a class, as what is found from all
FEW = 2.0  # records that weigh as much as the median, for the mean of all
ROUNDS = 20  # in which the parts of the fit are found in turn
FRESH = 0.02  # the fit is made again when so many more records are finished


class Work(NamedTuple):
    """Records to compute, one element for each in all arrays.

    records : their numbers;  seconds : the estimates
    kinds   : integers: equal ones are of one size, and their estimates err by one factor
    points  : of the sweep;  parts : the numbers of the records within their points
    """

    records: np.ndarray
    seconds: np.ndarray
    kinds: np.ndarray
    points: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, records, seconds, kinds, points=None, parts=None) -> "Work":
        """Arrays of whatever is given. points: each record its own;  parts: 0"""
        records, seconds = np.asarray(records, int), np.maximum(np.asarray(seconds, float), 1e-6)
        points = records if points is None else np.asarray(points, int)
        parts = np.zeros(len(records), int) if parts is None else np.asarray(parts, int)
        return cls(records, seconds, np.asarray(kinds, int), points, parts)

    def classes(self) -> np.ndarray:
        """(records,) integers, equal where kind and part are."""
        return self.kinds * PARTS + np.minimum(self.parts, PARTS - 1)


class Costs:
    """Factors that the estimates are to be multiplied by, one for each class of records: those of one kind and part.

    log(measured/estimated) of a class is a mean of all, plus a slope times the logarithm of its mean estimate, plus
    what its kind, its part, and not being the first of its point add, plus something of its own: all of these drawn
    towards zero by the variances above (a random-effects model), so that a class without a finished record has what
    those like it have. As sums are asked for, not medians, all that is then multiplied by the seconds measured over
    those predicted: for a class by its own, the more records it has, or by those of all.
    """

    def __init__(self, work: Work):
        self._codes, self.place = np.unique(work.classes(), return_inverse=True)  # and the class of each record
        counted = np.bincount(self.place, minlength=len(self._codes))
        self._finished = np.zeros((5, len(counted)))  # records, log(ratio), its square, seconds measured, estimated
        self._news: list[tuple[int, float, float]] = []  # class, estimate, seconds of those not yet counted there
        # mean logarithm of the estimates
        self._size = np.bincount(self.place, np.log(work.seconds), len(counted)) / counted
        self._kind = np.unique(self._codes // PARTS, return_inverse=True)[1]
        self._part = self._codes % PARTS
        self._factors, self._fitted, self._count = np.ones(len(counted)), 0, 0

    def __len__(self):
        return len(self._codes)

    @property
    def finished(self) -> int:
        """How many records have told what they took."""
        return self._count

    def learn(self, place: int, estimate: float, seconds: float):
        """A record of the class at `place` took so long."""
        self._count += 1
        self._news.append((place, estimate, seconds))

    def factors(self) -> np.ndarray:
        """One for each class; 1 where nothing is known."""
        if (finished := self.finished) > (1 + FRESH) * self._fitted:
            self._factors, self._fitted = self._fit(), finished
        return self._factors

    def each(self) -> np.ndarray:
        """Seconds of one record of each class."""
        return np.exp(self._size) * self.factors()

    def longest(self, rest: np.ndarray) -> float:
        """Seconds of a record of the class that takes longest, of those where `rest` seconds, estimated, are left."""
        return float(np.max(np.where(rest > np.exp(self._size) / 2, self.each(), 0.0), initial=0.0))

    def _fit(self) -> np.ndarray:
        places, estimates, seconds = np.array(self._news).T
        ratios = np.log(np.maximum(seconds, 1e-6) / estimates)
        for kept, new in zip(self._finished, (np.ones_like(ratios), ratios, ratios**2, seconds, estimates)):
            np.add.at(kept, places.astype(int), new)
        self._news.clear()
        count, total, squares, measured, estimated = self._finished
        seen, each = count > 0, np.maximum(count, 1)
        mean = total / each
        within = np.maximum(squares - count * mean**2, 0).sum()
        noise = (within + 2 * OF_NOISE) / (np.maximum(count - 1, 0).sum() + 2) / each
        expected = self._expected(mean, np.where(seen, 1 / (OWN + noise), 0))
        factors = np.exp(expected + np.where(seen, OWN / (OWN + noise), 0) * (mean - expected))
        predicted = factors * estimated
        doubt = FEW * predicted.sum() / count.sum()
        common = (measured.sum() + doubt) / (predicted.sum() + doubt)
        others = OTHERS * predicted / each
        own = (measured + others * common) / np.where(seen, predicted + others, 1)
        return factors * np.where(seen, own, common)

    def _expected(self, mean: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Mean log(measured/estimated), from all classes with what is like them; see the class."""
        size, later = self._size - np.average(self._size, weights=weight), (self._part > 0).astype(float)

        def drawn(rest, group, variance):
            """The weighted mean of each group, drawn towards 0."""
            return (np.bincount(group, weight * rest) / (np.bincount(group, weight) + 1 / variance))[group]

        level, slope, first, kind, part = 0.0, 0.0, 0.0, 0.0, 0.0
        for _ in range(ROUNDS):
            rest = mean - slope * size - first * later - kind - part
            level = (weight * rest).sum() / (weight.sum() + 1 / OF_ALL)
            rest = mean - level - kind - part
            slope = (weight * (rest - first * later) * size).sum() / ((weight * size**2).sum() + 1 / OF_SLOPE)
            rest = mean - level - slope * size
            first = (weight * (rest - kind) * later).sum() / ((weight * later).sum() + 1 / OF_FIRST)
            rest = rest - first * later
            part = drawn(rest - kind, self._part, OF_PART)
            kind = drawn(rest - part, self._kind, OF_KIND)
        return level + slope * size + first * later + kind + part
