"""Terms of the Taylor series of a state whose H_eff depends on time.

With H_eff(t) = H_0 + Σ_a w_a(t) H_a and w_a(t + x h) = Σ_j c_ja x^j, h = scale, the terms of the series
ψ(t + x h) = Σ_k ψ_k x^k are

    ψ_k = (h/k) [ -i H_0 ψ_k-1 + Σ_a -i H_a Σ_j c_ja ψ_k-1-j ].
"""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import njit
from hpcsim.methods.trajectories import kernels
from hpcsim.methods.trajectories.compile import Generator, generator, local_matrices
from hpcsim.system import System, piecewise


class Moving(NamedTuple):
    """The `Generator`s of all parts H_a for both parities, those of even parity first, one behind the other.

    curve    : of the w_a; without pieces where nothing depends on time
    diagonal : (generators, 2, states);  pattern : (generators, blocks)
    entries, table, segments : of all generators together
    first    : (generators + 1,) first of its segments;  outer : (generators,) as in `Generator`
    rates    : (1 + parts, channels) of the jump operators, of `still` and of all parts
    """

    curve: piecewise.Curve
    diagonal: np.ndarray
    pattern: np.ndarray
    entries: np.ndarray
    table: np.ndarray
    segments: np.ndarray
    first: np.ndarray
    outer: np.ndarray
    rates: np.ndarray


def compile_moving(system: System, largest: tuple[Generator, Generator], parity: int) -> tuple[tuple, Moving]:
    """The generators of H_0, which have the scale of `largest`, and all that depends on time.

    largest : of the largest coefficients of all times, for both parities or, where parity is -1, for all states twice
    """
    if system.drive is None:
        none, generators = np.zeros((0, 0)), []
        return largest, _stacked(piecewise.still(), generators, largest[0], none)
    still, *parts = map(local_matrices, system.drive.systems)

    def both(local):
        return tuple(generator(system.levels, local, p if parity >= 0 else None) for p in (0, 1))

    first = tuple(g._replace(scale=like.scale) for g, like in zip(both(still), largest))
    generators = [g for pair in zip(*map(both, parts)) for g in pair]
    used = [jumps.rates != 0 for jumps in system.jumps]
    rates = [[j.rates[at] for j, at in zip(each.jumps, used)] for each in system.drive.systems]
    return first, _stacked(
        system.drive.curve, generators, largest[0], np.array([np.concatenate([*r, []]) for r in rates])
    )


def _stacked(curve, generators: list[Generator], like: Generator, rates: np.ndarray) -> Moving:
    entries = np.cumsum([0, *(len(g.entries) for g in generators)])
    tables = np.cumsum([0, *(len(g.table) for g in generators)])
    return Moving(
        curve,
        np.array([g.diagonal for g in generators]).reshape(-1, *like.diagonal.shape),
        np.array([g.pattern for g in generators], like.pattern.dtype).reshape(-1, len(like.pattern)),
        np.concatenate([like.entries[:0], *(g.entries + begin for g, begin in zip(generators, tables))]),
        np.concatenate([like.table[:0], *(g.table for g in generators)]),
        np.concatenate([like.segments[:0], *(g.segments + begin for g, begin in zip(generators, entries))]),
        np.cumsum([0, *(len(g.segments) for g in generators)]),
        np.array([g.outer for g in generators], np.int64),
        rates,
    )


@njit(cache=True, error_model="numpy")
def fill_series(series, mixed, still, moving, piece, time, parity):
    """All terms of the series from series[0] on, at a time in this piece of the curve.

    still  : the generator of H_0 for this parity;  mixed : two states of scratch
    """
    parts = len(moving.rates) - 1
    orders = np.empty((piecewise.DEGREE + 1, parts))
    piecewise.expanded(moving.curve, piece, time, still.scale, orders)
    terms, flat = series.reshape(len(series), -1), mixed[0].ravel()
    for k in range(1, len(series)):
        kernels.derivative(series[k], series[k - 1], still.scale / k, still)
        for a in range(parts):
            g = max(parity, 0) * parts + a
            part = Generator(
                moving.diagonal[g],
                still.rows,
                moving.pattern[g],
                moving.entries,
                moving.table,
                moving.segments[moving.first[g] : moving.first[g + 1]],
                moving.outer[g],
                still.scale,
            )
            mix(flat, orders[:, a], terms, k)
            kernels.derivative(mixed[1], mixed[0], still.scale / k, part)
            add(terms[k], 1.0, mixed[1].ravel())


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def mix(y, orders, terms, k):
    """y = Σ_j orders[j] terms[k - 1 - j] over the terms that there are, four at a time: fewer passes over y."""
    count = min(k, len(orders))
    while count > 1 and orders[count - 1] == 0:
        count -= 1
    rest = (count - 1) % 4 + 1
    for n in range(len(y)):
        y[n] = orders[0] * terms[k - 1, n]
    for j in range(1, rest):
        add(y, orders[j], terms[k - 1 - j])
    for j in range(rest, count, 4):
        a, b, c, d = orders[j], orders[j + 1], orders[j + 2], orders[j + 3]
        for n in range(len(y)):
            y[n] += (
                a * terms[k - 1 - j, n] + b * terms[k - 2 - j, n] + (c * terms[k - 3 - j, n] + d * terms[k - 4 - j, n])
            )


@njit(cache=True, error_model="numpy", fastmath={"contract"})
def add(y, factor, x):
    """y += factor x."""
    for n in range(len(y)):
        y[n] += factor * x[n]


@njit(cache=True, error_model="numpy")
def set_rates(rate, moving, piece, time):
    """rate (channels,) at a time in this piece of the curve."""
    weights = np.empty(len(moving.rates) - 1)
    piecewise.value(moving.curve, piece, time, weights)
    for c in range(len(rate)):
        rate[c] = moving.rates[0, c]
        for a in range(len(weights)):
            rate[c] += weights[a] * moving.rates[a + 1, c]
        rate[c] = max(rate[c], 0.0)
