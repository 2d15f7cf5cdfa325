"""The long-time behaviour of the mean-field equations: fixed points, limit cycles, the attractor of every start.

The equations of sites and those of clusters have the same methods:

    start(directions)                     the state with spins along (sites, 3)
    start_from(initial, key)              that of an initial state of another kind
    averages(state)                       ⟨S_ia⟩, (3 sites,)
    of_terms(state)                       averages of products, for observables.terms.averages
    advance(state, duration, settled, close, begin)  state, max |change|, average, lowest and highest of s, and the
                                          period or NaN
    root(state, settled)                  the fixed point of Newton's method, and max |change| there
    slowest(state)                        eigenvalue of the Jacobian of largest real part, and its vector
"""

import numpy as np
from mpi4py import MPI

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.mean_field import cluster as clusters
from hpcsim.methods.mean_field import krylov, measure, order
from hpcsim.methods.mean_field.equations import advance, compile_moving, derivative, jacobian
from hpcsim.observables.outputs import Dim, time_dim
from hpcsim.observables.terms import averages
from hpcsim.system import System, angles, starts

NEWTON_STEPS = 60
SAME = 1e-3  # attractors closer than this, in units of S, are one; a cycle closes to this, of its swing
ERRORS = 100  # errors of a step, that a state at rest may swing by
PUSHES = 3  # off saddles
PUSH = 1e-3  # its length, in units of the state


class Sites:
    """State: the averages, (3 sites,)."""

    def start_from(self, initial, key):
        """The averages of a start of the kinds that have no direction, fock and mixed."""
        along = np.zeros((self.system.sites, 3))
        if initial != "mixed":
            along[:, 2] = self.spins - starts.levels(self.system, initial)
        return along.ravel()

    def __init__(self, system: System, options):
        self.options, self.spins = options, system.spins
        self.tables, self.moving = compile_moving(system)
        self.sublattice, self.system = system.sublattice, system

    def start(self, directions):
        return (self.spins[:, None] * directions).ravel()

    def averages(self, s):
        return s

    def of_terms(self, s):
        return measure.Spins(self.system, s.reshape(-1, 3))

    def advance(self, s, duration, settled, close, begin=0.0):
        s = s.copy()
        return s, *advance(s, begin, duration, settled, close, self.options.tolerance, self.tables, self.moving)

    def root(self, s, settled):
        """The least-squares step is the shortest one where the fixed point is not isolated."""
        tables, change, largest = self.tables, np.empty_like(s), self.spins.max()
        for _ in range(NEWTON_STEPS):
            derivative(s, change, tables)
            if np.abs(change).max() < 1e-14 * largest * (1 + np.abs(tables.data).max(initial=0)):
                break
            step = np.linalg.lstsq(jacobian(s, tables), -change, rcond=1e-9)[0]
            s = s + step * min(1, largest / np.abs(step).max())
        derivative(s, change, tables)
        return s, np.abs(change).max()

    def slowest(self, s):
        values, vectors = np.linalg.eig(jacobian(s, self.tables))
        first = int(solvers.slowest(values))
        return values[first], self.spins.max() * vectors[:, first].real


class Clustered:
    """State: the density matrix of a cluster, as `cluster.Dynamics` has it."""

    def __init__(self, system: System, options):
        cut, drive = clusters.cut(system, options.cluster), system.drive
        parts = [clusters.cut(part, options.cluster) for part in drive.systems] if drive else []
        self.options, self.spins = options, cut.system.spins
        self.dynamics = clusters.Moving(cut, parts, drive) if drive else clusters.Dynamics(cut)
        self.sublattice = cut.system.sublattice
        self.start, self.start_from = self.dynamics.product, self.dynamics.product_of
        self.averages, self.system = self.dynamics.averages, cut.system
        self.span = 0.01 * options.duration  # a time after which fast fluctuations are gone

    def of_terms(self, y):
        real, imag = y.reshape(2, self.dynamics.dimension, -1)
        return measure.Clusters(self.system, real + 1j * imag)

    def advance(self, y, duration, settled, close, begin=0.0):
        return self.dynamics.advance(y, begin, duration, settled, close, self.options.tolerance)

    def root(self, y, settled):
        y = krylov.root(self.dynamics, y, self.span, self.options.tolerance, settled)
        return y, np.abs(self.dynamics(0.0, y)).max()

    def slowest(self, y):
        return krylov.slowest(self.dynamics, y, self.span, self.options.tolerance)


