"""The published Lindblad benchmark of QuantumToolbox.jl: time evolution of a dissipative Ising chain, against QuTiP.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/lindblad_ising.py [--sites 4 5 6] [--peer-times 11]

H = 25 Σ σx_i σx_i+1 + 50 Σ σz_i of an open chain, decay γ = 1 of every spin, all spins up at t = 0, to t = 10/γ with
⟨σz⟩ of the last site at 100 times. Both run in turn on the same core, by CPU time. mesolve has rtol = 1e-8 and
atol = 1e-10 and goes to the first --peer-times alone; its seconds are scaled up to all times, since its steps stay as
long. Errors are those at these times, against an evolution with the tolerance 1e-12.

Printed for every size: CPU seconds of mesolve and of hpcsim by each of its integrators, their ratio, and the errors.

Seen on one core of an AMD processor (Zen 3) with QuTiP 5.3, --peer-times 2: chebyshev 36, 55 and 45 times mesolve at
N = 6, 7, 8 (15.3 s beside 695 s at N = 8); before it, krylov 25 times at N = 8 (25.5 beside 639 s). An interval of
N = 8 has 173 products, where half of the width of the spectrum times the interval is 116: no polynomial of L can do
with much fewer. They take most of the time, as long as the stored matrix takes to go through memory (32,768 real
unknowns, 581,154 elements); a factor 100 needs a product without a stored matrix, or a splitting into single sites.
"""

import argparse
import time

import numpy as np

import hpcsim

TIMES = np.linspace(0, 10, 100)
INTEGRATORS = ("krylov", "taylor", "chebyshev")


def ours(sites: int, times: int, integrator: str, tolerance: float):
    """(CPU seconds, ⟨σz⟩ of the last site at the first so many times)"""
    chain = dict(
        name="spin_network", convention="standard", sites=sites, S=0.5, Jx=100, field_z=100, decay=1, periodic=False
    )
    method = dict(name="liouvillian", task="evolve", initial=[0, 0], integrator=integrator, tolerance=tolerance)
    started = time.process_time()
    found = hpcsim.solve(model=chain | {"resolve": True}, method=method | {"times": TIMES[:times].tolist()})
    return time.process_time() - started, 2 * found.Sz.values.reshape(sites, -1)[-1]


def peer(sites: int, times: int):
    """As `ours`."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    x, z = ([at(s, i) for i in range(sites)] for s in (qutip.sigmax(), qutip.sigmaz()))
    H = 25 * sum(x[i] * x[i + 1] for i in range(sites - 1)) + 50 * sum(z)
    decay, up = [at(qutip.sigmam(), i) for i in range(sites)], qutip.tensor([qutip.basis(2, 0)] * sites)
    options = {"progress_bar": "", "rtol": 1e-8, "atol": 1e-10, "nsteps": 10**9}
    started = time.process_time()
    found = qutip.mesolve(H, up, TIMES[:times], decay, e_ops=[z[-1]], options=options)
    return time.process_time() - started, found.expect[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--times", type=int, default=len(TIMES))
    parser.add_argument("--peer-times", type=int, default=11)
    parser.add_argument("--tolerance", type=float, default=1e-9, help="of hpcsim, for each interval between times")
    parser.add_argument("--integrators", nargs="+", choices=INTEGRATORS, default=INTEGRATORS)
    arguments = parser.parse_args()
    for integrator in INTEGRATORS:
        ours(3, 3, integrator, arguments.tolerance)  # compiles
    print(f"{'N':>3} {'program':20} {'CPU s':>9} {'ratio':>8} {'error':>9}")
    for sites in arguments.sites:
        _, exact = ours(sites, arguments.peer_times, "chebyshev", 1e-12)
        used, found = peer(sites, arguments.peer_times)
        theirs = used * (arguments.times - 1) / (arguments.peer_times - 1)
        print(f"{sites:3d} {'mesolve':20} {theirs:9.2f} {1:8.1f} {abs(found - exact).max():9.1e}", flush=True)
        for integrator in arguments.integrators:
            seconds, found = ours(sites, arguments.times, integrator, arguments.tolerance)
            error = abs(found[: len(exact)] - exact[: len(found)]).max()
            print(f"{sites:3d} {integrator:20} {seconds:9.2f} {theirs / seconds:8.1f} {error:9.1e}", flush=True)


if __name__ == "__main__":
    main()
