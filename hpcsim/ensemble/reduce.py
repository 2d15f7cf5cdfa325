"""From the records of a point to its results: one function for each `reduce` of an Output but `function`, and the
jackknife for that (see hpcsim.observables.reduced).

Each takes the output and rows(name) -> (records, *dims), what the records returned for a stored output, in the
order of their index, and gives the value (*dims) and its standard error, NaN where it has none.
"""

import math

import numpy as np


def missing(dtype):
    """NaN, in both parts of a complex number."""
    return complex(np.nan, np.nan) if np.dtype(dtype).kind == "c" else np.nan


def _single(output, rows):
    return rows(output.name)[0], np.nan


def _mean(output, rows):
    x = rows(output.name)
    return x.mean(0), x.std(0, ddof=1) / math.sqrt(len(x)) if len(x) > 1 else np.nan


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
    return _merged(key, rows(output.name)), np.nan


def _merged(key, values):
    kept = values.shape[-1]
    key, values = (np.concatenate(list(x), axis=-1) for x in (key, values))
    order = np.argsort(-key, axis=-1, kind="stable")[..., :kept]
    order = order.reshape((1,) * (values.ndim - order.ndim) + order.shape)
    return np.take_along_axis(values, order, -1)


def _reaches(output, rows):
    """No bound is needed below a rate of zero, and none is enough where no rate was found."""
    bound, rates = (rows(name) for name in output.sources)
    if np.iscomplexobj(rates):
        rates = -np.fmin.reduce(_merged(rates.real, rates.real), axis=-1)[None]
    rate, bound = np.fmin.reduce(rates), np.fmin.reduce(bound)
    rate = np.where(np.isnan(rate), np.inf, rate)
    return np.where(bound >= rate - TIE * abs(rate), 1.0, 0.0), np.nan


def _spacing(output, rows):
    """The largest of all elements of the last source minus the second-largest; NaN where there is one only."""
    largest = -np.sort(-rows(output.sources[-1]).ravel())  # NaN last
    return largest[0] - largest[1], np.nan


def _imbalance(output, rows):
    """Between the smallest of the first source and the spacing of the second."""
    return abs(np.fmin.reduce(rows(output.sources[0])) - _spacing(output, rows)[0]), np.nan


TIE = 1e-7  # rates this close, relative to themselves, are equal
REDUCTIONS = {
    "single": _single,
    "mean": _mean,
    "min": _min,
    "at_min": _at_min,
    "merge": _merged_eigenvalues,
    "reaches": _reaches,
    "spacing": _spacing,
    "imbalance": _imbalance,
}
AVERAGED = ("mean", "function")  # with standard errors
