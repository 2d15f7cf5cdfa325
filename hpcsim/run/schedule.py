"""Who computes which record: one queue for all groups, which learns what records cost.

The queue is kept by a small process that rank 0 starts beside itself (`hpcsim.run.dispatch`). A group that has ended a
record sends one datagram with the seconds it took and gets the next: the costliest that is left, or several at once
where they are short. Why so, for P groups:

- shared out beforehand by estimated cost, as it was, groups idle where estimates are off: by a factor of 0.26 to 5.9
  in the quick run of huber2020/fig2c, 31 % efficient on 32 groups;
- a rank as the master is lost to the work, half of two, or answers only between its own records;
- one-sided MPI (fetch and add on rank 0) needs no partner, but on networks without hardware atomics it goes on only
  while rank 0 is inside MPI, which a factorisation of an hour is not;
- stealing between groups has the same trouble: a busy victim answers at the end of its record;
- a counter in the run file needs locks that work across nodes; not every file system has them.

A process of its own sleeps until it is asked, whatever rank 0 computes, and ends with it. Datagrams need no connection
for each of ten thousand groups; one that is lost is sent again, and the queue answers a repeated question with the same
records. Where a group cannot reach it, all agree to share the records out beforehand, and the log says so.
jobs/benchmarks/schedule.py replays run files, and simulates where latency and service time would saturate it. Seen so,
as parts of the bound min(1, total/(P longest)):

                                     P = 2    8     32    128
    lee2013/fig3b, 1681 records      0.999  0.998  0.987  0.932    fixed beforehand  0.998  0.987  0.929  0.774
    huber2020/fig2a, 400 records     1.000  0.969  0.931  0.712                      0.996  0.930  0.731  0.459
    huber2021/accuracy, 192 records  0.999  0.955  0.718  1.000                      0.879  0.506  0.301  0.544

Where a group has but a few records, whole ones do not fill all groups. 32 ranks on two processors whose records sleep
were busy for 0.797 of the time, the replay of the same for 0.830. With 20 µs for a message, 50 µs for a question and 20
records for each group, records of 1 s keep 1,000 groups busy for 0.997 of the time and 10,000 for 0.976, records of
10 ms 100 groups for 0.972 and 1,000 for 0.457: there it saturates.
"""

import heapq
import math
import time

import numpy as np

from hpcsim.run.costs import Costs, Work

TOGETHER = 0.2  # seconds of work that go out at once where records are shorter
LARGEST_SHARE = 100  # records at once, at most: they fit into one datagram
GOLDEN = (math.sqrt(5) - 1) / 2
LATE = 0.5  # of the time that a record has taken, at the least, is still to come
TRUST = 0.3  # records of its own that weigh as much, for a kind's correction, as all other kinds


