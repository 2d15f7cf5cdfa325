"""Steady states and linear response of a sector: one zero eigenvalue, by a factorisation or by GMRES."""

import hashlib
import math
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from hpcsim.solvers.petsc import (
    PREFIX,
    NotUnique,
    SolverError,
    destroy,
    direct,
    matrix_of,
    options_set,
    petsc,
    row_range,
    set_up,
)

SINGULAR = 1e-14  # shift of the inverse iteration for the steady state, relative to the norm
# A second eigenvalue this small, relative to the norm, is a second zero. Where it is r of the norm, the
# weights of the two states that are nearly steady have about -log10(1e-16/r) digits.
UNIQUE = 4e-14
RESIDUAL = 1e-11  # accepted |Lρ| of a steady state, relative to |L||ρ|
GMRES = (80, 400, 1e-8)  # vectors before a restart, iterations, relative residual
BY_VALUES = "st_mat_mumps_icntl_6"  # unless it is 0, MUMPS permutes by the values
NOT_UNIQUE = (
    "the steady state is not unique: a second eigenvalue of {sector} is zero to {second:.1e} of its norm; add "
    "dissipation, or terms of the Hamiltonian, that connect all states, or take task: evolve, from a given initial "
    "state"
)
KEPT = ("solvers", "factorisation")  # in a cache


class NotConverged(SolverError):
    """An iterative solver has not reached its tolerance."""


class Factorisation:
    """The last factorisation of a run, if its symbolic part can be used again for another matrix of its sparsity.

    One is kept, for it holds the factors. `destroy` is collective over their communicator.
    """

    def __init__(self):
        self.pattern = self.ksp = None

    def keep(self, pattern: bytes, ksp):
        self.pattern, self.ksp = pattern, ksp

    def take(self, pattern: bytes | None):
        """The KSP, no longer kept, if its sparsity is this, the same on all ranks; else None, and it is destroyed."""
        ksp, fits = self.ksp, pattern is not None and pattern == self.pattern
        if not fits:
            self.destroy()
        self.pattern = self.ksp = None
        return ksp if fits else None

    def destroy(self):
        destroy(self.ksp)
        self.pattern = self.ksp = None


def _pattern(comm, matrix, options: dict) -> bytes:
    """Hash of a matrix's sparsity, and of the options of its factorisation: the same on all ranks. Collective."""
    found = hashlib.blake2b(repr(options).encode())
    for part in matrix.getValuesCSR()[:2]:
        found.update(part.tobytes())
    return hashlib.blake2b(b"".join(comm.allgather(found.digest()))).digest()


@contextmanager
def _almost_inverse(PETSc, comm, matrix, norm: float, options: dict, cache):
    """A KSP that multiplies by (L - σ)^-1, σ next to nothing: L - σ is as sparse as L and not singular.

    Where the options let the symbolic factorisation depend on the sparsity alone, it is kept in the cache, if there
    is one, for the next point of a sweep: results do not depend on what was computed before, to the last bit.
    """
    kept = Factorisation() if cache is None else cache.get(KEPT, Factorisation)
    reusable = cache is not None and options.get(BY_VALUES) == 0
    pattern = _pattern(comm, matrix, options) if reusable else None
    ksp = kept.take(pattern)
    if ksp is None:
        ksp, shifted = PETSc.KSP().create(comm), matrix.copy()
    else:
        shifted = matrix.copy(ksp.getOperators()[0], PETSc.Mat.Structure.SAME_NONZERO_PATTERN)
    shifted.shift(-SINGULAR * norm)
    try:
        with options_set(PETSc, options):
            ksp.setOptionsPrefix(PREFIX + "st_")
            ksp.setOperators(shifted)
            direct(ksp)
            ksp.setFromOptions()
            set_up(PETSc, ksp, ksp, matrix.size[0])
        yield ksp
        if reusable:
            kept.keep(pattern, ksp)
    finally:
        if kept.ksp is None:
            ksp.destroy()


def _applied(action, source, result, local):
    """This rank's part of action(x) from that of x, with two vectors to work in."""
    source.array = local
    action(source, result)
    return result.array.real.copy()


