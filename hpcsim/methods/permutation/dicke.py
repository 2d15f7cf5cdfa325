"""From correlators of symmetrised Pauli strings to the Dicke blocks of ρ, by orthogonal transformations.

In the basis |j, m, α⟩, α = 1...d_j, a symmetric ρ is Σ_j Σ_mm' p_j[m, m'] Σ_α |j m α⟩⟨j m' α|, with

    d_j = (2j + 1) N! / ((N/2 + j + 1)! (N/2 - j)!).

Three changes between orthonormal bases of the symmetric operators lead to it:

1. σx, σy -> |0⟩⟨1|, |1⟩⟨0| and σz, 1 -> |0⟩⟨0|, |1⟩⟨1| on every site, in the symmetric powers: the
   Krawtchouk matrices of n_x + n_y and of N - n_x - n_y sites. 0 is up.
2. For fixed m and m', from the number t of flips to j: eigenvectors of a tridiagonal matrix, that of J²
   acting from the left, with known eigenvalues (Hahn polynomials).

Orthogonal matrices do not amplify errors, so the blocks √d_j p_j, whose squares sum to Tr ρ², are right
to rounding times √(Tr ρ²), though d_j exceeds 1e50 (N = 200). Their eigenvalues λ stand for d_j-fold
eigenvalues λ/√d_j of ρ, with the probability √d_j λ; those of small j would drown in the rounding of
doubles, so everything up to the blocks is done in pairs of doubles (see `extended`).
"""

import numpy as np
from scipy.special import gammaln

from hpcsim.compiled import njit
from hpcsim.methods.permutation.basis import Strings
from hpcsim.methods.permutation.extended import add, div, mul, roots

NOISE = 1e-15  # eigenvalues below this, relative to the largest of the block, are rounding
EXTENDED = 1e-29  # and below this, relative to √(Tr ρ²), that of pairs of doubles


