"""Time evolution under a drive: this program against QuTiP's mesolve with a time-dependent coefficient, on one core.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/driven.py [--sites 6 7 8] [--frequency 2]

Periodic XYZ chain of spins 1/2 with local decay, Jx, Jy, Jz = 0.9, 1.2, 1.0 in units of γ (H = ½ Σ_bonds J σσ), in a
field cos(ω t) along x, all spins up at t = 0, to t = 5/γ with ⟨Sx⟩ at six times. Both run in turn on the same core, by
CPU time. mesolve has a QobjEvo with a Python function and its default tolerances, 1e-8 absolute and 1e-6 relative; here
the tolerance is 1e-7. Printed: seconds of both, their ratio, the largest difference of ⟨Sx⟩; the errors
of both for the fewest sites, against mesolve with the tolerances 1e-12 and 1e-10; and what a drive costs: the seconds
here over those of the constant field 1, by Krylov spaces and by a Taylor series. The second of two runs counts.

With --trajectories N the same by the method trajectories with N of them, against QuTiP's mcsolve with the same
time-dependent coefficient and its default tolerances: seconds of both for each trajectory, their ratio, the difference
of ⟨Sx⟩ at the last time in standard errors, and what a drive costs here.

With --methods the cost of a drive in every method that takes one: CPU seconds of evolutions in the field
1 + a cos(ω t) along x and in the field 1, in turn, the medians of --repeat runs of each, and their ratio. The amplitude
a is 1/2. From each the seconds to 1/100 of its time are taken off: planning, and building the system at a few values of
the field. For mean field and the Gaussian theory, whose steps adapt to the solution, a is so small that they take the
same steps with and without the drive.
"""

import argparse
import logging
import time

import numpy as np

import hpcsim

J = dict(Jx=0.9, Jy=1.2, Jz=1.0)
TOLERANCE = 1e-7
TIMES = [float(t) for t in range(6)]


def ours(sites: int, field, integrator: str = "krylov"):
    """⟨Sx⟩ at TIMES, and CPU seconds; field: a number, or a function of time."""
    model = {"name": "spin_network", "convention": "standard", "sites": sites, "decay": 1.0}
    model |= {key: 2 * value for key, value in J.items()}
    in_time = isinstance(field, dict)
    model, schedule = (model, {"model.field_x": field}) if in_time else (model | {"field_x": field}, None)
    method = {"name": "liouvillian", "task": "evolve", "initial": [0, 0], "times": TIMES, "integrator": integrator}
    method |= {"tolerance": TOLERANCE}
    started = time.process_time()
    found = hpcsim.solve(model, method, schedule=schedule)
    return found.Sx.values.ravel(), time.process_time() - started


