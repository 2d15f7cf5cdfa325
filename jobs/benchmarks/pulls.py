#!/usr/bin/env python3
"""Whether the standard errors of the ensembles are honest: pulls (value - exact)/error over many seeds.

    python jobs/benchmarks/pulls.py [SEEDS]

Quantum trajectories of two driven spins 1/2 with decay, against the density matrix; the phase-space method on a spin
with a field and dephasing, for which it is exact. Every output that has an exact value, nonlinear ones too. The pulls
have the mean 0 and, with n records, the variance (n - 1)/(n - 3) of Student's t.
"""

import sys

import numpy as np
import scipy.linalg

import hpcsim
from hpcsim import observables
from hpcsim.models import collective_spin, xyz_lattice
from hpcsim.observables.matrices import operator
from hpcsim.system import angles, coherent_state, matrices

RECORDS, TIMES, INITIAL = 32, (0.7, 1.5), (0.3, 0.2)
CASES = {
    "trajectories": (
        xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.9, Jy=1.7, Jz=0.4, decay=0.8)),
        dict(batch=8, observables=("squeezing", "correlation", "structure_factor", "Sx_0_Sy_1")),
    ),
    "phase_space": (
        collective_spin.build(collective_spin.Params(S=4, drive=0.8, dephasing=0.3)),
        dict(batch=32, observables=("squeezing",), dt=0.05),
    ),
}


def exact(system, items, initial) -> dict[str, np.ndarray]:
    """{output: array (*dims, time)} from the density matrix."""
    plan = observables.plan(system, (*observables.DEFAULT, *items), (observables.Dim("time", TIMES),))
    liouvillian = matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()
    psi = coherent_state(system.levels, angles(system, initial))
    start, values = np.outer(psi, psi.conj()).ravel("F"), {}
    states = [(scipy.linalg.expm(liouvillian * t) @ start).reshape(len(psi), -1, order="F") for t in TIMES]
    for name, mean in plan.means.items():
        values[name] = np.full((*mean.shape, len(TIMES)), np.nan)
        for index, element in np.ndenumerate(mean.elements):
            if element is not None:
                one = operator(system, element)
                values[name][index] = [np.trace(one @ rho).real for rho in states]
    return plan.finish(values)


def pulls(case: str, seeds: int, records: int = RECORDS, **more) -> dict[str, np.ndarray]:
    """{output: (seeds, *dims, time)}; more: options of the method, batch for example."""
    system, extra = CASES[case]
    extra = extra | more
    options = (
        dict(name=case, task="evolve", times=TIMES, initial=INITIAL, trajectories=records * extra["batch"]) | extra
    )
    wanted, found = exact(system, extra["observables"], INITIAL), {}
    for seed in range(seeds):
        data = hpcsim.solve(system, options, run={"seed": seed})
        for name in wanted.keys() & data.keys():
            value, error = data[name].values, data[f"{name}_stderr"].values
            with np.errstate(divide="ignore", invalid="ignore"):
                pull = (value - wanted[name]) / error
            found.setdefault(name, []).append(np.where(error > 1e-12, pull, np.nan))
    return {name: np.array(values) for name, values in found.items()}


def main(seeds: int):
    expected = (RECORDS - 1) / (RECORDS - 3)
    print(f"{seeds} seeds of {RECORDS} records: expected mean 0, variance {expected:.3f}")
    for case in CASES:
        for name, pull in pulls(case, seeds).items():
            flat = pull.reshape(seeds, -1)
            flat = flat[:, np.isfinite(flat).all(axis=0)]
            if flat.size:
                mean, variance = flat.mean(axis=0), flat.var(axis=0, ddof=1)
                worst = np.abs(mean).max() * np.sqrt(seeds / expected)
                print(
                    f"{case:13} {name:22} largest mean {worst:.1f} of its error; variance {variance.mean():.2f} "
                    f"({variance.min():.2f} to {variance.max():.2f}) of {flat.shape[1]} elements"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
