"""Exact Liouvillians: wall time and peak memory, against QuTiP with SciPy in the same run.

    python jobs/benchmarks/liouvillian.py                     # the small cases: minutes
    python jobs/benchmarks/liouvillian.py dimer40 dimer60     # chosen ones, see --list

Each measurement is a process of its own, on one core unless the case says otherwise. Its memory is the
peak resident size and its CPU time includes the imports, both of the largest rank; CPU times are compared, which
other work on the machine changes little. The gap of the dimer is that of g = gain = loss = 1, its hardest point.
Peers need qutip.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def dimer(S, **parameters):
    return {"name": "gain_loss_lattice", "S": S, "gain": 1, "loss": 1} | parameters


def solve(model, ranks_per_point=None, **method):
    """The gap, the antigap where there is one, and the estimated bytes of the largest record."""
    from mpi4py import MPI

    import hpcsim
    from hpcsim.run import config, plan

    comm = MPI.COMM_WORLD
    sections = {"model": model, "method": {"name": "liouvillian"} | method}
    data = hpcsim.solve(**sections, run={"ranks_per_point": ranks_per_point or comm.size}, comm=comm)
    planned = plan.plan(config.resolve(sections))
    return {
        "gap": float(data.gap),
        "antigap": float(data.get("antigap", "nan")),
        "estimate_GB": planned.bytes.max() / 1e9,
        "sectors": planned.numbering.records,
    }


def ours_dimer(S, sectors="all", **petsc_options):
    return solve(dimer(S), task="gap", sectors=sectors, petsc_options=petsc_options)


def ours_shared(S, sectors="all", **petsc_options):
    """Each rank solves sectors of its own."""
    return solve(dimer(S), 1, task="gap", sectors=sectors, petsc_options=petsc_options)


def ours_sector(S, k, **petsc_options):
    return solve(dimer(S), task="gap", sectors=[k], petsc_options=petsc_options)


def ours_antigap(N):
    return solve({"name": "all_to_all_xyz", "N": N, "Jx": 0.6, "Jy": 1.4, "Jz": 1, "decay": 1}, task="antigap")


def ours_evolution(S):
    import hpcsim

    method = {"name": "liouvillian", "task": "evolve", "times": [0, 2, 4, 6, 8, 10], "initial": [1, 0]}
    data = hpcsim.solve(model={"name": "collective_spin", "S": S, "drive": 2, "decay": 1}, method=method)
    return {"gap": float(data.Sz.squeeze()[-1])}


def qutip_dimer(S):
    """The whole Liouvillian by QuTiP, its gap by SciPy's shift-invert."""
    import qutip
    from scipy.sparse.linalg import eigs

    unit = qutip.qeye(int(2 * S + 1))
    up_a, down_b = qutip.tensor(qutip.jmat(S, "+"), unit), qutip.tensor(unit, qutip.jmat(S, "-"))
    H = (up_a * down_b + (up_a * down_b).dag()) / (2 * S)
    L = qutip.liouvillian(H, [S**-0.5 * up_a, S**-0.5 * down_b]).data.as_scipy().tocsc()
    values = eigs(L, k=6, sigma=0.02, return_eigenvectors=False)
    return {"gap": float(sorted(-values.real)[1])}


def qutip_ends(N):
    """Both ends of the spectrum of the whole Liouvillian by QuTiP and ARPACK."""
    import qutip
    from scipy.sparse.linalg import eigs

    one, terms = [qutip.qeye(2)] * N, 0

    def at(i, operator):
        return qutip.tensor(one[:i] + [operator] + one[i + 1 :])

    for J, operator in ((0.6, qutip.sigmax()), (1.4, qutip.sigmay()), (1.0, qutip.sigmaz())):
        each = [at(i, operator) for i in range(N)]
        total = sum(each)
        terms += J / (2 * (N - 1)) * (total * total)  # a constant more
    L = qutip.liouvillian(terms, [at(i, qutip.sigmam()) for i in range(N)]).data.as_scipy().tocsr()
    low = eigs(L, k=4, which="LR", tol=1e-8, return_eigenvectors=False)
    high = eigs(L, k=4, which="SR", tol=1e-8, return_eigenvectors=False)
    return {"gap": float(sorted(-low.real)[1]), "antigap": float(sorted(high.real)[1] + N)}


def qutip_evolution(S):
    import numpy as np
    import qutip

    H, decay = 2 * qutip.jmat(S, "x"), S**-0.5 * qutip.jmat(S, "-")
    down = qutip.basis(int(2 * S + 1), int(2 * S))
    done = qutip.mesolve(
        H,
        qutip.ket2dm(down),
        np.linspace(0, 10, 6),
        [decay],
        [qutip.jmat(S, "z")],
        options={"rtol": 1e-9, "atol": 1e-9, "nsteps": 1000000, "method": "bdf"},
    )
    return {"gap": float(done.expect[0][-1])}


