"""The eigenvalues that were not found, bounded by a Lanczos recursion on the symmetric part of L."""

import itertools

import numpy as np

STEPS = 4000  # of the recursion, at most
CHANCE = 1e-5  # the random start has less of the decisive vector than this part of its expected share
LEAK = 1e-2  # accepted movement of the found eigenvalues by the rest, relative to the rate to be shown
ENDED = 1e-13  # an element beside the diagonal, relative to |s|, below which the recursion has ended
SLOW, LOOK = (
    0.05,
    200,
)  # growth that counts, relative to the rate to be shown; steps after which it would have been seen
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

    With P the projection onto what is orthogonal to the found space, the other eigenvalues are those of PLP. Their
    real parts are not above the largest eigenvalue μ of C = P(L + adjoint)P/2.
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
        metric, basis = self.metric, self.basis
        wanted = enough * (BEYOND if basis.size else 1)
        if basis.size and not self.leak < LEAK * enough * (wanted - enough):
            return 0.0
        if basis.shape[1] >= metric.size:
            return np.inf
        recursion = self._recursion(-(wanted + metric.rounding))
        if recursion is None:
            return 0.0
        low, high = wanted + metric.rounding, 1.1 * (wanted + metric.rounding)
        while _shows(*recursion, -high, metric.size):  # ends where a Ritz value is
            low, high = high, 1.1 * high
        for _ in range(12):
            middle = (low + high) / 2
            low, high = (middle, high) if _shows(*recursion, -middle, metric.size) else (low, middle)
        return low - metric.rounding

    def grows(self, enough: float) -> bool:
        """Whether a vector beside the found space grows in the metric, as soon as some steps tell: then `decay` shows
        nothing, and would not beside a larger space as long as the vector is not in it.

        enough : a rate; growth slower than a small part of it is none
        """
        s, pivot, before = SLOW * enough, np.inf, 0.0
        for a, b in itertools.islice(self._lanczos(-enough), LOOK):
            pivot, before = s - a - before**2 / pivot, b
            if not pivot > 0:  # a Ritz value is above s
                return True
        return False

    def _recursion(self, s: float):
        """Diagonal and off-diagonal of Lanczos's matrix as soon as it shows that μ < s; None where it does not."""
        diagonal, beside = [], []
        pivot, excess, needed, previous = np.inf, 0.0, np.log(np.sqrt(self.metric.size) / CHANCE), 0.0
        for a, b in itertools.islice(self._lanczos(s), STEPS):
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

    def _lanczos(self, s: float):
        """Yield Lanczos's matrix column by column: an element of the diagonal, and the one below it."""
        metric, basis, dual = self.metric, self.basis, self.dual
        x = metric.start(np.random.default_rng(metric.size).standard_normal(metric.size))
        if basis.size:
            x -= basis @ (dual.T @ x)
        z = metric.dual(x)
        norm, before, previous = np.sqrt(x @ z), np.zeros_like(x), 0.0
        while norm > ENDED * abs(s):
            x, z = x / norm, z / norm
            y = metric.product(x)
            y += metric.adjoint(z)
            y /= 2
            if basis.size:  # the found space gets the eigenvalue 4s: with 0, what rounding leaves of it would grow
                y -= basis @ (dual.T @ (y - 4 * s * x))
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
