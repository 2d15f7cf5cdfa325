"""Gaussian theory: spins as bosons about a product state, to second order (huber2020, Appendix A).

Every spin points along n_i, with e1, e2, n right-handed. To leading orders in S, Holstein and Primakoff give

    S_i = n_i (S_i - c†c) + sqrt(S_i/2) (e1_i X_i + e2_i P_i),   X = c + c†,  P = -i(c - c†),  [X, P] = 2i.

The product state is a fixed point of the classical equations, so that terms of first order vanish. With
ξ = (X_1, P_1, X_2, ...), H = ½ ξᵀGξ and jump operators L = λ + l·ξ + ..., of which λ adds to H,

    dξ/dt = A ξ + noise,  dV/dt = A V + V Aᵀ + D,  V = ½⟨{ξ, ξᵀ}⟩,
    A = 2 Ω (G - Im M),  D = 4 Ω (Re M) Ωᵀ,  M = Σ γ l l†,  Ω = ⊕ [[0, 1], [-1, 0]],

and V = 1 without excitations. Results hold for S → ∞ and have relative errors of order 1/S; at S = 1/2 they
describe hard-core bosons without their constraint (lee2013).

Where a Translation is declared, all cells are alike and A, D and V have one block for every wave vector,
A_k = Σ_s A_0s exp(iks): lattices of thousands of sites are solved in this way. All other systems are one block.
"""

import itertools
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hpcsim import solvers
from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.gaussian import configurations
from hpcsim.methods.gaussian import evolve as moving
from hpcsim.methods.gaussian.lattice import lattice_of
from hpcsim.methods.gaussian.linear import fixed_point
from hpcsim.methods.gaussian.moments import Items, averaging, covariance, moments, plan
from hpcsim.system import (
    Count,
    Initial,
    Number,
    Parameters,
    System,
    Times,
    angles,
    cartesian,
    keys_of_task,
    left_over,
    starts,
)

DRIVEN = ("evolve",)
approximation = "leading order in 1/S about a product state"


class Options(Parameters):
    """By default the steady state about the most stable of the polarised states is computed.

    task  : steady_state; evolve: fluctuations about the product state that moves by the classical equations; or
            configurations: the least stable fluctuation about each of the 2^sites states with all spins up or down
    state : steady_state: where Newton's search for a fixed point of the classical equations starts: [polar,
            azimuth] in units of π for all sites, or one for each sublattice by name. By default it starts from
            every choice of up and down for the sublattices, and the most stable fixed point is taken
    observables : steady_state: what to measure besides spins, their variances, purity and, along a translation,
            correlations: products of up to two spin components, see hpcsim.observables
    keep  : configurations: how many to keep, the most stable first
    initial : evolve: [polar, azimuth] in units of π of the spin coherent state of all sites, or one for each
            sublattice by name; along x by default
    times : evolve: the times of the results, a list or linspace: [first, last, count]
    tolerance : evolve: relative error of frames and covariances
    """

    task: Literal["steady_state", "evolve", "configurations"] = "steady_state"
    state: Initial | None = None
    observables: Items = ()
    keep: Count = 4096
    initial: starts.accepting("direction") = (0.5, 0.0)
    times: Times | None = None
    tolerance: Annotated[Number, Field(gt=0, lt=1)] = 1e-9

    @model_validator(mode="after")
    def _of_the_task(self):
        keys_of_task(self, {"times": ("evolve",)})
        if self.task != "steady_state" and self.state is not None:
            raise ValueError(f"state belongs to task: steady_state, not to {self.task}; delete it")
        if self.task == "configurations" and self.observables:
            raise ValueError("observables belong to task: steady_state, not to configurations; delete them")
        return self


