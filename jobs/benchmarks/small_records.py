"""Small systems: CPU time of planning and of a record, for each point, beside QuTiP's steadystate in the same run.

    python jobs/benchmarks/small_records.py            # sweeps of 200 points
    python jobs/benchmarks/small_records.py 1000

One driven spin with decay, and a driven ring of four spins 1/2, with the drive swept. A record gives spins, their
variances and the purity; QuTiP makes H from operators made once, solves, and takes ⟨Sx⟩, which must be the same. Times
are those of the process, on one core, in ms, after a first short sweep that compiles. Needs qutip.
"""

import sys
import time

import numpy as np
import qutip

import hpcsim
from hpcsim.run import config
from hpcsim.run.plan import plan

DRIVES = (0.2, 2.0)
RING = {"name": "spin_network", "sites": 4, "Jx": 0.5, "Jz": 1.0, "decay": 1.0}


def one_spin(S):
    """(model, swept key, (constant part of H, what the drive multiplies), jump operators, mean Sx) of one spin."""
    x, down = qutip.jmat(S, "x"), qutip.jmat(S, "-")
    model = {"name": "collective_spin", "S": S, "decay": 1.0}
    return model, "model.drive", (0 * x, x), [np.sqrt(1 / S) * down], x


def ring():
    """The same of four spins 1/2."""
    n, one = RING["sites"], qutip.qeye(2)

    def at(name, site):
        return qutip.tensor([qutip.jmat(0.5, name) if i == site else one for i in range(n)])

    bonds = [(i, (i + 1) % n) for i in range(n)]
    coupling = sum(RING[f"J{a}"] * at(a, i) * at(a, j) for a in "xz" for i, j in bonds)
    drive = sum(at("x", i) for i in range(n))
    jumps = [np.sqrt(2 * RING["decay"]) * at("-", i) for i in range(n)]
    return RING, "model.field_x", (coupling, drive), jumps, drive / n


def milliseconds(points: int, work):
    """CPU time for each point, and what work() gives."""
    began = time.process_time()
    found = work()
    return 1e3 * (time.process_time() - began) / points, found


def compare(name: str, points: int, model, key, hamiltonian, jumps, observable):
    drives = np.linspace(*DRIVES, points)
    still, driven = hamiltonian

    def peer():
        return [qutip.expect(observable, qutip.steadystate(still + x * driven, jumps)) for x in drives]

    def planned():
        sweep = [{key: drives.tolist()}]
        return plan(config.resolve({"model": model, "method": {"name": "liouvillian"}, "sweep": sweep}))

    hpcsim.solve(model, sweep={key: drives[:3]})
    planning, _ = milliseconds(points, planned)
    whole, data = milliseconds(points, lambda: hpcsim.solve(model, sweep={key: drives}))
    theirs, wanted = milliseconds(points, peer)
    difference = np.abs(data.Sx.values.ravel() - wanted).max()
    assert difference < 1e-6, difference
    print(f"{name:<14}{planning:>10.3f}{whole - planning:>10.3f}{theirs:>10.3f}{theirs / whole:>10.2f}", flush=True)


def main(points: int = 200):
    print(f"{points} points, ms for each\n{'':<14}{'planning':>10}{'record':>10}{'QuTiP':>10}{'ratio':>10}")
    for S in (0.5, 1, 5, 10):
        compare(f"one spin {S:g}", points, *one_spin(S))
    compare("four spins 1/2", points, *ring())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
