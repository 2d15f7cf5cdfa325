"""Exact: steady state, low spectrum, gap and time evolution of the Liouvillian, sector by sector.

Sectors are those of all the symmetries that the model declares: weak U(1), translations, parities and the
transposition (see `symmetry`). Linear systems and eigenvalues are those of `hpcsim.solvers`.
"""
import hashlib
import pickle
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from hpcsim import solvers
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.liouvillian import antigap, exclusion, measurement
from hpcsim.methods.liouvillian.sectors import Sector, operators
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.system import Count, Initial, Number, Parameters, System, Times, WeakU1, angles

LARGEST = 2**31 - 1     # MUMPS numbers the unknowns by 32-bit integers
KEPT = 2**26            # bytes of one kind of weights that are kept, see _gap
ON_DISK = "st_mat_mumps_icntl_22"       # MUMPS's option to keep the factors out of core
LOW = 2                 # task gap: the sectors k < LOW are solved in any case, of others those not excluded


def _different(names):
    if len(set(names)) < len(names):
        raise ValueError("each observable once")
    return names


class Options(Parameters):
    """
    task          : steady_state; spectrum (of largest real part); gap (the slowest decay of all sectors; those
                    with k >= 2 are solved where they could hold it, see `exclusion`);
                    antigap (both ends of the spectrum of spins 1/2, see `antigap`, without a factorisation);
                    or evolve (in time, from a spin coherent state)
    eigenvalues   : spectrum: how many are computed in every sector and kept in all, 6 by default
    sectors       : "all", or the list of k >= 0 that spectrum and gap look into. The gap can be in any: for a
                    dimer with gain = loss in k = 0 or 1; with gain far from loss also in k = 2 or k = 2S
    initial       : evolve: [polar, azimuth] in units of π of the spin coherent state of all spins, or one
                    for each sublattice by name; along x by default. Boson modes are empty
    times         : evolve: the times of the results, a list or linspace: [first, last, count]
    tolerance     : evolve: estimated relative error of ρ in each interval between times;
                    antigap: |Lx - λx|/η|x|
    observables   : more to measure: squeezing; of the steady state also P_ab (two spins), P_n (one boson mode)
    petsc_options : passed to PETSc and SLEPc, without the leading dash; the linear solver's begin with st_
                    (eps_ncv: 200, st_mat_mumps_icntl_14: 100). With st_mat_mumps_icntl_22: 1 the factors are on
                    disk, in $MUMPS_OOC_TMPDIR: a third of the memory. st_pc_factor_mat_solver_type: superlu_dist
                    is another direct solver
    """

    task: Literal["steady_state", "spectrum", "gap", "antigap", "evolve"] = "steady_state"
    eigenvalues: Count | None = None
    sectors: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = "all"
    initial: Initial = (0.5, 0.0)
    times: Times | None = None
    tolerance: Annotated[Number, Field(gt=0, lt=1)] = 1e-9
    observables: Annotated[tuple[Literal[measurement.OBSERVABLES], ...], AfterValidator(_different)] = ()
    petsc_options: dict[str, str | int | float] = {}

    @model_validator(mode="before")
    @classmethod
    def _default_eigenvalues(cls, values):
        if isinstance(values, dict) and values.get("task") == "spectrum":
            return {"eigenvalues": 6} | values
        return values

    @model_validator(mode="after")
    def _keys_of_the_task(self):
        if self.task == "evolve" and self.times is None:
            raise ValueError("times is missing; task: evolve requires it")
        if self.task != "evolve" and self.times is not None:
            raise ValueError(f"times belongs to task: evolve, not to {self.task}; delete it")
        if self.task != "spectrum" and self.eigenvalues is not None:
            raise ValueError(f"eigenvalues belongs to task: spectrum, not to {self.task}; delete it")
        if self.task in ("spectrum", "gap", "antigap") and self.observables:
            raise ValueError(f"observables belong to the tasks steady_state and evolve, not to {self.task}; "
                             "delete them")
        return self


def _multiplicities(system: System) -> np.ndarray:
    """How many basis states each charge has, from the lowest: the coefficients of Π_i Σ_j x^(w_i j)."""
    u1 = system.symmetry(WeakU1)
    if u1 is None:
        return np.array([system.dimension])
    weights = np.ones(system.sites, int) if u1.weights is None else np.abs(u1.weights)
    counts = np.ones(1)
    for levels, weight in zip(system.levels, weights):
        site = np.zeros(weight * (levels - 1) + 1)
        site[::weight or 1] = levels if weight == 0 else 1
        counts = np.convolve(counts, site)
    return counts