class Queue:
    """Records in falling order of their cost, as estimated and corrected by those that are finished.

    The first of every kind comes before all others, and two of the costliest: what a kind costs must be known before
    its last hour. Those of one kind are taken from points that are spread over the sweep, so that what is finished
    stands for what is waiting.

    work   : the records
    groups : how many take from it
    clock  : tells the time in seconds
    later  : records that are to follow when these are done, and count for the time left
    costs  : what was learned from earlier records of the run
    """

    def __init__(self, work: Work, groups: int = 1, clock=time.monotonic, later: Work | None = None, costs=None):
        records, seconds = work.records, work.seconds
        _, kinds = np.unique(work.kinds, return_inverse=True)
        self._groups, self._kinds, self._clock = groups, kinds, clock
        self._by_number = np.argsort(records, kind="stable")
        every = work.join(later)
        self.costs = Costs(every, costs)
        self._place = self.costs.place[: len(records)]
        self._rest = np.bincount(self.costs.place, every.seconds, len(self.costs))  # seconds not yet given, by class
        order = np.lexsort((records, kinds))
        bounds = np.searchsorted(kinds[order], np.arange(kinds.max(initial=-1) + 2))
        self._waiting = [spread(order[a:b], work.points, k) for k, (a, b) in enumerate(zip(bounds, bounds[1:]))]
        self._records, self._seconds = records, seconds
        self._costliest = int(kinds[np.argmax(seconds)]) if len(seconds) else -1
        self._next = [0] * len(self._waiting)
        self._sum, self._count = [0.0] * len(self._waiting), [0] * len(self._waiting)  # of log(measured/estimate)
        self._all_sum = self._all_count = 0.0
        self._ranked = [1.0] * len(self._waiting)  # the correction each kind stands in the heap with
        self._heap, self.left = [], len(records)
        self._out: dict[int, tuple[float, dict[int, float]]] = {}  # shares that are out, by their last record:
        # when they were given, and the estimates of their records, uncorrected, by class
        for kind in range(len(self._waiting)):
            self._rank(kind)

    def correction(self, kind: int) -> float:
        """What the estimates of a kind are to be multiplied by: a mean over it and, the fewer it has, over all."""
        common = self._all_sum / self._all_count if self._all_count else 0.0
        return math.exp((self._sum[kind] + TRUST * common) / (self._count[kind] + TRUST))

    def _rank(self, kind: int):
        """Put the first waiting record of a kind into the heap."""
        if self._next[kind] < len(self._waiting[kind]):
            first = self._waiting[kind][self._next[kind]]
            self._ranked[kind] = self.correction(kind)
            cost = self._seconds[first] * self._ranked[kind]
            known = self._next[kind] > (kind == self._costliest)
            heapq.heappush(self._heap, (known, -cost, int(self._records[first]), kind, self._next[kind]))

    def finished(self, record: int, seconds: float):
        """Learn from a record that took so long; NaN: it has ended, and tells nothing of others, for it compiled."""
        self._out.pop(record, None)
        if math.isnan(seconds):
            return
        place = self._by_number[np.searchsorted(self._records, record, sorter=self._by_number)]
        kind, ratio = int(self._kinds[place]), math.log(max(seconds, 1e-6) / self._seconds[place])
        self.costs.learn(self._place[place], self._seconds[place], seconds)
        self._sum[kind] += ratio
        self._count[kind] += 1
        self._all_sum += ratio
        self._all_count += 1
        kinds = range(len(self._waiting)) if self._all_count in (1, 2, 4, 8, 16, 32, 64) else (kind,)
        for each in kinds:
            if abs(math.log(self.correction(each) / self._ranked[each])) > 0.1:
                self._rank(each)

    def take(self) -> list[int]:
        """The next records for a group; empty when none is left."""
        while self._heap:
            _, cost, _, kind, place = heapq.heappop(self._heap)
            if place != self._next[kind] or -cost != self._seconds[self._waiting[kind][place]] * self._ranked[kind]:
                continue  # it is gone, or stands here with another correction too
            many = min(TOGETHER / -cost, self.left / (2 * self._groups), LARGEST_SHARE)
            share = self._waiting[kind][place : place + max(1, int(many))]
            self._next[kind] += len(share)
            given: dict[int, float] = {}
            for place, seconds in zip(self._place[share].tolist(), self._seconds[share].tolist()):
                given[place] = given.get(place, 0.0) + seconds
                self._rest[place] -= seconds
            self.left -= len(share)
            self._rank(kind)
            self._out[int(self._records[share[-1]])] = self._clock(), given
            return self._records[share].tolist()
        return []

    def under_way(self) -> tuple[int, float]:
        """How many shares groups are at, and in how many seconds all of these are done, about."""
        remaining = self._remaining()
        return len(remaining), max(remaining, default=0.0)

    def _remaining(self) -> list[float]:
        """Seconds to the end of each share that is out."""
        now, factors = self._clock(), self.costs.factors()
        return [
            later(sum(factors[place] * seconds for place, seconds in share.items()), now - given)
            for given, share in self._out.values()
        ]

    def waiting(self) -> float:
        """Seconds that the records not yet taken, and those that follow, will need on all groups, about."""
        return float(np.maximum(self._rest, 0) @ self.costs.factors()) / self._groups

    def time_left(self) -> float:
        """Seconds until all records are done, about; NaN: none has told yet how good the estimates are."""
        if not self.costs.finished:
            return math.nan
        remaining = self._remaining()
        together = self.waiting() + sum(remaining) / self._groups
        return max(together, max(remaining, default=0.0), self.costs.longest(self._rest))


