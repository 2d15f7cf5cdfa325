"""Equivalent spins 1/2, exactly: steady state, spectrum, evolution and two-time functions of symmetric states.

For any system of spins 1/2 in which all sites and all pairs of sites are equivalent (fields, couplings of all pairs,
local jumps at one rate, collective jumps), ρ is given by its C(N+3, 3) correlators of symmetrised Pauli strings. The
Liouvillian is a real sparse matrix that acts on them (see `basis`). Where rotations by π about z are a symmetry, it
splits into two sectors: n_x + n_y even, with the steady state, and odd.

The spectrum is that part of the full spectrum that belongs to symmetric operators.

With N = 300, local decay 1, Jx = 0.6, Jy = 1.2, Jz = 1, solver: iterative took 51 s of CPU and 3.1 GB; a factorisation
has 4.0e9 entries and takes 3.2e13 operations and 38 GB, says the analysis of MUMPS.
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import numpy as np
from mpi4py import MPI
from pydantic import Field, model_validator

from hpcsim import solvers
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.permutation import correlations, spectrum
from hpcsim.methods.permutation.basis import Balanced, Moved, Strings, sector_size
from hpcsim.methods.permutation.compile import NotSymmetric, compile_system, field_moves
from hpcsim.methods.permutation.dicke import EXTENDED
from hpcsim.methods.permutation.extended import refine
from hpcsim.methods.permutation.observables import Items, angular_average, measure, own_outputs, plan
from hpcsim.methods.permutation.ordering import mumps
from hpcsim.methods.permutation.starts import correlators, is_even
from hpcsim.observables import Plan, two_times
from hpcsim.observables.outputs import inverse, time_dim
from hpcsim.system import Count, Frequencies, Number, Parameters, System, Times, keys_of_task, require_unique, starts

LEAN = {"solver": "iterative"}
DRIVEN = ("evolve",)
KEYS = {  # which tasks require a key, and no others have
    "times": ("evolve", "correlation"),
    "functions": ("correlation", "emission"),
    "frequencies": ("emission",),
}
LARGEST = 2**31 - 1  # MUMPS numbers the unknowns by 32-bit integers
NOISE = 1e-13  # smaller eigenvalues of Dicke blocks, after a time evolution, are errors: see `dicke`
TWO_TIMES = {"correlation": correlations.correlations, "emission": correlations.spectra}
TRACE = 1e-9  # accepted deviation of the trace of the Dicke blocks from 1
PROBE = 1e-3  # a system with a larger relative residual has no solution


class Options(Parameters):
    """
    task           : steady_state, spectrum, evolve; or of the steady state correlation (two-time functions) or emission
                     (their spectra)
    susceptibility : steady_state: also the linear response to fields along x and y
    eigenvalues    : spectrum: how many, of largest real part, are computed in every sector and kept in all
    initial        : evolve: [polar, azimuth] in units of π of the product state of equal spins; [0, 0] is up. Or
                     {fock: m}, all with this Sz; {dicke: M}, the symmetric state of this total Sz; mixed; or
                     {steady_state: {model.KEY: value}}, of the same model with other parameters
    times          : evolve: the times of the results, a list or linspace: [first, last, count]; correlation: the
                     delays τ
    functions      : correlation, emission: as those of the method liouvillian, where B, or lowering, is the sum of one
                     operator over all sites: {name: g2, lowering: {sum: S-}}
    frequencies    : emission: the ω, a rising list or linspace: [first, last, count]
    tolerance      : evolve, correlation: relative error of the correlators between two times; emission:
                     |(iω - L)y - x|/|x|
    solver         : steady_state: direct, a factorisation; iterative, GMRES, which needs a tenth of the memory and
                     is a few times faster for 100 spins, and more for larger N, where spins are damped about as
                     strongly as they are coupled; or auto, iterative if it converges and otherwise direct. The
                     susceptibility always takes the direct solver
    observables    : what to measure in the steady state and in time, besides spins, their variances, squeezing, purity
                     and entropy: see hpcsim.observables
    integrator     : evolve, correlation: krylov; taylor or chebyshev, with three vectors in memory instead of
                     thirty, chebyshev faster the faster states oscillate; with a schedule always taylor, with thirteen
    petsc_options  : passed to PETSc and SLEPc, without the leading dash; the linear solver's begin with st_
    """

    task: Literal["steady_state", "spectrum", "evolve", "correlation", "emission"] = "steady_state"
    susceptibility: bool = False
    solver: Literal["auto", "direct", "iterative"] = "auto"
    eigenvalues: Count = 6
    initial: starts.accepting("direction", "fock", "dicke", "mixed", "steady_state") = (0.0, 0.0)
    times: Times | None = None
    functions: two_times.Functions = ()
    frequencies: Frequencies | None = None
    tolerance: Annotated[Number, Field(gt=0, lt=1)] = 1e-9
    observables: Items = ()
    integrator: solvers.Integrator = "krylov"
    petsc_options: solvers.PetscOptions = {}

    @model_validator(mode="after")
    def _of_the_task(self):
        keys_of_task(self, KEYS)
        if self.observables and self.task not in ("steady_state", "evolve"):
            raise ValueError(
                f"observables belong to the tasks steady_state and evolve, not to {self.task}; delete them"
            )
        if self.susceptibility and self.task != "steady_state":
            raise ValueError(f"susceptibility belongs to task: steady_state, not to {self.task}; delete it")
        return self


def supports(system: System) -> str | None:
    """None, or why the system is not permutation symmetric, or too large."""
    try:
        moves = compile_system(system)
    except NotSymmetric as reason:
        return f"{reason}; permutation needs equivalent spins 1/2"
    size = sector_size(system.sites, int(moves.conserves_parity))
    if size > LARGEST:
        return f"the sector of the steady state has {size:.1e} unknowns, a direct solver takes {LARGEST:.1e} at most"
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """The sectors to solve: parity of n_x + n_y, or 0 for all strings together. ValueError where an observable does
    not fit."""
    if options.task != "spectrum":
        _plan(system, options)
    conserved = compile_system(system).conserves_parity
    if options.task in ("steady_state", *TWO_TIMES):
        require_unique(system, options.task)
    if options.task in TWO_TIMES:
        correlations.check(system, options)
        outputs(system, options)
    if options.task == "spectrum":
        return (1, -1) if conserved else (0,)
    if options.task == "evolve":
        starts.check(system, options.initial)
        return (1,) if conserved and is_even(system, options.initial) else (0,)
    return (int(conserved),)


def cost(system: System, options: Options, record: int) -> Cost:
    """From MUMPS 5.5 and GMRES on one core, local and collective decay, N = 60...200.

    For n unknowns a factor has 0.5 to 0.7 n^1.40 entries times the entries in a row of the matrix. Each takes at most
    10 bytes, work space included. With solver: auto the cost is that of the factorisation, which may be needed.
    """
    size, entries = sector_size(system.sites, record), len(compile_system(system).shifts[1])
    if options.task == "evolve":
        steps = max(options.times) * 4 * system.sites
        return Cost(bytes=(100 * entries + 400) * size, time=0.05 + 5e-9 * size * steps)
    if options.task in TWO_TIMES:  # two evolutions, or two Krylov spaces of 200 vectors, of each function
        found = cost(system, options.model_copy(update={"task": "steady_state"}), record)
        vectors, products = (50, 62 * len(options.times)) if options.task == "correlation" else (400, 400)
        each = products * (2e-9 * entries + 2e-7) * size
        return Cost(
            max(found.bytes, (100 * entries + 16 * vectors) * size), found.time + 2 * len(options.functions) * each
        )
    if options.task == "steady_state" and options.solver == "iterative" and not options.susceptibility:
        return Cost(bytes=(40 * entries + 8 * (solvers.GMRES[0] + 20)) * size, time=0.1 + 1.5e-6 * entries * size)
    if options.task == "spectrum" and size <= spectrum.LAPACK:
        return Cost(bytes=40 * size**2, time=0.1 + 2e-10 * size**3)
    factor = 0.7 * entries * size**1.40
    vectors = 2 * options.eigenvalues + solvers.SUBSPACE if options.task == "spectrum" else 8
    times = 2 if options.susceptibility else 1
    memory = 10 * factor + (150 * entries + 8 * vectors) * size
    again = 4e-6 * system.sites * size if options.task == "spectrum" else 0  # exp(tL)
    return Cost(bytes=memory, time=0.1 + again + times * (3e-12 * factor**1.5 + 1.7e-9 * vectors * factor))


def _plan(system: System, options: Options) -> Plan:
    """What the tasks steady_state and evolve measure."""
    time = (time_dim(options.times, system.units),) if options.task == "evolve" else ()
    return plan(system, options.observables, time)


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Correlators of Pauli matrices have no unit; spin components are in units of ħ."""
    if options.task == "spectrum":
        return spectrum.outputs(system, options.eigenvalues)
    if options.task in TWO_TIMES:
        return two_times.outputs(system, options)
    plan = _plan(system, options)
    found = (*plan.outputs, *own_outputs(plan.time))
    if options.task == "steady_state":
        found += (Output("residual", (), "1", "|Lρ| / |L||ρ|"),)
    if options.susceptibility:
        per_field = inverse(system.units)
        axes = (Dim("response", ("x", "y")), Dim("probe", ("x", "y")))
        found += (
            Output("chi", axes, per_field, "∂⟨σ⟩/∂h in a field h Σ σ"),
            Output("chi_av", (), per_field, "angular average of the susceptibility"),
        )
    return found


