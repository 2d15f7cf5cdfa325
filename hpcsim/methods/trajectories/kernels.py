"""Compiled steps of Monte-Carlo wave functions: the Taylor series of the evolution, and the jumps.

States of several trajectories ("lanes") are (D lanes,) complex, the lane innermost, so that one pass serves
them all; every lane sees the same operations whatever the others do. `series` is (ORDER + 1, D lanes + PADDING): its
rows are the terms (-i H_eff h)^k ψ / k!, h = generator.scale. Times x are in units of h.
"""
import numpy as np
from numba import njit

ORDER = 16      # last term of the Taylor series
CHUNK = 16      # basis states summed together, so that the loops are long
PADDING = 20    # between the terms of the series: powers of two apart, they would compete for places in the cache


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
def _finish(y, x, d, factor):
    """y = factor (d x - i y)."""
    for k in range(len(y)):
        a, b, c = y[k], x[k], d[k]
        y[k] = complex(factor * (a.imag + (c.real * b.real - c.imag * b.imag)),
                       factor * ((c.real * b.imag + c.imag * b.real) - a.real))


@njit(cache=True, error_model="numpy")
def derivative(y, x, factor, generator, diagonal):
    """y = factor (-i H_eff) x, block by block: (D lanes,) complex. diagonal: likewise, repeated for the lanes."""
    lanes, block = len(x) // len(generator.diagonal), generator.block
    flat_y, flat_x = y.view(np.float64), x.view(np.float64)
    rows, shift, coefficient = generator.rows, generator.shift, generator.coefficient
    for begin in range(0, len(generator.diagonal), block):
        flat_y[2 * lanes * begin:2 * lanes * (begin + block)] = 0.0
        for g in range(len(generator.piece)):
            piece, first, base = generator.piece[g], generator.first_row[g], begin
            for u in range(generator.outer_stride.shape[1]):
                level = begin // generator.outer_stride[g, u] % generator.outer_levels[g, u]
                first += level * generator.outer_rows[g, u]
            for place in range(generator.place[g], generator.place[g + 1]):
                row = first + generator.inner_row[place]
                for e in range(rows[row], rows[row + 1]):
                    _add(flat_y, flat_x, base * lanes, shift[e] * lanes, piece * lanes, coefficient[e])
                base += piece
        here = slice(begin * lanes, (begin + block) * lanes)
        _finish(y[here], x[here], diagonal[here], factor)


@njit(cache=True, error_model="numpy")
def squares(x, out):
    """out[lane] = Σ_s |x[s, lane]|²."""
    lanes = len(out)
    width = lanes * CHUNK
    total = np.zeros(width)
    for begin in range(0, len(x), width):
        piece = x[begin:begin + width]
        for k in range(len(piece)):
            total[k] += piece[k].real ** 2 + piece[k].imag ** 2
    out[:] = 0
    for k in range(width):
        out[k % lanes] += total[k]


