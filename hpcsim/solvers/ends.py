"""Both ends of the spectrum of a sector: its eigenvalues of largest and of smallest real part.

Each end is found twice: by Krylov spaces of exp(tL), which order eigenvalues by their real part whatever their
frequency, and by shift-invert, which does not depend on how far apart they are. The smallest real parts of L are the
largest of -L. Where the two disagree the end is that which lies further out, and LAPACK decides if it can.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse

from hpcsim.solvers.eigenvalues import Leading, by_real_part, gathered, leading_eigenvalues
from hpcsim.solvers.evolution import end_of_spectrum
from hpcsim.solvers.exchange import Halo
from hpcsim.solvers.petsc import SolverError, destroy, libraries, row_range

DENSE = 700  # unknowns up to which LAPACK on one rank finds the whole spectrum, in a second or two
DENSE_IF_NEEDED = 3000  # unknowns up to which it does where the two ways disagree, in minutes
AGREE = 1e-7  # of the norm
FURTHER = 2  # eigenvalues that shift-invert looks for beyond those asked for: what comes late may lie further out
EXACT = 1e-10  # residual asked of the eigenvectors of exp(tL), relative to |L|
EDGE = 1e-2  # relative accuracy of the bounds of the spectrum
WIDER = 1.05  # what they are multiplied by


class End(NamedTuple):
    """Eigenvalues at one end of a spectrum, from the end inwards: all (count,).

    residuals   : |Lx - λx| / |x|
    differences : of the real parts that the two ways have found, NaN where there was one way only
    """

    values: np.ndarray
    residuals: np.ndarray
    differences: np.ndarray


def both_ends(comm, sector, counts: tuple[int, int], tolerance: float, options: dict) -> tuple[End, End]:
    """The counts[0] eigenvalues of largest real part, falling, and the counts[1] of smallest, rising.

    tolerance : |Lx - λx| / (|L||x|) of the eigenvectors from exp(tL), |L| the largest sum of moduli of a row. Those
                that do not reach it do not count

    Raises SolverError where both ways fail.
    """
    if sector.size <= DENSE:
        return _dense(comm, sector, counts)
    operator = Assembled(comm, sector)
    if operator.radius == 0:
        near, far = (End(np.zeros(count, complex), *np.zeros((2, count))) for count in counts)
        return near, far
    near, far = (_one_end(comm, sector, operator, *end, tolerance, options) for end in zip((True, False), counts))
    ends = near, far
    agree = all(np.all(end.differences < AGREE * operator.norm) for end in ends)
    return ends if agree or sector.size > DENSE_IF_NEEDED else _dense(comm, sector, counts)


def _one_end(comm, sector, operator, largest: bool, wanted: int, tolerance: float, options: dict) -> End:
    """One by one the eigenvalue of two lists that lies further out, for both are eigenvalues, or is more accurate."""
    krylov = _tried(lambda: end_of_spectrum(comm, operator, largest, wanted, tolerance * operator.norm, options))
    edge = operator.centre - operator.half_width if krylov is None else krylov[0][0].real
    seen, count = sector if largest else Reversed(sector, edge), min(wanted + FURTHER, sector.size)
    inverted = _tried(lambda: _shift_invert(comm, seen, count, options))
    if krylov is None and inverted is None:
        raise SolverError(
            f"neither exp(tL) nor shift-invert has found the end of the spectrum of {sector}: raise "
            "method.tolerance, or petsc_options: {eps_ncv: 200}"
        )
    if krylov is None or inverted is None:
        values, residuals = (krylov or inverted)[:2]
        return End(values[:wanted], residuals[:wanted], np.full(wanted, np.nan))
    krylov, inverted = krylov[:2], (inverted[0][:wanted], inverted[1][:wanted])
    first, second = (-values.real if largest else values.real for values, _ in (krylov, inverted))
    apart, closer = abs(first - second), krylov[1] < inverted[1]
    chosen = np.where(apart < AGREE * operator.norm, closer, first < second)
    values, residuals = (np.where(chosen, a, b) for a, b in zip(krylov, inverted))
    return End(values, residuals, apart)


def leading_by_exponentials(comm, sector, count: int, options: dict) -> Leading:
    """The `count` eigenvalues of largest real part by exp(tL), in a Krylov space three times as large.

    Where damping is weak this is several times faster than shift-invert, whose subspace hardly sees eigenvalues of high
    frequency, and nothing is factorised. Raises SolverError if not all converge.
    """
    operator = Assembled(comm, sector)
    operator.vectors = min(max(operator.vectors, 3 * count), sector.size)
    values, errors, basis = end_of_spectrum(comm, operator, True, count, EXACT * operator.norm, options)
    order = by_real_part(values)
    return Leading(values[order], errors[order] / operator.norm, gathered(comm, basis), False)


def _tried(find):
    """What is found, or None where the solver fails: on all ranks alike."""
    try:
        return find()
    except RuntimeError:
        return None


def _shift_invert(comm, seen, count: int, options: dict):
    """Eigenvalues and residuals |Lx - λx| / |x| of a sector, or of one seen from its far end."""
    values, residuals = leading_eigenvalues(comm, seen, count, options)
    residuals = residuals * max(comm.allgather(_norm(seen.rows(*row_range(comm, seen.size)))))
    return (seen.edge - values if hasattr(seen, "edge") else values), residuals


def _norm(rows) -> float:
    """The largest sum of moduli of a row."""
    return np.asarray(abs(rows).sum(1)).max(initial=0)


def _dense(comm, sector, counts) -> tuple[End, End]:
    """The same from all eigenvalues, on one rank."""
    result = None
    if comm.rank == 0:
        matrix = sector.rows(0, sector.size).toarray()
        values, vectors = linalg.eig(matrix)
        errors = np.linalg.norm(matrix @ vectors - values * vectors, axis=0)
        order = np.lexsort((-values.imag, -values.real))
        chosen = order[: counts[0]], order[::-1][: counts[1]]
        result = [(values[each], errors[each]) for each in chosen]
    near, far = (End(*found, np.full(len(found[0]), np.nan)) for found in comm.bcast(result))
    return near, far


class Reversed:
    """edge - L of a sector: what lies at the smallest real parts of L is its slowest."""

    def __init__(self, sector, edge: float):
        self.sector, self.edge, self.size, self.spin = sector, edge, sector.size, sector.spin

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        rows = self.sector.rows(start, stop)
        diagonal = sparse.csr_matrix(
            (np.full(stop - start, self.edge), (np.arange(stop - start), np.arange(start, stop))), rows.shape
        )
        return (diagonal - rows).tocsr()

    def __str__(self):
        return f"the far end of {self.sector}"


class Assembled:
    """L of a sector for `end_of_spectrum`, each rank with rows of its own.

    local          : how many
    centre, radius : of a box with all eigenvalues; its half width along the real axis is at most 2/3 radius
    half_width     : of that box
    norm           : the largest sum of moduli of a row
    """

    products, vectors = 18, 40

    def __init__(self, comm, sector):
        own = row_range(comm, sector.size)
        self.size, self.local, self._rows, self._halo = sector.size, own[1] - own[0], sector.rows(*own), None
        self.norm = max(comm.allgather(_norm(self._rows)))
        lowest, highest, frequency = _box(comm, self._rows)
        self.centre, self.half_width = (highest + lowest) / 2, WIDER * (highest - lowest) / 2
        self.radius = max(WIDER * frequency, 1.5 * self.half_width)

        if comm.size > 1:
            needed, places = np.unique(self._rows.indices, return_inverse=True)
            self._halo, shape = Halo(comm, own, needed), (self.local, len(needed))
            self._rows = sparse.csr_matrix((self._rows.data, places.ravel(), self._rows.indptr), shape)

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """This rank's part of Lx from that of x."""
        return self._rows @ (x if self._halo is None else self._halo.fetch(x))