def _unknowns(system: System, symmetries: Symmetries, name: Name) -> float:
    """Nearly: orbits that a symmetry maps to themselves count like the others."""
    sizes = _multiplicities(system)
    return float(sizes[name.k:] @ sizes[:len(sizes) - name.k]) / symmetries.reduction(name)


def supports(system: System):
    """None, or why not: a direct solver cannot number the unknowns of the steady state's sector."""
    charges = np.sum(system.levels - 1) + 1 if system.symmetry(WeakU1) else 1
    # at least D² / (100 charges) unknowns, where D may be astronomical
    magnitude = 2 * np.sum(np.log10(system.levels)) - np.log10(100 * charges)
    if magnitude < np.log10(LARGEST):
        magnitude = np.log10(_unknowns(system, Symmetries(system), HOME))
    if magnitude < np.log10(LARGEST):
        return None
    return (f"the sector of the steady state has 10^{magnitude:.1f} unknowns, a direct solver takes "
            f"{LARGEST:.1e} at most: take fewer sites or smaller spins, or the method phase_space")


def records(system: System, options: Options) -> tuple:
    """The sectors to solve; one for all where one is enough. Raises ValueError where an option does not fit."""
    measurement.check(system, options.observables, options.task == "evolve")
    if options.task == "evolve":
        angles(system, options.initial)
    if options.task in ("steady_state", "evolve"):
        return (HOME,)
    if options.task == "antigap":
        if reason := antigap.mirror(system):
            raise ValueError(f"method.task = antigap: needs the mirror symmetry of the spectrum, and {reason}; "
                             "use task: gap")
        return Name(0, 0), Name(0, 1)
    names = _names(system, options)
    if options.task == "gap":       # of an excluded k nothing is solved: its sectors are one record
        first = {name.k: name for name in reversed(names)}
        return tuple(name for name in names if name.k < LOW or name == first[name.k])
    return names


def _names(system: System, options: Options) -> tuple[Name, ...]:
    """The sectors that spectrum and gap look into; those of a k follow each other."""
    shifts = len(_multiplicities(system))
    if options.sectors == "all":
        return tuple(Symmetries(system).names(shifts))
    for k in options.sectors:
        if k >= shifts:
            raise ValueError(f"method.sectors: k = {k}, but this model has the sectors 0..{shifts - 1}"
                             + ("" if system.symmetry(WeakU1) else " (it has no weak U(1) symmetry)"))
    return tuple(name for name in Symmetries(system).names(shifts) if name.k in options.sectors)


def _entries_per_row(system: System) -> float:
    """Of a sector's matrix, about: the diagonal, H on either side, and every jump."""
    conserved = system.symmetry(WeakU1) is not None
    flips = {tuple(sorted(set(sites))) for terms in system.hamiltonian if set(terms.operators) - {"Sz", "n"}
             for sites, c in zip(terms.sites.tolist(), terms.coefficients) if c != 0}
    # a spin 1/2 can only be flipped, others go up or down
    hamiltonian = sum(2 if conserved else np.prod(np.minimum(system.levels[list(sites)] - 1, 2))
                      for sites in flips)
    jumps = sum(len(jump.sites)**(2 if jump.collective else 1) for jump in system.jumps if np.any(jump.rates))
    return 1 + 2 * hamiltonian + jumps


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


def cost(system: System, options: Options, record: Name) -> Cost:
    """Nothing is allocated: the unknowns are counted from the charges' multiplicities.

    bytes: 10 per factor entry (8, and MUMPS's work space; 2.5 with the factors on disk), 100 per matrix entry (this,
    PETSc's copies, MUMPS's copy), 8 per component of the Krylov basis. time: seconds on one core; the small dense
    problems of a Krylov space, and building the operators, are what small systems take.
    jobs/benchmarks/costs.py compares both with what is then used.
    """
    symmetries = Symmetries(system)
    entries = _entries_per_row(system)
    rows = [len(terms.sites) for terms in system.hamiltonian] + [len(jump.sites) for jump in system.jumps]
    building = 0.02 + 1.5e-3 * sum(rows)
    if options.task == "evolve":
        return _cost_of_evolution(system, options, symmetries, entries, building)
    if options.task == "antigap":
        return _cost_of_antigap(system, record, building)
    unknowns = _unknowns(system, symmetries, record)
    factor = _factor_entries(system, unknowns)
    vectors, solves = 10, 6
    if options.task != "steady_state":
        vectors = min(2 * (options.eigenvalues or 2) + solvers.SUBSPACE, unknowns)
        solves = 1.5 * vectors
        building += 2e-8 * vectors**3
    on_disk = str(options.petsc_options.get(ON_DISK)) == "1"
    memory = (2.5 if on_disk else 10) * factor + (100 * entries + 8 * vectors) * unknowns
    return Cost(bytes=memory, time=building + 6e-7 * entries * unknowns + 7e-12 * factor**1.5 + 5e-10 * solves * factor)


