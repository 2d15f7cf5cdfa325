"""Terms of the Taylor series of a state whose H_eff depends on time.

With H_eff(t) = H_0 + Σ_a w_a(t) H_a and w_a(t + x h) = Σ_j c_ja x^j, h = scale, the terms of the series
ψ(t + x h) = Σ_k ψ_k x^k are

    ψ_k = (h/k) [ -i H_0 ψ_k-1 + Σ_a -i H_a Σ_j c_ja ψ_k-1-j ].

The states ψ_k-1 and Σ_j c_ja ψ_k-1-j lie one behind the other, so that one product acts on all of them: a drive costs
these sums alone. The w_a are polynomials through Chebyshev's points of the time that a step may take, of as low a
degree as LEAVE_OUT of the tolerance allows.
"""

from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev
from numpy.polynomial.polynomial import Polynomial

from hpcsim.compiled import INLINE, PART, njit
from hpcsim.methods.trajectories import kernels
from hpcsim.methods.trajectories.compile import PAD, generator, largest_row, local_matrices, scale
from hpcsim.system import System, piecewise

LEAVE_OUT = 1e-2
REACH = 12.0  # of the first step, in units of h
SHORTER = 0.75  # a step whose polynomials are not good enough
COUNT = piecewise.DEGREE + 1  # of Chebyshev's points, of his polynomials T_n(2u - 1), and of powers of u in 0 ... 1
POINTS = (1 - np.cos(np.pi * np.arange(COUNT) / (COUNT - 1))) / 2
OF_VALUES = np.linalg.inv(chebyshev.chebvander(2 * POINTS - 1, COUNT - 1))  # coefficients (n, point)
OF_POWERS = np.zeros((COUNT, COUNT))  # (power, n)
for _n in range(COUNT):
    OF_POWERS[: _n + 1, _n] = chebyshev.Chebyshev.basis(_n, domain=[0, 1]).convert(kind=Polynomial).coef


class Moving(NamedTuple):
    """What the `Generator`s, of H_0 with all H_a, do not tell.

    curve    : of the w_a
    ahead    : (pieces,) that of the `Drive`: the last time of a step that begins in a piece
    size     : (parts,) bounds of h ‖H_a‖
    diagonal : (parts,) whether H_a has a diagonal
    rates    : (1 + parts, channels) of the jump operators, of `still` and of all parts
    """

    curve: piecewise.Curve
    ahead: np.ndarray
    size: np.ndarray
    diagonal: np.ndarray
    rates: np.ndarray


def compile_moving(system: System, local: dict, parity: int) -> tuple[tuple, Moving | None]:
    """The generators of both parities or, where parity is -1, that of all states twice, and what depends on time.

    local : H_eff of the system, whose coefficients are the largest of all times: it gives the scale
    """
    parities = (0, 1) if parity >= 0 else (None,)
    if system.drive is None:
        found = tuple(generator(system.levels, local, p) for p in parities)
        return (found * 2)[:2], None
    still, *parts = map(local_matrices, system.drive.systems)
    scales = [scale(system.levels, local, p) for p in parities]
    found = tuple(generator(system.levels, still, p, parts)._replace(scale=h) for p, h in zip(parities, scales))
    used = [jumps.rates != 0 for jumps in system.jumps]
    rates = [[j.rates[at] for j, at in zip(each.jumps, used)] for each in system.drive.systems]
    return (found * 2)[:2], Moving(
        system.drive.curve,
        system.drive.ahead,
        max(scales) * np.array([largest_row(part) for part in parts]),
        np.any(found[0].driven, axis=(1, 2)),
        np.array([np.concatenate([*r, []]) for r in rates]),
    )


@njit(**INLINE)
def later_piece(moving, piece, time):
    """The piece of the curve in which a time lies, this one or a later one; the later one at a break."""
    while piece + 1 < len(moving.curve.coefficients) and time >= moving.curve.breaks[piece + 1]:
        piece += 1
    return piece


