"""SIGKILL at random moments: no record that is done is lost, no file is unreadable, nothing hangs, no lock stays.

    python jobs/benchmarks/faults/kills.py --kills 100 --seed 1

Runs of every method and task are killed while they plan, compute, write, flush and end, in one process or on 1 to 4
ranks (all of them or one), and go on; collect, plot, export and report are killed too. After every kill the run file
must be readable and hold what it held before, bit for bit the numbers of an uninterrupted run. One process is forked
from this one, which has everything loaded, and tells where it was; a part of the runs on ranks (--compiling) compile
into an empty cache, one for every two kills. SIGTERM ends the campaign after the next kill, with its table.
"""

import argparse
import contextlib
import io
import mmap
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
from hpcsim.run import execute, several  # noqa: E402
from hpcsim.store.run import RunFile  # noqa: E402
from hpcsim.store.slots import Slots  # noqa: E402

CHAIN = {"name": "gain_loss_lattice", "cells": 1, "S": 1, "gain": 0.5}
ALL = {"name": "all_to_all_xyz", "sites": 8, "Jx": 0.6, "Jy": 1.1, "Jz": 1.0}
PAIRS = {"name": "xyz_lattice", "convention": "lee2013", "sites": 4, "Jx": 0.8, "Jy": 1.1, "Jz": 1.0}
ATOM = {"name": "spin_network", "convention": "standard", "sites": 1, "decay": 1}
ENSEMBLE = {"trajectories": 64, "batch": 8, "burn_in": 5}
LIGHT = [{"name": "light", "lowering": [["S-", 0]]}]
TIMES = {"linspace": [0, 2, 3]}
LOSSES = [{"model.loss": [round(0.3 + 0.1 * n, 1) for n in range(12)]}]
DRIVES = [{"model.field_x": [round(0.3 + 0.1 * n, 1) for n in range(12)]}]
DECAYS = [{"model.decay": [0.5, 1.0]}]
FALLING = {"model.loss": {"function": "1 - rate*ramp(t)", "rate": 0.1}}


def _exact(task: str, **options) -> dict:
    return {"name": "liouvillian", "task": task} | options


CASES = {  # name: (model, method, sweep, what is drawn, more sections); records take some hundredths of a second
    "liouvillian": (CHAIN, {"name": "liouvillian"}, LOSSES, "Mz", {}),
    "spectrum": (CHAIN, _exact("spectrum"), LOSSES, "eigenvalues by eigenvalue", {}),
    "gap": (CHAIN, _exact("gap"), LOSSES[:1], "gap", {}),
    "antigap": (PAIRS, _exact("antigap"), DECAYS, "antigap", {}),
    "evolve": (
        CHAIN,
        _exact("evolve", times=TIMES),
        [{"schedule.model.loss.rate": [0.1, 0.2, 0.3, 0.4]}],
        "Mz by time",
        {"schedule": FALLING},
    ),
    "correlation": (ATOM, _exact("correlation", times=TIMES, functions=LIGHT), DRIVES, "light by tau", {}),
    "emission": (
        ATOM,
        _exact("emission", frequencies={"linspace": [-2, 2, 5]}, functions=LIGHT),
        DRIVES,
        "light_coherent",
        {},
    ),
    "counting": (ATOM, _exact("counting", channels=[{"name": "photons", "jumps": "S-"}]), DRIVES, "photons", {}),
    "permutation": (ALL, {"name": "permutation"}, [{"model.decay": [0.5, 1.0, 2.0]}], "Mz", {}),
    "mean_field": (CHAIN, {"name": "mean_field"}, LOSSES, "Mz", {}),
    "gaussian": (CHAIN, {"name": "gaussian"}, LOSSES, "Mz", {}),
    "trajectories": (PAIRS, {"name": "trajectories", "duration": 20} | ENSEMBLE, DECAYS, "Mz", {}),
    "phase_space": (
        CHAIN | {"cells": 4, "S": 10},
        {"name": "phase_space", "duration": 100} | ENSEMBLE,
        [{"model.loss": [0.4, 1.0]}],
        "Mz",
        {},
    ),
    "matrix_product": (
        CHAIN | {"cells": 2, "S": 0.5},
        {"name": "matrix_product", "bond_dimension": 2, "dt": 0.2, "max_time": 1, "distances": 2},
        [{"model.loss": [0.5, 1.0]}],
        "Mz",
        {},
    ),
    "several": (CHAIN, ["gaussian", "mean_field", {"name": "liouvillian"}], LOSSES, "Mz by method", {}),
}
AFTERWARDS = {
    "collect": "collect whole.c.h5 {whole}",
    "plot": "plot whole.c.h5 --to figures --csv",
    "export": "export whole.c.h5 --csv --to tables",
    "report": "report whole.c.h5 --to page.html",
}
MADE = ("whole.c.h5", "figures/f.png", "figures/f.csv", "page.html")
STARTING, PLANNING, OPENING, COMPUTING, WRITING, FLUSHING, ENDING = range(7)
MOMENTS = ("starting", "planning", "opening", "computing", "writing", "flushing", "ending")
PARTS = (  # (owner, name, moment) of what runs pass through
    (execute, "_begin", PLANNING),
    (store, "open_run", OPENING),
    (execute._Session, "work", COMPUTING),
    (Slots, "done", WRITING),
    (Slots, "sync", FLUSHING),
    (RunFile, "finish", ENDING),
    (RunFile, "close", ENDING),
)
RANKS = (*[0] * 17, 1, 2, 3, 4)  # drawn from these; 0: without mpirun
LIMIT = 300  # seconds after which a command hangs


