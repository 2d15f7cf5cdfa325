"""How well groups of ranks share the records of a run: replays of run files, and where the queue would saturate.

    python jobs/benchmarks/schedule.py replay RUN.h5 [RUN.h5 ...]
    python jobs/benchmarks/schedule.py left RUN.h5 [RUN.h5 ...]
    python jobs/benchmarks/schedule.py saturation [latency of a message in s, 2e-5] [service of a question in s, 5e-5]
    mpirun --oversubscribe -n 32 python -m hpcsim run jobs/benchmarks/sleeping.yaml --out RUN.h5
    python jobs/benchmarks/schedule.py asleep RUN.h5

`replay` takes the seconds that records took, without those that went into compiling, and estimates them anew; records
that need the results of others wait for these. It prints for P groups the efficiency total/(P time) of a share fixed
beforehand, of the queue, and of one that knows all costs, and their bound min(1, total/(P longest)). `left` takes the
same, and compares the time left that a run on P groups tells with each record with what is then left; it ends with
status 1 where the two differ by more than a factor of 3 and 5 s after the first minute. `asleep` compares a run whose
records do nothing but sleep with its replay. `saturation` plays the queue with messages that take time: a single server
answers one question after the other, and 20 records for each group, all of one length.
"""

import heapq
import math
import sys
from collections import defaultdict, deque
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from hpcsim.run.board import Board
from hpcsim.run.costs import Work
from hpcsim.run.plan import plan
from hpcsim.run.schedule import Queue, assign
from hpcsim.store import read_status
from hpcsim.store.layout import config_of

GROUPS = (2, 8, 32, 128, 1024, 10000)
MINUTE, SHORT, FACTOR = 60.0, 5.0, 3.0  # seconds, seconds, and how wrong the time left may be


def fixed(seconds, estimates, groups: int) -> float:
    """Wall time of a share fixed beforehand."""
    return max(seconds[own].sum() for own in assign(estimates, groups))


def known(seconds, groups: int, needs=None) -> float:
    """Wall time where all costs are known beforehand: the longest chain first, of those that can begin."""
    needs, tails, followers = needs or {}, np.array(seconds, float), defaultdict(list)
    for record in reversed(list(TopologicalSorter({r: needs.get(r, ()) for r in range(len(seconds))}).static_order())):
        for needed in needs.get(record, ()):
            followers[needed].append(record)
            tails[needed] = max(tails[needed], seconds[needed] + tails[record])
    missing = {record: len(found) for record, found in needs.items() if found}
    ready = [(-tails[r], r) for r in range(len(seconds)) if r not in missing]
    heapq.heapify(ready)
    clock, free, out = 0.0, groups, []
    while ready or out:
        while ready and free:
            _, record = heapq.heappop(ready)
            heapq.heappush(out, (clock + seconds[record], record))
            free -= 1
        clock, record = heapq.heappop(out)
        free += 1
        for follower in followers[record]:
            missing[follower] -= 1
            if not missing[follower]:
                heapq.heappush(ready, (-tails[follower], follower))
    return clock


def queued(seconds, work: Work, groups: int, latency: float = 0.0, service: float = 0.0, needs=None, told=None):
    """Wall time of the queue, with messages that take `latency` each way and `service` at the queue.

    needs : {record: records whose results it needs}
    told  : a list, which gets (time, time left) as the first group tells it when it is given records
    """
    clear = last = 0.0
    queue = Queue(work, groups, clock=lambda: clear, board=Board(work.records.tolist(), needs))
    arriving: list[tuple[float, int, tuple]] = [(latency, group, ()) for group in range(groups)]
    waiting: deque[int] = deque()
    while arriving:
        time, group, finished = heapq.heappop(arriving)
        clear = max(clear, time) + service
        for record in finished:
            queue.finished(record, seconds[record])
        waiting.append(group)
        while waiting and (mine := queue.take()):
            each = waiting.popleft()
            ended = clear + latency + sum(seconds[record] for record in mine)
            last = max(last, ended)
            heapq.heappush(arriving, (ended + latency, each, tuple(mine)))
            if told is not None and each == 0 and not math.isnan(left := queue.time_left()):
                told.append((clear, left))
    assert queue.over
    return last


