"""Spectra of two-time functions: the resolvent of a sector's Liouvillian at many frequencies.

∫_0^∞ exp(-iωτ) exp(Lτ) x dτ = y with (iω - L) y = x. L is real in a sector's basis, and so can x be chosen: then y(-ω)
is y(ω)*. The frequencies share one real space of y's. At a few frequencies the equation is solved by a factorisation,
everywhere else within their space, and where the residual there is largest the next few are solved.
"""

import numpy as np
from mpi4py import MPI
from scipy import sparse
from scipy.sparse.linalg import splu

from hpcsim.methods import Context
from hpcsim.methods.liouvillian import functions
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.regression import average, pieces, sources
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.steady import steady_state
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.solvers import SolverError
from hpcsim.system import System

ROUND = 4  # frequencies solved at once, on as many ranks as there are: results do not depend on the ranks
SHIFT = 1e-14  # relative to the norm: keeps the factors of L itself finite
DEPENDENT = 1e-13  # a vector this close to a space lies in it


class Resolvent:
    """(iω - L)^-1 x of one sector for real x, at frequencies ω >= 0.

    steady : components of the steady state where this is its sector: x and y are traceless then; else None
    """

    def __init__(self, comm, sector: Sector, frequencies: np.ndarray, tolerance: float, steady=None):
        self.comm, self.sector, self.frequencies, self.tolerance = comm, sector, frequencies, tolerance
        self.matrix = sector.rows(0, sector.size).tocsc()
        self.norm = float(abs(self.matrix).sum(axis=1).max())
        self.steady = steady
        self.trace = sector.trace(0, sector.size) if steady is not None else None

    def traceless(self, y: np.ndarray) -> np.ndarray:
        return y if self.steady is None else y - np.multiply.outer(self.steady, self.trace @ y)

    def solved(self, omega: float, x: np.ndarray) -> np.ndarray:
        """y (size,), by a factorisation and one refinement."""
        one = sparse.identity(self.sector.size, format="csc")
        try:
            factors = splu((1j * omega + SHIFT * self.norm) * one - self.matrix, permc_spec="COLAMD")
        except RuntimeError:
            raise SolverError(
                f"{self.sector}: iω is an eigenvalue of L, ω = {omega:g}: its response diverges"
            ) from None
        y = self.traceless(factors.solve(x.astype(complex)))
        return self.traceless(y + factors.solve(x - 1j * omega * y + self.matrix @ y))

    def responses(self, x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float]:
        """seen·y, (functions, frequencies) complex, and the largest |(iω - L)y - x| / |x|. Collective.

        x : (size,) real;  seen : (functions, size) complex, as [seen·Re y, seen·Im y] = seen·[Re y, Im y]
        """
        x = self.traceless(x)
        space, values = _Space(self, x), np.zeros((len(seen), len(self.frequencies)), complex)
        rest, exact = np.full(len(self.frequencies), np.inf), np.zeros(len(self.frequencies), bool)
        while len(chosen := self._next(rest, exact)):
            found = [self.solved(self.frequencies[i], x) for i in chosen[self.comm.rank :: self.comm.size]]
            every = self.comm.allgather(found)
            for place, i in enumerate(chosen):
                y = every[place % self.comm.size][place // self.comm.size]
                values[:, i], rest[i], exact[i] = seen @ y, space.residual(self.frequencies[i], y), True
                space.add(y)
            if not np.all(exact):
                within, left = space.projected(self.frequencies[~exact])
                values[:, ~exact], rest[~exact] = (seen @ space.vectors) @ within, left
        worst = float(rest.max())
        if not worst < max(self.tolerance, 1e3 * SHIFT * self.norm * space.largest):
            raise SolverError(f"{self.sector}: the response is not accurate: its residual is {worst:.1e}")
        return values, worst

    def _next(self, rest: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """The frequency of the largest residual in each of ROUND parts of the axis, where it is too large."""
        parts = np.array_split(np.arange(len(rest)), min(ROUND, len(rest)))
        worst = [int(part[np.argmax(np.where(exact[part], -1.0, rest[part]))]) for part in parts]
        return np.array([i for i in worst if not exact[i] and rest[i] > self.tolerance], int)


class _Space:
    """The real span of the y's found so far, for x of norm 1 (residuals are relative to |x|)."""

    def __init__(self, resolvent: Resolvent, x: np.ndarray):
        self._of, self._x, self._size = resolvent, x, np.linalg.norm(x)
        self.vectors = np.zeros((len(x), 0))  # orthonormal
        self._images = np.zeros((len(x), 0))  # L times these
        self.largest = 0.0  # |y| / |x|

    def residual(self, omega: float, y: np.ndarray) -> float:
        self.largest = max(self.largest, np.linalg.norm(y) / self._size)
        return float(np.linalg.norm(self._x - 1j * omega * y + self._of.matrix @ y) / self._size)

    def add(self, y: np.ndarray) -> None:
        for part in (y.real, y.imag):
            size = np.linalg.norm(part)
            for _ in range(2):
                part = part - self.vectors @ (self.vectors.T @ part)
            if np.linalg.norm(part) > DEPENDENT * size:
                part = part / np.linalg.norm(part)
                part = part - self.vectors @ (self.vectors.T @ part)
                part = (part / np.linalg.norm(part))[:, None]
                self.vectors = np.hstack([self.vectors, part])
                self._images = np.hstack([self._images, self._of.matrix @ part])

    def projected(self, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of y in the space, (vectors, frequencies), and the residuals, by Galerkin's condition.

        The residual is a combination of x, the vectors and their images: of the columns of R in a QR factorisation.
        """
        count, omega = self.vectors.shape[1], 1j * frequencies
        small = omega[:, None, None] * np.eye(count) - self.vectors.T @ self._images
        y = np.linalg.solve(small, np.broadcast_to(self.vectors.T @ self._x, (len(omega), count))[..., None])[..., 0].T
        triangle = np.linalg.qr(np.hstack([self._x[:, None], self.vectors, self._images]), mode="r")
        rest = triangle @ np.vstack([np.ones((1, len(omega))), -omega * y, y])
        return y, np.linalg.norm(rest, axis=0) / self._size


def spectra(system: System, options, context: Context) -> dict:
    """The task emission: the spectra of `functions.outputs` at options.frequencies."""
    found, comm = steady_state(system, options, context), context.comm
    rho, asked = found.matrix(), functions.built(system, options.functions)
    omega = np.array(options.frequencies)
    means = [(average(each.A, rho), average(each.B, rho)) for each in asked]
    wanted = sources(
        [each.key for each in asked], [each.A for each in asked], lambda i: asked[i].B @ rho - means[i][1] * rho
    )
    values, worst = np.zeros((len(asked), len(omega)), complex), 0.0
    sizes, place = np.unique(np.abs(omega), return_inverse=True)
    alone = MPI.COMM_SELF
    steady = np.concatenate(found.comm.allgather(found.local))
    for sector, parts in pieces(alone, kept_operators(system, context), wanted):
        resolvent = Resolvent(comm, sector, sizes, options.tolerance, steady if sector.name == HOME else None)
        for piece in parts:
            for unit, x in piece.parts:
                both = np.vstack([piece.seen, piece.seen.conj()])
                response, rest = resolvent.responses(x, both)
                plus, minus = response[: len(piece.seen)], response[len(piece.seen) :].conj()  # at ω and at -ω
                of_sign = (plus, minus) if not piece.adjoint else (minus, plus)
                along = np.where(omega >= 0, of_sign[0][:, place], of_sign[1][:, place])
                values[piece.numbers] += piece.value(unit, along)
                worst = max(worst, rest)
    result = {each.name: 2 * value.real for each, value in zip(asked, values)}
    for each, (a, b) in zip(asked, means):
        result[f"{each.name}_coherent"] = abs(b) ** 2 if each.lowering else a * b
    return result | {"residual": worst}
