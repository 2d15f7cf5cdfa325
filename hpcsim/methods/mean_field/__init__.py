"""Mean field: averages of spins in the field of each other's averages, site by site or in clusters.

Without `cluster` every site is a spin of its own, so that density waves can form (equations.py has the closure
of larger spins). With `cluster: n` the density matrix of n consecutive sites is exact, in the mean field of
equal clusters around it; n = 1 is the Gutzwiller approximation, exact on a site.

Steady states are found by integration from several starts, polished by Newton's method, and their stability
is that of the Jacobian. What does not come to rest is a limit cycle or chaos: it is reported as such, with
its averages over time.
"""
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.methods.mean_field import cluster as clusters
from hpcsim.methods.mean_field.equations import advance, compile_system, derivative, jacobian
from hpcsim.system import Count, Initial, Number, Parameters, System, Times, Translation, angles

approximation = "averages of products on different sites, or in different clusters, are factorised"
NEWTON_STEPS = 60
SAME = 1e-3         # attractors closer than this, in units of S, are one


class Options(Parameters):
    """Times and rates are in the model's units.

    task      : steady_state, or evolve (at given times)
    cluster   : number of consecutive sites treated exactly. By default none: equations of spin averages
    initial   : [polar, azimuth] in units of π of all spins, or one for each sublattice by name: the first start.
                By default random directions, for every site its own; further starts are always random
    starts    : steady_state: how many; the attractor that most of them reach is reported
    search    : steady_state: integration, or roots: Newton's method right from the starts, which finds unstable
                fixed points too (not with cluster)
    duration  : steady_state: longest time of integration
    settled   : steady_state: at rest where no |ds/dt| exceeds this, times S; larger than tolerance
    stability : steady_state: polish the fixed point and find the eigenvalues of its Jacobian (not with cluster)
    tolerance : error of a time step, relative to S
    times     : evolve: the times of the results, a list or linspace: [first, last, count]
    """

    task: Literal["steady_state", "evolve"] = "steady_state"
    cluster: Count | None = None
    initial: Initial | None = None
    starts: Count = 4
    search: Literal["integration", "roots"] = "integration"
    duration: Annotated[Number, Field(gt=0)] = 500.0
    settled: Annotated[Number, Field(gt=0)] = 1e-7
    stability: bool = True
    tolerance: Annotated[Number, Field(gt=0)] = 1e-8
    times: Times | None = None

    @model_validator(mode="after")
    def _of_the_task(self):
        if (self.task == "evolve") != (self.times is not None):
            raise ValueError("times is missing; task: evolve requires it" if self.times is None else
                             f"times belongs to task: evolve, not to {self.task}; delete it")
        if self.cluster and self.search == "roots":
            raise ValueError("search = roots: not with cluster, whose steady state is found by integration")
        return self


def supports(system: System) -> str | None:
    """None, or why the mean-field equations of this system are not known here."""
    if np.any(system.cutoffs):
        return "it has boson modes; mean_field knows spins"
    for terms in system.hamiltonian:
        if len(terms.operators) > 2:
            return f"its Hamiltonian has products of more than two operators, {' '.join(terms.operators)}"
        if len(set(terms.operators)) == 2 and np.any(terms.sites[:, 0] == terms.sites[:, 1]):
            return f"its Hamiltonian has the product {' '.join(terms.operators)} on one site"
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record. Raises ValueError where `initial` or `cluster` does not fit the system."""
    if options.initial is not None:
        angles(system, options.initial)
    if options.cluster:
        clusters.cut(system, options.cluster)
    return (0,)


def cost(system: System, options: Options, record: int) -> Cost:
    """Time for a few steps of integration per unit of time and of the fastest rate, from all starts."""
    time = options.times[-1] if options.times else options.duration * options.starts
    if options.cluster:
        dimension = float(np.prod(system.levels[:options.cluster], dtype=float))
        return Cost(bytes=16.0 * 20 * dimension**2, time=0.1 + time * 40 * 4e-8 * dimension**2 * options.cluster)
    size, pairs = 3 * system.sites, 2.0 * sum(len(terms.sites) for terms in system.hamiltonian)
    newton = 3e-9 * size**3 * (10 if options.stability else 0)
    return Cost(bytes=1e5 + 60.0 * size**2 + 100 * pairs, time=0.01 + time * 60 * 3e-9 * (size + pairs) + newton)


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """Averages over the sites of a sublattice; of a limit cycle, over time too."""
    rate, time = system.units, ()
    if options.times:
        time = (Dim("time", options.times, "1" if rate == "1" else f"1/{rate}"),)
    lattice = Dim("sublattice", tuple(system.sublattices))
    found = [*(Output(f"S{a}", (lattice, *time), "ħ", f"⟨S{a}⟩ of a site") for a in "xyz"),
             Output("S_perp", (lattice, *time), "ħ", "sqrt(⟨Sx⟩² + ⟨Sy⟩²) of a site")]
    if _has_variances(system, options):
        found += [Output(f"var_S{a}", (lattice, *time), "ħ²", f"variance of S{a} of a site") for a in "xyz"]
    if options.task == "evolve":
        return tuple(found)
    start = Dim("start", tuple(range(options.starts)))
    found += [
        Output("residual", (), f"ħ {rate}", "largest |d⟨S⟩/dt|"),
        Output("at_rest", (), "1", "1 at a fixed point; 0 in a limit cycle, chaos or a slow decay"),
        Output("swing", (lattice,), "ħ", "peak to peak of an average in the last quarter of the time"),
        Output("attractors", (), "1", "number of different attractors reached"),
        Output("reached", (), "1", "fraction of the starts that reach the reported one"),
        Output("Sz_of_start", (lattice, start), "ħ", "⟨Sz⟩ reached from a start"),
        Output("S_perp_of_start", (lattice, start), "ħ", "sqrt(⟨Sx⟩² + ⟨Sy⟩²) reached from a start"),
        Output("at_rest_of_start", (start,), "1", "at_rest, of a start"),
    ]
    if options.cluster:
        return (*found, Output("purity", (), "1", "Tr ρ² of the cluster, at the end"))
    if options.stability:
        found += [Output("growth_rate", (), rate, "largest Re of the Jacobian's eigenvalues; NaN if not at rest"),
                  Output("frequency", (), rate, "|Im| of this eigenvalue")]
    site = Dim("site", tuple(range(system.sites)))
    found.append(Output("profile", (Dim("component", ("x", "y", "z")), site), "ħ", "⟨S⟩ of every site"))
    if _places(system) is not None:
        found += [Output("wave", (_wavenumbers(system),), "ħ²", "|Σ_n exp(-ikn) ⟨S_⊥⟩_n / N|² over N places"),
                  Output("main_wavenumber", (), "π/cell", "wavenumber of the largest wave")]
    return tuple(found)


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Every rank of the group computes the same."""
    model = (_Cluster if options.cluster else _Sites)(system, options)
    if options.task == "evolve":
        return _evolve(system, options, model, context)
    return _steady_state(system, options, model, context)


