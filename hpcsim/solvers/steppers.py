"""Time evolution under a Liouvillian: steppers that advance a state by a time, under error control.

A new integrator is a class with the two methods of `Stepper`, and a line in STEPPERS: `integrator` of the methods takes
its name from there.
"""

from contextlib import closing
from typing import Literal, Protocol

import numpy as np

from hpcsim.solvers.in_time import REACH, TERMS, InTime, TaylorInTime
from hpcsim.solvers.petsc import PREFIX, SolverError, destroy, libraries, matrix_of, options_set

Integrator = Literal["krylov", "taylor"]


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


STEPPERS: dict[str, type[Stepper]] = {"krylov": Krylov, "taylor": Taylor}
