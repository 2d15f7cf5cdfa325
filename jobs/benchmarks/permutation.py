"""All-to-all spins 1/2 against the permutation solver of QuTiP (PIQS), and how far this program goes.

    .venv/bin/python jobs/benchmarks/permutation.py [--piqs 50 70] [--component 50] [--sizes 50 70 95] [--gaps 95]
                                                    [--directs 70 95] [--sweeps 95]

Every line is a process of its own: huybrechts2020's model at Jx = 0.6, Jy = 1.2, Jz = 1, local decay 1, from its
couplings to the observables. Printed: seconds of CPU without start-up and imports, and of the whole process; wall
time; the peak memory of the whole process; and Sxx and Mz of the two-spin and one-spin correlators. Ours include the
entropy; PIQS's do not. Then the ratios for the sizes that both did.

piqs       qutip.steadystate of PIQS's Liouvillian (pip install qutip); 4 GB for N = 70
component  the fastest route with that matrix: SuperLU on the elements of ρ that the populations connect to; N = 95
           takes minutes and 6 GB
ours       `--sizes 200` takes seconds and 1 GB
direct     the same by a factorisation: N = 200 takes minutes and 8 GB
gap        both sectors of the parity
sweep      20 points in Jy by factorisation, seconds per point: its symbolic part is done once
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

COUPLINGS = {"Jx": 0.6, "Jy": 1.2, "Jz": 1.0}
FIGURES = ("cpu", "process", "wall", "GB")


def solved(N: int, couplings=COUPLINGS, **method):
    import hpcsim

    return hpcsim.solve(
        model={"name": "all_to_all_xyz", "N": N, "decay": 1.0} | couplings, method={"name": "permutation"} | method
    )


def ours(N: int, solver: str = "auto") -> dict:
    solved(8, solver=solver)  # compiles
    clock = start()
    data = solved(N, solver=solver)
    return stop(clock) | {name: float(data[name]) for name in ("Sxx", "Mz", "entropy", "trace_error")}


def direct(N: int) -> dict:
    return ours(N, "direct")


def gap(N: int) -> dict:
    clock = start()
    data = solved(N, task="spectrum")
    return stop(clock) | {name: float(data[name]) for name in ("gap_even", "gap_odd", "certificate")}


def piqs(N: int) -> dict:
    import qutip
    from qutip.piqs.piqs import Dicke, jspin

    clock = start()
    J = dict(zip(("Jx", "Jy", "Jz"), jspin(N)))
    H = sum(2 * c / (N - 1) * J[name] ** 2 for name, c in COUPLINGS.items())
    rho = qutip.steadystate(Dicke(N, hamiltonian=H, emission=1.0).liouvillian(), method="direct")
    x2, z = (qutip.expect(operator, rho) for operator in (J["Jx"] ** 2, J["Jz"]))
    return stop(clock) | {"Sxx": (4 * x2 - N) / (N * (N - 1)), "Mz": 2 * z / N}


def component(N: int) -> dict:
    from qutip.piqs.piqs import Dicke, jspin
    from scipy import sparse
    from scipy.sparse import csgraph, linalg

    clock = start()
    J = dict(zip(("Jx", "Jy", "Jz"), jspin(N)))
    H = sum(2 * c / (N - 1) * J[name] ** 2 for name, c in COUPLINGS.items())
    L = Dicke(N, hamiltonian=H, emission=1.0).liouvillian().data.as_scipy().tocsr()
    size = int(round(L.shape[0] ** 0.5))
    _, label = csgraph.connected_components(L, connection="weak")
    diagonal = np.arange(size) * (size + 1)
    kept = np.flatnonzero(np.isin(label, label[diagonal]))
    matrix = L[kept][:, kept].tolil()
    matrix[0] = np.isin(kept, diagonal)
    state = np.zeros(L.shape[0], complex)
    state[kept] = linalg.splu(sparse.csc_matrix(matrix)).solve(np.eye(1, len(kept))[0].astype(complex))
    rho = sparse.csr_matrix(state.reshape(size, size, order="F"))
    x2, z = ((operator.data.as_scipy() @ rho).trace().real for operator in (J["Jx"] ** 2, J["Jz"]))
    return stop(clock) | {"unknowns": len(kept), "Sxx": (4 * x2 - N) / (N * (N - 1)), "Mz": 2 * z / N}


def sweep(N: int, points: int = 20) -> dict:
    """Seconds of a point in a sweep of this many, and of one alone."""
    import hpcsim

    solved(N, solver="direct")  # compiles
    seconds = []
    for values in [1.0], np.linspace(1.0, 1.8, points):
        clock = time.process_time()
        model = {"name": "all_to_all_xyz", "N": N, "decay": 1.0} | COUPLINGS
        method = {"name": "permutation", "solver": "direct"}
        hpcsim.solve(model=model, method=method, sweep={"model.Jy": values})
        seconds.append((time.process_time() - clock) / len(values))
    return stop((0.0, time.time() - sum(seconds))) | {"alone": seconds[0], "in a sweep": seconds[1]}


def start():
    return time.process_time(), time.time()


def stop(clock) -> dict:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    used = time.process_time()
    return {"cpu": used - clock[0], "process": used, "wall": time.time() - clock[1], "GB": peak}


def alone(what: str, N: int) -> dict:
    """Run one case in its own process; prints its line."""
    command = [sys.executable, __file__, "--one", what, str(N)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        print(f"{what:9} N = {N:4}  failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return {}
    found = json.loads(done.stdout.splitlines()[-1])
    values = "  ".join(f"{key} {value:.9g}" for key, value in found.items() if key not in FIGURES)
    print(
        f"{what:9} N = {N:4}  {found['cpu']:8.2f} s CPU ({found['process']:.2f} s with imports) "
        f"{found['wall']:8.2f} s wall {found['GB']:6.3f} GB  {values}",
        flush=True,
    )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--piqs", nargs="*", type=int, default=[50, 70])
    parser.add_argument("--component", nargs="*", type=int, default=[50])
    parser.add_argument("--sizes", nargs="*", type=int, default=[50, 70, 95])
    parser.add_argument("--directs", nargs="*", type=int, default=[70, 95])
    parser.add_argument("--gaps", nargs="*", type=int, default=[95])
    parser.add_argument("--sweeps", nargs="*", type=int, default=[95])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, N = arguments.one
        cases = {"ours": ours, "direct": direct, "gap": gap, "sweep": sweep, "piqs": piqs, "component": component}
        print(json.dumps(cases[what](int(N))))
        return
    mine = {N: alone("ours", N) for N in arguments.sizes}
    for what in ("direct", "gap", "sweep"):
        for N in getattr(arguments, what + "s"):
            alone(what, N)
    for what in ("piqs", "component"):
        for N in getattr(arguments, what):
            _compare(what, N, alone(what, N), mine.get(N))


def _compare(what: str, N: int, theirs: dict, mine: dict | None):
    if theirs and mine:
        ratio = {name: theirs[name] / mine[name] for name in FIGURES}
        print(
            f"    {what} N = {N}: {ratio['cpu']:.0f} times the CPU time ({ratio['process']:.0f} times with imports), "
            f"{ratio['GB']:.1f} times the memory; Sxx differs by {abs(theirs['Sxx'] - mine['Sxx']):.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