def _norms(system) -> tuple[float, float]:
    """Roughly, of the coherent and of the dissipative part of L."""
    coherent = sum(2 * abs(c) * np.prod(system.levels[sites] / 2) for terms in system.hamiltonian
                   for c, sites in zip(terms.coefficients, terms.sites))
    dissipative = sum(rate * (system.levels[site] / 2) ** 2 for jump in system.jumps
                      for rate, site in zip(np.broadcast_to(jump.rates, len(jump.sites)), jump.sites))
    return coherent, dissipative


def _cost_of_evolution(system, options, symmetries, entries, building) -> Cost:
    """The sectors that single spins see, of k <= 2 and no momentum, one after the other.

    Products with L: two Krylov spaces of 31 for an interval, or about 1.3 times its coherent norm and 0.23 times
    its dissipative one. A ρ without zeros to start from takes 16 bytes for each of D² elements, and four times as
    much to find its components in a sector.
    """
    start = 1 if np.all(np.sin(angles(system, options.initial)[:, 0]) < 1e-9) else system.dimension**2
    names = [name for name in symmetries.names(len(_multiplicities(system)), every=True)
             if name.k <= 2 * (start > 1) and name.momentum == 0]
    sizes = [_unknowns(system, symmetries, name) for name in names]
    coherent, dissipative = _norms(system)
    intervals = np.diff(options.times, prepend=0)
    products = np.maximum(62, (1.3 * coherent + 0.23 * dissipative) * intervals)[intervals > 0].sum()
    copies = [1 if start == 1 or symmetries.is_self_adjoint(name) else 2 for name in names]
    return Cost(bytes=(60 * entries + 8 * 50) * max(sizes) + 80 * start,
                time=building + 4e-8 * start * len(names)
                + products * sum(n * (1e-5 + (0.5e-9 * entries + 5e-9) * size) for n, size in zip(copies, sizes)))


def _cost_of_antigap(system, record, building) -> Cost:
    """Vectors of half of the 4^N unknowns: the Krylov space, 7 to work in, and 3 more for several ranks.

    Products for each end: from r, the range of H (about 1.2 times that of its largest part) or η, over the mean rate
    of a spin, as measured for N = 8 and 9, Jy = 1.4 and 3. Each takes 16 ns for an unknown,
    everything included.
    """
    largest = max((np.sum(abs(terms.coefficients)) / 2**len(terms.operators) for terms in system.hamiltonian),
                  default=0)
    size, eta = system.dimension**2 / 2, antigap.mirror_point(system)
    ratio = max(1.2 * largest, 1.5 * eta) * system.sites / (2 * eta)
    products = 2 * (240 + 17 * ratio if record.parity else 220 + 48 * ratio)
    return Cost(bytes=8 * size * (solvers.KRYLOV + 10) + 3e3 * system.dimension,
                time=building + products * (size * 16e-9 + 2e-5))


