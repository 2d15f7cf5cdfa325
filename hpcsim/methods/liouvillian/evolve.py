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
    built, initial = kept_operators(system, context), _start(system, options.initial, context)
    series = Series(system, options, plan, context.comm)
    for name in built.symmetries.names(len(built.first) - 1, every=True):
        sector = Sector(built, name)
        if not sector.size or not series.sees(sector):
            continue
        start = sector.components(initial, *solvers.row_range(context.comm, sector.size))
        moving = in_time(system, sector, context)
        for part, unit in (start.real.copy(), 1), (start.imag.copy(), 1j):
            series.add(sector, moving, part, unit, 1 if built.symmetries.is_self_adjoint(name) else 2)
    return series.results()


class Series:
    """What is measured at options.times, added up from sector to sector. All is collective over comm."""

    def __init__(self, system: System, options, plan: Plan, comm):
        self.system, self.options, self.plan, self.comm = system, options, plan, comm
        self.measured = measurement.Compiled(system, plan, probabilities=False)
        self.values, self.whole = np.zeros((len(options.times), len(self.measured.operators))), None
        if any(mean.build is None for mean in plan.means.values()):
            self.whole = WholeState(len(options.times), round(system.dimension), comm)

    def _functionals(self, sector: Sector) -> np.ndarray:
        rows = solvers.row_range(self.comm, sector.size)
        return np.array([sector.functional(operator, *rows) for *_, operator in self.measured.operators])

    def sees(self, sector: Sector) -> bool:
        """Whether an observable has a part in a sector."""
        self._seen = self._functionals(sector)
        return self.whole is not None or self.comm.allreduce(np.linalg.norm(self._seen)) >= 1e-14

    def add(self, sector: Sector, moving, start: np.ndarray, unit: complex, copies: int):
        """Evolve unit times the real components `start` of the sector that `sees` has looked at last."""
        if self.comm.allreduce(np.linalg.norm(start)) < 1e-14:
            return
        options = self.options
        intervals, accuracy = np.diff(options.times, prepend=0), (options.tolerance, options.petsc_options)
        for t, state in enumerate(
            solvers.propagate(self.comm, moving, start, intervals, *accuracy, options.integrator)
        ):
            self.values[t] += copies * (unit * (self._seen @ state)).real
            if self.whole is not None:
                self.whole.add(t, sector, state, unit, copies)

    def results(self) -> dict:
        found = self.measured.values(self.comm.allreduce(self.values).T)
        if self.whole is not None:
            purity, entropy = self.whole.purity_and_entropy()
            found |= {"purity": purity, "entropy": entropy / self.system.sites}
        return self.plan.finish(found)


def in_time(system: System, sector: Sector, context: Context):
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
