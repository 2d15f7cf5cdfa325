"""All-to-all spins 1/2 against the permutation solver of QuTiP (PIQS), and how far this program goes.

    .venv/bin/python jobs/benchmarks/permutation.py [--piqs 50 70] [--sizes 50 70 95] [--gaps 95]

Every line is a process of its own: huybrechts2020's model at Jx = 0.6, Jy = 1.2, Jz = 1, local decay 1, from its
couplings to the observables. Printed: seconds of CPU and of wall time without start-up and imports, the peak
memory of the whole process, and Sxx and Mz of the two-spin and one-spin correlators. Ours include the entropy;
PIQS's do not. Then the ratios for the sizes that both did. PIQS (pip install qutip) needs 4 GB for N = 70.
`--sizes 200` takes about 10 GB.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import time

COUPLINGS = {"Jx": 0.6, "Jy": 1.2, "Jz": 1.0}


def ours(N: int) -> dict:
    from mpi4py import MPI

    from hpcsim.methods import Context, permutation
    from hpcsim.models import all_to_all_xyz

    def compute(N):
        system = all_to_all_xyz.build(all_to_all_xyz.Params(N=N, decay=1.0, **COUPLINGS))
        options = permutation.Options()
        context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
        return permutation.run(system, options, permutation.records(system, options)[0], context)

    compute(8)      # compiles
    clock = start()
    results = compute(N)
    return stop(clock) | {name: float(results[name]) for name in ("Sxx", "Mz", "entropy", "trace_error")}


def gap(N: int) -> dict:
    from mpi4py import MPI

    from hpcsim.methods import Context, permutation
    from hpcsim.models import all_to_all_xyz

    context = Context(MPI.COMM_SELF, (0, 0), lambda: False)
    system = all_to_all_xyz.build(all_to_all_xyz.Params(N=N, decay=1.0, **COUPLINGS))
    options = permutation.Options(task="spectrum")
    clock = start()
    gaps = [permutation.run(system, options, record, context)["gap"] for record in (1, -1)]
    return stop(clock) | {"gap_even": float(gaps[0]), "gap_odd": float(gaps[1])}


def piqs(N: int) -> dict:
    import qutip
    from qutip.piqs.piqs import Dicke, jspin

    clock = start()
    J = dict(zip(("Jx", "Jy", "Jz"), jspin(N)))
    H = sum(2 * c / (N - 1) * J[name]**2 for name, c in COUPLINGS.items())
    rho = qutip.steadystate(Dicke(N, hamiltonian=H, emission=1.0).liouvillian(), method="direct")
    x2, z = (qutip.expect(operator, rho) for operator in (J["Jx"]**2, J["Jz"]))
    return stop(clock) | {"Sxx": (4 * x2 - N) / (N * (N - 1)), "Mz": 2 * z / N}


def start():
    return time.process_time(), time.time()


def stop(clock) -> dict:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"cpu": time.process_time() - clock[0], "wall": time.time() - clock[1], "GB": peak}


def alone(what: str, N: int) -> dict:
    """Run one case in its own process; prints its line."""
    command = [sys.executable, __file__, "--one", what, str(N)]
    done = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    if done.returncode:
        print(f"{what:5} N = {N:4}  failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return {}
    found = json.loads(done.stdout.splitlines()[-1])
    values = "  ".join(f"{key} {value:.9g}" for key, value in found.items() if key not in ("cpu", "wall", "GB"))
    print(f"{what:5} N = {N:4}  {found['cpu']:8.2f} s CPU {found['wall']:8.2f} s wall {found['GB']:6.2f} GB  {values}",
          flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--piqs", nargs="*", type=int, default=[50, 70])
    parser.add_argument("--sizes", nargs="*", type=int, default=[50, 70, 95])
    parser.add_argument("--gaps", nargs="*", type=int, default=[95])
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        what, N = arguments.one
        print(json.dumps({"ours": ours, "gap": gap, "piqs": piqs}[what](int(N))))
        return
    mine = {N: alone("ours", N) for N in arguments.sizes}
    theirs = {N: alone("piqs", N) for N in arguments.piqs}
    for N in arguments.gaps:
        alone("gap", N)
    for N in sorted(mine.keys() & theirs.keys()):
        if mine[N] and theirs[N]:
            a, b = theirs[N], mine[N]
            print(f"N = {N}: {a['cpu'] / b['cpu']:.0f} times faster (CPU), {a['GB'] / b['GB']:.1f} times less memory, "
                  f"Sxx differs by {abs(a['Sxx'] - b['Sxx']):.1e}", flush=True)


if __name__ == "__main__":
    main()
