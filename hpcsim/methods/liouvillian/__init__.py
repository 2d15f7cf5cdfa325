"""Exact: steady state, low spectrum, gap, time evolution, two-time functions and counting, sector by sector.

Sectors are those of all the symmetries that the model declares: weak U(1), translations, parities and the
transposition (see `symmetry`). Linear systems and eigenvalues are those of `hpcsim.solvers`.
"""

from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hpcsim import solvers
from hpcsim.methods import Context, Output
from hpcsim.methods.liouvillian import (
    conditions,
    counting,
    ends,
    floquet,
    frequencies,
    measurement,
    regression,
    saved,
    spectrum,
)
from hpcsim.methods.liouvillian.estimate import LOW, ON_DISK, cost, multiplicities, unknowns_of
from hpcsim.methods.liouvillian.evolve import evolve
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.steady import steady_state
from hpcsim.methods.liouvillian.symmetry import HOME, Name, symmetries
from hpcsim.observables import Plan, currents, two_times
from hpcsim.observables.outputs import time_dim
from hpcsim.system import (
    Count,
    Frequencies,
    Number,
    Parameters,
    System,
    Times,
    charge_weights,
    keys_of_task,
    require_unique,
    starts,
)

__all__ = ["LEAN", "Options", "cost", "needs", "outputs", "records", "run", "supports"]

LEAN = {"petsc_options": {ON_DISK: 1}}
DRIVEN = ("evolve", "floquet", "floquet_gap")
MEASURING = ("steady_state", "evolve", "floquet")
KEYS = {  # which tasks require a key, and no others have
    "times": ("evolve", "correlation", "floquet", "floquet_gap"),
    "period": ("floquet", "floquet_gap"),
    "eigenvalues": ("spectrum",),
    "functions": ("correlation", "emission"),
    "frequencies": ("emission",),
    "channels": ("counting",),
}
# what they declare, and what they compute
IN_STEADY_STATE = {
    "correlation": (two_times.outputs, regression.correlations),
    "emission": (two_times.outputs, frequencies.spectra),
    "counting": (currents.outputs, counting.statistics),
}
TASKS = ("steady_state", "spectrum", "gap", "antigap", "evolve", *IN_STEADY_STATE, "floquet", "floquet_gap")
LARGEST = 2**31 - 1  # MUMPS numbers the unknowns by 32-bit integers
ACCURACY = (
    Output("impurity", (), "1", "1/(D Tr ρ²), of D states"),
    Output("residual", (), "1", "|Lρ| / |L||ρ|"),
)