def of_chain(sites: int):
    """H, Σ Sx, the state with all spins up and the jump operators, of QuTiP."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    pauli = zip((qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()), J.values())
    H = sum(0.5 * c * sum(at(s, i) * at(s, (i + 1) % sites) for i in range(sites)) for s, c in pauli)
    Sx, up = sum(at(qutip.sigmax(), i) for i in range(sites)) / 2, qutip.tensor([qutip.basis(2, 0)] * sites)
    return H, Sx, up, [at(qutip.sigmam(), i) for i in range(sites)]


def of_qutip(sites: int, frequency: float, **tolerances):
    """The same by mesolve."""
    import qutip

    H, Sx, up, decays = of_chain(sites)
    started = time.process_time()
    evolution = qutip.QobjEvo([H, [Sx, lambda t: np.cos(frequency * t)]])
    options = {"nsteps": 10**6, **tolerances}
    found = qutip.mesolve(evolution, up, TIMES, decays, e_ops=[Sx / sites], options=options)
    return np.array(found.expect[0]), time.process_time() - started


def by_trajectories(sites: int, field, count: int):
    """⟨Sx⟩ at the last time, its standard error, and CPU seconds; field: as of `ours`."""
    model = {"name": "spin_network", "convention": "standard", "sites": sites, "decay": 1.0}
    model |= {key: 2 * value for key, value in J.items()}
    in_time = isinstance(field, dict)
    model, schedule = (model, {"model.field_x": field}) if in_time else (model | {"field_x": field}, None)
    method = {"name": "trajectories", "task": "evolve", "initial": [0, 0], "times": TIMES}
    method |= {"trajectories": count, "batch": count // 2}
    started = time.process_time()
    found = hpcsim.solve(model, method, schedule=schedule)
    seconds = time.process_time() - started
    return float(found.Sx.values.ravel()[-1]), float(found.Sx_stderr.values.ravel()[-1]), seconds


def by_mcsolve(sites: int, frequency: float, count: int):
    """The same by QuTiP."""
    import qutip

    H, Sx, up, decays = of_chain(sites)
    evolution = qutip.QobjEvo([H, [Sx, lambda t: np.cos(frequency * t)]])
    options = {"progress_bar": "", "map": "serial", "keep_runs_results": False}
    started = time.process_time()
    found = qutip.mcsolve(evolution, up, TIMES, decays, e_ops=[Sx / sites], ntraj=count, options=options)
    seconds = time.process_time() - started
    return found.expect[0][-1], found.std_expect[0][-1] / np.sqrt(count), seconds


def compare_trajectories(arguments, drive):
    """Print the table of --trajectories."""
    count = arguments.trajectories
    by_trajectories(3, drive, 2), by_trajectories(3, 1.0, 2)  # compile
    print("sites  here/s  mcsolve/s  ratio  difference/stderr  drive/constant   (seconds for each trajectory)")
    for sites in arguments.sites:
        (x, dx, here), (_, _, still) = by_trajectories(sites, drive, count), by_trajectories(sites, 1.0, count)
        few = max(2, count // 16)
        y, dy, there = by_mcsolve(sites, arguments.frequency, few)
        ratio = there / few / (here / count)
        print(
            f"{sites:5} {here / count:7.4f} {there / few:10.4f} {ratio:6.1f} {abs(x - y) / np.hypot(dx, dy):18.2f} "
            f"{here / still:15.2f}",
            flush=True,
        )


CHAIN = {"name": "spin_network", "convention": "standard", "decay": 1.0, "Jx": 1.8, "Jy": 2.4, "Jz": 2.0}
EQUAL = {"name": "all_to_all_xyz", "Jx": 1.8, "Jy": 2.4, "Jz": 2.0, "decay": 1.0}
LARGE = CHAIN | {"S": 20, "convention": "huber2021"}
PHASE_SPACE = {"name": "phase_space", "dt": 0.005, "trajectories": 256}
CASES = {  # label: model, method, the last of the times, amplitude
    "liouvillian, Krylov": (CHAIN | {"sites": 10}, {"name": "liouvillian", "integrator": "krylov"}, 3, 0.5),
    "liouvillian, Taylor": (CHAIN | {"sites": 10}, {"name": "liouvillian", "integrator": "taylor"}, 3, 0.5),
    "permutation, Krylov": (EQUAL | {"sites": 60}, {"name": "permutation", "integrator": "krylov"}, 5, 0.5),
    "permutation, Taylor": (EQUAL | {"sites": 60}, {"name": "permutation", "integrator": "taylor"}, 5, 0.5),
    "trajectories": (CHAIN | {"sites": 8}, {"name": "trajectories", "trajectories": 512, "batch": 256}, 5, 0.5),
    "trajectories, large": (CHAIN | {"sites": 12}, {"name": "trajectories", "trajectories": 32, "batch": 16}, 5, 0.5),
    "phase space, eo": (LARGE | {"sites": 64}, PHASE_SPACE, 5, 0.5),
    "phase space, sib": (LARGE | {"sites": 64}, PHASE_SPACE | {"integrator": "sib"}, 5, 0.5),
    "phase space, pda": (LARGE | {"sites": 64}, PHASE_SPACE | {"scheme": "pda"}, 5, 0.5),
    "mean field": (CHAIN | {"sites": 1000}, {"name": "mean_field", "initial": "random"}, 2000, 1e-5),
    "mean field, clusters": (CHAIN | {"sites": 12}, {"name": "mean_field", "cluster": 6}, 20, 1e-5),
    "gaussian": (LARGE | {"sites": 64}, {"name": "gaussian"}, 10, 1e-5),
}


def seconds(model, method, last, field) -> float:
    """CPU seconds of one evolution, less those of a hundredth of it; field: as of `ours`."""
    in_time = isinstance(field, dict)
    model, schedule = (model, {"model.field_x": field}) if in_time else (model | {"field_x": field}, None)
    method, found = {"task": "evolve", "initial": [0.3, 0.2]} | method, []
    for until in (last, last / 100):
        started = time.process_time()
        hpcsim.solve(model, method | {"times": [until / 2, until]}, schedule=schedule)
        found.append(time.process_time() - started)
    return found[0] - found[1]


def compare_methods(arguments):
    """Print the table of --methods."""
    logging.disable()  # what phase_space leaves out
    print("method                  drive/s  constant/s  ratio")
    for label, (model, method, last, amplitude) in CASES.items():
        if not any(word in label for word in arguments.methods or [""]):
            continue
        drive = {"function": f"1 + {amplitude}*cos({arguments.frequency}*t)"}
        runs = [[seconds(model, method, last, field) for field in (drive, 1.0)] for _ in range(1 + arguments.repeat)]
        driven, still = np.median(runs[1:], axis=0)  # the first compiles
        print(f"{label:22} {driven:8.3f} {still:11.3f} {driven / still:6.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[6, 7, 8])
    parser.add_argument("--frequency", type=float, default=2.0)
    parser.add_argument("--trajectories", type=int, metavar="N")
    parser.add_argument("--methods", nargs="*", metavar="WORD", help="of the labels of cases; all without one")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    drive = {"function": f"cos({arguments.frequency}*t)"}
    if arguments.methods is not None:
        compare_methods(arguments)
    elif arguments.trajectories:
        compare_trajectories(arguments, drive)
    else:
        compare_evolutions(arguments, drive)


def compare_evolutions(arguments, drive):
    """Print the table of the master equation."""
    ours(3, drive)  # compiles
    print("sites  here/s  mesolve/s  ratio  difference  drive/Krylov  drive/Taylor")
    reference = of_qutip(arguments.sites[0], arguments.frequency, atol=1e-12, rtol=1e-10)[0]
    for sites in arguments.sites:
        (found, here), (peer, there) = [ours(sites, drive) for _ in range(2)][1], of_qutip(sites, arguments.frequency)
        krylov, taylor = ([ours(sites, 1.0, name)[1] for _ in range(2)][1] for name in ("krylov", "taylor"))
        print(
            f"{sites:5} {here:7.2f} {there:10.2f} {there / here:6.1f} {np.abs(found - peer).max():11.1e} "
            f"{here / krylov:13.2f} {here / taylor:13.2f}",
            flush=True,
        )
        if sites == arguments.sites[0]:
            errors = (np.abs(each - reference).max() for each in (found, peer))
            print(
                "      errors of ⟨Sx⟩ against tight tolerances: here {:.1e}, mesolve {:.1e}".format(*errors), flush=True
            )


if __name__ == "__main__":
    main()
