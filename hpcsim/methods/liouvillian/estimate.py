"""Memory and time of the exact method, before anything is allocated."""

import numpy as np

from hpcsim import solvers
from hpcsim.methods import Cost
from hpcsim.methods.liouvillian import antigap
from hpcsim.methods.liouvillian.small import LARGEST
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.methods.liouvillian.symmetry import symmetries as symmetries_of
from hpcsim.system import System, charge_weights, starts
from hpcsim.system.matrices import SMALL

VECTORS = 100  # of a spectrum's Krylov space, about
LOW = 2  # gap, spectrum: the sectors k < LOW are solved first; of others, those that these do not exclude
ON_DISK = "st_mat_mumps_icntl_22"  # MUMPS's option to keep the factors out of core


def multiplicities(system: System) -> np.ndarray:
    """How many basis states each charge has, from the lowest: the coefficients of Π_i Σ_j x^(w_i j)."""
    return system.of_structure(("liouvillian", "multiplicities"), lambda: _multiplicities(system))


def _multiplicities(system: System) -> np.ndarray:
    weights = charge_weights(system)
    if weights is None:
        return np.array([system.dimension])
    counts = np.ones(1)
    for levels, weight in zip(system.levels, np.abs(weights)):
        site = np.zeros(weight * (levels - 1) + 1)
        site[:: weight or 1] = levels if weight == 0 else 1
        counts = np.convolve(counts, site)
    return counts


def unknowns_of(system: System, symmetries: Symmetries, name: Name) -> float:
    """Nearly: orbits that a symmetry maps to themselves count like the others."""
    sizes = multiplicities(system)
    return float(sizes[name.k :] @ sizes[: len(sizes) - name.k]) / symmetries.reduction(name)


def _entries_per_row(system: System) -> float:
    """Entries in a row of a sector's matrix, about: the diagonal, H on either side, and every jump."""
    return system.of_structure(("liouvillian", "entries"), lambda: _count_entries(system))


def _count_entries(system: System) -> float:
    conserved = charge_weights(system) is not None
    flips = {
        tuple(sorted(set(sites)))
        for terms in system.hamiltonian
        if set(terms.operators) - {"Sz", "n"}
        for sites, c in zip(terms.sites.tolist(), terms.coefficients)
        if c != 0
    }
    # a spin 1/2 can only be flipped, others go up or down
    hamiltonian = sum(2 if conserved else np.prod(np.minimum(system.levels[list(sites)] - 1, 2)) for sites in flips)
    jumps = sum(len(rows) ** 2 for jump in system.jumps for _, rows, _ in jump.channels())
    return 1 + 2 * hamiltonian + jumps


def _factor_entries(system: System, unknowns: float) -> float:
    """Entries of the LU factors, from MUMPS 5.5 with the PORD ordering.

    Measured, for n unknowns. Dimers, S = 8, 12, 20, 30 (n = 1785...77531), k = 0 and 1: 9.0-11.5 n^(4/3),
    nested dissection's law for the three quantum numbers of a sector. One spin, S = 40, 100: 4.6-16 n log2 n.
    Chains of 4 to 8 sites, S = 1/2, 1, 3/2 (n = 494...6563): 0.28-0.31 n², nothing gained by sparsity.
    """
    quantum_numbers = 2 * system.sites - (charge_weights(system) is not None)
    if quantum_numbers <= 2:
        return 16 * unknowns * np.log2(unknowns + 1)
    return min(11 * unknowns ** (4 / 3), unknowns**2) if quantum_numbers == 3 else 0.3 * unknowns**2


def _cost_of_lapack(system: System) -> Cost | None:
    """That of a steady state, where it is found so."""
    unknowns = unknowns_of(system, symmetries_of(system), HOME)
    return Cost(bytes=1e6 + 32 * unknowns**2, time=6e-4 + 1e-10 * unknowns**3) if unknowns <= LARGEST else None


