"""The slowest eigenvalues of a sector, with what shows that none was missed."""

from typing import NamedTuple

import numpy as np

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.liouvillian import exclusion
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.system import System

NOTHING, BOUND, WHOLE = 0.0, 1.0, 2.0  # what shows it, see CODES
CODES = (
    "2: all eigenvalues of all sectors were computed; 1: of some, no eigenvalue but those found can decay "
    "more slowly, because the logarithmic norm of the rest is below; 0: nothing is shown for some"
)
LAPACK = 2500  # unknowns up to which all eigenvalues are computed where nothing cheaper shows that none is missed
QUICK = 400  # unknowns up to which that takes no longer than a search for more eigenvalues
NEXT = 6  # eigenvalues, decaying faster by less than is needed to tell them apart, that are searched for first
MORE = ((NEXT, 5000), (24, 60000), (96, 20000))  # eigenvalues beyond those wanted, and the largest sectors for it
SOON = {"eps_max_it": "30"}  # restarts of the Krylov space of exp(tL)
LOWER = (0.7, 0.4, 0.15, 0.05)  # parts of the rate that are tried where the rate itself is not shown
MULTIPLICATIONS = 1e13  # floating-point operations of one recursion, at most
EACH, ALL = 1e6, 2e10  # operations of exp(TL): for each unknown, where other ways are left; and where none is
SAME = 1e-8  # distance of equal eigenvalues, relative to |L|
TIE = 1e-8  # rates this close, relative to themselves, are equal


class Slowest(NamedTuple):
    """The slowest eigenvalues of a sector, falling real part first, and their residuals.

    decay : all eigenvalues that decay more slowly than at this rate are among them
    code  : what shows it, see CODES
    """

    values: np.ndarray
    errors: np.ndarray
    decay: float
    code: float


def slowest(
    system: System, sector: Sector, count: int, petsc_options: dict, context: Context, enough: float = np.inf
) -> Slowest:
    """At least min(count, size) eigenvalues. Collective.

    enough : a rate above which nothing has to be shown: another sector has an eigenvalue that decays with it
    """
    if sector.size <= solvers.eigenvalues.DENSE:
        return _whole(context.comm, sector)
    count = min(count, sector.size)
    found, rate = None, enough
    beside: _Beside | None = None
    try:
        with solvers.search(context.comm, sector, count, petsc_options) as find:
            for more in (0, *(more for more, largest in MORE if QUICK < sector.size <= largest)):
                # the first of many is a second search in any case, where LAPACK does not find what one may miss
                needless = more > NEXT and (sector.size <= LAPACK or more != MORE[1][0])
                if needless and beside and beside.is_hopeless(rate):
                    continue
                other = more > NEXT and _by_exponentials(context.comm, sector, found, count + more, petsc_options)
                found = other or find(min(count + more, sector.size))
                rate = min(-found.values[count - 1].real, enough)
                beside = _Beside(system, sector, found.space, rate, petsc_options, context)
                decay = beside.decay(rate) or beside.decay_in_time(rate, min(EACH * sector.size, sector.size**3))
                if decay >= rate:
                    return Slowest(found.values, found.errors, decay, BOUND)
    except solvers.SolverError:
        if found is None and sector.size > LAPACK:
            raise
    if sector.size <= LAPACK:
        return _whole(context.comm, sector)
    beside = _Beside(system, sector, found.space, LOWER[-1] * rate, petsc_options, context)
    if decay := beside.decay_in_time(rate, ALL):
        return Slowest(found.values, found.errors, decay, BOUND)
    for part in LOWER:
        decay = beside.decay(part * rate)
        if decay:
            return Slowest(found.values, found.errors, min(decay, rate), BOUND)
    return Slowest(found.values, found.errors, 0.0, NOTHING)


def _by_exponentials(comm, sector: Sector, found, count: int, petsc_options: dict):
    """The `count` slowest eigenvalues by exp(tL), which orders them whatever their frequency, and those of `found`.

    The space is that of the former alone. None where they do not converge soon, as with very weak damping.
    """
    try:
        slowest = solvers.leading_by_exponentials(comm, sector, min(count, sector.size), SOON | petsc_options)
    except solvers.SolverError:
        return None
    scale = abs(sector.operators.effective).sum(1).max()
    missed = np.abs(found.values[:, None] - slowest.values).min(1) > SAME * scale
    values = np.append(slowest.values, found.values[missed])
    errors = np.append(slowest.errors, found.errors[missed])
    order = solvers.by_real_part(values)
    return slowest._replace(values=values[order], errors=errors[order])


def _whole(comm, sector: Sector) -> Slowest:
    if not sector.size:
        return Slowest(np.zeros(0, complex), np.zeros(0), np.inf, WHOLE)
    found = solvers.all_eigenvalues(comm, sector)
    return Slowest(found.values, found.errors, np.inf, WHOLE)


class _Beside:
    """What is shown of the eigenvalues beside a space that was found. Every call is collective.

    space : on rank 0 as in `solvers.Leading`
    rate  : about which something is asked
    """

    def __init__(self, system: System, sector: Sector, space, rate: float, petsc_options: dict, context: Context):
        self._comm, self._rest = context.comm, None
        self._still = 1e-12 * abs(sector.operators.effective).sum(1).max()  # decay slower than this is none
        self._space = space
        if rate <= self._still or exclusion.work(sector) > MULTIPLICATIONS:
            return
        weights = kept_weights(system, petsc_options, context)
        if weights is not None and self._comm.rank == 0:
            self._rest = exclusion.beside(weights, sector, space, rate)

    def decay(self, rate: float) -> float:
        """A rate, not below the one given, that all eigenvalues decay with but those of the space; 0 if not shown."""
        if rate <= self._still:  # nothing decays more slowly than not at all
            return max(rate, 0.0)
        return self._comm.bcast(self._rest.decay(rate * (1 - TIE)) if self._rest else 0.0)

    def decay_in_time(self, rate: float, most: float) -> float:
        """The same as `decay`, shown after a time in which what is not normal dies out, by `most` operations."""
        decay = 0.0
        if self._rest and rate > self._still:
            decay = exclusion.in_time(self._rest, self._space).decay_in_time(rate * (1 - TIE), most)
        return self._comm.bcast(decay)

    def is_hopeless(self, rate: float) -> bool:
        """Whether nothing like this rate will be shown beside a larger space either.

        Where the metric is that of the steady state itself nothing grows; but its eigenvalues below FLOOR are others.
        """
        return self._comm.bcast(self._rest is None or self._rest.grows(rate))


def kept_weights(system: System, petsc_options: dict, context: Context):
    """The inner product of the steady state, made once for the records of a system; None where there are several."""

    def make():
        try:
            return exclusion.weights(context.comm, kept_operators(system, context), petsc_options)
        except solvers.SolverError:
            return None

    return context.cache.get(("liouvillian", "weights", system.key, *sorted(petsc_options.items())), make)