# ------------------------------------------------------------------ tasks


def steady_state(system: System, options, model, context: Context) -> dict:
    runs, each, label, chosen = _attractors(system, options, model, context)
    results = {
        "attractor_of_start": label,
        "attractors": label.max() + 1,
        "reached": np.mean(label == 0),
        "Sz_of_start": each[:, 2].T,
        "S_perp_of_start": each[:, 3].T,
        "at_rest_of_start": np.array([float(run["at_rest"]) for run in runs]),
        "period_of_start": np.array([run["period"] for run in runs]),
        "at_rest": np.float64(chosen["at_rest"]),
        "swing": chosen["swing"],
        "period": chosen["period"],
        "limit_cycle": np.float64(np.isfinite(chosen["period"])),
        "residual": chosen["fastest"],
    }
    if options.stability:
        results |= {
            "growth_rate": chosen["slowest"].real,
            "frequency": abs(chosen["slowest"].imag),
            "growth_rate_of_start": np.array([run["slowest"].real for run in runs]),
        }
    if options.cluster:
        results["cluster_purity"] = model.dynamics.purity(chosen["state"])
    else:
        s = chosen["mean"].reshape(-1, 3)
        results |= {"profile": s.T} | order.waves(system, s)
    found = measure.plan(system, options.observables, (), options.cluster)
    if chosen["at_rest"]:
        of_terms = model.of_terms(chosen["state"])
    else:  # averages over time
        whole = np.tile(chosen["mean"].reshape(-1, 3), (system.sites // len(model.spins), 1))
        of_terms = measure.Spins(system, whole, over_time=True)
    return results | found.finish({name: averages(mean, of_terms) for name, mean in found.means.items()})


def _attractors(system: System, options, model, context: Context):
    """Where every start ends, its averages (start, quantity, sublattice), the attractor that it is, and the most
    frequent one, which is 0."""
    runs = [_attractor(model, options, _start(options, model, context, start)) for start in range(options.starts)]
    each = np.array([_per_sublattice(system, model, run["mean"]) for run in runs])
    swing = np.array([run["swing"] for run in runs])
    label = _alike(np.hstack([each[:, 2], each[:, 3], swing]), SAME * system.spins.max())
    return runs, each, label, runs[int(np.argmin(label))]


def at_rest(system: System, options, model, where: str) -> np.ndarray:
    """The state that most starts reach. Raises SolverError where it is not at rest."""
    *_, chosen = _attractors(system, options, model, Context(MPI.COMM_SELF, (0, 0), lambda: False))
    if chosen["at_rest"]:
        return chosen["state"]
    raise solvers.SolverError(
        f"{where}: with these parameters the mean field does not come to rest, within method.duration = "
        f"{options.duration:g}; see task: steady_state, and start from a direction"
    )


def evolve(system: System, options, model, context: Context) -> dict:
    state = _start(options, model, context, 0)
    found, values = measure.plan(system, options.observables, time_of(system, options), options.cluster), []
    for begin, time in zip((0.0, *options.times), options.times):
        if time > begin:
            state = model.advance(state, time - begin, -1.0, 0.0, begin)[0]
        of_terms = model.of_terms(state)
        values.append({name: averages(mean, of_terms) for name, mean in found.means.items()})
    return found.finish({name: np.stack([each[name] for each in values], axis=-1) for name in values[0]})


def time_of(system: System, options) -> tuple[Dim, ...]:
    """The dimension of times when evolving, or none."""
    return (time_dim(options.times, system.units),) if options.times else ()


def _start(options, model, context: Context, start: int):
    """`initial`, or random directions with a stream of this point and start alone."""
    if start or options.initial is None or options.initial == "random":
        return model.start(starts.random_directions(context.key, start, len(model.spins)))
    kind = starts.kind(options.initial)
    if kind == "steady_state":
        return context.start(options.initial)
    if kind != "direction":
        return model.start_from(options.initial, context.key)
    polar, azimuth = angles(model.system, options.initial).T
    return model.start(
        np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
    )


# ------------------------------------------------------------------ one start


def _attractor(model, options, state) -> dict:
    """Where one start ends, as `_settle` returns it, and the Jacobian's eigenvalue there (NaN if not at rest)."""
    settled = options.settled * model.spins.max()
    if options.search == "roots":
        state, fastest = model.root(state, settled)
        run = _at_rest(model, state, fastest) | {"at_rest": fastest <= settled}
        run["slowest"] = model.slowest(state)[0] if options.stability and run["at_rest"] else np.nan
        return run
    for _ in range(PUSHES + 1):
        run = _settle(model, options, state, settled)
        run["slowest"] = np.nan
        if not options.stability or not run["at_rest"]:
            break
        run["slowest"], along = model.slowest(run["state"])
        # an instability too slow to show within `duration` is ignored
        if run["slowest"].real * options.duration < 1:
            break
        state = run["state"] + PUSH * along
    return run


def _settle(model, options, state, settled) -> dict:
    """Integrate until rest, or else find the swing in the last quarter of the time, and whether the state returns.

    A state that moves no further than the error of the time steps is also at rest: the error may keep ds/dt large.
    """
    error = ERRORS * options.tolerance * model.spins.max()
    for part in (1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 8, 1 / 4):
        state, fastest, mean, low, high, _ = model.advance(state, part * options.duration, settled, 0.0)
        if fastest <= settled or (high - low).max() <= error:
            return _at_rest(model, *_polished(model, options, state, fastest, settled))
    close = SAME * (high - low).max()
    later, _, over_period, *_, period = model.advance(state, options.duration / 4, settled, close)
    if np.isfinite(period):
        # chaos also returns to a neighbourhood, but not a second time after the same time
        again = model.advance(later, 1.1 * period, settled, 2 * close)[-1]
        state, mean, period = (
            (later, over_period, period) if abs(again - period) < 0.01 * period else (state, mean, np.nan)
        )
    return {
        "state": state,
        "fastest": fastest,
        "mean": mean,
        "at_rest": False,
        "period": period,
        "swing": _swing(model, high - low),
    }


def _polished(model, options, state, fastest, settled):
    """The fixed point of the sites up to rounding, by Newton's method from a state that is almost at rest."""
    if options.cluster or not options.stability:
        return state, fastest
    root, residual = model.root(state, settled)
    near = np.abs(root - state).max() < SAME * model.spins.max()
    return (root, residual) if near else (state, fastest)


def _at_rest(model, state, fastest) -> dict:
    mean = model.averages(state)
    return {
        "state": state,
        "fastest": fastest,
        "mean": mean,
        "at_rest": True,
        "period": np.nan,
        "swing": _swing(model, 0 * mean),
    }


def _swing(model, span) -> np.ndarray:
    """The largest span (3 sites,) of an average on each sublattice."""
    span = span.reshape(-1, 3).max(axis=1)
    return np.array([span[model.sublattice == k].max() for k in range(model.sublattice.max() + 1)])


def _alike(summaries, close) -> np.ndarray:
    """Labels of the rows; equal rows share one. The most frequent has 0; among equally frequent ones, the earliest."""
    near = np.abs(summaries[:, None] - summaries).max(axis=2) < close
    first = near.argmax(axis=1)
    counts = np.bincount(first, minlength=len(first))
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return rank[first].astype(float)


# ------------------------------------------------------------------ averages


def _per_sublattice(system: System, model, s) -> np.ndarray:
    """Sx, Sy, Sz, S_perp of averages s (3 sites,): (4, sublattices)."""
    s = s.reshape(-1, 3)
    each = np.column_stack([s, np.hypot(s[:, 0], s[:, 1])])
    return np.array([each[model.sublattice == k].mean(axis=0) for k in range(len(system.sublattices))]).T
