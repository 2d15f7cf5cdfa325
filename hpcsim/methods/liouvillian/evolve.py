"""Time evolution of ρ, sector by sector, and what is measured on the way."""

import numpy as np
from scipy import sparse

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.liouvillian import measurement
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.observables import Plan
from hpcsim.observables.entropies import von_neumann
from hpcsim.system import System, starts


def evolve(system: System, options, plan: Plan, context: Context) -> dict:
    """Every sector in which both the initial state and an observable have a part. Collective over context.comm.

    Sectors that the adjoint takes to others are evolved once and count twice, as their real parts.
    """
    comm, built, times = context.comm, kept_operators(system, context), np.array(options.times)
    initial = _start(system, options.initial, context)
    measured, whole = measurement.Compiled(system, plan, probabilities=False), None
    if any(mean.build is None for mean in plan.means.values()):
        whole = WholeState(len(times), round(system.dimension), comm)
    values = np.zeros((len(times), len(measured.operators)))
    accuracy = options.tolerance, options.petsc_options, options.integrator
    for name in built.symmetries.names(len(built.first) - 1, every=True):
        sector = Sector(built, name)
        if not sector.size:
            continue
        rows = solvers.row_range(comm, sector.size)
        seen = np.array([sector.functional(operator, *rows) for *_, operator in measured.operators])
        if whole is None and comm.allreduce(np.linalg.norm(seen)) < 1e-14:
            continue
        start, moving = sector.components(initial, *rows), _in_time(system, sector, context)
        copies = 1 if built.symmetries.is_self_adjoint(name) else 2
        for part, unit in (start.real.copy(), 1), (start.imag.copy(), 1j):
            if comm.allreduce(np.linalg.norm(part)) < 1e-14:
                continue
            for t, state in enumerate(solvers.propagate(comm, moving, part, np.diff(times, prepend=0), *accuracy)):
                values[t] += copies * (unit * (seen @ state)).real
                if whole is not None:
                    whole.add(t, sector, state, unit, copies)
    found = measured.values(comm.allreduce(values).T)
    if whole is not None:
        purity, entropy = whole.purity_and_entropy()
        found |= {"purity": purity, "entropy": entropy / system.sites}
    return plan.finish(found)


def _in_time(system: System, sector: Sector, context: Context):
    """The sector or, where coefficients depend on time, the same unknowns with the Liouvillians of all parts."""
    if system.drive is None:
        return sector
    parts = (kept_operators(part, context) for part in system.drive.systems)
    return solvers.InTime(tuple(Sector(part, sector.name, like=sector) for part in parts), system.drive.curve)


def _start(system: System, initial, context: Context) -> sparse.coo_matrix:
    """ρ at time 0, on all ranks. Collective."""
    return starts.density(system, initial, context.key, context.shared_start)


class WholeState:
    """ρ at all times, on the first rank, from its parts in the sectors."""

    def __init__(self, times: int, dimension: int, comm):
        self.comm = comm
        self.rho = np.zeros((times, dimension, dimension) if comm.rank == 0 else 0, complex)

    def add(self, t: int, sector: Sector, local: np.ndarray, unit: complex, copies: int):
        """The part with components unit times x, and with copies = 2 its adjoint. Collective."""
        parts = self.comm.gather(local)
        if self.comm.rank == 0:
            for rows, columns, block in measurement.blocks(sector, np.concatenate(parts)):
                self.rho[t, rows, columns] += unit * block
                if copies == 2:
                    self.rho[t, columns, rows] += (unit * block).conj().T

    def purity_and_entropy(self):
        """Tr ρ² and -Tr(ρ ln ρ), (times,) each, on all ranks."""
        found = None
        if self.comm.rank == 0:
            found = np.sum(np.abs(self.rho) ** 2, axis=(1, 2)), von_neumann(np.linalg.eigvalsh(self.rho))
        return self.comm.bcast(found)
