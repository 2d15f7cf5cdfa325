"""Too little memory: one message and a status, nothing lost, and the same command goes on where there is more.

    python jobs/benchmarks/faults/memory.py --limits 300 --seed 1

Runs of several methods, check, collect, plot, export, report and status are given limits on their address space
(RLIMIT_AS, as ulimit -v) between what they have at the start and what is enough. --fresh gives them to processes that
have nothing loaded, so that it is imports that fail. A command that says it has succeeded must have made what it makes
without a limit; one that fails says so in one message and leaves what was there as it was.
"""

import argparse
import contextlib
import io
import os
import random
import resource
import secrets
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[3] / "tests")]
from kills import AFTERWARDS, CASES, write_config  # noqa: E402
from writes import facts  # noqa: E402

from configs import in_a_process  # noqa: E402
from hpcsim import cli, environment  # noqa: E402
from hpcsim.run import several  # noqa: E402

MB = 2**20
MOST = 4096  # MB, enough for everything here
SECONDS = 100
LOADED = environment.NEEDED // MB
COMMANDS = {"run": "run c.yaml --out r.h5", "check": "check c.yaml", "status": "status {whole}"} | AFTERWARDS
MAKES = {"collect": "whole.c.h5", "plot": "figures/f.png", "export": "tables", "report": "page.html"}


class Case:
    """A config in a folder of its own, with all that its commands make.

    enough : {command: MB, beyond what it begins with, that are enough}; empty where it begins with nothing
    """

    def __init__(self, folder: Path, name: str, fresh: bool):
        self.folder, self.name, self.fresh = folder, name, fresh
        folder.mkdir()
        write_config(folder, name)
        words = several.words(CASES[name][1])
        self.whole, self.runs = (
            [folder / (f"{stem}.{word}.h5" if word else f"{stem}.h5") for word in words] for stem in ("whole", "r")
        )
        files = {"whole": " ".join(path.name for path in self.whole)}
        self.commands = {key: words.format(**files) for key, words in COMMANDS.items()}
        self.commands["status"] = f"status {self.whole[0].name}"
        for words in ("run c.yaml --out whole.h5", *(self.commands[key] for key in COMMANDS)):
            with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
                assert cli.main(words.split()) == 0, f"{name}: hpcsim {words}"
        self.expected = {key: self.made(key) for key in COMMANDS}
        self.enough = {} if fresh else {key: self.least(key) for key in COMMANDS}

    def made(self, key: str):
        """What a command makes, as it can be compared."""
        if key == "run":
            return [facts(path) for path in self.runs]
        path = self.folder / MAKES.get(key, "nothing")
        return [facts(each) for each in sorted(path.glob("*.csv"))] if path.is_dir() else facts(path)

    def least(self, key: str) -> int:
        megabytes = 1
        while megabytes < MOST and self.limited(key, megabytes)[0] != "ok":
            megabytes *= 2
        return megabytes

    def forget(self, key: str):
        for path in self.runs if key == "run" else ():
            path.unlink(missing_ok=True)

    def limited(self, key: str, megabytes: int | None) -> tuple[str, str]:
        """(verdict, what was said) of a command with so many MB beyond what it begins with; None: no limit."""
        words = self.commands[key].split()
        if self.fresh and megabytes is not None:
            return self._fresh(words, megabytes)
        began = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()

        def act():
            os.chdir(self.folder)
            return cli.main(words)

        return in_a_process(act, SECONDS, 2**40 if megabytes is None else began + megabytes * MB)[:2]

    def _fresh(self, words: list[str], megabytes: int) -> tuple[str, str]:
        """The same in a process that has nothing loaded."""
        limit = (megabytes * MB, megabytes * MB)
        command = [sys.executable, "-m", "hpcsim", *words]

        def act():
            os.chdir(self.folder)
            resource.setrlimit(resource.RLIMIT_AS, limit)
            os.execv(command[0], command)

        return in_a_process(act, SECONDS, 2**40)[:2]

    def one(self, key: str, megabytes: int) -> tuple[str, str]:
        """(what is wrong or "", verdict or what was said) with a limit, and again without one."""
        self.forget(key)
        verdict, said = self.limited(key, megabytes)
        if verdict not in ("ok", "message"):
            return verdict, said
        now = self.made(key)
        if verdict == "ok" and now != self.expected[key]:
            return "success, without what it makes", said
        if key == "run":
            if not all((some or {}).items() <= all_.items() for some, all_ in zip(now, self.expected[key])):
                return "records differ", said
        elif now != self.expected[key]:  # all was there before
            return "what was there is damaged or gone", said
        if verdict == "ok":
            return "", verdict
        again, last = self.limited(key, None)
        good = again == "ok" and self.made(key) == self.expected[key] and not [*self.folder.glob("*.lock")]
        return ("", verdict) if good else (f"does not go on ({again}: {last[-300:]})", said)


def campaign(limits: int, seed: int, folder: Path, names, fresh: bool = False) -> dict[str, int]:
    """{case, command and verdict: how often}; what is WRONG is printed."""
    rng, counts = random.Random(seed), {}
    cases = [Case(folder / name, name, fresh) for name in names]
    print("MB that are enough:", {case.name: case.enough for case in cases}, flush=True)
    for number in range(1, limits + 1):
        case, key = rng.choice(cases), rng.choice(["run"] * 6 + list(COMMANDS))
        megabytes = rng.randint(*rng.choice([(20, LOADED), (LOADED, 1400)]) if fresh else (0, case.enough[key]))
        wrong, said = case.one(key, megabytes)
        if wrong:
            print(f"{case.name}: {key}: {megabytes} MB: WRONG: {wrong}: {said[-1500:]}", flush=True)
        name = f"{case.name if key == 'run' else 'any'}: {key}: {f'WRONG: {wrong}' if wrong else said}"
        counts[name] = counts.get(name, 0) + 1
        if number % 50 == 0:
            print(f"{number} of {limits}", flush=True)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--limits", type=int, default=300)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--fresh", action="store_true")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        counts = campaign(given.limits, given.seed, Path(folder), given.cases, given.fresh)
    for key in sorted(counts):
        print(f"{key}: {counts[key]}")
    sys.exit(any("WRONG" in key for key in counts))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
