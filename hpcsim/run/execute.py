"""From a plan to a finished run file: share the records out, compute, store."""

import functools
import logging
import math
import shlex
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI

from hpcsim import __version__, store
from hpcsim.compiled import timing
from hpcsim.methods import Cache, Context, Stopped
from hpcsim.run.config import ConfigError
from hpcsim.run.memory import check_memory
from hpcsim.run.parallel import Groups, Stop, Tally, agree, all_fall_together, on_root
from hpcsim.run.plan import Plan
from hpcsim.run.problem import Problem
from hpcsim.run.progress import Progress
from hpcsim.run.shares import Shares

log = logging.getLogger("hpcsim")


COMPILED = 0.1  # part of a record's seconds, spent on compiling, beyond which it tells nothing of others
# What a method raises where a record cannot be computed; anything else is a mistake in the program, and ends the run
FAILURES = (RuntimeError, ArithmeticError, np.linalg.LinAlgError)


class RecordsFailed(Exception):
    """Everything is computed but the records whose method raised an error."""

    status = 1


def run(
    make_plan,
    path,
    max_walltime: float | None = None,
    world: MPI.Comm = MPI.COMM_SELF,
    retry_failed: bool = False,
) -> str | None:
    """Compute what is not yet in the run file `path`. Collective over `world`.

    make_plan    : () -> Plan, called on rank 0
    max_walltime : seconds after which to stop at a record boundary, or None
    retry_failed : also compute records again that have failed
    Returns None when complete, else why it stopped early (the file resumes).
    Raises ConfigError or StoreError, the same on every rank, before anything is computed; RecordsFailed, the same on
    every rank, at the end.
    """
    stop = Stop(max_walltime)
    with stop.at_signals(world, str(path)), all_fall_together(world, (store.StoreError,), stop):
        planned, groups = _begin(make_plan, world, stop)
        file = error = None
        if groups.leaders is not None:
            try:
                needed = frozenset().union(*planned.needs.values())
                file = store.open_run(path, planned.layout, groups.leaders, needed, retry_failed)
            except store.StoreError as caught:
                error = caught
        agree(world, error)
        if world.rank == 0:
            log.info("into %s", path)
        session = _Session(planned, file, groups, stop, keep_failures=True)
        try:
            session.work(Progress(len(planned.among(np.arange(planned.numbering.records))), _settled(file, planned)))
        except BaseException:
            if world.size == 1:  # nobody else has anything to write: it was not killed, as a lock left behind would say
                file.cleanup.close()
            raise
        failed = world.bcast(session.failed)
        groups.free()
        if failed and not stop.reason:
            agree(world, RecordsFailed(_story(planned, failed)))
        return stop.reason


def compute(make_plan, world: MPI.Comm = MPI.COMM_SELF) -> store.RunData | None:
    """Compute everything in memory; the result on rank 0, None on the others. Collective over `world`.

    No signals are handled and nothing is shown. Raises ConfigError, the same on every rank.
    """
    stop = Stop(None)
    with all_fall_together(world, (), stop):
        planned, groups = _begin(lambda: make_plan().whole(), world, stop)
        kept = data = None
        if groups.leaders is not None:
            kept = store.Memory(planned.layout, groups.leaders, frozenset().union(*planned.needs.values()))
        _Session(planned, kept, groups, stop).work()
        if kept is not None:
            data = kept.gathered()
        groups.free()
        return data


def _begin(make_plan, world: MPI.Comm, stop: Stop) -> tuple[Plan, Groups]:
    """The plan, checked against ranks and memory, on every rank (costs on rank 0 alone), and the groups of ranks."""
    planned = on_root(world, make_plan, (ConfigError,), told=Plan.without_costs)
    per_group = planned.config["run"]["ranks_per_point"]
    if world.size % per_group:
        agree(
            world,
            ConfigError(
                f"run.ranks_per_point = {per_group}: must divide the number of ranks, {world.size}; "
                f"start a multiple of {per_group} ranks"
            ),
        )
    groups = stop.groups = Groups(world, per_group)
    on_root(world, lambda: check_memory(planned, world.size, groups.nodes), (ConfigError,))
    return planned, groups


def _settled(records: store.Records | None, planned: Plan) -> int:
    """Records that need no work when the session begins."""
    return 0 if records is None else len(planned.among(np.flatnonzero(records.done | records.failed)))


def _story(planned: Plan, failed: dict[int, str]) -> str:
    """Which records have failed, where and why, in one message."""
    by_reason: dict[str, list[int]] = {}
    for record, reason in sorted(failed.items()):
        by_reason.setdefault(reason, []).append(record)
    shown = []
    for reason, records in list(by_reason.items())[:3]:
        at = ((r, store.in_words(planned.where(planned.numbering.place(r)[0]))) for r in records[:3])
        places = ", ".join(f"record {r}" + f" at {values}" * bool(values) for r, values in at)
        shown.append(f"{places}{f' and {len(records) - 3} more' * (len(records) > 3)}: {reason}")
    more = f"; and {len(by_reason) - 3} more reasons, see hpcsim status" if len(by_reason) > 3 else ""
    return (
        f"{len(failed)} of {planned.numbering.records} records failed; the others are done. {'; '.join(shown)}{more}. "
        f"Change what the reason names, or compute them again with --retry-failed"
    )


