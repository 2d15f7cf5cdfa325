"""Estimated against measured: the memory and the time that `hpcsim check` tells before a run.

    python jobs/benchmarks/costs.py                      # all cases: minutes
    python jobs/benchmarks/costs.py dimer antigap        # those whose name contains one of these
    python jobs/benchmarks/costs.py --keep FOLDER --configs configs/huber2020/fig2c.yaml ...

Every case is a process of its own that solves the most expensive record of one point. Memory is the growth of the
resident size beyond that of the program after it solved a small system; time is that of one core, without
compilation. Estimates below 0.1 s and 20 MB are not compared: there the program itself is what costs.

With --configs each of these runs with --quick, on one rank and twice if the first run compiled, and all its records are
compared: seconds are those of CPU time, without those records that compiled. Run files are kept in FOLDER.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

SMALLEST = 0.1, 0.02  # seconds, GB


def dimer(S):
    return {"name": "gain_loss_lattice", "S": S, "gain": 1.0, "loss": 1.0}


def chain(sites, **more):
    return {
        "name": "xyz_lattice",
        "convention": "lee2013",
        "sites": sites,
        "Jx": 0.7,
        "Jy": 1.2,
        "Jz": 1.0,
        "decay": 1.0,
        **more,
    }


def all_to_all(N):
    return {"name": "all_to_all_xyz", "N": N, "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0}


def kerr(D, cutoff):
    return {"name": "kerr_oscillator", "U": 10.0, "detuning": 10.0, "D": D, "F": 1.7, "decay": 1.0, "cutoff": cutoff}


def cavities(cutoff):
    return {
        "name": "cavity_dimer",
        "S": 0.5,
        "detuning": 16.0,
        "Gc": 4.0,
        "G": 2.53,
        "decay_a": 16.0,
        "decay_b": 32.0,
        "cutoff_c": 3,
        "cutoff": cutoff,
    }


def exact(task, **more):
    return {"name": "liouvillian", "task": task, **more}


LATER = {"times": {"linspace": [0, 10, 11]}}
LIGHT = [{"name": "light", "lowering": [["S-", 0]]}]
IN_STEADY_STATE = {
    "correlation": LATER | {"functions": LIGHT},
    "emission": {"frequencies": {"linspace": [-8, 8, 201]}, "functions": LIGHT},
    "counting": {"channels": [{"name": "jumps", "jumps": "S-"}]},
}
# name: (model, method, a small model to begin with)
CASES = {
    **{f"dimer gap S = {S}": (dimer(S), exact("gap"), dimer(6)) for S in (4, 8, 12, 16, 20, 30, 40)},
    **{f"dimer steady S = {S}": (dimer(S), exact("steady_state"), dimer(6)) for S in (8, 20, 40)},
    **{
        f"chain {task} n = {n}": (chain(n), exact(task), dimer(6))
        for task in ("steady_state", "gap")
        for n in (4, 5, 6, 7)
    },
    **{
        f"all-to-all {task} N = {N}": (all_to_all(N), exact(task), dimer(6))
        for task in ("steady_state", "gap")
        for N in (4, 5, 6)
    },
    **{f"chain evolve n = {n}": (chain(n), exact("evolve", **LATER), chain(4)) for n in (6, 7, 8)},
    **{
        f"chain {task} n = {n}": (chain(n), exact(task, **more), chain(4))
        for task, more in IN_STEADY_STATE.items()
        for n in (6, 7)
    },
    "dimer evolve S = 20": (dimer(20), exact("evolve", **LATER), dimer(2)),
    "driven spin evolve S = 100": (
        {"name": "collective_spin", "S": 100, "drive": 2.0, "decay": 1.0},
        exact("evolve", **LATER),
        {"name": "collective_spin", "S": 2, "decay": 1.0},
    ),
    "twisted, dephased spin evolve S = 100": (
        {"name": "collective_spin", "S": 100, "twist": 1.0, "decay": 0.5, "dephasing": 1.0},
        exact("evolve", times={"linspace": [0, 8, 81]}),
        {"name": "collective_spin", "S": 2, "decay": 1.0},
    ),
    "Kerr steady": (kerr(50, 110), exact("steady_state"), kerr(2, 20)),
    "Kerr spectrum": (kerr(50, 110), exact("spectrum", eigenvalues=5), kerr(2, 20)),
    "Kerr steady, 200 states": (kerr(30, 200), exact("steady_state"), kerr(2, 20)),
    "cavities evolve": (cavities(3), exact("evolve", times={"linspace": [0, 8, 33]}, initial=[1, 0]), cavities(2)),
    "cavities steady": (cavities(3), exact("steady_state"), cavities(2)),
    **{f"antigap N = {N}": (all_to_all(N), exact("antigap"), all_to_all(3)) for N in (6, 7, 8, 9, 10, 11)},
    **{f"permutation steady N = {N}": (all_to_all(N), {"name": "permutation"}, all_to_all(4)) for N in (20, 60, 95)},
    "permutation spectrum N = 40": (all_to_all(40), {"name": "permutation", "task": "spectrum"}, all_to_all(4)),
    "mean field": (chain(100), {"name": "mean_field"}, chain(4)),
    "phase space": (
        chain(100, S=100, convention="huber2021", periodic=True),
        {"name": "phase_space"},
        chain(4, S=100, convention="huber2021", periodic=True),
    ),
    "trajectories": (
        chain(12),
        {"name": "trajectories", "task": "evolve", "times": [0, 5], "trajectories": 64},
        chain(3),
    ),
}


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def solve(model, method):
    """The estimated cost of the most expensive record, and the seconds of CPU that it takes."""
    from mpi4py import MPI

    from hpcsim.methods import Context
    from hpcsim.run.problem import Problem

    problem = Problem(model, method)
    records = problem.method.records(problem.system, problem.options)
    costs = [problem.method.cost(problem.system, problem.options, record) for record in records]
    largest = max(range(len(records)), key=lambda i: costs[i].time)
    began = time.process_time()
    problem.method.run(
        problem.system, problem.options, records[largest], Context(MPI.COMM_SELF, problem.key(1), lambda: False)
    )
    return costs[largest], time.process_time() - began


def child(name):
    model, method, small = CASES[name]
    solve(small, method)
    base = peak()
    cost, seconds = solve(model, method)
    print(json.dumps([cost.time, seconds, cost.bytes / 1e9, peak() - base]))


def run_config(path: str, folder: str):
    """Run a config and print a row of the table."""
    import numpy as np

    from hpcsim import store
    from hpcsim.run import config, execute, plan

    execute.time = SimpleNamespace(monotonic=time.process_time)
    out = Path(folder) / f"{Path(path).parent.name}_{Path(path).stem}.h5"
    resolved, planned = config.load(path, quick=True), []
    for _ in range(2):
        out.unlink(missing_ok=True)
        execute.run(lambda: planned.append(plan.plan(resolved)) or planned[-1], out)
        (run,) = store.read_runs(out)
        if run.history[-1]["compile_seconds"] < 0.5:
            break
    seconds, estimates = run.seconds[run.done], planned[-1].time[run.done]
    usual = np.sort(np.log(estimates / seconds))
    ratios = np.exp(np.percentile(usual, [5, 50, 95]))
    inside = np.mean(abs(usual) < np.log(2))
    method = " ".join(filter(None, [resolved["method"]["name"], resolved["method"].get("task")]))
    row = f"{Path(path).parent.name}/{Path(path).stem} | {method} | {len(seconds)} | {estimates.sum():.3g} | "
    row += f"{seconds.sum():.3g} | " + ", ".join(f"{r:.2f}" for r in ratios) + f" | {inside:.0%}"
    print(f"| {row} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", metavar="word", help="parts of names of cases")
    parser.add_argument("--configs", nargs="+", default=[], metavar="CONFIG", help="compare all records of these")
    parser.add_argument("--keep", default=".", metavar="FOLDER", help="where --configs puts its run files")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.configs:
        print("| config | method | records | s estimated | s measured | ratio 5, 50, 95 % | within a factor of 2 |")
        print("|---|---|---|---|---|---|---|", flush=True)
        for path in given.configs:
            run_config(path, given.keep)
        return None
    if given.child:
        return child(given.child)
    print("| case | s estimated | s measured | ratio | GB estimated | GB measured | ratio |")
    print("|---|---|---|---|---|---|---|")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in CASES:
        if given.words and not any(word in name for word in given.words):
            continue
        done = subprocess.run(
            [sys.executable, __file__, "--child", name], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} |", flush=True)
            continue
        numbers = json.loads(done.stdout.strip().splitlines()[-1])
        cells = []
        for (estimated, measured), smallest in zip((numbers[:2], numbers[2:]), SMALLEST):
            ratio = f"{estimated / measured:.2f}" if max(estimated, measured) > smallest else "small"
            cells += [f"{estimated:.3g}", f"{measured:.3g}", ratio]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
