"""Exact: the steady state or the low spectrum of the Liouvillian, sector by sector (MUMPS, SLEPc).

Sectors are those of weak U(1), k = Q(m) - Q(n) >= 0, and, where the model has a transposition symmetry,
the two parities of k = 0 (see `sectors`). The spectrum of -k is the conjugate of that of k. With a
transposition symmetry the spectrum of k is its own conjugate; without one, a sector k > 0 reports k and
-k together.
"""
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hpcsim import matrices
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.liouvillian import solve
from hpcsim.methods.liouvillian.sectors import Sector, operators, sector_names, sector_sizes
from hpcsim.system import Count, Parameters, System, Transposition, WeakU1

LARGEST = 2**31 - 1     # MUMPS numbers the unknowns by 32-bit integers


class Options(Parameters):
    """
    task          : steady_state, or spectrum
    eigenvalues   : how many, of largest real part, are computed in every sector and kept in all
    sectors       : "all", or the list of k >= 0 that `spectrum` looks into. The gap can be in any: for a dimer
                    with gain = loss in k = 0 or 1; with gain far from loss also in k = 2 or k = 2S
    petsc_options : passed to PETSc and SLEPc, without the leading dash; the linear solver's begin with st_
                    (eps_ncv: 200, st_mat_mumps_icntl_14: 100)
    """

    task: Literal["steady_state", "spectrum"]
    eigenvalues: Count = 6
    sectors: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = "all"
    petsc_options: dict[str, str | int | float] = {}


def _multiplicities(system: System) -> np.ndarray:
    """How many basis states each charge has: the coefficients of Π_i (1 + x + ... + x^(2 S_i))."""
    if not system.symmetry(WeakU1):
        return np.array([system.dimension])
    counts = np.ones(1)
    for width in np.round(2 * system.spins + 1).astype(int):
        total = np.cumsum(np.concatenate([counts, np.zeros(width - 1)]))
        counts = total - np.concatenate([np.zeros(width), total[:-width]])
    return counts


def _unknowns(system: System, k: int, parity: int) -> float:
    real = system.symmetry(Transposition) is not None
    return float(sector_sizes(_multiplicities(system), k, parity, real).sum())


def supports(system: System):
    """None, or why not: a direct solver cannot number the unknowns of the steady state's sector."""
    # D² over the number of charges is less than that sector has unknowns
    charges = 2 * system.spins.sum() + 1 if system.symmetry(WeakU1) else 1
    logarithm = 2 * np.sum(np.log(2 * system.spins + 1)) - np.log(2 * charges)
    if logarithm < np.log(LARGEST) and (unknowns := _unknowns(system, *_home(system))) <= LARGEST:
        return None
    size = f"{unknowns:.1e}" if logarithm < np.log(LARGEST) else f"more than 10^{logarithm / np.log(10):.0f}"
    return (f"the sector of the steady state has {size} unknowns, a direct solver takes at most {LARGEST:.1e}: "
            "use fewer sites or smaller spins, or the phase_space method")


def _home(system: System) -> tuple[int, int]:
    """The sector of the steady state."""
    return (0, 1) if system.symmetry(Transposition) else (0, 0)


def records(system: System, options: Options) -> tuple:
    """The sectors (k, parity) to solve. Raises ValueError for a k that the system does not have."""
    if options.task == "steady_state":
        return (_home(system),)
    sizes = _multiplicities(system)
    real = system.symmetry(Transposition) is not None
    names = [name for name in sector_names(len(sizes), real) if sector_sizes(sizes, *name, real).sum() > 0]
    if options.sectors == "all":
        return tuple(names)
    for k in options.sectors:
        if k >= len(sizes):
            raise ValueError(f"method.sectors: k = {k}, but this model has the sectors 0..{len(sizes) - 1}"
                             + ("" if system.symmetry(WeakU1) else " (it has no weak U(1) symmetry)"))
    return tuple(name for name in names if name[0] in options.sectors)


def cost(system: System, options: Options, record) -> Cost:
    return None