def later(seconds: float, passed: float) -> float:
    """What is left, about, of a time that was estimated a while ago: where that is over, LATE of the while."""
    return max(seconds - passed, LATE * passed)


class OwnQueue:
    """The queue of a run with one group. Like all sources of records, it is asked on the first rank of a group."""

    def __init__(self, work: Work, later: Work | None = None, costs: Costs | None = None):
        self._queue = Queue(work, later=later, costs=costs)
        self.costs, self.under_way = self._queue.costs, self._queue.under_way

    def next(self, finished: list[tuple[int, float]]) -> list[int]:
        """The records to compute next; finished: those computed since, with their seconds."""
        for record, seconds in finished:
            self._queue.finished(record, seconds)
        return self._queue.take()

    def time_left(self) -> float | None:
        """Seconds until all records are done, about; None: unknown."""
        return None if math.isnan(left := self._queue.time_left()) else left


class FixedShare:
    """What one group has of records that are shared out beforehand, where no queue can be reached."""

    def __init__(self, records, seconds, groups: int, index: int):
        self._mine = [int(records[i]) for i in assign(seconds, groups)[index]][::-1]
        self._groups, self._seconds, self._given = groups, dict(zip(np.asarray(records).tolist(), seconds)), None

    def next(self, finished: list[tuple[int, float]]) -> list[int]:
        self._given = self._mine.pop() if self._mine else None
        return [] if self._given is None else [self._given]

    def time_left(self) -> float | None:
        """Unknown: what the others have left is not known here."""
        return None

    def under_way(self) -> tuple[int, float]:
        """As if the others were at records like the own one."""
        return (0, 0.0) if self._given is None else (self._groups, self._seconds[self._given])


def kinds_of(bytes_, seconds) -> np.ndarray:
    """(records,) integers, equal for records of nearly equal memory and estimated time: of one size and sector."""
    size = np.round(2 * np.log2(np.maximum(np.asarray(bytes_, float), 1)))
    length = np.round(np.log2(np.maximum(np.asarray(seconds, float), 1e-6)))
    return (size * 1000 + length).astype(int)  # lengths are from 2^-20 to 2^500 s


def spread(records: np.ndarray, points: np.ndarray, kind: int = 0) -> np.ndarray:
    """Records in another order: those of one point together, and the first n points, for any n, all over the sweep.

    As the van der Corput sequence has them: in the middle, in the quarters, in the eighths. It starts at a place that
    differs between kinds, for one place may not stand for all.
    """
    known, own = np.unique(points[records], return_inverse=True)
    step = 1 << max(len(known) - 1, 1).bit_length()
    order = np.zeros(1, int)
    while len(order) < step:
        order = np.concatenate([order, order + step // (2 * len(order))])
    start = int(len(known) * ((0.5 + kind * GOLDEN) % 1))
    order = (order[order < len(known)] + start) % len(known)
    return records[np.argsort(np.argsort(order)[own], kind="stable")]


def assign(costs, groups: int) -> list[np.ndarray]:
    """Records for every group: largest first, each to the group with the least work so far.

    The order within a group is largest first too. Ties go to the lowest record and group, so the
    assignment is the same on every rank.
    """
    loads = [(0.0, group) for group in range(groups)]
    mine = [[] for _ in range(groups)]
    for record in np.argsort(-np.asarray(costs, float), kind="stable"):
        load, group = heapq.heappop(loads)
        mine[group].append(record)
        heapq.heappush(loads, (load + costs[record], group))
    return [np.array(records, int) for records in mine]
