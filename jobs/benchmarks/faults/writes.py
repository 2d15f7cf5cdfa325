"""System calls that write fail, or the process is killed at one: nothing is lost, and the same command goes on.

    python jobs/benchmarks/faults/writes.py --faults 500 --seed 1

Runs, resumed and extended runs, collect, plot, export, report and new are given a call that fails with EIO, ENOSPC,
EDQUOT, EROFS or EINTR, once or from then on, a SIGKILL between two calls, and short writes (shim.c, compiled by cc). A
command that says it has succeeded must have made what it makes without faults; one that fails says so in one message
and, as one that is killed, leaves what was there whole or as it was; then the same command without faults comes to its
end. `--ranks 2` does so to runs under mpirun.
"""

import argparse
import contextlib
import ctypes
import errno
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[3] / "tests")]
from conftest import mpi_command, mpi_environment  # noqa: E402
from corruption import facts_of_collected  # noqa: E402
from runs import shortened  # noqa: E402

from configs import in_a_process  # noqa: E402
from hpcsim import cli, store  # noqa: E402

KILL = -signal.SIGKILL
FAULTS = {
    number: errno.errorcode[number] for number in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EINTR)
}
FAULTS[KILL] = "SIGKILL"
CONFIG = """
title: faults
model: {name: gain_loss_lattice, S: 1, gain: 0.2}
method: {name: gaussian}
sweep: [{model.loss: %s}]
run: {seed: 3, flush_seconds: 1.0e-9}
figures:
  - {file: f, panels: [{y: Sz, x: loss, by: sublattice}], checks: [{name: c, y: Sz, analysis: maximum, below: 3}]}
"""
ACTIONS = {  # name: (what is there before, command, what it makes)
    "run": ((), "run c.yaml --out r.h5", "r.h5"),
    "resumed run": (("short.h5",), "run c.yaml --out short.h5", "short.h5"),
    "extended run": (("r.h5",), "run more.yaml --out r.h5", "r.h5"),
    "collect": (("r.h5", "c.h5"), "collect c.h5 r.h5", "c.h5"),
    "plot": (("c.h5",), "plot c.h5 --to figures", "figures/f.png"),
    "export": (("c.h5",), "export c.h5 --csv --to tables", "tables/c.Sz.csv"),
    "report": (("c.h5",), "report c.h5 --to page.html", "page.html"),
    "new": ((), "new new.yaml --model gain_loss_lattice", "new.yaml"),
}


