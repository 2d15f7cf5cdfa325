"""Eigenvalues and the steady state of a sector, distributed: the one place for PETSc and SLEPc.

A sector is any object that knows its part of the Liouvillian L in a real basis:

    size               number of unknowns
    spin               Σ_i S_i of the spins it describes: |L| / spin is a mean rate per unit of spin
    rows(start, stop)  rows start..stop-1 of L: (stop - start, size) CSR, the diagonal stored even where zero
    trace(start, stop) (stop - start,): Tr ρ = Σ_u trace[u] x[u]; also the components of some positive state
    str(sector)        its name, for messages

The matrices are real, so this runs on real and complex builds of PETSc alike. Every function is
collective over the communicator it is given and returns the same on all its ranks (up to rounding).
"""
import hashlib
from contextlib import contextmanager
from functools import partial

import numpy as np
from scipy import linalg, special

PREFIX = "hpcsim_"          # of PETSc's options database
DENSE = 128                 # unknowns up to which LAPACK on one rank is faster than setting up PETSc
SUBSPACE = 90               # Krylov dimension beyond twice the eigenvalues asked for, at most
KRYLOV = 20                 # vectors of a Krylov space without factorisation
STEP = 6                    # time step there, in units of 1/|Im λ|
PRODUCTS = 13               # degree of its series: with less the wrong end of a wide spectrum comes through
TOLERANCE = 1e-11           # of SLEPc, on 1/(λ - σ)
SINGULAR = 1e-14            # shift of the inverse iteration for the steady state, relative to the norm
# A second eigenvalue this small, relative to the norm, is a second zero. Where it is r of the norm, the
# weights of the two states that are nearly steady have about -log10(1e-16/r) digits.
UNIQUE = 4e-14
RESIDUAL = 1e-11            # accepted |Lρ| of a steady state, relative to |L||ρ|
GMRES = (80, 400, 1e-8)     # vectors before a restart, iterations, relative residual
BY_VALUES = "st_mat_mumps_icntl_6"      # unless it is 0, MUMPS permutes by the values
_last = []                  # the sparsity and the KSP of the last factorisation that can be reused


class NotConverged(RuntimeError):
    """An iterative solver has not reached its tolerance."""


def _petsc(comm):
    """petsc4py.PETSc, initialised on the first communicator it is asked for."""
    import petsc4py

    # signals belong to the program: PETSc would take several, in some versions SIGTERM too
    petsc4py.init(["hpcsim", "-no_signal_handler"], comm=comm)
    from petsc4py import PETSc
    return PETSc


def _libraries(comm):
    """PETSc, and slepc4py.SLEPc, which is large, for those who need eigenvalues or exponentials."""
    PETSc = _petsc(comm)
    import slepc4py

    slepc4py.init(["hpcsim", "-no_signal_handler"])
    from slepc4py import SLEPc
    return PETSc, SLEPc


@contextmanager
def _options(PETSc, given):
    """Defaults of the direct solver and the user's options, in the database while a solve is set up."""
    # the default 20 % of spare work space is sometimes too little after pivoting
    wanted = {"st_mat_mumps_icntl_14": 50, **given}
    database = PETSc.Options(PREFIX)
    for key, value in wanted.items():
        database[key] = value
    try:
        yield
    finally:
        for key in wanted:
            database.delValue(key)


def row_range(comm, size: int) -> tuple[int, int]:
    """The unknowns start..stop-1 of this rank."""
    return size * comm.rank // comm.size, size * (comm.rank + 1) // comm.size


def _matrix(PETSc, comm, sector):
    """The sector's Liouvillian as a distributed AIJ matrix, each rank assembling its own rows."""
    start, stop = row_range(comm, sector.size)
    rows = sector.rows(start, stop)
    csr = (rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType),
           rows.data.astype(PETSc.ScalarType))
    layout = (stop - start, sector.size)
    return PETSc.Mat().createAIJ((layout, layout), csr=csr, comm=comm)


def _direct(ksp):
    """Make a KSP one solve with a MUMPS LU factorisation."""
    ksp.setType("preonly")
    ksp.getPC().setType("lu")
    ksp.getPC().setFactorSolverType("mumps")


