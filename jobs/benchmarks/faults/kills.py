"""SIGKILL at random moments: no record that is done is lost, no file is unreadable, nothing hangs, no lock stays.

    python jobs/benchmarks/faults/kills.py --kills 100 --seed 1

Runs of every method are killed while they start, plan, compute, write and end, in one process or on 1 to 4 ranks (all
of them or one), and go on; collect, plot, export and report are killed too. After every kill the run file must be
readable and hold what it held before, bit for bit the numbers of an uninterrupted run. One process is forked from this
one, which has everything loaded; --compiling lets runs on ranks compile into an empty cache, one for every two kills.
"""

import argparse
import contextlib
import io
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[3] / "tests")]
from conftest import mpi_command, mpi_environment  # noqa: E402
from writes import facts  # noqa: E402

from hpcsim import cli, store  # noqa: E402

CHAIN = {"name": "gain_loss_lattice", "cells": 1, "S": 1, "gain": 0.5}
ALL = {"name": "all_to_all_xyz", "sites": 8, "Jx": 0.6, "Jy": 1.1, "Jz": 1.0}
ENSEMBLE = {"trajectories": 64, "batch": 8, "burn_in": 5}
PAIRS = {"name": "xyz_lattice", "convention": "lee2013", "sites": 4, "Jx": 0.8, "Jy": 1.1, "Jz": 1.0}
LOSSES = [{"model.loss": [round(0.3 + 0.1 * n, 1) for n in range(12)]}]
DECAYS = [{"model.decay": [0.5, 1.0]}]
METHODS = {  # name: (model, options, sweep); records take some hundredths of a second
    "liouvillian": (CHAIN, {}, LOSSES),
    "permutation": (ALL, {}, [{"model.decay": [0.5, 1.0, 2.0]}]),
    "mean_field": (CHAIN, {}, LOSSES),
    "gaussian": (CHAIN, {}, LOSSES),
    "trajectories": (PAIRS, ENSEMBLE | {"duration": 20}, DECAYS),
    "phase_space": (CHAIN | {"cells": 4, "S": 10}, ENSEMBLE | {"duration": 100}, [{"model.loss": [0.4, 1.0]}]),
    "matrix_product": (CHAIN | {"cells": 2, "periodic": False}, {"bond_dimension": 4}, [{"model.loss": [0.5, 1.0]}]),
}
AFTERWARDS = {
    "collect": "collect whole.c.h5 whole.h5",
    "plot": "plot whole.c.h5 --to figures",
    "export": "export whole.c.h5 --csv --to tables",
    "report": "report whole.c.h5 --to page.html",
}
RANKS = (0, 0, 0, 0, 1, 2, 3, 4)  # drawn from these; 0: without mpirun
LIMIT = 300  # seconds after which a command hangs


def write_config(folder: Path, method: str):
    model, options, sweep = METHODS[method]
    axis = next(iter(sweep[0])).partition(".")[2]
    figures = [{"file": "f", "panels": [{"y": "Sz", "x": axis, "by": "sublattice"}]}]
    config = {"model": model, "method": {"name": method} | options, "sweep": sweep, "figures": figures}
    (folder / "c.yaml").write_text(yaml.safe_dump(config | {"title": "kills", "run": {"seed": 3}}))


def below(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    try:
        direct = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [q for p in direct for q in below(p)]


def forked(words: str, folder: Path) -> int:
    """The process id of a command of hpcsim that runs beside this one, without output."""
    pid = os.fork()
    if not pid:
        code = 99
        with contextlib.suppress(BaseException):
            os.chdir(folder)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1), os.dup2(null, 2)
            code = cli.main(words.split())
        os._exit(code)
    return pid


def ended(pid: int, within: float) -> int | None:
    """The exit status of a child of this process; None if it still runs after some seconds."""
    until = time.monotonic() + within
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            return None
        time.sleep(0.002)


