"""Damaged configs and command lines: one message or a valid plan, within seconds and 2 GB, nothing executed.

    python jobs/benchmarks/faults/configs.py --configs 1000 --lines 200 --seed 1

Configs are mutated from the shipped ones by a grammar (values, keys, structure, text); each is given to `hpcsim check`
in a process of its own with limits on time and memory. What is wrong is listed, with its config in the folder --keep.
"""

import argparse
import contextlib
import copy
import io
import math
import os
import random
import resource
import secrets
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
MARK = "EXECUTED"  # a file in the folder that is there if one of these was
CODE = [
    f"binary:x;touch {MARK};.gz", f"ascii:{MARK}", f":{MARK}", f"__import__('os').system('touch {MARK}')",
    f"open('{MARK}','w')", f"$(touch {MARK})", f"`touch {MARK}`", f"x; touch {MARK}", f"|touch {MARK}",
    f"{{S.__class__.__init__.__globals__[os].system(touch {MARK})}}", f"$\\write18{{touch {MARK}}}$",
]  # fmt: skip
VALUES = 2 * CODE + [
    None, True, False, 0, 1, -1, 2, 0.5, -0.5, 1e308, -1e308, 5e-324, 10**9, 10**12, 10**30, -(10**9), float("nan"),
    float("inf"), "", "x", "auto", "all", "1:30", "2020-13-45", "ψ" * 10, "x" * 10**5, [], {}, [1], [[1]], {"a": 1},
    [0, [1]], [1, 2, 3], ["a", "b"], [None], {"linspace": [0, 1, 3]}, {"linspace": [0, 1, 10**9]},
    {"geomspace": [1, 0, 3]}, {"geomspace": [1, 10, 10**9]}, {"linspace": [1, 2]}, {"linspace": "a"}, "${HOME}",
    "{S.__class__}", "../../x", "$x^^2$", "a.b.c", "model.S", [0, 10**30], [10**30, 1], {"linspace": [0, 10**30, 3]},
    {"geomspace": [1, 10**30, 3]}, [True, False], [1, "a", None, {}], {"": 1}, {"name": "x"}, "1/0", "sqrt(-1)",
    "9" * 40 + "*" + "9" * 40, [0.5, 1, 1.5], ["Sx", "Sy", "Sz"], [[0, 1], [1, 2]], {"a": {"b": {"c": [1]}}},
]  # fmt: skip
TEXTS = [
    "!!float abc", "!!int abc", "2020-13-45", "9" * 5000, "[" * 5000 + "]" * 5000, "{a: " * 500 + "1" + "}" * 500,
    "&a [*a]", "!!python/object:os.system x", "!!binary aGk=", "!!timestamp 2020-01-01", "!!set {a, b}", "0xf",
    "0x" + "f" * 5000,
    "*nowhere", "'", "|", "\t- a", "? [a]\n: b", "1:30:00", "0o17", "017", "1_000", ".5", "1e", "~", "yes",
    f"!!python/object/apply:os.system ['touch {MARK}']", "!!python/name:os.system ''",
    f"!!python/object/new:subprocess.Popen [['touch', {MARK}]]",
    "\x07", "\ufeff",
    "&x [1,1,1,1,1,1,1,1,1,1]",
]  # fmt: skip
ATOM = "title: atom\nmodel: {name: spin_network, convention: standard, sites: 1, decay: 1, field_x: 1}\n"
SPINS = "title: spins\nmodel: {name: spin_network, sites: 3, Jz: 1, decay: 1, field_x: 1}\n"
FEATURES = [  # configs of what the shipped ones lack
    ATOM + """
method: {name: liouvillian, task: correlation, times: {linspace: [0, 10, 11]},
         functions: [{name: g1, A: [[S+, 0]], B: [[S-, 0]]}, {name: g2, lowering: [[S-, 0]]}]}
sweep: [{model.field_x: [1, 2]}]
figures: [{file: f, panels: [{y: g2, x: tau, by: field_x, label: '$h = {field_x:g}$'}]}]
""",
    ATOM + """
method: {name: liouvillian, task: emission, frequencies: [-1, 0, 1], tolerance: 1.0e-8,
         functions: [{name: light, lowering: {sum: S-, weights: [1]}}, {name: x, A: [[Sz, 0]], B: {sum: Sz}}]}
""",
    ATOM + """
method: {name: liouvillian, task: counting, channels: [{name: photons, jumps: S-},
         {name: net, jumps: {S-: 1, S+: -1}, sites: [0]}]}
""",
    SPINS + """
method: [liouvillian, {name: trajectories, burn_in: 20, observables: [correlation]}, mean_field,
         {name: mean_field, task: evolve, times: [1]}]
sweep: [{model.field_x: [1, 2]}]
figures: [{file: f, columns: 2, panels: [{y: Sz, x: field_x, by: method},
                              {y: Mz, x: field_x, select: {method: mean_field}}],
           checks: [{name: c, y: Sz, x: field_x, by: method, analysis: maximum, below: 0,
                     claim: all fall, published: -0.1},
                    {name: '{expect} at {field_x}', y: Mz, select: {method: liouvillian}, analysis: value, within: 0.1,
                     table: [[select.field_x, expect], [1, -0.4], [2, -0.3]]}]}]
quick: {method: {'1': {burn_in: 5}}, model: {sites: 2}}
""",
    SPINS + """
method: {name: liouvillian, task: spectrum, eigenvalues: 2, petsc_options: {eps_ncv: 40}}
""",
    SPINS + """
schedule: {model.field_x: {times: [0, 1, 3], values: [0, 1, 0.5], kind: smooth, period: 5},
           model.Jz: {function: first + (last - first)*ramp(t/T), first: 0, last: 1, T: 2}}
method: {name: trajectories, task: evolve, times: [0, 1, 2], initial: {fock: 0.5}, trajectories: 8}
sweep: [{schedule.model.Jz.T: [1, 2]}]
disorder: {field_z: {uniform: [-1, 1]}, realisations: 3}
""",
    SPINS + """
method: {name: liouvillian, task: evolve, times: [0, 1], initial: {thermal: {temperature: 0.5, model.Jz: 0}}}
""",
    SPINS + """
method: {name: permutation, task: evolve, times: [0, 1], initial: {dicke: 0.5}, integrator: taylor,
         observables: [squeezing]}
""",
    """
title: terms
model: {name: spin_network, sites: 4, decay: 0.1,
        terms: [{operators: [S+, S-], sites: bonds, coefficients: {abs: 0.5, phase: pi/3}}],
        jumps: [{operators: S-, rate: 0.5, weights: [1, [0, 1], -1, [0, -1]]},
                {operators: S-, sites: [0, 1], rate_matrix: [[1, 0.5], [0.5, 1]]}]}
method: {name: trajectories, task: evolve, times: [0, 1], initial: random, target_error: {Sz: 0.1}}
""",
]  # fmt: skip
SECONDS, MEMORY = 20, 2**31


