"""Compiled steps of Monte-Carlo wave functions: the Taylor series of the evolution, and the jumps.

A state is (2, PAD + states + PAD): real parts, imaginary parts, zeros around them. `series` (ORDER + 1, 2, ...) holds
the terms (-i H_eff h)^k ψ / k!, h = generator.scale; times x are in units of h. Jumps act on complex (D,) vectors.
"""

import numpy as np

from hpcsim.compiled import INLINE, PART, njit
from hpcsim.methods.trajectories.compile import PAD
from hpcsim.methods.trajectories.simd import CHUNK, product_row

ORDER = 18  # last term of the Taylor series, an even number
PIECE = 256  # numbers summed together, in the fastest cache


def empty_states(count: int, generator) -> np.ndarray:
    """(count, 2, PAD + states + PAD) of zeros."""
    return np.zeros((count, 2, generator.diagonal.shape[1] + 2 * PAD))


@njit(cache=True, error_model="numpy")
def derivative(y, x, factor, generator):
    """y = factor (-i H_eff) x of states."""
    rows, segments = generator.rows, generator.segments
    place, state = PAD, 0
    for block in range(len(generator.pattern)):
        inner = generator.pattern[block] * rows * (CHUNK + 1)
        for row in range(rows):
            product_row(
                y[0],
                y[1],
                x[0],
                x[1],
                place,
                factor,
                generator.diagonal[0],
                generator.diagonal[1],
                state,
                generator.table,
                generator.entries,
                segments,
                inner + row * (CHUNK + 1),
                generator.outer + 2 * block,
            )
            place += CHUNK
            state += CHUNK


@njit(**INLINE)
def fill_series(series, generator):
    """All terms of the series from series[0] on."""
    for k in range(1, len(series)):
        derivative(series[k], series[k - 1], generator.scale / k, generator)


@njit(cache=True, error_model="numpy")
def load(state, psi):
    """state = psi, complex (D,)."""
    for s in range(len(psi)):
        state[0, PAD + s], state[1, PAD + s] = psi[s].real, psi[s].imag


@njit(cache=True, error_model="numpy")
def store(psi, state):
    """psi (D,) = state."""
    for s in range(len(psi)):
        psi[s] = complex(state[0, PAD + s], state[1, PAD + s])


@njit(cache=True, error_model="numpy")
def copy(state, other):
    """state = other. In a kernel numba takes seconds to compile state[:] = other, most of it for its error messages."""
    for part in range(2):
        for s in range(state.shape[1]):
            state[part, s] = other[part, s]