@njit(cache=True, error_model="numpy")
def sum_series(state, series, x, norm, slope):
    """state[:, lane] = Σ_k series[k, (:, lane)] x[lane]^k, its squared norm and the derivative of that by x."""
    lanes, last = len(x), len(series) - 1
    width = 2 * lanes * CHUNK
    power = np.empty(width)
    for k in range(width):
        power[k] = x[k // 2 % lanes]
    rise, total, change = np.empty(width), np.zeros(width), np.zeros(width)
    terms, flat = series.view(np.float64), state.view(np.float64)
    for begin in range(0, len(flat), width):
        value = flat[begin:begin + width]
        value[:] = terms[last, begin:begin + len(value)]
        rise[:] = 0
        for order in range(last - 1, -1, -1):
            term = terms[order, begin:begin + len(value)]
            for k in range(len(value)):
                rise[k] = rise[k] * power[k] + value[k]
                value[k] = value[k] * power[k] + term[k]
        for k in range(len(value)):
            total[k] += value[k] * value[k]
            change[k] += value[k] * rise[k]
    norm[:] = 0
    slope[:] = 0
    for k in range(width):
        norm[k // 2 % lanes] += total[k]
        slope[k // 2 % lanes] += 2 * change[k]


@njit(cache=True, error_model="numpy")
def state_at(out, series, lane, lanes, x):
    """The normalised state of one lane: out (D,)."""
    last, norm = len(series) - 1, 0.0
    for s in range(len(out)):
        value = series[last, s * lanes + lane]
        for k in range(last - 1, -1, -1):
            term = series[k, s * lanes + lane]
            value = complex(value.real * x + term.real, value.imag * x + term.imag)
        out[s] = value
        norm += value.real ** 2 + value.imag ** 2
    out /= np.sqrt(norm)


@njit(cache=True, error_model="numpy")
def step_lengths(x, series, tolerance):
    """x[lane] at which the last term is `tolerance`, and no more than half of the one before it."""
    last, before = np.empty(len(x)), np.empty(len(x))
    order = len(series) - 1
    squares(series[order], last)
    squares(series[order - 1], before)
    for l in range(len(x)):
        a, b = np.sqrt(last[l]), np.sqrt(before[l])
        x[l] = np.inf
        if a > 0:
            x[l] = min((tolerance / a) ** (1 / order), 0.5 * b / a)
        if b > 0:
            x[l] = min(x[l], (tolerance / b) ** (1 / (order - 1)))


@njit(cache=True, error_model="numpy")
def place_jumps(state, series, x, threshold, tolerance, norm, slope, jumped):
    """Shorten x[lane] to where the squared norm has fallen to the lane's threshold, and sum the series there.

    The logarithm of the norm is nearly straight: Newton's method on it, kept inside a shrinking bracket.
    """
    sum_series(state, series, x, norm, slope)
    lanes = len(x)
    low, high, open_ = np.zeros(lanes), x.copy(), np.zeros(lanes, np.bool_)
    for l in range(lanes):
        jumped[l] = norm[l] <= threshold[l]
        if jumped[l]:
            open_[l] = abs(norm[l] - threshold[l]) > tolerance * threshold[l]
            if open_[l]:
                # the quadratic through ln p = 0 at 0, and its value and slope at x
                x[l] = _first_guess(np.log(threshold[l]), x[l], np.log(norm[l]), slope[l] / norm[l])
    while np.any(open_):
        sum_series(state, series, x, norm, slope)
        for l in range(lanes):
            if open_[l]:
                open_[l] = abs(norm[l] - threshold[l]) > tolerance * threshold[l]
                if not open_[l]:
                    continue
                if norm[l] > threshold[l]:
                    low[l] = x[l]
                else:
                    high[l] = x[l]
                if high[l] - low[l] < 1e-14 * high[l]:
                    open_[l] = False
                    continue
                x[l] -= norm[l] / slope[l] * np.log(norm[l] / threshold[l])
                if not low[l] < x[l] < high[l]:
                    x[l] = (low[l] + high[l]) / 2


@njit(cache=True, error_model="numpy")
def _first_guess(wanted, x, value, slope):
    bend = (slope * x - value) / x ** 2
    tilt = value / x - bend * x
    root = np.sqrt(max(tilt * tilt + 4 * bend * wanted, 0.0))
    guess = 2 * wanted / (tilt - root)
    return guess if 0 < guess < x else x * wanted / value


@njit(cache=True, error_model="numpy")
def _act(out, psi, channels, part):
    """out += O ψ for one one-site operator: (D,) complex, as pairs."""
    stride, levels = channels.stride[part], channels.levels[part]
    flat_out, flat = out.view(np.float64), psi.view(np.float64)
    for start in range(0, len(psi), stride * levels):
        for a in range(levels):
            row = channels.first_row[part] + a
            for e in range(channels.rows[row], channels.rows[row + 1]):
                _add(flat_out, flat, start + a * stride, channels.shift[e], stride, channels.coefficient[e])


@njit(cache=True, error_model="numpy")
def _weight(psi, channels, part):
    """‖O ψ‖² for one one-site operator."""
    stride, levels, total = channels.stride[part], channels.levels[part], 0.0
    for a in range(levels):
        row = channels.first_row[part] + a
        first, last = channels.rows[row], channels.rows[row + 1]
        if first == last:
            continue
        for start in range(a * stride, len(psi), stride * levels):
            if last == first + 1:
                c, source = channels.coefficient[first], psi[start + channels.shift[first]:]
                size = c.real ** 2 + c.imag ** 2
                for k in range(stride):
                    total += size * (source[k].real ** 2 + source[k].imag ** 2)
            else:
                for k in range(start, start + stride):
                    value = 0j
                    for e in range(first, last):
                        value += channels.coefficient[e] * psi[k + channels.shift[e]]
                    total += value.real ** 2 + value.imag ** 2
    return total


@njit(cache=True, error_model="numpy")
def jump(psi, scratch, channels, weight, random):
    """ψ -> L ψ / ‖L ψ‖ with a channel drawn with probability ∝ γ ‖L ψ‖² by `random` in (0, 1); in place.

    Returns the channel. weight : (channels,) scratch
    """
    for c in range(len(channels.rate)):
        first, last = channels.parts[c], channels.parts[c + 1]
        if last == first + 1:
            weight[c] = channels.rate[c] * _weight(psi, channels, first)
        else:
            scratch[:] = 0
            for part in range(first, last):
                _act(scratch, psi, channels, part)
            weight[c] = channels.rate[c] * _norm2(scratch)
    wanted, chosen = random * weight.sum(), 0
    while wanted > weight[chosen] and chosen < len(weight) - 1:
        wanted -= weight[chosen]
        chosen += 1
    while weight[chosen] == 0:      # after rounding at the upper end
        chosen -= 1
    scratch[:] = 0
    for part in range(channels.parts[chosen], channels.parts[chosen + 1]):
        _act(scratch, psi, channels, part)
    size = np.sqrt(_norm2(scratch))
    for s in range(len(psi)):
        psi[s] = scratch[s] / size
    return chosen


@njit(cache=True, error_model="numpy")
def _norm2(x):
    total = 0.0
    for s in range(len(x)):
        total += x[s].real ** 2 + x[s].imag ** 2
    return total