def cost(system: System, options, record: Name) -> Cost:
    """Nothing is allocated: the unknowns are counted from the charges' multiplicities.

    bytes: 10 per factor entry (8, and MUMPS's work space; 2.5 with the factors on disk), 100 per matrix entry (this,
    PETSc's copies, MUMPS's copy), 8 per component of the Krylov basis. time: seconds on one core; the small dense
    problems of a Krylov space, and building the operators, are what small systems take.
    jobs/benchmarks/costs.py compares both with what is then used.
    """
    if options.task in ("correlation", "emission", "counting"):
        return _cost_of_two_times(system, options, record)
    if options.task == "steady_state" and not options.petsc_options and system.dimension <= SMALL:
        found = system.of_structure(("liouvillian", "cost"), lambda: _cost_of_lapack(system))
        if found is not None:
            return found
    symmetries = symmetries_of(system)
    entries = _entries_per_row(system)
    rows = [len(terms.sites) for terms in system.hamiltonian] + [len(jump.sites) for jump in system.jumps]
    building = 0.02 + 1.5e-3 * sum(rows)
    if (
        options.task not in ("evolve", "floquet", "floquet_gap") and system.dimension <= SMALL
    ):  # what follows from the structure is found once
        building = 5e-3
    if options.task in ("floquet", "floquet_gap"):
        return _cost_of_period(system, options, symmetries, entries, building, record)
    if options.task == "evolve":
        return _cost_of_evolution(system, options, symmetries, entries, building)
    if options.task == "antigap" and antigap.mirror(system) is None:
        return _cost_without_a_matrix(system, record, building)
    unknowns = unknowns_of(system, symmetries, record)
    factor = _factor_entries(system, unknowns)
    vectors, solves = 10, 6
    if options.task != "steady_state":
        vectors = min(2 * (options.eigenvalues or 2) + solvers.SUBSPACE, unknowns)
        solves = 1.5 * vectors
        building += 2e-8 * vectors**3
    kept = (
        48 * system.dimension**2 * (options.eigenvalues or 1) if options.save_state else 0
    )  # and what it is made from
    on_disk = str(options.petsc_options.get(ON_DISK)) == "1"
    memory = kept + (2.5 if on_disk else 10) * factor + (100 * entries + 8 * vectors) * unknowns
    assembling, solving = 6e-7 * entries * unknowns, 7e-12 * factor**1.5 + 5e-10 * solves * factor
    if options.task == "antigap":  # two factorisations, one after the other, and exp(tL) with a copy of the matrix
        memory += (24 * entries + 8 * (solvers.Assembled.vectors + 20)) * unknowns
        assembling, solving = 3 * assembling, 2 * solving + 3000 * (5e-5 + 1e-8 * entries * unknowns)
    elif options.task in ("gap", "spectrum"):
        solving = _excluding(options, record) * solving + _certificate(system, record)
        if options.conditions:  # a complex factorisation of L - λ and of its transpose for each
            solving += 2 * options.eigenvalues * (3e-11 * factor**1.5 + 3e-8 * factor)
            memory += 30 * factor
    return Cost(bytes=memory, time=building + assembling + solving)


def _excluding(options, record: Name) -> float:
    """Seconds over those of the search, for what it has not found is excluded too, in the steady state's sector first.

    Dimers, S = 4 to 20, spectrum: 7 to 60 there, 2 to 35 in others of k < LOW. Those of k >= LOW have few of the
    slowest eigenvalues: 1 to 3 where four are asked for (Γ̄ = g), 20 for eight.
    """
    if record.k < LOW:
        return 16.0 if record == HOME else 8.0
    return min(8.0, 0.65 * (options.eigenvalues or 2))


def _certificate(system: System, record: Name) -> float:
    """Seconds of the bound on what was not found, roughly: 150 steps, each with two products of σ^p on both sides of
    the blocks of ρ. Those of a dimer S = 13 take 70 to 155 steps and 0.06 to 0.15 s.
    """
    widths = multiplicities(system).astype(float)
    rows, columns = widths[record.k :], widths[: len(widths) - record.k]
    return 2e-7 * float(np.sum(rows * columns * (rows + columns)))


def _norms(system) -> tuple[float, float]:
    """Roughly, of the coherent and of the dissipative part of L."""
    lengths = system.levels / 2
    coherent = 2 * sum(terms.strengths(lengths).sum() for terms in system.hamiltonian)
    dissipative = sum(np.sum(jump.totals() * np.prod(lengths[jump.sites], axis=1) ** 2) for jump in system.jumps)
    return coherent, dissipative


def _cost_of_evolution(system, options, symmetries, entries, building) -> Cost:
    """The sectors that single spins see, of k <= 2 and no momentum, one after the other.

    Products with L: two Krylov spaces of 31 for an interval, or about 1.3 times its coherent norm and 0.23 times
    its dissipative one. A Taylor series in time takes about twice as many, 25 or more for each piece of the drive, and
    the operators of every part are built. A ρ without zeros to start from takes 16 bytes for each of D² elements, and
    four times as much to find its components in a sector.
    """
    start = 1 if starts.is_diagonal(system, options.initial) else system.dimension**2
    names = [
        name
        for name in symmetries.names(len(multiplicities(system)), every=True)
        if name.k <= 2 * (start > 1) and name.momentum == 0
    ]
    sizes = [unknowns_of(system, symmetries, name) for name in names]
    coherent, dissipative = _norms(system)
    intervals = np.diff(options.times, prepend=0)
    each = (1.3 * coherent + 0.23 * dissipative) * intervals
    products = np.maximum(62, each)[intervals > 0].sum()
    if drive := system.drive:
        pieces = len(np.union1d(drive.curve.breaks, options.times))
        products = (1 + 0.5 * len(drive.parts)) * max(25 * pieces, 2 * each.sum())
        building *= 2 + len(drive.parts)
    copies = [1 if start == 1 or symmetries.is_self_adjoint(name) else 2 for name in names]
    return Cost(
        bytes=(60 * entries + 8 * 50) * max(sizes) + 80 * start,
        time=building
        + 4e-8 * start * len(names)
        + products * sum(n * (1e-5 + (0.5e-9 * entries + 5e-9) * size) for n, size in zip(copies, sizes)),
    )


