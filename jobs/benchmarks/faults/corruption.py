"""Damaged run files and collected files: whatever is overwritten is named, or harmless.

    python jobs/benchmarks/faults/corruption.py --places 2000 --seed 1

Into a small run file, or what was collected from it, a few bytes are written or zeroed at a random place. The
readers of collect and of plot then read it, each time in a process of its own. Harmless is what leaves every number
and attribute as it was.
"""

import argparse
import os
import random
import secrets
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
from configs import in_a_process
from hpcsim import store
from hpcsim.methods import Dim, Output
from hpcsim.store.collect import collect
from hpcsim.store.states import REASON_LOST

RECORDS = 12
OUTPUTS = (
    Output("Sz", (Dim("sublattice", ("a", "b")),), "ħ", reduce="mean"),
    Output("eigenvalues", (Dim("eigenvalue", (0, 1, 2)),), "g", dtype="c16", reduce="merge"),
    Output("gap", (), "g", reduce="min"),
)
CONFIG = {
    "title": "corruption",
    "model": {"name": "m", "S": 1.5},
    "method": {"name": "x"},
    "sweep": [{"model.gain": [0.1, 0.2, 0.3]}],
    "run": {"seed": 1, "flush_seconds": 60.0},
    "figures": [{"file": "f", "panels": [{"y": "gap", "x": "gain"}]}],
}


def run_file(path: Path) -> Path:
    """A run file of 12 records, of which one has failed and two are not done."""
    from mpi4py import MPI

    point, index = np.repeat(np.arange(3), 4), np.tile(np.arange(4), 3)
    layout = store.Layout(CONFIG, tuple(CONFIG["sweep"]), OUTPUTS, point, index)
    rng = np.random.default_rng(1)
    with store.open_run(path, layout, MPI.COMM_SELF) as run:
        for record in range(RECORDS - 3):
            values = rng.normal(size=(2, 3))
            run.write(
                record, {"Sz": rng.normal(size=2), "eigenvalues": values[0] + 1j * values[1], "gap": rng.normal()}, 0.5
            )
        run.fail(RECORDS - 1, "RuntimeError: on purpose", 0.5)
        run.finish({"started": 1e9, "wall_seconds": 2.0, "ended": "complete"})
    return path


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to 64 bytes of it changed, flipped, zeroed or lost."""
    content, at = bytearray(content), rng.randrange(len(content))
    kind = rng.choice(["flip", "flip", "zero", "random", "cut", "longer"])
    size = rng.choice([1, 8, 64])
    if kind == "flip":
        content[at] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        content[at : at + size] = bytes(len(content[at : at + size]))
    elif kind == "random":
        content[at : at + size] = rng.randbytes(len(content[at : at + size]))
    elif kind == "cut":
        del content[at:]
    else:
        content += rng.randbytes(size)
    return bytes(content)


def facts_of_run(path: Path) -> str:
    """All that a reader of a run file gets out of it, as text."""
    [run] = store.read_runs(path)
    arrays = {name: run.arrays[name][run.done].tobytes().hex() for name in sorted(run.arrays)}
    layout = run.layout
    return repr((layout.config, layout.axes, layout.point.tolist(), layout.index.tolist(), run.failures,
                 run.done.tolist(), run.skipped.tolist(), arrays, run.seconds[run.done].tolist(), run.history,
                 run.versions))  # fmt: skip


def facts_of_collected(path: Path) -> str:
    data = store.load(path)
    values = {n: (v.dims, v.values.tolist(), sorted(map(str, v.attrs.items()))) for n, v in data.variables.items()}
    return repr((values, sorted(map(str, data.attrs.items())), data.config))


def verdict(read, path: Path, expected: str, collected: bool) -> str:
    """named, harmless, or what must not be: silent, traceback, signal, too long."""

    def tell():
        try:
            found = read(path)
        except store.StoreError as error:
            print("NAMED" if path.name in str(error) else f"UNNAMED {error}")
        else:
            less = not collected and found != expected and _less(found, expected)
            print("SAME" if found == expected else "LESS" if less else f"SILENT {_where(found, expected)}")

    ended, said, _, _ = in_a_process(tell, seconds=60)
    if ended not in ("ok", "message"):
        return ended
    word = said.strip().rpartition("\n")[2]
    return {"NAMED": "named", "SAME": "harmless", "LESS": "told: a record less, or a damaged entry of the history"}.get(
        word, f"silent: {word}"
    )


def _where(found: str, expected: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), 0)
    return f"{found[max(0, at - 30) : at + 30]!r}"


def _less(found: str, expected: str) -> bool:
    """Whether records merely count as not done, which status tells and a resumed run fixes, or a reason or an entry of
    the history says that it is lost; every other fact must be as it was."""
    new, old = (eval(text, {"nan": np.nan}) for text in (found, expected))
    fixed = all(repr(new[i]) == repr(old[i]) for i in (0, 1, 2, 3, 10))
    fewer = all(a <= b for a, b in zip(new[5], old[5]))
    fewer = fewer and all(why in (old[4].get(r), REASON_LOST) for r, why in new[4].items())
    kept = all(len(new[7][name]) <= len(old[7][name]) for name in old[7])
    history = all(entry in old[9] or "damaged" in entry["ended"] for entry in new[9]) and len(new[9]) >= len(old[9])
    return fixed and fewer and kept and history and not any(new[6])


def campaign(places: int, seed: int) -> dict[str, int]:
    """{file and verdict: how often}."""
    rng, counts = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as folder:
        run = run_file(Path(folder, "r.h5"))
        whole = Path(folder, "c.h5")
        collect(whole, [run])
        for kind, path, read in (("run", run, facts_of_run), ("collected", whole, facts_of_collected)):
            content, expected = path.read_bytes(), read(path)
            for _ in range(places // 2):
                changed = damaged(content, rng)
                path.write_bytes(changed)
                found = verdict(read, path, expected, kind == "collected") if changed != content else "harmless"
                key = f"{kind}: {found}"
                counts[key] = counts.get(key, 0) + 1
            path.write_bytes(content)
    return counts


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--places", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    print(yaml.safe_dump(campaign(given.places, given.seed)))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    main()