def shipped() -> list[dict]:
    """The shipped configs of few points, all with three values on each axis, as planning many points takes long, and
    those of FEATURES, so often that they are a good part of all."""
    found = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "configs").rglob("*.yaml"))]
    few = [config for config in found if max(map(_points, _sections(config))) <= 60]
    return (
        few + [_shortened(copy.deepcopy(config)) for config in found] + 6 * [yaml.safe_load(text) for text in FEATURES]
    )


def _sections(config: dict) -> tuple[dict, dict]:
    return config, config.get("quick") or {}


def _points(section: dict) -> int:
    first = (next(iter(axis.values())) for axis in section.get("sweep", ()))
    return math.prod(next(iter(v.values()))[2] if isinstance(v, dict) else len(v) for v in first)


def _shortened(config: dict) -> dict:
    """Without figures, which name values of the axes."""
    config.pop("figures", None)
    for section in _sections(config):
        for axis in section.get("sweep", ()):
            for key, values in axis.items():
                for arguments in values.values() if isinstance(values, dict) else ():
                    arguments[2] = min(3, arguments[2])
                axis[key] = values[:3] if isinstance(values, list) else values
    return config


def places(tree, path=()):
    """Paths of all values of nested dicts and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def parent(tree, path):
    for key in path[:-1]:
        tree = tree[key]
    return tree


def mutated(config: dict, rng: random.Random, others=()) -> str:
    """The text of a config with one to three faults; some are keys and sections of the others."""
    config = copy.deepcopy(config)
    config.update(config.pop("quick", None) or {}) if rng.random() < 0.1 else None
    text = None
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        found = list(places(config))
        path = rng.choice(found)
        owner, key = parent(config, path), path[-1]
        kind = rng.choice(["value", "value", "value", "text", "delete", "rename", "copy", "scale", "graft", "graft"])
        if kind == "value":
            owner[key] = copy.deepcopy(rng.choice(VALUES))
        elif kind == "text":
            owner[key], text = "@@", rng.choice(TEXTS)
        elif kind == "delete":
            del owner[key]
        elif kind == "rename" and isinstance(owner, dict):
            owner[rng.choice(["name", "S", "x", str(key) + "s", str(key)[1:], "a.b", "é"])] = owner.pop(key)
        elif kind == "copy":
            other = rng.choice(found)
            owner[key] = copy.deepcopy(parent(config, other)[other[-1]]) if _exists(config, other) else None
        elif kind == "graft" and others:
            other = rng.choice(others)
            name = rng.choice(sorted(other))
            config[name] = (
                copy.deepcopy(other[name]) if rng.random() < 0.5 else _grafted(config.get(name), other[name], rng)
            )
        elif kind == "scale" and isinstance(owner[key], (int, float)):
            owner[key] = owner[key] * rng.choice([-1, 0, 0.5, 1.0000001, 1e3, 1e6, 1e12, 1e300])
    dumped = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return dumped if text is None else dumped.replace("'@@'", text).replace("@@", text)


def _grafted(into, section, rng: random.Random):
    """A section with one key of another's."""
    if not (isinstance(into, dict) and isinstance(section, dict) and section):
        return copy.deepcopy(section)
    key = rng.choice(sorted(map(str, section)))
    return into | {key: copy.deepcopy(section.get(key))}


