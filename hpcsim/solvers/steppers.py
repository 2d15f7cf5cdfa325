"""Time evolution under a Liouvillian: steppers that advance a state by a time, under error control.

A new integrator is a class with the two methods of `Stepper`, and a line in STEPPERS: `integrator` of the methods takes
its name from there.
"""

from contextlib import closing
from typing import Literal, Protocol

import numpy as np
from scipy import special

from hpcsim.solvers.in_time import REACH, TERMS, InTime, TaylorInTime
from hpcsim.solvers.petsc import PREFIX, SolverError, destroy, libraries, matrix_of, options_set, row_range

GROWTH = 4.0  # |L + L†| h/2 of a Chebyshev step: what the series loses to cancellation is exp of that
LONGEST = 1000.0  # of its radius times h: a longer step saves no product
Integrator = Literal["krylov", "taylor", "chebyshev"]


class Stepper(Protocol):
    """dx/dt = L x for this rank's part of x. Made from (comm, sector, tolerance, PETSc options); collective."""

    def advance(self, state: np.ndarray, interval: float) -> np.ndarray:
        """x after an interval > 0, with the tolerance as estimated relative error; raises SolverError beyond it."""

    def close(self):
        """Free what the libraries hold."""


def propagate(comm, sector, state, intervals, tolerance: float, options: dict, integrator: Integrator = "krylov"):
    """Yield this rank's part of x, dx/dt = L x, after each of the consecutive time intervals (>= 0), the first from 0.

    sector : of a Liouvillian that depends on time an `InTime`, whose integrator is always a Taylor series
    """
    kind = TaylorInTime if isinstance(sector, InTime) else STEPPERS[integrator]
    with closing(kind(comm, sector, tolerance, options)) as stepper:
        for interval in intervals:
            if interval > 0:
                state = stepper.advance(state, interval)
            yield state


class Krylov:
    """Krylov spaces with as many restarts as the error asks for (expokit, in SLEPc; Sidje, ACM TOMS 24, 130 (1998))."""

    def __init__(self, comm, sector, tolerance: float, options: dict):
        PETSc, SLEPc = libraries(comm)
        self._sector, self._matrix = sector, matrix_of(PETSc, comm, sector)
        self._now, self._later = self._matrix.createVecLeft(), self._matrix.createVecLeft()
        self._solver = solver = SLEPc.MFN().create(comm)
        with options_set(PETSc, options):
            solver.setOptionsPrefix(PREFIX)
            solver.setOperator(self._matrix)
            solver.setType(SLEPc.MFN.Type.EXPOKIT)
            solver.setTolerances(tolerance, 10000)
            solver.getFN().setType(SLEPc.FN.Type.EXP)
            solver.setFromOptions()

    def advance(self, state, interval):
        self._now.array = state
        self._solver.getFN().setScale(interval, 1)
        self._solver.solve(self._now, self._later)
        if self._solver.getConvergedReason() < 0:
            raise SolverError(
                f"the time evolution of {self._sector} over {interval:g} did not converge: "
                "take shorter intervals, or raise petsc_options: {mfn_ncv: 60}"
            )
        return self._later.array.real.copy()

    def close(self):
        destroy(self._solver, self._matrix, self._now, self._later)


class Taylor:
    """Taylor series of exp(hL) in steps of h <= REACH/|L|, each until two terms are below the tolerance.

    Three vectors only, and no orthogonalisation: for states too large for a Krylov space. |L| is the largest row sum.
    """

    def __init__(self, comm, sector, tolerance: float, options: dict):
        PETSc, _ = libraries(comm)
        self._sector, self._tolerance, self._matrix = sector, tolerance, matrix_of(PETSc, comm, sector)
        self._norm = self._matrix.norm(PETSc.NormType.INFINITY)
        self._term, self._next, self._sum = (self._matrix.createVecLeft() for _ in range(3))

    def advance(self, state, interval):
        steps = max(1, int(np.ceil(interval * self._norm / REACH)))
        self._sum.array = state
        for _ in range(steps):
            self._step(interval / steps, self._tolerance / steps)
        return self._sum.array.real.copy()

    def _step(self, h: float, tolerance: float):
        self._sum.copy(self._term)
        before = np.inf
        for k in range(1, TERMS):
            self._matrix.mult(self._term, self._next)
            self._next.scale(h / k)
            self._term, self._next = self._next, self._term
            self._sum.axpy(1, self._term)
            size = self._term.norm()
            if size + before <= tolerance * self._sum.norm():
                return
            before = size
        raise SolverError(
            f"the time evolution of {self._sector} did not reach the tolerance {self._tolerance:g}: raise it, "
            "or take integrator: krylov"
        )

    def close(self):
        destroy(self._matrix, self._term, self._next, self._sum)


