"""The eigenvalues that were not found, bounded by a Lanczos recursion on the symmetric part of L."""

from itertools import islice

import numpy as np

from hpcsim.solvers import lanczos
from hpcsim.solvers.series import Extent, Series, extent

STEPS = 4000  # of the recursion, at most
LEAK = 1e-2  # accepted movement of the found eigenvalues by the rest, relative to the rate to be shown
SLOW = 0.05  # growth that counts, relative to the rate to be shown
LOOK = 200  # steps of the recursion after which it would have been seen
HALVINGS = 6  # of the interval that has the largest rate shown
REACHES = (4.0, 8.0)  # times, in units of 1/rate, after which what is not normal may have died out
TYPICAL = 8  # steps of the recursion with exp(TL)
BEYOND = 1.05  # what is shown beside found eigenvalues, relative to the rate asked for


class Rest:
    """What L does beside a space that was found, in a metric.

    found : (size, d) real basis of a space that L leaves invariant, as exactly as can be
    leak  : |PLQ| |QLP|, Q = 1 - P, if it is known: how exactly it does
    metric : L in an inner product ⟨x, y⟩ = x·Wy; all real:
        size, rounding     of the vectors; error of the real parts of eigenvalues by rounding in the products
        enter(x)           x in the coordinates of the metric, in which all of the following is
        start(g)           W^(-1/2) g
        dual(x)            Wx
        product(x)         Lx
        adjoint(z)         W^-1 L†z, z = Wx: the adjoint of L on x
        matrix             L in orthonormal unknowns, for the series of exp(TL)
        evolved(f, x), evolved_back(f, z)  the same as product and adjoint for f(L) in place of L

    With P the projection onto what is orthogonal to the found space, the other eigenvalues are those of PLP. Their
    real parts are not above the largest eigenvalue μ of C = P(L + adjoint)P/2, and their exp(T Re λ) not above the
    square root of that of C = P exp(TL)† exp(TL) P.
    """

    def __init__(self, metric, found: np.ndarray, leak: float | None = None):
        self.metric = metric
        self.basis, self.dual = _orthonormal(metric, found)
        self.leak = self._leak() if leak is None else leak

    def decay(self, enough: float) -> float:
        """A rate, at least `enough`, that all eigenvalues decay with but those of the found space; 0 if not shown.

        Lanczos's recursion shows that μ < -enough.

        That the found space is not exactly invariant moves its eigenvalues by |PLQ| |QLP|/(rate beyond enough).
        """
        metric, wanted = self.metric, self._wanted(enough)
        if self.basis.size and not self.leak < LEAK * enough * (wanted - enough):
            return 0.0
        return self._shown(self._symmetric, wanted, lambda rate: -(rate + metric.rounding))

    def decay_in_time(self, enough: float, most: float) -> float:
        """The same by the norm of exp(TL), in which what is not normal in L dies out with T; for any rate above 0.

        most : operations in products with L up to which a T is tried

        A found space that is not exactly invariant moves its eigenvalues by |QLP (λ - PLP)^-1 PLQ|, and the resolvent
        is the integral of exp(t (PLP - λ)), of norm exp(T enough) at most up to T and then smaller with each T; L
        contracts in the metric, or almost.
        """
        largest = extent(self.metric.matrix)
        for reach in REACHES:
            shown = self._decay_after(reach / enough, largest, enough, most)
            if shown is None or shown:
                return shown or 0.0
        return 0.0

    def _decay_after(self, time: float, largest: Extent, enough: float, most: float) -> float | None:
        """`decay_in_time` by one T; None where a longer one would not do either."""
        metric, wanted = self.metric, self._wanted(enough)
        series = Series(largest, time, wanted)
        if series.products * metric.matrix.nnz * 2 * TYPICAL > most:
            return None
        moved = self.leak * time * np.exp(time * enough) / -np.expm1((enough - wanted) * time) if self.basis.size else 0
        if moved > LEAK * enough:
            return None
        lost = time * (metric.rounding + time * self.leak)

        def level(rate):
            return max((1 - series.error) * np.exp(-rate * time) - lost, 0.0) ** 2

        return self._shown(lambda x, z: self._in_time(series, x), wanted, level)

    def _wanted(self, enough: float) -> float:
        return enough * (BEYOND if self.basis.size else 1)

    def _shown(self, act, wanted: float, level) -> float:
        """The largest rate, from the one wanted on, whose level is shown to be above all eigenvalues of C; or 0.

        act : (x, Wx) -> Cx, as `_lanczos` has it
        """
        if self.basis.shape[1] >= self.metric.size:
            return np.inf
        size, found = self.metric.size, islice(self._columns(act, level(wanted)), STEPS)
        found = lanczos.proof(found, level(wanted), size)
        if found is None:
            return 0.0
        low, high = wanted, 1.1 * wanted
        while lanczos.proof(found, level(high), size):  # ends where a Ritz value is
            low, high = high, 1.1 * high
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if lanczos.proof(found, level(middle), size) else (low, middle)
        return low

    def grows(self, enough: float) -> bool:
        """Whether a vector beside the found space grows in the metric, as soon as some steps tell: then `decay` shows
        nothing, and would not beside a larger space as long as the vector is not in it.

        enough : a rate; growth slower than a small part of it is none
        """
        return lanczos.refuted(islice(self._columns(self._symmetric, -enough), LOOK), SLOW * enough)

    def _leak(self) -> float:
        return self._outside(self.metric.product, self.basis) * self._outside(self.metric.adjoint, self.dual)

    def _outside(self, act, vectors) -> float:
        """Norm, in the metric, of what `act` takes out of the found space."""
        total = 0.0
        for vector in vectors.T:
            image = act(vector)
            image -= self.basis @ (self.dual.T @ image)
            total += image @ self.metric.dual(image)
        return np.sqrt(max(total, 0.0))

    def _symmetric(self, x, z):
        """(L + adjoint)x / 2."""
        y = self.metric.product(x)
        y += self.metric.adjoint(z)
        y /= 2
        return y

    def _in_time(self, f, x):
        """f(L)† P f(L) x."""
        y = self.metric.evolved(f, x)
        if self.basis.size:
            y -= self.basis @ (self.dual.T @ y)
        return self.metric.evolved_back(f, self.metric.dual(y))

    def _columns(self, act, s: float):
        """`lanczos.columns` beside the found space, which gets an eigenvalue below s.

        act : (x, Wx) -> Cx, but for what of it is in the found space
        """
        metric, basis, dual = self.metric, self.basis, self.dual
        x = metric.start(np.random.default_rng(metric.size).standard_normal(metric.size))
        if not basis.size:
            return lanczos.columns(act, metric.dual, x, s)

        def beside(x, z):
            y = act(x, z)
            y -= basis @ (dual.T @ (y - min(4 * s, 0.0) * x))  # what rounding leaves of the found space must not grow
            return y

        return lanczos.columns(beside, metric.dual, x - basis @ (dual.T @ x), s)


def _orthonormal(metric, found: np.ndarray):
    """Basis Q of the found space and WQ."""
    if not found.size:
        return found, found
    basis = np.array([metric.enter(vector) for vector in np.linalg.qr(found)[0].T]).T
    for _ in range(2):
        dual = np.array([metric.dual(vector) for vector in basis.T]).T
        gram = basis.T @ dual
        values, rotation = np.linalg.eigh((gram + gram.T) / 2)
        rotation = rotation[:, values > 1e-14 * values[-1]]
        basis = basis @ rotation / np.sqrt(values[values > 1e-14 * values[-1]])
    return basis, np.array([metric.dual(vector) for vector in basis.T]).T
