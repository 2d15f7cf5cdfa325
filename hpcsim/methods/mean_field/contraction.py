"""The Liouvillian of a few sites, applied to a density matrix without building its matrix.

In the product basis every operator on one or two sites has only a few diagonals: S- on a site moves the index by
the number of states of the sites after it. With G = -iH - ½ Σ γ L†L = Σ_d g_d on the diagonals m, m + s_d,

    (Gρ + ρG† + Σ γ LρL†)_mn = Σ_d [g_d(m) ρ(m+s_d, n) + g_d(n)* ρ(m, n+s_d)] + Σ_de l_d(m) l_e(n)* ρ(m+s_d, n+s_e).

A Hermitian ρ is kept as the real array (2, D, D) of its real and imaginary parts.
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from hpcsim.compiled import njit


class Jump(NamedTuple):
    """√γ L, up to its phase, on its diagonals: shift (d,), amplitude (d, D) real."""

    shift: np.ndarray
    amplitude: np.ndarray


def diagonals(matrix, shifts=None) -> tuple[np.ndarray, np.ndarray]:
    """shift (d,) and values (d, D): values[d, m] = matrix[m, m + shift[d]]; on the given shifts or those it has."""
    m = sparse.coo_matrix(matrix)
    where = m.col.astype(int) - m.row
    shifts = np.unique(where) if shifts is None else shifts
    values = np.zeros((len(shifts), m.shape[0]), complex)
    values[np.searchsorted(shifts, where), m.row] = m.data
    return shifts, values


def jump(rate: float, operator) -> Jump:
    """The dissipator of L = Sx, Sy, Sz, S+, S- or a sum of one of them over sites, whose elements share their phase."""
    shift, values = diagonals(operator)
    phase = values[np.unravel_index(abs(values).argmax(), values.shape)]
    return Jump(shift, np.sqrt(rate) * (values * abs(phase) / phase).real)


@njit(cache=True, error_model="numpy", fastmath=True)
def left_right(rho, shift, real, imag, out):
    """out = Gρ + ρG† for n >= m; G on its diagonals `shift`, of values real + i imag (d, D)."""
    X, Y, dimension = rho[0], rho[1], rho.shape[1]
    has_real, has_imag = np.empty(len(shift), np.bool_), np.empty(len(shift), np.bool_)
    for d in range(len(shift)):
        has_real[d], has_imag[d] = np.any(real[d] != 0), np.any(imag[d] != 0)
    for m in range(dimension):
        x, y = out[0, m, m:], out[1, m, m:]
        x[:], y[:] = 0.0, 0.0
        for d in range(len(shift)):
            s = shift[d]
            a, b, k = real[d, m], imag[d, m], m + s
            if a != 0 or b != 0:
                Xk, Yk = X[k, m:], Y[k, m:]
                for n in range(len(x)):
                    x[n] += a * Xk[n] - b * Yk[n]
                    y[n] += a * Yk[n] + b * Xk[n]
            first, last = max(m, -s), min(dimension, dimension - s)
            if last <= first:
                continue
            Xm, Ym, xs, ys = X[m, first + s : last + s], Y[m, first + s : last + s], x[first - m :], y[first - m :]
            g, h = real[d, first:last], imag[d, first:last]
            if has_real[d]:
                for n in range(len(Xm)):
                    xs[n] += g[n] * Xm[n]
                    ys[n] += g[n] * Ym[n]
            if has_imag[d]:
                for n in range(len(Xm)):
                    xs[n] += h[n] * Ym[n]
                    ys[n] -= h[n] * Xm[n]


@njit(cache=True, error_model="numpy", fastmath=True)
def sandwich(rho, shift, amplitude, out):
    """out += LρL† for n >= m; L on its diagonals."""
    dimension = rho.shape[1]
    for m in range(dimension):
        for d in range(len(shift)):
            a, k = amplitude[d, m], m + shift[d]
            if a == 0:
                continue
            for e in range(len(shift)):
                s = shift[e]
                first, last = max(m, -s), min(dimension, dimension - s)
                if last <= first:
                    continue
                for part in range(2):
                    there, here = rho[part, k, first + s : last + s], out[part, m, first:last]
                    b = amplitude[e, first:last]
                    for n in range(len(here)):
                        here[n] += a * b[n] * there[n]


@njit(cache=True)
def mirror(out):
    """The elements below the diagonal of a Hermitian matrix, and the zeros on that of its imaginary part."""
    dimension, block = out.shape[1], 16
    for m in range(dimension):
        out[1, m, m] = 0.0
    for top in range(0, dimension, block):
        for left in range(0, top + 1, block):
            for m in range(top, min(top + block, dimension)):
                for n in range(left, min(left + block, m)):
                    out[0, m, n], out[1, m, n] = out[0, n, m], -out[1, n, m]
