"""Exact: the steady state or the low spectrum of the Liouvillian, sector by sector (MUMPS, SLEPc).

Sectors are those of weak U(1), k = Q(m) - Q(n) >= 0, and, where the model has a transposition symmetry,
the two parities of k = 0 (see `sectors`). The spectrum of -k is the conjugate of that of k. With a
transposition symmetry the spectrum of k is its own conjugate; without one, a sector k > 0 reports k and
-k together.
"""
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hpcsim import matrices, solvers
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.liouvillian.sectors import Sector, operators, sector_names, sector_sizes
from hpcsim.system import Count, Parameters, System, Transposition, WeakU1

LARGEST = 2**31 - 1     # MUMPS numbers the unknowns by 32-bit integers


class Options(Parameters):
    """
    task          : steady_state, or spectrum
    eigenvalues   : how many, of largest real part, are computed in every sector and kept in all
    sectors       : "all", or the list of k >= 0 that `spectrum` looks into. The gap can be in any: for a
                    dimer with gain = loss in k = 0 or 1; with gain far from loss also in k = 2 or k = 2S
    petsc_options : passed to PETSc and SLEPc, without the leading dash; the linear solver's begin with st_
                    (eps_ncv: 200, st_mat_mumps_icntl_14: 100)
    """

    task: Literal["steady_state", "spectrum"] = "steady_state"
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
    charges = 2 * system.spins.sum() + 1 if system.symmetry(WeakU1) else 1
    # at least D² / (2 charges) unknowns, where D may be astronomical
    magnitude = 2 * np.sum(np.log10(2 * system.spins + 1)) - np.log10(2 * charges)
    if magnitude < np.log10(LARGEST):
        magnitude = np.log10(_unknowns(system, *_home(system)))
    if magnitude < np.log10(LARGEST):
        return None
    return (f"the sector of the steady state has 10^{magnitude:.1f} unknowns, a direct solver takes "
            f"{LARGEST:.1e} at most: take fewer sites or smaller spins, or the method phase_space")


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


def _entries_per_row(system: System) -> float:
    """Of a sector's matrix, about: the diagonal, H on either side, and every jump."""
    conserved = system.symmetry(WeakU1) is not None
    flips = {tuple(sorted(set(sites))) for terms in system.hamiltonian if set(terms.operators) != {"Sz"}
             for sites, c in zip(terms.sites.tolist(), terms.coefficients) if c != 0}
    hamiltonian = sum(2 if conserved else 2**len(sites) for sites in flips)
    jumps = sum(len(jump.sites)**(2 if jump.collective else 1) for jump in system.jumps)
    return (1 + 2 * hamiltonian + jumps) * (1 if system.symmetry(Transposition) else 2)


def _factor_entries(system: System, unknowns: float) -> float:
    """Entries of the LU factors, from MUMPS 5.5 with the PORD ordering.

    Measured, for n unknowns. Dimers, S = 8, 12, 20, 30 (n = 1785...77531), k = 0 and 1: 9.0-11.5 n^(4/3),
    nested dissection's law for the three quantum numbers of a sector. One spin, S = 40, 100: 4.6-16 n log2 n.
    Chains of 4 to 8 sites, S = 1/2, 1, 3/2 (n = 494...6563): 0.28-0.31 n², nothing gained by sparsity.
    """
    quantum_numbers = 2 * system.sites - (system.symmetry(WeakU1) is not None)
    if quantum_numbers <= 2:
        return 16 * unknowns * np.log2(unknowns + 1)
    return min(11 * unknowns**(4 / 3), unknowns**2) if quantum_numbers == 3 else 0.3 * unknowns**2


def cost(system: System, options: Options, record) -> Cost:
    """Nothing is allocated: the unknowns are counted from the charges' multiplicities.

    bytes: 10 per factor entry (8, and MUMPS's work space), 100 per matrix entry (this, PETSc's copies,
    MUMPS's copy), 8 per component of the Krylov basis. That is 1.1-1.25 times the measured growth of the
    process for dimers of S = 8...30. time: seconds on one core, from the same runs.
    """
    unknowns = _unknowns(system, *record)
    factor = _factor_entries(system, unknowns)
    vectors, solves = 10, 6
    if options.task == "spectrum":
        vectors = 2 * options.eigenvalues + solvers.SUBSPACE
        solves = 1.5 * vectors
    memory = 10 * factor + (100 * _entries_per_row(system) + 8 * vectors) * unknowns
    return Cost(bytes=memory, time=0.01 + 1e-11 * factor**1.5 + 7e-10 * solves * factor)


def outputs(system: System, options: Options) -> tuple:
    """Spins in units of ħ; eigenvalues, rates and the gap in the unit of the model's rates."""
    if options.task == "steady_state":
        sublattice = (Dim("sublattice", system.sublattices),)
        return (
            *(Output(f"S{a}", sublattice, "ħ", f"mean of ⟨S{a}⟩ over the sites") for a in "xyz"),
            *(Output(f"var_S{a}", sublattice, "ħ²", f"mean of ⟨S{a}²⟩ - ⟨S{a}⟩² over the sites")
              for a in "xyz"),
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
    values, errors = solvers.leading_eigenvalues(comm, sector, count, options.petsc_options)
    decaying = _without_zero(values, sector) if steady else values
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


def _without_zero(values, sector: Sector):
    """All eigenvalues but the steady state's; RuntimeError if that is not among them."""
    zero, scale = np.argmin(abs(values)), abs(sector.operators.effective).sum(1).max()
    if abs(values[zero]) > 1e-9 * scale:
        raise RuntimeError(f"the eigenvalue 0 of the steady state was not found; nearest is {values[zero]:.3e}: "
                           "raise method.eigenvalues")
    return np.delete(values, zero)


def _steady_state(system: System, sector: Sector, options: Options, comm) -> dict:
    state, residual = solvers.steady_state(comm, sector, options.petsc_options)
    elements = sector.elements(*solvers.row_range(comm, sector.size))

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
