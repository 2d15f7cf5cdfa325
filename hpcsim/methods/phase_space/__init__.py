"""Truncated Wigner method: classical spins with noise, averaged over trajectories (huber2021).

The Wigner function of the Schwinger bosons of each spin, S+ = α†β, is sampled by stochastic
trajectories; the truncation leaves errors of relative order 1/S. Two schemes for decay and pump:

spin_conserving : the whole second-order diffusion of S∓, which keeps every classical spin's length.
                  Jump operators S∓ with rate γ give ds = b × s dt (Stratonovich) with
                  b = ±γ (-s_y, s_x, 0) + √γ (ξ_x, ξ_y, 0).
pda             : the positive diffusion approximation of huber2021 (Eqs. 22, 23), which drops the mixed
                  derivatives. The spin length N/2 then does a random walk,
                  d Var(N)/N² = (γ/2) ⟨S_⊥²⟩/S² dt, and there is no steady state where spins are mixed:
                  watch spin_length and var_spin_length.

Any graph of couplings of equal spin components, local fields, squares of spin components, and local
jumps S-, S+, Sx, Sy, Sz. Results are means over the sites of a sublattice, so variances are those of one
site where the sites of a sublattice are equivalent, as in periodic lattices.
"""
from typing import Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from hpcsim.ensemble import EnsembleOptions, gather, share
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.phase_space.compile import compile_system, unsupported
from hpcsim.methods.phase_space.kernels import QUANTITIES, simulate, spin_coherent
from hpcsim.system import Count, Number, System

# trajectories advanced together; the arrays of 100 sites then just fit into a core's cache
LANES = 128
# per site and step: for each LANES trajectories begun, and for each trajectory (measured)
SECONDS = {"spin_conserving": (150e-9, 3e-9), "pda": (300e-9, 9e-9)}


def _numbers(value) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) for x in value)


def _direction(value):
    if not _numbers(value) or len(value) != 2 or not 0 <= value[0] <= 1:
        raise ValueError("a direction is [polar, azimuth] in units of π, with 0 <= polar <= 1; [0, 0] is up")
    return float(value[0]), float(value[1])


def _initial(value):
    if isinstance(value, dict) and value:
        return {str(name): _direction(direction) for name, direction in value.items()}
    return _direction(value)


def _times(value):
    if isinstance(value, dict) and list(value) == ["linspace"]:
        try:
            value = [float(f"{t:.12g}") for t in np.linspace(*value["linspace"])]
        except (TypeError, ValueError):
            raise ValueError("write linspace: [first, last, count]") from None
    if not _numbers(value) or not value or value[0] < 0 or np.any(np.diff(value) <= 0):
        raise ValueError(
            "times are a rising list of numbers, not negative, or linspace: [first, last, count]")
    return tuple(float(t) for t in value)


Direction = tuple[float, float]


