"""Time evolution under a Liouvillian that depends on time: a Taylor series in time, of any order.

With L(t) = L_0 + Σ_a w_a(t) L_a and w_a(t + y h) = Σ_j c_aj y^j, the terms x_k of x(t + y h) = Σ_k x_k y^k follow from

    k x_k = h [ L_0 x_k-1 + Σ_a L_a Σ_j c_aj x_k-1-j ].

The error is that of the last terms, as it is without time dependence: no order of a splitting limits the step. Of the
parts only the products with L_a that change are computed in addition.
"""

from dataclasses import dataclass

import numpy as np

from hpcsim.solvers.petsc import SolverError, destroy, libraries, matrix_of
from hpcsim.system import piecewise
from hpcsim.system.piecewise import DEGREE, Curve

REACH = 4.0  # |L| h of a Taylor step: the largest term, REACH^k/k!, costs less than two digits
FAR = 10.0  # the same of a step under a drive, which ends with a piece of that: fewer and longer series, three digits
TERMS = 80  # more would mean that rounding keeps the series from its tolerance


@dataclass(frozen=True)
class InTime:
    """Sectors, of the same unknowns, of L_0 and all L_a, and the curve of the w_a from time 0 on."""

    sectors: tuple
    curve: Curve

    def __str__(self):
        return str(self.sectors[0])


class TaylorInTime:
    """A `Stepper` that begins at time 0. DEGREE + 5 vectors. |L| is the largest row sum."""

    def __init__(self, comm, sector: InTime, tolerance: float, options: dict):
        PETSc, _ = libraries(comm)
        self._sector, self._tolerance, self._curve = sector, tolerance, sector.curve
        self._matrices = [matrix_of(PETSc, comm, each) for each in sector.sectors]
        self._norms = np.array([matrix.norm(PETSc.NormType.INFINITY) for matrix in self._matrices])
        self._terms = [self._matrices[0].createVecLeft() for _ in range(DEGREE + 2)]
        self._mixed, self._product, self._sum = (self._matrices[0].createVecLeft() for _ in range(3))
        self.restart()

    def restart(self):
        """Begin at time 0 again."""
        self._time, self._piece = 0.0, 0

    @property
    def local(self) -> int:
        """How many components this rank has."""
        return self._sum.getLocalSize()

    @property
    def mean_decay(self) -> float:
        """-Re λ, the mean over all eigenvalues of L at time 0."""
        c = piecewise.values(self._curve, np.zeros(1))[0]
        traces = [float(np.real(matrix.getDiagonal().sum())) for matrix in self._matrices]
        return -(traces[0] + c @ traces[1:]) / self._matrices[0].getSize()[0]

    def advance(self, state, interval):
        self._sum.array = state
        end, breaks = self._time + interval, self._curve.breaks
        share = self._tolerance / interval
        while self._time < end:
            last = self._piece == len(breaks) - 2
            target = end if last or end < breaks[self._piece + 1] else breaks[self._piece + 1]
            h, c = self._chosen(target - self._time)
            self._step(h, c, share * h)
            self._time = target if h >= target - self._time else self._time + h
            if self._time == breaks[self._piece + 1] and not last:
                self._piece += 1
        return self._sum.array.real.copy()

    def _chosen(self, longest: float):
        """The step, a whole part of `longest`, and the coefficients c (DEGREE + 1, parts) of the w_a within it."""
        c = np.empty((DEGREE + 1, len(self._norms) - 1))
        piecewise.expanded(self._curve, self._piece, self._time, longest, c)
        size = self._norms @ np.append(1.0, np.abs(c).sum(axis=0))
        h = longest / max(1, int(np.ceil(longest * size / FAR)))
        return h, c * (h / longest) ** np.arange(DEGREE + 1)[:, None]

    def _step(self, h: float, c: np.ndarray, tolerance: float):
        """Add all terms but the first to the sum.

        The terms that follow x_k are of the order of h/k Σ_i tail[k - i] |x_i|, where tail[m] sums what the orders
        j >= m of all parts can do.
        """
        tail = h * np.cumsum((np.abs(c) @ self._norms[1:])[::-1])[::-1]
        tail[0] += h * self._norms[0]
        used = 1 + np.max(np.flatnonzero(tail > 1e-17 * tail[0]), initial=0)
        terms, sizes = self._terms, [self._sum.norm()]
        limit = tolerance * sizes[0]
        self._sum.copy(terms[0])
        for k in range(1, TERMS):
            self._derive(k, h, c[:used])
            new = terms[k % len(terms)]
            self._sum.axpy(1, new)
            sizes.append(new.norm())
            recent = np.array(sizes[-used:][::-1])
            if sizes[k] + sizes[k - 1] <= limit and tail[: len(recent)] @ recent <= k * limit:
                return
        raise SolverError(
            f"the time evolution of {self._sector} did not reach the tolerance {self._tolerance:g}: raise it"
        )

    def _derive(self, k: int, h: float, c: np.ndarray):
        """terms[k], in the ring of the last ones."""
        terms = self._terms
        now, new = terms[(k - 1) % len(terms)], terms[k % len(terms)]
        self._matrices[0].mult(now, new)
        for matrix, orders in zip(self._matrices[1:], c.T):
            orders = orders[:k]
            now.copy(self._mixed)
            self._mixed.scale(orders[0])
            earlier = [terms[(k - 1 - j) % len(terms)] for j in range(1, len(orders))]
            if earlier:
                self._mixed.maxpy(orders[1:], earlier)
            matrix.mult(self._mixed, self._product)
            new.axpy(1, self._product)
        new.scale(h / k)

    def close(self):
        destroy(*self._matrices, *self._terms, self._mixed, self._product, self._sum)