# name: (what, [(label, ranks, function, arguments)])
CASES = {
    "dimer10": (
        "gap of the dimer, S = 10, all sectors",
        [("hpcsim", 1, "ours_dimer", [10]), ("QuTiP + SciPy", 1, "qutip_dimer", [10])],
    ),
    "dimer13": (
        "gap of the dimer, S = 13, all sectors",
        [
            ("hpcsim", 1, "ours_dimer", [13]),
            ("hpcsim", 2, "ours_shared", [13]),
            ("hpcsim, k = 0 and 1 only", 1, "ours_dimer", [13, [0, 1]]),
            ("QuTiP + SciPy", 1, "qutip_dimer", [13]),
        ],
    ),
    "dimer40": ("S = 40, sectors of k = 0", [("hpcsim", 1, "ours_sector", [40, 0])]),
    "dimer60": ("S = 60, all sectors of k = 0 and 1", [("hpcsim", 2, "ours_shared", [60, [0, 1]])]),
    "dimer80": (
        "S = 80, all sectors of k = 0 and 1",
        [("hpcsim, factors on disk", 2, "ours_shared", [80, [0, 1], {"st_mat_mumps_icntl_22": 1}])],
    ),
    "dimer100": (
        "S = 100, sectors of k = 1",
        [("hpcsim, factors on disk", 1, "ours_sector", [100, 1, {"st_mat_mumps_icntl_22": 1}])],
    ),
    "factors": (
        "S = 40, sectors of k = 1",
        [
            (label, 1, "ours_sector", [40, 1, options])
            for label, options in (
                ("hpcsim", {}),
                ("factors on disk", {"st_mat_mumps_icntl_22": 1}),
                (
                    "low rank 1e-6, refined",
                    {
                        "st_mat_mumps_icntl_35": 2,
                        "st_mat_mumps_cntl_7": 1e-6,
                        "st_ksp_type": "gmres",
                        "st_ksp_rtol": 1e-12,
                    },
                ),
            )
        ],
    ),
    "ends8": (
        "gap and antigap of 8 all-to-all spins",
        [("hpcsim", 1, "ours_antigap", [8]), ("QuTiP + ARPACK", 1, "qutip_ends", [8])],
    ),
    "ends10": (
        "gap and antigap of 10 all-to-all spins",
        [("hpcsim", 1, "ours_antigap", [10]), ("QuTiP + ARPACK", 1, "qutip_ends", [10])],
    ),
    "ends12": ("gap and antigap of 12 all-to-all spins", [("hpcsim", 2, "ours_antigap", [12])]),
    "evolution": (
        "driven spin, S = 40, to Γt = 10",
        [("hpcsim", 1, "ours_evolution", [40]), ("QuTiP mesolve", 1, "qutip_evolution", [40])],
    ),
    "ranks": ("S = 40, k = 0, on ranks", [("hpcsim", n, "ours_sector", [40, 0]) for n in (1, 2)]),
    "ends_ranks": ("gap and antigap of 9 spins, on ranks", [("hpcsim", n, "ours_antigap", [9]) for n in (1, 2)]),
}
SMALL = ("dimer10", "ends8", "evolution", "dimer40")


def child(name, arguments):
    """Runs in the measured process: one line of JSON from rank 0; memory is that of the largest rank."""
    began = time.time()
    options = arguments.pop() if isinstance(arguments[-1], dict) else {}
    result = globals()[name](*arguments, **options)
    used = resource.getrusage(resource.RUSAGE_SELF)
    costs = {"seconds": time.time() - began, "cpu": used.ru_utime + used.ru_stime, "GB": used.ru_maxrss / 1e6}
    if name.startswith("ours"):
        from mpi4py import MPI

        costs = {key: MPI.COMM_WORLD.allreduce(value, MPI.MAX) for key, value in costs.items()}
        if MPI.COMM_WORLD.rank:
            return
    print(json.dumps(result | costs))


def measure(ranks, name, arguments):
    command = [sys.executable, __file__, "--child", name, json.dumps(arguments)]
    if ranks > 1:
        command = ["mpirun", "-n", str(ranks), *command]
    environment = os.environ | ONE_THREAD
    if os.geteuid() == 0:
        environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--list", action="store_true", help="say what each case is")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        return child(given.child[0], json.loads(given.child[1]))
    if unknown := set(given.cases) - CASES.keys():
        parser.error(f"unknown case {', '.join(unknown)}; known: {', '.join(CASES)}")
    if given.list:
        for name, (what, _) in CASES.items():
            print(f"{name:12} {what}")
        return None
    print(
        "| case | program | ranks | seconds | CPU seconds | GB per rank | CPU time of the first | gap or ⟨Sz⟩ "
        "| antigap |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for case in given.cases or SMALL:
        what, runs = CASES[case]
        first = None
        for label, ranks, name, arguments in runs:
            r = measure(ranks, name, arguments)
            if "error" in r:
                print(f"| {what} | {label} | {ranks} | failed: {r['error']} |", flush=True)
                continue
            first = first or r["cpu"]
            print(
                f"| {what} | {label} | {ranks} | {r['seconds']:.1f} | {r['cpu']:.1f} | {r['GB']:.2f} "
                f"| {r['cpu'] / first:.2f} x | {r['gap']:.8f} | {r.get('antigap', float('nan')):.8f} |",
                flush=True,
            )
    return None


if __name__ == "__main__":
    sys.exit(main())
