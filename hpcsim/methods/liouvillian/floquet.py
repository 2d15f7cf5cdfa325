"""Periodic steady states and their slowest decay, of a system whose parameters are periodic in time.

The Liouvillian has the period T, and all states come to ρ(t + T) = ρ(t) but for what decays as |μ|^(t/T), with the
eigenvalues μ of the map P of one period (Floquet multipliers). P acts within the sectors of the symmetries that hold at
all times, and has the eigenvalue 1 in that of the steady state.
"""

import numpy as np

from hpcsim import solvers
from hpcsim.methods import Context, Output
from hpcsim.methods.liouvillian.evolve import Series, in_time
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.spectrum import LABELS
from hpcsim.methods.liouvillian.symmetry import HOME, Name
from hpcsim.observables import Plan
from hpcsim.system import System

ONE = 1e-7  # a multiplier this close to 1 is that of a state that comes back
POINTS = 33  # of a period, where no times are given


def with_times(values: dict) -> dict:
    """Options with times that end with the period."""
    if values.get("task") not in ("floquet", "floquet_gap") or not isinstance(values.get("period"), (int, float)):
        return values
    period, times = float(values["period"]), values.get("times")
    if values["task"] == "floquet_gap" or times is None:
        if values["task"] == "floquet_gap" and times is not None and list(times) != [period]:
            raise ValueError("times belong to task: floquet, not to floquet_gap; delete them")
        times = [period] if values["task"] == "floquet_gap" else np.linspace(0, period, POINTS).tolist()
    return values | {"times": times}


def check(system: System, options) -> None:
    """ValueError where options do not fit the system."""
    if system.drive is None:
        raise ValueError(
            f"method.task = {options.task}: no parameter depends on time; give a schedule, or take "
            f"{'steady_state' if options.task == 'floquet' else 'gap'}"
        )
    if abs(options.times[-1] - options.period) > 1e-12 * options.period:
        raise ValueError(f"method.times: the last one must be the period, {options.period:g}")


def outputs() -> tuple[Output, ...]:
    """What task: floquet gives besides what is measured."""
    return (Output("residual", (), "1", "|ρ(T) - ρ(0)| / |ρ(0)|"),)


def gap_outputs(system: System) -> tuple[Output, ...]:
    """What task: floquet_gap gives."""
    along = dict(reduce="at_min", sources=("gap",))
    return (
        Output("gap", (), system.units, "smallest -ln|μ|/T, the steady state left out", reduce="min"),
        Output("frequency", (), system.units, "|arg μ|/T of this multiplier, from 0 to π/T", **along),
        *(Output(f"gap_{label}", (), "1", f"{what} of its sector", **along) for label, what in LABELS.items()),
        Output("residual", (), "1", "|Px - μx| / |x|", **along),
    )


def _multipliers(system: System, options, sector: Sector, count: int, context: Context):
    moving = in_time(system, sector, context)
    accuracy = options.tolerance, options.petsc_options
    return moving, solvers.multipliers(context.comm, moving, options.period, count, *accuracy)


def _steady(found: solvers.Multipliers, sector: Sector) -> int:
    """Which multiplier is that of the steady state. Raises NotUnique."""
    ones = np.flatnonzero(abs(found.values - 1) < ONE)
    if len(ones) > 1:
        raise solvers.NotUnique(
            f"the periodic state is not unique: {sector} has the Floquet multiplier 1 more than once; add dissipation "
            "that connects all states, or take task: evolve, from a given initial state"
        )
    return int(ones[0]) if len(ones) else int(np.argmin(abs(found.values - 1)))


def steady_state(system: System, options, plan: Plan, context: Context) -> dict:
    """What is measured in the periodic state, at options.times. Collective over context.comm."""
    comm, sector = context.comm, Sector(kept_operators(system, context), HOME)
    moving, found = _multipliers(system, options, sector, 2, context)
    place = _steady(found, sector)
    trace = comm.allreduce(sector.trace(*solvers.row_range(comm, sector.size)) @ found.vectors[place])
    series = Series(system, options, plan, comm)
    series.sees(sector)
    series.add(sector, moving, (found.vectors[place] / trace).real.copy(), 1, 1)
    return series.results() | {"residual": found.errors[place]}


def gap(system: System, options, name: Name, context: Context) -> dict:
    """The slowest decay in one sector. Collective over context.comm."""
    sector = Sector(kept_operators(system, context), name)
    nothing = dict.fromkeys((output.name for output in gap_outputs(system)), np.nan)
    if sector.size <= (name == HOME):
        return nothing
    _, found = _multipliers(system, options, sector, 2 if name == HOME else 1, context)
    others = np.arange(len(found.values))
    if name == HOME:
        others = np.delete(others, _steady(found, sector))
    elif abs(found.values[0] - 1) < ONE:
        raise solvers.NotUnique(f"the periodic state is not unique: {sector} has the Floquet multiplier 1")
    first = others[0]
    rate = -np.log(found.values[first].astype(complex)) / options.period
    labels = {f"gap_{label}": float(value) for label, value in name._asdict().items()}
    return {"gap": rate.real, "frequency": abs(rate.imag), "residual": found.errors[first], **labels}