def steady_state(comm, sector, options: dict, refine=None, cache=None):
    """This rank's part of the x with Lx = 0 and trace 1, and its residual |Lx| / (|L||x|).

    refine : (solve, x) -> tuple of arrays, the first of them x improved, returned in place of x; solve multiplies a
             local vector by (L - σ)^-1, collectively
    cache  : of the run (methods.Cache), where a factorisation is kept for the next point of a sweep

    Inverse iteration from a positive state, with σ next to nothing: L - σ is as sparse as L, where putting
    the trace into a row of L fills the factors. Written as x <- x - (L - σ)^-1 L x it refines: the second step
    makes small components as accurate, relative to themselves, as large ones. A second, traceless vector is
    iterated along; it grows by 1/|λ| of the next eigenvalue, which must not be zero too.

    Raises NotUnique if it is, and SolverError if the residual stays large.
    """
    PETSc = petsc(comm)
    matrix = matrix_of(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    source, result = matrix.createVecs()
    trace, start = sector.trace(*row_range(comm, sector.size)), row_range(comm, sector.size)[0]
    try:
        with _almost_inverse(PETSc, comm, matrix, norm, options, cache) as ksp:
            given = _Linear(
                partial(_applied, matrix.mult, source, result),
                partial(_applied, ksp.solve, source, result),
                lambda a, b: comm.allreduce(a @ b),
            )
            local, residual, second = _iterated(given, trace, norm, np.cos(start + np.arange(len(trace))), refine)
            if refine is not None and residual < RESIDUAL and second >= UNIQUE:
                local = refine(given.solve, local)
                residual = given.norm(given.multiply(local[0])) / (norm * given.norm(local[0]))
    finally:
        matrix.destroy()
    _accept(sector, residual, second)
    return local, residual


def dense_steady_state(matrix: np.ndarray, trace: np.ndarray, sector) -> tuple[np.ndarray, float]:
    """As `steady_state`, by LAPACK and on this rank alone: of an L (n, n) with Tr ρ = trace·x."""
    norm = float(abs(matrix).sum(1).max())
    shifted = matrix.copy()
    shifted.ravel()[:: len(matrix) + 1] -= SINGULAR * norm
    factors, pivots, singular = lapack.dgetrf(shifted.T, overwrite_a=True)  # LAPACK's columns are our rows
    if singular:
        raise NotUnique(NOT_UNIQUE.format(sector=sector, second=0.0))
    given = _Linear(matrix.__matmul__, lambda x: lapack.dgetrs(factors, pivots, x, trans=1)[0], np.dot)
    x, residual, second = _iterated(given, trace, norm, np.cos(np.arange(len(trace))))
    _accept(sector, residual, second)
    return x, residual


class _Linear(NamedTuple):
    """What the iteration needs of L, on this rank's parts of vectors: x -> Lx, x -> (L - σ)^-1 x, and products."""

    multiply: Callable
    solve: Callable
    dot: Callable

    def norm(self, x) -> float:
        return math.sqrt(self.dot(x, x))


def _iterated(given: _Linear, trace, norm: float, other, refine=None):
    """The state, its residual, and how close to zero, relative to the norm, the next eigenvalue is."""
    state, residual = trace, np.inf
    rest = given.multiply(state)
    for _ in range(30):
        if refine is None or not residual < RESIDUAL:
            state = state - given.solve(rest)
            state = state / given.dot(state, trace)
            rest = given.multiply(state)
        other = other - given.dot(other, trace) * state
        other = given.solve(other / given.norm(other))
        second = 1 / (norm * given.norm(other))
        previous, residual = residual, given.norm(rest) / (norm * given.norm(state))
        if residual > previous / 2:
            break
    return state, residual, second


def _accept(sector, residual: float, second: float):
    """Raises NotUnique or SolverError unless a steady state has been found, and only one."""
    if second < UNIQUE:
        raise NotUnique(NOT_UNIQUE.format(sector=sector, second=second))
    if not residual < RESIDUAL:
        raise SolverError(f"the steady state is not accurate: |Lρ| = {residual:.1e} |L||ρ|")


@contextmanager
def pinned_inverse(comm, sector, first: int):
    """GMRES for (L + |first⟩⟨first|) y = x, where unknown `first` is the trace: its row of L is empty.

    Yields solve(x, tolerance) -> this rank's part of y, which raises NotConverged, and multiply(x) -> this rank's
    part of Lx and the residual |Lx| / (|L||x|), both collective. The preconditioner is an incomplete factorisation, as
    sparse as L, of every rank's rows: good where an unknown depends most on those a few before it, which decay fast.
    """
    PETSc = petsc(comm)
    matrix = matrix_of(PETSc, comm, sector)
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
        destroy(ksp, pinned, matrix)


def response(comm, sector, source, options: dict, cache=None) -> np.ndarray:
    """This rank's part of the traceless x with Lx = source; `source` (its rows) is traceless too.

    Raises SolverError if the residual |Lx - source| / (|L||x|) stays large.
    """
    PETSc = petsc(comm)
    matrix = matrix_of(PETSc, comm, sector)
    norm = matrix.norm(PETSc.NormType.NORM_INFINITY)
    total, step, rest = matrix.createVecLeft(), matrix.createVecLeft(), matrix.createVecLeft()
    rest.array = source
    try:
        with _almost_inverse(PETSc, comm, matrix, norm, options, cache) as ksp:
            for _ in range(3):  # the shift, and rounding, are gone after one refinement
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
        raise SolverError(f"the linear response of {sector} is not accurate: its residual is {residual:.1e}")
    return local
