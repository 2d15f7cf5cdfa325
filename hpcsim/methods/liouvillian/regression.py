"""Two-time functions in the steady state by the quantum regression theorem, sector by sector.

⟨A(t + τ) B(t)⟩ = Tr A exp(Lτ) Bρ for τ >= 0, with the steady state ρ (Lax, Phys. Rev. 129, 2342 (1963)). Bρ is not
Hermitian, and lies in the sectors that B shifts to. Of two sectors that the adjoint takes to each other one is solved:
what the part of X = Bρ in the other gives is the complex conjugate of Tr A† exp(Lτ) X†.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import sparse

from hpcsim import solvers
from hpcsim.methods import Context
from hpcsim.methods.liouvillian.operators import Operators, kept_operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.steady import steady_state
from hpcsim.observables import two_times
from hpcsim.system import System

NOTHING = 1e-14  # a part of a matrix this small, relative to the whole, is rounding


class Source(NamedTuple):
    """A matrix X (D, D), and the functions Tr A f(L) X that are asked for: their numbers, and the A (D, D)."""

    X: np.ndarray
    numbers: list[int]
    seen: list[sparse.csr_matrix]


class Piece(NamedTuple):
    """What one sector adds to the functions Tr A f(L) X of one source: Σ_u seen_u (f(L) x)_u.

    numbers : of the functions
    seen    : (functions, local) complex, Tr A B_u
    parts   : [(1 or i, (local,) real)], the components x of X as a sum of real ones
    adjoint : they are those of A† and X†, and the sum is to be conjugated
    """

    numbers: list[int]
    seen: np.ndarray
    parts: list[tuple[complex, np.ndarray]]
    adjoint: bool

    def value(self, unit: complex, sums: np.ndarray) -> np.ndarray:
        """What the part with this unit adds, from Σ_u seen_u (f(L) part)_u."""
        return np.conj(unit * sums) if self.adjoint else unit * sums


def sources(keys, operators, matrix: Callable[[int], np.ndarray]) -> list[Source]:
    """The sources of functions number 0, 1, ... with operators A; an X = matrix(number) is shared by equal keys."""
    found: dict = {}
    for number, (key, A) in enumerate(zip(keys, operators)):
        if key not in found:
            found[key] = Source(matrix(number), [], [])
        found[key].numbers.append(number)
        found[key].seen.append(A)
    return list(found.values())


def pieces(comm, built: Operators, asked: list[Source]) -> Iterator[tuple[Sector, list[Piece]]]:
    """Every sector in which the X and an A of a source both have a part. Collective over comm."""
    directions = [(each, _adjoint(each)) for each in asked]
    for name in built.symmetries.names(len(built.first) - 1, every=True):
        sector = Sector(built, name)
        if not sector.size:
            continue
        both = (False,) if built.symmetries.is_self_adjoint(name) else (False, True)
        found = [_piece(comm, sector, pair[adjoint], adjoint) for pair in directions for adjoint in both]
        if any(found):
            yield sector, [piece for piece in found if piece is not None]


def _adjoint(source: Source) -> Source:
    return Source(source.X.conj().T, source.numbers, [A.getH().tocsr() for A in source.seen])


def _piece(comm, sector: Sector, source: Source, adjoint: bool) -> Piece | None:
    rows = solvers.row_range(comm, sector.size)
    seen = np.array([sector.functional(A, *rows) for A in source.seen])
    if _norm(comm, seen) <= NOTHING:
        return None
    x, least = sector.components(sparse.coo_matrix(source.X), *rows), NOTHING * np.linalg.norm(source.X)
    parts = [(unit, part) for unit, part in ((1, x.real.copy()), (1j, x.imag.copy())) if _norm(comm, part) > least]
    return Piece(source.numbers, seen, parts, adjoint) if parts else None


def _norm(comm, local) -> float:
    return float(np.sqrt(comm.allreduce(np.linalg.norm(local) ** 2)))


def average(A: sparse.spmatrix, rho: np.ndarray) -> complex:
    """Tr Aρ."""
    return A.multiply(rho.T).sum()


def correlations(system: System, options, context: Context) -> dict:
    """The task correlation: the functions of `two_times.outputs` at the delays options.times."""
    rho, comm = steady_state(system, options, context).matrix(), context.comm
    asked = two_times.built(system, options.functions)

    def started(number: int) -> np.ndarray:
        each = asked[number]  # of a lowering operator the state after a quantum has left
        return each.B @ rho @ each.A if each.lowering else each.B @ rho

    seen = [each.A @ each.B if each.lowering else each.A for each in asked]
    values = np.zeros((len(asked), len(options.times)), complex)
    intervals = np.diff(options.times, prepend=0)
    accuracy = options.tolerance, options.petsc_options, options.integrator
    wanted = sources([(each.lowering, each.key) for each in asked], seen, started)
    for sector, found in pieces(comm, kept_operators(system, context), wanted):
        for piece in found:
            for unit, part in piece.parts:
                along = solvers.propagate(comm, sector, part, intervals, *accuracy)
                values[piece.numbers] += piece.value(unit, np.array([piece.seen @ state for state in along]).T)
    values = comm.allreduce(values)
    quanta = np.array([average(A, rho).real if each.lowering else 1.0 for each, A in zip(asked, seen)])
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where no quantum ever leaves
        values = values / quanta[:, None] ** 2
    return {each.name: value.real if each.lowering else value for each, value in zip(asked, values)}
