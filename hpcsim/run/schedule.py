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

A record that starts from the results of others begins when these are there, and a point with a `target_error` goes on
when its look is taken, by the group that comes first; nobody waits for other points (`hpcsim.run.board`). The results
go through the same process, in pieces: a message from the group that has them would wait for the end of its next
record, and a file that another node has just written may be read too early. A group without work gets its answer when
something can begin. The replay of huber2020/fig3a --quick, whose records wait for others, tells the time left within a
factor of 1.1 after the first minute, where rounds with a barrier told it within 2.8.

jobs/benchmarks/schedule.py replays run files, and simulates where latency and service time would saturate it. Parts of
the bound min(1, total/(P longest)), in brackets where all costs are known beforehand and the longest chain comes first:

                                      P = 2           8               32              128
    lee2013/fig1 -q, mean_field       1.000 (1.000)   0.999 (0.999)   0.992 (0.997)   0.943 (0.988)
    huber2020/fig1c, phase_space      1.000 (1.000)   0.999 (1.000)   0.993 (0.997)   0.872 (0.983)
    huber2021/fig7, phase_space       0.999 (1.000)   0.990 (0.993)   0.913 (0.945)   0.981 (1.000)
    lee2013/fig4, trajectories        1.000 (1.000)   0.995 (1.000)   0.739 (0.833)
    huber2020/fig2a -q, liouvillian   1.000 (1.000)   0.987 (0.999)   0.860 (0.987)   0.649 (1.000)
    huber2020/fig3a -q, spectra       0.991 (0.999)   0.953 (0.967)   0.690 (0.740)   0.447 (0.447)
    lee2013/fig3b -q, gaussian        1.000 (1.000)   0.997 (1.000)   0.964 (0.996)   0.792 (1.000)
    huber2020/fig6_mean_field         1.000 (1.000)   0.916 (0.985)   0.602 (0.990)