class _NeededFailed(Exception):
    """On all ranks of a group: a record cannot begin."""

    status = 1


class _Session:
    """The work of one session on the records of a plan.

    records       : where they are kept, on the first rank of every group; None on the other ranks
    keep_failures : a record that fails is kept as such, and the others go on; else its error is raised
    failed        : {record: reason}, on the first rank of every group at the end
    """

    def __init__(self, planned: Plan, records: store.Records | None, groups: Groups, stop: Stop, keep_failures=False):
        self.planned, self.records, self.groups, self.stop = planned, records, groups, stop
        self.keep_failures, self.failed = keep_failures, {}
        self.busy, self.cache, self.structures = _Busy(), Cache(), Cache()
        self.shares = Shares(groups, log)

    def work(self, progress: Progress | None = None):
        """Rounds of records until no more are needed: a second one follows where there is no queue and records wait
        for others, or for looks of a target_error. progress: None shows nothing."""
        groups, stop = self.groups, self.stop
        if groups.world.rank == 0:
            self._announce()
        tally = Tally(groups, progress or (lambda finished: None))
        began = reason = None
        with timing(self.busy.compiled), closing(self.shares):
            while True:
                todo = self._todo()
                if progress and groups.world.rank == 0:
                    progress.needs(len(self.planned.among(np.flatnonzero(~self.records.targets.skipped))))
                if reason or not len(todo):
                    break
                source = self._source(todo)
                began = began or time.monotonic()
                self._compute(source, tally, progress)
                tally.wait_for_all()
                reason = stop.settle()
        self.cache.clear()
        stop.reason = reason if len(todo) else None
        if self.records is not None:
            self._finish(time.monotonic() - began if began else 0.0)

    def _todo(self) -> np.ndarray:
        """The records to be computed, as far as that is known, on all ranks."""
        found = None if self.records is None else self.planned.among(self.records.todo())
        return self.groups.comm.bcast(found)

    def _source(self, todo: np.ndarray):
        """Where this group gets its records from; None but on its first rank."""
        if self.groups.leaders is None:
            return None
        if self.groups.world.rank:
            return self.shares.begin(None, None)
        records, every = self.records, np.union1d(todo, self.planned.among(self.records.ahead()))
        mine, looks = set(every.tolist()), {}
        for p, (found, look) in records.targets.open.items():
            if not mine.isdisjoint(found := found.tolist()):
                looks[p] = found, look
        needs = {record: found for record, found in self.planned.needs.items() if record in mine}
        return self.shares.begin(self.planned.work(every), needs, looks, records.values)

    def _compute(self, source, tally: Tally, progress: Progress | None):
        """This group's loop over the records that it is given; ends early when asked to."""
        flushed, at, finished = time.monotonic(), None, []
        for record in self._given(source, finished, tally, progress):
            began, compiling = time.monotonic(), self.busy.compiling
            point, index = self.planned.numbering.place(record)
            try:
                if point != at:
                    problem, at = self.planned.problem(point, self.structures), point
                arrays = self._run(problem, record, index, source)
            except Stopped:
                break
            except Exception as error:
                together = hasattr(error, "status")  # raised by all ranks of a group
                if not self.keep_failures or not (together or self._alone() and isinstance(error, FAILURES)):
                    error.agreed = self.groups.count == 1 and together  # type: ignore[attr-defined]
                    raise
                arrays, reason = None, str(error) if together else f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - began
            self.stop.longest = max(self.stop.longest, seconds)
            self.busy.seconds += seconds
            if self.records is not None:
                if arrays is None:
                    self.records.fail(record, reason, seconds)
                    if point not in self.planned.refused:  # which was told at the start
                        log.error("record %d failed, the others go on: %s", record, reason)
                elif left := self.records.write(record, arrays, seconds):
                    source.put(record, left)
                telling = math.nan if arrays is None else _telling(seconds, self.busy.compiling - compiling)
                finished.append((record, telling))
                if time.monotonic() - flushed > self.planned.config["run"]["flush_seconds"]:
                    self.records.sync()
                    flushed = time.monotonic()
                tally.add()
        if self.records is not None:
            self.records.sync()

    def _given(self, source, finished: list, tally: Tally, progress: Progress | None):
        """Yield the records that this group is to compute, until there are none or the run is to stop.

        source   : where they come from, on the group's first rank
        finished : (record, seconds) of those computed since the last question; emptied when told
        """
        while not self.stop():
            mine = source and self._asked(source, finished)
            if not self._alone():
                mine = self.groups.comm.bcast(mine)
            if self.groups.world.rank == 0:
                tally.collect()
                self.stop.under_way(*source.under_way())
                if progress:
                    progress.left(source.time_left(), self.records, idle=not mine)
            for i, record in enumerate(mine or ()):
                if i and self.stop():
                    return
                yield record
            if mine == []:
                return

    def _asked(self, source, finished: list) -> list[int] | None:
        """The source's next records, after the looks that come before them; on the group's first rank."""
        mine = source.next(finished)
        finished.clear()
        while mine and mine[0] < 0:
            point, look = -1 - mine[0], mine[1]
            found = {record: source.get(record) for record in self.records.targets.seen(point, look)}
            known = {record: values for record, values in found.items() if values is not None}
            mine = source.next([(-1 - point, float(self.records.look(point, look, known)))])
        return mine

    def _alone(self) -> bool:
        """Whether a group is one rank, so that no other waits for it in the middle of a record."""
        return self.groups.comm.size == 1

    def _run(self, problem: Problem, record: int, index: int, source) -> dict:
        """What the method returns for one record, the `index`th of its point. Collective over the group."""
        system, options, place = problem.system, problem.options, self.planned.numbering.place
        key, earlier = problem.key(self.planned.config["run"]["seed"]), {}
        if needs := self.planned.needs.get(record):
            earlier = self.groups.comm.bcast(source and {place(needed)[1]: source.get(needed) for needed in needs})
            if None in earlier.values():
                raise _NeededFailed("a record whose result it starts from has failed")
        ask = functools.partial(self.stop, record_ahead=False)
        device = self.planned.config["run"]["device"]
        context = Context(self.groups.comm, key, ask, self.cache, earlier, device, problem.saved_state)
        arrays = problem.method.run(system, options, problem.records[index], context)
        declared = {output.name for output in problem.outputs if output.stored}
        if arrays.keys() != declared:
            raise ValueError(f"a record returned {sorted(arrays)}, the outputs are {sorted(declared)}")
        return arrays

    def _announce(self):
        log.info(
            "%d points, %s%d records (%d done), %d groups of %d ranks",
            self.planned.points,
            "at most " * bool(self.records.targets.watched),
            self.planned.numbering.records,
            int(self.records.done.sum()),
            self.groups.count,
            self.groups.comm.size,
        )
        for text in self.planned.refusals():
            log.warning("%s", text)
        if self.planned.share:
            log.info("share %s: %d of these points", self.planned.share, self.planned.own.sum())

    def _finish(self, loop: float):
        """The summary of this session, into the history and the log. Collective over the leaders."""
        groups, records, reason = self.groups, self.records, self.stop.reason
        fractions = groups.leaders.allgather(self.busy.seconds / max(loop, 1e-9))
        io, compiling = (groups.leaders.allgather(x) for x in (records.io_seconds, self.busy.compiling))
        summary = {
            "started": self.stop.started,
            "command": shlex.join([Path(sys.argv[0]).name.replace("__main__.py", "hpcsim"), *sys.argv[1:]])[:1000],
            "wall_seconds": self.stop.elapsed(),
            "loop_seconds": loop,
            "busy_fraction": fractions,
            "io_seconds": sum(io),
            "compile_seconds": max(compiling),
            "ranks": groups.world.size,
            "ranks_per_point": groups.comm.size,
            "version": __version__,
            "device": self.planned.config["run"]["device"],
            "share": str(self.planned.share or ""),
            "ended": reason or "complete",
        }
        self.failed = records.failures()
        if self.failed and not reason:
            summary["ended"] = f"complete, but for {len(self.failed)} records that failed"
        records.finish(summary)
        records.close()
        if groups.world.rank == 0:
            _warn_of_misses(self.planned, records.targets.missed)
            log.info(
                "%s after %.1f s; groups busy %s; %.1f s compiling, %s in I/O",
                f"stopped by {reason}, the same command resumes" if reason else summary["ended"],
                summary["wall_seconds"],
                store.busy_range(fractions),
                max(compiling),
                store.io_time(summary),
            )


def _warn_of_misses(planned: Plan, missed: dict):
    targets = planned.config["method"].get("target_error")
    for p, errors in missed.items():
        where = ", ".join(f"{key} = {value}" for key, value in planned.where(p).items()) or "the point"
        found = ", ".join(f"{name} {error:.3g} > {targets[name]:g}" for name, error in errors.items())
        log.warning("%s: target_error not reached with all trajectories: %s; raise method.trajectories", where, found)


def _telling(seconds: float, compiling: float) -> float:
    """What the seconds of a record tell of others like it: NaN, nothing, where much of them went into compiling."""
    return seconds - compiling if compiling < COMPILED * seconds else math.nan


@dataclass
class _Busy:
    """Seconds that this rank has spent on records, and of these on compiling, waiting for or loading kernels."""

    seconds: float = 0.0
    compiling: float = 0.0

    def compiled(self, seconds: float):
        self.compiling += seconds