def _exists(tree, path) -> bool:
    try:
        parent(tree, path)[path[-1]]
    except (LookupError, TypeError):
        return False
    return True


def command_line(rng: random.Random, folder: Path) -> list[str]:
    """A command of hpcsim, damaged."""
    files = [
        "good.yaml",
        "nowhere",
        ".",
        "/dev/null",
        "",
        "\0",
        "x" * 5000,
        "good.yaml/",
        str(folder / "text.h5"),
        *CODE,
    ]
    walltimes = ["", "1:30", "-1", "1e9", "nan", "9" * 400 + "h", "1:99:99", "0", "12h"]
    overrides = ["", "=", "a", "model.S", "model.S=[", "=1", "model..S=1", "sweep.0=1", "model=1", "." * 999 + "=1",
                 "model.S={a: 1}", "run.seed=1e400", "a.b.c.d=1", "method.name=[1]", "model.S=!!float x",
                 "method=[]", "method=[liouvillian, x]", "method.0=gaussian", "method.1.name=x", "method.7.dt=1",
                 "method.task=emission", "method.functions=[{name: a}]", "method.frequencies=[1, 0]", "figures=[]",
                 "schedule.model.S={function: t}", "schedule.x=1", "method.initial={dicke: x}", "method.initial=random",
                 "method.channels=[{}]", "figures.0.checks=[{name: a, claim: b}]",
                 *(f"method.petsc_options={{eps_view_vectors: {text!r}}}" for text in CODE)]  # fmt: skip
    names = ["", "x", "liouvillian", "emission", "g2", "spin_network", "Sz", "models", "features", "\0", "é" * 300]
    words = {
        "list": lambda: ["list", rng.choice(names)],
        "describe": lambda: ["describe", rng.choice(names)],
        "new": lambda: rng.choice(
            [
                ["new", rng.choice(files), "--model", rng.choice(names), "--method", rng.choice(names)],
                ["new", "--example", rng.choice([*names, "../x", "tutorials", "tutorials/../x"])],
                ["new", rng.choice([*files, "/x/y.sbatch"])],
            ]
        ),
        "completion": lambda: ["completion", rng.choice(["", "fish", "bash "])],
        "export": lambda: ["export", rng.choice(files), rng.choice(["--csv", "--tsv"]), "--to", rng.choice(files)],
        "report": lambda: ["report", rng.choice(files[1:]), "--to", rng.choice(files), "--config", rng.choice(files)],
        "tables": lambda: ["plot", rng.choice(files[1:]), "--csv", "--config", rng.choice(files)],
        "share": lambda: [
            "run",
            "good.yaml",
            "--share",
            rng.choice(["", "0/3", "4/3", "1", "a/b", "1/0", "1/1e9", "9" * 99]),
        ],
        "over": lambda: [
            "collect",
            "c.h5",
            str(folder / "text.h5"),
            "--over",
            rng.choice(["", ",", "model.S", "x" * 999]),
        ],
        "run": lambda: ["run", rng.choice([*files[1:7], files[8]]), "--max-walltime", rng.choice(walltimes)],
        "check": lambda: ["check", rng.choice(files[:2]), "--set", rng.choice(overrides)],
        "ranks": lambda: [
            "check",
            "good.yaml",
            "--ranks",
            rng.choice(["0", "-1", "1e9", "1000000000", "10" * 20, "x"]),
        ],
        "status": lambda: ["status", rng.choice(files)],
        "collect": lambda: ["collect", rng.choice(files[1:]), rng.choice(files)],
        "plot": lambda: ["plot", rng.choice(files), "--to", rng.choice(files)],
        "other": lambda: rng.choice([[], ["x"], ["--x"], ["run"], ["plot"], ["status", "a", "b"], ["-" * 99]]),
    }
    return words[rng.choice(sorted(words))]()


