"""Two-time functions, their spectra and counting statistics: this program against QuTiP, in the same process.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/correlations.py [--sites 4 5 6] [--spectra 4] [--eigen 5]
                                                                       [--collective 10]

An open XYZ chain of spins 1/2 in unequal fields, without any symmetry, each spin decaying at the rate 1: of spin 0
⟨S+(τ) S-⟩ at 101 delays to τ = 10, its spectrum, and mean and variance of all jumps. QuTiP's functions are
correlation_2op_1t with its default tolerances (1e-8 absolute, 1e-6 relative; here the tolerance is 1e-7), spectrum with
the solver `solve` (a sparse solution at every frequency), up to --spectra sites, and `es` (all eigenvalues), up to
--eigen sites, and countstat_current_noise, which finds the third cumulant too. Seconds of CPU, from the model to the
result, the steady state included; the second of two runs here, for the first compiles. Printed: both, their ratio,
and the largest difference, relative to the largest value. --collective: equivalent spins, by the method permutation
against PIQS.
"""

import argparse
import time

import numpy as np

import hpcsim

DELAYS, TOLERANCE = np.linspace(0, 10, 101), 1e-7
FUNCTION = {"name": "light", "A": [["S+", 0]], "B": [["S-", 0]]}


def timed(call, *arguments):
    started = time.process_time()
    return call(*arguments), time.process_time() - started


def ours(sites: int, **method):
    model = {"name": "spin_network", "convention": "standard", "sites": sites, "periodic": False, "decay": 1.0}
    model |= {"Jx": 0.5, "Jy": 0.8, "Jz": 1.0, "field_x": 1.5, "field_z": [0.1 * i**2 for i in range(sites)]}
    return hpcsim.solve(model, {"name": "liouvillian"} | method)


def peer_model(sites: int):
    """H, jumps, and S-_0 of the same chain."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    x, y, z = (operator / 2 for operator in (qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()))
    H = sum(1.5 * at(x, i) + 0.1 * i**2 * at(z, i) for i in range(sites))
    for J, s in zip((0.5, 0.8, 1.0), (x, y, z)):
        H += sum(J * at(s, i) * at(s, i + 1) for i in range(sites - 1))
    jumps = [at(qutip.sigmam(), i) for i in range(sites)]
    return H, jumps, jumps[0]


def correlation(sites: int, _):
    import qutip

    def peer():
        H, jumps, down = peer_model(sites)
        return qutip.correlation_2op_1t(H, None, DELAYS, jumps, down.dag(), down)

    def here():
        found = ours(sites, task="correlation", times=DELAYS.tolist(), functions=[FUNCTION], tolerance=TOLERANCE)
        return found.light.values

    yield "correlation", here, peer


def spectrum(sites: int, arguments):
    import qutip

    omega = np.linspace(-6, 6, arguments.frequencies)

    def here():
        found = ours(sites, task="emission", frequencies=omega.tolist(), functions=[FUNCTION])
        return found.light.values

    limits = {"solve": arguments.spectra, "es": arguments.eigen}
    for solver in [name for name, most in limits.items() if sites <= most]:

        def peer(solver=solver):
            H, jumps, down = peer_model(sites)
            return qutip.spectrum(H, omega, jumps, down.dag(), down, solver=solver)

        yield f"spectrum {solver}", here, peer


def counting(sites: int, _):
    import qutip

    def peer():
        H, jumps, _ = peer_model(sites)
        L = qutip.liouvillian(H, jumps)
        rho = qutip.steadystate(H, jumps)
        J = [sum(qutip.sprepost(each, each.dag()) for each in jumps)]
        current, noise = qutip.countstat_current_noise(L, [], wlist=[0], rhoss=rho, J_ops=J)[:2]
        return np.real([np.ravel(current)[0], np.ravel(noise)[0]])

    def here():
        found = ours(sites, task="counting", channels=[{"name": "light", "jumps": "S-"}])
        return np.array([found.light.item(), found.light_variance.item()])

    yield "counting", here, peer


def collective(N: int):
    """The spectrum of Σ_i S-_i for equivalent spins, and ⟨S+(τ) S-⟩, by PIQS."""
    import qutip
    from qutip.piqs.piqs import Dicke, jspin

    couplings, omega = {"Jx": 0.6, "Jy": 1.2, "Jz": 1.0}, np.linspace(-6, 6, 101)
    functions = [{"name": "light", "A": {"sum": "S+"}, "B": {"sum": "S-"}}]

    def here(**method):
        model = {"name": "all_to_all_xyz", "N": N, "decay": 1.0} | couplings
        return hpcsim.solve(model, {"name": "permutation", "functions": functions} | method).light.values

    def peer(call, along, **options):
        J = dict(zip(couplings, jspin(N)))
        H = sum(2 * c / (N - 1) * J[name] ** 2 for name, c in couplings.items())
        L = Dicke(N, hamiltonian=H, emission=1.0).liouvillian()
        return call(L, *along, [], jspin(N, "+"), jspin(N, "-"), **options)

    yield (
        "piqs correlation",
        lambda: here(task="correlation", times=DELAYS.tolist(), tolerance=TOLERANCE),
        lambda: peer(qutip.correlation_2op_1t, (None, DELAYS)),
    )
    yield (
        "piqs spectrum",
        lambda: here(task="emission", frequencies=omega.tolist()),
        lambda: peer(qutip.spectrum, (omega,), solver="es"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, nargs="*", default=[4, 5, 6])
    parser.add_argument("--frequencies", type=int, default=101)
    parser.add_argument("--spectra", type=int, default=4)
    parser.add_argument("--eigen", type=int, default=5)
    parser.add_argument("--collective", type=int, nargs="*", default=[10])
    arguments = parser.parse_args()
    print("sites  what              here/s   QuTiP/s    ratio  difference")
    for sites in arguments.sites:
        for kind in (correlation, spectrum, counting):
            for case in kind(sites, arguments):
                compare(sites, *case)
    for sites in arguments.collective:
        for case in collective(sites):
            compare(sites, *case)


def compare(sites: int, name: str, here, peer):
    here()
    (found, mine), (wanted, theirs) = timed(here), timed(peer)
    difference = np.abs(found - wanted).max() / np.abs(wanted).max()
    print(f"{sites:5}  {name:16} {mine:7.2f} {theirs:9.2f} {theirs / mine:8.1f} {difference:11.1e}", flush=True)


if __name__ == "__main__":
    main()