class Options(Parameters):
    """
    task          : steady_state; spectrum (of largest real part); gap (the slowest decay of all sectors; those
                    with k >= 2 are solved where they could hold it, see `exclusion`);
                    antigap (both ends of the spectrum of all sectors, see `ends`; of spins 1/2 with the mirror
                    symmetry without a factorisation); evolve (in time, from a spin coherent state or a saved one);
                    floquet (the periodic steady state of a schedule with a period) or floquet_gap (its slowest decay);
                    and in the steady state correlation (two-time functions ⟨A(τ) B(0)⟩ and g2), emission (their
                    spectra) or counting (mean and variance of the number of jumps)
    eigenvalues   : spectrum: how many are computed in every sector and kept in all, 6 by default
    sectors       : "all", or the list of k >= 0 that spectrum, gap and floquet_gap look into. The gap can be in any:
                    for a dimer with gain = loss in k = 0 or 1; with gain far from loss also in k = 2 or k = 2S
    initial       : evolve: [polar, azimuth] in units of π of the spin coherent state of all spins, or one
                    for each sublattice by name; along x by default. Boson modes are empty. Or any of random, {fock: m},
                    {alpha: [re, im]}, {dicke: M}, mixed, {steady_state: {model.KEY: value}}, {ground_state: {...}},
                    {thermal: {temperature: T, ...}}, see hpcsim/system/starts.py; of the same model at t = 0 with
                    other parameters. Or a saved steady state, {state: FILE, select: {KEY: value}}: of a run or
                    collected file of the same sites, beside the config or in the current folder, made with
                    save_state: true; select says which of several points
    times         : evolve: the times of the results, a list or linspace: [first, last, count]; correlation: the
                    delays τ; floquet: within a period, and last the period; 33 by default
    period        : floquet, floquet_gap: that of the schedule
    functions     : correlation, emission: a list of {name: g1, A: [[S+, 0]], B: [[S-, 0]]}, B acting first, with
                    products or sums of site operators as in observables, also {sum: S-, weights: [1, -1]}; or of
                    {name: g2, lowering: [[S-, 0]]}, of c = S-_0: correlation gives ⟨c† c†(τ) c(τ) c⟩ / ⟨c†c⟩², emission
                    the spectrum of ⟨c†(τ) c⟩. A spectrum is 2 Re ∫_0^∞ exp(-iωτ) of the connected function; the
                    coherent part is NAME_coherent
    frequencies   : emission: the ω, a rising list or linspace: [first, last, count]
    channels      : counting: a list of {name: photons, jumps: S-}, the jumps of that operator, or {name: net, jumps:
                    {S-: 1, S+: -1}, sites: [0]}, with weights and only on these sites. NAME is the mean number per
                    time, NAME_variance its variance per time, NAME_fano their ratio
    tolerance     : evolve, correlation: estimated relative error of ρ in each interval between times;
                    antigap: |Lx - λx|/|x| without a factorisation, relative to the norm of L, or to η;
                    emission: |(iω - L)y - x|/|x|
    integrator    : evolve, correlation: krylov; taylor or chebyshev, with three vectors in memory instead of
                    thirty, chebyshev faster the faster states oscillate; with a schedule always taylor, with thirteen
    observables   : more to measure than spins and their variances: see hpcsim.observables. purity is always measured
                    in the steady state
    conditions    : spectrum: also find the condition number of every eigenvalue, which diverges at an exceptional point
    save_state    : keep the steady state, or the eigenmatrices of the spectrum, in the file, see `saved`
    petsc_options : passed to PETSc and SLEPc, without the leading dash; the linear solver's begin with st_
                    (eps_ncv: 200, st_mat_mumps_icntl_14: 100). With st_mat_mumps_icntl_22: 1 the factors are on
                    disk, in $MUMPS_OOC_TMPDIR: a third of the memory. st_pc_factor_mat_solver_type: superlu_dist
                    is another direct solver
    """

    task: Literal[TASKS] = "steady_state"
    eigenvalues: Count | None = None
    sectors: Literal["all"] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = "all"
    initial: starts.accepting(*starts.EXAMPLES) = (0.5, 0.0)
    times: Times | None = None
    period: Annotated[Number, Field(gt=0)] | None = None
    functions: two_times.Functions = ()
    frequencies: Frequencies | None = None
    channels: currents.Channels = ()
    tolerance: Annotated[Number, Field(gt=0, lt=1)] = 1e-9
    observables: measurement.Items = ()
    conditions: bool = False
    save_state: bool = False
    integrator: solvers.Integrator = "krylov"
    petsc_options: solvers.PetscOptions = {}

    @model_validator(mode="before")
    @classmethod
    def _default_eigenvalues(cls, values):
        if isinstance(values, dict) and values.get("task") == "spectrum" and values.get("eigenvalues") is None:
            return values | {"eigenvalues": 6}
        return floquet.with_times(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _keys_of_the_task(self):
        keys_of_task(self, KEYS)
        if self.save_state and self.task not in saved.LARGEST:
            raise ValueError(
                f"save_state belongs to the tasks {' and '.join(saved.LARGEST)}, not to {self.task}; delete it"
            )
        if self.conditions and self.task != "spectrum":
            raise ValueError(f"conditions belong to task: spectrum, not to {self.task}; delete it")
        if self.task == "antigap" and self.sectors != "all":
            raise ValueError("sectors belongs to the tasks spectrum and gap, not to antigap, of all; delete it")
        if self.task not in MEASURING and self.observables:
            raise ValueError(f"observables belong to the tasks {', '.join(MEASURING)}, not to {self.task}; delete them")
        return self


def supports(system: System):
    """None, or why not: a direct solver cannot number the unknowns of the steady state's sector."""
    return system.of_structure(("liouvillian", "supports"), lambda: _too_large(system))


def _too_large(system: System) -> str | None:
    charges = np.sum(system.levels - 1) + 1 if charge_weights(system) is not None else 1
    # at least D² / (100 charges) unknowns, where D may be astronomical
    magnitude = 2 * np.sum(np.log10(system.levels)) - np.log10(100 * charges)
    if magnitude < np.log10(LARGEST):
        magnitude = np.log10(unknowns_of(system, symmetries(system), HOME))
    if magnitude < np.log10(LARGEST):
        return None
    return (
        f"the sector of the steady state has 10^{magnitude:.1f} unknowns, a direct solver takes "
        f"{LARGEST:.1e} at most: take fewer sites or smaller spins, or the method phase_space"
    )


def records(system: System, options: Options) -> tuple:
    """The sectors to solve; one for all where one is enough. Raises ValueError where an option does not fit."""
    if options.task in MEASURING:
        _plan(system, options)
    if options.task in ("floquet", "floquet_gap"):
        floquet.check(system, options)
    if options.task == "evolve":
        starts.check(system, options.initial)
    if options.save_state:
        saved.check(system, options.task)
    if options.task not in ("evolve", "spectrum"):
        require_unique(system, options.task)
    if options.task in IN_STEADY_STATE:
        outputs(system, options)
    if options.task in (*MEASURING, *IN_STEADY_STATE):
        return (HOME,)
    if options.task == "antigap":
        return ends.names(system, len(multiplicities(system)))
    names = _names(system, options)
    if options.conditions:
        conditions.check(max(unknowns_of(system, symmetries(system), name) for name in names))
    if options.task == "gap":  # of an excluded k nothing is solved: its sectors are one record
        first = {name.k: name for name in reversed(names)}
        return tuple(name for name in names if name.k < LOW or name == first[name.k])
    return names


def needs(system: System, options: Options, record: Name) -> tuple[int, ...]:
    """gap, spectrum: one sector, and for k >= LOW all of lower k, whose slowest rates say what is to be shown.

    That one is the first of k = 1 for the gap, where coherences decay more slowly than populations, as a rule.
    """
    if options.task not in ("gap", "spectrum"):
        return ()
    lower = _names(system, options, LOW)
    if record.k >= LOW:
        return tuple(range(len(lower)))
    coherent = [i for i, name in enumerate(lower) if name.k == 1]
    leading = coherent[0] if coherent and options.task == "gap" else 0
    return () if record == lower[leading] else (leading,)


def _names(system: System, options: Options, below: int | None = None) -> tuple[Name, ...]:
    """The sectors that spectrum and gap look into, those of k < below alone where given; those of a k follow each
    other."""
    shifts = len(multiplicities(system))
    names = symmetries(system).names(shifts if below is None else min(below, shifts))
    if options.sectors == "all":
        return tuple(names)
    for k in options.sectors:
        if k >= shifts:
            raise ValueError(
                f"method.sectors: k = {k}, but this model has the sectors 0..{shifts - 1}"
                + ("" if charge_weights(system) is not None else " (it has no weak U(1) symmetry)")
            )
    return tuple(name for name in names if name.k in options.sectors)


def _plan(system: System, options: Options) -> Plan:
    """What the tasks steady_state and evolve measure."""
    key = "liouvillian", "plan", id(options)
    return system.of_structure(key, lambda: (options, _planned(system, options)))[1]  # which live as long as their id


def _planned(system: System, options: Options) -> Plan:
    if options.task == "steady_state":
        return measurement.plan(system, ("purity", *options.observables), ())
    time = (time_dim(options.times, system.units),)
    return measurement.plan(system, options.observables, time, starts.breaks_symmetries(options))


def outputs(system: System, options: Options) -> tuple:
    """Spins in units of ħ; eigenvalues, rates and the gap in the unit of the model's rates."""
    if options.task == "steady_state":
        return (
            *_plan(system, options).outputs,
            *ACCURACY,
            *(saved.outputs(system, options) if options.save_state else ()),
        )
    if options.task in ("evolve", "floquet"):
        return (*_plan(system, options).outputs, *(floquet.outputs() if options.task == "floquet" else ()))
    if options.task == "floquet_gap":
        return floquet.gap_outputs(system)
    if options.task in IN_STEADY_STATE:
        return IN_STEADY_STATE[options.task][0](system, options)
    if options.task == "antigap":
        return ends.outputs(system)
    more: tuple[Output, ...] = ()
    if options.task == "spectrum":
        more = conditions.outputs(options) if options.conditions else ()
        more += saved.outputs(system, options) if options.save_state else ()
    return (*spectrum.outputs(system, options), *more)


def run(system: System, options: Options, record: Name, context: Context) -> dict:
    """Solve one sector, or evolve all, collectively over context.comm."""
    if options.task == "evolve":
        return evolve(system, options, _plan(system, options), context)
    if options.task == "floquet":
        return floquet.steady_state(system, options, _plan(system, options), context)
    if options.task == "floquet_gap":
        return floquet.gap(system, options, record, context)
    if options.task in IN_STEADY_STATE:
        return IN_STEADY_STATE[options.task][1](system, options, context)
    if options.task == "antigap":
        return ends.run(system, options, record, context)
    if options.task == "gap":
        return spectrum.gap(system, options, record, partial(_names, system, options), context)
    if options.task == "steady_state":
        return _steady_state(system, options, context)
    sector = Sector(kept_operators(system, context), record)
    found = spectrum.spectrum(system, options, record, context)
    if options.conditions:
        found["condition"] = conditions.condition_numbers(context.comm, sector, found["eigenvalues"])
    if options.save_state:
        found["eigenmatrices"] = saved.eigenmatrices(context.comm, sector, found["eigenvalues"])
    return found


def _steady_state(system: System, options: Options, context: Context) -> dict:
    comm, sector, state, residual = steady_state(system, options, context)
    found = measurement.steady(system, _plan(system, options), repr(options.observables), sector, state, comm)
    if options.save_state:
        found["rho"] = saved.density_matrix(comm, sector, state)
    return found | {"impurity": 1 / (system.dimension * found["purity"]), "residual": residual}
