"""The ends of the spectrum by exponentials of a Liouvillian, without a factorisation."""

import numpy as np
from scipy import special

from hpcsim.solvers.petsc import (
    SolverError,
    destroy,
    krylov_schur,
    libraries,
    options_set,
)

STEP = 6  # time step there, in units of 1/|Im λ|
ATTEMPTS = 4  # to reach a residual


class _TimeStep:
    """exp(t (L - c)) x for a PETSc matrix of type python, t = +-STEP/r: its Chebyshev series along the imaginary axis.

    exp(t z) = J_0(rt) + 2 Σ_k J_k(rt) S_k(z/r), S_0 = 1, S_1(w) = w, S_k+1 = 2w S_k + S_k-1.
    """

    def __init__(self, operator, forward: bool):
        self.operator = operator
        self.coefficients = 2 * special.jv(np.arange(operator.products + 1), STEP if forward else -STEP)
        self.coefficients[0] /= 2

    def product(self, x):
        """This rank's part of (L - c) x from that of x; overwritten by the next."""
        found = self.operator.multiply(x)
        found -= self.operator.centre * x
        return found

    def mult(self, matrix, x, y):
        given = x.array_r
        # the vectors of a complex build are complex
        y.array = self.evolved(given.real) + (1j * self.evolved(given.imag) if np.iscomplexobj(given) else 0)

    def evolved(self, x):
        """This rank's part of the real exp(t (L - c)) x."""
        r, last = self.operator.radius, np.array(x)
        now = self.product(last) / r
        total = self.coefficients[0] * last + self.coefficients[1] * now
        for coefficient in self.coefficients[2:]:
            following = self.product(now)
            following *= 2 / r
            last += following
            last, now = now, last
            total += coefficient * now
        return total


def end_of_spectrum(comm, operator, largest: bool, count: int, tolerance: float, options: dict):
    """The `count` eigenvalues of largest, or smallest, real part, that first, without a matrix.

    operator : has `size`, of them `local` on this rank, and multiply(x): this rank's part of Lx from that of x, which
               may be overwritten by the next; the spectrum is within `radius` of its `centre` along the
               imaginary axis, and within 2/3 of it along the real one. The series for exp(tL) has the degree
               `products`, and a Krylov space this many `vectors`
    Returns eigenvalues, their residuals |Lx - λx| / |x| < tolerance, and of a real basis of the space of these and at
    most one more this rank's part, a row for each vector. Raises SolverError if not all converge.

    Krylov-Schur on a short time evolution, exp(tL), whose eigenvalues of largest modulus are those of L of largest
    real part; with t < 0, smallest. For 9 all-to-all spins, Jy = 1.4, it takes twice the products that Krylov-Schur
    on L itself does, 523 instead of 215, but a fifth of the vectors to orthogonalise, which took as long as
    the products, and half of the memory.
    """
    if operator.radius == 0:
        raise SolverError("all eigenvalues are equal, and exp(tL) tells none from the others")
    PETSc, SLEPc = libraries(comm)
    step = _TimeStep(operator, largest)
    # compiled now: what a compilation within PETSc's callback leaves behind keeps PETSc's objects alive, and they
    # crash when PETSc ends
    step.product(np.zeros(operator.local))
    layout = (operator.local, operator.size)
    matrix = PETSc.Mat().createPython((layout, layout), step, comm)
    matrix.setUp()
    error, start = tolerance / (2 * operator.radius), []
    try:
        for _ in range(ATTEMPTS):
            start = dominant(PETSc, SLEPc, comm, matrix, (count, operator.vectors), error, start, options)
            values, errors, basis, _ = rayleigh_ritz(comm, step, start)
            order = np.argsort(-values.real if largest else values.real, kind="stable")[:count]
            if errors[order].max() < tolerance:
                return values[order] + operator.centre, errors[order], basis
            error *= 0.1  # the error of exp(tL) does not bound that of L
    finally:
        destroy(matrix)
    raise SolverError(
        f"the residual |Lx - λx| / |x| = {errors[order].max():.1e} is not below {tolerance:.1e}: raise method.tolerance"
    )


def dominant(PETSc, SLEPc, comm, matrix, sizes: tuple[int, int], tolerance: float, start, options: dict):
    """A basis of this rank's part of the eigenvectors of largest modulus, found from those in `start`.

    sizes : how many eigenvectors, and vectors of the Krylov space
    """
    count, krylov = sizes
    solver, given = krylov_schur(SLEPc, comm, matrix), [matrix.createVecRight() for _ in start]
    try:
        for each, vector in zip(given, start):
            each.array = vector
        solver.setInitialSpace(given)
        with options_set(PETSc, options):
            solver.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_MAGNITUDE)
            solver.setDimensions(count, min(matrix.getSize()[0], krylov), PETSc.DECIDE)
            solver.setTolerances(tolerance, 1000)
            solver.setFromOptions()
            solver.solve()
        if solver.getConverged() < count:
            raise SolverError(
                f"only {solver.getConverged()} of {count} eigenvalues converged: raise "
                f"method.tolerance, or petsc_options: {{eps_ncv: {2 * krylov}}}"
            )
        return _invariant(solver, count)
    finally:
        destroy(solver, *given)


def _invariant(solver, count: int) -> list:
    """This rank's part of the first `count` Schur vectors, one more where that would part a pair."""
    split = solver.getConverged() > count and solver.getEigenvalue(count - 1).imag > 0
    basis, found = solver.getBV(), []
    for i in range(count + split):
        column = basis.getColumn(i)
        found.append(column.array.copy())
        basis.restoreColumn(i, column)
    return found


def rayleigh_ritz(comm, step, vectors):
    """Eigenvalues of a real map in the real space that the (local parts of) vectors span, their residuals, its basis,
    and the eigenvectors in that (a row each).

    step : step.product(x) is this rank's part of the map of a real x
    """
    # a complex build returns complex vectors of a space with a real basis
    vectors = np.array([part for v in vectors for part in ((v.real, v.imag) if np.iscomplexobj(v) else (v,))])
    weights, rotation = np.linalg.eigh(comm.allreduce(vectors @ vectors.T))
    kept = weights > 1e-6
    basis = (rotation[:, kept] / np.sqrt(weights[kept])).T @ vectors
    products = np.array([step.product(vector).copy() for vector in basis])
    values, coefficients = np.linalg.eig(comm.allreduce(basis @ products.T))
    rest = [np.linalg.norm(y @ products - value * (y @ basis)) for value, y in zip(values, coefficients.T)]
    return values, np.sqrt(comm.allreduce(np.array(rest) ** 2)), basis, coefficients.T
