"""Whether a plan fits into the memory of the nodes, and what would make it fit."""

import pkgutil
import resource
from pathlib import Path

import numpy as np

import hpcsim.methods
from hpcsim.run.config import ConfigError, point
from hpcsim.run.plan import Plan
from hpcsim.run.problem import Problem, find


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


def process_limit() -> float:
    """Bytes that this process may still ask for under the limit of its shell, ulimit -v; infinity without one."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return np.inf
    return max(most - resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0]), 0)


def check_memory(plan: Plan, ranks: int, nodes: int = 1):
    """Raises ConfigError, with what would make it fit, if the run does not fit into the memory of the nodes, or of what
    the shell allows its processes.
    """
    groups = max(1, ranks // plan.config["run"]["ranks_per_point"])
    need, have = memory_needed(plan, groups), min(nodes * memory_available(), ranks * process_limit())
    if need <= have:
        return
    largest = int(np.argmax(plan.bytes))
    at, _ = plan.numbering.place(largest)
    (model, method), problem = point(plan.config, at), plan.problem(at)
    raise ConfigError(
        f"model = {model}: needs about {need / 1e9:.3g} GB for {groups} records at once, and "
        f"{have / 1e9:.3g} GB is available; {_fix(plan, ranks, nodes, have)}"
        f"{_lean(problem, have)}{_other_methods(problem, method['name'], have)}"
    )


def _fix(plan: Plan, ranks: int, nodes: int, have: float) -> str:
    """The fewest ranks per point, or nodes, with which the run fits."""
    largest = plan.bytes.max()
    if largest <= have:
        per_group = next(n for n in range(1, ranks + 1) if ranks % n == 0 and memory_needed(plan, ranks // n) <= have)
        return f"use run.ranks_per_point: {per_group}, for {ranks // per_group} records at once"
    smaller = f"one record alone needs {largest / 1e9:.3g} GB: take a smaller system, or"
    if not have:
        return f"{smaller} a larger ulimit -v"
    needed = int(np.ceil(largest * nodes / have))
    return f"{smaller} {needed} nodes like this with run.ranks_per_point: {needed * max(1, ranks // nodes)}"


def _lean(problem: Problem, have: float) -> str:
    """The option of its method that makes the point fit."""
    for key, value in getattr(problem.method, "LEAN", {}).items():
        value = {**getattr(problem.options, key), **value} if isinstance(value, dict) else value
        options = problem.options.model_copy(update={key: value})
        need = max(
            problem.method.cost(problem.system, options, record).bytes
            for record in problem.method.records(problem.system, options)
        )
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
        try:
            records = method.records(system, options)
        except ValueError:  # its default task is not for this system
            continue
        need = max(method.cost(system, options, record).bytes for record in records)
        if need <= have:
            fitting.append(f"{other} ({need / 1e9:.2g} GB)")
    return f"; methods that fit: {', '.join(fitting)}" if fitting else ""
