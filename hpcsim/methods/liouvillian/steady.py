"""The steady state of a system, found and shown to be the only one."""

from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.liouvillian import saved, small, uniqueness
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.system import System


class SteadyState(NamedTuple):
    """comm: of the ranks that share the components; local: this rank's of them, in sector; residual: |Lρ| / |L||ρ|."""

    comm: Any
    sector: Sector
    local: np.ndarray
    residual: float

    def matrix(self) -> np.ndarray:
        """ρ in the product basis, on every rank: (D, D). Collective."""
        return saved.density_matrix(self.comm, self.sector, self.local)


def steady_state(system: System, options, context: Context) -> SteadyState:
    """Collective over context.comm. Raises NotUnique, or SolverError where it is not accurate."""
    family, comm = small.family_of(system), context.comm

    def home() -> Sector:
        operators = kept_operators(system, context, verified=family is not None)
        return Sector(operators, HOME, like=family and family.home)

    if family and family.dense and not options.petsc_options:
        comm, sector, (state, residual) = MPI.COMM_SELF, family.home, family.steady_state(system)  # on every rank
    else:
        sector = home()
        state, residual = solvers.steady_state(comm, sector, options.petsc_options, cache=context.cache)
    if not (family and family.connected and uniqueness.has_full_support(comm, sector, state)):
        uniqueness.check(comm, home(), state)
    return SteadyState(comm, sector, state, residual)
