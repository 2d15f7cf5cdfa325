"""Quantum trajectories per second: this program against QuTiP's mcsolve, on one core.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/trajectories.py [--sites 6 8 10 12] [--seconds 20]

Periodic XYZ chain of spins 1/2 with local decay, Jx, Jy, Jz = 0.9, 1.2, 1.0 in units of γ (H = ½ Σ_bonds J σσ), all
spins along x at t = 0, to t = 10/γ with ⟨Sz⟩ at eleven times (with --up all spins start up: then the parity of the
number of spins up halves the state vector here). Both run in turn on the same core, by CPU time, so
that other load on the machine meets both. mcsolve has its default tolerances (rtol 1e-6, atol 1e-8) and the
same jump operators; the trajectories here their default, 1e-6. Printed: trajectories per second, the
ratio, and ⟨Sz⟩ per spin at t = 10/γ of both. Then, for what these tolerances mean, the error of ⟨Sx⟩ without decay
(where every trajectory is the same) at the eleven times, against exp(-iHt); QuTiP's is that of its SESolver, with
the integrator and the tolerances of mcsolve.

With --large the time and memory of two trajectories of as many spins to 1/γ are printed instead; under mpirun the ranks
share its state vector.
"""

import argparse
import resource
import time

import numpy as np
from mpi4py import MPI
from scipy.sparse.linalg import expm_multiply

import hpcsim
from hpcsim.models import xyz_lattice
from hpcsim.system import matrices

J = dict(Jx=0.9, Jy=1.2, Jz=1.0)
TIMES = tuple(float(t) for t in range(11))


def solved(sites: int, comm=None, decay: float = 1.0, **method):
    """As the command line computes it, on all ranks of comm together."""
    model = {"name": "xyz_lattice", "convention": "lee2013", "sites": sites, "decay": decay} | J
    method = {"name": "trajectories", "task": "evolve", "times": TIMES} | method
    run = {"seed": 1, "ranks_per_point": comm.size if comm else 1}
    return hpcsim.solve(model=model, method=method, run=run, comm=comm)


def ours(sites: int, seconds: float, up: bool = False):
    """(trajectories per CPU second, ⟨Sz⟩ at the end)."""
    batch = 8
    while True:
        started = time.process_time()
        found = solved(sites, trajectories=2 * batch, batch=batch, initial=[0, 0] if up else [0.5, 0])
        used = time.process_time() - started
        if used > seconds / 2:
            return 2 * batch / used, float(found.Sz.squeeze()[-1])
        batch = int(batch * min(max(1.3, seconds / max(used, 1e-3)), 20))


def qutip_model(sites: int):
    """H, jump operators, state along x, Sx and Sz of a spin."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    bonds = [(i, (i + 1) % sites) for i in range(sites)]
    pauli = zip((qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()), J.values())
    H = sum(0.5 * value * sum(at(s, i) * at(s, j) for i, j in bonds) for s, value in pauli)
    start = qutip.tensor([(qutip.basis(2, 0) + qutip.basis(2, 1)).unit()] * sites)
    Sx, Sz = (sum(at(s, i) for i in range(sites)) / (2 * sites) for s in (qutip.sigmax(), qutip.sigmaz()))
    return H, [at(qutip.sigmam(), i) for i in range(sites)], start, Sx, Sz


def qutip_mcsolve(sites: int, seconds: float, up: bool):
    """As `ours`; the trajectories are run in one call, whose number is guessed from a call of two."""
    import qutip

    H, decay, start, _, Sz = qutip_model(sites)
    if up:
        start = qutip.tensor([qutip.basis(2, 0)] * sites)
    solver = qutip.MCSolver(H, decay, options={"progress_bar": "", "map": "serial"})

    def run(count):
        started = time.process_time()
        found = solver.run(start, TIMES, ntraj=count, e_ops=[Sz], seeds=1)
        return time.process_time() - started, found.average_expect[0][-1]

    run(1)
    count = max(2, int(seconds / (run(2)[0] / 2)))
    used, value = run(count)
    return count / used, value


def errors(sites: int):
    """Largest error of ⟨Sx⟩ at the times without decay: (here, QuTiP)."""
    import qutip

    system = xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=sites, decay=0, **J))
    here = solved(sites, decay=0, trajectories=2, batch=1).Sx.values.squeeze()
    psi = np.full(2**sites, 2.0 ** (-sites / 2), complex)
    states = expm_multiply(-1j * matrices.hamiltonian(system), psi, TIMES[0], TIMES[-1], len(TIMES))
    Sx = sum(matrices.site_operator(system, "Sx", i) for i in range(sites)) / sites
    exact = np.array([np.vdot(state, Sx @ state).real for state in states])
    H, _, start, measured, _ = qutip_model(sites)
    solver = qutip.SESolver(H, options={"progress_bar": "", "method": "adams", "rtol": 1e-6, "atol": 1e-8})
    there = solver.run(start, TIMES, e_ops=[measured]).expect[0]
    return np.abs(here - exact).max(), np.abs(there - exact).max()


def large(sites: int):
    """Two trajectories to 1/γ, each on all ranks."""
    comm = MPI.COMM_WORLD
    options = {"times": [1], "trajectories": 2, "batch": 1, "distribute": comm.size > 1}
    for size in 4, sites:  # the first one compiles
        comm.Barrier()
        started, used = time.time(), time.process_time()
        found = solved(size, comm, **options)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    for line in (
        comm.gather(
            f"rank {comm.rank} of {comm.size}: {sites} spins to 1/γ in {time.time() - started:.1f} s "
            f"({time.process_time() - used:.1f} s of CPU), peak {memory:.2f} GB, "
            f"{float(found.jumps):.0f} jumps, Sz = {float(found.Sz.squeeze()):.10f}"
        )
        or ()
    ):
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[6, 8, 10, 12])
    parser.add_argument("--seconds", type=float, default=20.0, help="CPU time of each measurement, about")
    parser.add_argument("--up", action="store_true")
    parser.add_argument("--large", type=int, metavar="SPINS")
    arguments = parser.parse_args()
    if arguments.large:
        large(arguments.large)
        return
    ours(4, 0.1, arguments.up)  # compiles
    print(
        f"{'sites':>5} {'hpcsim/s':>10} {'mcsolve/s':>10} {'ratio':>7} {'Sz hpcsim':>10} {'Sz mcsolve':>11} "
        f"{'error':>9} {'error mc':>9}"
    )
    for sites in arguments.sites:
        here, mine = ours(sites, arguments.seconds, arguments.up)
        there, theirs = qutip_mcsolve(sites, arguments.seconds, arguments.up)
        print(
            f"{sites:5d} {here:10.1f} {there:10.2f} {here / there:7.1f} {np.real(mine):10.4f} {theirs:11.4f} "
            "{:9.1e} {:9.1e}".format(*errors(sites)),
            flush=True,
        )


if __name__ == "__main__":
    main()
