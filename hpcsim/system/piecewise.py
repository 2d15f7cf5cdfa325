"""Functions of time as polynomials between breaks: fitted to a tolerance, and evaluated in compiled code.

Within piece i every function has the value Σ_j coefficients[i, j] x^j with x from -1 at breaks[i] to 1 at breaks[i+1].
Where a function jumps there is a break, and both pieces have their own value.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from hpcsim.compiled import njit

DEGREE = 8
TESTS = np.array([-0.93, -0.41, 0.17, 0.62, 0.97])  # of a piece: none is a node
MOST_PIECES = 100_000
SAMPLES = 17  # of a piece, for its largest and smallest values
SHORTEST = 1e-13  # piece, relative to all: here a jump stays that no edge was given for


class Curve(NamedTuple):
    """breaks (pieces + 1,), coefficients (pieces, DEGREE + 1, functions), area (pieces + 1, functions): the integrals
    from breaks[0] on."""

    breaks: np.ndarray
    coefficients: np.ndarray
    area: np.ndarray


def still(functions: int = 0) -> Curve:
    """A curve without pieces: of what does not depend on time."""
    return Curve(np.zeros(1), np.zeros((0, DEGREE + 1, functions)), np.zeros((1, functions)))


def fit(function: Callable, edges: np.ndarray, end: float, tolerance, most: int = MOST_PIECES) -> Curve:
    """The curve of function: times (n,) -> (n, functions), between 0 and `end`.

    edges     : times at which it may jump or bend
    tolerance : of each function, relative to its largest absolute value; a number, or (n,)
    Pieces are halved until the polynomials through their Chebyshev nodes meet the function between these. Raises
    ValueError where this takes more than `most` pieces.
    """
    nodes = chebyshev.chebpts1(DEGREE + 1)
    to_powers = np.linalg.inv(np.vander(nodes, increasing=True))
    places, tests = np.concatenate([nodes, TESTS]), np.vander(TESTS, DEGREE + 1, increasing=True)
    breaks = np.unique(np.concatenate([[0.0, end], edges]))
    left, right, scale, starts, found = breaks[:-1], breaks[1:], 0.0, [], []
    while len(left):
        if len(left) + sum(map(len, starts)) > most:
            raise ValueError(f"changes too fast: more than {most} pieces of polynomials are needed up to t = {end:g}")
        times = (left + right)[:, None] / 2 + (right - left)[:, None] / 2 * places
        values = function(times.ravel()).reshape(*times.shape, -1)
        scale = np.maximum(scale, np.abs(values).max(axis=(0, 1)))
        powers = np.einsum("jn,pnf->pjf", to_powers, values[:, : len(nodes)])
        error = np.abs(np.einsum("nj,pjf->pnf", tests, powers) - values[:, len(nodes) :])
        good = np.all(error <= tolerance * scale, axis=(1, 2)) | (right - left <= SHORTEST * end)
        starts.append(left[good])
        found.append(powers[good])
        middle = (left + right)[~good] / 2
        left, right = np.concatenate([left[~good], middle]), np.concatenate([middle, right[~good]])
    order = np.argsort(np.concatenate(starts))
    breaks, coefficients = np.append(np.concatenate(starts)[order], end), np.concatenate(found)[order]
    weights = (1 - (-1.0) ** np.arange(1, DEGREE + 2)) / np.arange(1, DEGREE + 2)
    areas = np.einsum("j,pjf->pf", weights, coefficients) * np.diff(breaks)[:, None] / 2
    return Curve(breaks, coefficients, np.concatenate([np.zeros((1, areas.shape[1])), np.cumsum(areas, axis=0)]))


def sampled(curve: Curve) -> np.ndarray:
    """(pieces, SAMPLES) times: both ends of each piece, its last number instead of the end, and between."""
    left, right = curve.breaks[:-1, None], curve.breaks[1:, None]
    times = left + (right - left) * np.linspace(0, 1, SAMPLES)
    times[:, -1] = np.nextafter(right[:, 0], left[:, 0])
    return times


def values(curve: Curve, times: np.ndarray) -> np.ndarray:
    """The functions at times (n,), the later ones at a break: (n, functions)."""
    piece = np.clip(np.searchsorted(curve.breaks, times, side="right") - 1, 0, len(curve.coefficients) - 1)
    left, right = curve.breaks[piece], curve.breaks[piece + 1]
    x, total = (2 * times - left - right) / (right - left), np.zeros((len(times), curve.coefficients.shape[2]))
    for j in range(DEGREE, -1, -1):
        total = total * x[:, None] + curve.coefficients[piece, j]
    return total


@njit
def piece_at(curve, t):
    """The piece in which t lies, the later one at a break; beyond the ends the first or the last."""
    return min(max(np.searchsorted(curve.breaks, t, side="right") - 1, 0), len(curve.coefficients) - 1)


@njit
def onward(curve, piece, t):
    """The piece in which t lies, this one or a later one; the earlier one at a break."""
    while piece + 1 < len(curve.coefficients) and t > curve.breaks[piece + 1]:
        piece += 1
    return piece


@njit
def value(curve, piece, t, out):
    """The functions at t in this piece: out (functions,)."""
    left, right = curve.breaks[piece], curve.breaks[piece + 1]
    x = (2 * t - left - right) / (right - left)
    for f in range(len(out)):
        total = 0.0
        for j in range(DEGREE, -1, -1):
            total = total * x + curve.coefficients[piece, j, f]
        out[f] = total


@njit
def expanded(curve, piece, t, scale, out):
    """out[j, f] of the functions Σ_j out[j, f] y^j at t + y scale in this piece: (DEGREE + 1, functions)."""
    left, right = curve.breaks[piece], curve.breaks[piece + 1]
    x, change = (2 * t - left - right) / (right - left), 2 * scale / (right - left)
    for f in range(out.shape[1]):
        for j in range(DEGREE + 1):
            out[j, f] = curve.coefficients[piece, j, f]
        for first in range(DEGREE):  # Taylor shift by repeated synthetic division
            for j in range(DEGREE - 1, first - 1, -1):
                out[j, f] += x * out[j + 1, f]
        power = 1.0
        for j in range(DEGREE + 1):
            out[j, f] *= power
            power *= change


@njit
def integral(curve, t, out):
    """∫ of the functions from the first break to t: (functions,)."""
    piece = piece_at(curve, t)
    left, right = curve.breaks[piece], curve.breaks[piece + 1]
    x = (2 * t - left - right) / (right - left)
    for f in range(len(out)):
        there = here = 0.0
        for j in range(DEGREE, -1, -1):
            c = curve.coefficients[piece, j, f] / (j + 1)
            here = here * x + c
            there = there * -1.0 + c
        out[f] = curve.area[piece, f] + (here * x + there) * (right - left) / 2
