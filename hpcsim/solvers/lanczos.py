"""Lanczos's recursion from a random vector, and what its coefficients prove of the largest eigenvalue."""

import itertools

import numpy as np
from scipy import linalg

CHANCE = 1e-5  # the random start has less of the decisive vector than this part of its expected share
ENDED = 1e-13  # an element beside the diagonal, relative to |s|, below which the recursion has ended
STEPS = 20  # for a bound that need not be close
CLOSER = 1.03  # ratio of one value to the last that is tried for it


def columns(act, dual, x: np.ndarray, s: float):
    """Yield Lanczos's matrix column by column: an element of the diagonal, and the one below it.

    act  : (x, Wx) -> Cx, C symmetric in the inner product ⟨x, y⟩ = x·Wy
    dual : x -> Wx
    x    : where it starts
    s    : the eigenvalue that is asked about, as a scale
    """
    z = dual(x)
    norm, before, previous = np.sqrt(x @ z), np.zeros_like(x), 0.0
    while norm > ENDED * abs(s):
        x, z = x / norm, z / norm
        y = act(x, z)
        diagonal = y @ z
        y -= diagonal * x
        y -= previous * before
        before, x = x, y
        z = dual(x)
        norm = previous = np.sqrt(max(x @ z, 0))
        yield diagonal, norm


def proof(columns, s: float, size: int) -> list | None:
    """Those of the columns that show that μ < s, μ the largest eigenvalue of C; None where they do not.

    After m steps from a unit vector x, a polynomial p_m of the coefficients, |p_m(C)x| = β_1 ... β_m, and x has a part
    w·x along the eigenvector w of μ, so that |p_m(μ)| |w·x| <= β_1 ... β_m. Beyond its zeros, the Ritz values, p_m
    grows; so μ < s once all of them are below s and p_m(s) |w·x| > β_1 ... β_m. For a random x, |w·x| is above
    CHANCE/sqrt(size) with probability 1 - CHANCE. Rounding errors of the recursion do not spoil this: each adds its own
    small part along w, and w's part obeys the same recursion.
    """
    seen, needed = [], np.log(np.sqrt(size) / CHANCE)
    columns, again = itertools.tee(columns)
    for column, growth in zip(columns, _growth(again, s)):
        seen.append(column)
        if growth > needed:
            return seen
    return None


def refuted(columns, s: float) -> bool:
    """Whether the columns have a Ritz value above s."""
    return any(growth == -np.inf for growth in _growth(columns, s))


def _growth(columns, s: float):
    """log p_m(s) / (β_1 ... β_m) after each m; -inf once p_m has a zero above s; inf where the recursion has ended."""
    pivot, before, growth = np.inf, 0.0, 0.0
    for a, b in columns:
        pivot, before = s - a - before**2 / pivot, b
        if not pivot > 0:
            yield -np.inf
            return
        growth += np.log(pivot / b) if b > ENDED * abs(s) else np.inf
        yield growth


def bound(matrix_vector, size: int, most: float) -> float:
    """A number not below the largest eigenvalue of a symmetric matrix, and not far above it.

    most : such a number, if far above it perhaps
    """
    x = np.random.default_rng(size).standard_normal(size)
    found = list(itertools.islice(columns(lambda x, z: matrix_vector(x), lambda x: x, x, most), STEPS))
    if not found:
        return most
    diagonal, beside = np.array(found).T
    s = linalg.eigvalsh_tridiagonal(diagonal, beside[:-1])[-1]
    while s < most and not proof(found, s, size):
        s += (CLOSER - 1) * max(abs(s), most / 10)
    return min(s, most)
