"""The start of a run on many ranks: what each of them imports, reads and compiles before the first record.

    python jobs/benchmarks/start_up.py --ranks 1 2 32

Every number of ranks starts twice with a folder of its own for compiled kernels, empty and then full. `import` is the
wall time from the launch until the last rank has loaded the package, `plan` that until the last rank has the plan, and
both are followed by the CPU time of rank 0 and the largest of the others: with a core for each rank the wall time is
no longer than that. `compile` counts the ranks that have compiled a kernel, and the longest time that a rank has spent
on that, on waiting for another one, or on loading. `sources` and `files` are what a rank has opened of the package's
own sources, to name the folder of kernels where NUMBA_CACHE_DIR is not set, and altogether: rank 0, most of the others.
"""

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time

SECTIONS = {
    "model": {"name": "gain_loss_lattice", "S": 5, "loss": 0.4},
    "method": {"name": "liouvillian"},
    "sweep": [{"model.gain": [round(0.01 * i, 2) for i in range(1, 33)]}],
}
LAUNCHED = "START_UP_BENCHMARK_LAUNCHED"


def rank():
    """One rank of a run; rank 0 prints what all have measured, as JSON."""
    opened: list[str] = []
    sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == "open" else None)
    launched, marks = float(os.environ[LAUNCHED]), {}

    def mark(what: str):
        marks[what] = time.time() - launched, time.process_time()

    from mpi4py import MPI

    from hpcsim import environment

    world = MPI.COMM_WORLD
    environment.prepare(world)
    from hpcsim import api, compiled
    from hpcsim.run import config, execute
    from hpcsim.run.parallel import on_root

    mark("import")
    planned = on_root(world, lambda: api.planning.plan(config.resolve(SECTIONS)), (), api.planning.Plan.without_costs)
    mark("plan")
    data = execute.compute(lambda: planned, world)
    kernels = [each for each in gc.get_objects() if isinstance(each, compiled.Kernel) and "dispatcher" in vars(each)]
    own = [path for path in opened if path.startswith(str(environment.PACKAGE)) and path.endswith(".py")]
    found = {
        **marks,
        "compiled": sum(sum(each.dispatcher.stats.cache_misses.values()) for each in kernels),
        "compiling": data.history[-1]["compile_seconds"] if data else 0.0,
        "sources": len(own),
        "files": len(opened),
    }
    if every := world.gather(found):
        print(json.dumps(every), flush=True)


def measured(ranks: int, folder: str | None) -> list[dict]:
    """What all ranks of one run have measured; folder: for compiled kernels."""
    known = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    more = {"OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_ALLOW_RUN_AS_ROOT": "1"}
    more |= {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", LAUNCHED: repr(time.time())}
    more |= {"NUMBA_CACHE_DIR": folder} if folder else {}
    command = ["mpirun", "-n", str(ranks), sys.executable, __file__, "--as-rank"]
    answer = subprocess.run(command, env=known | more, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(answer.splitlines()[-1])


def row(kernels: str, every: list[dict]):
    first, others = every[0], every[1:] or every

    def pair(key, place=None):
        value = (lambda each: each[key]) if place is None else (lambda each: each[key][place])
        return value(first), max(map(value, others))

    print(f"{len(every):>5} {kernels:<8}", end="")
    for stage in ("import", "plan"):
        (own, most), cpu = pair(stage, 0), pair(stage, 1)
        print(f"{max(own, most):9.2f}{cpu[0]:7.2f}{cpu[1]:6.2f}", end="")
    print(f"{sum(each['compiled'] > 0 for each in every):>9}{max(each['compiling'] for each in every):8.2f}", end="")
    print("".join(f"{own:>9}{most:>6}" for own, most in (pair("sources"), pair("files"))), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 32])
    parser.add_argument("--as-rank", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.as_rank:
        return rank()
    print(f"{'ranks':>5} {'kernels':<8}{'import':>9}{'CPU s':>13}{'plan':>9}{'CPU s':>13}", end="")
    print(f"{'compile':>9}{'s':>8}{'sources':>15}{'files':>15}")
    for ranks in given.ranks:
        with tempfile.TemporaryDirectory() as folder:
            for kernels in ("empty", "full"):
                row(kernels, measured(ranks, folder))
        row("default", measured(ranks, None))
    return None


if __name__ == "__main__":
    sys.exit(main())
