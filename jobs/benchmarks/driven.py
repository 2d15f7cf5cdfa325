"""Time evolution under a drive: this program against QuTiP's mesolve with a time-dependent coefficient, on one core.

    pip install qutip
    OMP_NUM_THREADS=1 .venv/bin/python jobs/benchmarks/driven.py [--sites 6 7 8] [--frequency 2]

Periodic XYZ chain of spins 1/2 with local decay, Jx, Jy, Jz = 0.9, 1.2, 1.0 in units of γ (H = ½ Σ_bonds J σσ), in a
field cos(ω t) along x, all spins up at t = 0, to t = 5/γ with ⟨Sx⟩ at six times. Both run in turn on the same core, by
CPU time. mesolve has a QobjEvo with a Python function and its default tolerances, 1e-8 absolute and 1e-6 relative; here
the tolerance is 1e-7. Printed: seconds of both, their ratio, the largest difference of ⟨Sx⟩; the errors
of both for the fewest sites, against mesolve with the tolerances 1e-12 and 1e-10; and what a drive costs: the seconds
here over those of the constant field 1, by Krylov spaces and by a Taylor series. The second of two runs counts.
"""

import argparse
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


def of_qutip(sites: int, frequency: float, **tolerances):
    """The same by mesolve."""
    import qutip

    def at(operator, i):
        return qutip.tensor([operator if j == i else qutip.qeye(2) for j in range(sites)])

    pauli = zip((qutip.sigmax(), qutip.sigmay(), qutip.sigmaz()), J.values())
    H = sum(0.5 * c * sum(at(s, i) * at(s, (i + 1) % sites) for i in range(sites)) for s, c in pauli)
    Sx, up = sum(at(qutip.sigmax(), i) for i in range(sites)) / 2, qutip.tensor([qutip.basis(2, 0)] * sites)
    decays = [at(qutip.sigmam(), i) for i in range(sites)]
    started = time.process_time()
    evolution = qutip.QobjEvo([H, [Sx, lambda t: np.cos(frequency * t)]])
    options = {"nsteps": 10**6, **tolerances}
    found = qutip.mesolve(evolution, up, TIMES, decays, e_ops=[Sx / sites], options=options)
    return np.array(found.expect[0]), time.process_time() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, nargs="+", default=[6, 7, 8])
    parser.add_argument("--frequency", type=float, default=2.0)
    arguments = parser.parse_args()
    drive = {"function": f"cos({arguments.frequency}*t)"}
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
