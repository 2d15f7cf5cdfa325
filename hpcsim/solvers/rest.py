"""The eigenvalues that were not found, bounded by a Lanczos recursion on the symmetric part of L."""

import numpy as np

STEPS = 4000  # of the recursion, at most
CHANCE = 1e-5  # the random start has less of the decisive vector than this part of its expected share
LEAK = 1e-2  # accepted movement of the found eigenvalues by the rest, relative to the rate to be shown
BEYOND = 1.05  # what is shown beside found eigenvalues, relative to the rate asked for


def decay_of_the_rest(metric, found: np.ndarray, enough: float) -> float:
    """A rate, at least `enough`, that all eigenvalues decay with but those of the space `found`; 0 if not shown.

    found : (size, d) real basis of a space that L leaves invariant, as exactly as can be
    metric : L in an inner product ⟨x, y⟩ = x·Wy; all real:
        size, rounding     of the vectors; error of the real parts of eigenvalues by rounding in the products
        enter(x)           x in the coordinates of the metric, in which all of the following is
        start(g)           W^(-1/2) g
        dual(x)            Wx
        product(x)         Lx
        adjoint(z)         W^-1 L†z, z = Wx: the adjoint of L on x

    With P the projection onto what is orthogonal to the found space, the other eigenvalues are those of PLP. Their
    real parts are not above the largest eigenvalue μ of C = P(L + adjoint)P/2. The recursion shows that
    μ < s = -enough: after m steps from a unit vector x, a polynomial p_m of the coefficients, |p_m(C)x| = β_1 ... β_m,
    and x has a part w·x along the eigenvector w of μ, so that |p_m(μ)| |w·x| <= β_1 ... β_m. Beyond its zeros, the
    Ritz values, p_m grows; so μ < s once all of them are below s and p_m(s) |w·x| > β_1 ... β_m. For a random
    x, |w·x| is above CHANCE/sqrt(size) with probability 1 - CHANCE. Rounding errors of the recursion do not spoil
    this: each adds its own small part along w, and w's part obeys the same recursion.

    That the found space is not exactly invariant moves its eigenvalues by |PLQ| |QLP|/(rate beyond enough).
    """
    basis, dual, leak = _orthonormal(metric, found)
    wanted = enough * (BEYOND if found.size else 1)
    if found.size and not leak < LEAK * enough * (wanted - enough):
        return 0.0
    if basis.shape[1] >= metric.size:
        return np.inf
    recursion = _recursion(metric, basis, dual, -(wanted + metric.rounding))
    if recursion is None:
        return 0.0
    low, high = wanted + metric.rounding, 1.1 * (wanted + metric.rounding)
    while _shows(*recursion, -high, metric.size):  # ends where a Ritz value is
        low, high = high, 1.1 * high
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _shows(*recursion, -middle, metric.size) else (low, middle)
    return low - metric.rounding


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


def _recursion(metric, basis, dual, s: float):
    """Diagonal and off-diagonal of Lanczos's matrix as soon as it shows that μ < s; None where it does not."""

    x = metric.start(np.random.default_rng(metric.size).standard_normal(metric.size))
    if basis.size:
        x -= basis @ (dual.T @ x)
    z = metric.dual(x)
    norm = np.sqrt(x @ z)
    before, diagonal, beside = np.zeros_like(x), [], []
    pivot, excess, needed, previous = np.inf, 0.0, np.log(np.sqrt(metric.size) / CHANCE), 0.0
    for _ in range(STEPS):
        x, z = x / norm, z / norm
        y = metric.product(x)
        y += metric.adjoint(z)
        y /= 2
        if basis.size:  # the found space gets the eigenvalue 4s: with 0, what rounding errors leave of it would grow
            y -= basis @ (dual.T @ (y - 4 * s * x))
        diagonal.append(y @ z)
        pivot = s - diagonal[-1] - previous**2 / pivot
        if not pivot > 0:  # a Ritz value is not below s
            return None
        y -= diagonal[-1] * x
        y -= previous * before
        before, x = x, y
        z = metric.dual(x)
        norm = previous = np.sqrt(max(x @ z, 0))
        beside.append(norm)
        if norm <= 1e-13 * abs(s):
            return diagonal, beside
        excess += np.log(pivot / norm)
        if excess > needed:
            return diagonal, beside
    return None


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
