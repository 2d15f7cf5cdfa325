"""Periodic steady states: the map of one period, a Fourier expansion in the same sector, and QuTiP, on one core.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/floquet.py [--sites 4 5 6] [--frequency 2] [--harmonics 8]

The chain of driven.py: periodic XYZ, Jx, Jy, Jz = 0.9, 1.2, 1.0 in units of γ (H = ½ Σ_bonds J σσ), local decay, a
field cos(ω t) along x. Here `task: floquet`, which finds ρ(t) of one period by Krylov spaces of the period's map. The
Fourier expansion solves Σ_m (L_m - i n ω δ_m0) x_(n-m) = 0, |n| <= M, in the same symmetry sector by a sparse
factorisation; of a cosine the L_m are those of m = 0, 1, -1. QuTiP: steadystate_fourier, the same expansion without
symmetries, which gives the mean of ρ over a period (for the fewest sites alone); and mesolve from the state with all
spins up until 20/γ, where what is left of it is exp(-20 gap), with its default tolerances. Seconds of CPU, and the
largest difference of ⟨Sx⟩ over a period from the map's; of steadystate_fourier that of the mean of ⟨Sz⟩. The second of
two runs here counts.

Seen with 6 sites: the map 0.6 s, the expansion 22 s and 2e7 entries, alike to 6e-11; 4 sites: 0.24 and 0.14 s.
"""

import argparse
import time

import driven
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

import hpcsim
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.run.problem import Problem
from hpcsim.system import matrices, piecewise

POINTS = 9
LONG = 20.0  # of mesolve, in units of 1/γ


def config(sites: int, frequency: float):
    """Model, method and schedule."""
    period = 2 * np.pi / frequency
    model = {"name": "spin_network", "convention": "standard", "sites": sites, "decay": 1.0}
    model |= {key: 2 * value for key, value in driven.J.items()}
    times = np.linspace(0, period, POINTS).tolist()
    schedule = {"model.field_x": {"function": f"cos({frequency}*t)"}}
    return model, {"name": "liouvillian", "task": "floquet", "period": period, "times": times}, schedule


def ours(sites: int, frequency: float):
    """⟨Sx⟩ and ⟨Sz⟩ at POINTS times of a period, and seconds."""
    model, method, schedule = config(sites, frequency)
    started = time.process_time()
    found = hpcsim.solve(model, method, schedule=schedule)
    return found.Sx.values.ravel(), found.Sz.values.ravel(), time.process_time() - started


def fourier(sites: int, frequency: float, harmonics: int):
    """⟨Sx⟩ at the same times from the Fourier components of ρ, the number of entries of the factors, and seconds."""
    model, method, schedule = config(sites, frequency)
    started = time.process_time()
    still = Problem(model, {"name": "liouvillian"}).system
    driven_system = Problem(model | {"(schedule)": schedule}, method).system
    home = Sector(operators(driven_system), HOME)
    parts = [Sector(operators(part), HOME, like=home).rows(0, home.size) for part in driven_system.drive.systems]
    scale = piecewise.values(driven_system.drive.curve, np.zeros(1))[0, 0]  # w(t) = scale cos(ωt)
    n, size = np.arange(-harmonics, harmonics + 1), home.size
    whole = sparse.kron(sparse.identity(len(n)), parts[0]) - 1j * frequency * sparse.kron(
        sparse.diags(n.astype(float)), sparse.identity(size)
    )
    beside = sparse.diags([np.ones(len(n) - 1)] * 2, [-1, 1])
    whole = sparse.csr_matrix(whole + sparse.kron(beside, scale / 2 * parts[1])).tolil()
    row, right = harmonics * size, np.zeros(len(whole.rows), complex)
    whole[row] = 0
    whole[row, row : row + size] = home.trace(0, size)
    right[row] = 1
    factors = splu(whole.tocsc())
    components = factors.solve(right).reshape(len(n), size)
    Sx = sum(matrices.site_operator(still, "Sx", i) for i in range(sites)) / sites
    phases = np.exp(1j * frequency * np.outer(method["times"], n))
    seen = phases @ components @ home.functional(Sx, 0, size)
    return seen.real, factors.L.nnz + factors.U.nnz, time.process_time() - started


def mesolve(sites: int, frequency: float):
    """⟨Sx⟩ of the period that ends at LONG or later, and seconds."""
    import qutip

    H, Sx, up, decays = driven.of_chain(sites)
    period = 2 * np.pi / frequency
    begin = np.ceil(LONG / period) * period
    times = [0.0, *(begin + np.linspace(0, period, POINTS))]
    started = time.process_time()
    evolution = qutip.QobjEvo([H, [Sx, lambda t: np.cos(frequency * t)]])
    found = qutip.mesolve(evolution, up, times, decays, e_ops=[Sx / sites], options={"nsteps": 10**6})
    return np.array(found.expect[0])[1:], time.process_time() - started


def expansion_of_qutip(sites: int, frequency: float, harmonics: int):
    """The mean of ⟨Sz⟩ over a period by steadystate_fourier, and seconds."""
    import qutip

    H, Sx, _, decays = driven.of_chain(sites)
    Sz = sum(2 * d.dag() * d - 1 for d in decays) / 2
    started = time.process_time()
    rho = qutip.steadystate_fourier(H, decays, Sx, frequency, n_it=harmonics, sparse=True)
    return qutip.expect(Sz / sites, rho), time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--frequency", type=float, default=2.0)
    parser.add_argument("--harmonics", type=int, default=8)
    parser.add_argument("--largest-expansion", type=int, default=6, help="sites of the Fourier expansion, at most")
    given = parser.parse_args()
    ours(3, given.frequency)  # compiles
    print("sites  map/s  Fourier/s  entries  difference  mesolve/s  ratio  difference")
    for sites in given.sites:
        Sx, Sz, here = [ours(sites, given.frequency) for _ in range(2)][1]
        line = f"{sites:5} {here:6.2f}"
        if sites <= given.largest_expansion:
            found, entries, seconds = fourier(sites, given.frequency, given.harmonics)
            line += f" {seconds:10.2f} {entries:8.1e} {np.abs(found - Sx).max():11.1e}"
        else:
            line += f" {'-':>10} {'-':>8} {'-':>11}"
        found, there = mesolve(sites, given.frequency)
        print(line + f" {there:10.2f} {there / here:6.1f} {np.abs(found - Sx).max():11.1e}", flush=True)
        if sites == given.sites[0]:
            mean, seconds = expansion_of_qutip(sites, given.frequency, given.harmonics)
            print(
                f"      steadystate_fourier: {seconds:.2f} s, mean of Sz differs by {abs(mean - Sz[:-1].mean()):.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
