"""The eigenvalues that were not found, bounded by a Lanczos recursion on the symmetric part of L."""

import itertools

import numpy as np

from hpcsim.solvers.series import Series

STEPS = 4000  # of the recursion, at most
CHANCE = 1e-5  # the random start has less of the decisive vector than this part of its expected share
LEAK = 1e-2  # accepted movement of the found eigenvalues by the rest, relative to the rate to be shown
ENDED = 1e-13  # an element beside the diagonal, relative to |s|, below which the recursion has ended
SLOW, LOOK = (
    0.05,
    200,
)  # growth that counts, relative to the rate to be shown; steps after which it would have been seen
REACHES = (4.0, 8.0)  # times, in units of 1/rate, after which what is not normal may have died out
TYPICAL = 8  # steps of the recursion with exp(TL)
BEYOND = 1.05  # what is shown beside found eigenvalues, relative to the rate asked for


class Rest:
    """What L does beside a space that was found, in a metric.

    found : (size, d) real basis of a space that L leaves invariant, as exactly as can be
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

    def __init__(self, metric, found: np.ndarray):
        self.metric = metric
        self.basis, self.dual, self.leak = _orthonormal(metric, found)

    def decay(self, enough: float) -> float:
        """A rate, at least `enough`, that all eigenvalues decay with but those of the found space; 0 if not shown.

        A recursion shows that μ < s = -enough: after m steps from a unit vector x, a polynomial p_m of the
        coefficients, |p_m(C)x| = β_1 ... β_m, and x has a part w·x along the eigenvector w of μ, so that
        |p_m(μ)| |w·x| <= β_1 ... β_m. Beyond its zeros, the Ritz values, p_m grows; so μ < s once all of them are below
        s and p_m(s) |w·x| > β_1 ... β_m. For a random x, |w·x| is above CHANCE/sqrt(size) with probability 1 - CHANCE.
        Rounding errors of the recursion do not spoil this: each adds its own small part along w, and w's part obeys
        the same recursion.

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
        for reach in REACHES:
            shown = self._decay_after(reach / enough, enough, most)
            if shown is None or shown:
                return shown or 0.0
        return 0.0

    def _decay_after(self, time: float, enough: float, most: float) -> float | None:
        """`decay_in_time` by one T; None where a longer one would not do either."""
        metric, wanted = self.metric, self._wanted(enough)
        series = Series(metric.matrix, time, wanted)
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
        recursion = self._recursion(act, level(wanted))
        if recursion is None:
            return 0.0
        low, high = wanted, 1.1 * wanted
        while _shows(*recursion, level(high), self.metric.size):  # ends where a Ritz value is
            low, high = high, 1.1 * high
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if _shows(*recursion, level(middle), self.metric.size) else (low, middle)
        return low

    def grows(self, enough: float) -> bool:
        """Whether a vector beside the found space grows in the metric, as soon as some steps tell: then `decay` shows
        nothing, and would not beside a larger space as long as the vector is not in it.

        enough : a rate; growth slower than a small part of it is none
        """
        s, pivot, before = SLOW * enough, np.inf, 0.0
        for a, b in itertools.islice(self._lanczos(self._symmetric, -enough), LOOK):
            pivot, before = s - a - before**2 / pivot, b
            if not pivot > 0:  # a Ritz value is above s
                return True
        return False

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

    def _recursion(self, act, s: float):
        """Diagonal and off-diagonal of Lanczos's matrix as soon as it shows that μ < s; None where it does not."""
        diagonal, beside = [], []
        pivot, excess, needed, previous = np.inf, 0.0, np.log(np.sqrt(self.metric.size) / CHANCE), 0.0
        for a, b in itertools.islice(self._lanczos(act, s), STEPS):
            diagonal.append(a)
            beside.append(b)
            pivot, previous = s - a - previous**2 / pivot, b
            if not pivot > 0:  # a Ritz value is not below s
                return None
            if b <= ENDED * abs(s):
                return diagonal, beside
            excess += np.log(pivot / b)
            if excess > needed:
                return diagonal, beside
        return None

    def _lanczos(self, act, s: float):
        """Yield Lanczos's matrix column by column: an element of the diagonal, and the one below it.

        act : (x, Wx) -> Cx, but for what of it is in the found space
        """
        metric, basis, dual = self.metric, self.basis, self.dual
        x = metric.start(np.random.default_rng(metric.size).standard_normal(metric.size))
        if basis.size:
            x -= basis @ (dual.T @ x)
        z = metric.dual(x)
        norm, before, previous = np.sqrt(x @ z), np.zeros_like(x), 0.0
        while norm > ENDED * abs(s):
            x, z = x / norm, z / norm
            y = act(x, z)
            if basis.size:  # the found space gets an eigenvalue below s: what rounding leaves of it must not grow
                y -= basis @ (dual.T @ (y - min(4 * s, 0.0) * x))
            diagonal = y @ z
            y -= diagonal * x
            y -= previous * before
            before, x = x, y
            z = metric.dual(x)
            norm = previous = np.sqrt(max(x @ z, 0))
            yield diagonal, norm


def _orthonormal(metric, found):
    """Basis Q of the found space and WQ, and |PLQ| |QLP| in the metric."""
    if not found.size:
        return found, found, 0.0
    basis = np.array([metric.enter(vector) for vector in np.linalg.qr(found)[0].T]).T
    for _ in range(2):
        dual = np.array([metric.dual(vector) for vector in basis.T]).T
        gram = basis.T @ dual
        values, rotation = np.linalg.eigh((gram + gram.T) / 2)
        rotation = rotation[:, values > 1e-14 * values[-1]]
        basis = basis @ rotation / np.sqrt(values[values > 1e-14 * values[-1]])
    dual = np.array([metric.dual(vector) for vector in basis.T]).T

    def outside(act, vectors):
        images = np.array([act(vector) for vector in vectors.T]).T
        images -= basis @ (dual.T @ images)
        return np.sqrt(max(sum(image @ metric.dual(image) for image in images.T), 0))

    return basis, dual, outside(metric.product, basis) * outside(metric.adjoint, dual)


def _shows(diagonal, beside, s: float, size: int) -> bool:
    """Whether the recursion's coefficients show that μ < s."""
    pivot, before, excess = np.inf, 0.0, 0.0
    for a, b in zip(diagonal, beside):
        pivot = s - a - before**2 / pivot
        if not pivot > 0:
            return False
        excess += np.log(pivot / max(b, 1e-300))
        before = b
    return excess > np.log(np.sqrt(size) / CHANCE)
