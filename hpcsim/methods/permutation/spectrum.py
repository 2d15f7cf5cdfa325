"""The task spectrum: the slowest eigenvalues of a sector, each gap with what shows that nothing slower was missed.

Up to LAPACK unknowns all eigenvalues are computed. Beyond, shift-invert finds the slowest, and may miss one that
oscillates fast; Krylov spaces of exp(tL), which order eigenvalues by their real part whatever their frequency, find
them again without a factorisation. The two know nothing of each other: a gap that both find is certified.
"""

from functools import partial

import numpy as np

from hpcsim import solvers
from hpcsim.methods import Dim, Output
from hpcsim.methods.permutation.basis import Balanced
from hpcsim.methods.permutation.ordering import mumps
from hpcsim.system import System

GROWTH = 1e-4  # a larger real part, relative to the eigenvalues found, is a rounding error
SECTORS = {1: "even", -1: "odd", 0: "all"}
LAPACK = 2500  # unknowns up to which all eigenvalues are computed, in seconds
NOTHING, AGREE, WHOLE = 0.0, 0.5, 2.0  # what shows that none was missed, see CODES
CODES = (
    "2: all eigenvalues of all sectors were computed; 0.5: of some, exp(tL) finds the same gap as shift-invert; "
    "0: they differ, or exp(tL) did not converge, in some"
)
CLOSE = 1e-3  # rates this close, relative to themselves, are equal: high correlators make eigenvalues sensitive
RESIDUAL = 1e-9  # of the eigenvectors of exp(tL), relative to |L|
RESTARTS = {"eps_max_it": "30"}  # of its Krylov space: about as long as a factorisation


def outputs(system: System, eigenvalues: int) -> tuple[Output, ...]:
    """Eigenvalues and rates in the unit of the model's rates."""
    merged = dict(dims=(Dim("eigenvalue", tuple(range(eigenvalues))),), reduce="merge")
    along = dict(merged, sources=("eigenvalues",))
    rate, of_the_gap = dict(units=system.units, reduce="min"), dict(reduce="at_min", sources=("gap",))
    return (
        Output(
            "eigenvalues",
            units=system.units,
            dtype="c16",
            long_name="eigenvalues of the Liouvillian on symmetric operators, largest real part first",
            **merged,
        ),
        Output("residual", long_name="|Lx - λx| / |L||x|", **along),
        Output("sector_parity", long_name="parity of n_x + n_y of the eigenvalue's sector, 0 if it has none", **along),
        Output("gap", long_name="smallest -Re λ of symmetric operators, the steady state's zero left out", **rate),
        Output("gap_parity", long_name="parity of n_x + n_y in the gap's sector, 0 if it has none", **of_the_gap),
        *(
            Output(f"gap_{SECTORS[p]}", long_name=f"smallest -Re λ of the sector with {SECTORS[p]} n_x + n_y", **rate)
            for p in (1, -1)
        ),
        Output(
            "certified_decay",
            long_name="rate below which all eigenvalues of symmetric operators are shown to have been found",
            **rate,
        ),
        Output(
            "certified",
            reduce="reaches",
            sources=("certified_decay", "gap"),
            long_name="1 if certified_decay is not below the gap, else 0",
        ),
        Output("certificate", reduce="min", long_name=f"what shows it. {CODES}"),
    )


def run(sector: Balanced, options, comm) -> dict:
    """One sector, collectively."""
    count = min(max(options.eigenvalues, 2), sector.size)  # 2: the gap is beside the zero
    if sector.size <= LAPACK:
        values, errors = (part[:count] for part in solvers.all_eigenvalues(comm, sector)[:2])
    else:
        values, errors = solvers.leading_eigenvalues(comm, sector, count, mumps(comm, options.petsc_options))
    if values[0].real > GROWTH * abs(values).max():
        raise RuntimeError(
            f"an eigenvalue of {sector} of {sector.N} spins grows, by {values[0].real:.1e}: rounding "
            "errors exceed the gap; take fewer spins or weaker couplings"
        )
    steady = sector.parity >= 0
    gap = _gap(values, steady)
    again = np.inf if sector.size <= LAPACK else _by_exponentials(comm, sector, steady, options.petsc_options)
    shown = again >= gap * (1 - CLOSE)
    kept = partial(_padded, count=options.eigenvalues)
    return {
        "eigenvalues": kept(values),
        "residual": kept(errors),
        "sector_parity": kept(np.full(len(values), float(sector.parity))),
        "gap": gap,
        "gap_parity": float(sector.parity),
        "gap_even": gap if steady else np.inf,
        "gap_odd": gap if sector.parity <= 0 else np.inf,
        "certified_decay": (np.inf if sector.size <= LAPACK else gap) if shown else 0.0,
        "certificate": (WHOLE if sector.size <= LAPACK else AGREE) if shown else NOTHING,
    }


def _gap(values: np.ndarray, steady: bool) -> float:
    """The smallest -Re λ, the zero of the steady state left out where the sector has it."""
    return float(-(np.delete(values, np.argmin(abs(values))) if steady else values).real.max())


def _by_exponentials(comm, sector: Balanced, steady: bool, petsc_options: dict) -> float:
    """The gap of a sector by exp(tL); 0 where it does not converge. Collective."""
    try:
        operator = solvers.Assembled(comm, sector)
        values, *_ = solvers.end_of_spectrum(
            comm, operator, True, 1 + steady, RESIDUAL * operator.norm, RESTARTS | petsc_options
        )
    except solvers.SolverError:
        return 0.0
    return _gap(values, steady)


def _padded(array: np.ndarray, count: int) -> np.ndarray:
    return np.pad(array, (0, max(count - len(array), 0)), constant_values=np.nan)[:count]