def run(system: System, options: Options, record: int, context: Context) -> dict:
    """Solve one sector, collectively over context.comm."""
    comm, moves = context.comm, compile_system(system)
    if options.task == "spectrum":
        return spectrum.run(Balanced(system.sites, record, moves), options, comm)
    sector = Strings(system.sites, record, moves)
    if options.task == "evolve":
        return _evolve(system, sector, options, context)
    results, found, e = _found(system, sector, options, context)
    if options.task in TWO_TIMES:
        return TWO_TIMES[options.task](system, options, comm, found, e)
    if options.susceptibility:
        results["chi"] = _susceptibility(found, e, options, context)
        results["chi_av"] = angular_average(results["chi"])
    return results


def _found(system: System, sector: Strings, options: Options, context: Context):
    """What is measured in the steady state, its sector, and its correlators in the numbering of that."""
    comm, cache = context.comm, context.cache
    direct = partial(_direct, cache=cache)
    if options.solver != "direct":
        try:
            iterated = _measured(system, sector, options, comm, _iterative)
            if not abs(missing := iterated[0]["trace_error"]) < TRACE:
                raise solvers.NotConverged(f"the Dicke blocks miss {missing:.1e} of the trace")
            return iterated
        except solvers.NotConverged as error:
            if options.solver == "iterative":
                raise RuntimeError(f"{error}: take solver: direct") from None
    return _measured(system, sector, options, comm, direct)