class Chebyshev:
    """Chebyshev series of exp(hL) along the imaginary axis: three vectors, and few products where states oscillate.

        exp(hL) = J_0(hr) + 2 Σ_k J_k(hr) S_k(L/r), S_0 = 1, S_1(w) = w, S_k+1 = 2w S_k + S_k-1

    (Tal-Ezer and Kosloff, J. Chem. Phys. 81, 3967 (1984)). The numerical range of L lies within the rectangle of the
    real parts ±|L + L†|/2 and the imaginary ones ±|L - L†|/2, |.| the largest row sum. A polynomial whose error there
    is ε has the error (1 + √2) ε of L (Crouzeix and Palencia, SIAM J. Matrix Anal. Appl. 38, 649 (2017)): the error is
    bounded, relative to the state at the beginning, in the norm of the components times the square root of
    sector.weight where there is one, with which it is that of ρ, and the rectangle is small.
    """

    def __init__(self, comm, sector, tolerance: float, options: dict):
        PETSc, _ = libraries(comm)
        self._tolerance, self._matrix = tolerance, matrix_of(PETSc, comm, sector)
        self._last, self._now, self._sum = (self._matrix.createVecLeft() for _ in range(3))
        weight = getattr(sector, "weight", np.ones(sector.size))
        self._scale = np.sqrt(weight[slice(*row_range(comm, sector.size))])
        self._last.array, self._now.array = self._scale, 1 / self._scale
        self._matrix.diagonalScale(self._last, self._now)
        across, along = (self._largest(PETSc, sign) / 2 for sign in (1, -1))
        self._across, self._radius = across, max(along, across / 4, 1e-300)
        self._matrix.scale(2 / self._radius)
        self._known: dict[float, tuple[int, np.ndarray]] = {}

    def _largest(self, PETSc, sign: int) -> float:
        """The largest row sum of L ± L†."""
        found = PETSc.Mat()
        self._matrix.transpose(found)
        try:
            found.aypx(sign, self._matrix)
            return found.norm(PETSc.NormType.INFINITY)
        finally:
            destroy(found)

    def _series(self, interval: float) -> tuple[int, np.ndarray]:
        """The number of steps, and the coefficients of one."""
        if interval not in self._known:
            steps = max(1, int(np.ceil(interval * max(self._across / GROWTH, self._radius / LONGEST))))
            reach = interval / steps * self._radius
            found = 2 * special.jv(np.arange(int(2 * reach) + 200), reach)
            found[0] /= 2
            w = self._across / self._radius + 1j
            # |S_k| grows by this with k at the corners of the rectangle, and less within
            growth = np.abs(w + np.sqrt(w**2 + 1)) ** np.arange(len(found))
            tails = np.cumsum((np.abs(found) * growth)[::-1])[::-1]
            error = self._tolerance / steps / (1 + np.sqrt(2))
            self._known[interval] = steps, found[: max(2, int(np.argmax(tails <= error)))]
        return self._known[interval]

    def advance(self, state, interval):
        steps, coefficients = self._series(interval)
        self._sum.array = self._scale * state
        for _ in range(steps):
            self._sum.copy(self._last)
            self._matrix.mult(self._last, self._now)
            self._now.scale(0.5)
            self._sum.scale(coefficients[0])
            self._sum.axpy(coefficients[1], self._now)
            for coefficient in coefficients[2:]:
                self._matrix.multAdd(self._now, self._last, self._last)
                self._last, self._now = self._now, self._last
                self._sum.axpy(coefficient, self._now)
        return self._sum.array.real / self._scale

    def close(self):
        destroy(self._matrix, self._last, self._now, self._sum)


STEPPERS: dict[str, type[Stepper]] = {"krylov": Krylov, "taylor": Taylor, "chebyshev": Chebyshev}
