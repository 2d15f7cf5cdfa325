"""From a resolved config to a finished run file: plan the records, share them out, compute, store."""
import functools
import hashlib
import importlib
import json
import logging
import pkgutil
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
from mpi4py import MPI
from numba.core.event import install_timer

import hpcsim.methods
import hpcsim.models
from hpcsim import __version__, store
from hpcsim.run.config import ConfigError, points, validate
from hpcsim.methods import Context, Output, Stopped
from hpcsim.run.parallel import Groups, Stop, Tally, agree, all_fall_together, assign, on_root
from hpcsim.ensemble.reduce import AVERAGED

log = logging.getLogger("hpcsim")


@dataclass(frozen=True)
class Plan:
    """All that is known before anything is computed.

    config  : resolved, with every default written out
    outputs : of the method, with dimensions as long as the longest point needs
    point, index : (records,) point of each record, and its number within the point
    bytes, time  : (records,) cost of each record
    sites, dimension : of the largest system and Hilbert space
    """

    config: dict
    outputs: tuple[Output, ...]
    point: np.ndarray
    index: np.ndarray
    bytes: np.ndarray
    time: np.ndarray
    sites: int
    dimension: float


@functools.cache
def find(package, name: str, what: str):
    """The module `name` of hpcsim.models or hpcsim.methods; an unknown name lists the known ones."""
    known = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    if name not in known:
        raise ConfigError(f"{what}.name = {name!r}: unknown {what}; known: {', '.join(known)}")
    return importlib.import_module(f"{package.__name__}.{name}")


