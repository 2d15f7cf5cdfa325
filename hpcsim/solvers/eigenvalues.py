"""The eigenvalues of largest real part of a sector, by shift-invert or LAPACK."""

from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from scipy import linalg

from hpcsim.solvers.factors import few_unknowns
from hpcsim.solvers.petsc import SolverError, destroy, direct, krylov_schur, libraries, matrix_of, options_set, set_up

DENSE = 200  # unknowns up to which LAPACK on one rank takes no longer than a search, and needs no proof
# SuperLU, on one rank, takes less time than MUMPS in all solves of a search up to FEW unknowns, and up to SMALL where a
# row has no more than SHORT elements, as of one or two large spins
FEW, SHORT = 1000, 8
SMALL = 10000  # unknowns up to which approximate minimum degree is faster than the ordering MUMPS chooses
SUBSPACE = 90  # Krylov dimension beyond twice the eigenvalues asked for, at most
TOLERANCE = 1e-11  # of SLEPc, on 1/(λ - σ)


class Leading(NamedTuple):
    """Eigenvalues of a sector, by falling real part.

    values, errors : of all that converged, at least as many as asked for, and |Lx - λx| / (|L||x|)
    space : on rank 0, a real basis (size, d) of the space that belongs to them; None elsewhere
    complete : whether the values are the whole spectrum
    """

    values: np.ndarray
    errors: np.ndarray
    space: np.ndarray | None
    complete: bool


def leading_eigenvalues(comm, sector, count: int, options: dict):
    """The `count` eigenvalues of largest real part, falling, and their residuals |Lx - λx| / (|L||x|).

    Two arrays of min(count, size), as `search` finds them.
    """
    if sector.size <= DENSE:
        found = all_eigenvalues(comm, sector)
    else:
        with search(comm, sector, count, options) as find:
            found = find(count)
    return found.values[:count], found.errors[:count]


@contextmanager
def search(comm, sector, count: int, options: dict):
    """Yield find(count) -> Leading: the `count` or more eigenvalues of largest real part, by one factorisation for all.

    count : the smallest one that will be asked for. |L| is the largest sum of moduli of a row

    The eigenvalue of largest real part may oscillate fast, and is then far from zero. Krylov-Schur on
    (L - σ)^-1 takes the imaginary axis to the circle |θ + 1/2σ| = 1/2σ around all other eigenvalues: those
    close to the axis are extreme ones, and found, up to frequencies of several σ. So σ is not small, the
    subspace is large where dissipation is weak, and Ritz values are kept by their real part, not by
    their distance to σ. With weak damping it still misses some: `Rest.decay` tells.

    `find` raises SolverError if not all converge in a subspace four times as large either.
    """
    PETSc, SLEPc = libraries(comm)
    matrix = matrix_of(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    if not norm:
        matrix.destroy()
        yield lambda wanted: _of_nothing(comm, sector.size, wanted)
        return
    shift, room = _search(matrix, norm, sector.spin)
    few = comm.size == 1 and _is_for_superlu(matrix) and not any(option.startswith("st_") for option in options)
    ordering = {"st_mat_mumps_icntl_7": 0} if sector.size < SMALL else {}
    solver = krylov_schur(SLEPc, comm, matrix)

    def find(wanted: int) -> Leading:
        if wanted > count:
            subspace = max(solver.getDimensions()[1], 2 * wanted + room)
            solver.setDimensions(wanted, min(sector.size, subspace), PETSc.DECIDE)
        for _ in range(3):
            solver.solve()
            found, subspace = solver.getConverged(), solver.getDimensions()[1]
            if found >= wanted:
                break
            solver.setDimensions(wanted, min(sector.size, 2 * subspace), PETSc.DECIDE)
        else:
            raise SolverError(
                f"only {found} of {wanted} eigenvalues of {sector} converged: ask for fewer "
                f"eigenvalues, or raise petsc_options: {{eps_ncv: {2 * subspace}}}"
            )
        space = gathered(comm, columns(solver.getBV(), found))
        values = np.array([solver.getEigenvalue(i) for i in range(found)])
        errors = np.array([solver.computeError(i, SLEPc.EPS.ErrorType.ABSOLUTE) for i in range(found)])
        order = by_real_part(values)
        return Leading(values[order], errors[order] / norm, space, False)

    try:
        with options_set(PETSc, ordering | options):
            solver.setTarget(shift)
            solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_REAL)
            solver.setDimensions(count, min(sector.size, 2 * count + room), PETSc.DECIDE)
            solver.setTolerances(TOLERANCE, 80)
            transform = solver.getST()
            transform.setType(SLEPc.ST.Type.SINVERT)
            (few_unknowns if few else direct)(transform.getKSP())
            solver.setFromOptions()
            set_up(PETSc, solver, transform.getKSP(), sector.size)
        yield find
    finally:
        destroy(solver, matrix)


def _of_nothing(comm, size: int, wanted: int) -> Leading:
    """Eigenvalues of the matrix 0."""
    return Leading(np.zeros(wanted, complex), np.zeros(wanted), None if comm.rank else np.eye(size, wanted), False)


def _is_for_superlu(matrix) -> bool:
    size = matrix.size[0]
    return size <= FEW or size <= SMALL and matrix.getInfo()["nz_used"] <= SHORT * size


def columns(basis, count: int) -> np.ndarray:
    """This rank's part of the first columns of a BV, a row each: Schur vectors, or eigenvectors, as SLEPc left them."""
    found = []
    for i in range(count):
        column = basis.getColumn(i)
        found.append(column.array.copy())
        basis.restoreColumn(i, column)
    return np.array(found)


def gathered(comm, local: np.ndarray):
    """On rank 0 the vectors as the real columns of an array, the real and imaginary parts of complex ones."""
    if np.iscomplexobj(local):
        local = np.concatenate([local.real, local.imag])
    parts = comm.gather(local)
    return np.concatenate(parts, axis=1).T if comm.rank == 0 else None


def by_real_part(values) -> np.ndarray:
    """The order of falling real parts, and of falling imaginary ones where those are equal."""
    return np.lexsort((-values.imag, -values.real))


def _search(matrix, norm: float, spin: float) -> tuple[float, int]:
    """Shift σ, and the Krylov dimension beyond twice the eigenvalues asked for, see below.

    σ is 1 to 4 times a mean rate per unit of spin, and larger, with a larger subspace, the weaker the
    dissipation is against the coherent couplings. A row of L sums to twice its diagonal, the decay of an
    element and its refill, and what is left over is coherent.
    """
    diagonal = matrix.getDiagonal()
    diagonal.abs()
    damping = diagonal.max()[1].real
    ratio = min(max(norm - 2 * damping, damping) / damping, 4) if damping else 4
    return ratio * norm / (4 * spin) or 1.0, round(SUBSPACE * min(ratio, 3) / 3)


def all_eigenvalues(comm, sector) -> Leading:
    """The whole spectrum by LAPACK on one rank; no eigenvectors but for the residuals of few unknowns."""
    result = None
    if comm.rank == 0:
        matrix = sector.rows(0, sector.size).toarray()
        norm = abs(matrix).sum(1).max() or 1
        if sector.size <= DENSE:
            values, vectors = linalg.eig(matrix)
            errors = np.linalg.norm(matrix @ vectors - values * vectors, axis=0) / norm
        else:
            values = linalg.eigvals(matrix)
            errors = np.full(len(values), np.finfo(float).eps)  # of a matrix this close, relative to |L|
        order = by_real_part(values)
        result = values[order], errors[order]
    return Leading(*comm.bcast(result), None, True)
