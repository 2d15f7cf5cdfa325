"""From the records of a point to its results: one function for each `reduce` of an Output but `function`, and the
jackknife for that (see hpcsim.observables.reduced).

Each takes the output and rows(name) -> (records, *dims), what the records returned for a stored output, in the
order of their index, and gives the value (*dims) and its standard error, NaN where it has none.
"""

import math
from itertools import cycle

import numpy as np
from scipy.optimize import minimize_scalar


def missing(dtype):
    """NaN, in both parts of a complex number."""
    return complex(np.nan, np.nan) if np.dtype(dtype).kind == "c" else np.nan


def _single(output, rows):
    return rows(output.name)[0], np.nan


def _mean(output, rows):
    x = rows(output.name)
    return x.mean(0), x.std(0, ddof=1) / math.sqrt(len(x)) if len(x) > 1 else np.nan


def _variance(output, rows):
    return _jackknife(lambda second, mean: second - mean**2, *map(rows, output.sources))


def _norm(output, rows):
    return _jackknife(np.hypot, *map(rows, output.sources))


def _decay_length(output, rows):
    """Along the second dimension of the source, weighted by its errors over all records."""
    samples = np.moveaxis(rows(output.sources[0]), 2, -1)
    shape = samples.shape[1:]
    error = samples.std(0, ddof=1) / math.sqrt(len(samples)) if len(samples) > 1 else np.ones(shape)
    errors = error.reshape(-1, shape[-1])

    def lengths(c):
        found = [_fit_decay(*pair) for pair in zip(c.reshape(-1, shape[-1]), cycle(errors))]
        return np.array(found).reshape(c.shape[:-1])

    return _jackknife(lengths, samples)


def _fit_decay(c, error) -> float:
    """ξ of c(s) = A (μ^s + μ^(L-s)), μ = exp(-1/ξ), L = 2 (len(c) - 1), by weighted least squares from s = 1.

    Even and odd distances have each their own A: correlations may alternate, or vanish at every second.
    NaN where no decay is seen at three standard errors.
    """
    s, c, weight = np.arange(1, len(c)), c[1:], 1 / np.maximum(error[1:], 1e-300) ** 2
    length = 2 * len(c)

    def explained(log_xi):
        """Reduction of χ² by the best A, for each ξ."""
        decay = np.exp(-np.exp(-np.atleast_1d(log_xi))[:, None])
        basis = decay**s + decay ** (length - s)
        halves = (basis * (s % 2), basis * ((s + 1) % 2))
        return sum(((weight * c * half).sum(1)) ** 2 / np.maximum((weight * half**2).sum(1), 1e-300) for half in halves)

    grid = np.linspace(math.log(0.1), math.log(10 * length), 200)
    found = explained(grid)
    best = int(found.argmax())
    if not found[best] > 9 or best in (0, len(grid) - 1):
        return np.nan
    fine = minimize_scalar(
        lambda x: -explained(x)[0], bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-7}
    )
    return math.exp(fine.x)


def jackknife(function, samples):
    """function of the averages over n records, and sqrt((n-1)/n Σ_i (f_i - f̄)²), f_i without record i.

    function : call(*averages, errors=standard errors of the averages, a tuple), of arrays without the records' axis
    samples  : of every argument (records, ...)
    """
    n = len(samples[0])
    if n == 1:
        return function(*(x[0] for x in samples)), np.nan
    errors = tuple(x.std(0, ddof=1) / math.sqrt(n) for x in samples)
    value, totals = function(*(x.mean(0) for x in samples), errors=errors), [x.sum(0) for x in samples]
    left_out = np.array(
        [function(*((total - x[i]) / (n - 1) for total, x in zip(totals, samples)), errors=errors) for i in range(n)]
    )
    return value, np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))


def _jackknife(function, *samples):
    """As `jackknife`, of a function of arrays with the records' axis first."""
    n = len(samples[0])
    value = function(*(x.mean(0) for x in samples))
    if n == 1:
        return value, np.nan
    left_out = function(*((x.sum(0) - x) / (n - 1) for x in samples))
    return value, np.sqrt((n - 1) / n * ((left_out - left_out.mean(0)) ** 2).sum(0))


def _min(output, rows):
    return np.fmin.reduce(rows(output.name)), np.nan


def _at_min(output, rows):
    values, other = rows(output.name), rows(output.sources[0])
    other = other.reshape(other.shape + (1,) * (values.ndim - other.ndim))
    where = np.where(np.isnan(other), np.inf, other).argmin(0)[None]
    there = np.take_along_axis(values, where, 0)[0]
    return np.where(np.isnan(other).all(0), missing(values.dtype), there), np.nan


def _merged_eigenvalues(output, rows):
    key = rows(output.sources[0] if output.sources else output.name).real
    values = rows(output.name)
    kept = values.shape[-1]
    key, values = (np.concatenate(list(x), axis=-1) for x in (key, values))
    order = np.argsort(-key, axis=-1, kind="stable")[..., :kept]
    return np.take_along_axis(values, order, -1), np.nan


def _spacing(output, rows):
    """The largest of all elements of the last source minus the second-largest; NaN where there is one only."""
    largest = -np.sort(-rows(output.sources[-1]).ravel())  # NaN last
    return largest[0] - largest[1], np.nan


def _imbalance(output, rows):
    """Between the smallest of the first source and the spacing of the second."""
    return abs(np.fmin.reduce(rows(output.sources[0])) - _spacing(output, rows)[0]), np.nan


REDUCTIONS = {
    "single": _single,
    "mean": _mean,
    "variance": _variance,
    "norm": _norm,
    "decay_length": _decay_length,
    "min": _min,
    "at_min": _at_min,
    "merge": _merged_eigenvalues,
    "spacing": _spacing,
    "imbalance": _imbalance,
}
AVERAGED = ("mean", "function", "variance", "norm", "decay_length")  # with standard errors