def outputs(system: System, options: Options) -> tuple:
    """Spins in units of ħ; eigenvalues, rates and the gap in the unit of the model's rates."""
    if options.task == "steady_state":
        sublattice = (Dim("sublattice", system.sublattices),)
        return (
            *(Output(f"S{a}", sublattice, "ħ", f"mean of ⟨S{a}⟩ over the sites") for a in "xyz"),
            *(Output(f"var_S{a}", sublattice, "ħ²", f"mean of ⟨S{a}²⟩ - ⟨S{a}⟩² over the sites") for a in "xyz"),
            Output("S_perp", sublattice, "ħ", "sqrt(Sx² + Sy²)"),
            Output("Mz", (), "1", "mean of ⟨Sz⟩/S over all sites"),
            Output("purity", (), "1", "Tr ρ²"),
            Output("residual", (), "1", "|Lρ| / |L||ρ|"),
        )
    merged = dict(dims=(Dim("eigenvalue", tuple(range(options.eigenvalues))),), reduce="merge")
    along = dict(merged, sources=("eigenvalues",))
    least = dict(reduce="at_min", sources=("gap",))
    return (
        Output("eigenvalues", units=system.units, dtype="c16",
               long_name="eigenvalues of the Liouvillian, largest real part first", **merged),
        Output("residual", long_name="|Lx - λx| / |L||x|", **along),
        Output("sector_k", long_name="k of the eigenvalue's sector", **along),
        Output("sector_parity", long_name="parity of the eigenvalue's sector, 0 if it has none", **along),
        Output("gap", units=system.units, reduce="min",
               long_name="smallest -Re λ, the steady state's zero left out"),
        Output("gap_k", long_name="k of the sector with the gap", **least),
        Output("gap_parity", long_name="parity of the sector with the gap, 0 if it has none", **least),
    )


def run(system: System, options: Options, record, context: Context) -> dict:
    """Solve one sector (k, parity), collectively over context.comm."""
    sector = Sector(operators(system), *record)
    if options.task == "steady_state":
        return _steady_state(system, sector, options, context.comm)
    return _spectrum(sector, options, context.comm, record == _home(system))


def _spectrum(sector: Sector, options: Options, comm, steady: bool) -> dict:
    count = min(max(options.eigenvalues, 2), sector.size)   # 2: the gap is beside the zero
    values, errors = solve.leading_eigenvalues(comm, sector, count, options.petsc_options)
    decaying = np.delete(values, np.argmin(abs(values))) if steady else values
    padding = max(options.eigenvalues - len(values), 0)

    def kept(array):
        return np.pad(array, (0, padding), constant_values=np.nan)[:options.eigenvalues]

    return {
        "eigenvalues": kept(values),
        "residual": kept(errors),
        "sector_k": kept(np.full(len(values), float(sector.k))),
        "sector_parity": kept(np.full(len(values), float(sector.parity))),
        "gap": -decaying.real.max(),
        "gap_k": float(sector.k),
        "gap_parity": float(sector.parity),
    }


def _steady_state(system: System, sector: Sector, options: Options, comm) -> dict:
    state, residual = solve.steady_state(comm, sector, options.petsc_options)
    elements = sector.elements(*solve.row_range(comm, sector.size))

    def expectation(operator):
        return comm.allreduce(sector.functional(operator, elements) @ state)

    means, variances = np.empty((3, system.sites)), np.empty((3, system.sites))
    for a, name in enumerate(("Sx", "Sy", "Sz")):
        for site in range(system.sites):
            spin = matrices.site_operator(system, name, site)
            means[a, site] = expectation(spin)
            variances[a, site] = expectation(spin @ spin) - means[a, site]**2
    members = np.array([system.sublattice == s for s in range(len(system.sublattices))])
    average = members / members.sum(1, keepdims=True)
    Sx, Sy, Sz = means @ average.T
    var_Sx, var_Sy, var_Sz = variances @ average.T
    weights = np.where(elements.m == elements.n, 1, 2)      # Tr B² of the Hermitian elements
    return {
        "Sx": Sx, "Sy": Sy, "Sz": Sz, "var_Sx": var_Sx, "var_Sy": var_Sy, "var_Sz": var_Sz,
        "S_perp": np.hypot(Sx, Sy),
        "Mz": np.mean(means[2] / system.spins),
        "purity": comm.allreduce(weights @ state**2),
        "residual": residual,
    }