def library(folder: Path) -> Path:
    """shim.c, compiled."""
    shim = folder / "shim.so"
    source = Path(__file__).resolve().with_name("shim.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


def prepare(folder: Path, only=tuple(ACTIONS)):
    """Configs, a run file, one of a run that was stopped, and a collected file."""
    (folder / "c.yaml").write_text(CONFIG % "[1.0, 1.5, 2.0, 2.5]")
    (folder / "more.yaml").write_text(CONFIG % "[1.0, 1.5, 2.0, 2.5, 3.0]")
    drawn = [f"{name} c.h5" for name in ("plot", "report") if name in only]
    with contextlib.chdir(folder):  # in this process: those that it starts have loaded everything
        for command in ("run c.yaml --out r.h5", "collect c.h5 r.h5", *drawn):
            assert cli.main(command.split()) == 0, command
    shortened(folder / "r.h5", without={1, 3})


def facts(path: Path):
    """What a file tells; None where there is none."""
    if not path.exists():
        return None
    if path.suffix != ".h5":
        content = path.read_bytes()
        ends = {".png": b"IEND\xaeB`\x82", ".html": b"</html>\n"}
        return content.endswith(ends[path.suffix]) if path.suffix in ends else content
    with open(path, "rb") as file:
        if file.read(4) == b"\x89HDF":
            return re.sub(r"\('collected', '[^']*'\)", "", facts_of_collected(path))  # when
    [run] = store.read_runs(path)
    return {(r, name): values[r].tobytes() for name, values in run.arrays.items() for r in run.done.nonzero()[0]}


class Campaign:
    """Faults in a folder `begin` as `prepare` makes it.

    expected : {action: what it makes without faults}
    calls    : {action: how many calls of it may fail}
    """

    def __init__(self, begin: Path, work: Path, seed: int, only):
        self.begin, self.work, self.rng, self.only = begin, work, random.Random(seed), list(only)
        self.shim = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self.shim.fault.restype, self.shim.fault.argtypes = ctypes.c_long, [ctypes.c_char_p, *[ctypes.c_long] * 4]
        self.expected, self.calls = {}, {}
        for action in only:
            _, command, made = ACTIONS[action]
            self.start(action)
            verdict, said = self.command(command, 0, 0, 0, 0)
            assert verdict == "ok", f"{action}: {said}"
            self.expected[action], self.calls[action] = facts(work / made), int(said.rpartition("calls: ")[2])
        print("calls that may fail:", self.calls, flush=True)

    def start(self, action: str):
        """The folder as it is before the action."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        for name in ("c.yaml", "more.yaml", *ACTIONS[action][0]):
            shutil.copy(self.begin / name, self.work)

    def command(self, words: str, *fault: int) -> tuple[str, str]:
        """(verdict, what was said) of a command of hpcsim in the folder, with a fault (see shim.c)."""

        def act():
            os.chdir(self.work)
            self.shim.fault(os.fsencode(self.work), *fault)
            try:
                return cli.main(words.split())
            finally:
                print("calls:", self.shim.fault(b"", 0, 0, 0, 0))

        return in_a_process(act, 100, 2**33)[:2]

    def one(self) -> str:
        """One fault; what came of it."""
        action, error = self.rng.choice(self.only), self.rng.choice([*FAULTS, KILL])
        _, command, made = ACTIONS[action]
        later = self.rng.random() < 0.5 and error != errno.EINTR
        fault = self.rng.randint(1, self.calls[action]), error, later, self.rng.random() < 0.5
        self.start(action)
        verdict, said = self.command(command, *fault)
        killed = error == KILL and verdict == f"signal {-KILL}"
        found = self.trouble(action, "message" if killed else verdict)
        if not found:
            again, last = self.command(command, 0, 0, 0, 0) if self.undone(action) else ("ok", "")
            if again != "ok" or facts(self.work / made) != self.expected[action] or [*self.work.glob("*.lock")]:
                found = f"does not go on ({again}: {last[-200:]})"
        if found:
            print(f"{action}: {fault}: {found}: {said[-1500:]}", flush=True)
        good = "killed" if killed else "done" if verdict == "ok" else "one message"
        return f"{action}, {FAULTS[error]}: {'WRONG' if found else good}"

    def undone(self, action: str) -> bool:
        """Whether the command is to be given again: `new` leaves alone what is there."""
        return action != "new" or not (self.work / ACTIONS[action][2]).exists()

    def trouble(self, action: str, verdict: str) -> str:
        """What is wrong after a fault, or nothing."""
        if verdict not in ("ok", "message"):
            return verdict
        before, _, made = ACTIONS[action]
        now, wanted = facts(self.work / made), self.expected[action]
        if verdict == "ok":
            return "" if now == wanted else f"success, without {made}"
        was = facts(self.begin / made) if made in before else None
        if isinstance(wanted, dict):  # a run file: no less than before, and the same numbers
            now, was = now or {}, was or {}
            return "" if was.items() <= now.items() <= wanted.items() else "records are lost or differ"
        return "" if now in (None, was, wanted) and (was is None or now) else f"{made} is neither old nor new"


class Ranks:
    """Faults in runs under mpirun: on one rank, or on each at its own call of that number."""

    WORDS = ("run", "c.yaml", "--out", "r.h5")
    CALLS = 40  # a rank makes no more than about so many

    def __init__(self, ranks: int, seed: int, begin: Path, work: Path):
        self.ranks, self.rng, self.begin, self.work = ranks, random.Random(seed), begin, work
        self.wanted = facts(begin / "r.h5")

    def one(self) -> str:
        """One fault; what came of it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        shutil.copy(self.begin / "c.yaml", self.work)
        error, rank = self.rng.choice([*FAULTS, KILL]), self.rng.randrange(-1, self.ranks)
        fault = {"FAULT_AT": self.rng.randint(1, self.CALLS), "FAULT_ERROR": int(error), "FAULT_FOLDER": self.work}
        fault |= {"FAULT_ON": int(self.rng.random() < 0.5 and error != errno.EINTR), "FAULT_SHORT": 1}
        fault |= {"FAULT_RANK": rank} if rank >= 0 else {}
        status, said = self.run(mpi_environment(**fault, LD_PRELOAD=os.environ["LD_PRELOAD"]))
        found = self.trouble(status, said) or self.goes_on()
        if found:
            print(f"{self.ranks} ranks: {fault}: {found}: status {status}: {said[-1500:]}", flush=True)
        told = {0: "met" if "fault: " in said else "not met", 1: "one message", 2: "one message"}.get(status, "killed")
        return f"run on {self.ranks} ranks, {FAULTS[error]}: {'WRONG' if found else told}"

    def run(self, environment: dict) -> tuple[int, str]:
        """(status, stderr) of mpirun; None where it hangs."""
        command = mpi_command(self.ranks, ["-m", "hpcsim", *self.WORDS])
        with subprocess.Popen(
            command, cwd=self.work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                said = process.communicate(timeout=200)[1]
            except subprocess.TimeoutExpired:
                process.terminate()
                return None, process.communicate()[1]
        return process.returncode, said

    def trouble(self, status: int | None, said: str) -> str:
        """What is wrong after a fault, or nothing."""
        if status is None:
            return "hangs"
        if "Traceback" in said:
            return "traceback"
        now = facts(self.work / "r.h5") or {}
        if not now.items() <= self.wanted.items():
            return "records differ"
        if status == 0:
            return "" if now == self.wanted else "success, without all records"
        if status in (cli.FAILED, cli.BAD_INPUT):
            return "" if said.count("hpcsim: error: ") == 1 else "not one message"
        return "" if status in (-KILL, 128 - KILL) and "fault: " in said else "unexpected status"

    def goes_on(self) -> str:
        def act():
            os.chdir(self.work)
            return cli.main([*self.WORDS])

        again, last = in_a_process(act, 100, 2**33)[:2]
        good = again == "ok" and facts(self.work / "r.h5") == self.wanted and not [*self.work.glob("*.lock")]
        return "" if good else f"does not go on ({again}: {last[-200:]})"


def campaign(faults: int, seed: int, folder: Path, ranks: int = 1, only=tuple(ACTIONS)) -> dict[str, int]:
    """{action, error and verdict: how often} of some actions; what is WRONG is printed."""
    begin, work = folder / "begin", folder / "work"
    begin.mkdir()
    prepare(begin, only)
    found = Ranks(ranks, seed, begin, work) if ranks > 1 else Campaign(begin, work, seed, only)
    counts = {}
    for number in range(1, faults + 1):
        key = found.one()
        counts[key] = counts.get(key, 0) + 1
        if number % 50 == 0:
            print(f"{number} of {faults}: {counts}", flush=True)
    return counts


def load_library(seed: int):
    """Return where the library is loaded; elsewhere run this command again with it, and exit with its status."""
    if "shim.so" in os.environ.get("LD_PRELOAD", ""):
        return
    with tempfile.TemporaryDirectory() as folder:
        loaded = os.environ | {"LD_PRELOAD": str(library(Path(folder))), "MPLBACKEND": "agg"}
        ended = subprocess.run([sys.executable, *sys.argv, "--seed", str(seed)], env=loaded)
    sys.exit(ended.returncode)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=500)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=ACTIONS, default=list(ACTIONS))
    given = parser.parse_args()
    load_library(given.seed)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        counts = campaign(given.faults, given.seed, Path(folder).resolve(), given.ranks, given.only)
    for key in sorted(counts):
        print(f"{key}: {counts[key]}")
    sys.exit(any("WRONG" in key for key in counts))


if __name__ == "__main__":
    main()