Two things keep it below 0.95 of the bound. Where a group has but a few records, whole ones do not fill all groups, and
chains of records do not either: the brackets show it. Elsewhere the estimates are the reason: records of one class that
differ by more than they say, as in fig6_mean_field. 32 and 64 ranks on two busy processors whose records
sleep (jobs/benchmarks/sleeping.yaml) were busy for 0.941 and 0.865 of the time, the replays of the same for 0.951 and
0.900. With 20 µs for a message, 50 µs for a question and 20 records for each group, records of 1 s keep 1,000 groups
busy for 0.997 of the time and 10,000 for 0.976, records of 10 ms 100 groups for 0.972 and 1,000 for 0.457: there it
saturates.
"""

import heapq
import math
import time
from collections.abc import Iterable

import numpy as np

from hpcsim.run.board import Board
from hpcsim.run.costs import Costs, Work

TOGETHER = 0.2  # seconds of work that go out at once where records are shorter
LARGEST_SHARE = 100  # records at once, at most: they fit into one datagram
GOLDEN = (math.sqrt(5) - 1) / 2
LATE = 0.5  # of the time that a record has taken, at the least, is still to come
DEEPEST = 100  # records that wait for one after the other, of which the order takes notice
FIRST = 1e9  # seconds more than any record takes: what the order counts for the PROBES
PROBES = 2  # records of a class that come before all that are known


class Queue:
    """Records in falling order of the time from their begin to the end of all that waits for them.

    As estimated and corrected by those that are finished. The first PROBES of every class come before all others: what
    a class costs must be known before its last hour.

    work   : the records
    groups : how many take from it
    clock  : tells the time in seconds
    board  : which of them wait for what
    left   : records that are not given yet, of those that are wanted
    """

    def __init__(self, work: Work, groups: int = 1, clock=time.monotonic, board: Board | None = None):
        self._records, self._seconds, self._groups, self._clock = work.records, work.seconds, groups, clock
        self._by_number = np.argsort(work.records, kind="stable")
        self.board, self.costs = board or Board(), Costs(work)
        self._class, classes = self.costs.place, len(self.costs)
        self._rank = ranks(work, self._class)
        self._ready: list[list[tuple[int, int]]] = [[] for _ in range(classes)]  # heaps of rank and place
        self._first = np.zeros(classes)  # estimated seconds of the first of each; 0 where none is ready
        self._given, self._before = np.zeros(classes, int), np.full(classes, FIRST)
        self._rest = np.zeros(classes)  # estimated seconds that are wanted and not yet given
        self._out: dict[int, tuple[float, dict[int, float]]] = {}  # shares that are out, by their last record:
        # when they were given, and the estimates of their records, uncorrected, by class
        self._tails = _Tails(self.costs, self._edges())
        self.left, unwanted = 0, self.board.unwanted
        order = np.argsort(self._rank, kind="stable").tolist()
        self._want(i for i in order if not unwanted or int(self._records[i]) not in unwanted)

    def _places(self, records: Iterable[int]) -> list[int]:
        found = np.fromiter(records, int)
        return self._by_number[np.searchsorted(self._records, found, sorter=self._by_number)].tolist()

    def _edges(self) -> np.ndarray:
        """(edges, 2) classes of which records of the second wait for some of the first."""
        pairs = np.array(self.board.pairs(), int).reshape(-1, 2)
        return np.unique(self._class[self._places(pairs.ravel())].reshape(-1, 2), axis=0)

    def _want(self, places: Iterable[int]):
        """Some records that were not counted so far."""
        for place in places:
            self.left += 1
            self._rest[self._class[place]] += self._seconds[place]
            if not self.board.waits(int(self._records[place])):
                self._release(place)

    def _release(self, place: int):
        """A record need no longer wait."""
        ready = self._ready[self._class[place]]
        heapq.heappush(ready, (int(self._rank[place]), place))
        self._first[self._class[place]] = self._seconds[ready[0][1]]

    def finished(self, record: int, seconds: float):
        """Learn from a record that took so long; NaN: it has ended, and tells nothing of others, for it compiled.

        Below zero, -1 - point: a look wants the first `seconds` of a point, or no more of them, see Board.looked.
        """
        if record < 0:
            return self._want(self._places(self.board.looked(-1 - record, int(seconds))))
        self._out.pop(record, None)
        if free := self.board.ended(record):
            for place in self._places(free):
                self._release(place)
        if not math.isnan(seconds):
            place = self._by_number[np.searchsorted(self._records, record, sorter=self._by_number)]
            self.costs.learn(int(self._class[place]), float(self._seconds[place]), seconds)
        return None

    def take(self) -> list[int]:
        """The next records for a group; empty when none is ready. First of all, [-1 - point, look] of a look."""
        if self.board.due:
            point, look = self.board.due.popleft()
            return [-1 - point, look]
        cost = self._first * self.costs.factors()
        order = np.where(cost > 0, cost + self._tails.seconds() + self._before, -1.0)
        if order[chosen := int(order.argmax())] < 0:
            return []
        many = 1 if self._before[chosen] else min(TOGETHER / cost[chosen], self.left / (2 * self._groups))
        share = self._pop(chosen, max(1, min(int(many), LARGEST_SHARE)))
        self._out[int(self._records[share[-1]])] = self._clock(), {chosen: float(self._seconds[share].sum())}
        return self._records[share].tolist()

    def _pop(self, chosen: int, many: int) -> list[int]:
        """Places of that many records of a class, or of all that are ready."""
        ready = self._ready[chosen]
        share = [heapq.heappop(ready)[1] for _ in range(min(many, len(ready)))]
        self._first[chosen] = self._seconds[ready[0][1]] if ready else 0.0
        self._given[chosen] += len(share)
        if self._given[chosen] >= PROBES:
            self._before[chosen] = 0.0
        self._rest[chosen] -= self._seconds[share].sum()
        self.left -= len(share)
        return share

    @property
    def over(self) -> bool:
        """Whether nothing will be ready any more."""
        return not self.left and not self.board.open

    def under_way(self) -> tuple[int, float]:
        """How many shares groups are at, and in how many seconds all of these are done, about."""
        remaining = self._remaining()
        return len(remaining), max(remaining, default=0.0)

    def _remaining(self) -> list[float]:
        """Seconds to the end of each share that is out."""
        now, factors = self._clock(), self.costs.factors().tolist()
        return [
            later(sum(factors[place] * seconds for place, seconds in share.items()), now - given)
            for given, share in self._out.values()
        ]

    def waiting(self) -> float:
        """Seconds that the records not yet given will need on all groups, about."""
        return float(np.maximum(self._rest, 0) @ self.costs.factors()) / self._groups

    def time_left(self) -> float:
        """Seconds until all records are done, about; NaN: none has told yet how good the estimates are."""
        if not self.costs.finished:
            return math.nan
        remaining = self._remaining()
        together = self.waiting() + sum(remaining) / self._groups
        return max(together, max(remaining, default=0.0), self.costs.longest(self._rest))


class _Tails:
    """Seconds from the end of a record of each class to the end of all that waits for it.

    edges : (edges, 2) classes, those of the second wait for some of the first
    """

    def __init__(self, costs: Costs, edges: np.ndarray):
        self._costs, self._edges, self._of = costs, edges, None
        self._found = np.zeros(len(costs))

    def seconds(self) -> np.ndarray:
        """(classes,)"""
        factors = self._costs.factors()
        if len(self._edges) and factors is not self._of:
            self._of, (first, then), each = factors, self._edges.T, self._costs.each()
            found = np.zeros_like(self._found)
            for _ in range(DEEPEST):
                np.maximum.at(longer := np.zeros_like(found), first, (each + found)[then])
                if (longer == found).all():
                    break
                found = longer
            self._found = found
        return self._found


def later(seconds: float, passed: float) -> float:
    """What is left, about, of a time that was estimated a while ago: where that is over, LATE of the while."""
    return max(seconds - passed, LATE * passed)


class OwnQueue:
    """The queue of a run with one group. Like all sources of records, it is asked on the first rank of a group."""

    def __init__(self, work: Work, board: Board):
        self._queue = Queue(work, board=board)
        self.under_way, self.put, self.get = self._queue.under_way, board.put, board.get

    def next(self, finished: list[tuple[int, float]]) -> list[int] | None:
        """The records to compute next, or a look to take, as in `Queue.take`; None: none yet.

        finished : those computed since, with their seconds
        """
        for record, seconds in finished:
            self._queue.finished(record, seconds)
        return self._queue.take()

    def time_left(self) -> float | None:
        """Seconds until all records are done, about; None: unknown."""
        return None if math.isnan(left := self._queue.time_left()) else left


class FixedShare:
    """What one group has of records that are shared out beforehand, where no queue can be reached.

    results : {record: what it has left for others}, of those that have ended
    fresh   : the same of this group's own
    """

    def __init__(self, records, seconds, groups: int, index: int, results: dict):
        self._mine = [int(records[i]) for i in assign(seconds, groups)[index]][::-1]
        self._groups, self._seconds, self._given = groups, dict(zip(np.asarray(records).tolist(), seconds)), None
        self.get, self.fresh = results.get, {}

    def put(self, record: int, result: dict):
        """What a record has left for others."""
        self.fresh[record] = result

    def next(self, finished: list[tuple[int, float]]) -> list[int]:
        """One record after the other."""
        self._given = self._mine.pop() if self._mine else None
        return [] if self._given is None else [self._given]

    def time_left(self) -> float | None:
        """Unknown: what the others have left is not known here."""
        return None

    def under_way(self) -> tuple[int, float]:
        """As if the others were at records like the own one."""
        return (0, 0.0) if self._given is None else (self._groups, self._seconds[self._given])


def ranks(work: Work, classes: np.ndarray) -> np.ndarray:
    """(records,) in which order those of a class begin: all over the sweep, see `spread`."""
    order, found = np.lexsort((work.records, classes)), np.zeros(len(classes), int)
    bounds = np.searchsorted(classes[order], np.arange(classes.max(initial=-1) + 2))
    for k, (a, b) in enumerate(zip(bounds, bounds[1:])):
        found[spread(order[a:b], work.points, k)] = np.arange(b - a)
    return found


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
