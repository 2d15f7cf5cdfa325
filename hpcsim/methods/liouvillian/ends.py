"""task antigap: the gap, and the antigap, the distance of the second-smallest from the smallest real part of all λ.

Both are of the whole spectrum, every eigenvalue counted as often as it occurs: an antigap of 0 is that of a pair of
complex conjugates, or of a degenerate eigenvalue, at the far end. Where the spectrum has the mirror symmetry
λ -> -2η - λ (see `antigap`), the antigap is the gap, and they check each other; `mirror_defect` is their difference.

Spins 1/2 with that symmetry take two sectors of the full space and no matrix. Any other system takes all its symmetry
sectors, each of whose ends are found in two ways (see `solvers.both_ends`).
"""

import numpy as np

from hpcsim import solvers
from hpcsim.methods import Dim, Output
from hpcsim.methods.liouvillian import antigap, uniqueness
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Scaled, Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name, symmetries
from hpcsim.system import System

LABELS = {"k": "k", "parity": "parity (bits of the involutions it is odd under)", "momentum": "momentum"}
EXTREMES = 2  # decays of the far end that a record keeps: the antigap is their difference


def is_mirrored(system: System) -> bool:
    """Whether the two sectors without a matrix will do."""
    return antigap.mirror(system) is None


def names(system: System, shifts: int) -> tuple[Name, ...]:
    """The records: one for each sector."""
    return (Name(0, 0), Name(0, 1)) if is_mirrored(system) else tuple(symmetries(system).names(shifts))


def outputs(system: System) -> tuple[Output, ...]:
    """Rates in the unit of the model's. `fastest` holds the decays at the far end, from which the antigap is made."""
    there = dict(reduce="at_min", sources=("gap",))
    merged = dict(dims=(Dim("extreme", tuple(range(EXTREMES))),), reduce="merge")
    along = dict(merged, sources=("fastest",))
    rate = dict(units=system.units)
    return (
        Output("gap", reduce="min", long_name="smallest -Re λ, the steady state's zero left out", **rate),
        *(Output(f"gap_{a}", long_name=f"{what} of the sector with the gap", **there) for a, what in LABELS.items()),
        Output("residual", long_name="|Lx - λx| / |x| of the gap", **there, **rate),
        Output("gap_check", long_name="difference between the gaps by exp(tL) and by shift-invert", **there, **rate),
        Output("fastest", long_name="largest -Re λ, falling", **merged, **rate),
        *(
            Output(f"fastest_{a}", long_name=f"{what} of that eigenvalue's sector", **along)
            for a, what in LABELS.items()
        ),
        Output("fastest_residual", long_name="|Lx - λx| / |x|", **along, **rate),
        Output("fastest_check", long_name="difference between exp(tL) and shift-invert", **along, **rate),
        Output(
            "antigap",
            reduce="spacing",
            sources=("fastest",),
            long_name="distance of the second-smallest Re λ from the smallest",
            **rate,
        ),
        Output("mirror_defect", reduce="imbalance", sources=("gap", "fastest"), long_name="|gap - antigap|", **rate),
    )


def run(system: System, options, name: Name, context) -> dict:
    """What one sector holds of both ends of the spectrum. Collective."""
    comm = context.comm
    if is_mirrored(system):
        return _without_a_matrix(system, options, name, comm)
    sector = Sector(kept_operators(system, context), name)
    steady = name == HOME
    none = solvers.End(*[np.zeros(0)] * 3)
    near = far = none
    if sector.size:
        counts = min(1 + steady, sector.size), min(EXTREMES, sector.size)
        near, far = solvers.both_ends(comm, Scaled(sector), counts, options.tolerance, options.petsc_options)
    near = _decaying(near, sector, abs(sector.operators.effective).sum(1).max(), steady)
    return _of_sector(name, near, far, _copies(sector))


def _decaying(near: solvers.End, sector, norm: float, steady: bool) -> solvers.End:
    """Without the zero of the steady state. Raises SolverError if it is not there, NotUnique if there are others."""
    zeros = np.flatnonzero(abs(near.values) < uniqueness.ZERO * norm + 10 * near.residuals)
    if len(zeros) < steady:
        raise solvers.SolverError(f"the eigenvalue 0 of the steady state was not found in {sector}: {near.values}")
    if len(zeros) > steady:
        raise solvers.NotUnique(
            f"the steady state is not unique: a further eigenvalue of {sector} is zero to "
            f"{abs(near.values[zeros]).max():.1e}; add dissipation that connects all states"
        )
    return solvers.End(*(np.delete(part, zeros) for part in near))


def _of_sector(name: Name, near: solvers.End, far: solvers.End, copies: int) -> dict:
    """The outputs of a record: the slowest decay, and the fastest as often as they occur."""

    def first(values):
        return float(values[0]) if len(values) else np.nan

    def kept(values):
        return np.pad(np.repeat(values, copies), (0, EXTREMES), constant_values=np.nan)[:EXTREMES]

    labels, fastest = {label: float(value) for label, value in name._asdict().items()}, kept(-far.values.real)
    return {
        "gap": first(-near.values.real),
        "residual": first(near.residuals),
        "gap_check": first(near.differences),
        **{f"gap_{label}": value for label, value in labels.items()},
        "fastest": fastest,
        "fastest_residual": kept(far.residuals),
        "fastest_check": kept(far.differences),
        **{f"fastest_{label}": np.where(np.isnan(fastest), np.nan, value) for label, value in labels.items()},
    }


def _copies(sector: Sector) -> int:
    """How many sectors have the eigenvalues of this one or their conjugates, of which its matrix may hold both."""
    symmetries, name = sector.operators.symmetries, sector.name
    copies = dict(symmetries.labels(len(sector.operators.first) - 1))[name.k, name.momentum]
    return copies // 2 if sector.doubled else copies


def _without_a_matrix(system: System, options, name: Name, comm) -> dict:
    """Both ends of one sector of the parity about z; its zero, and what mirrors that, are known."""
    operator, eta = antigap.ParityBlocks(system, name.parity, comm), antigap.mirror_point(system)
    crossed = antigap.exchanges_sectors(system)
    ends = []
    for largest, extreme in (True, 0.0), (False, -2 * eta):
        known = int(name.parity == (crossed and not largest))
        values, errors, _ = solvers.end_of_spectrum(
            comm, operator, largest, 1 + known, options.tolerance * eta, options.petsc_options
        )
        if known and abs(values[0] - extreme) > 1e-6 * eta:
            raise solvers.SolverError(
                f"the end of the spectrum is {values[0]:.6g}, not {extreme:.6g}: lower method.tolerance"
            )
        ends.append(solvers.End(values, errors, np.full(len(values), np.nan)))
    near = _decaying(ends[0], f"{name}", operator.radius, name == HOME)
    return _of_sector(name, near, ends[1], 1)