class Problem:
    """The system and the method's options of one point. Raises ConfigError if they do not fit."""

    def __init__(self, model: dict, method: dict):
        model, method = dict(model), dict(method)
        builder = find(hpcsim.models, model_name := model.pop("name"), "model")
        self.method = find(hpcsim.methods, method_name := method.pop("name"), "method")
        self.params = validate(builder.Params, model, "model")
        self.options = validate(self.method.Options, method, "method")
        self.system = builder.build(self.params)
        if reason := self.method.supports(self.system):
            raise ConfigError(f"method.name = {method_name!r}: does not support model {model_name!r}: {reason}")

    def key(self, seed: int) -> tuple[int, int]:
        """Two 32-bit words from the seed and the model's parameters: the key of the random streams."""
        text = json.dumps([seed, self.params.model_dump()], sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def plan(config: dict) -> Plan:
    """Check every point of the sweep and lay out its records. Raises ConfigError."""
    point, index, bytes_, times, outputs = [], [], [], [], {}
    sites, dimension, first = 0, 0.0, None
    for p, (model, method) in enumerate(points(config)):
        try:
            problem = Problem(model, method)
            first = first or problem
            system, options = problem.system, problem.options
            records = problem.method.records(system, options)
            costs = [problem.method.cost(system, options, record) for record in records]
            found = problem.method.outputs(system, options)
            _widen(outputs, found)
            _check_targets(method.get("target_error") or {}, found)
        except (ConfigError, ValueError) as error:
            where = _swept(config, model, method)
            raise ConfigError(f"{error} (point {p} of the sweep: {where})" if where else str(error)) from None
        point += [p] * len(records)
        index += range(len(records))
        bytes_ += [cost.bytes for cost in costs]
        times += [cost.time for cost in costs]
        sites, dimension = max(sites, system.sites), max(dimension, system.dimension)
    resolved = dict(config, model={"name": config["model"]["name"], **first.params.model_dump()},
                    method={"name": config["method"]["name"], **first.options.model_dump()})
    return Plan(json.loads(json.dumps(resolved)), tuple(outputs.values()), np.array(point), np.array(index),
                np.array(bytes_, float), np.array(times, float), sites, dimension)


def _swept(config: dict, model: dict, method: dict) -> dict:
    """The values of the sweep at one point."""
    sections = {"model": model, "method": method}
    return {key: sections[key.split(".")[0]][key.split(".")[1]] for axis in config["sweep"] for key in axis}


def _check_targets(targets: dict, outputs):
    allowed = [output.name for output in outputs if output.reduce in AVERAGED]
    for name, value in targets.items():
        if name not in allowed:
            raise ConfigError(f"method.target_error.{name} = {value}: no output with a standard error; those of this "
                              f"method are: {', '.join(allowed)}")


def _widen(known: dict, outputs):
    """Keep for every output the longest dimensions any point needs."""
    for output in outputs:
        old = known.setdefault(output.name, output)
        dims = []
        for a, b in zip(old.dims, output.dims):
            longer, shorter = (a, b) if len(a.values) >= len(b.values) else (b, a)
            if longer.values[:len(shorter.values)] != shorter.values:
                raise ConfigError(f"sweep: the dimension {a.name!r} of {output.name} takes other values at different "
                                  f"points; compute them in separate runs")
            dims.append(longer)
        known[output.name] = replace(old, dims=tuple(dims))


def seconds(plan: Plan, ranks: int) -> float:
    """Rough wall time on `ranks` ranks: the load of the busiest group."""
    per_group = plan.config["run"]["ranks_per_point"]
    return max(plan.time[mine].sum() for mine in assign(plan.time, max(1, ranks // per_group))) / per_group


def suggested_ranks(plan: Plan) -> int:
    """Ranks beyond which the largest record alone sets the wall time."""
    return plan.config["run"]["ranks_per_point"] * max(1, int(plan.time.sum() / plan.time.max()))


def memory_needed(plan: Plan, groups: int) -> float:
    """Bytes at the worst moment: the `groups` largest records at once."""
    return float(np.sort(plan.bytes)[-groups:].sum())


def memory_available() -> float:
    """Bytes this node can still give: MemAvailable, or the cgroup's limit where that is smaller."""
    with open("/proc/meminfo") as lines:
        table = dict(line.split(":", 1) for line in lines)
    available = 1024 * float(table["MemAvailable"].split()[0])
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = file.read().strip()
    except OSError:
        return available
    return available if limit == "max" else min(available, float(limit))


def check_memory(plan: Plan, ranks: int, nodes: int = 1):
    """Raises ConfigError, with what would make it fit, if the run does not fit into the memory of the nodes."""
    groups = max(1, ranks // plan.config["run"]["ranks_per_point"])
    need, have = memory_needed(plan, groups), nodes * memory_available()
    if need <= have:
        return
    largest = int(np.argmax(plan.bytes))
    model, method = list(points(plan.config))[plan.point[largest]]
    raise ConfigError(f"model = {model}: needs about {need / 1e9:.3g} GB for {groups} records at once, and "
                      f"{have / 1e9:.3g} GB is available; {_mend(plan, ranks, nodes, have)}"
                      f"{_lean(Problem(model, method), have)}"
                      f"{_other_methods(Problem(model, method), method['name'], have)}")


def _mend(plan: Plan, ranks: int, nodes: int, have: float) -> str:
    """The fewest ranks per point, or nodes, with which the run fits."""
    largest = plan.bytes.max()
    if largest <= have:
        per_group = next(n for n in range(1, ranks + 1) if ranks % n == 0 and memory_needed(plan, ranks // n) <= have)
        return f"use run.ranks_per_point: {per_group}, for {ranks // per_group} records at once"
    needed = int(np.ceil(largest * nodes / have))
    return (f"one record alone needs {largest / 1e9:.3g} GB: take a smaller system, or {needed} nodes like this with "
            f"run.ranks_per_point: {needed * max(1, ranks // nodes)}")


def _lean(problem: Problem, have: float) -> str:
    """The option of its method that makes the point fit."""
    for key, value in getattr(problem.method, "LEAN", {}).items():
        value = {**getattr(problem.options, key), **value} if isinstance(value, dict) else value
        options = problem.options.model_copy(update={key: value})
        need = max(problem.method.cost(problem.system, options, record).bytes
                   for record in problem.method.records(problem.system, options))
        if need <= have:
            return f"; with method.{key}: {value} one record needs {need / 1e9:.3g} GB".replace("'", "")
    return ""


def _other_methods(problem: Problem, name: str, have: float) -> str:
    """Which would fit with their defaults: those that use a symmetry more, or approximate."""
    fitting = []
    for other in sorted(m.name for m in pkgutil.iter_modules(hpcsim.methods.__path__)):
        method, system = find(hpcsim.methods, other, "method"), problem.system
        if other == name or method.supports(system):
            continue
        options = method.Options()
        need = max(method.cost(system, options, record).bytes for record in method.records(system, options))
        if need <= have:
            fitting.append(f"{other} ({need / 1e9:.2g} GB)")
    return f"; methods that fit: {', '.join(fitting)}" if fitting else ""


class Progress:
    """Rate-limited lines (a bar on a terminal) with done/total, rate and time left."""

    def __init__(self, total: int, done: int):
        self.total, self.done, self.first = total, done, done
        self.started = self.last = time.time()
        self.tty = sys.stderr.isatty()

    def needs(self, total: int):
        """Fewer records are needed than was thought."""
        if total != self.total:
            self.total = total
            self(0)

    def __call__(self, finished: int):
        self.done += finished
        now = time.time()
        if self.done < self.total and now - self.last < (0.2 if self.tty else 5.0):
            return
        self.last = now
        rate = (self.done - self.first) / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        line = f"{self.done}/{self.total} records, {rate:.3g}/s, {left:.0f} s left"
        if self.tty:
            filled = 30 * self.done // self.total
            sys.stderr.write(f"\r[{'#' * filled}{'.' * (30 - filled)}] {line}   " + "\n" * (self.done == self.total))
        else:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()


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
        agree(world, ConfigError(f"run.ranks_per_point = {per_group}: must divide the number of ranks, {world.size}; "
                                 f"start a multiple of {per_group} ranks"))
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
        log.info("%d points, %s%d records (%d done), %d groups of %d ranks", planned.point.max() + 1,
                 "at most " * bool(file.targets.watched), records, done, groups.count, groups.comm.size)
    progress = Progress(records, done)
    tally, busy, began, reason = Tally(groups, progress), _Busy(), time.time(), None
    with install_timer("numba:compile", busy.compiled):
        while True:
            todo = groups.comm.bcast(None if file is None else file.todo())
            if world.rank == 0:
                progress.needs(records - int(file.targets.skipped.sum()))
            if reason or not len(todo):
                break
            mine = todo[assign(planned.time[todo], groups.count)[groups.index]]
            _compute(planned, mine, file, groups, stop, tally, busy)
            tally.wait_for_all()
            reason = stop.settle()
    loop = time.time() - began
    stop.reason = reason if len(todo) else None
    if file is None:
        return
    fractions = groups.leaders.allgather(busy.seconds / max(loop, 1e-9))
    io, compiling = (groups.leaders.allgather(x) for x in (file.io_seconds, busy.compiling))
    summary = {"started": started, "wall_seconds": time.time() - started, "loop_seconds": loop,
               "busy_fraction": fractions, "io_seconds": sum(io), "compile_seconds": max(compiling),
               "ranks": world.size, "ranks_per_point": groups.comm.size, "version": __version__,
               "ended": stop.reason or "complete"}
    file.finish(summary)
    file.close()
    if world.rank == 0:
        _warn_of_misses(planned, file.targets.missed)
        log.info("%s after %.1f s; groups busy %s; %.1f s compiling, %.2f s in I/O",
                 f"stopped by {stop.reason}, the same command resumes" if stop.reason else "complete",
                 summary["wall_seconds"], " ".join(f"{100 * f:.0f}%" for f in fractions), max(compiling), sum(io))


def _warn_of_misses(planned: Plan, missed: dict):
    targets, every = planned.config["method"].get("target_error"), list(points(planned.config))
    for p, errors in missed.items():
        where = ", ".join(f"{key} = {value}" for key, value in _swept(planned.config, *every[p]).items()) or "the point"
        found = ", ".join(f"{name} {error:.3g} > {targets[name]:g}" for name, error in errors.items())
        log.warning("%s: target_error not reached with all trajectories: %s; raise method.trajectories", where, found)


@dataclass
class _Busy:
    """Seconds that this rank has spent on records, and of these on compiling kernels."""

    seconds: float = 0.0
    compiling: float = 0.0

    def compiled(self, seconds: float):
        self.compiling += seconds


def _compute(planned: Plan, mine, file, groups: Groups, stop: Stop, tally: Tally, busy: _Busy):
    """This group's loop over its records; ends early when asked to."""
    flushed, every, at = time.time(), list(points(planned.config)), None
    for record in mine:
        if stop():
            break
        began = time.time()
        if planned.point[record] != at:
            at = planned.point[record]
            problem = Problem(*every[at])
        context = Context(groups.comm, problem.key(planned.config["run"]["seed"]),
                          functools.partial(stop, record_ahead=False))
        what = problem.method.records(problem.system, problem.options)[planned.index[record]]
        try:
            arrays = problem.method.run(problem.system, problem.options, what, context)
        except Stopped:
            break
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