class Options(EnsembleOptions):
    """Every time is in the model's unit of time, and a whole number of steps dt.

    task         : steady_state (averaged over time after burn_in) or evolve (at given times)
    scheme       : spin_conserving or pda
    dt           : step; errors are of second order, so halve it to see them
    initial      : [polar, azimuth] in units of π of the spin coherent state of all sites, or one for each
                   sublattice by name. Along x by default, as far from the poles as can be
    sample_every : steady_state: steps between samples
    burn_in      : steady_state: time before averaging, 200 by default
    duration     : steady_state: time of averaging, 200 by default
    times        : evolve: the times of the results, a list or linspace: [first, last, count]
    """

    task: Literal["steady_state", "evolve"] = "steady_state"
    scheme: Literal["spin_conserving", "pda"] = "spin_conserving"
    dt: Annotated[Number, Field(gt=0)] = 0.05
    initial: Annotated[Direction | dict[str, Direction], BeforeValidator(_initial)] = (0.5, 0.0)
    sample_every: Count = 10
    burn_in: Annotated[Number, Field(ge=0)] | None = None
    duration: Annotated[Number, Field(gt=0)] | None = None
    times: Annotated[tuple[float, ...], BeforeValidator(_times)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _default_times(cls, values):
        if isinstance(values, dict) and values.get("task", "steady_state") == "steady_state":
            return {"burn_in": 200.0, "duration": 200.0} | values
        return values

    @field_validator("burn_in", "duration", "times")
    @classmethod
    def _whole_steps(cls, value, info: ValidationInfo):
        per_sample = info.field_name == "duration"
        if value is None or "dt" not in info.data or "sample_every" not in info.data:
            return value
        unit = info.data["dt"] * (info.data["sample_every"] if per_sample else 1)
        steps = np.atleast_1d(value) / unit
        if np.any(wrong := np.abs(steps - np.round(steps)) > 1e-6):
            what = "dt * sample_every" if per_sample else "dt"
            raise ValueError(
                f"{unit * steps[wrong][0]:g} is not a multiple of {what} = {unit:g}; change one of them")
        return value

    @model_validator(mode="after")
    def _times_of_the_task(self):
        for task, keys in {"steady_state": ("burn_in", "duration"), "evolve": ("times",)}.items():
            for key in keys:
                if task == self.task and getattr(self, key) is None:
                    raise ValueError(f"{key} is missing; task: {task} requires it")
                if task != self.task and getattr(self, key) is not None:
                    raise ValueError(f"{key} belongs to task: {task}, not to {self.task}; delete it")
        return self


def supports(system: System) -> str | None:
    """None, or why the truncated Wigner equations of this system are not known here."""
    return unsupported(system)


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record for each batch of trajectories.

    Raises ValueError if `initial` does not fit the sublattices, or dt is far too large for the system.
    """
    _angles(system, options)
    drift, noise = compile_system(system, options.scheme).fastest(system.spins)
    fastest = max(drift / 2, noise)
    if options.dt * fastest > 1:
        raise ValueError(
            f"dt = {options.dt:g}: too large: spins turn at rates up to {drift:.3g} and noise has powers up "
            f"to {noise:.3g}; use dt <= {0.1 / fastest:.1g} or so, and halve it to see the error")
    return tuple(range(options.batches))


def cost(system: System, options: Options, record: int) -> Cost:
    """Time in seconds of one core; batches of 64 and more are cheapest per trajectory.

    Ranks of a group share the trajectories of a record.
    """
    gaps, slots = _schedule(options)
    per_site = 16 if options.scheme == "spin_conserving" else 20
    moments = 4 * (slots[-1] + 1) * QUANTITIES * len(system.sublattices)
    per_block, per_trajectory = SECONDS[options.scheme]
    per_step = system.sites * (-(-options.batch // LANES) * per_block + options.batch * per_trajectory)
    return Cost(bytes=8.0 * options.batch * (per_site * system.sites + moments),
                time=(float(gaps.sum()) + 1) * per_step)


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Means and variances of the spin components by sublattice (and time), in units of ħ."""
    time = ()
    if options.task == "evolve":
        time = (Dim("time", options.times, "1" if system.units == "1" else f"1/{system.units}"),)
    dims = (Dim("sublattice", tuple(system.sublattices)), *time)
    out = []
    for axis in "xyz":
        s, name = f"S{axis}", f"S_{axis}"
        out += [
            Output(s, dims, "ħ", f"⟨{name}⟩ of a site", reduce="mean"),
            Output(f"{s}2", dims, "ħ²", f"⟨{name}²⟩ of a site", reduce="mean"),
            Output(f"var_{s}", dims, "ħ²", f"variance of {name} of a site", reduce="variance",
                   sources=(f"{s}2", s)),
        ]
    return (
        *out,
        Output("S_perp", dims, "ħ", "sqrt(⟨S_x⟩² + ⟨S_y⟩²) of a site", reduce="norm", sources=("Sx", "Sy")),
        Output("Mz", time, "ħ", "total magnetisation Σ ⟨S_z⟩", reduce="mean"),
        Output("spin_length", dims, "ħ", "length of a site's classical spin", reduce="mean"),
        Output("spin_length2", dims, "ħ²", "squared length of a site's classical spin", reduce="mean"),
        Output("var_spin_length", dims, "ħ²", "variance of the classical spin length", reduce="variance",
               sources=("spin_length2", "spin_length")),
    )


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Means over the trajectories of one batch; bit-identical on any number of ranks."""
    mine = share(options.batch, context.comm)
    gaps, slots = _schedule(options)
    tables = compile_system(system, options.scheme).over(options.dt)
    angles, key = _angles(system, options), np.array(context.key, np.uint64)
    conserving = options.scheme == "spin_conserving"
    sublattices = len(system.sublattices)
    moments = np.zeros((slots[-1] + 1, QUANTITIES, sublattices, len(mine)))
    for start in range(0, len(mine), LANES):
        lanes = min(LANES, len(mine) - start)
        first = np.uint64(record * options.batch + mine[start])
        spinors, total = np.empty((system.sites, 4, lanes)), np.zeros((*moments.shape[:-1], lanes))
        spin_coherent(spinors, conserving, system.spins, angles, first, key)
        simulate(total, gaps, slots, spinors, conserving, tables, options.dt, system.spins,
                 system.sublattice, first, key)
        moments[..., start:start + lanes] = total
    sites = np.bincount(system.sublattice, minlength=sublattices)
    # every rank averages the same numbers in the same order
    means = gather(moments, context.comm).mean(axis=-1) / (np.bincount(slots)[:, None, None] * sites)
    return _results(means if options.task == "evolve" else means[0], sites)


def _schedule(options: Options):
    """Steps before each sample, and the time index that the sample is added to."""
    if options.task == "evolve":
        steps = np.rint(np.array(options.times) / options.dt).astype(int)
        return np.diff(steps, prepend=0), np.arange(len(steps))
    samples = round(options.duration / (options.dt * options.sample_every))
    gaps = np.full(samples, options.sample_every)
    gaps[0] += round(options.burn_in / options.dt)
    return gaps, np.zeros(samples, int)


def _angles(system: System, options: Options) -> np.ndarray:
    """(sites, 2) polar angle and azimuth of the initial states."""
    names, initial = system.sublattices, options.initial
    directions = initial if isinstance(initial, dict) else dict.fromkeys(names, initial)
    if set(directions) != set(names):
        raise ValueError(f"initial = {directions}: give one direction for all sites, or one for each of the "
                         f"sublattices {', '.join(names)}")
    return np.pi * np.array([directions[name] for name in names])[system.sublattice]


def _results(means: np.ndarray, sites: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs, [sublattice] or [sublattice, time], from the means [..., quantity, sublattice]."""
    names = ("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2", "spin_length", "spin_length2")
    results = dict(zip(names, np.moveaxis(means, -2, 0).swapaxes(1, -1)))
    return results | {"Mz": np.tensordot(sites, results["Sz"], 1)}
