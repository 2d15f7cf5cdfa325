"""Estimates from one curve, (x, y, error, ...) -> Estimate."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpcsim.analysis.interpolation import crossings, extremum

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """A number from a curve, its standard error (or the resolution it was found with), a remark,
    and for a fit the fitted y(x)."""

    value: float
    error: float = 0.0
    note: str = ""
    line: Callable = None


def _weighted_fit(columns, y, error):
    """Least squares y ≈ columns @ c: (c, standard errors).

    Where the points have errors, these weigh the points and give the covariance, which is enlarged where the
    scatter exceeds it. Otherwise the errors come from the scatter about the fit. With as many points as columns
    there is no scatter, and only the errors of the data count.
    """
    weight = np.ones(len(y)) if error is None else 1 / error
    A, b = columns * weight[:, None], y * weight
    c, *_ = np.linalg.lstsq(A, b, rcond=None)
    spare = len(y) - A.shape[1]
    chi2 = float(np.sum((A @ c - b) ** 2)) / spare if spare else NAN
    scale = chi2 if error is None else np.fmax(chi2, 1.0)
    return c, np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * scale)


def _line(columns, y, error):
    """The first coefficient of a fit y ≈ columns @ c, its error with the choice of the range, and c.

    Where both halves of the points, which share the middle one, have a fit each, half the difference of the two
    coefficients is added in quadrature, as far as it exceeds two standard errors of theirs.
    """
    c, stderr = _weighted_fit(columns, y, error)
    size, spread = len(y) // 2 + 1, 0.0
    if size > columns.shape[1] + (error is None):
        ends = slice(None, size), slice(-size, None)
        halves = [_weighted_fit(columns[end], y[end], None if error is None else error[end]) for end in ends]
        (first, its), (last, other) = ((half[0], errors[0]) for half, errors in halves)
        spread = max((first - last) ** 2 - 4 * (its**2 + other**2), 0.0) / 4
    return c[0], float(np.hypot(stderr[0], np.sqrt(spread))), c


def _at_least(points, x, what):
    if len(x) < points:
        raise ValueError(f"{what} needs at least {points} points, not {len(x)}")


def power_law(x, y, error=None, correction=0.0, origin=0.0):
    """The exponent α of y = A |x - origin|^α, by least squares of ln y over ln |x - origin|, weights (y/error)².

    Half the difference between the exponents of both halves of the points is added to its error in quadrature.

    correction : ω > 0 fits y = A x^α exp(B x^-ω) instead, the leading correction to scaling
    """

    def columns(x):
        x = abs(x - origin)
        return np.column_stack([np.log(x), np.ones(len(x))] + ([x**-correction] if correction else []))

    _at_least(2 + bool(correction) + (error is None), x, "a power law")
    if np.any(y <= 0) or np.any(x == origin) or np.any(x <= 0) and origin == 0:
        raise ValueError("a power law needs positive x and y")
    exponent, stderr, c = _line(columns(x), np.log(y), None if error is None else error / y)
    return Estimate(exponent, stderr, f"{len(x)} points, {x.min():g} to {x.max():g}", lambda x: np.exp(columns(x) @ c))


def decay_rate(x, y, error=None, start=0.0):
    """The rate κ of y = A exp(-κ x), by least squares of ln y, weights (y/error)²; its error as that of `power_law`.

    start : the points from this x on that lie above three errors are taken, to the first that does not
    """
    good = np.ones(len(y), bool) if error is None else y > 3 * error
    last = np.cumprod(good | (x < start)).astype(bool) & (x >= start)
    x, y, error = x[last], y[last], None if error is None else error[last]
    _at_least(2 + (error is None), x, "an exponential")
    if np.any(y <= 0):
        raise ValueError("an exponential needs positive y")
    columns = np.column_stack([-x, np.ones(len(x))])
    rate, stderr, c = _line(columns, np.log(y), None if error is None else error / y)
    return Estimate(rate, stderr, f"{len(x)} points, {x.min():g} to {x.max():g}", lambda x: np.exp(c[1] - c[0] * x))


def logarithm(x, y, error=None):
    """The slope B of y = A + B ln x, by least squares; its error as that of `power_law`."""
    _at_least(2 + (error is None), x, "a logarithm")
    if np.any(x <= 0):
        raise ValueError("a logarithm needs positive x")

    def columns(x):
        return np.column_stack([np.log(x), np.ones(len(x))])

    slope, stderr, c = _line(columns(x), y, error)
    return Estimate(slope, stderr, f"{len(x)} points, {x.min():g} to {x.max():g}", lambda x: columns(x) @ c)


def steepening(x, y, error=None):
    """How the local exponent d ln y / d ln x changes between the two ends of the curve."""
    _at_least(3, x, "the change of an exponent")
    exponent = np.diff(np.log(y)) / np.diff(np.log(x))
    note = f"exponent {exponent[0]:.3f} at {x[0]:g}-{x[1]:g}, {exponent[-1]:.3f} at {x[-2]:g}-{x[-1]:g}"
    if error is None:
        return Estimate(exponent[-1] - exponent[0], 0.0, note)
    relative = np.hypot((error / y)[1:], (error / y)[:-1]) / np.abs(np.diff(np.log(x)))
    return Estimate(exponent[-1] - exponent[0], float(np.hypot(relative[0], relative[-1])), note)


def extrapolate(x, y, error=None, degree=1):
    """y at x → ∞, by least squares of y = y∞ + Σ_k B_k x^-k, k = 1...degree."""

    def columns(x):
        return np.asarray(x, float)[:, None] ** -np.arange(round(degree) + 1.0)

    _at_least(1 + round(degree) + (error is None), x, "an extrapolation")
    c, stderr = _weighted_fit(columns(x), y, error)
    return Estimate(c[0], stderr[0], f"{len(x)} points, {x.min():g} to {x.max():g}", lambda x: columns(x) @ c)


def value(x, y, error=None):
    """The only point of the curve."""
    if len(y) != 1:
        raise ValueError(f"a single value is needed, not a curve of {len(y)} points: select one")
    return Estimate(y[0], 0.0 if error is None else error[0])


def maximum(x, y, error=None):
    """The largest y."""
    i = int(np.argmax(y))
    return Estimate(y[i], 0.0 if error is None else error[i], f"of {len(y)} values")


def minimum(x, y, error=None):
    """The smallest y."""
    i = int(np.argmin(y))
    return Estimate(y[i], 0.0 if error is None else error[i], f"of {len(y)} values")


def minimum_at(x, y, error=None):
    """The x of the smallest y, as `extremum`; its error is the larger distance to a neighbouring point."""
    return _extremum_at(x, y, -1, "minimum")


def maximum_at(x, y, error=None):
    """The x of the largest y, in the same way."""
    return _extremum_at(x, y, 1, "maximum")


def _extremum_at(x, y, sign: int, what: str):
    i, (place, best) = int(np.argmax(sign * y)), extremum(x, y, sign)
    if not 0 < i < len(x) - 1:
        return Estimate(place, NAN, f"at the end of the curve: no {what} inside")
    return Estimate(place, float(np.max(np.abs(np.diff(x[i - 1 : i + 2])))), f"{what} {best:.3g}")


def steepest_at(x, y, error=None):
    """The x where y changes most between neighbours, halfway; its error is half their distance."""
    _at_least(2, x, "a jump")
    i = int(np.argmax(np.abs(np.diff(y) / np.diff(x))))
    return Estimate((x[i] + x[i + 1]) / 2, abs(x[i + 1] - x[i]) / 2, f"from {y[i]:.3g} to {y[i + 1]:.3g}")


def crossing(x, y, error=None, level=0.0):
    """The first x where y crosses a level, as `crossings`; its error is that of y over the slope between neighbours."""
    found = crossings(x, y - level)
    if not len(found):
        raise ValueError(f"no crossing of {level:g}: y is {y.min():.3g} to {y.max():.3g}")
    i = min(int(np.searchsorted(x, found[0], "right")), len(x) - 1) - 1
    slope = (y[i + 1] - y[i]) / (x[i + 1] - x[i])
    return Estimate(found[0], 0.0 if error is None else abs(error[i] / slope), f"y crosses {level:g}")


def asymmetry(x, y, error=None):
    """The largest distance of a sorted y from its mirror image: 0 if y -> 2 mean - y maps it to itself."""
    y = np.sort(y)
    return Estimate(float(np.max(np.abs(y + y[::-1] - 2 * y.mean()))), 0.0, f"{len(y)} values, mean {y.mean():.6g}")


def _deviations(x, y, error, theory, allowance):
    """|y - theory| / sqrt(error² + allowance²). Raises ValueError."""
    if error is None:
        raise ValueError("a comparison in standard errors needs data with standard errors")
    theory = np.broadcast_to(theory, y.shape)
    if np.any(np.isnan(theory)):
        raise ValueError(f"the theory does not hold at {x[np.isnan(theory)][0]:g}: select where it does")
    return np.abs(y - theory) / np.hypot(error, allowance)


def max_deviation(x, y, error=None, theory=NAN, allowance=0.0):
    """The largest |y - theory| in standard errors.

    allowance : systematic uncertainty, in units of y, added to the statistical one in quadrature: a
                theory for S → ∞, or a method with a finite time step, is never exact
    """
    deviation = _deviations(x, y, error, theory, allowance)
    i = int(np.argmax(deviation))
    return Estimate(deviation[i], 0.0, f"{len(x)} points, largest at {x[i]:g}")


def rms_deviation(x, y, error=None, theory=NAN, allowance=0.0):
    """The root mean square of |y - theory| in standard errors; allowance as in `max_deviation`."""
    deviation = _deviations(x, y, error, theory, allowance)
    return Estimate(float(np.sqrt(np.mean(deviation**2))), 0.0, f"{len(x)} points")


ESTIMATES = (
    power_law,
    decay_rate,
    logarithm,
    steepening,
    extrapolate,
    value,
    maximum,
    minimum,
    minimum_at,
    maximum_at,
    steepest_at,
    asymmetry,
    crossing,
    max_deviation,
    rms_deviation,
)