def _cost_of_period(system, options, symmetries, entries, building, record) -> Cost:
    """About 60 evolutions over a period, or over some of the short ones, in one sector; and a Krylov space."""
    size = unknowns_of(system, symmetries, record)
    coherent, dissipative = _norms(system)
    steps = 2 * (1.3 * coherent + 0.23 * dissipative) * options.period
    pieces = len(system.drive.curve.breaks) if system.drive else 1
    together = max(1.0, 2.0 / max(options.period * dissipative, 1e-2))
    products = 60 * together * (1 + 0.5 * (pieces > 1)) * max(25 * pieces, steps)
    parts = len(system.drive.parts) if system.drive else 0
    return Cost(
        bytes=((60 * entries + 8 * 50) * (1 + parts) + 8 * 60) * size,
        time=building * (2 + parts) + products * (1e-5 + (0.5e-9 * entries + 5e-9) * size),
    )


def _cost_of_two_times(system: System, options, record) -> Cost:
    """What follows the steady state, sector by sector, at most in those that the single spins of an evolution see.

    Bρ, and what it is made from, take 80 bytes for each of D² elements. A correlation is an evolution; a spectrum takes
    about 100 vectors in a Krylov space, twice in memory, and 40 factorisations where that is too small, which are not
    counted; the variance of a current is one more factorisation like that of the steady state.
    """
    state = cost(system, options.model_copy(update={"task": "steady_state", "save_state": False}), record)
    symmetries, entries = symmetries_of(system), _entries_per_row(system)
    every = symmetries.names(len(multiplicities(system)), every=True)
    sizes = np.array([unknowns_of(system, symmetries, name) for name in every if name.k <= 2])
    dense, starts = system.dimension**2, 2 * max(1, len(options.functions))
    memory, time = 80 * dense * starts, (4e-8 * dense * starts + 0.01) * len(every)
    if options.task == "counting":
        largest = sizes.max() / sizes[0]
        return Cost(
            state.bytes * largest + memory, state.time * (1 + len(options.channels) * largest * len(sizes)) + time
        )
    if options.task == "correlation":
        coherent, dissipative = _norms(system)
        each = (1.3 * coherent + 0.23 * dissipative) * np.diff(options.times, prepend=0)
        products, held = np.maximum(62, each)[each > 0].sum(), 60 * entries + 8 * 50
    else:
        held, vectors = 60 * entries + 16 * VECTORS, np.minimum(VECTORS, sizes)
        products, time = VECTORS, time + starts * float(np.sum(4e-10 * vectors**2 * sizes + 2e-8 * vectors**3))
    time += starts * products * float(np.sum(1e-5 + (0.5e-9 * entries + 5e-9) * sizes))
    return Cost(max(state.bytes, held * sizes.max()) + memory, state.time + time)


def _cost_without_a_matrix(system, record, building) -> Cost:
    """Vectors of half of the 4^N unknowns: the Krylov space, 7 to work in, and 3 more for several ranks.

    Products for each end: from r, the range of H (about 1.2 times that of its largest part) or η, over the mean rate
    of a spin, as measured for N = 8 and 9 with all pairs coupled, Jy = 1.4 and 3; on a lattice, where the decays of
    all momenta lie close together, about 3 times as many. Each takes 16 ns for an unknown, everything included.
    """
    largest = max(
        (np.sum(abs(terms.coefficients)) / 2 ** len(terms.operators) for terms in system.hamiltonian), default=0
    )
    size, eta = system.dimension**2 / 2, antigap.mirror_point(system)
    ratio = max(1.2 * largest, 1.5 * eta) * system.sites / (2 * eta)
    products = 2 * (240 + 17 * ratio if record.parity else 220 + 48 * ratio)
    if max((len(terms.sites) for terms in system.hamiltonian), default=0) < system.sites * (system.sites - 1) / 2:
        products *= 3
    return Cost(
        bytes=8 * size * (antigap.ParityBlocks.vectors + 10) + 3e3 * system.dimension,
        time=building + products * (size * 16e-9 + 2e-5),
    )
