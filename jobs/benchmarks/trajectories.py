"""Quantum trajectories per second: this program against QuTiP's mcsolve, on one core.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/trajectories.py [--sites 6 8 10 12] [--seconds 20]

Periodic XYZ chain of spins 1/2 with local decay, Jx, Jy, Jz = 0.9, 1.2, 1.0 in units of γ (H = ½ Σ_bonds J σσ), all
spins along x at t = 0, to t = 10/γ with ⟨Sz⟩ at eleven times. Both run in turn on the same core, by CPU time, so
that other load on the machine meets both. mcsolve has its default tolerances (rtol 1e-6, atol 1e-8) and the
same jump operators; the trajectories here their default, 1e-6. Printed: trajectories per second, the
ratio, and ⟨Sz⟩ per spin at t = 10/γ of both.
"""
import argparse
import time

import numpy as np
from mpi4py import MPI

from hpcsim.methods import Context, trajectories
from hpcsim.models import xyz_lattice

J = dict(Jx=0.9, Jy=1.2, Jz=1.0)
TIMES = tuple(float(t) for t in range(11))


def ours(sites: int, seconds: float):
    """(trajectories per CPU second, ⟨Sz⟩ at the end)."""
    system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=sites, **J))
    context = Context(MPI.COMM_SELF, (sites, 1), lambda: False)
    batch = 8
    while True:
        options = trajectories.Options(task="evolve", times=TIMES, trajectories=2 * batch, batch=batch)
        started = time.process_time()
        found = trajectories.run(system, options, 0, context)
        used = time.process_time() - started
        if used > seconds / 2:
            return batch / used, found["Sz"][0, -1]
        batch = int(batch * min(max(1.3, seconds / max(used, 1e-3)), 20))


def qutip_mcsolve(sites: int, seconds: float):
    """Likewise; the trajectories are run in one call, whose number is guessed from a call of two."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    bonds = [(i, (i + 1) % sites) for i in range(sites)]
    pauli = zip((qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()), J.values())
    H = sum(0.5 * value * sum(at(s, i) * at(s, j) for i, j in bonds) for s, value in pauli)
    decay = [at(qutip.sigmam(), i) for i in range(sites)]
    start = qutip.tensor([(qutip.basis(2, 0) + qutip.basis(2, 1)).unit()] * sites)
    Sz = sum(at(qutip.sigmaz(), i) for i in range(sites)) / (2 * sites)
    solver = qutip.MCSolver(H, decay, options={"progress_bar": "", "map": "serial"})

    def run(count):
        started = time.process_time()
        found = solver.run(start, TIMES, ntraj=count, e_ops=[Sz], seeds=1)
        return time.process_time() - started, found.average_expect[0][-1]

    run(1)
    count = max(2, int(seconds / (run(2)[0] / 2)))
    used, value = run(count)
    return count / used, value


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[6, 8, 10, 12])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time of each measurement, about")
    arguments = parser.parse_args()
    ours(4, 0.1)    # compiles
    print(f"{'sites':>5} {'hpcsim/s':>10} {'mcsolve/s':>10} {'ratio':>7} {'Sz hpcsim':>10} {'Sz mcsolve':>11}")
    for sites in arguments.sites:
        here, mine = ours(sites, arguments.seconds)
        there, theirs = qutip_mcsolve(sites, arguments.seconds)
        print(f"{sites:5d} {here:10.1f} {there:10.2f} {here / there:7.1f} {np.real(mine):10.4f} {theirs:11.4f}", flush=True)


if __name__ == "__main__":
    main()