@njit(**PART)
def fill_series(series, mixed, generator, moving, piece, time, until, tolerance):
    """All terms of the series from series[0] on, at a time in this piece of the curve; returns how long they hold.

    mixed : 1 + parts states of scratch;  until : the time that is asked for, not after that of `Moving.ahead`
    """
    parts = len(moving.size)
    orders, counts = np.empty((COUNT, parts)), np.empty(parts, np.int64)
    until = expand(orders, counts, moving, piece, time, until, generator.scale, tolerance)
    terms, flat, length = series.reshape(len(series), -1), mixed.reshape(len(mixed), -1), series.shape[2]
    for k in range(1, len(series)):
        kernels.copy(mixed[0], series[k - 1])
        for a in range(parts):
            mix(flat[1 + a], orders[:, a], min(k, counts[a]), terms, k)
        kernels.derivative(series[k], mixed[0], generator.scale / k, generator)
        for a in range(parts):
            if moving.diagonal[a]:
                turn(series[k], mixed[1 + a], generator.scale / k, generator.driven[a], length - 2 * PAD)
    return until


@njit(**PART)
def expand(orders, counts, moving, piece, time, until, scale, tolerance):
    """The first counts[a] of orders[j, a] = c_ja at a time in this piece; returns the last time that they hold for.

    The polynomials of highest degree that matter less than LEAVE_OUT of the tolerance are left out. Where there are
    none, the step is made shorter, to one piece at least, in which the curve is a polynomial itself.
    """
    values, found = np.empty((COUNT, len(counts))), np.empty(COUNT)
    while True:
        sample(values, moving.curve, piece, time, until)
        reach, good = (until - time) / scale, True
        for a in range(len(counts)):
            for n in range(COUNT):
                found[n] = 0.0
                for m in range(COUNT):
                    found[n] += OF_VALUES[n, m] * values[m, a]
            count, rest = COUNT, LEAVE_OUT * tolerance / max(moving.size[a] * reach, 1e-300)
            while count > 1 and abs(found[count - 1]) <= rest:
                count -= 1
                rest -= abs(found[count])
            counts[a], power = count, 1.0
            for j in range(count):
                orders[j, a] = 0.0
                for n in range(j, count):
                    orders[j, a] += power * OF_POWERS[j, n] * found[n]
                power /= reach
            good = good and count < COUNT
        if good or piece + 1 == len(moving.ahead) or until <= moving.curve.breaks[piece + 1]:
            return until
        until = max(moving.curve.breaks[piece + 1], time + SHORTER * (until - time))


@njit(**PART)
def sample(values, curve, piece, time, until):
    """values[m] of the functions at Chebyshev's points of a time from this piece on, from the left where they jump."""
    for m in range(len(values)):
        t = until if m == len(values) - 1 else time + POINTS[m] * (until - time)
        piece = piecewise.onward(curve, piece, t)
        piecewise.value(curve, piece, t, values[m])


@njit(**PART, fastmath={"contract"})
def turn(y, x, factor, diagonal, states):
    """y += factor d x with a complex diagonal d."""
    for s in range(states):
        real, imag = x[0, PAD + s], x[1, PAD + s]
        y[0, PAD + s] += factor * (diagonal[0, s] * real - diagonal[1, s] * imag)
        y[1, PAD + s] += factor * (diagonal[0, s] * imag + diagonal[1, s] * real)


@njit(**PART, fastmath={"contract"})
def mix(y, orders, count, terms, k):
    """y = Σ_j orders[j] terms[k - 1 - j], j < count, four at a time: fewer passes over y."""
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


@njit(**PART, fastmath={"contract"})
def add(y, factor, x):
    """y += factor x."""
    for n in range(len(y)):
        y[n] += factor * x[n]


@njit(**PART)
def set_rates(rate, moving, piece, time):
    """rate (channels,) at a time in this piece of the curve."""
    weights = np.empty(len(moving.rates) - 1)
    piecewise.value(moving.curve, piece, time, weights)
    for c in range(len(rate)):
        rate[c] = moving.rates[0, c]
        for a in range(len(weights)):
            rate[c] += weights[a] * moving.rates[a + 1, c]
        rate[c] = max(rate[c], 0.0)
