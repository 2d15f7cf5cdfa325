"""Clocks that jump: limits, fractions, locks and results do not depend on the time of day.

    python jobs/benchmarks/faults/clocks.py --jumps 200 --seed 1

The time of day that a command is told jumps by up to 30 years at every eighth call, back and forth (shim.c). Runs, in
one process and on two ranks, end with the numbers of an undisturbed one, stop at a limit that has passed and not at
one that is far; their histories have possible times; status beside a run tells no time that was not told to it;
collect, plot, export and report make what they make.
"""

import argparse
import ctypes
import os
import random
import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[3] / "tests")]
from conftest import mpi_command, mpi_environment  # noqa: E402
from kills import AFTERWARDS, CASES  # noqa: E402
from memory import Case  # noqa: E402
from writes import load_library  # noqa: E402

from configs import in_a_process  # noqa: E402
from hpcsim import cli, store  # noqa: E402
from hpcsim.store.lock import Lock  # noqa: E402

PASSED, FAR = "--max-walltime 0.001", "--max-walltime 1000000"
LONGEST = 1000  # seconds, longer than anything here
LEFT = 5.0  # seconds that a run says it takes
KINDS = ("run", "stopped", "on 2 ranks", "beside", *AFTERWARDS)


class Campaign:
    """counts : {case, what was done and verdict: how often}, with WRONG in the key where something was."""

    def __init__(self, folder: Path, seed: int, names):
        self.rng, self.counts = random.Random(seed), {}
        self.shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.shim.jumping.argtypes = [ctypes.c_ulong]
        self.cases = [Case(folder / name, name, fresh=True) for name in names]

    def jumps(self, number: int, kinds=KINDS):
        """So many commands."""
        for _ in range(number):
            case, kind = self.rng.choice(self.cases), self.rng.choice(kinds)
            case.forget("run")
            if found := self.one(case, kind):
                print(f"{case.name}: {kind}: WRONG: {found[-1500:]}", flush=True)
            key = f"{case.name}: {kind}: {'WRONG' if found else 'as without'}"
            self.counts[key] = self.counts.get(key, 0) + 1

    def one(self, case: Case, kind: str) -> str:
        """What is wrong after one command, or nothing."""
        if kind == "beside":
            return self.beside(case)
        words = case.commands[kind if kind in AFTERWARDS else "run"]
        if kind == "stopped":
            verdict, said = self.command(case, f"{words} {PASSED}")
            if verdict != "silent" or "stopped" not in said:  # status 75, without an error
                return f"a limit that has passed: {verdict}: {said}"
        if kind == "on 2 ranks":
            verdict, said = self.on_ranks(case, f"{words} {FAR}")
        else:
            verdict, said = self.command(case, words if kind in AFTERWARDS else f"{words} {FAR}")
        what = kind if kind in AFTERWARDS else "run"
        if verdict != "ok" or case.made(what) != case.expected[what]:
            return f"{verdict}: {said}"
        return "; ".join(map(impossible, case.runs)) if what == "run" and any(map(impossible, case.runs)) else ""

    def command(self, case: Case, words: str) -> tuple[str, str]:
        def act():
            os.chdir(case.folder)
            return cli.main(words.split())

        self.shim.jumping(self.rng.randrange(1, 2**60))
        try:
            return in_a_process(act, LONGEST, 2**40)[:2]
        finally:
            self.shim.jumping(0)

    def on_ranks(self, case: Case, words: str) -> tuple[str, str]:
        environment = mpi_environment(LD_PRELOAD=os.environ["LD_PRELOAD"], CLOCK_SEED=self.rng.randrange(1, 2**60))
        command = mpi_command(2, ["-m", "hpcsim", *words.split()])
        ended = subprocess.run(
            command, cwd=case.folder, env=environment, capture_output=True, text=True, timeout=LONGEST
        )
        return "ok" if ended.returncode == 0 else f"status {ended.returncode}", ended.stderr

    def beside(self, case: Case) -> str:
        """The status of a run that has begun, holds its lock and has said how long it takes."""
        self.command(case, f"{case.commands['run']} {PASSED}")
        self.shim.jumping(self.rng.randrange(1, 2**60))
        lock = Lock(case.runs[0])
        lock.note(done=0, left=LEFT, at=time.time())
        self.shim.jumping(0)
        verdict, said = self.command(case, f"status {case.runs[0].name}")
        lock.release()
        told = [float(text) for text in re.findall(r"(-?[\d.e+]+) s left", said)]
        return "" if verdict == "ok" and told and 0 <= told[0] <= LEFT else f"{verdict}: {said}"


def impossible(path: Path) -> str:
    """What cannot be of a run's history."""
    for entry in store.read_status(path)["history"]:
        if not (0 <= entry["wall_seconds"] < LONGEST and all(0 <= part <= 1.01 for part in entry["busy_fraction"])):
            return str(entry)
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jumps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["gaussian", "emission", "permutation", "several"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    given = parser.parse_args()
    load_library(given.seed)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder), given.seed, given.cases)
        campaign.jumps(given.jumps, given.kinds)
    for key in sorted(campaign.counts):
        print(f"{key}: {campaign.counts[key]}")
    sys.exit(any("WRONG" in key for key in campaign.counts))


if __name__ == "__main__":
    main()
