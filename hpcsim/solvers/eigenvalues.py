"""The eigenvalues of largest real part of a sector, by shift-invert."""

import numpy as np
from scipy import linalg

from hpcsim.solvers.petsc import destroy, direct, krylov_schur, libraries, matrix_of, options_set, set_up

DENSE = 128  # unknowns up to which LAPACK on one rank is faster than setting up PETSc
SUBSPACE = 90  # Krylov dimension beyond twice the eigenvalues asked for, at most
TOLERANCE = 1e-11  # of SLEPc, on 1/(λ - σ)


def leading_eigenvalues(comm, sector, count: int, options: dict):
    """The `count` eigenvalues of largest real part, falling, and their residuals |Lx - λx| / (|L||x|).

    Two arrays of min(count, size). |L| is the largest sum of moduli of a row.

    The eigenvalue of largest real part may oscillate fast, and is then far from zero. Krylov-Schur on
    (L - σ)^-1 takes the imaginary axis to the circle |θ + 1/2σ| = 1/2σ around all other eigenvalues: those
    close to the axis are extreme ones, and found, up to frequencies of several σ. So σ is not small, the
    subspace is large where dissipation is weak, and Ritz values are kept by their real part, not by
    their distance to σ. In 590 sectors of random dimers, chains and driven spins, with rates from 0.02 to
    3 times the coupling, the gap was that of dense diagonalisation.

    Raises RuntimeError if not all converge in a subspace four times as large either.
    """
    if sector.size <= DENSE:
        return _dense(comm, sector, count)
    PETSc, SLEPc = libraries(comm)
    matrix = matrix_of(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    shift, subspace = _search(matrix, norm, sector.spin, count)
    solver = krylov_schur(SLEPc, comm, matrix)
    try:
        with options_set(PETSc, options):
            solver.setTarget(shift)
            solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_REAL)
            solver.setDimensions(count, min(sector.size, subspace), PETSc.DECIDE)
            solver.setTolerances(TOLERANCE, 80)
            transform = solver.getST()
            transform.setType(SLEPc.ST.Type.SINVERT)
            direct(transform.getKSP())
            solver.setFromOptions()
            set_up(PETSc, solver, transform.getKSP(), sector.size)
        for _ in range(3):
            solver.solve()
            found, subspace = solver.getConverged(), solver.getDimensions()[1]
            if found >= count:
                break
            solver.setDimensions(count, min(sector.size, 2 * subspace), PETSc.DECIDE)
        else:
            raise RuntimeError(
                f"only {found} of {count} eigenvalues of {sector} converged: ask for fewer "
                f"eigenvalues, or raise petsc_options: {{eps_ncv: {2 * subspace}}}"
            )
        values = np.array([solver.getEigenvalue(i) for i in range(found)])
        errors = [solver.computeError(i, SLEPc.EPS.ErrorType.ABSOLUTE) for i in range(found)]
    finally:
        destroy(solver, matrix)
    return _leading(values, np.array(errors) / norm, count)


def _search(matrix, norm: float, spin: float, count: int) -> tuple[float, int]:
    """Shift σ and Krylov dimension for the `count` eigenvalues of largest real part, see below.

    σ is 1 to 4 times a mean rate per unit of spin, and larger, with a larger subspace, the weaker the
    dissipation is against the coherent couplings. A row of L sums to twice its diagonal, the decay of an
    element and its refill, and what is left over is coherent.
    """
    diagonal = matrix.getDiagonal()
    diagonal.abs()
    damping = diagonal.max()[1].real
    ratio = min(max(norm - 2 * damping, damping) / damping, 4) if damping else 4
    return ratio * norm / (4 * spin) or 1.0, 2 * count + round(SUBSPACE * min(ratio, 3) / 3)


def _leading(values, errors, count):
    order = np.lexsort((-values.imag, -values.real))[:count]
    return values[order], errors[order]


def _dense(comm, sector, count: int):
    """The same by LAPACK on one rank."""
    result = None
    if comm.rank == 0:
        matrix = sector.rows(0, sector.size).toarray()
        values, vectors = linalg.eig(matrix)
        norm = abs(matrix).sum(1).max() or 1
        result = _leading(values, np.linalg.norm(matrix @ vectors - values * vectors, axis=0) / norm, count)
    return comm.bcast(result)
