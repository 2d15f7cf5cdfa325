"""SIGKILL at random moments: no record that is done is lost, no file is unreadable, nothing hangs, no lock stays.

    python jobs/benchmarks/faults/kills.py --kills 100 --seed 1

A run is killed while it starts, plans, compiles, writes and ends, on 0 (no mpirun) to 3 ranks, and goes on; collect and
plot are killed too. After every kill the run file must be readable and hold what it held before, bit for bit the
numbers of an uninterrupted run.
"""

import argparse
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

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]
from conftest import mpi_command, mpi_environment  # noqa: E402

from hpcsim import store  # noqa: E402

CONFIG = """
title: kills
model: {name: gain_loss_lattice, cells: 4, S: 10, gain: 1.5, h: 0.5, loss: 1.0}
method: {name: phase_space, task: steady_state, trajectories: 160, batch: 8, dt: 0.05, burn_in: 5, duration: 500}
sweep: [{model.loss: [0.4, 1.0]}]
run: {seed: 3}
figures: [{file: f, panels: [{y: Sz, x: loss, by: sublattice}]}]
"""


def below(pid: int) -> list[int]:
    """Processes that a process has started, and theirs."""
    try:
        direct = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [q for p in direct for q in below(p)]


def killed(command: list, folder: Path, after: float, rng: random.Random, limit: float = 300) -> bool:
    """Start, kill all or one of its processes after some seconds, and wait; whether it was still at work then."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(list(map(str, command)), cwd=folder, env=mpi_environment(), **quiet)
    try:
        process.wait(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        ranks = below(process.pid) or [process.pid]
        for pid in ranks if rng.random() < 0.5 else [rng.choice(ranks)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(timeout=limit)  # a hang ends the campaign
        return True


def check(path: Path, reference: store.RunData, before: np.ndarray) -> np.ndarray:
    """What is done now: no less than before, and the same numbers."""
    if not path.exists():
        assert not before.any(), "the run file is gone"
        return before
    [run] = store.read_runs(path)
    assert (before <= run.done).all(), "a record is lost"
    for name, values in run.arrays.items():
        assert values[run.done].tobytes() == reference.arrays[name][run.done].tobytes(), f"other numbers in {name}"
    return run.done


def campaign(kills: int, seed: int, folder: Path) -> dict[str, int]:
    """{what was killed: how often}"""
    rng, counts, hpcsim = random.Random(seed), {}, [sys.executable, "-m", "hpcsim"]
    (folder / "c.yaml").write_text(CONFIG)

    def run(command):
        quiet = {"capture_output": True, "text": True, "env": mpi_environment()}
        ended = subprocess.run(list(map(str, command)), cwd=folder, **quiet)
        assert ended.returncode == 0, ended.stderr
        return ended

    began = time.monotonic()
    run([*hpcsim, "run", "c.yaml", "--out", "whole.h5"])
    longest = max(5.0, time.monotonic() - began)
    [reference] = store.read_runs(folder / "whole.h5")
    path, done = folder / "r.h5", np.zeros(len(reference.done), bool)
    while sum(counts.values()) < kills:
        kind = rng.choice(["run", "run", "run", "collect", "plot"])
        if kind == "run":
            ranks = rng.choice([0, 1, 2, 3])
            words = ["-m", "hpcsim", "run", "c.yaml", "--out", path]
            command = mpi_command(ranks, words) if ranks else [sys.executable, *words]
            hit = killed(command, folder, rng.uniform(0.2, longest), rng)
            done = check(path, reference, done)
            kind = f"run on {ranks} ranks" if ranks else "run without mpirun"
            if done.all():
                assert not Path(f"{path}.lock").exists() or hit, "a lock is left"
                path.unlink()
                done = np.zeros(len(done), bool)
        elif kind == "collect":
            hit = killed([*hpcsim, "collect", "c.h5", "whole.h5"], folder, rng.uniform(0.2, 4), rng)
            if (folder / "c.h5").exists():
                store.load(folder / "c.h5")
        else:
            run([*hpcsim, "collect", "c.h5", "whole.h5"])
            hit = killed([*hpcsim, "plot", "c.h5", "--to", "figures"], folder, rng.uniform(0.2, 6), rng)
            for figure in (folder / "figures").glob("*.p[nd][gf]"):
                assert figure.read_bytes()[:4] in (b"\x89PNG", b"%PDF") and figure.stat().st_size > 1000
        if hit:
            counts[kind] = counts.get(kind, 0) + 1
    run([*hpcsim, "run", "c.yaml", "--out", path])
    assert check(path, reference, done).all() and not Path(f"{path}.lock").exists()
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        print(campaign(given.kills, given.seed, Path(folder)))


if __name__ == "__main__":
    main()