def _set_up(PETSc, solver, ksp, size: int):
    """Set up, hence factorise; RuntimeError with the solver's reason, and MUMPS's mend, where it fails."""
    pc, failure = ksp.getPC(), 0
    try:
        solver.setUp()
        if pc.getType() == "lu" and pc.getFactorSolverType() == "mumps":
            failure, detail = (pc.getFactorMatrix().getMumpsInfog(i) for i in (1, 2))
    except PETSc.Error as error:
        raise RuntimeError(f"PETSc could not factorise {size} unknowns: {error}") from error
    if failure < 0:
        mend = {-10: "the matrix is singular: the steady state is not unique",
                -9: "raise petsc_options: {st_mat_mumps_icntl_14: 100}",
                -13: "use more ranks_per_point or nodes with more memory"}.get(failure, "see MUMPS's manual")
        raise RuntimeError(f"MUMPS failed on {size} unknowns, INFOG(1) = {failure}, INFOG(2) = {detail}: "
                           + mend)


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
    PETSc, SLEPc = _libraries(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    shift, subspace = _search(matrix, norm, sector.spin, count)
    solver = SLEPc.EPS().create(comm)
    try:
        with _options(PETSc, options):
            solver.setOptionsPrefix(PREFIX)
            solver.setOperators(matrix)
            solver.setProblemType(SLEPc.EPS.ProblemType.NHEP)
            solver.setTarget(shift)
            solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_REAL)
            solver.setDimensions(count, min(sector.size, subspace))
            solver.setTolerances(TOLERANCE, 80)
            _orthogonalise_twice(SLEPc, solver)
            transform = solver.getST()
            transform.setType(SLEPc.ST.Type.SINVERT)
            _direct(transform.getKSP())
            solver.setFromOptions()
            _set_up(PETSc, solver, transform.getKSP(), sector.size)
        for _ in range(3):
            solver.solve()
            found, subspace = solver.getConverged(), solver.getDimensions()[1]
            if found >= count:
                break
            solver.setDimensions(count, min(sector.size, 2 * subspace))
        else:
            raise RuntimeError(f"only {found} of {count} eigenvalues of {sector} converged: ask for fewer "
                               f"eigenvalues, or raise petsc_options: {{eps_ncv: {2 * subspace}}}")
        values = np.array([solver.getEigenvalue(i) for i in range(found)])
        errors = [solver.computeError(i, SLEPc.EPS.ErrorType.ABSOLUTE) for i in range(found)]
    finally:
        solver.destroy()
        matrix.destroy()
    return _leading(values, np.array(errors) / norm, count)


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


def _pattern(matrix, options: dict) -> bytes:
    """Hash of this rank's part of a matrix's sparsity, and of the options of its factorisation."""
    found = hashlib.blake2b(repr(options).encode())
    for part in matrix.getValuesCSR()[:2]:
        found.update(part.tobytes())
    return found.digest()


