"""From a plan to a finished run file: share the records out, compute, store."""

import functools
import logging
import time
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numba.core.event import install_timer

from hpcsim import __version__, store
from hpcsim.methods import Cache, Context, Stopped
from hpcsim.run.config import ConfigError, points
from hpcsim.run.memory import check_memory
from hpcsim.run.parallel import Groups, Stop, Tally, agree, all_fall_together, on_root
from hpcsim.run.plan import Plan, Problem, swept
from hpcsim.run.progress import Progress
from hpcsim.run.schedule import assign
from hpcsim.run.watch import watching

log = logging.getLogger("hpcsim")


def run(make_plan, path, max_walltime: float | None = None, world: MPI.Comm = MPI.COMM_SELF) -> str | None:
    """Compute what is not yet in the run file `path`. Collective over `world`.

    make_plan    : () -> Plan, called on rank 0
    max_walltime : seconds after which to stop at a record boundary, or None
    Returns None when complete, else why it stopped early (the file resumes).
    Raises ConfigError or StoreError, the same on every rank, before anything is computed.
    """
    with all_fall_together(world, (store.StoreError,)), watching(world):
        stop = Stop(max_walltime)
        planned, groups = _begin(make_plan, world, stop)
        file = error = None
        if groups.leaders is not None:
            try:
                file = store.open_run(path, planned.layout, groups.leaders, frozenset().union(*planned.needs.values()))
            except store.StoreError as caught:
                error = caught
        agree(world, error)
        _Session(planned, file, groups, stop).work(Progress(len(planned.point), _done(file)))
        groups.free()
        return stop.reason


def compute(make_plan, world: MPI.Comm = MPI.COMM_SELF) -> store.RunData | None:
    """Compute everything in memory; the result on rank 0, None on the others. Collective over `world`.

    No signals are handled and nothing is shown. Raises ConfigError, the same on every rank.
    """
    with all_fall_together(world, ()):
        stop = Stop(None, signals=())
        planned, groups = _begin(make_plan, world, stop)
        kept = data = None
        if groups.leaders is not None:
            kept = store.Memory(planned.layout, groups.leaders, frozenset().union(*planned.needs.values()))
        _Session(planned, kept, groups, stop).work()
        if kept is not None:
            data = kept.gathered()
        groups.free()
        return data


def _begin(make_plan, world: MPI.Comm, stop: Stop) -> tuple[Plan, Groups]:
    """The plan, checked against ranks and memory, on every rank, and the groups of ranks."""
    planned = on_root(world, make_plan, (ConfigError,))
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


def _done(records: store.Records | None) -> int:
    return 0 if records is None else int(records.done.sum())


