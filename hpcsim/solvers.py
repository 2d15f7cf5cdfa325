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
from contextlib import contextmanager

import numpy as np
from scipy import linalg

PREFIX = "hpcsim_"          # of PETSc's options database
DENSE = 128                 # unknowns up to which LAPACK on one rank is faster than setting up PETSc
SUBSPACE = 90               # Krylov dimension beyond the eigenvalues asked for
TOLERANCE = 1e-11           # of SLEPc, on 1/(λ - σ)
SINGULAR = 1e-12            # shift of the inverse iteration for the steady state, relative to the norm
UNIQUE = 1e-10              # a second eigenvalue this small, relative to the norm, is a second zero
RESIDUAL = 1e-11            # accepted |Lρ| of a steady state, relative to |L||ρ|


def _libraries(comm):
    """petsc4py.PETSc and slepc4py.SLEPc, initialised on the first communicator they are asked for."""
    import petsc4py
    import slepc4py

    # signals belong to the program: PETSc would take several, in some versions SIGTERM too
    arguments = ["hpcsim", "-no_signal_handler"]
    petsc4py.init(arguments, comm=comm)
    slepc4py.init(arguments)
    from petsc4py import PETSc
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
    """Set up, hence factorise; RuntimeError with MUMPS's reason and the mend where it fails."""
    try:
        solver.setUp()
        failure, detail = (ksp.getPC().getFactorMatrix().getMumpsInfog(i) for i in (1, 2))
    except PETSc.Error as error:
        raise RuntimeError(f"PETSc could not factorise {size} unknowns by MUMPS: {error}") from error
    if failure < 0:
        mend = {-10: "the matrix is singular: the steady state is not unique",
                -9: "raise petsc_options: {st_mat_mumps_icntl_14: 100}",
                -13: "use more ranks_per_point or nodes with more memory"}.get(failure, "see MUMPS's manual")
        raise RuntimeError(f"MUMPS failed on {size} unknowns, INFOG(1) = {failure}, INFOG(2) = {detail}: "
                           + mend)


def leading_eigenvalues(comm, sector, count: int, options: dict):
    """The `count` eigenvalues of largest real part, falling, and their residuals |Lx - λx| / (|L||x|).

    Two arrays of min(count, size). |L| is the largest sum of moduli of a row.

    The eigenvalue of largest real part may oscillate fast, and is then far from zero. Krylov-Schur on
    (L - σ)^-1 takes the whole imaginary axis to the circle |θ + 1/2σ| = 1/2σ: eigenvalues close to
    the axis are extreme ones however large their frequency, as long as it is not large against σ.
    So σ is not small but 4 times a mean rate per unit of spin, the subspace is large, and Ritz values are
    kept by their real part, not their distance to σ. Raises RuntimeError if not all converge.
    """
    if sector.size <= DENSE:
        return _dense(comm, sector, count)
    PETSc, SLEPc = _libraries(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    shift = norm / sector.spin
    solver = SLEPc.EPS().create(comm)
    try:
        with _options(PETSc, options):
            solver.setOptionsPrefix(PREFIX)
            solver.setOperators(matrix)
            solver.setProblemType(SLEPc.EPS.ProblemType.NHEP)
            solver.setTarget(shift)
            solver.setWhichEigenpairs(SLEPc.EPS.Which.TARGET_REAL)
            solver.setDimensions(count, min(sector.size, 2 * count + SUBSPACE))
            solver.setTolerances(TOLERANCE, 200)
            transform = solver.getST()
            transform.setType(SLEPc.ST.Type.SINVERT)
            _direct(transform.getKSP())
            solver.setFromOptions()
            _set_up(PETSc, solver, transform.getKSP(), sector.size)
            solver.solve()
        found = solver.getConverged()
        if found < count:
            raise RuntimeError(f"only {found} of {count} eigenvalues of {sector} converged: ask for fewer "
                               f"eigenvalues, or raise petsc_options: {{eps_ncv: {4 * count + 2 * SUBSPACE}}}")
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


def steady_state(comm, sector, options: dict):
    """This rank's part of the x with Lx = 0 and trace 1, and its residual |Lx| / (|L||x|).

    Inverse iteration x <- (L - σ)^-1 x from a positive state, with σ next to nothing: L - σ is as sparse
    as L, where putting the trace into a row of L fills the factors. A second, traceless vector is iterated
    along; it grows by 1/|λ| of the next eigenvalue, which must not be zero too.

    Raises RuntimeError if it is, or if the residual stays large.
    """
    PETSc, _ = _libraries(comm)
    matrix = _matrix(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    state, other, work = matrix.createVecLeft(), matrix.createVecLeft(), matrix.createVecLeft()
    trace = matrix.createVecLeft()
    trace.array = sector.trace(*row_range(comm, sector.size))
    state.array = trace.array
    other.array = np.cos(np.arange(*trace.owner_range))
    shifted = matrix.copy()
    shifted.shift(-SINGULAR * norm)
    ksp = PETSc.KSP().create(comm)
    try:
        with _options(PETSc, options):
            ksp.setOptionsPrefix(PREFIX + "st_")
            ksp.setOperators(shifted)
            _direct(ksp)
            ksp.setFromOptions()
            _set_up(PETSc, ksp, ksp, sector.size)
        residual = np.inf
        for _ in range(10):
            ksp.solve(state, work)
            work.scale(1 / work.dot(trace))
            work.copy(state)
            other.axpy(-other.dot(trace), state)
            other.normalize()
            ksp.solve(other, work)
            second = 1 / (norm * work.norm())
            work.copy(other)
            matrix.mult(state, work)
            previous, residual = residual, work.norm() / (norm * state.norm())
            if residual > previous / 2:
                break
        local = state.array.real.copy()
    finally:
        for each in (ksp, shifted, matrix):
            each.destroy()
    if second < UNIQUE:
        raise RuntimeError("the steady state is not unique: a second eigenvalue of the Liouvillian is zero "
                           f"to {second:.1e} of its norm; the model needs dissipation that connects all states")
    if not residual < RESIDUAL:
        raise RuntimeError(f"the steady state is not accurate: |Lρ| = {residual:.1e} |L||ρ|")
    return local, residual
