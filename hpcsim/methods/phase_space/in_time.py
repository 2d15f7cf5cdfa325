"""Steps of classical spins whose coefficients and rates depend on time.

Every sweep has the tables of its own interval: coefficients and powers of noise are their means over it, so that the
variance of the noise is exact, and a jump within a step does not lower the order of the integrator.
"""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import INLINE, njit
from hpcsim.ensemble.streams import THREE_POINT_AMPLITUDE
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


@njit(**INLINE)
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