class Method:
    """Kills of one method's runs, and of what comes after them, in a folder of their own."""

    def __init__(self, folder: Path, method: str, rng: random.Random):
        self.folder, self.method, self.rng = folder, method, rng
        folder.mkdir()
        write_config(folder, method)
        self.seconds = {}
        for name, words in ({"run": "run c.yaml --out whole.h5"} | AFTERWARDS).items():
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                assert cli.main(words.split()) == 0, f"{method}: hpcsim {words}"  # here: compiled for all
            if name == "run":
                (folder / "whole.h5").unlink()
            began = time.monotonic()
            assert ended(forked(words, folder), LIMIT) == 0, f"{method}: hpcsim {words}"
            self.seconds[name] = time.monotonic() - began
        [self.reference] = store.read_runs(folder / "whole.h5")
        self.path, self.done = folder / "r.h5", np.zeros(len(self.reference.done), bool)

    def run(self, ranks: int, environment: dict) -> bool:
        """Start or go on with the run, kill it, and look at its file; whether it was still at work."""
        if ranks:
            command = mpi_command(ranks, ["-m", "hpcsim", "run", "c.yaml", "--out", "r.h5"])
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
            process = subprocess.Popen(command, cwd=self.folder, **quiet)
            pid, longest = process.pid, self.seconds["run"] + 3
        else:
            pid, longest = forked("run c.yaml --out r.h5", self.folder), 1.1 * self.seconds["run"]
        hit = self.kill(pid, self.rng.uniform(0, longest))
        self.done = self.look()
        if self.done.all():
            assert hit or not Path(f"{self.path}.lock").exists(), "a lock is left"
            self.path.unlink()
            self.done = np.zeros(len(self.done), bool)
        return hit

    def kill(self, pid: int, after: float) -> bool:
        """All or one of the processes, after some seconds, unless it has ended."""
        if ended(pid, after) is not None:
            return False
        ranks = below(pid) or [pid]
        for each in [*ranks, pid] if self.rng.random() < 0.5 else [self.rng.choice([*ranks, pid])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        assert ended(pid, LIMIT) is not None, "a command hangs after a kill"
        return True

    def look(self) -> np.ndarray:
        """What is done now: no less than before, and the same numbers."""
        if not self.path.exists():
            assert not self.done.any(), "the run file is gone"
            return self.done
        [run] = store.read_runs(self.path)
        assert (self.done <= run.done).all(), "a record is lost"
        for name, values in run.arrays.items():
            assert values[run.done].tobytes() == self.reference.arrays[name][run.done].tobytes(), f"{name} differs"
        return run.done

    def afterwards(self, name: str) -> bool:
        """Kill what comes after a run; its files are whole, old or new."""
        hit = self.kill(forked(AFTERWARDS[name], self.folder), self.rng.uniform(0, 1.1 * self.seconds[name]))
        for made in ("whole.c.h5", "figures/f.png", "page.html"):
            assert facts(self.folder / made), f"{made} is damaged or gone"
        return hit

    def finish(self):
        """After all kills the run comes to its end."""
        assert ended(forked("run c.yaml --out r.h5", self.folder), LIMIT) == 0
        assert self.look().all() and not Path(f"{self.path}.lock").exists()


def campaign(kills: int, seed: int, folder: Path, names=tuple(METHODS), ranks=RANKS, compiling=False) -> dict[str, int]:
    """{method and what was killed: how often}"""
    rng, counts, caches = random.Random(seed), {}, 0
    methods = [Method(folder / name, name, rng) for name in names]
    print("seconds:", {method.method: round(method.seconds["run"], 2) for method in methods}, flush=True)
    while sum(counts.values()) < kills:
        method, n = rng.choice(methods), rng.choice(ranks)
        kind = rng.choice(["run", "run", "run", *AFTERWARDS])
        environment = mpi_environment()
        if compiling:
            caches += 1
            environment["NUMBA_CACHE_DIR"] = str(folder / f"cache{caches // 2}")
        hit = method.run(n, environment) if kind == "run" else method.afterwards(kind)
        where = (f"run on {n} ranks" if n else "run in one process") if kind == "run" else kind
        if hit:
            counts[f"{method.method}: {where}"] = counts.get(f"{method.method}: {where}", 0) + 1
            if sum(counts.values()) % 25 == 0:
                print(f"{sum(counts.values())} of {kills}: {counts}", flush=True)
    for method in methods:
        method.finish()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--ranks", nargs="+", type=int, default=RANKS)
    parser.add_argument("--compiling", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        found = campaign(given.kills, given.seed, Path(folder), given.methods, given.ranks, given.compiling)
    for key in sorted(found):
        print(f"{key}: {found[key]}")
    print("kills:", sum(found.values()))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
