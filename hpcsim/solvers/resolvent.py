"""The resolvent of a sector's Liouvillian at many frequencies, without a factorisation where that is possible.

∫_0^∞ exp(-iωτ) exp(Lτ) x dτ = y with (iω - L) y = x. L and x are real: then y(-ω) is y(ω)*. All frequencies share one
real space: a Krylov space of L and x and, where that does not reach the tolerance, the y's of a few frequencies, solved
by a factorisation. Everywhere else the equation is solved within the space, and where the residual is largest the next
few are factorised.
"""

from collections.abc import Callable

import numpy as np
from scipy import linalg, sparse

from hpcsim.solvers.factors import factorised
from hpcsim.solvers.petsc import SolverError

KRYLOV = (25, 50, 100, 200, 400)  # vectors after which the residuals are looked at
ROUND = 4  # frequencies solved at once, on as many ranks as there are: results do not depend on the ranks
LARGEST = 30000  # unknowns of a factorisation
SHIFT = 1e-14  # relative to the norm: keeps the factors of L itself finite
DEPENDENT = 1e-13  # a vector this close to a space, relative to its length, lies in it


class Resolvent:
    """(iω - L)^-1 x of one sector for real x.

    omega  : the frequencies ω; `frequencies` are their moduli, each once
    steady : components of the steady state where this is its sector: x and y are traceless then; else None
    """

    def __init__(self, comm, sector, omega: np.ndarray, tolerance: float, steady=None):
        self.comm, self.sector, self.omega, self.tolerance = comm, sector, omega, tolerance
        self.frequencies, self._place = np.unique(np.abs(omega), return_inverse=True)
        self.matrix = sector.rows(0, sector.size)
        self.norm = float(abs(self.matrix).sum(axis=1).max())
        self.steady = steady
        self.trace = None if steady is None else sector.trace(0, sector.size)
        if steady is not None:
            self.trace = self.trace / (self.trace @ steady)

    def traceless(self, y: np.ndarray) -> np.ndarray:
        return y if self.steady is None else y - self.steady * (self.trace @ y)

    def solved(self, omega: float, x: np.ndarray) -> np.ndarray:
        """y (size,), by a factorisation and two refinements."""
        one, y, rest = sparse.identity(self.sector.size, format="csc"), 0, x.astype(complex)
        try:
            factors = factorised((1j * omega + SHIFT * self.norm) * one - self.matrix)
        except RuntimeError:
            raise SolverError(f"iω is an eigenvalue of L in the {self.sector}, ω = {omega:g}: no spectrum") from None
        for _ in range(3):
            y = self.traceless(y + factors.solve(rest))
            rest = x - 1j * omega * y + self.matrix @ y
        return y

    def spectra(self, x: np.ndarray, seen: np.ndarray, sign: int = 1) -> tuple[np.ndarray, float]:
        """seen·(iω - L)^-1 x at all sign ω, (functions, omega) complex, and the largest |(iω - L)y - x| / |x|.

        x : (size,) real, the same on all ranks;  seen : (functions, size) complex. Collective.
        """
        both, rest = self.responses(x, np.vstack([seen, seen.conj()]))
        above, below = both[: len(seen), self._place], both[len(seen) :, self._place].conj()
        return np.where(sign * self.omega >= 0, above, below), rest

    def responses(self, x: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, float]:
        """As `spectra`, at the moduli of the frequencies: (functions, frequencies)."""
        space = _Space(self.matrix, self.traceless(x), self.traceless)
        for count in KRYLOV:
            closed = space.extend(count)
            inside, rest = space.solved(self.frequencies)
            if closed or rest.max() <= self.tolerance:
                break
        values, exact = (seen @ space.vectors) @ inside, np.zeros(len(rest), bool)
        while not closed and len(chosen := self._next(rest, exact)):
            for i, y in zip(chosen, self._factorised(chosen, space.x)):
                values[:, i], rest[i], exact[i] = seen @ y, space.residual(self.frequencies[i], y), True
                space.add(y.real, y.imag)
            if not np.all(exact):
                inside, rest[~exact] = space.solved(self.frequencies[~exact])
                values[:, ~exact] = (seen @ space.vectors) @ inside
        return values, self._accepted(float(rest.max()), space)

    def _factorised(self, chosen: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
        """The y of these frequencies, of which every rank solves some."""
        if self.sector.size > LARGEST:
            raise SolverError(
                f"the spectrum in the {self.sector} did not reach the tolerance {self.tolerance:g} with {KRYLOV[-1]} "
                f"products with L, and {self.sector.size} unknowns are too many for a factorisation: raise "
                "method.tolerance, or take task: correlation"
            )
        found = [self.solved(self.frequencies[i], x) for i in chosen[self.comm.rank :: self.comm.size]]
        every = self.comm.allgather(found)
        return [every[place % self.comm.size][place // self.comm.size] for place in range(len(chosen))]

    def _next(self, rest: np.ndarray, exact: np.ndarray) -> np.ndarray:
        """The frequency of the largest residual in each of ROUND parts of the axis, where it is too large."""
        parts = np.array_split(np.arange(len(rest)), min(ROUND, len(rest)))
        worst = [int(part[np.argmax(np.where(exact[part], -1.0, rest[part]))]) for part in parts]
        return np.array([i for i in worst if not exact[i] and rest[i] > self.tolerance], int)

    def _accepted(self, rest: float, space: "_Space") -> float:
        rounding = 1e3 * SHIFT * self.norm * space.largest
        if not rest <= max(self.tolerance, rounding):
            raise SolverError(f"the spectrum in the {self.sector} is not accurate: its residual is {rest:.1e}")
        return rest


class _Space:
    """A real space with an orthonormal basis, to solve (iω - L) y = x in: first of x, Lx, L²x, ...

    largest : |y| / |x| of all solutions so far
    """

    def __init__(self, matrix: sparse.csr_matrix, x: np.ndarray, traceless: Callable):
        self._traceless = traceless
        self.x, self.largest, self._matrix, self._size = x, 0.0, matrix, float(np.linalg.norm(x))
        self._count, self._kept = 0, np.zeros((2, KRYLOV[0], len(x)))  # vectors and L times these, with room for more
        self.add(x)

    @property
    def vectors(self) -> np.ndarray:
        """(size, count)."""
        return self._kept[0, : self._count].T

    @property
    def _images(self) -> np.ndarray:
        return self._kept[1, : self._count].T

    def add(self, *vectors: np.ndarray) -> bool:
        """Whether any of them was not in the space already."""
        before = self._count
        for vector in vectors:
            size = np.linalg.norm(vector)
            for _ in range(2):  # what is left may be small, and its trace then is not
                vector = self._traceless(vector)
                vector = vector - self.vectors @ (self.vectors.T @ vector)
                if (left := np.linalg.norm(vector)) <= DEPENDENT * size:
                    break
                vector, size = vector / left, 1.0
            else:
                self._append(vector)
        return self._count > before

    def _append(self, vector: np.ndarray) -> None:
        if self._count == self._kept.shape[1]:
            self._kept = np.concatenate([self._kept, np.zeros_like(self._kept)], axis=1)
        self._kept[0, self._count], self._kept[1, self._count] = vector, self._matrix @ vector
        self._count += 1

    def extend(self, count: int) -> bool:
        """Add images of the last vector up to a number of vectors. Whether the space is closed under L."""
        while self._count < count:
            if not self.add(self._images[:, -1]):
                return True
        return False

    def residual(self, omega: float, y: np.ndarray) -> float:
        """|(iω - L) y - x| / |x|."""
        self.largest = max(self.largest, float(np.linalg.norm(y)) / self._size)
        return float(np.linalg.norm(self.x - 1j * omega * y + self._matrix @ y)) / self._size

    def solved(self, frequencies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coefficients of y by Galerkin's condition, (count, frequencies), and the residuals |(iω - L)y - x| / |x|.

        With VᵀLV = QUQ†, U triangular. The residual is what L takes out of the space, for x is in it.
        """
        small = self.vectors.T @ self._images
        triangle, unitary = linalg.schur(small, output="complex")
        z = unitary.conj().T @ np.outer(self.vectors.T @ self.x, np.ones(len(frequencies)))
        for k in reversed(range(len(z))):
            z[k] = (z[k] + triangle[k, k + 1 :] @ z[k + 1 :]) / (1j * frequencies - triangle[k, k])
        y = unitary @ z
        outside = self._images - self.vectors @ small
        moved = np.linalg.norm(outside, axis=0)
        kept = moved > DEPENDENT * np.linalg.norm(self._images, axis=0)
        factor = np.linalg.qr(outside[:, kept], mode="r")
        self.largest = max(self.largest, float(np.linalg.norm(y, axis=0).max()) / self._size)
        return y, np.linalg.norm(factor @ y[kept], axis=0) / self._size
