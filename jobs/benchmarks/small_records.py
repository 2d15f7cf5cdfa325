"""Small systems: CPU time for each point of a sweep, beside QuTiP's steadystate in the same run.

    python jobs/benchmarks/small_records.py                               # sweeps of 1,000 points
    python jobs/benchmarks/small_records.py --points 200 --peer PYTHON    # a Python that has qutip; else this one
    python jobs/benchmarks/small_records.py --sizes --points 200          # one spin of any size, beside its solver

One driven spin with decay, and a driven ring of four spins 1/2, with the drive swept. A record gives spins, their
variances and the purity. QuTiP makes H from operators made once, calls steadystate, and takes ⟨Sx⟩, which must be the
same: `peer`. Most of that are its options, in version 5.3.1; `solver` is its direct solver alone, which it calls then,
of Liouvillians added up from two made once. Times are those of the process, on one core, in ms, after a first short
sweep that compiles: of planning; of all of `solve`; and of a run into a file and its collection.

--sizes: S = 1/2 ... 50. `bare` is the solver alone, called again for the same points: LAPACK's, of a matrix that is
ready, or beyond its 300 unknowns that of PETSc with a sector that is ready. The medians of alternating runs.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DRIVES = (0.2, 2.0)
RING = {"name": "spin_network", "sites": 4, "Jx": 0.5, "Jz": 1.0, "decay": 1.0}
CASES = {
    **{f"one spin {S}": ({"name": "collective_spin", "S": S, "decay": 1.0}, "model.drive") for S in (0.5, 1, 5, 10)},
    "four spins 1/2": (RING, "model.field_x"),
}


# ------------------------------------------------------------------ the peer, without hpcsim


def one_spin(S):
    """(constant part of H, what the drive multiplies), jump operators, mean Sx."""
    import qutip

    x, down = qutip.jmat(S, "x"), qutip.jmat(S, "-")
    return (0 * x, x), [np.sqrt(1 / S) * down], x


def ring():
    """The same of four spins 1/2."""
    import qutip

    n, one = RING["sites"], qutip.qeye(2)

    def at(name, site):
        return qutip.tensor([qutip.jmat(0.5, name) if i == site else one for i in range(n)])

    bonds = [(i, (i + 1) % n) for i in range(n)]
    coupling = sum(RING[f"J{a}"] * at(a, i) * at(a, j) for a in "xz" for i, j in bonds)
    drive = sum(at("x", i) for i in range(n))
    return (coupling, drive), [np.sqrt(2 * RING["decay"]) * at("-", i) for i in range(n)], drive / n


def peer(name: str, points: int):
    """⟨Sx⟩ of every point and the two times, as JSON."""
    import qutip

    direct = sys.modules["qutip.solver.steadystate"]._steadystate_direct

    model = CASES[name][0]
    (still, driven), jumps, observable = one_spin(model["S"]) if "S" in model else ring()
    drives = np.linspace(*DRIVES, points)
    qutip.steadystate(still + driven, jumps)
    each, found = milliseconds(
        points, lambda: [qutip.expect(observable, qutip.steadystate(still + x * driven, jumps)) for x in drives]
    )
    rest, drive = qutip.liouvillian(still, jumps), qutip.liouvillian(driven)
    alone, _ = milliseconds(points, lambda: [qutip.expect(observable, direct(rest + x * drive, 0)) for x in drives])
    print(json.dumps([found, each, alone]))


# ------------------------------------------------------------------ ours


def milliseconds(points: int, work):
    """CPU time for each point, and what work() gives."""
    began = time.process_time()
    found = work()
    return 1e3 * (time.process_time() - began) / points, found


def ours(name: str, points: int):
    """⟨Sx⟩ of every point, and the times of planning, of solve, and of a run with its collection."""
    import hpcsim
    from hpcsim.run import config, execute
    from hpcsim.run.plan import plan
    from hpcsim.store.collect import collect

    model, key = CASES[name]
    drives = np.linspace(*DRIVES, points)

    def planned():
        sections = {"model": model, "method": {"name": "liouvillian"}, "sweep": [{key: drives.tolist()}]}
        return plan(config.resolve(sections))

    def through_a_file():
        with tempfile.TemporaryDirectory() as folder:
            execute.run(planned, Path(folder) / "run.h5")
            collect(Path(folder) / "collected.h5", [Path(folder) / "run.h5"])

    logging.getLogger("hpcsim").setLevel(logging.ERROR)
    hpcsim.solve(model, sweep={key: drives[:3]})
    planning, _ = milliseconds(points, planned)
    solving, data = milliseconds(points, lambda: hpcsim.solve(model, sweep={key: drives}))
    filed, _ = milliseconds(points, through_a_file)
    return data.Sx.values.ravel(), planning, solving, filed


SIZES = (0.5, 1, 2, 5, 10, 20, 50)
RUNS = 5


def bare(S: float, drives) -> float:
    """CPU time of the solver for each point, without all else."""
    from mpi4py import MPI

    from hpcsim import solvers
    from hpcsim.methods import Cache
    from hpcsim.methods.liouvillian.operators import operators
    from hpcsim.methods.liouvillian.sectors import Sector
    from hpcsim.methods.liouvillian.small import LARGEST
    from hpcsim.methods.liouvillian.symmetry import HOME
    from hpcsim.models import collective_spin

    def sector(drive):
        params = collective_spin.Params(S=S, decay=1.0, field_x=drive)
        return Sector(operators(collective_spin.build(params)), HOME)

    sectors, cache = list(map(sector, drives)), Cache()
    size = sectors[0].size
    if size <= LARGEST:
        ready = [(each.rows(0, size).toarray(), each.trace(0, size), each) for each in sectors]
        return milliseconds(len(drives), lambda: [solvers.dense_steady_state(*each) for each in ready])[0]
    found = milliseconds(
        len(drives), lambda: [solvers.steady_state(MPI.COMM_SELF, each, {}, cache=cache) for each in sectors]
    )[0]
    cache.clear()
    return found


def sizes(points: int):
    """Of one spin of any size: all of `solve`, the solver alone, and how much more the first is."""
    import hpcsim

    logging.getLogger("hpcsim").setLevel(logging.ERROR)
    print(f"up to {points} points, ms for each, medians of {RUNS}\n{'S':>5}{'solve':>13}{'bare':>13}{'solve/bare':>13}")
    for S in SIZES:
        drives = np.linspace(*DRIVES, max(3, min(points, int(points * 10 / S))))
        model = {"name": "collective_spin", "S": S, "decay": 1.0}
        hpcsim.solve(model, sweep={"model.drive": drives[:3]})
        work = [
            (milliseconds(len(drives), lambda: hpcsim.solve(model, sweep={"model.drive": drives}))[0], bare(S, drives))  # noqa: B023
            for _ in range(RUNS)
        ]
        whole, alone = np.median(work, axis=0)
        print(f"{S:5g}{whole:13.3f}{alone:13.3f}{whole / alone:13.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1000)
    parser.add_argument("--peer-points", type=int, help="as many of these for the peer, whose time does not change")
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON", help="has qutip")
    parser.add_argument("--as-peer", metavar="CASE", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", action="store_true", help="one spin of any size, beside its solver alone")
    given = parser.parse_args()
    if given.sizes:
        return sizes(given.points)
    if given.as_peer:
        return peer(given.as_peer, given.points)
    columns = ("plan", "solve", "file", "peer", "solver", "peer/solve", "solver/solve")
    print(f"{given.points} points, ms for each\n{'':<14}" + "".join(f"{column:>13}" for column in columns))
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    for name in CASES:
        found, planning, solving, filed = ours(name, given.points)
        many = given.peer_points or given.points
        command = [given.peer, __file__, "--points", str(many), "--as-peer", name]
        answer = subprocess.run(command, env=alone, check=True, capture_output=True, text=True).stdout
        wanted, each, bare = json.loads(answer.splitlines()[-1])
        same = found if many == given.points else ours(name, many)[0]
        difference = np.abs(same - wanted).max()
        assert difference < 1e-6, difference
        row = (planning, solving, filed, each, bare, each / solving, bare / solving)
        print(f"{name:<14}" + "".join(f"{value:13.3f}" for value in row), flush=True)
    return None


if __name__ == "__main__":
    sys.exit(main())
