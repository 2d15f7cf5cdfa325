"""How well groups of ranks share the records of a run: replays of run files, and where the queue would saturate.

    python jobs/benchmarks/schedule.py replay RUN.h5 [RUN.h5 ...]
    python jobs/benchmarks/schedule.py saturation [latency of a message in s, 2e-5] [service of a question in s, 5e-5]

`replay` takes the seconds that records took, without the first ones, which compile, and the estimates that the run
had. It prints for P groups the efficiency total/(P time) of a share fixed beforehand and of the queue, and their bound
min(1, total/(P longest)). `saturation` plays the queue with messages that take time: a single server answers one
question after the other, and 20 records for each group, all of one length.
"""

import heapq
import sys
from pathlib import Path

import h5py
import numpy as np

from hpcsim.run.plan import plan
from hpcsim.run.schedule import Queue, assign, kinds_of
from hpcsim.store.layout import config_of

GROUPS = (2, 8, 32, 128, 512, 2048, 10000)


def fixed(seconds, estimates, groups: int) -> float:
    """Wall time of a share fixed beforehand."""
    return max(seconds[own].sum() for own in assign(estimates, groups))


def queued(seconds, estimates, kinds, groups: int, latency: float = 0.0, service: float = 0.0) -> float:
    """Wall time of the queue, with messages that take `latency` each way and `service` at the queue."""
    queue, clear, last = Queue(np.arange(len(seconds)), estimates, kinds, groups), 0.0, 0.0
    arriving = [(latency, group, ()) for group in range(groups)]
    while arriving:
        time, group, finished = heapq.heappop(arriving)
        clear = max(clear, time) + service
        for record in finished:
            queue.finished(record, seconds[record])
        if mine := queue.take():
            ended = clear + latency + sum(seconds[record] for record in mine)
            last = max(last, ended)
            heapq.heappush(arriving, (ended + latency, group, tuple(mine)))
    return last


def replay(path: str):
    with h5py.File(path) as file:
        seconds, done = file["records/seconds"][:], file["records/done"][:] == 1
        planned = plan(config_of(file["config"][()]))
    seconds, estimates, memory = seconds[done], planned.time[done], planned.bytes[done]
    seconds = np.minimum(seconds, max(5 * np.median(seconds), np.percentile(seconds, 99.5)))
    ratio = np.percentile(estimates / seconds, [5, 50, 95])
    print(f"{Path(path).name}: {len(seconds)} records, {seconds.sum():.1f} s, longest {seconds.max():.2f} s")
    print("estimate over measured, 5, 50, 95 %: " + ", ".join(f"{r:.2f}" for r in ratio))
    print(f"{'groups':>7} {'fixed':>6} {'queue':>6} {'bound':>6} {'queue/bound':>12}")
    for groups in (g for g in GROUPS if g <= len(seconds)):
        ideal = seconds.sum() / groups
        bound = min(1.0, ideal / seconds.max())
        queue = ideal / queued(seconds, estimates, kinds_of(memory, estimates), groups)
        before = ideal / fixed(seconds, estimates, groups)
        print(f"{groups:7} {before:6.3f} {queue:6.3f} {bound:6.3f} {queue / bound:12.3f}")


def saturation(latency: float = 2e-5, service: float = 5e-5):
    print(f"latency {latency:g} s, service {service:g} s; efficiency with 20 records for each group")
    print(f"{'groups':>7}" + "".join(f"{length:>10g} s" for length in (0.01, 1, 100)))
    for groups in (100, 1000, 10000, 100000):
        row = []
        for length in (0.01, 1.0, 100.0):
            seconds = np.full(20 * groups, length)
            row.append(20 * length / queued(seconds, seconds, np.zeros(len(seconds), int), groups, latency, service))
        print(f"{groups:7}" + "".join(f"{value:12.3f}" for value in row), flush=True)


def main(arguments):
    if arguments[:1] == ["replay"] and len(arguments) > 1:
        for path in arguments[1:]:
            replay(path)
    elif arguments[:1] == ["saturation"]:
        saturation(*map(float, arguments[1:]))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
