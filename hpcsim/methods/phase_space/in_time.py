"""Steps of classical spins whose coefficients and rates depend on time.

Every sweep has the tables of its own interval: coefficients and powers of noise are their means over it, so that the
variance of the noise is exact, and a jump within a step does not lower the order of the integrator.
"""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import THREE_POINT_AMPLITUDE
from hpcsim.methods.phase_space import kernels
from hpcsim.methods.phase_space.compile import Forces, Graph, Tables, cross_rows, draws, even_rows, forces, in_rows
from hpcsim.system import System, piecewise


class Moving(NamedTuple):
    """All numbers of `Tables` that depend on time: numbers[0] + Σ_a w_a(t) numbers[a], one after the other.

    numbers : (1 + parts, n), in the order of `Tables.over`: those that take half of the duration, ito, loss and gain,
              and powers of noise, which give strength
    ends    : of these four
    now     : (n,) what the tables look at
    """

    curve: piecewise.Curve
    numbers: np.ndarray
    ends: np.ndarray
    now: np.ndarray


def compile_moving(system: System, scheme: str) -> tuple[Tables, Moving]:
    """Tables that look at `Moving.now`, for the intervals set by `set_interval`."""
    return system.kept(("phase_space", "in time", scheme), lambda: _compile(system, scheme))


def _compile(system: System, scheme: str) -> tuple[Tables, Moving]:
    largest, graph = forces(system, scheme)
    rows = [_numbers(system, largest, graph, *forces(part, scheme)) for part in system.drive.systems]
    numbers = np.array([np.concatenate([part.ravel() for part in row]) for row in rows])
    bounds = np.cumsum([part.size for part in rows[0]])
    now = np.zeros(numbers.shape[1])
    views = [part.reshape(like.shape) for part, like in zip(np.split(now, bounds[:-1]), rows[0])]
    field, coupling, cross, square, damping, ito, loss, gain, strength = views
    start, neighbour, _ = even_rows(graph, largest.coupling)
    begin, first_half, skew, draw, _ = draws(system, largest.power, graph)
    tables = Tables(
        field,
        start,
        neighbour,
        coupling,
        *cross_rows(graph),
        cross,
        square,
        damping,
        graph.order,
        begin,
        first_half,
        skew,
        draw,
        strength,
        ito,
        loss,
        gain,
    )
    return tables, Moving(system.drive.curve, numbers, bounds[[4, 5, 7, 8]], now)


def _numbers(system: System, largest: Forces, graph: Graph, part: Forces, own: Graph) -> list[np.ndarray]:
    """The forces of a part, with couplings and noise where those of the whole system lie."""
    n, coupling, cross = system.sites, np.zeros_like(largest.coupling), np.zeros_like(largest.cross)
    places, there = (np.repeat(np.arange(n), np.diff(g.start)) * n + g.neighbour for g in (graph, own))
    coupling[np.searchsorted(places, there)] = part.coupling
    places, there = (g.cross @ [9 * n, 3 * n, 3, 1] for g in (graph, own))
    cross[np.searchsorted(places, there)] = part.cross
    power = in_rows(system, part.power, largest.power, graph)
    part = part._replace(coupling=even_rows(graph, coupling)[2], cross=cross, power=power)
    return list(part)


@njit
def set_interval(moving, begin, duration, rotating):
    """Let the tables be those of a step over the times begin ... begin + duration, as `Tables.over` has them."""
    parts, a = len(moving.numbers) - 1, THREE_POINT_AMPLITUDE
    mean, before = np.empty(parts), np.empty(parts)
    piecewise.integral(moving.curve, begin, before)
    piecewise.integral(moving.curve, begin + duration, mean)
    now, numbers, ends = moving.now, moving.numbers, moving.ends
    for n in range(len(now)):
        now[n] = numbers[0, n]
    for p in range(parts):
        weight = (mean[p] - before[p]) / duration
        for n in range(len(now)):
            now[n] += weight * numbers[p + 1, n]
    for n in range(ends[0]):
        now[n] *= duration / 2
    for n in range(ends[0], ends[1]):
        now[n] *= duration
    for n in range(ends[2], ends[3]):
        angle = np.sqrt(duration * max(now[n], 0.0)) / 2
        now[n] = np.tan(a * angle) / a if rotating else angle


@njit(cache=True, error_model="numpy")
def advance(s, z, p, begin, steps, integrator, ordering, tables, moving, dt, first, key):
    """As `kernels.advance`, with the tables of every sweep's own interval."""
    trajectories = s.shape[2]
    rows, words = np.zeros((kernels.SUM + 3, trajectories)), np.empty((4, trajectories), np.uint64)
    normals, rotating = np.empty((4, trajectories)), integrator == kernels.SIB or integrator == kernels.EO
    together = max(1, steps) if integrator == kernels.EO and len(z) == 0 else 1
    for n in range(0, steps, together):
        step, time = begin + np.uint64(n), (begin + n) * dt
        if len(z):
            duration = dt if n else dt / 2
            set_interval(moving, time - (dt / 2 if n else 0.0), duration, rotating)
            kernels.diffuse(z, ordering, tables, normals, words, duration, step, first, kernels.SPINOR, key)
            kernels.spins_of(s, z)
        if integrator == kernels.EO:
            for k in range(2 * together + 1):
                at_end = k == 0 or k == 2 * together
                purpose = kernels.FIELD_START if k == 0 else (kernels.FIELD_END if at_end else kernels.FIELD)
                set_interval(moving, time + max(0, k - 1) * dt / 2, dt / 2 if at_end else dt, rotating)
                kernels.turn_halves(s, z, p, rows, words, tables, k, k + 1, step, first, purpose, key)
        else:
            set_interval(moving, time, dt, rotating)
            kernels.turn_all(s, z, p, rows, words, tables, integrator, step, first, key)
    if len(z) and steps > 0:
        last = begin + np.uint64(steps - 1)
        set_interval(moving, (begin + steps) * dt - dt / 2, dt / 2, rotating)
        kernels.diffuse(z, ordering, tables, normals, words, dt / 2, last, first, kernels.SPINOR_END, key)
        kernels.spins_of(s, z)


class Spins:
    """As `kernels.Spins`, from the first step on."""

    def __init__(self, spins, spinors, tables: Tables, moving: Moving, integrator, ordering, dt, first, key):
        self._spins, self._state = spins, (spins, spinors, np.empty_like(spins))
        self._how = integrator, float(ordering), tables, moving, dt, first, key

    def advance(self, begin: int, steps: int):
        """Take `steps` steps, of which `begin` were taken before."""
        advance(*self._state, np.uint64(begin), steps, *self._how)

    def spins(self) -> np.ndarray:
        return self._spins
