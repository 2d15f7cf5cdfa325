"""Matrix-product density operators: the steady state of the infinite chain that a periodic one stands for.

The system is a few cells of a chain with nearest-neighbour terms and jumps on single sites. Here the chain is
infinite, so that no result depends on the number of cells. Two-site gates (evolve.py) advance ρ in time from the fully
mixed state until it comes to rest, with smaller and smaller time steps and with two bond dimensions. The changes from
the last time step and from the last bond dimension make the error of every result. Weak U(1) and Z2 charges are
conserved (chain.py).
"""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hpcsim.methods import Context, Cost, Output, Stopped
from hpcsim.methods.matrix_product import chain as chains
from hpcsim.methods.matrix_product.evolve import Evolution
from hpcsim.methods.matrix_product.measure import Items, Reduced, measure, own_outputs, plan
from hpcsim.system import Count, Number, Parameters, System, Whole, charge_weights

approximation = "the chain is infinite, and its density operator has a finite bond dimension"
STEPS = 10  # steps between two checks of the state


class Options(Parameters):
    """Times and rates are in the model's units.

    bond_dimension : χ of the results
    smaller        : χ' < χ of the results that they are compared with; by default χ/2, rounded up
    dt             : the last time step δ. ρ comes to rest at 4δ, 2δ and δ with χ', then at 2δ and δ with χ; the
                     result extrapolates the last two, (4X(δ) - X(2δ))/3
    tolerance      : ρ is at rest where no element of the density matrix of two neighbours changes faster
    max_time       : longest time at each step
    cutoff         : smallest singular value kept, of a vector ρ of norm 1
    distances      : longest distance of correlations, in cells
    observables    : what to measure besides spins, their variances and correlations: see hpcsim.observables
    """

    task: Literal["steady_state"] = "steady_state"
    bond_dimension: Annotated[Whole, Field(ge=2)] = 32
    smaller: Count | None = None
    dt: Annotated[Number, Field(gt=0)] = 0.05
    tolerance: Annotated[Number, Field(gt=0)] = 1e-5
    max_time: Annotated[Number, Field(gt=0)] = 100.0
    cutoff: Annotated[Number, Field(gt=0, lt=1e-2)] = 1e-12
    distances: Count = 8
    observables: Items = ()

    @model_validator(mode="after")
    def _two_bond_dimensions(self):
        if self.smaller is not None and self.smaller >= self.bond_dimension:
            raise ValueError(
                f"smaller = {self.smaller}: it must be below bond_dimension, {self.bond_dimension}: "
                "the difference is the error"
            )
        return self

    @property
    def stages(self) -> tuple[tuple[int, float], ...]:
        """(bond dimension, time step), in turn; the error compares the third and the fourth with the fifth."""
        small = self.smaller or (self.bond_dimension + 1) // 2
        return (
            (small, 4 * self.dt),
            (small, 2 * self.dt),
            (small, self.dt),
            (self.bond_dimension, 2 * self.dt),
            (self.bond_dimension, self.dt),
        )


def supports(system: System) -> str | None:
    """None, or why the system is not a chain of equal cells with nearest neighbours and small spins."""
    return chains.why_not(system)


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record. Raises ValueError where an observable does not fit."""
    plan(system, options.observables, options.distances)
    return (0,)


def cost(system: System, options: Options, record: int) -> Cost:
    """Assumes twelve units of time in every stage, which ordered and mixed phases take at rates of order 1."""
    levels, sites = int(system.levels.max()), 2
    conserved = charge_weights(system) is not None
    updates = [min(options.max_time, 12) / dt * sites for _, dt in options.stages]
    each = [
        6e-4 * levels**2 + 2.4e-10 * (chi * levels**2) ** 3 / (levels**2 if conserved else 2)
        for chi, _ in options.stages
    ]
    return Cost(
        bytes=1e8 + 100.0 * levels**8 + 100.0 * (options.bond_dimension * levels**2) ** 2,
        time=1 + float(np.dot(updates, each)),
    )


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Every observable X has X_error = |X(δ) - X(2δ)|/3 + |X(χ) - X(χ')|; further outputs tell how well ρ rests."""
    found = (*plan(system, options.observables, options.distances).outputs, *own_outputs())
    errors = [
        Output(f"{o.name}_error", o.dims, o.units, f"error of {o.name}: time step and bond dimension") for o in found
    ]
    return (
        *found,
        *errors,
        Output("error_time_step", (), "ħ", "largest part of Sz_error by the time step"),
        Output("error_bond_dimension", (), "ħ", "largest part of Sz_error by the bond dimension"),
        Output("truncation_error", (), "1", "largest discarded weight of a bond in a step, |ρ| = 1, at the end"),
        Output("residual", (), system.units, "largest |dρ/dt| of an element for two neighbours, at the end"),
        Output("at_rest", (), "1", "1 where all stages came below tolerance within max_time; else 0"),
        Output("least_probability", (), "1", "smallest eigenvalue of the density matrix of two neighbours"),
        Output("hermiticity", (), "1", "largest |ρ - ρ†| of an element for two neighbours"),
        Output("time", (), "1" if system.units == "1" else f"1/{system.units}", "time until rest, of all stages"),
    )


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Every rank of the group computes the same. Raises Stopped."""
    chain, wanted = chains.build(system), plan(system, options.observables, options.distances)
    evolution, found, rates, time = Evolution(chain), [], [], 0.0
    for bond_dimension, dt in options.stages:
        rate, duration = _settle(evolution, chain, bond_dimension, dt, options, context)
        found.append(measure(system, wanted, chain, evolution.psi))
        rates.append(rate)
        time += duration
    smaller, coarse, fine = found[2:]
    by_time = {name: abs(fine[name] - coarse[name]) / 3 for name in fine}
    by_bond = {name: abs(fine[name] - smaller[name]) for name in fine}
    pairs = [Reduced(chain, evolution.psi).pair(i) for i in range(len(chain.spins))]
    return (
        {name: (4 * fine[name] - coarse[name]) / 3 for name in fine}
        | {f"{name}_error": by_time[name] + by_bond[name] for name in fine}
        | {
            "error_time_step": by_time["Sz"].max(),
            "error_bond_dimension": by_bond["Sz"].max(),
            "truncation_error": evolution.discarded,
            "residual": rates[-1],
            "time": time,
            "at_rest": float(max(rates) <= options.tolerance),
            "least_probability": min(np.linalg.eigvalsh(rho + rho.conj().T)[0] / 2 for rho in pairs),
            "hermiticity": max(abs(rho - rho.conj().T).max() for rho in pairs),
        }
    )


def _settle(evolution, chain, bond_dimension: int, dt: float, options: Options, context: Context):
    """Advance until rest. Returns the rate of change at the end, and the time it took."""
    before, time, rate = None, 0.0, np.inf
    while time < options.max_time and rate > options.tolerance:
        if context.should_stop():
            raise Stopped
        evolution.discarded = 0.0
        evolution.advance(dt, STEPS, bond_dimension, options.cutoff)
        time += STEPS * dt
        reduced = Reduced(chain, evolution.psi)
        pairs = [reduced.pair(i) for i in range(len(chain.spins))]
        if before is not None:
            rate = max(abs(now - then).max() for now, then in zip(pairs, before)) / (STEPS * dt)
        before, rate = context.comm.bcast((pairs, rate))
    return rate, time
