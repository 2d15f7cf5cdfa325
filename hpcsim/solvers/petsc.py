"""PETSc and SLEPc themselves: start, options, matrices, factorisations. Nothing else imports them."""

import logging
import os
from contextlib import contextmanager

from hpcsim.solvers.options import PREFIX, of_environment

log = logging.getLogger("hpcsim")
# The program handles signals itself; PETSc would catch several, in some versions SIGTERM too. Nor may options come
# from a file in the folder where a run is started, or in the user's home.
ARGUMENTS = ["hpcsim", "-no_signal_handler", "-skip_petscrc"]
SINGULAR_MATRIX = -10  # INFOG(1) of MUMPS


class SolverError(RuntimeError):
    """A solve failed for a reason that its message explains. status: of the program, see cli."""

    status = 1


class NotUnique(SolverError):
    """There is more than one steady state; the model has to be changed."""

    status = 2


class NotInstalled(SolverError):
    """PETSc or SLEPc cannot be imported; without them only small matrices can be solved."""


@contextmanager
def _explained():
    try:
        yield
    except ImportError as error:
        raise NotInstalled(
            f"a matrix of this size needs PETSc and SLEPc, and Python says: {error}. `bash jobs/setup.sh` installs "
            f"them, `hpcsim doctor` says more; or take another method, for example trajectories"
        ) from error


def petsc(comm):
    """petsc4py.PETSc, initialised on the first communicator it is asked for. Raises NotInstalled."""
    with _explained():
        import petsc4py

    _clear_environment()
    petsc4py.init(ARGUMENTS, comm=comm)
    from petsc4py import PETSc

    return PETSc


def _clear_environment():
    """Remove options that are not allowed from PETSC_OPTIONS, which PETSc reads when it starts, with a warning."""
    kept, refused = of_environment(os.environ.pop("PETSC_OPTIONS", ""))
    if os.environ.pop("PETSC_OPTIONS_YAML", ""):
        refused.append("PETSC_OPTIONS_YAML")
    if kept:
        os.environ["PETSC_OPTIONS"] = " ".join(f"-{name} {value}" for name, value in kept.items())
    if refused:
        log.warning(
            "the environment's PETSC_OPTIONS: %s ignored; allowed are the options that "
            "method.petsc_options allows, as -%seps_ncv 40",
            ", ".join(refused),
            PREFIX,
        )


def libraries(comm):
    """PETSc and slepc4py.SLEPc, which is large: only for eigenvalues and exponentials."""
    PETSc = petsc(comm)
    with _explained():
        import slepc4py

    slepc4py.init(ARGUMENTS)
    from slepc4py import SLEPc

    return PETSc, SLEPc


@contextmanager
def options_set(PETSc, given):
    """Put the direct solver's defaults and the user's options into the database while a solve is set up."""
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


def matrix_of(PETSc, comm, sector):
    """The sector's Liouvillian as a distributed AIJ matrix, each rank assembling its own rows."""
    start, stop = row_range(comm, sector.size)
    rows = sector.rows(start, stop)
    csr = (rows.indptr.astype(PETSc.IntType), rows.indices.astype(PETSc.IntType), rows.data.astype(PETSc.ScalarType))
    layout = (stop - start, sector.size)
    return PETSc.Mat().createAIJ((layout, layout), csr=csr, comm=comm)


def direct(ksp):
    """Make a KSP one solve with a MUMPS LU factorisation."""
    ksp.setType("preonly")
    ksp.getPC().setType("lu")
    ksp.getPC().setFactorSolverType("mumps")


def set_up(PETSc, solver, ksp, size: int):
    """Set up, and so factorise. Raises SolverError with the solver's reason and, for MUMPS, what to change."""
    pc, failure = ksp.getPC(), 0
    try:
        solver.setUp()
        if pc.getType() == "lu" and pc.getFactorSolverType() == "mumps":
            failure, detail = (pc.getFactorMatrix().getMumpsInfog(i) for i in (1, 2))
    except PETSc.Error as error:
        raise SolverError(f"PETSc could not factorise {size} unknowns: {error}") from error
    if failure == SINGULAR_MATRIX:
        raise NotUnique(
            f"the steady state is not unique: the matrix of {size} unknowns is singular; add dissipation that connects "
            "all states, or take task: evolve, from a given initial state"
        )
    if failure < 0:
        fix = {
            -9: "raise petsc_options: {st_mat_mumps_icntl_14: 100}",
            -13: "use more ranks_per_point or nodes with more memory",
        }.get(failure, "see MUMPS's manual")
        raise SolverError(f"MUMPS failed on {size} unknowns, INFOG(1) = {failure}, INFOG(2) = {detail}: " + fix)


def destroy(*objects):
    for each in objects:
        if each is not None:
            each.destroy()


def krylov_schur(SLEPc, comm, matrix):
    """An eigensolver that orthogonalises twice; otherwise it sometimes finds eigenvalues outside the spectrum."""
    solver = SLEPc.EPS().create(comm)
    solver.setOptionsPrefix(PREFIX)
    solver.setOperators(matrix)
    solver.setProblemType(SLEPc.EPS.ProblemType.NHEP)
    solver.getBV().setOrthogonalization(refine=SLEPc.BV.OrthogRefineType.ALWAYS)
    return solver
