"""Bounds on the decay of whatever was not found, shown without a factorisation.

In any inner product ⟨A, B⟩ no eigenvalue of L has a real part above the largest Re⟨B, LB⟩/⟨B, B⟩, the
logarithmic norm. With ⟨A, B⟩ = Tr A† σ^(-1/2) B σ^(-1/2), σ the steady state (KMS, of ρ and not of
observables), L contracts: its norm is 0 in the sector of σ, and negative in others, the more so the larger k
is. A dimer with gain = loss = g has -0.021 k at S = 13, and its gap is 0.050: k = 3 and all above are excluded.

Where eigenvectors of L have been found, the same is asked of what L does orthogonally to all of them: its
eigenvalues there are the ones not found. L is nearly normal in this inner product, so the norm falls below the
gap after a few. With weak damping it does not matter how fast the others oscillate: H drops out of the norm
as far as σ commutes with it.

σ need not be exact: every positive σ gives a bound, and only its value changes.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import linalg

from hpcsim import solvers
from hpcsim.compiled import njit
from hpcsim.methods.liouvillian.operators import Operators
from hpcsim.methods.liouvillian.sectors import Scaled, Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.system import gauge_symmetries, transposition

# of the eigenvalues of σ, relative to the largest: a higher one loosens the bound, a lower one loses digits
FLOOR = 1e-10
ROUNDING = 1e-15  # of a product with L, relative to its norm, before the condition of σ has its effect
ACCURATE = 0.01  # rounding accepted, relative to the rate to be shown


class Weights(NamedTuple):
    """Powers of σ in blocks of equal charge, in a basis where they are real if they can be.

    operators : with the symmetries alone that keep every |m⟩⟨n| to itself where k > 0
    gauge : (D,) ρ_mn -> gauge*_m ρ_mn gauge_n; by a transposition it makes σ real, and all ρ of k > 0
    places : (blocks + 1,) where each block begins in the powers, which hold one after the other
    powers : exponent -> σ^exponent
    condition : of σ
    """

    operators: Operators
    gauge: np.ndarray
    places: np.ndarray
    powers: dict[float, np.ndarray]
    condition: float


def weights(comm, operators: Operators, petsc_options: dict) -> Weights:
    """From the steady state. Collective; raises RuntimeError where that is not unique."""
    system, home = operators.symmetries.system, Sector(operators, HOME)
    local, _ = solvers.steady_state(comm, home, petsc_options)
    elements = home.elements(np.concatenate(comm.allgather(local)))
    gauge, real = np.ones(len(operators.order)), transposition(system)
    if real:
        gauge = np.where(real.on_basis(system.levels)[1][operators.order] < 0, 1j, 1)
    places, found = home.layout.pairs, []
    for first, last, start, stop in zip(operators.first, operators.first[1:], places, places[1:]):
        block = elements[start:stop].reshape(last - first, last - first)
        block = gauge[first:last, None].conj() * block * gauge[first:last]
        found.append(linalg.eigh(block.real if real else block))
    largest = max(values.max() for values, _ in found)
    found = [(np.maximum(values, 0) / largest + FLOOR, vectors) for values, vectors in found]

    def power(exponent):
        return np.concatenate([(vectors * values**exponent @ vectors.conj().T).ravel() for values, vectors in found])

    return Weights(
        operators.with_symmetries(Symmetries(replace(system, symmetries=gauge_symmetries(system)))),
        gauge,
        places,
        {exponent: power(exponent) for exponent in (0.25, -0.25, 0.5, -0.5)},
        1 / min(values.min() for values, _ in found),
    )


@njit(cache=True)
def _multiply(first, places, factor, pairs, k, x, result):
    """Each block of x, of the |m><n| with n in block b and m in block b + k, times the factor on both sides."""
    for b in range(len(pairs) - 1):
        rows, columns = first[b + k + 1] - first[b + k], first[b + 1] - first[b]
        left = factor[places[b + k] : places[b + k + 1]].reshape(rows, rows)
        right = factor[places[b] : places[b + 1]].reshape(columns, columns)
        block = x[pairs[b] : pairs[b + 1]].reshape(rows, columns)
        np.dot(np.dot(left, block), right, result[pairs[b] : pairs[b + 1]].reshape(rows, columns))


class Contraction:
    """L of a sector, and the inner product ⟨x, y⟩ = x·Wy, W: B -> σ^(-1/2) B σ^(-1/2), on unknowns that are
    orthonormal where W = 1. Serves `solvers.Rest` as a metric.

    rounding : of products with L, as an error of the real parts of eigenvalues
    """

    def __init__(self, weights: Weights, sector: Sector):
        scaled = Scaled(sector)
        self.size, self.scale, self.weights, self.layout = sector.size, scaled.scale, weights, sector.layout
        self._lay_out(sector)
        self.matrix = scaled.rows(0, self.size)
        self.transposed = self.matrix.T.tocsr()
        self.norm = abs(self.matrix).sum(1).max()

    def _lay_out(self, sector: Sector):
        """The elements of a ρ: ρ[pair] = Σ_j factors[j][pair] y[unknowns[j][pair]], and y from those it begins with.

        They are real up to one phase where the symmetries make them so.
        """
        layout, gauge = sector.layout, self.weights.gauge
        twin = np.zeros(self.size, bool)
        twin[1:] = (sector.m[1:] == sector.m[:-1]) & (sector.n[1:] == sector.n[:-1])
        m, n = _states_of_pairs(layout)
        around = gauge[m].conj() * gauge[n]
        first = np.maximum(sector.orbits.unknown, 0)
        self.unknowns, self.factors = [first], [around * sector.elements(~twin / self.scale)]
        if np.any(twin):
            self.unknowns.append(np.minimum(first + 1, self.size - 1))
            self.factors.append(around * sector.elements(twin / self.scale))
        self.pairs = _pairs_of(layout, sector.m, sector.n)
        self.readers = (around[self.pairs] * sector.phase).conj() * self.scale
        self.alone = len(m) == self.size and np.array_equal(first, np.arange(self.size))
        self.kind = complex
        for unit in (1, 1j):
            if all(abs((factor * unit).imag).max() < 1e-12 for factor in self.factors):
                self.factors = [(factor * unit).real.copy() for factor in self.factors]
                self.readers, self.kind = (self.readers / unit).real.copy(), float
                break

    def power(self, exponent: float, y: np.ndarray) -> np.ndarray:
        """σ^exponent B σ^exponent."""
        factor, layout = self.weights.powers[exponent], self.layout
        if self.alone:
            rho = self.factors[0] * y
        else:
            rho = sum(f * y[u] for f, u in zip(self.factors, self.unknowns))

        def both_sides(elements):
            result = np.empty_like(elements)
            _multiply(layout.first, self.weights.places, factor, layout.pairs, layout.k, elements, result)
            return result

        if factor.dtype == complex:
            rho = both_sides(rho.astype(complex, copy=False))
        elif self.kind is float:
            rho = both_sides(rho)
        else:
            rho = both_sides(rho.real.copy()) + 1j * both_sides(rho.imag.copy())
        return (self.readers * (rho if self.alone else rho[self.pairs])).real


@njit(cache=True)
def _states_of_pairs(layout):
    """m and n of every |m><n| of the sector."""
    ms, ns = np.empty(layout.pairs[-1], np.int32), np.empty(layout.pairs[-1], np.int32)
    at, first, k = 0, layout.first, layout.k
    for b in range(len(layout.pairs) - 1):
        for m in range(first[b + k], first[b + k + 1]):
            for n in range(first[b], first[b + 1]):
                ms[at], ns[at] = m, n
                at += 1
    return ms, ns


def _pairs_of(layout, m, n):
    """The number of each |m><n|."""
    b = layout.block[n]
    width = layout.first[b + 1] - layout.first[b]
    return layout.pairs[b] + (m - layout.first[b + layout.k]) * width + n - layout.first[b]


class Quick:
    """The inner product W itself, of x and the dual vectors Wx."""

    def __init__(self, contraction: Contraction):
        self.size, self.of = contraction.size, contraction
        self.rounding = ROUNDING * contraction.norm * contraction.weights.condition

    def enter(self, y):
        return y

    def start(self, isotropic):
        return self.of.power(0.25, isotropic)

    def dual(self, x):
        return self.of.power(-0.5, x)

    def product(self, x):
        return self.of.matrix @ x

    def adjoint(self, z):
        return self.of.power(0.5, self.of.transposed @ z)


class Precise:
    """W^(1/2) L W^(-1/2) in the Euclidean inner product: twice the work, the square root of the rounding's growth."""

    def __init__(self, contraction: Contraction):
        self.size, self.of = contraction.size, contraction
        self.rounding = ROUNDING * contraction.norm * np.sqrt(contraction.weights.condition)

    def enter(self, y):
        return self.of.power(-0.25, y)

    def start(self, isotropic):
        return isotropic

    def dual(self, x):
        return x

    def product(self, x):
        return self.of.power(-0.25, self.of.matrix @ self.of.power(0.25, x))

    def adjoint(self, z):
        return self.of.power(0.25, self.of.transposed @ self.of.power(-0.25, z))

    @property
    def matrix(self):
        return self.of.matrix

    def evolved(self, f, x):
        return self.of.power(-0.25, f(self.of.matrix, self.of.power(0.25, x)))

    def evolved_back(self, f, z):
        return self.of.power(0.25, f(self.of.transposed, self.of.power(-0.25, z)))