def log_degeneracies(N: int) -> np.ndarray:
    """ln d_j for j = N/2, N/2 - 1, ...: (N//2 + 1,)."""
    j = N / 2 - np.arange(N // 2 + 1)
    return np.log(2 * j + 1) + gammaln(N + 1) - gammaln(N / 2 + j + 2) - gammaln(N / 2 - j + 1)


def purity(sector: Strings, e: np.ndarray) -> float:
    """Tr ρ² = 2^-N Σ_n N!/(n_0! n_x! n_y! n_z!) e(n)²."""
    return float(np.sum(np.exp(sector.log_norms()) * e**2))


def blocks(sector: Strings, high: np.ndarray, low: np.ndarray) -> list[np.ndarray]:
    """The matrices √d_j p_j, j = N/2, N/2 - 1, ..., each (2j+1, 2j+1) Hermitian, m falling.

    high, low : correlators whose sum has up to 32 digits
    """
    N, layout, root = sector.N, sector.layout, roots(sector.N + 1)
    place = _places(N)
    elements = _elements(N, place, layout.index, high, low, *_krawtchouk(N, *root), *_root_factorials(N, *root))
    sizes = N + 1 - 2 * np.arange(N // 2 + 1)
    start = np.concatenate([[0], np.cumsum(sizes**2)])
    flat = _recouple(N, abs(sector.parity) + 1, place, elements, start, *root)
    return [flat[a:b].reshape(n, n) for a, b, n in zip(start, start[1:], sizes)]


def spectrum(sector: Strings, high: np.ndarray, low: np.ndarray) -> list[np.ndarray]:
    """The eigenvalues of the matrices √d_j p_j."""
    step = abs(sector.parity) + 1  # with parity m - m' is even: two blocks
    return [
        np.concatenate([np.linalg.eigvalsh(block[s::step, s::step]) for s in range(min(step, len(block)))])
        for block in blocks(sector, high, low)
    ]


def summarise(sector: Strings, high: np.ndarray, low: np.ndarray, noise: float = EXTENDED) -> dict:
    """Entropy per spin in nats, and how far ρ is from a state.

    noise       : eigenvalues of the blocks below this, relative to √(Tr ρ²), are errors of the correlators

    entropy     : -Tr(ρ ln ρ)/N
    trace_error : Σ of the probabilities, less 1: an error of rounding
    negative_probability : the largest probability with the wrong sign
    """
    values, half = spectrum(sector, high, low), log_degeneracies(sector.N) / 2
    least = noise * np.sqrt(sum(np.sum(v**2) for v in values))
    total = entropy = negative = 0.0
    for v, log_root in zip(values, half):
        threshold = max(least, NOISE * abs(v).max())
        wrong, v = -v[v < -threshold], v[v > threshold]
        weight = np.exp(np.log(v) + log_root)  # d_j λ/√d_j
        total += weight.sum()
        entropy -= np.sum(weight * (np.log(v) - log_root))
        negative = max(negative, *np.exp(np.log(wrong) + log_root), 0.0)
    return {"entropy": entropy / sector.N, "trace_error": total - 1, "negative_probability": negative}


def _places(N: int) -> np.ndarray:
    """place[a, b] + c numbers all (a, b, c) with a + b + c <= N without gaps."""
    lengths = np.maximum(N + 1 - np.add.outer(np.arange(N + 1), np.arange(N + 1)), 0)
    return np.cumsum(lengths).reshape(lengths.shape) - lengths


@njit(cache=True)
def _root_factorials(N, root, root_low):
    """√(n!) / s^n, n = 0...N, high and low; s is the power of two near √(N/e), against overflow."""
    scale = 2.0 ** -np.round(np.log2(N / np.e + 1) / 2)
    high, low = np.ones(N + 1), np.zeros(N + 1)
    for n in range(1, N + 1):
        high[n], low[n] = mul(high[n - 1], low[n - 1], root[n] * scale, root_low[n] * scale)
    return high, low


@njit(cache=True)
def _krawtchouk(N, root, root_low):
    """W[q, k, z] = ⟨k sites of q down | z factors σz, q - z factors 1⟩ of normalised symmetric products.

    It is built site by site. Each step is a contraction, so that rounding errors only add up.
    """
    W, V = np.zeros((N + 1, N + 1, N + 1)), np.zeros((N + 1, N + 1, N + 1))
    W[0, 0, 0] = 1
    for q in range(1, N + 1):
        ih, il = div(root[2] / 2, root_low[2] / 2, float(q), 0.0)  # 1/(√2 q)
        for k in range(q + 1):
            for z in range(q + 1):
                sh = sl = 0.0
                for dk in range(2):
                    for dz in range(2):
                        rows, cols = (k if dk else q - k), (z if dz else q - z)
                        if rows and cols:
                            h, l = mul(root[rows], root_low[rows], root[cols], root_low[cols])
                            h, l = mul(h, l, W[q - 1, k - dk, z - dz], V[q - 1, k - dk, z - dz])
                            sh, sl = add(sh, sl, -h if dk and dz else h, -l if dk and dz else l)
                W[q, k, z], V[q, k, z] = mul(sh, sl, ih, il)
    return W, V


@njit(cache=True)
def _elements(N, place, index, high, low, W, V, f, g):
    """[part, place[n01, n10] + n11] of ρ in orthonormal symmetric products of |0⟩⟨0|, |0⟩⟨1|, |1⟩⟨0|, |1⟩⟨1|.

    part 0 and 1 is the real part, high and low; 2 and 3 the imaginary one.
    σx = |0⟩⟨1| + |1⟩⟨0| and σy = -i (|0⟩⟨1| - |1⟩⟨0|), so σy is -i times the σz of this pair.
    The coefficient of an orthonormal string is e(n) √(N!/(n_0! n_x! n_y! n_z! 2^N)).
    """
    out = np.zeros((4, (N + 1) * (N + 2) * (N + 3) // 6))
    ch, cl, dh, dl = np.empty(N + 1), np.empty(N + 1), np.empty(N + 1), np.empty(N + 1)
    half = 2.0 ** -(N // 2)
    th, tl = mul(f[N], g[N], half, 0.0)
    if N % 2:
        th, tl = div(th, tl, W[1, 0, 0] * 2, V[1, 0, 0] * 2)  # √2
    for x in range(N + 1):
        for y in range(N - x + 1):
            if index[x, y, 0] < 0:
                continue
            n, q = x + y, N - x - y
            bh, bl = mul(f[x], g[x], f[y], g[y])
            bh, bl = div(th, tl, bh, bl)
            for z in range(q + 1):
                h, l = mul(f[z], g[z], f[q - z], g[q - z])
                h, l = div(bh, bl, h, l)
                ch[z], cl[z] = mul(h, l, high[index[x, y, z]], low[index[x, y, z]])
            for k in range(q + 1):
                sh = sl = 0.0
                for z in range(q + 1):
                    h, l = mul(W[q, k, z], V[q, k, z], ch[z], cl[z])
                    sh, sl = add(sh, sl, h, l)
                dh[k], dl[k] = sh, sl
            part, sign = 2 * (y % 2), 1.0 if y % 4 in (0, 3) else -1.0  # (-i)^y
            for n10 in range(n + 1):
                wh, wl = sign * W[n, n10, y], sign * V[n, n10, y]
                for k in range(q + 1):
                    at = place[n - n10, n10] + k
                    h, l = mul(wh, wl, dh[k], dl[k])
                    out[part, at], out[part + 1, at] = add(out[part, at], out[part + 1, at], h, l)
    return out


@njit(cache=True)
def _recouple(N, step, place, elements, start, root, root_low):
    """Fill all blocks in turn: block s has j = N/2 - s, and m = N/2 - k is its row k - s."""
    flat = np.zeros(start[-1], np.complex128)
    vh, vl = np.empty(N + 1), np.empty(N + 1)
    for k in range(N + 1):  # sites down in the ket
        for kk in range(k % step, k + 1, step):  # and in the bra
            length = min(kk, N - k) + 1
            for s in range(length):
                _flips_of_j(N, k, kk, s, length, root, root_low, vh, vl)
                ah = al = bh = bl = 0.0
                for t in range(length):
                    e = elements[:, place[t, t + k - kk] + kk - t]
                    h, l = mul(vh[t], vl[t], e[0], e[1])
                    ah, al = add(ah, al, h, l)
                    h, l = mul(vh[t], vl[t], e[2], e[3])
                    bh, bl = add(bh, bl, h, l)
                width = N + 1 - 2 * s
                flat[start[s] + (k - s) * width + kk - s] = ah + 1j * bh
                flat[start[s] + (kk - s) * width + k - s] = ah - 1j * bh
    return flat


@njit(cache=True)
def _flips_of_j(N, k, kk, s, length, root, root_low, vh, vl):
    """Overlaps of the state j = N/2 - s with t = n01 flips, n10 = t + k - kk, for m = N/2 - k, m' = N/2 - kk.

    They obey (τ - D_t) v_t = E_t v_{t+1} + E_{t-1} v_{t-1} with D_t = -n00 n11 - n01 n10,
    E_t = √(n00 n11 (n01 + 1)(n10 + 1)) and τ = j(j+1) - N(N+2)/4 = -s(N + 1 - s). From both ends, v grows
    up to the region where it oscillates, and both recursions meet there. v_0 > 0: |m⟩⟨m'| ∝ J-^(k-kk) has no
    n01.
    Written to vh, vl, the high and the low parts.
    """
    Eh, El, D = np.empty(length), np.empty(length), np.empty(length)
    for t in range(length):
        n01, n10, n11, n00 = t, t + k - kk, kk - t, N - k - t
        D[t] = -(n00 * n11 + n01 * n10)
        h, l = mul(root[n00], root_low[n00], root[n11], root_low[n11])
        a, b = mul(root[n01 + 1], root_low[n01 + 1], root[n10 + 1], root_low[n10 + 1])
        Eh[t], El[t] = mul(h, l, a, b)
    tau = -s * (N + 1.0 - s)
    meet, closest = 0, np.inf
    for t in range(length - 1):
        distance = abs(tau - D[t]) / (Eh[t] + (Eh[t - 1] if t else 0.0))
        if distance < closest:
            meet, closest = t, distance
    vh[length - 1], vl[length - 1] = 1.0, 0.0
    for t in range(length - 1, meet, -1):
        h, l = mul(tau - D[t], 0.0, vh[t], vl[t])
        if t < length - 1:
            a, b = mul(Eh[t], El[t], vh[t + 1], vl[t + 1])
            h, l = add(h, l, -a, -b)
        vh[t - 1], vl[t - 1] = div(h, l, Eh[t - 1], El[t - 1])
    if length > 1:
        a, b, c, d = vh[meet], vl[meet], vh[meet + 1], vl[meet + 1]  # of the recursion from the last t
        vh[0], vl[0] = 1.0, 0.0
        for t in range(meet + 1):
            h, l = mul(tau - D[t], 0.0, vh[t], vl[t])
            if t:
                e, f = mul(Eh[t - 1], El[t - 1], vh[t - 1], vl[t - 1])
                h, l = add(h, l, -e, -f)
            vh[t + 1], vl[t + 1] = div(h, l, Eh[t], El[t])
        if abs(a) > abs(c):
            h, l = div(vh[meet], vl[meet], a, b)
        else:
            h, l = div(vh[meet + 1], vl[meet + 1], c, d)
        vh[meet + 1], vl[meet + 1] = mul(c, d, h, l)
        for t in range(meet + 2, length):
            vh[t], vl[t] = mul(vh[t], vl[t], h, l)
    sh = sl = 0.0
    for t in range(length):
        h, l = mul(vh[t], vl[t], vh[t], vl[t])
        sh, sl = add(sh, sl, h, l)
    r = np.sqrt(sh)
    h, l = mul(r, 0.0, r, 0.0)
    h, l = add(r, 0.0, ((sh - h) + (sl - l)) / (2 * r), 0.0)
    for t in range(length):
        vh[t], vl[t] = div(vh[t], vl[t], h, l)
