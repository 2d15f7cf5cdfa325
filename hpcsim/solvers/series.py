"""A polynomial of L that stands for exp(TL) wherever L may have an eigenvalue."""

from typing import NamedTuple

import numpy as np
from scipy import special

from hpcsim.compiled import njit
from hpcsim.solvers import lanczos

LENGTH = 60.0  # of a step, in units of the radius below: a longer one would lose digits, a shorter one cost more
WIDER = 1.2  # radius in units of the largest frequency: a smaller one would lose digits
ERROR = 1e-3  # of the polynomial, relative to the slowest decay that matters
EDGE = 21  # points on each side of the upper half of the rectangle of eigenvalues; in the other all is conjugate
EVERY = 4  # degrees from one look at the error to the next


class Extent(NamedTuple):
    """Real parts of the eigenvalues of L are between -decay and 0, imaginary ones not beyond ±frequency."""

    decay: float
    frequency: float


def extent(matrix) -> Extent:
    """Bounds by Bendixson, proved as in `lanczos`, of a Liouvillian: real and sparse, in orthonormal unknowns."""
    symmetric, other = ((matrix + sign * matrix.T).tocsr() / 2 for sign in (1, -1))
    size = matrix.shape[0]
    decay, frequency = (abs(part).sum(1).max() for part in (symmetric, other))
    decay = lanczos.bound(lambda x: -(symmetric @ x), size, decay)
    return Extent(decay, np.sqrt(lanczos.bound(lambda x: -(other @ (other @ x)), size, frequency**2)))


class Series:
    """f(L) x, the Chebyshev series of exp(hL) along the imaginary axis as often as makes the time T.

    rate     : |f(λ)| >= (1 - error) exp(T Re λ) for all eigenvalues that decay with this or more slowly
    products : with L, of one f(L) x

    exp(hz) = e^(hc) [J_0(hr) + 2 Σ_k J_k(hr) S_k((z - c)/r)], S_0 = 1, S_1(w) = w, S_k+1 = 2w S_k + S_k-1. The degree
    is found on the edge of the rectangle of `extent`, inside which the error is smaller.
    """

    def __init__(self, extent: Extent, time: float, rate: float):
        width, top = extent.decay / 2, extent.frequency * 1j
        self.time, self.centre, self.radius = time, -width, WIDER * max(extent.frequency, width)
        self.steps = max(1, int(np.ceil(time * self.radius / LENGTH)))
        h, self.error = time / self.steps, ERROR
        side = np.linspace(0, 1, EDGE)
        edge = np.concatenate([side * top, side * top - 2 * width, -2 * width * side + top])
        self.coefficients = self._coefficients(h, edge, ERROR / self.steps * np.exp(-h * rate))
        self.products = self.steps * (len(self.coefficients) - 1)

    def _coefficients(self, h: float, edge: np.ndarray, error: float) -> np.ndarray:
        """As many coefficients of the series as make the error of one step small enough."""
        found = 2 * np.exp(h * self.centre) * special.jv(np.arange(4 * LENGTH), h * self.radius)
        found[0] /= 2
        w, exact = (edge - self.centre) / self.radius, np.exp(h * edge)
        last, now = np.ones_like(w), w
        total = found[0] + found[1] * w
        for k in range(2, len(found)):
            last, now = now, 2 * w * now + last
            total += found[k] * now
            if k % EVERY == 0 and abs(total - exact).max() < error:
                return found[: k + 1]
        raise ArithmeticError(f"the series of exp({h:g} L) does not converge")  # for a LENGTH that is too large

    def __call__(self, matrix, x: np.ndarray) -> np.ndarray:
        """f(L) x for L or for its transpose, in CSR."""
        # unsigned: numba looks for places counted from the end where they might be negative
        places = (each.astype(np.uint32) for each in (matrix.indptr, matrix.indices))
        csr, c, r = (*places, matrix.data), self.centre, self.radius
        for _ in range(self.steps):
            last, now = x.copy(), (matrix @ x - c * x) / r
            x = self.coefficients[0] * last + self.coefficients[1] * now
            _sum(*csr, c, 2 / r, self.coefficients, last, now, x)
        return x


@njit(cache=True, error_model="numpy")
def _sum(starts, columns, elements, c, factor, coefficients, last, now, total):
    """Add the terms from the third on to the total; the two before them are overwritten. factor : 2/r"""
    for k in range(2, len(coefficients)):
        for i in range(len(now)):
            product = 0.0
            for j in range(starts[i], starts[i + 1]):
                product += elements[j] * now[columns[j]]
            last[i] += factor * (product - c * now[i])
            total[i] += coefficients[k] * last[i]
        last, now = now, last
