"""Mean field: averages of spins in the field of each other's averages, site by site or in clusters.

Without `cluster` every site is a spin of its own, so that density waves can form (equations.py describes how the
equations of larger spins are closed). With `cluster: n` the n consecutive sites of a cluster are treated exactly in
the mean field of the equal clusters around it; n = 1 is the Gutzwiller approximation.

Steady states are found by integration from several starts, or by Newton's method. The Jacobian tells whether they
are stable: a start that comes to rest at a saddle is pushed off it. A start that does not come to rest is in a limit
cycle, whose period is then found, in chaos or in a slow decay; its averages are taken over time.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.mean_field import cluster as clusters
from hpcsim.methods.mean_field import measure, order
from hpcsim.methods.mean_field.steady import Clustered, Sites, at_rest, evolve, steady_state, time_of
from hpcsim.observables.outputs import inverse
from hpcsim.system import Count, Number, Parameters, System, Times, cartesian, left_over, starts

DRIVEN = ("evolve",)
RELAXATIONS = 60  # decay times of the slowest spin after which nearly everything is at rest

approximation = "averages of products on different sites, or in different clusters, are factorised"


class Options(Parameters):
    """Times and rates are in the model's units.

    task      : steady_state, or evolve (at given times)
    cluster   : number of consecutive sites treated exactly. By default none: equations of spin averages
    initial   : [polar, azimuth] in units of π of all spins, or one for each sublattice by name: the first start.
                Or random, {fock: m} (Sz = m, of all or by sublattice), mixed (no averages), or
                {steady_state: {model.KEY: value}}: what most of `starts` reach with other parameters, at rest. By
                default random directions, for every site its own; further starts are always random
    starts    : steady_state: number of starts; all attractors are listed, and the most frequent one is reported
    search    : steady_state: integration, or roots: Newton's method directly from the starts, which also finds
                unstable fixed points
    duration  : steady_state: longest time of integration, counted anew after each push off a saddle
    settled   : steady_state: a state is at rest where no |ds/dt| exceeds S times this (for a cluster, no |dρ/dt|
                exceeds this), or where no average moves by more than 100 times tolerance in an eighth of the
                duration
    stability : steady_state: find the largest eigenvalues of the Jacobian, and leave saddles. Without it, a start
                that keeps a symmetry may end at an unstable point
    tolerance : error of a time step, relative to S
    observables : what to measure besides spins and, for clusters and spins 1/2, their variances: see
                hpcsim.observables. In a limit cycle products on several sites, or in one cluster, are NaN
    times     : evolve: the times of the results, a list or linspace: [first, last, count]
    """

    task: Literal["steady_state", "evolve"] = "steady_state"
    cluster: Count | None = None
    initial: starts.accepting("direction", "random", "fock", "mixed", "steady_state") | None = None
    starts: Count = 4
    search: Literal["integration", "roots"] = "integration"
    duration: Annotated[Number, Field(gt=0)] = 500.0
    settled: Annotated[Number, Field(gt=0)] = 1e-7
    stability: bool = True
    tolerance: Annotated[Number, Field(gt=0)] = 1e-8
    observables: measure.Items = ()
    times: Times | None = None

    @model_validator(mode="after")
    def _of_the_task(self):
        if (self.task == "evolve") != (self.times is not None):
            raise ValueError(
                "times is missing; task: evolve requires it"
                if self.times is None
                else f"times belongs to task: evolve, not to {self.task}; delete it"
            )
        return self


def supports(system: System) -> str | None:
    """None, or why the mean-field equations of this system are not known here."""
    if np.any(system.cutoffs):
        return "it has boson modes; mean_field knows spins"
    for terms in cartesian(system):
        if len(terms.operators) > 2:
            return f"its Hamiltonian has products of more than two operators, {terms}"
        if left_over(terms) or len(set(terms.operators)) == 2 and np.any(terms.sites[:, 0] == terms.sites[:, 1]):
            return f"its Hamiltonian has {terms}: mean_field needs Sx, Sy, Sz, their squares and products of two sites"
    for jumps in system.jumps:
        if not jumps.of_spins:
            return f"it has the jump operator {jumps}; mean_field needs Sx, Sy, Sz, S-, S+ and sums of one of them"
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record. Raises ValueError where `initial`, `cluster` or an observable does not fit the system."""
    if options.initial is not None:
        starts.check(system, options.initial)
    if options.cluster:
        clusters.cut(system, options.cluster)
    measure.plan(system, options.observables, time_of(system, options), options.cluster)
    return (0,)


def steady_start(system: System, options: Options, where: str) -> Callable[[], np.ndarray]:
    """What finds the averages, or ρ of a cluster, at rest in a system, for a start from them. See `methods`."""
    chosen = options.model_copy(update={"task": "steady_state", "initial": None, "times": None, "observables": ()})
    try:
        if reason := supports(system):
            raise ValueError(reason)
        records(system, chosen)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return lambda: at_rest(system, chosen, _model(system, chosen), where)