def limited(arguments: list[str], seconds: float, memory: int = MEMORY) -> tuple[str, str, float, int]:
    """`in_a_process` for a command of hpcsim."""

    def command():
        from hpcsim import cli

        return cli.main(arguments)

    return in_a_process(command, seconds, memory)


def in_a_process(action, seconds: float, memory: int = MEMORY) -> tuple[str, str, float, int]:
    """(verdict, what was said, seconds, kB) of action(), which returns an exit status, in a process of its own.

    Verdicts: ok, message, traceback, several messages, silent, signal N, too long.
    """
    read, write = os.pipe()
    began, pid = time.monotonic(), os.fork()
    if not pid:
        code = 99
        try:
            os.close(read)
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
            os.dup2(write, 1), os.dup2(write, 2)
            sys.stdout, sys.stderr = (open(fd, "w", errors="replace", closefd=False) for fd in (1, 2))  # noqa: SIM115
            code = action() or 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    os.close(write)
    said, ended = _collected(pid, read, began + seconds)
    took = time.monotonic() - began
    if ended is None:
        return "too long", said, took, 0
    status, usage = ended
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}", said, took, usage.ru_maxrss
    code, errors = os.WEXITSTATUS(status), said.count("hpcsim: error: ")
    verdict = "traceback" if "Traceback" in said or code == 99 else "ok" if code == 0 else "message"
    if verdict == "message" and errors != 1:
        verdict = "several messages" if errors else "silent"
    return verdict, said, took, usage.ru_maxrss


def _collected(pid: int, read: int, until: float):
    """All that a child says, and how it ended; (text, None) where it had to be killed."""
    os.set_blocking(read, False)
    out = io.BytesIO()
    with open(read, "rb", buffering=0) as pipe:
        while True:
            out.write(pipe.read(2**20) or b"")
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done:
                out.write(pipe.read(2**20) or b"")
                return out.getvalue().decode(errors="replace"), (status, usage)
            if time.monotonic() > until:
                os.kill(pid, signal.SIGKILL)
                os.wait4(pid, 0)
                return out.getvalue().decode(errors="replace"), None
            time.sleep(0.005)


def campaign(configs: int, lines: int, seed: int, folder: Path) -> dict[str, int]:
    """{verdict: how often}; what is neither ok nor one message is printed and kept in the folder."""
    import hpcsim.cli
    import hpcsim.figures
    import hpcsim.run.execute
    import hpcsim.store.collect  # noqa: F401

    rng, good = random.Random(seed), shipped()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "good.yaml").write_text(yaml.safe_dump(good[0], allow_unicode=True))
    (folder / "text.h5").write_text("text")
    for path in (ROOT / "configs").rglob("*.py"):  # that configs name
        shutil.copy(path, folder)
    os.chdir(folder)
    counts = {}
    for n in range(configs + lines):
        if n < configs:
            text = mutated(rng.choice(good), rng, good)
            Path(f"{n}.yaml").write_text(text, encoding="utf-8", errors="surrogateescape")
            arguments = ["check", f"{n}.yaml"]
        else:
            arguments = command_line(rng, folder)
        verdict, said, took, memory = limited(arguments, SECONDS)
        if Path(MARK).exists():
            Path(MARK).unlink()
            verdict = "executed"
        counts[verdict] = counts.get(verdict, 0) + 1
        if verdict not in ("ok", "message"):
            last = said.strip().rpartition("\n")[2][:150]
            print(f"{verdict}: {' '.join(arguments)[:80]}: {took:.1f} s, {memory / 1e3:.0f} MB: {last}", flush=True)
        elif n < configs:
            Path(f"{n}.yaml").unlink()
    return counts


def compiled():
    """What check runs of kernels, so that none is compiled under the limits."""
    folder = Path(tempfile.mkdtemp())
    for n, config in enumerate(config for config in shipped() if "phase_space" in str(config["method"])):
        (folder / f"{n}.yaml").write_text(yaml.safe_dump(config))
        limited(["check", str(folder / f"{n}.yaml")], 600, 2**34)
    shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--configs", type=int, default=1000)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--keep", type=Path, default=Path("bad_configs"))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    compiled()
    print(campaign(given.configs, given.lines, given.seed, given.keep.resolve()))


if __name__ == "__main__":
    main()
