"""From correlators of symmetrised Pauli strings to the Dicke blocks of ρ, by orthogonal transformations.

In the basis |j, m, α⟩, α = 1...d_j, a symmetric ρ is Σ_j Σ_mm' p_j[m, m'] Σ_α |j m α⟩⟨j m' α|, with

    d_j = (2j + 1) N! / ((N/2 + j + 1)! (N/2 - j)!).

Three changes between orthonormal bases of the symmetric operators lead there:

1. σx, σy -> |0⟩⟨1|, |1⟩⟨0| and σz, 1 -> |0⟩⟨0|, |1⟩⟨1| on every site, in the symmetric powers: the
   Krawtchouk matrices of n_x + n_y and of N - n_x - n_y sites. 0 is up.
2. For fixed m and m', from the number t of flips to j: eigenvectors of a tridiagonal matrix, that of J²
   acting from the left, with known eigenvalues (Hahn polynomials).

Orthogonal matrices do not amplify errors, so the blocks √d_j p_j, whose squares sum to Tr ρ², are right
to rounding times √(Tr ρ²), though d_j exceeds 1e50 (N = 200). Their eigenvalues λ stand for d_j-fold
eigenvalues λ/√d_j of ρ.
"""
import numpy as np
from numba import njit
from scipy.special import gammaln, xlogy

from hpcsim.methods.permutation.basis import Strings

NOISE = 1e-14       # eigenvalues of the blocks below this, relative to √(Tr ρ²), are rounding