class Recording(NamedTuple):
    """Records of a run file that are done, numbered anew: seconds, costs, and whose results each needs."""

    seconds: np.ndarray
    work: Work
    needs: dict

    @classmethod
    def of(cls, path: str) -> "Recording":
        """Without what records took to compile: in every session the longest of each group, as far as is known."""
        with h5py.File(path) as file:
            seconds, done = file["records/seconds"][:], np.flatnonzero(file["records/done"][:] == 1)
            planned = plan(config_of(file["config"][()]))
        seconds, new = seconds[done], {record: i for i, record in enumerate(done.tolist())}
        for session in read_status(path)["history"]:
            compiled = np.argsort(seconds)[-len(session["busy_fraction"]) :]
            without = seconds[compiled] - session["compile_seconds"]
            seconds[compiled] = np.where(without > 0, without, np.median(seconds))
        needs = {
            new[record]: [new[r] for r in planned.needs[record] if r in new]
            for record in new
            if record in planned.needs
        }
        return cls(seconds, planned.work(done)._replace(records=np.arange(len(done))), needs)


def error_of_left(seconds, work: Work, groups: int, needs=None) -> float:
    """The largest factor by which the time left is wrong after the first minute; 1 where by less than 5 s."""
    told: list[tuple[float, float]] = []
    end = queued(seconds, work, groups, needs=needs, told=told)
    errors = [
        max(left, end - time) / max(min(left, end - time), 1e-9)
        for time, left in told
        if time >= MINUTE and abs(left - (end - time)) > SHORT
    ]
    return max(errors, default=1.0)


def left(paths) -> bool:
    """Whether the time left is right within a factor of 3 in all these runs."""
    print(f"{'records':>8} {'s':>8}" + "".join(f"{f'P = {groups}':>8}" for groups in (1, *GROUPS[:3])) + "  run")
    worst = 1.0
    for path in paths:
        seconds, work, needs = Recording.of(path)
        errors = [error_of_left(seconds, work, groups, needs) for groups in (1, *GROUPS[:3])]
        worst = max(worst, *errors)
        row = "".join(f"{error:8.2f}" for error in errors)
        print(f"{len(seconds):8} {seconds.sum():8.1f}{row}  {Path(path).stem}", flush=True)
    print(f"largest factor after the first minute: {worst:.2f}")
    return worst <= FACTOR


def replay(path: str):
    seconds, work, needs = Recording.of(path)
    estimates = work.seconds
    ratio = np.percentile(estimates / seconds, [5, 50, 95])
    print(f"{Path(path).name}: {len(seconds)} records, {seconds.sum():.1f} s, longest {seconds.max():.2f} s")
    print("estimate over measured, 5, 50, 95 %: " + ", ".join(f"{r:.2f}" for r in ratio))
    print(f"{'groups':>7} {'fixed':>6} {'queue':>6} {'known':>6} {'bound':>6} {'queue/bound':>12}")
    for groups in GROUPS:
        ideal = seconds.sum() / groups
        bound = min(1.0, ideal / seconds.max())
        queue = ideal / queued(seconds, work, groups, needs=needs)
        before = ideal / fixed(seconds, estimates, groups)
        best = ideal / known(seconds, groups, needs)
        print(f"{groups:7} {before:6.3f} {queue:6.3f} {best:6.3f} {bound:6.3f} {queue / bound:12.3f}")


def saturation(latency: float = 2e-5, service: float = 5e-5):
    print(f"latency {latency:g} s, service {service:g} s; efficiency with 20 records for each group")
    print(f"{'groups':>7}" + "".join(f"{length:>10g} s" for length in (0.01, 1, 100)))
    for groups in (100, 1000, 10000, 100000):
        row = []
        for length in (0.01, 1.0, 100.0):
            seconds = np.full(20 * groups, length)
            row.append(
                20
                * length
                / queued(
                    seconds, Work.of(range(len(seconds)), seconds, np.zeros(len(seconds))), groups, latency, service
                )
            )
        print(f"{groups:7}" + "".join(f"{value:12.3f}" for value in row), flush=True)


def asleep(path: str):
    """The efficiency of a run whose records did nothing but sleep, beside that of its replay."""
    with h5py.File(path) as file:
        seconds = file["records/seconds"][:]
    session = read_status(path)["history"][-1]
    groups, same = len(session["busy_fraction"]), np.ones(len(seconds))
    busy = seconds.sum() / groups
    replayed = busy / queued(seconds, Work.of(range(len(seconds)), same, same), groups)
    print(f"{groups} groups: efficiency {busy / session['loop_seconds']:.3f}, replayed {replayed:.3f}")


def main(arguments):
    if arguments[:1] == ["replay"] and len(arguments) > 1:
        for path in arguments[1:]:
            replay(path)
    elif arguments[:1] == ["left"] and len(arguments) > 1:
        sys.exit(not left(arguments[1:]))
    elif arguments[:1] == ["asleep"] and len(arguments) == 2:
        asleep(arguments[1])
    elif arguments[:1] == ["saturation"]:
        saturation(*map(float, arguments[1:]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