# ------------------------------------------------------------------ the two kinds of equations

class _Sites:
    """State: the averages, (3 sites,)."""

    def __init__(self, system: System, options: Options):
        self.options, self.tables, self.spins = options, compile_system(system), system.spins
        self.sublattice = system.sublattice

    def start(self, directions):
        return (self.spins[:, None] * directions).ravel()

    def averages(self, s):
        return s

    def squares(self, s):
        """Of spins 1/2: a quarter."""
        return np.full(len(s), 0.25)

    def advance(self, s, duration, settled):
        if self.options.search == "roots":
            s = newton(s, self.tables)
            fastest = np.abs(self.derivative(s)).max()
            return s, fastest, s, s, s
        s = s.copy()
        return s, *advance(s, duration, settled, self.options.tolerance, self.tables)

    def derivative(self, s):
        change = np.empty_like(s)
        derivative(s, change, self.tables)
        return change


class _Cluster:
    """State: the density matrix of a cluster."""

    def __init__(self, system: System, options: Options):
        cut = clusters.cut(system, options.cluster)
        self.options, self.dynamics, self.spins = options, clusters.Dynamics(cut), cut.system.spins
        self.sublattice = cut.system.sublattice
        self.start, self.averages, self.squares = (self.dynamics.product, self.dynamics.averages,
                                                   self.dynamics.squares)

    def advance(self, rho, duration, settled):
        return self.dynamics.advance(rho, duration, settled, self.options.tolerance)


def newton(s, tables):
    """The fixed point that Newton's method reaches from s, shortest steps where it is not isolated."""
    change, largest = np.empty_like(s), tables.spin.max()
    for _ in range(NEWTON_STEPS):
        derivative(s, change, tables)
        if np.abs(change).max() < 1e-14 * largest * (1 + np.abs(tables.data).max(initial=0)):
            break
        step = np.linalg.lstsq(jacobian(s, tables), -change, rcond=1e-9)[0]
        s = s + step * min(1, largest / np.abs(step).max())
    return s


# ------------------------------------------------------------------ tasks