def outputs(system: System, options: Options) -> tuple:
    """Spins in units of ħ; eigenvalues, rates and the gap in the unit of the model's rates."""
    if options.task == "steady_state":
        return (
            *measurement.outputs(system, options.observables, ()),
            Output("purity", (), "1", "Tr ρ²"),
            Output("impurity", (), "1", "1/(D Tr ρ²), of D states"),
            Output("residual", (), "1", "|Lρ| / |L||ρ|"),
        )
    if options.task == "evolve":
        time = Dim("time", options.times, "1" if system.units == "1" else f"1/{system.units}")
        return measurement.outputs(system, options.observables, (time,))
    if options.task == "antigap":
        return (
            Output("gap", units=system.units, reduce="min", long_name="smallest -Re λ but for the zero"),
            Output("antigap", units=system.units, reduce="min",
                   long_name="distance of the second-smallest Re λ from the smallest"),
            Output("gap_parity", reduce="at_min", sources=("gap",), long_name="1 if the gap is odd about z"),
            Output("mirror_defect", units=system.units, reduce="at_min", sources=("gap",),
                   long_name="|gap - antigap| in the sector with the gap"),
            Output("residual", units=system.units, reduce="at_min", sources=("gap",),
                   long_name="|Lx - λx| / |x|"))
    labels = {"k": "k", "parity": "parity (bits of the involutions it is odd under)", "momentum": "momentum"}
    found = [Output("gap", units=system.units, reduce="min",
                    long_name="smallest -Re λ, the steady state's zero left out")]
    found += [Output(f"gap_{label}", reduce="at_min", sources=("gap",),
                     long_name=f"{what} of the sector with the gap")
              for label, what in labels.items()]
    if options.task == "gap":
        return (*found, Output("residual", reduce="at_min", sources=("gap",), long_name="|Lx - λx| / |L||x|"),
                Output("excluded_decay", units=system.units, reduce="min",
                       long_name="rate that all eigenvalues of the excluded sectors exceed"))
    merged = dict(dims=(Dim("eigenvalue", tuple(range(options.eigenvalues))),), reduce="merge")
    along = dict(merged, sources=("eigenvalues",))
    return (
        Output("eigenvalues", units=system.units, dtype="c16",
               long_name="eigenvalues of the Liouvillian, largest real part first", **merged),
        Output("residual", long_name="|Lx - λx| / |L||x|", **along),
        *(Output(f"sector_{label}", long_name=f"{what} of the eigenvalue's sector", **along)
          for label, what in labels.items()),
        *found,
    )


def run(system: System, options: Options, record: Name, context: Context) -> dict:
    """Solve one sector, or evolve all, collectively over context.comm."""
    if options.task == "evolve":
        return _evolve(system, options, context.comm)
    if options.task == "antigap":
        return _antigap(system, options, record.parity, context.comm)
    if options.task == "gap":
        return _gap(system, options, record, context.comm)
    sector = Sector(operators(system), record)
    if options.task == "steady_state":
        return _steady_state(system, sector, options, context.comm)
    return _spectrum(sector, options, context.comm)


_found = {}     # task gap: the sectors of each system, and the results of those solved so far
_weights = {}   # likewise, up to KEPT bytes. Records of several points of a sweep come in turns


def _gap(system: System, options: Options, record: Name, comm) -> dict:
    """Of one sector k < LOW; of all of a higher k, if they are not shown to decay faster than those."""
    key = hashlib.blake2b(pickle.dumps((system, options))).digest()
    if key not in _found:
        _found[key] = _names(system, options), {}
    names, known = _found[key]

    def of_sector(name):
        if name not in known:
            known[name] = _spectrum(Sector(operators(system), name), options, comm)
        return known[name]

    if record.k < LOW:
        return of_sector(record) | {"excluded_decay": np.nan}
    gap = min((of_sector(name)["gap"] for name in names if name.k < LOW), key=_nan_last, default=0.0)
    fastest = np.nan
    if gap > 0:
        if key not in _weights:
            if sum(weights.root.nbytes for weights in _weights.values()) > KEPT:
                _weights.clear()
            _weights[key] = exclusion.weights(comm, operators(system), options.petsc_options)
        fastest = comm.bcast(exclusion.decay(_weights[key], record.k, gap) if comm.rank == 0 else None)
    if np.isnan(fastest):
        results = [of_sector(name) for name in names if name.k == record.k]
        return min(results, key=lambda result: _nan_last(result["gap"])) | {"excluded_decay": np.nan}
    return dict.fromkeys(known[names[0]], np.nan) | {"excluded_decay": fastest}


def _nan_last(rate: float) -> float:
    return np.inf if np.isnan(rate) else rate


def _spectrum(sector: Sector, options: Options, comm) -> dict:
    wanted, steady = options.eigenvalues or 1, sector.name == HOME
    values, errors = np.zeros(0, complex), np.zeros(0)
    if sector.size:
        count = min(max(wanted, 1 + steady), sector.size)   # the gap is beside the zero
        values, errors = solvers.leading_eigenvalues(comm, sector, count, options.petsc_options)
    zero = _zero(values, sector) if steady else []
    decaying, residuals = np.delete(values, zero), np.delete(errors, zero)
    found = {"gap": -decaying[0].real if len(decaying) else np.nan}
    found |= {f"gap_{label}": float(value) for label, value in sector.name._asdict().items()}
    if options.task == "gap":
        return found | {"residual": residuals[0] if len(residuals) else np.nan}
    padding = max(wanted - len(values), 0)

    def kept(array):
        return np.pad(array, (0, padding), constant_values=np.nan)[:wanted]

    return found | {"eigenvalues": kept(values), "residual": kept(errors)} | {
        f"sector_{label}": kept(np.full(len(values), float(value)))
        for label, value in sector.name._asdict().items()}