def _box(comm, rows) -> tuple[float, float, float]:
    """Smallest and largest real part, and largest imaginary part, of x†Lx/x†x: no eigenvalue lies outside."""
    PETSc, SLEPc = libraries(comm)
    size = rows.shape[1]
    csr = (rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data.astype(PETSc.ScalarType))
    layout = (rows.shape[0], size)
    matrix = PETSc.Mat().createAIJ((layout, layout), csr=csr, comm=comm)
    symmetric, skew = (PETSc.Mat().createPython((layout, layout), _Part(matrix, s), comm) for s in (1, -1))
    try:
        found = []
        for part, which in (
            (symmetric, SLEPc.EPS.Which.SMALLEST_REAL),
            (symmetric, SLEPc.EPS.Which.LARGEST_REAL),
            (skew, SLEPc.EPS.Which.LARGEST_REAL),
        ):
            part.setUp()
            found.append(_extreme(SLEPc, comm, part, which))
    finally:
        destroy(symmetric, skew, matrix)
    return found[0], found[1], np.sqrt(max(found[2], 0))


class _Part:
    """(L + Lᵀ)/2, or KᵀK of K = (L - Lᵀ)/2."""

    def __init__(self, matrix, sign: int):
        self.matrix, self.sign = matrix, sign
        self.work, self.half = matrix.createVecLeft(), matrix.createVecLeft()

    def _half(self, x, y):
        self.matrix.mult(x, y)
        self.matrix.multTranspose(x, self.work)
        y.axpy(self.sign, self.work)
        y.scale(0.5)

    def mult(self, matrix, x, y):
        if self.sign > 0:
            self._half(x, y)
        else:
            self._half(x, self.half)
            self._half(self.half, y)
            y.scale(-1)


def _extreme(SLEPc, comm, matrix, which) -> float:
    """An end of a symmetric spectrum, from inside, to EDGE."""
    solver = SLEPc.EPS().create(comm)
    try:
        solver.setOperators(matrix)
        solver.setProblemType(SLEPc.EPS.ProblemType.HEP)
        solver.setWhichEigenpairs(which)
        solver.setDimensions(1, min(matrix.getSize()[0], 30))
        solver.setTolerances(EDGE, 1000)
        solver.solve()
        if not solver.getConverged():
            raise SolverError("the extent of the spectrum was not found; take task: gap")
        return solver.getEigenvalue(0).real
    finally:
        destroy(solver)
