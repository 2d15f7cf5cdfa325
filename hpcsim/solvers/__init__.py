"""Eigenvalues and the steady state of a sector, distributed: the one place for PETSc and SLEPc.

A sector is any object that knows its part of the Liouvillian L in a real basis:

    size               number of unknowns
    spin               Σ_i S_i of the spins it describes: |L| / spin is a mean rate per unit of spin
    rows(start, stop)  rows start..stop-1 of L: (stop - start, size) CSR, the diagonal stored even where zero
    trace(start, stop) (stop - start,): Tr ρ = Σ_u trace[u] x[u]; also the components of some positive state
    str(sector)        its name, for messages

The matrices are real, so this runs on real and complex builds of PETSc alike. Every function is
collective over the communicator it is given and returns the same on all its ranks (up to rounding).
"""

from hpcsim.solvers.eigenvalues import (
    DENSE,
    SUBSPACE,
    TOLERANCE,
    Leading,
    all_eigenvalues,
    by_real_part,
    leading_eigenvalues,
    search,
)
from hpcsim.solvers.ends import Assembled, End, both_ends, leading_by_exponentials
from hpcsim.solvers.evolution import end_of_spectrum
from hpcsim.solvers.exchange import Halo, Transposed
from hpcsim.solvers.floquet import Multipliers, multipliers
from hpcsim.solvers.in_time import InTime
from hpcsim.solvers.options import PetscOptions
from hpcsim.solvers.order import TIE, first_largest, slowest
from hpcsim.solvers.petsc import NotUnique, SolverError, row_range
from hpcsim.solvers.rest import Rest
from hpcsim.solvers.steady import (
    GMRES,
    KEPT,
    NotConverged,
    dense_steady_state,
    pinned_inverse,
    response,
    steady_state,
)
from hpcsim.solvers.steppers import STEPPERS, Integrator, propagate

__all__ = [
    "Assembled",
    "DENSE",
    "End",
    "GMRES",
    "Halo",
    "InTime",
    "Integrator",
    "KEPT",
    "STEPPERS",
    "SUBSPACE",
    "TIE",
    "TOLERANCE",
    "Leading",
    "Multipliers",
    "NotConverged",
    "NotUnique",
    "PetscOptions",
    "Rest",
    "SolverError",
    "Transposed",
    "all_eigenvalues",
    "by_real_part",
    "dense_steady_state",
    "both_ends",
    "end_of_spectrum",
    "first_largest",
    "leading_by_exponentials",
    "leading_eigenvalues",
    "multipliers",
    "pinned_inverse",
    "propagate",
    "response",
    "row_range",
    "search",
    "slowest",
    "steady_state",
]