def cost(system: System, options: Options, record: int) -> Cost:
    """A few steps per inverse of the fastest rate, until the slowest decay has come to rest."""
    fastest, slowest = _rates(system)
    longest = settling = options.starts * min(options.duration, RELAXATIONS / slowest)
    if options.times:
        longest = options.times[-1] + (settling if starts.kind(options.initial) == "steady_state" else 0)
    if options.cluster:
        n = options.cluster
        dimension = float(np.prod(system.levels[:n], dtype=float))
        spread = (
            0.3 * n * np.max((system.spins * fastest)[:n])
        )  # steps per time are proportional to the spread of the eigenvalues
        if options.stability and not options.times:
            longest += 0.15 * options.duration * options.starts
        return Cost(bytes=16.0 * 40 * dimension**2, time=0.05 + longest * spread * (3e-4 + 1.1e-7 * dimension**2))
    size, pairs = 3 * system.sites, 2.0 * sum(len(terms.sites) for terms in system.hamiltonian)
    dense = 2e-8 if options.search == "roots" else 2e-9 if options.stability else 0.0  # steps of Newton; eigenvalues
    return Cost(
        bytes=1e5 + 60.0 * size**2 + 100 * pairs,
        time=0.003 * (1 + options.starts)
        + longest * 0.4 * fastest.max() * 6e-9 * (2 * size + pairs)
        + dense * size**3 * options.starts,
    )


def _rates(system: System) -> tuple[np.ndarray, float]:
    """The largest rate at which every spin turns and decays, (sites,), and the slowest decay of a spin."""
    spins, rates, decay = system.spins, np.zeros(system.sites), np.zeros(system.sites)
    for terms in cartesian(system):
        np.add.at(rates, terms.sites, terms.strengths(spins)[:, None] / spins[terms.sites])
    for jumps in system.jumps:
        each = jumps.totals()
        np.add.at(decay, jumps.site, each)
        together = spins[jumps.site].sum() if jumps.collective else spins[jumps.site]
        np.add.at(rates, jumps.site, 2 * each * together)
    return rates, decay[decay > 0].min(initial=np.inf)


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Averages are over the sites of a sublattice and, in a limit cycle, over time."""
    rate, lattice = system.units, Dim("sublattice", tuple(system.sublattices))
    found = measure.plan(system, options.observables, time_of(system, options), options.cluster).outputs
    if options.task == "evolve":
        return found
    start = Dim("start", tuple(range(options.starts)))
    found = [
        *found,
        Output("residual", (), f"ħ {rate}", "largest |d⟨S⟩/dt|, of a cluster |dρ/dt|"),
        Output("at_rest", (), "1", "1 at a fixed point; 0 in a limit cycle, chaos or a slow decay"),
        Output("limit_cycle", (), "1", "1 in a limit cycle, whose period was found"),
        Output("period", (), inverse(rate), "period of the limit cycle; NaN if there is none"),
        Output("swing", (lattice,), "ħ", "peak to peak of an average in the last quarter of the time"),
        Output("attractors", (), "1", "number of different attractors reached"),
        Output("reached", (), "1", "fraction of the starts that reach the reported one"),
        Output("attractor_of_start", (start,), "1", "attractor that a start reaches, the reported one is 0"),
        Output("Sz_of_start", (lattice, start), "ħ", "⟨Sz⟩ reached from a start"),
        Output("S_perp_of_start", (lattice, start), "ħ", "sqrt(⟨Sx⟩² + ⟨Sy⟩²) reached from a start"),
        Output("at_rest_of_start", (start,), "1", "at_rest, of a start"),
        Output("period_of_start", (start,), inverse(rate), "period, of a start"),
    ]
    if options.stability:
        found += [
            Output("growth_rate", (), rate, "largest Re of the Jacobian's eigenvalues; NaN if not at rest"),
            Output("frequency", (), rate, "|Im| of this eigenvalue"),
            Output("growth_rate_of_start", (start,), rate, "growth_rate, of a start"),
        ]
    if options.cluster:
        return (*found, Output("cluster_purity", (), "1", "Tr ρ² of the cluster, at the end"))
    site = Dim("site", tuple(range(system.sites)))
    profile = Output("profile", (Dim("component", ("x", "y", "z")), site), "ħ", "⟨S⟩ of every site")
    return (*found, profile, *order.outputs(system))


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Every rank of the group computes the same."""
    task = evolve if options.task == "evolve" else steady_state
    return task(system, options, _model(system, options), context)


def _model(system: System, options: Options):
    return (Clustered if options.cluster else Sites)(system, options)
