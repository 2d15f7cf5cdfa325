"""The steady state to twice the digits of a double: pairs (high, low) of doubles whose sum is the number.

The probabilities of Dicke blocks with a small j are differences of correlators with weights up to 2^(N/2):
with 16 digits they drown in rounding beyond N of about 50 to 100. Products and sums of pairs by Dekker (1971)
and Knuth; a factorisation in doubles and residuals in pairs give a solution in pairs (iterative refinement).
"""

import numpy as np

from hpcsim import solvers
from hpcsim.compiled import njit
from hpcsim.methods.permutation.basis import Strings

STEPS = 12  # of refinement, at most
ENOUGH = 1e-26  # a correction smaller than this, relative to ρ and in its norm, is left out


@njit(cache=True)
def two_sum(a, b):
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


@njit(cache=True)
def two_prod(a, b):
    p = a * b
    t = 134217729.0 * a
    ah = t - (t - a)
    t = 134217729.0 * b
    bh = t - (t - b)
    al, bl = a - ah, b - bh
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


@njit(cache=True)
def add(ah, al, bh, bl):
    s, e = two_sum(ah, bh)
    e += al + bl
    h = s + e
    return h, e - (h - s)


@njit(cache=True)
def mul(ah, al, bh, bl):
    p, e = two_prod(ah, bh)
    e += ah * bl + al * bh
    h = p + e
    return h, e - (h - p)


@njit(cache=True)
def div(ah, al, bh, bl):
    q = ah / bh
    p, e = mul(q, 0.0, bh, bl)
    rest = (ah - p) + (al - e)
    return two_sum(q, rest / bh)


@njit(cache=True)
def roots(n):
    """√0...√n: (n + 1,) high and low."""
    high = np.sqrt(np.arange(n + 1.0))
    low = np.zeros(n + 1)
    for i in range(1, n + 1):
        p, e = two_prod(high[i], high[i])
        high[i], low[i] = two_sum(high[i], ((i - p) - e) / (2 * high[i]))
    return high, low


def refine(comm, sector: Strings, solve, state: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """This rank's part of the steady state, high and low, from that in doubles, and the error in the norm of ρ.

    solve : collective; this rank's part of (L - σ)^-1 x, approximately, from that of x, for a tiny σ

    The same operator reduces the error in every step, so the ratio of two corrections predicts the next one.
    """
    start, stop = solvers.row_range(comm, sector.size)
    shifts, ends = sector.moves.shifts
    scale = np.exp(sector.log_norms() / 2)  # to orthonormal strings
    high = np.concatenate(comm.allgather(state))
    low, size, error = np.zeros_like(high), np.inf, np.inf
    for count in range(STEPS):
        rest = _residual(
            sector.layout,
            start,
            stop,
            shifts,
            ends,
            sector.moves.labels,
            sector.moves.factor,
            sector.moves.rate,
            high,
            low,
        )
        step = np.concatenate(comm.allgather(solve(rest)))
        previous, size = size, np.linalg.norm(scale * step) / np.linalg.norm(scale * high)
        if not size < previous / 2:
            break
        _subtract(high, low, step)
        error = size * size / previous if count else size
        if error < ENOUGH:
            break
    return high[start:stop], low[start:stop], error


@njit(cache=True)
def _subtract(high, low, step):
    for i in range(len(high)):
        high[i], low[i] = add(high[i], low[i], -step[i], 0.0)


@njit(cache=True)
def _residual(layout, start, stop, shifts, ends, labels, factor, rate, high, low):
    """Rows start..stop-1 of L(high + low), summed in pairs."""
    out, n = np.zeros(stop - start), np.empty(4, np.int64)
    for u in range(start, stop):
        n[1], n[2], n[3] = layout.counts[u, 0], layout.counts[u, 1], layout.counts[u, 2]
        n[0] = layout.N - n[1] - n[2] - n[3]
        sh = sl = 0.0
        for g in range(len(shifts)):
            wh = wl = 0.0
            for r in range(ends[g], ends[g + 1]):
                a, b = labels[r]
                count = n[a] if b < 0 else n[a] * (n[b] - (a == b))
                if count:
                    ph, pl = two_prod(rate[r], factor[r] * count)
                    wh, wl = add(wh, wl, ph, pl)
            if wh == 0:
                continue
            to = layout.index[n[1] + shifts[g, 0], n[2] + shifts[g, 1], n[3] + shifts[g, 2]]
            ph, pl = mul(wh, wl, high[to], low[to])
            sh, sl = add(sh, sl, ph, pl)
        out[u - start] = sh + sl
    return out