def _measured(system: System, sector: Strings, options: Options, comm, solver):
    """Observables, and the correlators in the numbering of the sector between them."""
    sector = Strings(sector.N, sector.parity, sector.moves, solver is not _iterative)
    *parts, error, residual = solver(comm, sector, options)
    e, low = (np.concatenate(comm.allgather(part)) for part in parts)
    results = None
    if comm.rank == 0:
        found = _plan(system, options)
        values, own = measure(found, system, sector, e, low, max(EXTENDED, error))
        results = found.finish(values) | own
    return comm.bcast(results) | {"residual": residual}, sector, e


def _direct(comm, sector: Strings, options: Options, cache):
    """Correlators, high and low, of this rank, their error and residual."""
    parts, residual = solvers.steady_state(
        comm, sector, mumps(comm, options.petsc_options), partial(refine, comm, sector), cache
    )
    return (*parts, residual)


def _iterative(comm, sector: Strings, options: Options):
    """As `_direct`. Where there is a second steady state, most right-hand sides of few sites have no solution."""
    here = np.arange(*solvers.row_range(comm, sector.size))
    with solvers.pinned_inverse(comm, sector, sector.index(0, 0, 0)) as (solve, multiply):
        solve(np.cos(here) * (here < 200), PROBE)
        mixed = sector.trace(here[0], here[-1] + 1)
        *parts, error = refine(comm, sector, solve, mixed - solve(multiply(mixed)[0]))
        return (*parts, error, multiply(parts[0])[1])


def _susceptibility(sector: Strings, e, options: Options, context: Context) -> np.ndarray:
    """χ[α, β] = ∂⟨σ_α⟩/∂h_β from L δe = -L_β e, with the field's L_β: (2, 2)."""
    comm = context.comm
    answering = Strings(sector.N, -sector.parity, sector.moves)  # a field along x or y changes the parity
    start, stop = solvers.row_range(comm, answering.size)
    chi = np.empty((2, 2))
    for b, probe in enumerate(("Sx", "Sy")):
        source = -answering.rows_towards(sector, start, stop, field_moves(probe)) @ e
        local = solvers.response(comm, answering, source, mumps(comm, options.petsc_options), context.cache)
        change = np.concatenate(comm.allgather(local))
        chi[:, b] = change[answering.index(1, 0, 0)], change[answering.index(0, 1, 0)]
    return chi


def steady_start(system: System, options: Options, where: str) -> Callable[[], np.ndarray]:
    """What finds e[n_x, n_y, n_z] of the steady state of a system, to evolve under options from it. See `methods`."""
    chosen = Options(petsc_options=options.petsc_options)
    try:
        if reason := supports(system):
            raise ValueError(reason)
        (record,) = records(system, chosen)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None

    def find() -> np.ndarray:
        alone = Context(MPI.COMM_SELF, (0, 0), lambda: False)
        _, sector, e = _found(system, Strings(system.sites, record, compile_system(system)), chosen, alone)
        found = np.zeros((system.sites + 1,) * 3)
        found[tuple(sector.layout.counts.T)] = e
        return found

    return find


def _evolve(system: System, sector: Strings, options: Options, context: Context) -> dict:
    comm = context.comm
    start, stop = solvers.row_range(comm, sector.size)
    counts = sector.layout.counts[start:stop]
    if starts.kind(options.initial) in starts.OF_RUN:
        state = context.shared_start(options.initial)[tuple(counts.T)]
    else:
        state = correlators(system, options.initial, counts)
    found, measured = _plan(system, options), []
    intervals, accuracy = np.diff(options.times, prepend=0), (options.tolerance, options.petsc_options)
    moving = sector
    if drive := system.drive:
        moving = solvers.InTime(tuple(Moved(sector, compile_system(part)) for part in drive.systems), drive.curve)
    for local in solvers.propagate(comm, moving, state, intervals, *accuracy, options.integrator):
        parts = comm.gather(local)
        if comm.rank == 0:
            e = np.concatenate(parts)
            measured.append(measure(found, system, sector, e, np.zeros_like(e), NOISE))
    if comm.rank != 0:
        return comm.bcast(None)
    values, own = (
        {name: np.stack([each[name] for each in kind], axis=-1) for name in kind[0]} for kind in zip(*measured)
    )
    return comm.bcast(found.finish(values) | own)