def write_config(folder: Path, case: str):
    model, method, sweep, drawn, more = CASES[case]
    axis = next(iter(sweep[0])).rpartition(".")[2]
    y, _, by = drawn.partition(" by ")
    panel = {"y": y, "x": axis} | ({"by": by} if by else {}) | ({"part": "decay"} if by == "eigenvalue" else {})
    figures = [{"file": "f", "panels": [panel]}]
    config = {"model": model, "method": method, "sweep": sweep, "figures": figures}
    config |= {"title": "kills", "run": {"seed": 3, "flush_seconds": 1e-9}} | more
    (folder / "c.yaml").write_text(yaml.safe_dump(config))


def below(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    try:
        direct = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [q for p in direct for q in below(p)]


class Watched:
    """Where a forked command is, in memory that it shares with this process: [where, what is waited for, how often]."""

    def __init__(self):
        self.memory = mmap.mmap(-1, 3)

    def start(self, wanted: int = 0, times: int = 0):
        self.memory[:] = bytes([STARTING, wanted, times])

    @property
    def where(self) -> str:
        return MOMENTS[self.memory[0]]

    @property
    def reached(self) -> bool:
        return not self.memory[2]

    def install(self):
        """In the forked process alone."""
        for owner, name, moment in PARTS:
            setattr(owner, name, self._told(getattr(owner, name), moment))

    def _told(self, action, moment: int):
        def told(*args, **kw):
            before, self.memory[0] = self.memory[0], moment
            if moment == self.memory[1] and self.memory[2]:
                self.memory[2] -= 1
            try:
                return action(*args, **kw)
            finally:
                self.memory[0] = before

        return told


def forked(words: str, folder: Path, watched: Watched | None = None) -> int:
    """The process id of a command of hpcsim that runs beside this one, without output."""
    pid = os.fork()
    if not pid:
        code = 99
        with contextlib.suppress(BaseException):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.chdir(folder)
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1), os.dup2(null, 2)
            if watched:
                watched.install()
            code = cli.main(words.split())
        os._exit(code)
    return pid


def ended(pid: int, within: float, reached=lambda: False) -> int | None:
    """The exit status of a child of this process; None if it still runs after some seconds, or when all is reached."""
    until = time.monotonic() + within
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until or reached():
            return None
        time.sleep(0.0005)


