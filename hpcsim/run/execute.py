"""From a plan to a finished run file: share the records out, compute, store."""

import functools
import logging
import time
from dataclasses import dataclass

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

log = logging.getLogger("hpcsim")


def run(make_plan, path, max_walltime: float | None = None, world: MPI.Comm = MPI.COMM_SELF) -> str | None:
    """Compute what is not yet in the run file `path`. Collective over `world`.

    make_plan    : () -> Plan, called on rank 0
    max_walltime : seconds after which to stop at a record boundary, or None
    Returns None when complete, else why it stopped early (the file resumes).
    Raises ConfigError or StoreError, the same on every rank, before anything is computed.
    """
    with all_fall_together(world, (store.StoreError,)):
        return _run(make_plan, path, max_walltime, world)


def _run(make_plan, path, max_walltime, world):
    started = time.time()
    stop = Stop(max_walltime, started)
    planned = on_root(world, make_plan, (ConfigError,))
    config, per_group = planned.config, planned.config["run"]["ranks_per_point"]
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
    layout = store.Layout(config, tuple(config["sweep"]), planned.outputs, planned.point, planned.index)
    file, error = None, None
    if groups.leaders is not None:
        try:
            file = store.open_run(path, layout, groups.leaders)
        except store.StoreError as caught:
            error = caught
    agree(world, error)
    _work(planned, file, groups, stop, started)
    return stop.reason


def _work(planned: Plan, file, groups: Groups, stop: Stop, started: float):
    """Rounds of records until no more are needed: one round, or with a target_error one for each look."""
    world, records = groups.world, len(planned.point)
    done = 0 if file is None else int(file.done.sum())
    if world.rank == 0:
        log.info(
            "%d points, %s%d records (%d done), %d groups of %d ranks",
            planned.point.max() + 1,
            "at most " * bool(file.targets.watched),
            records,
            done,
            groups.count,
            groups.comm.size,
        )
    progress = Progress(records, done)
    tally, busy, cache, began, reason = Tally(groups, progress), _Busy(), Cache(), time.time(), None
    with install_timer("numba:compile", busy.compiled):
        while True:
            todo = groups.comm.bcast(None if file is None else file.todo())
            if world.rank == 0:
                progress.needs(records - int(file.targets.skipped.sum()))
            if reason or not len(todo):
                break
            mine = todo[assign(planned.time[todo], groups.count)[groups.index]]
            _compute(planned, mine, file, groups, stop, tally, busy, cache)
            tally.wait_for_all()
            reason = stop.settle()
    loop = time.time() - began
    stop.reason = reason if len(todo) else None
    if file is None:
        return
    fractions = groups.leaders.allgather(busy.seconds / max(loop, 1e-9))
    io, compiling = (groups.leaders.allgather(x) for x in (file.io_seconds, busy.compiling))
    summary = {
        "started": started,
        "wall_seconds": time.time() - started,
        "loop_seconds": loop,
        "busy_fraction": fractions,
        "io_seconds": sum(io),
        "compile_seconds": max(compiling),
        "ranks": world.size,
        "ranks_per_point": groups.comm.size,
        "version": __version__,
        "ended": stop.reason or "complete",
    }
    file.finish(summary)
    file.close()
    if world.rank == 0:
        _warn_of_misses(planned, file.targets.missed)
        log.info(
            "%s after %.1f s; groups busy %s; %.1f s compiling, %.2f s in I/O",
            f"stopped by {stop.reason}, the same command resumes" if stop.reason else "complete",
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


def _compute(planned: Plan, mine, file, groups: Groups, stop: Stop, tally: Tally, busy: _Busy, cache: Cache):
    """This group's loop over its records; ends early when asked to."""
    flushed, every, at = time.time(), list(points(planned.config)), None
    for record in mine:
        if stop():
            break
        began = time.time()
        if planned.point[record] != at:
            at = planned.point[record]
            problem = Problem(*every[at])
        key = problem.key(planned.config["run"]["seed"])
        context = Context(groups.comm, key, functools.partial(stop, record_ahead=False), cache)
        what = problem.method.records(problem.system, problem.options)[planned.index[record]]
        try:
            arrays = problem.method.run(problem.system, problem.options, what, context)
        except Stopped:
            break
        except Exception as error:  # those with a status are raised by all ranks of a group
            error.agreed = groups.count == 1 and hasattr(error, "status")
            raise
        seconds = time.time() - began
        stop.longest = max(stop.longest, seconds)
        busy.seconds += seconds
        if file is not None:
            file.write(record, arrays, seconds)
            if time.time() - flushed > planned.config["run"]["flush_seconds"]:
                file.sync()
                flushed = time.time()
            tally.add()
    if file is not None:
        file.sync()