@contextmanager
def _almost_inverse(PETSc, comm, matrix, norm: float, options: dict):
    """A KSP that multiplies by (L - σ)^-1, σ next to nothing: L - σ is as sparse as L and not singular.

    Where the options let the symbolic factorisation depend on the sparsity alone, it is kept for the next point
    of a sweep: results do not depend on what was computed before, to the last bit.
    """
    reusable, pattern = options.get(BY_VALUES) == 0, _pattern(matrix, options)
    same = reusable and _last and _last[0] == pattern and _last[1].comm == matrix.comm
    if all(comm.allgather(bool(same))):
        ksp = _last[1]
        shifted = matrix.copy(ksp.getOperators()[0], PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
    else:
        _destroy(*_last[1:])
        ksp, shifted = PETSc.KSP().create(comm), matrix.copy()
    _last.clear()
    shifted.shift(-SINGULAR * norm)
    try:
        with _options(PETSc, options):
            ksp.setOptionsPrefix(PREFIX + "st_")
            ksp.setOperators(shifted)
            _direct(ksp)
            ksp.setFromOptions()
            _set_up(PETSc, ksp, ksp, matrix.size[0])
        yield ksp
        if reusable:
            _last[:] = pattern, ksp
    finally:
        if not _last:
            ksp.destroy()


def _multiply(ksp, source, result, local):
    """This rank's part of (L - σ)^-1 x from that of x, with two vectors to work in."""
    source.array = local
    ksp.solve(source, result)
    return result.array.real.copy()


def _orthogonalise_twice(SLEPc, solver):
    """Without it Krylov-Schur sometimes loses orthogonality, and finds eigenvalues outside of the spectrum."""
    solver.getBV().setOrthogonalization(refine=SLEPc.BV.OrthogRefineType.ALWAYS)


def _destroy(*objects):
    for each in objects:
        if each is not None:
            each.destroy()


def steady_state(comm, sector, options: dict, refine=None):
    """This rank's part of the x with Lx = 0 and trace 1, and its residual |Lx| / (|L||x|).

    refine : (solve, x) -> tuple of arrays, the first of them x improved, returned in place of x; solve multiplies a
             local vector by (L - σ)^-1, collectively

    Inverse iteration from a positive state, with σ next to nothing: L - σ is as sparse as L, where putting
    the trace into a row of L fills the factors. Written as x <- x - (L - σ)^-1 L x it refines: the second step
    makes small components as accurate, relative to themselves, as large ones. A second, traceless vector is
    iterated along; it grows by 1/|λ| of the next eigenvalue, which must not be zero too.

    Raises RuntimeError if it is, or if the residual stays large.
    """
    PETSc = _petsc(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    state, other, work = matrix.createVecLeft(), matrix.createVecLeft(), matrix.createVecLeft()
    trace, rest = matrix.createVecLeft(), matrix.createVecLeft()
    trace.array = sector.trace(*row_range(comm, sector.size))
    state.array = trace.array
    other.array = np.cos(np.arange(*trace.owner_range))
    try:
        with _almost_inverse(PETSc, comm, matrix, norm, options) as ksp:
            residual = np.inf
            for _ in range(30):
                if refine is None or not residual < RESIDUAL:
                    matrix.mult(state, rest)
                    ksp.solve(rest, work)
                    state.axpy(-1, work)
                    state.scale(1 / state.dot(trace))
                other.axpy(-other.dot(trace), state)
                other.normalize()
                ksp.solve(other, work)
                second = 1 / (norm * work.norm())
                work.copy(other)
                matrix.mult(state, rest)
                previous, residual = residual, rest.norm() / (norm * state.norm())
                if residual > previous / 2:
                    break
            local = state.array.real.copy()
            if refine is not None and residual < RESIDUAL and second >= UNIQUE:
                local = refine(partial(_multiply, ksp, rest, work), local)
                state.array = local[0]
                matrix.mult(state, rest)
                residual = rest.norm() / (norm * state.norm())
    finally:
        matrix.destroy()
    if second < UNIQUE:
        raise RuntimeError("the steady state is not unique: a second eigenvalue of the Liouvillian is zero "
                           f"to {second:.1e} of its norm; the model needs dissipation that connects all states")
    if not residual < RESIDUAL:
        raise RuntimeError(f"the steady state is not accurate: |Lρ| = {residual:.1e} |L||ρ|")
    return local, residual


@contextmanager
def pinned_inverse(comm, sector, first: int):
    """GMRES for (L + |first⟩⟨first|) y = x, where unknown `first` is the trace: its row of L is empty.

    Yields solve(x, tolerance) -> this rank's part of y, which raises NotConverged, and multiply(x) -> this rank's
    part of Lx and the residual |Lx| / (|L||x|), both collective. The preconditioner is an incomplete factorisation, as
    sparse as L, of every rank's rows: good where an unknown depends most on those a few before it, which decay fast.
    """
    PETSc = _petsc(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    source, result = matrix.createVecs()
    pinned, ksp = matrix.copy(), PETSc.KSP().create(comm)
    try:
        diagonal = pinned.getDiagonal()
        if diagonal.owner_range[0] <= first < diagonal.owner_range[1]:
            diagonal.setValue(first, 1)
        diagonal.assemble()
        pinned.setDiagonal(diagonal)
        ksp.setOperators(pinned)
        ksp.setType("gmres")
        ksp.setGMRESRestart(GMRES[0])
        ksp.setPCSide(PETSc.PC.Side.RIGHT)
        ksp.getPC().setType("bjacobi")

        def solve(local, tolerance=GMRES[2]):
            source.array = local
            ksp.setTolerances(rtol=tolerance, max_it=GMRES[1])
            ksp.solve(source, result)
            if ksp.getConvergedReason() < 0:
                raise NotConverged(f"GMRES did not converge in {ksp.getIterationNumber()} iterations")
            return result.array.real.copy()

        def multiply(local):
            result.array = local
            matrix.mult(result, source)
            return source.array.real.copy(), source.norm() / (norm * result.norm())

        yield solve, multiply
    finally:
        _destroy(ksp, pinned, matrix)


def response(comm, sector, source, options: dict) -> np.ndarray:
    """This rank's part of the traceless x with Lx = source; `source` (its rows) is traceless too.

    Raises RuntimeError if the residual |Lx - source| / (|L||x|) stays large.
    """
    PETSc = _petsc(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    total, step, rest = matrix.createVecLeft(), matrix.createVecLeft(), matrix.createVecLeft()
    rest.array = source
    try:
        with _almost_inverse(PETSc, comm, matrix, norm, options) as ksp:
            for _ in range(3):      # the shift, and rounding, are gone after one refinement
                ksp.solve(rest, step)
                total.axpy(1, step)
                matrix.mult(total, rest)
                rest.scale(-1)
                rest.array += source
            residual = rest.norm() / (norm * total.norm()) if total.norm() > 0 else 0.0
            local = total.array.real.copy()
    finally:
        matrix.destroy()
    if not residual < RESIDUAL:
        raise RuntimeError(f"the linear response of {sector} is not accurate: its residual is {residual:.1e}")
    return local


def propagate(comm, sector, state, intervals, tolerance: float, options: dict):
    """Yield this rank's part of exp(tL) x after each of the consecutive time intervals.

    Krylov spaces with as many restarts as the estimated relative error per interval asks for (expokit, in
    SLEPc). Raises RuntimeError if it is not reached.
    """
    PETSc, SLEPc = _libraries(comm)
    matrix = _matrix(PETSc, comm, sector)
    now, later = matrix.createVecLeft(), matrix.createVecLeft()
    now.array = state
    solver = SLEPc.MFN().create(comm)
    try:
        with _options(PETSc, options):
            solver.setOptionsPrefix(PREFIX)
            solver.setOperator(matrix)
            solver.setType(SLEPc.MFN.Type.EXPOKIT)
            solver.setTolerances(tolerance, 10000)
            solver.getFN().setType(SLEPc.FN.Type.EXP)
            solver.setFromOptions()
            for interval in intervals:
                if interval > 0:
                    solver.getFN().setScale(interval, 1)
                    solver.solve(now, later)
                    later.copy(now)
                    if solver.getConvergedReason() < 0:
                        raise RuntimeError(f"the time evolution of {sector} over {interval:g} did not converge: "
                                           f"take shorter intervals, or raise petsc_options: {{mfn_ncv: 60}}")
                yield now.array.real.copy()
    finally:
        _destroy(solver, matrix)


class _TimeStep:
    """exp(t (L - c)) x for a PETSc matrix of type python, t = +-STEP/r: its Chebyshev series along the imaginary axis.

    exp(t z) = J_0(rt) + 2 Σ_k J_k(rt) S_k(z/r), S_0 = 1, S_1(w) = w, S_k+1 = 2w S_k + S_k-1. All ranks hold all of x.
    """

    def __init__(self, comm, operator, forward: bool):
        self.comm, self.operator = comm, operator
        self.rows = comm.allgather(row_range(comm, operator.size // operator.width))
        self.local = [(stop - start) * operator.width for start, stop in self.rows]
        self.coefficients = 2 * special.jv(np.arange(PRODUCTS + 1), STEP if forward else -STEP)
        self.coefficients[0] /= 2
        self.result = np.empty(operator.size)

    def product(self, x):
        """This rank's part of (L - c) x from that of x; overwritten by the next."""
        operator, whole, mine = self.operator, x, self.result
        if self.comm.size > 1:
            whole, mine = np.empty(operator.size), np.empty(len(x))
            self.comm.Allgatherv(x, (whole, self.local))
        operator.multiply(whole, *self.rows[self.comm.rank], self.result)
        if self.comm.size > 1:
            self.comm.Reduce_scatter(self.result, mine, self.local)
        mine -= operator.centre * x
        return mine

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

    operator : has `size`, `width`, multiply(x, start, stop, out): out <- what start..stop-1 of the rows, of width
               unknowns, contribute to Lx; the spectrum is within `radius` of its `centre` along the
               imaginary axis, and within 2/3 of it along the real one
    Returns eigenvalues and their residuals |Lx - λx| / |x| < tolerance. Raises RuntimeError if not all converge.

    Krylov-Schur on a short time evolution, exp(tL), whose eigenvalues of largest modulus are those of L of largest
    real part; with t < 0, smallest. For 9 all-to-all spins, Jy = 1.4, it takes twice the products that Krylov-Schur
    on L itself does, 523 instead of 215, but a fifth of the vectors to orthogonalise, which took as long as
    the products, and half of the memory.
    """
    PETSc, SLEPc = _libraries(comm)
    step = _TimeStep(comm, operator, largest)
    layout = (step.local[comm.rank], operator.size)
    matrix = PETSc.Mat().createPython((layout, layout), step, comm)
    matrix.setUp()
    solver = SLEPc.EPS().create(comm)
    try:
        with _options(PETSc, options):
            solver.setOptionsPrefix(PREFIX)
            solver.setOperators(matrix)
            solver.setProblemType(SLEPc.EPS.ProblemType.NHEP)
            solver.setWhichEigenpairs(SLEPc.EPS.Which.LARGEST_MAGNITUDE)
            solver.setDimensions(count, min(operator.size, KRYLOV))
            solver.setTolerances(tolerance / (2 * operator.radius), 1000)
            _orthogonalise_twice(SLEPc, solver)
            solver.setFromOptions()
            solver.solve()
        if solver.getConverged() < count:
            raise RuntimeError(f"only {solver.getConverged()} of {count} eigenvalues converged: raise "
                               f"method.tolerance, or petsc_options: {{eps_ncv: {2 * KRYLOV}}}")
        vectors = _invariant(solver, count)
    finally:
        _destroy(solver, matrix)
    values, errors = _rayleigh_ritz(comm, step, vectors)
    order = np.argsort(-values.real if largest else values.real, kind="stable")[:count]
    if not errors[order].max() < tolerance:
        raise RuntimeError(f"the residual |Lx - λx| / |x| = {errors[order].max():.1e} is not below {tolerance:.1e}: "
                           "raise method.tolerance")
    return values[order] + operator.centre, errors[order]


def _invariant(solver, count: int) -> list:
    """This rank's part of the first `count` Schur vectors, one more where that would part a pair."""
    split = solver.getConverged() > count and solver.getEigenvalue(count - 1).imag > 0
    basis, found = solver.getBV(), []
    for i in range(count + split):
        column = basis.getColumn(i)
        found.append(column.array.copy())
        basis.restoreColumn(i, column)
    return found


def _rayleigh_ritz(comm, step: _TimeStep, vectors):
    """Eigenvalues of L - c in the real space that the (local parts of) vectors span, and their residuals."""
    # a complex build returns complex vectors of a space with a real basis
    vectors = np.array([part for v in vectors for part in ((v.real, v.imag) if np.iscomplexobj(v) else (v,))])
    weights, rotation = np.linalg.eigh(comm.allreduce(vectors @ vectors.T))
    kept = weights > 1e-6
    basis = (rotation[:, kept] / np.sqrt(weights[kept])).T @ vectors
    products = np.array([step.product(vector).copy() for vector in basis])
    values, coefficients = np.linalg.eig(comm.allreduce(basis @ products.T))
    rest = [np.linalg.norm(y @ products - value * (y @ basis)) for value, y in zip(values, coefficients.T)]
    return values, np.sqrt(comm.allreduce(np.array(rest)**2))