def _zero(values, sector: Sector) -> int:
    """Where the steady state's eigenvalue is; RuntimeError if it is not among them."""
    zero, scale = np.argmin(abs(values)), abs(sector.operators.effective).sum(1).max()
    if abs(values[zero]) > 1e-9 * scale:
        raise RuntimeError("the eigenvalue 0 of the steady state was not found; nearest is "
                           f"{values[zero]:.3e}: raise method.eigenvalues")
    return zero


def _steady_state(system: System, sector: Sector, options: Options, comm) -> dict:
    state, residual = solvers.steady_state(comm, sector, options.petsc_options)
    rows = solvers.row_range(comm, sector.size)
    values = {key: np.array([comm.allreduce(sector.functional(operator, *rows).real @ state)])
              for key, operator in measurement.operators(system, options.observables).items()}
    found = {name: value[..., 0] for name, value in
             measurement.results(system, options.observables, values).items()}
    probability = comm.allreduce(sector.diagonal(state, *rows))
    if "P_ab" in options.observables:
        found["P_ab"] = probability.reshape(system.levels)
        found["participation"] = 1 / (system.dimension * np.sum(probability**2))
    if "P_n" in options.observables:
        mode = int(np.argmax(system.cutoffs))
        others = tuple(site for site in range(system.sites) if site != mode)
        found["P_n"] = probability.reshape(system.levels).sum(axis=others)[::-1]
    purity = comm.allreduce(sector.weight[slice(*rows)] @ state**2)
    return found | {"purity": purity, "impurity": 1 / (system.dimension * purity), "residual": residual}


def _evolve(system: System, options: Options, comm) -> dict:
    """Every sector in which both the initial state and an observable have a part.

    Sectors that the adjoint takes to others are evolved once and count twice, as their real parts.
    """
    built, times = operators(system), np.array(options.times)
    initial = measurement.coherent_state(system, angles(system, options.initial))
    measured = measurement.operators(system, options.observables)
    values = np.zeros((len(times), len(measured)))
    for name in built.symmetries.names(len(built.first) - 1, every=True):
        sector = Sector(built, name)
        if not sector.size:
            continue
        rows = solvers.row_range(comm, sector.size)
        seen = np.array([sector.functional(operator, *rows) for operator in measured.values()])
        if comm.allreduce(np.linalg.norm(seen)) < 1e-14:
            continue
        start = sector.components(initial, *rows)
        copies = 1 if built.symmetries.is_self_adjoint(name) else 2
        for part, unit in (start.real.copy(), 1), (start.imag.copy(), 1j):
            if comm.allreduce(np.linalg.norm(part)) < 1e-14:
                continue
            steps = solvers.propagate(comm, sector, part, np.diff(times, prepend=0), options.tolerance,
                                      options.petsc_options)
            for t, state in enumerate(steps):
                values[t] += copies * (unit * (seen @ state)).real
    values = comm.allreduce(values)
    return measurement.results(system, options.observables, dict(zip(measured, values.T)))


def _antigap(system: System, options: Options, odd: int, comm) -> dict:
    """Both ends of one sector of the parity about z; its zero, and what mirrors that, are left out."""
    operator, eta = antigap.ParityBlocks(system, odd), antigap.mirror_point(system)
    crossed = antigap.exchanges_sectors(system)
    ends, residuals = [], []
    for largest, extreme in (True, 0.0), (False, -2 * eta):
        known = int(odd == (crossed and not largest))
        values, errors = solvers.end_of_spectrum(comm, operator, largest, 1 + known, options.tolerance * eta,
                                                 options.petsc_options)
        if known and abs(values[0] - extreme) > 1e-6 * eta:
            raise RuntimeError(f"the end of the spectrum is {values[0]:.6g}, not {extreme:.6g}: "
                               "lower method.tolerance")
        ends.append(abs(values[known].real - extreme))
        residuals.append(errors[known])
    defect = np.nan if crossed else abs(ends[0] - ends[1])
    return {"gap": ends[0], "antigap": ends[1], "gap_parity": float(odd), "mirror_defect": defect,
            "residual": max(residuals)}