@njit(**PART)
def fold(state, full, parity, turn):
    """state = the amplitudes of a full state with this parity of the sum of all levels, or all if it is -1."""
    if parity < 0:
        copy(state, full)
        return
    for s in range(len(turn) // 2):
        place = PAD + 2 * s + (turn[2 * s] + parity) % 2
        state[0, PAD + s], state[1, PAD + s] = full[0, place], full[1, place]


@njit(**PART)
def unfold(full, state, parity, turn):
    """The inverse of `fold`."""
    if parity < 0:
        copy(full, state)
        return
    for part in range(2):
        for s in range(full.shape[1]):
            full[part, s] = 0.0
    for s in range(len(turn) // 2):
        place = PAD + 2 * s + (turn[2 * s] + parity) % 2
        full[0, place], full[1, place] = state[0, PAD + s], state[1, PAD + s]


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def square(x):
    """‖x‖²"""
    flat, total = x.ravel(), 0.0
    for k in range(len(flat)):
        total += flat[k] * flat[k]
    return total


@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract"})
def squared_norm(p, series):
    """p[m], m = 0 ... 4, of ‖Σ_k series[k] x^k‖² = Σ_m p[m] x^m."""
    s0, s1, s2, s3, s4 = series[0].ravel(), series[1].ravel(), series[2].ravel(), series[3].ravel(), series[4].ravel()
    p0 = p1 = p2 = p3 = p4 = 0.0
    for k in range(len(s0)):
        p0 += s0[k] * s0[k]
        p1 += s0[k] * s1[k]
        p2 += s0[k] * s2[k] + 0.5 * (s1[k] * s1[k])
        p3 += s0[k] * s3[k] + s1[k] * s2[k]
        p4 += s0[k] * s4[k] + s1[k] * s3[k] + 0.5 * (s2[k] * s2[k])
    p[0], p[1], p[2], p[3], p[4] = p0, 2 * p1, 2 * p2, 2 * p3, 2 * p4


@njit(cache=True, error_model="numpy")
def sum_series(state, series, x):
    """state = Σ_k series[k] x^k; returns its squared norm and the derivative of that by x."""
    flat, terms, last = state.ravel(), series.reshape(len(series), -1), len(series) - 1
    rise, total, change = np.empty(PIECE), np.zeros(PIECE), np.zeros(PIECE)
    for begin in range(0, len(flat), PIECE):
        value = flat[begin : begin + PIECE]
        for k in range(len(value)):
            value[k], rise[k] = terms[last, begin + k], 0.0
        for order in range(last - 1, 0, -2):
            upper, lower = terms[order, begin : begin + len(value)], terms[order - 1, begin : begin + len(value)]
            for k in range(len(value)):
                middle = value[k] * x + upper[k]
                rise[k] = (rise[k] * x + value[k]) * x + middle
                value[k] = middle * x + lower[k]
        for k in range(len(value)):
            total[k] += value[k] * value[k]
            change[k] += value[k] * rise[k]
    norm = slope = 0.0
    for k in range(PIECE):
        norm += total[k]
        slope += 2 * change[k]
    return norm, slope


@njit(cache=True, error_model="numpy")
def normalise(state, norm):
    """state / sqrt(norm), in place."""
    flat, factor = state.ravel(), 1 / np.sqrt(norm)
    for k in range(len(flat)):
        flat[k] *= factor


@njit(cache=True, error_model="numpy")
def step_length(last, before, tolerance):
    """x at which the last term is `tolerance`, and no more than half of the one before it, from their norms squared."""
    a, b, x = np.sqrt(last), np.sqrt(before), np.inf
    if a > 0:
        x = min((tolerance / a) ** (1 / ORDER), 0.5 * b / a)
    if b > 0:
        x = min(x, (tolerance / b) ** (1 / (ORDER - 1)))
    return x


@njit(cache=True, error_model="numpy")
def place_jump(state, series, end, threshold, tolerance):
    """Sum the series at x = end or, where the squared norm falls to `threshold` before, there: (x, norm, jumped)."""
    p = np.empty(5)
    squared_norm(p, series)
    low, high, x = 0.0, np.inf, guess(p, end, threshold)
    while True:
        norm, slope = sum_series(state, series, x)
        if x == end and norm > threshold:
            return x, norm, False
        if abs(norm - threshold) <= tolerance * threshold or 0 <= high - low <= 1e-14 * x:
            return x, norm, True
        low, high, x = closer(low, high, x, end, norm, slope, threshold)


@njit(cache=True, error_model="numpy")
def guess(p, end, threshold):
    """Where Σ p[m] x^m falls to the threshold, or `end` if that is not before it, by Newton's method from 0."""
    x = 0.0
    for _ in range(20):
        value = (((p[4] * x + p[3]) * x + p[2]) * x + p[1]) * x + p[0] - threshold
        slope = ((4 * p[4] * x + 3 * p[3]) * x + 2 * p[2]) * x + p[1]
        if slope >= 0:
            return end
        move = value / slope
        x -= move
        if not x < end:
            return end
        if abs(move) < 1e-9 * x:
            break
    return x if x > 0 else end


@njit(cache=True, error_model="numpy")
def closer(low, high, x, end, norm, slope, threshold):
    """The next bracket and x of the search in `place_jump`: ln p is nearly straight, so Newton's method on it.

    high : infinite until the norm has been seen below the threshold
    """
    if norm > threshold:
        low = x
    else:
        high = x
    x = min(x - norm / slope * np.log(norm / threshold), end)
    if low < x < high:
        return low, high, x
    return low, high, (low + high) / 2 if high < np.inf else end


@njit(cache=True, error_model="numpy", inline="always")
def _add(y, x, start, shift, length, c):
    """y[start + k] += c x[start + shift + k] of complex numbers stored as (real, imaginary) pairs."""
    # unsigned: an index that could be negative would cost a test each
    to, source, two = np.uint64(2 * start), np.uint64(2 * (start + shift)), np.uint64(2)
    if c.imag == 0:
        factor = c.real
        for k in range(np.uint64(2 * length)):
            y[to + k] += factor * x[source + k]
    else:
        for k in range(np.uint64(length)):
            a, b = x[source + two * k], x[source + two * k + np.uint64(1)]
            y[to + two * k] += c.real * a - c.imag * b
            y[to + two * k + np.uint64(1)] += c.real * b + c.imag * a


@njit(cache=True, error_model="numpy")
def act(out, psi, channels, part):
    """out += P ψ for one product of one-site operators: (D,) complex."""
    first, source = channels.factors[part], psi
    for factor in range(channels.factors[part + 1] - 1, first, -1):
        after = np.zeros_like(psi)
        act_factor(after, source, channels, factor)
        source = after
    act_factor(out, source, channels, first)


@njit(**PART)
def act_factor(out, psi, channels, factor):
    """out += O ψ for one one-site operator: (D,) complex, as pairs."""
    stride, levels = channels.stride[factor], channels.levels[factor]
    flat_out, flat = out.view(np.float64), psi.view(np.float64)
    for start in range(0, len(psi), stride * levels):
        for a in range(levels):
            row = channels.first_row[factor] + a
            for e in range(channels.rows[row], channels.rows[row + 1]):
                _add(flat_out, flat, start + a * stride, channels.shift[e], stride, channels.coefficient[e])


@njit(cache=True, error_model="numpy")
def weight_of(psi, channels, factor):
    """‖O ψ‖² for one one-site operator."""
    stride, levels, total = channels.stride[factor], channels.levels[factor], 0.0
    for a in range(levels):
        row = channels.first_row[factor] + a
        first, last = channels.rows[row], channels.rows[row + 1]
        if first == last:
            continue
        for start in range(a * stride, len(psi), stride * levels):
            if last == first + 1:
                c, source = channels.coefficient[first], psi[start + channels.shift[first] :]
                size = c.real**2 + c.imag**2
                for k in range(stride):
                    total += size * (source[k].real ** 2 + source[k].imag ** 2)
            else:
                for k in range(start, start + stride):
                    value = 0j
                    for e in range(first, last):
                        value += channels.coefficient[e] * psi[k + channels.shift[e]]
                    total += value.real**2 + value.imag**2
    return total


@njit(cache=True, error_model="numpy")
def choose(weight, random):
    """A channel with probability ∝ its weight, by `random` in (0, 1)."""
    wanted, chosen = random * weight.sum(), 0
    while wanted > weight[chosen] and chosen < len(weight) - 1:
        wanted -= weight[chosen]
        chosen += 1
    while weight[chosen] == 0:  # after rounding at the upper end
        chosen -= 1
    return chosen


@njit(cache=True, error_model="numpy")
def jump(psi, scratch, channels, weight, random):
    """ψ -> L ψ / ‖L ψ‖ with a channel drawn with probability ∝ γ ‖L ψ‖² by `random` in (0, 1); in place.

    Returns the channel. weight : (channels,) scratch
    """
    for c in range(len(channels.rate)):
        first, last = channels.parts[c], channels.parts[c + 1]
        if last == first + 1 and channels.factors[last] == channels.factors[first] + 1:
            weight[c] = channels.rate[c] * weight_of(psi, channels, channels.factors[first])
        else:
            scratch[:] = 0
            for part in range(first, last):
                act(scratch, psi, channels, part)
            weight[c] = channels.rate[c] * _norm2(scratch)
    chosen = choose(weight, random)
    scratch[:] = 0
    for part in range(channels.parts[chosen], channels.parts[chosen + 1]):
        act(scratch, psi, channels, part)
    size = np.sqrt(_norm2(scratch))
    for s in range(len(psi)):
        psi[s] = scratch[s] / size
    return chosen


@njit(**PART)
def _norm2(x):
    total = 0.0
    for s in range(len(x)):
        total += x[s].real ** 2 + x[s].imag ** 2
    return total