class Case:
    """Kills of runs of one config, and of what comes after them, in a folder of their own.

    references : what an undisturbed run gives, of each method of the config
    expected   : {file that comes after a run: its content}
    """

    def __init__(self, folder: Path, name: str, rng: random.Random):
        self.folder, self.name, self.rng, self.watched = folder, name, rng, Watched()
        folder.mkdir()
        write_config(folder, name)
        self.words, self.seconds = several.words(CASES[name][1]), {}
        self.afterwards = {
            key: words.format(whole=" ".join(path.name for path in self.files("whole")))
            for key, words in AFTERWARDS.items()
        }
        for key, words in ({"run": "run c.yaml --out whole.h5"} | self.afterwards).items():
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                assert cli.main(words.split()) == 0, f"{name}: hpcsim {words}"  # here: compiled for all
            if key == "run":
                for path in self.files("whole"):
                    path.unlink()
            began = time.monotonic()
            assert ended(forked(words, folder), LIMIT) == 0, f"{name}: hpcsim {words}"
            self.seconds[key] = time.monotonic() - began
        self.references = [store.read_runs(path)[0] for path in self.files("whole")]
        self.expected = {made: facts(folder / made) for made in self.made()}
        self.forget()

    def files(self, stem: str) -> list[Path]:
        """The run files, one for each method."""
        return [self.folder / (f"{stem}.{word}.h5" if word else f"{stem}.h5") for word in self.words]

    def made(self) -> list[str]:
        tables = sorted((self.folder / "tables").glob("*.csv"))
        return [*MADE, *(str(path.relative_to(self.folder)) for path in tables)]

    def forget(self):
        for path in self.files("r"):
            path.unlink(missing_ok=True)
        self.done = [np.zeros(len(reference.done), bool) for reference in self.references]

    def run(self, ranks: int, environment: dict) -> str:
        """Start or go on with the run, kill it, and look at its files; where it was, or "" where it had ended."""
        if ranks:
            command = mpi_command(ranks, ["-m", "hpcsim", "run", "c.yaml", "--out", "r.h5"])
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
            pid = subprocess.Popen(command, cwd=self.folder, **quiet).pid
            longest = self.seconds["run"] + (30 if "NUMBA_CACHE_DIR" in environment else 3)
            hit, where = self.kill(pid, self.rng.uniform(0, longest)), f"on {ranks} ranks"
        else:
            wanted = self.rng.choice([0, 0, PLANNING, OPENING, WRITING, FLUSHING, ENDING])
            most = sum(int((~done).sum()) for done in self.done) if wanted in (WRITING, FLUSHING) else 1
            self.watched.start(wanted, self.rng.randint(1, max(1, min(most, 200))) if wanted else 1)
            pid = forked("run c.yaml --out r.h5", self.folder, self.watched)
            if wanted:
                hit = self.kill(pid, LIMIT, self.rng.uniform(0, 0.001), lambda: self.watched.reached)
            else:
                hit = self.kill(pid, self.rng.uniform(0, 1.1 * self.seconds["run"]))
            where = f"in one process, {self.watched.where}"
        self.look()
        if all(done.all() for done in self.done):
            assert hit or not self.locks(), "a lock is left"
            self.forget()
        return f"run {where}" if hit else ""

    def locks(self) -> list[Path]:
        return [*self.folder.glob("r*.lock")]

    def kill(self, pid: int, within: float, after: float = 0.0, reached=lambda: False) -> bool:
        """All or one of the processes, after some seconds or what is to be reached, unless it has ended."""
        if ended(pid, within, reached) is not None:
            return False
        time.sleep(after)
        ranks = below(pid) or [pid]
        for each in [*ranks, pid] if self.rng.random() < 0.5 else [self.rng.choice([*ranks, pid])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        status = ended(pid, LIMIT)
        if status is None:
            mine = below(pid)
            os.kill(pid, signal.SIGKILL)
            ended(pid, LIMIT)
            assert not mine, "a command hangs after a kill"
            print(f"{self.name}: mpirun does not end though no process of ours is left", flush=True)
        return status != 0

    def look(self):
        """What is done now: no less than before, and the same numbers."""
        for number, (path, reference) in enumerate(zip(self.files("r"), self.references)):
            if not path.exists():
                assert not self.done[number].any(), "the run file is gone"
                continue
            [run] = store.read_runs(path)
            assert (self.done[number] <= run.done).all(), "a record is lost"
            for name, values in run.arrays.items():
                same = values[run.done].tobytes() == reference.arrays[name][run.done].tobytes()
                assert same, f"{name} differs"
            self.done[number] = run.done

    def after(self, key: str) -> str:
        """Kill what comes after a run; its files are whole, old or new."""
        pid = forked(self.afterwards[key], self.folder)
        hit = self.kill(pid, self.rng.uniform(0, 1.1 * self.seconds[key]))
        for made, content in self.expected.items():
            assert facts(self.folder / made) == content, f"{made} is damaged, gone or another"
        return key if hit else ""

    def finish(self):
        """After all kills the run comes to its end."""
        assert ended(forked("run c.yaml --out r.h5", self.folder), LIMIT) == 0, "the run does not come to its end"
        self.look()
        assert all(done.all() for done in self.done) and not self.locks(), "the run is not complete, or locked"


class Campaign:
    """counts: {case and what was killed: how often}, with WRONG in the key where something was."""

    def __init__(self, folder: Path, seed: int, names, ranks, compiling: float):
        self.folder, self.rng, self.ranks, self.compiling = folder, random.Random(seed), ranks, compiling
        self.counts, self.caches, self.stopped = {}, 0, False
        self.cases = [Case(folder / name, name, self.rng) for name in names]
        print("seconds:", {case.name: round(case.seconds["run"], 2) for case in self.cases}, flush=True)

    def stop(self, *_):
        self.stopped = True

    def kills(self, number: int):
        """So many kills, then each run comes to its end; what is wrong is printed."""
        while sum(self.counts.values()) < number and not self.stopped:
            case = self.rng.choice(self.cases)
            self.count(case, self.one)
        for case in self.cases:
            self.count(case, Case.finish)

    def one(self, case: Case) -> str:
        kind, n = self.rng.choice(["run"] * 8 + [*AFTERWARDS]), self.rng.choice(self.ranks)
        environment = mpi_environment()
        if n and self.rng.random() < self.compiling:
            self.caches += 1
            environment["NUMBA_CACHE_DIR"] = str(self.folder / f"cache{self.caches // 2}")
            found = case.run(n, environment)
            return found and f"{found}, with an empty cache"
        return case.run(n, environment) if kind == "run" else case.after(kind)

    def count(self, case: Case, action) -> bool:
        """Whether something was killed."""
        try:
            found = action(case)
        except Exception as error:
            print(f"{case.name}: WRONG: {type(error).__name__}: {error}", flush=True)
            found = f"WRONG: {error}"
            case.forget()
        if found:
            key = f"{case.name}: {found}"
            self.counts[key] = self.counts.get(key, 0) + 1
            print(f"{sum(self.counts.values())} {key}", flush=True)
        return bool(found)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--ranks", nargs="+", type=int, default=RANKS)
    parser.add_argument("--compiling", type=float, default=0.05, help="part of the runs on ranks, 0.05 by default")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), given.seed, given.cases, given.ranks, given.compiling)
        signal.signal(signal.SIGTERM, campaign.stop)
        campaign.kills(given.kills)
    for key in sorted(campaign.counts):
        print(f"{key}: {campaign.counts[key]}")
    print("kills:", sum(campaign.counts.values()))
    sys.exit(any("WRONG" in key for key in campaign.counts))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
