"""The slowest part of the spectrum of a period map: what a Liouvillian that is periodic in time does in one period.

x(T) = P x(0) is computed by the Taylor series in time, without a matrix; eigenvalues of largest modulus by
Krylov-Schur. Fourier components of x instead make a linear system of (2M + 1) times as many unknowns, for a drive with
M harmonics that matter; its factors have at least (2M + 1) times as many entries, and it needs the drive to be smooth.
jobs/benchmarks/floquet.py compares both.
"""

from contextlib import closing
from typing import NamedTuple

import numpy as np

from hpcsim.solvers.evolution import dominant, rayleigh_ritz
from hpcsim.solvers.in_time import InTime, TaylorInTime
from hpcsim.solvers.petsc import SolverError, destroy, libraries

VECTORS = 20  # of the Krylov space
TOGETHER = 1.0  # mean decay, in e-foldings, of as many periods as are one step of the Krylov space
ATTEMPTS = 3


class Multipliers(NamedTuple):
    """Eigenvalues of P of largest modulus, that first.

    values, errors : (n,) and |Px - μx| / |x|;  vectors : (n, local) complex, this rank's part
    """

    values: np.ndarray
    errors: np.ndarray
    vectors: np.ndarray


class _Periods:
    """`product` is P x of this rank's part of a real x, and `mult` that of as many periods as make a step."""

    def __init__(self, stepper: TaylorInTime, period: float):
        self._stepper, self.period = stepper, period
        self.count = max(1, int(np.ceil(TOGETHER / max(period * stepper.mean_decay, TOGETHER / 1000))))

    def product(self, x):
        self._stepper.restart()
        return self._stepper.advance(x, self.period)

    def evolved(self, x):
        for _ in range(self.count):
            x = self.product(x)
        return x

    def mult(self, matrix, x, y):
        given = x.array_r
        # the vectors of a complex build are complex
        y.array = self.evolved(given.real) + (1j * self.evolved(given.imag) if np.iscomplexobj(given) else 0)


def multipliers(comm, moving: InTime, period: float, count: int, tolerance: float, options: dict) -> Multipliers:
    """The `count` Floquet multipliers of largest modulus, fewer where there are no more. Collective.

    tolerance : |Px - μx| / |x|. Raises SolverError where it is not reached
    """
    PETSc, SLEPc = libraries(comm)
    size = moving.sectors[0].size
    count = min(count, size)
    with closing(TaylorInTime(comm, moving, tolerance / 10, {})) as stepper:
        step = _Periods(stepper, period)
        local = stepper.local
        step.product(np.zeros(local))  # compiled now, see `evolution`
        matrix = PETSc.Mat().createPython(((local, size), (local, size)), step, comm)
        matrix.setUp()
        error, start = tolerance / 10, []
        try:
            for _ in range(ATTEMPTS):
                start = dominant(PETSc, SLEPc, comm, matrix, (count, max(VECTORS, 3 * count)), error, start, options)
                values, errors, basis, coefficients = rayleigh_ritz(comm, step, start)
                order = np.argsort(-abs(values), kind="stable")[:count]
                if errors[order].max() < tolerance:
                    return Multipliers(values[order], errors[order], coefficients[order] @ basis)
                error *= 0.1
        finally:
            destroy(matrix)
    raise SolverError(
        f"the residual |Px - μx| / |x| = {errors[order].max():.1e} is not below {tolerance:.1e}: raise method.tolerance"
    )