def log_degeneracies(N: int) -> np.ndarray:
    """ln d_j for j = N/2, N/2 - 1, ...: (N//2 + 1,)."""
    j = N / 2 - np.arange(N // 2 + 1)
    return np.log(2 * j + 1) + gammaln(N + 1) - gammaln(N / 2 + j + 2) - gammaln(N / 2 - j + 1)


def log_multiplicities(strings: np.ndarray) -> np.ndarray:
    """ln of N!/(n_0! n_x! n_y! n_z!), the arrangements of every string: (size,)."""
    return gammaln(strings.sum(1) + 1) - gammaln(strings + 1).sum(1)


def purity(sector: Strings, e: np.ndarray) -> float:
    """Tr ρ² = 2^-N Σ_n N!/(n_0! n_x! n_y! n_z!) e(n)²."""
    return float(np.sum(_orthonormal(sector, e)**2))


def _orthonormal(sector, e):
    """Coefficients of ρ in orthonormal strings: e(n) sqrt(multiplicity / 2^N)."""
    return e * np.exp((log_multiplicities(sector.strings()) - sector.N * np.log(2)) / 2)


def blocks(sector: Strings, e: np.ndarray) -> list[np.ndarray]:
    """The matrices √d_j p_j, j = N/2, N/2 - 1, ..., each (2j+1, 2j+1) Hermitian, m falling."""
    N, layout = sector.N, sector.layout
    elements = _elements(N, layout.nx, layout.ny, layout.first, _orthonormal(sector, e), _krawtchouk(N))
    return _couple(N, elements)


def spectrum(sector: Strings, e: np.ndarray) -> list[np.ndarray]:
    """The eigenvalues of the matrices √d_j p_j."""
    found = []
    for block in blocks(sector, e):
        if sector.parity:     # m - m' is even: two blocks
            found.append(np.concatenate([np.linalg.eigvalsh(block[s::2, s::2]) for s in range(2) if s < len(block)]))
        else:
            found.append(np.linalg.eigvalsh(block))
    return found


def summarise(sector: Strings, e: np.ndarray) -> dict:
    """Entropy per spin in nats, and how far ρ is from a state.

    entropy          -Tr(ρ ln ρ)/N
    trace_error      Σ of the probabilities, less 1: what rounding hides, or leaves in excess
    negativity       the most negative eigenvalue of √d_j p_j, relative to √(Tr ρ²): rounding, if ρ is a state
    """
    values, half = spectrum(sector, e), log_degeneracies(sector.N) / 2
    norm = np.sqrt(sum(np.sum(v**2) for v in values))
    total = entropy = 0.0
    for v, log_root in zip(values, half):
        v = v[v > NOISE * norm]
        weight = np.exp(np.log(v) + log_root)         # d_j λ/√d_j
        total += weight.sum()
        entropy -= np.sum(weight * (np.log(v) - log_root))
    return {"entropy": entropy / sector.N, "trace_error": total - 1,
            "negativity": max(0.0, -min(v.min() for v in values)) / norm}


@njit(cache=True)
def _krawtchouk(N):
    """W[q, k, z] = ⟨k sites of q down | z factors σz, q - z factors 1⟩ of normalised symmetric products.

    Built site by site: each step is a contraction, so that rounding only adds up.
    """
    W = np.zeros((N + 1, N + 1, N + 1))
    W[0, 0, 0] = 1
    for q in range(1, N + 1):
        for k in range(q + 1):
            for z in range(q + 1):
                value = 0.0
                if k < q and z < q:
                    value += np.sqrt((q - k) * (q - z)) * W[q - 1, k, z]
                if k < q and z > 0:
                    value += np.sqrt((q - k) * z) * W[q - 1, k, z - 1]
                if k > 0 and z < q:
                    value += np.sqrt(k * (q - z)) * W[q - 1, k - 1, z]
                if k > 0 and z > 0:
                    value -= np.sqrt(k * z) * W[q - 1, k - 1, z - 1]
                W[q, k, z] = value / (q * np.sqrt(2))
    return W


@njit(cache=True)
def _elements(N, nx, ny, first, c, W):
    """c[n01, n10, n11] in orthonormal symmetric products of |0⟩⟨0|, |0⟩⟨1|, |1⟩⟨0|, |1⟩⟨1|.

    σx = |0⟩⟨1| + |1⟩⟨0| and σy = -i (|0⟩⟨1| - |1⟩⟨0|), so σy is -i times the σz of this pair.
    """
    out = np.zeros((N + 1, N + 1, N + 1), np.complex128)
    phase = np.array([1, -1j, -1, 1j])
    for column in range(len(nx)):
        n, q = nx[column] + ny[column], N - nx[column] - ny[column]
        diagonal = W[q, :q + 1, :q + 1] @ c[first[column]:first[column + 1]]
        for n10 in range(n + 1):
            weight = W[n, n10, ny[column]] * phase[ny[column] % 4]
            for n11 in range(q + 1):
                out[n - n10, n10, n11] += weight * diagonal[n11]
    return out


def _couple(N, elements):
    sizes = N + 1 - 2 * np.arange(N // 2 + 1)
    start = np.concatenate([[0], np.cumsum(sizes**2)])
    flat = _recouple(N, elements, start)
    return [flat[a:b].reshape(n, n) for a, b, n in zip(start, start[1:], sizes)]


@njit(cache=True)
def _recouple(N, elements, start):
    """Fill all blocks, one after the other: block s has j = N/2 - s, and m = N/2 - k at row k - s."""
    flat = np.zeros(start[-1], np.complex128)
    for k in range(N + 1):              # sites down in the ket
        for kk in range(k + 1):         # and in the bra
            length = min(kk, N - k) + 1
            values = np.array([elements[t, t + k - kk, kk - t] for t in range(length)])
            for s in range(length):
                v = _flips_of_j(N, k, kk, s, length)
                value = 0j
                for t in range(length):
                    value += v[t] * values[t]
                width = N + 1 - 2 * s
                flat[start[s] + (k - s) * width + kk - s] = value
                flat[start[s] + (kk - s) * width + k - s] = value.conjugate()
    return flat


@njit(cache=True)
def _flips_of_j(N, k, kk, s, length):
    """Overlaps of the state j = N/2 - s with t = n01 flips, n10 = t + k - kk, for m = N/2 - k, m' = N/2 - kk.

    They obey (τ - D_t) v_t = E_t v_{t+1} + E_{t-1} v_{t-1} with D_t = -n00 n11 - n01 n10,
    E_t = sqrt(n00 n11 (n01 + 1)(n10 + 1)) and τ = j(j+1) - N(N+2)/4. From both ends, v grows up to
    the region where it oscillates, and both recursions meet there. v_0 > 0: |m⟩⟨m'| ∝ J-^(k-kk) has no n01.
    """
    t = np.arange(length)
    n01, n10, n11, n00 = t, t + k - kk, kk - t, N - k - t
    D = -(n00 * n11 + n01 * n10).astype(np.float64)
    E = np.sqrt((n00 * n11).astype(np.float64) * ((n01 + 1) * (n10 + 1)))
    j = N / 2 - s
    tau = j * (j + 1) - N * (N + 2) / 4
    v = np.empty(length)
    v[0] = 1
    if length == 1:
        return v
    meet, closest = 0, np.inf
    for i in range(length - 1):
        reach = E[i] + (E[i - 1] if i else 0.0)
        if abs(tau - D[i]) / reach < closest:
            meet, closest = i, abs(tau - D[i]) / reach
    up = np.empty(meet + 2)
    up[0] = 1
    for i in range(meet + 1):
        up[i + 1] = ((tau - D[i]) * up[i] - (E[i - 1] * up[i - 1] if i else 0.0)) / E[i]
    down = np.empty(length)
    down[-1] = 1
    for i in range(length - 1, meet, -1):
        down[i - 1] = ((tau - D[i]) * down[i] - (E[i] * down[i + 1] if i < length - 1 else 0.0)) / E[i - 1]
    scale = (up[meet] * down[meet] + up[meet + 1] * down[meet + 1]) / (down[meet]**2 + down[meet + 1]**2)
    v[:meet + 1] = up[:meet + 1]
    v[meet + 1:] = scale * down[meet + 1:]
    return v / np.sqrt(np.sum(v**2))