def work(sector: Sector) -> float:
    """Floating-point operations of a recursion of a few hundred steps, about: its matrix products."""
    width = np.diff(sector.layout.first).astype(float)
    rows, columns = width[sector.layout.k :], width[: len(width) - sector.layout.k]
    return 5000 * float(np.sum(rows * columns * (rows + columns)))


def beside(weights: Weights, sector: Sector, found: np.ndarray, enough: float) -> solvers.Rest:
    """What decays outside of an invariant space, in a metric precise enough for rates around `enough`.

    found : (size, d) real basis of that space, in the sector's unknowns
    """
    contraction = Contraction(weights, sector)
    quick = Quick(contraction)
    metric = quick if quick.rounding < ACCURATE * enough else Precise(contraction)
    return solvers.Rest(metric, contraction.scale[:, None] * found)


def in_time(rest: solvers.Rest, found: np.ndarray) -> solvers.Rest:
    """What `beside` gave for the space, in the metric that `decay_in_time` needs."""
    contraction = rest.metric.of
    return solvers.Rest(Precise(contraction), contraction.scale[:, None] * found, rest.leak)


def decay(weights: Weights, k: int, enough: float) -> float:
    """A rate, at least `enough`, that all ρ of k > 0 decay with; NaN where there is none to be shown."""
    sector = Sector(weights.operators, Name(k))
    return beside(weights, sector, np.zeros((sector.size, 0)), enough).decay(enough) or np.nan