def supports(system: System) -> str | None:
    """None, or the reason: spins do not stay near a product state, or a term cannot be linearised here."""
    if np.any(system.cutoffs):
        return "it has boson modes; gaussian linearises spins"
    for terms in cartesian(system):
        if len(terms.operators) > 2:
            return f"its Hamiltonian has products of more than two operators, {terms}"
        if left_over(terms):
            return f"its Hamiltonian has {terms}: gaussian needs Sx, Sy, Sz, their squares and products of two sites"
    for jumps in filter(lambda jumps: jumps.used, system.jumps):
        if not jumps.of_spins:
            return f"it has the jump operator {jumps}; gaussian needs S-, S+ and sums of one of them"
        if jumps.operators[0] not in ("S-", "S+"):
            return (
                f"jump operators {jumps.operators[0]} dephase spins away from every product state; gaussian "
                "needs S- and S+ alone"
            )
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record, or chunks of the configurations. Raises ValueError where the options do not fit."""
    if options.state is not None:
        angles(system, options.state)
    if options.task == "evolve":
        angles(system, options.initial)
    if options.task != "configurations":
        plan(system, lattice_of(system), options.observables)
        return (0,)
    if system.sites > configurations.LARGEST:
        raise ValueError(
            f"task = configurations: the system has 2^{system.sites} of them; {configurations.LARGEST} sites at most"
        )
    return tuple(range(configurations.records(system)))


def cost(system: System, options: Options, record: int) -> Cost:
    """Cost of dense linear algebra: a block for every wave vector, or for every configuration up to translations."""
    lattice = lattice_of(system)
    size, cells, sites = 2.0 * len(lattice.home), lattice.cells, system.sites
    if options.task == "configurations":
        count = 2**sites / configurations.records(system)
        return Cost(
            bytes=600.0 * configurations.BATCH * sites**2 + 24.0 * count * cells + 100 * options.keep,
            time=0.01 + 1e-7 * count * cells + count / cells * 6e-9 * (sites + 10) ** 3,
        )
    if options.task == "evolve":
        systems = 1 + len(system.drive.parts) if system.drive else 1
        pairs = sum(len(terms.sites) for terms in system.hamiltonian) + len(system.jumps) * sites
        steps = 12 * (10 + 10 * options.times[-1])
        each = systems * (3e-4 + 3e-6 * pairs) + cells * (2e-5 + 2e-9 * size**3)
        return Cost(bytes=1e6 + 800.0 * cells * size**2 + 1000.0 * pairs, time=0.01 + steps * each)
    begun = 1 if options.state is not None else 2 ** len(system.sublattices)
    pairs = sum(len(terms.sites) for terms in system.hamiltonian) + sum(
        len(jumps.sites) ** (2 if jumps.collective else 1) for jumps in system.jumps
    )
    return Cost(
        bytes=200.0 * cells * size**2 + 1000.0 * pairs + 1000.0 * sites,
        time=0.003 + cells * (6e-5 + 1.5e-9 * size**3 * (2 + begun)) + 1e-6 * pairs * begun + 2e-6 * sites,
    )


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """All outputs are NaN where there is no fixed point, and moments where it is not stable."""
    unit = system.units
    if options.task == "configurations":
        dims = (Dim("configuration", tuple(range(min(options.keep, 2**system.sites)))),)
        along = dict(dims=dims, reduce="merge", sources=("damping",))
        return (
            Output(
                "damping",
                dims,
                unit,
                "-Re μ of the least stable fluctuation of a configuration, the most stable configuration first",
                reduce="merge",
            ),
            Output("frequency", units=unit, long_name="|Im μ| of this fluctuation", **along),
            Output("magnetisation", units="1", long_name="mean of ±1 over the sites", **along),
            Output("code", units="1", long_name="bit i is set where site i is up", **along),
        )
    if options.task == "evolve":
        return moving.outputs(system, options)
    lattice = (Dim("sublattice", tuple(system.sublattices)),)
    components = (Dim("component", ("x", "y", "z")), *lattice)
    found = [
        *plan(system, lattice_of(system), options.observables).outputs,
        Output("direction", components, "1", "direction of the product state"),
        Output("occupation", lattice, "1", "⟨c†c⟩, excitations of a site"),
        Output(
            "quadrature_squeezing", lattice, "1", "smallest variance of a quadrature of a site over that of the vacuum"
        ),
        Output("stable", (), "1", "1 where all fluctuations decay, 0 where not"),
        Output("relaxation_rate", (), unit, "-Re μ of the least stable fluctuation"),
        Output("frequency", (), unit, "|Im μ| of the least stable fluctuation"),
    ]
    if system.sites > 1:
        partner = (Dim("partner", tuple(range(1, system.sites))),)
        found += [
            Output("negativity", partner, "1", "negativity of site 0 with another site"),
            Output("log_negativity", partner, "1", "logarithmic negativity (nats), likewise"),
        ]
    if orders := lattice_of(system).orders:
        half = orders[0] // 2 + 1
        waves = Dim("wavenumber", tuple(2 * m / orders[0] for m in range(half)), "π/cell")
        found += [
            Output("slowest_wavenumber", (), "π/cell", "wavenumber of the least stable fluctuation"),
            Output(
                "growth_rate",
                (waves,),
                unit,
                "Re μ of the least stable fluctuation with this wavenumber (along the first translation)",
            ),
            Output("squeezing_of_waves", (*lattice, waves), "1", "ξ² of Σ_n cos(kn) c_n"),
        ]
    return tuple(found)


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Every rank of the group computes the same. Raises ValueError where a declared translation does not hold."""
    if options.task == "configurations":
        return configurations.solve(system, record, options.keep)
    return moving.evolve(system, options) if options.task == "evolve" else _steady_state(system, options)


def _steady_state(system: System, options: Options) -> dict:
    results = {o.name: np.full([len(d.values) for d in o.dims], np.nan, o.dtype) for o in outputs(system, options)}
    results["stable"] = np.float64(0)
    lattice, best = lattice_of(system), None
    for start in _starts(system, options):
        if (found := fixed_point(system, lattice, start)) is None:
            continue
        drift = lattice.transform(found[1].drift)
        values = np.linalg.eigvals(drift)
        if best is None or values.real.max() < best[2].real.max() - solvers.TIE * abs(values).max():
            best = *found, values, drift
    if best is None:
        return results
    frames, linear, values, drift = best
    lattice.verify(system, linear.drift)
    slowest = values.flat[int(solvers.slowest(values.ravel()))]
    mean = averaging(system, lattice)
    results |= {
        "direction": (mean @ frames[lattice.home, 0]).T,
        "relaxation_rate": -slowest.real,
        "frequency": abs(slowest.imag),
    }
    if lattice.orders:
        length = lattice.orders[0]
        growth = values.real.max(axis=tuple(range(1, values.ndim)))[: length // 2 + 1]
        results |= {
            "growth_rate": growth,
            "slowest_wavenumber": 2 * solvers.first_largest(growth, abs(values).max()) / length,
        }
    if slowest.real < -1e-10 * (1 + np.abs(drift).max()):
        V = covariance(drift, lattice.transform(linear.diffusion))
        results |= {"stable": np.float64(1)} | moments(
            system, lattice, frames, V, plan(system, lattice, options.observables)
        )
    return results


def _starts(system: System, options: Options):
    """The directions (sites, 3) from which Newton's method starts."""
    if options.state is not None:
        polar, azimuth = angles(system, options.state).T
        xyz = np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
        return [np.round(xyz, 15)]
    choices = itertools.product((1.0, -1.0), repeat=len(system.sublattices))
    return [np.outer(np.array(signs)[system.sublattice], [0, 0, 1.0]) for signs in choices]