def _starting_directions(system: System, options: Options, context: Context, start: int, sites: int):
    """(sites, 3): `initial`, or random with a stream of this point and start alone."""
    if start == 0 and options.initial is not None:
        polar, azimuth = angles(system, options.initial)[:sites].T
        return np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    directions = np.random.default_rng([*context.key, start]).normal(size=(sites, 3))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _steady_state(system: System, options: Options, model, context: Context) -> dict:
    runs = []
    for start in range(options.starts):
        directions = _starting_directions(system, options, context, start, len(model.spins))
        runs.append(_settle(model, options, model.start(directions)))
    summaries = np.array([[*_per_sublattice(system, model, run["mean"])[2:], run["swing"]] for run in runs])
    summaries = summaries.reshape(len(runs), -1)
    close = np.abs(summaries[:, None] - summaries).max(axis=2) < SAME * system.spins.max()
    first_like = close.argmax(axis=1)       # the first start that reached the same
    counts = np.bincount(first_like, minlength=len(runs))
    chosen = runs[int(counts.argmax())]
    each = np.array([_per_sublattice(system, model, run["mean"]) for run in runs])      # start, quantity, sublattice
    results = {"at_rest_of_start": np.array([float(run["at_rest"]) for run in runs]),
               "Sz_of_start": each[:, 2].T, "S_perp_of_start": each[:, 3].T,
               "attractors": np.float64(np.count_nonzero(counts)), "reached": counts.max() / len(runs),
               "at_rest": np.float64(chosen["at_rest"]), "swing": chosen["swing"]}
    if options.cluster:
        rho = chosen["state"]
        results |= {"purity": np.sum(abs(rho)**2), "residual": chosen["fastest"]}
    else:
        results |= _of_the_sites(system, options, model, chosen)
    return results | _averages(system, options, model, chosen["mean"], chosen["state"])


def _settle(model, options: Options, state) -> dict:
    """Integrate one start to rest, or for three quarters of the time and then to see it swing."""
    settled = options.settled * model.spins.max()
    state, fastest, mean, low, high = model.advance(state, 0.75 * options.duration, settled)
    if at_rest := fastest <= settled:
        mean = model.averages(state)
        low = high = mean
    else:
        state, fastest, mean, low, high = model.advance(state, 0.25 * options.duration, settled)
        if at_rest := fastest <= settled:
            mean = low = high = model.averages(state)
    swing = (high - low).reshape(-1, 3).max(axis=1)
    names = range(model.sublattice.max() + 1)
    return {"state": state, "fastest": fastest, "mean": mean, "at_rest": at_rest,
            "swing": np.array([swing[model.sublattice == k].max() for k in names])}


def _of_the_sites(system: System, options: Options, model: _Sites, chosen: dict) -> dict:
    """What is known where every site is its own; polishes the chosen fixed point."""
    results = {"growth_rate": np.nan, "frequency": np.nan} if options.stability else {}
    if chosen["at_rest"] and options.stability:
        polished = newton(chosen["state"], model.tables)
        if np.abs(polished - chosen["state"]).max() < SAME * system.spins.max():
            chosen["mean"] = chosen["state"] = polished
        values = np.linalg.eigvals(jacobian(chosen["state"], model.tables))
        least = values[values.real.argmax()]
        results = {"growth_rate": least.real, "frequency": abs(least.imag)}
    s = chosen["mean"].reshape(-1, 3)
    results |= {"residual": np.abs(model.derivative(chosen["state"])).max(), "profile": s.T}
    if (places := _places(system)) is not None:
        wave = np.fft.fft(s[places][..., :2], axis=0) / len(places)     # place, orbit, x or y
        power = (np.abs(wave) ** 2).sum(axis=(1, 2))
        half = len(places) // 2 + 1
        power = power[:half] + np.where(np.arange(half) * 2 % len(places), np.roll(power[::-1], 1)[:half], 0)
        ordered = np.hypot(*s[:, :2].T).max() > 1e-3 * system.spins.max()
        waves = _wavenumbers(system).values
        results |= {"wave": power, "main_wavenumber": waves[int(power.argmax())] if ordered else np.nan}
    return results


def _evolve(system: System, options: Options, model, context: Context) -> dict:
    state = model.start(_starting_directions(system, options, context, 0, len(model.spins)))
    found = []
    for gap in np.diff(options.times, prepend=0):
        if gap > 0:
            state = model.advance(state, gap, -1.0)[0]
        found.append(_averages(system, options, model, model.averages(state), state))
    return {name: np.stack([each[name] for each in found], axis=-1) for name in found[0]}


# ------------------------------------------------------------------ averages

def _has_variances(system: System, options: Options) -> bool:
    return bool(options.cluster or np.all(system.spins == 0.5))


def _per_sublattice(system: System, model, s) -> np.ndarray:
    """Sx, Sy, Sz, S_perp of averages s (3 sites,): (4, sublattices)."""
    s = s.reshape(-1, 3)
    each = np.column_stack([s, np.hypot(s[:, 0], s[:, 1])])
    return np.array([each[model.sublattice == k].mean(axis=0) for k in range(len(system.sublattices))]).T


def _averages(system: System, options: Options, model, s, state) -> dict:
    results = dict(zip(("Sx", "Sy", "Sz", "S_perp"), _per_sublattice(system, model, s)))
    if _has_variances(system, options):
        variance = _per_sublattice(system, model, model.squares(state) - s**2)
        results |= dict(zip(("var_Sx", "var_Sy", "var_Sz"), variance))
    return results


def _places(system: System):
    move = system.symmetry(Translation)
    return None if move is None else move.places


def _wavenumbers(system: System) -> Dim:
    length = len(_places(system))
    return Dim("wavenumber", tuple(2 * m / length for m in range(length // 2 + 1)), "π/cell")