class _Session:
    """The work of one session on the records of a plan.

    records : where they are kept, on the first rank of every group; None on the other ranks
    """

    def __init__(self, planned: Plan, records: store.Records | None, groups: Groups, stop: Stop):
        self.planned, self.records, self.groups, self.stop = planned, records, groups, stop
        self.busy, self.cache, self.every = _Busy(), Cache(), list(points(planned.config))

    def work(self, progress: Progress | None = None):
        """Rounds of records until no more are needed: one round, or one for each look of a target_error, or for
        each stage of records that need the results of others. progress: None shows nothing."""
        groups, stop, total = self.groups, self.stop, len(self.planned.point)
        if groups.world.rank == 0:
            self._announce()
        tally = Tally(groups, progress or (lambda finished: None))
        began, reason = time.monotonic(), None
        with install_timer("numba:compile", self.busy.compiled):
            while True:
                todo, ready = groups.comm.bcast(self._ready())
                if progress and groups.world.rank == 0:
                    progress.needs(total - int(self.records.targets.skipped.sum()))
                if reason or not len(todo):
                    break
                if not len(ready) and groups.world.rank == 0:
                    for record in todo:
                        self.records.fail(record, "records whose results it starts from have failed", 0.0)
                self._compute(ready[assign(self.planned.time[ready], groups.count)[groups.index]], tally)
                tally.wait_for_all()
                reason = stop.settle()
        stop.reason = reason if len(todo) else None
        if self.records is not None:
            self._finish(time.monotonic() - began)

    def _ready(self):
        """Numbers of all records that are to be computed, and of those that can be now."""
        if self.records is None:
            return None
        todo, earlier, needs = self.records.todo(), self.records.earlier.keys(), self.planned.needs
        return todo, np.array([record for record in todo if earlier >= {*needs.get(record, ())}], int)

    def _compute(self, mine, tally: Tally):
        """This group's loop over its records; ends early when asked to."""
        flushed, at = time.monotonic(), None
        for record in mine:
            if self.stop():
                break
            began = time.monotonic()
            if self.planned.point[record] != at:
                at = self.planned.point[record]
                problem = Problem(*self.every[at], self.planned.given)
            try:
                arrays = self._run(problem, record)
            except Stopped:
                break
            except Exception as error:  # those with a status are raised by all ranks of a group
                error.agreed = self.groups.count == 1 and hasattr(error, "status")
                raise
            seconds = time.monotonic() - began
            self.stop.longest = max(self.stop.longest, seconds)
            self.busy.seconds += seconds
            if self.records is not None:
                self.records.write(record, arrays, seconds)
                if time.monotonic() - flushed > self.planned.config["run"]["flush_seconds"]:
                    self.records.sync()
                    flushed = time.monotonic()
                tally.add()
        if self.records is not None:
            self.records.sync()

    def _run(self, problem: Problem, record: int) -> dict:
        """What the method returns for one record. Collective over the group."""
        system, options, index = problem.system, problem.options, self.planned.index
        key, earlier = problem.key(self.planned.config["run"]["seed"]), {}
        if record in self.planned.needs:
            found = None if self.records is None else self.records.earlier
            earlier = self.groups.comm.bcast(
                found and {int(index[needed]): found[needed] for needed in self.planned.needs[record]}
            )
        ask = functools.partial(self.stop, record_ahead=False)
        context = Context(self.groups.comm, key, ask, self.cache, earlier)
        arrays = problem.method.run(system, options, problem.method.records(system, options)[index[record]], context)
        declared = {output.name for output in problem.method.outputs(system, options) if output.stored}
        if arrays.keys() != declared:
            raise ValueError(f"a record returned {sorted(arrays)}, the outputs are {sorted(declared)}")
        return arrays

    def _announce(self):
        log.info(
            "%d points, %s%d records (%d done), %d groups of %d ranks",
            self.planned.point.max() + 1,
            "at most " * bool(self.records.targets.watched),
            len(self.planned.point),
            _done(self.records),
            self.groups.count,
            self.groups.comm.size,
        )

    def _finish(self, loop: float):
        """The summary of this session, into the history and the log. Collective over the leaders."""
        groups, records, reason = self.groups, self.records, self.stop.reason
        fractions = groups.leaders.allgather(self.busy.seconds / max(loop, 1e-9))
        io, compiling = (groups.leaders.allgather(x) for x in (records.io_seconds, self.busy.compiling))
        summary = {
            "started": self.stop.started,
            "wall_seconds": self.stop.elapsed(),
            "loop_seconds": loop,
            "busy_fraction": fractions,
            "io_seconds": sum(io),
            "compile_seconds": max(compiling),
            "ranks": groups.world.size,
            "ranks_per_point": groups.comm.size,
            "version": __version__,
            "ended": reason or "complete",
        }
        records.finish(summary)
        records.close()
        if groups.world.rank == 0:
            _warn_of_misses(self.planned, records.targets.missed)
            log.info(
                "%s after %.1f s; groups busy %s; %.1f s compiling, %.2f s in I/O",
                f"stopped by {reason}, the same command resumes" if reason else "complete",
                summary["wall_seconds"],
                " ".join(f"{100 * f:.0f}%" for f in fractions),
                max(compiling),
                sum(io),
            )


def _warn_of_misses(planned: Plan, missed: dict):
    targets, every = planned.config["method"].get("target_error"), list(points(planned.config))
    for p, errors in missed.items():
        where = ", ".join(f"{key} = {value}" for key, value in swept(planned.config, *every[p]).items()) or "the point"
        found = ", ".join(f"{name} {error:.3g} > {targets[name]:g}" for name, error in errors.items())
        log.warning("%s: target_error not reached with all trajectories: %s; raise method.trajectories", where, found)


@dataclass
class _Busy:
    """Seconds that this rank has spent on records, and of these on compiling kernels."""

    seconds: float = 0.0
    compiling: float = 0.0

    def compiled(self, seconds: float):
        self.compiling += seconds
