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
from mpi4py import MPI

from hpcsim import observables
from hpcsim.methods import Cache, Context, phase_space, trajectories
from hpcsim.models import collective_spin, xyz_lattice
from hpcsim.observables.matrices import operator
from hpcsim.system import angles, coherent_state, matrices

RECORDS, TIMES = 32, (0.7, 1.5)
CASES = {
    "trajectories": (
        trajectories,
        xyz_lattice.build(xyz_lattice.Params(convention="lee2013", sites=4, Jx=0.9, Jy=1.7, Jz=0.4, decay=0.8)),
        dict(batch=8, observables=("squeezing", "correlation", "structure_factor", "Sx_0_Sy_1")),
    ),
    "phase_space": (
        phase_space,
        collective_spin.build(collective_spin.Params(S=4, drive=0.8, dephasing=0.3)),
        dict(batch=32, observables=("squeezing",), dt=0.05, times=(0.7, 1.5)),
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
    method, system, extra = CASES[case]
    extra = extra | more
    values = dict(task="evolve", times=TIMES, initial=(0.3, 0.2), trajectories=records * extra["batch"]) | extra
    options, cache, found = method.Options(**values), Cache(), {}
    wanted = exact(system, options.observables, options.initial)
    declared = [output for output in method.outputs(system, options) if output.name in wanted]
    for seed in range(seeds):
        context = Context(MPI.COMM_SELF, (seed, 2026), lambda: False, cache)
        rows = [method.run(system, options, record, context) for record in range(records)]
        for output in declared:
            value, error = observables.reduced(output, lambda name: np.stack([row[name] for row in rows]))
            with np.errstate(divide="ignore", invalid="ignore"):
                pull = (value - wanted[output.name]) / error
            found.setdefault(output.name, []).append(np.where(error > 1e-12, pull, np.nan))
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
