"""Between the points of a curve: where it has an extremum, and where it changes its sign."""

import numpy as np


def extremum(x, y, sign: int) -> tuple[float, float]:
    """x and y of the largest sign * y, on the parabola through the largest point and its two neighbours.

    The point itself where it is the first or the last, or where the three are on a line.
    """
    i = int(np.argmax(sign * y))
    if not 0 < i < len(x) - 1:
        return x[i], y[i]
    near = slice(i - 1, i + 2)
    a, b, c = np.polyfit(x[near] - x[i], y[near], 2)
    return (x[i] - b / (2 * a), c - b**2 / (4 * a)) if a else (x[i], y[i])


def crossings(x, y) -> np.ndarray:
    """Every x where y changes its sign, in rising order.

    Each is the root, between its two points, of the cubic through these and their outer neighbours; on the line
    between the two where the cubic has no root there. Where points between are zero it is the first of them.
    """
    points = np.flatnonzero(y)
    changes = [(i, j) for i, j in zip(points, points[1:]) if y[i] * y[j] < 0]
    return np.array([_root(x, y, i) if j == i + 1 else x[i + 1] for i, j in changes])


def _root(x, y, i: int) -> float:
    near = slice(max(i - 1, 0), i + 3)
    x0, width = x[i], x[i + 1] - x[i]
    roots = np.roots(np.polyfit(x[near] - x0, y[near], len(x[near]) - 1))
    roots = roots.real[abs(roots.imag) < 1e-9 * width]
    inside = roots[(roots >= 0) & (roots <= width)]
    return x0 + (inside[0] if len(inside) else y[i] / (y[i] - y[i + 1]) * width)
