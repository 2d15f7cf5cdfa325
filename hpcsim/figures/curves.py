"""Curves out of a collected file, and theories with arguments taken from the same place."""

from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from hpcsim.analysis import ESTIMATES
from hpcsim.analysis.estimates import Estimate
from hpcsim.analysis.interpolation import crossings, extremum
from hpcsim.figures.section import Data
from hpcsim.figures.theories import Theory
from hpcsim.figures.words import number, word
from hpcsim.store import Collected, StoreError, asked, methods_of
from hpcsim.system import meant


@dataclass(frozen=True)
class Curve:
    """x, y, error : (n,) numbers, error None for numbers without; known: parameters and coordinates,
    each one value or (n,), in the order of x; variable: the name of y."""

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray | None
    known: dict
    variable: str


def curves(data: Collected, spec: Data) -> list[Curve]:
    """The curves of a panel or check. Raises ValueError naming the key and what there is."""
    found = []
    for name in spec.y:
        variable = _variable(data, name, "y")
        kept = {dim: np.arange(n) for dim, n in zip(variable.dims, variable.values.shape)}
        for key, wanted in spec.select.items():
            if _is_scalar(data, key):
                _require_scalar(data, key, wanted)
                continue
            dim, which = _select(data, variable, key, wanted)
            kept[dim] = np.intersect1d(kept[dim], which)
        if empty := [dim for dim, which in kept.items() if not len(which)]:
            raise ValueError(f"select: nothing is left along {empty[0]}")
        if spec.by is None or _is_scalar(data, spec.by):
            found.append(_curve(data, spec, name, kept))
        else:
            dim, _ = _coordinate(data, variable, spec.by, "by")
            found += [_curve(data, spec, name, kept | {dim: np.array([i])}) for i in kept[dim]]
    found = [curve for curve in found if len(curve.x)]
    if not found:
        raise ValueError("select: no run has any of these points")
    return found if spec.reduce is None else [_reduced(found, spec)]


def _reduced(several: list[Curve], spec: Data) -> Curve:
    """One point for each curve, or for each pair of neighbours, over `by`; NaN where a curve has holes."""
    several = sorted(several, key=lambda curve: curve.known[spec.by])
    if spec.using or spec.reduce in ("power_law", "decay_rate"):
        return _estimated(several, spec)
    if spec.reduce == "crossing":
        points = [_crossing(a, b) for a, b in zip(several, several[1:])]
    else:
        place, sign = spec.reduce.endswith("_at"), 1 if spec.reduce.startswith("max") else -1
        points = [_extremum(curve, sign)[0 if place else 1] for curve in several]
    x = np.array([curve.known[spec.by] for curve in several[: len(points)]], float)
    return Curve(x, np.array(points), None, several[0].known | {spec.by: x, spec.x: np.nan}, spec.y[0])


def _estimated(several: list[Curve], spec: Data) -> Curve:
    """An estimate from each curve with its error, NaN where the curve has holes or does not allow it."""
    found = []
    for curve in several:
        try:
            if np.any(np.isnan(curve.y)):
                raise ValueError("points are missing")
            found.append(ESTIMATES[spec.reduce](curve.x, curve.y, curve.error, **spec.using))
        except ValueError:
            found.append(Estimate(np.nan, np.nan))
    x = np.array([curve.known[spec.by] for curve in several], float)
    y, error = (np.array([getattr(estimate, name) for estimate in found], float) for name in ("value", "error"))
    return Curve(x, y, error, several[0].known | {spec.by: x, spec.x: np.nan}, spec.y[0])


def _extremum(curve: Curve, sign: int) -> tuple[float, float]:
    return (np.nan, np.nan) if np.any(np.isnan(curve.y)) else extremum(curve.x, curve.y, sign)


def _crossing(first: Curve, second: Curve) -> float:
    """The last x where the curves cross, of their common points; NaN if nowhere."""
    x, here, there = np.intersect1d(first.x, second.x, return_indices=True)
    found = crossings(x, first.y[here] - second.y[there])
    return found[-1] if len(found) else np.nan


def _curve(data, spec, name, kept) -> Curve:
    """The points of variable `name` at the kept indices of each of its dimensions, but those that no run has."""
    variable = data.variables[name]
    if spec.x is not None:
        along, _ = _coordinate(data, variable, spec.x, "x")
        if extra := [dim for dim in kept if dim != along and len(kept[dim]) > 1]:
            more = ", ".join(extra)
            raise ValueError(f"{name} is not one curve over {spec.x}: add by or select for {more}")
    grid = np.ix_(*kept.values())
    known = dict(data.config["model"])
    for key, other in data.variables.items():
        if _is_scalar(data, key):
            known[key] = other.values[()]
        if len(other.dims) == 1 and other.dims[0] in kept:
            known[key] = _along(other, variable)[grid].ravel()
            if len(kept[other.dims[0]]) == 1:
                known[key] = known[key][0]
    scale = divisor(spec.divide, known)
    values = variable.values[grid].ravel()
    y = _part(values, spec.part, name)
    if spec.distance is not None:
        y = np.abs(y - _origin(spec.distance, known, y))
    y = y / scale
    error = _error(data, name, known)
    error = None if error is None else error[grid].ravel() / scale
    x = np.atleast_1d(known[spec.x] if spec.x else np.arange(len(y)))
    order = np.argsort(x, kind="stable")
    x = x if spec.over is None else _over(data, spec.over, variable, values, grid)
    order = order[asked(data, variable)[grid].ravel()[order]]
    known = {key: v[order] if isinstance(v, np.ndarray) else v for key, v in known.items()}
    return Curve(x[order], y[order], None if error is None else error[order], known, name)


def _origin(distance, known: dict, y):
    """What the distance of y is taken from: a number, or a theory, not evaluated before y has numbers."""
    if not isinstance(distance, Theory):
        return distance
    arguments = arguments_of(distance, known)
    return distance(**arguments) if np.isfinite(y).any() else np.nan


def _over(data, over, variable, values, grid) -> np.ndarray:
    """What a curve is drawn over in place of its x: the real part of its values, or another result."""
    if over == "real":
        return values.real
    other = _variable(data, over, "over")
    if other.dims != variable.dims or np.iscomplexobj(other.values):
        raise ValueError(f"over: {over} is no real result with the dimensions {', '.join(variable.dims)}")
    return other.values[grid].ravel()


def _error(data, name, known) -> np.ndarray | None:
    """Standard errors of a variable, or the errors that a method without them states; None where it has neither."""
    found = (data.variables[key] for key in (f"{name}_stderr", f"{name}_error") if key in data.variables)
    method = known.get("method")
    return next((v.values for v in found if not isinstance(method, str) or method in methods_of(v, [method])), None)


def _is_scalar(data, name) -> bool:
    """Whether it is a coordinate of one value, as `method` is in a file of one method."""
    return (
        name in data.variables and name in data.attrs.get("coordinates", "").split() and not data.variables[name].dims
    )


def _require_scalar(data, name, wanted):
    if str(value := data.variables[name].values[()]) != str(wanted):
        raise ValueError(f"select: {name} = {wanted}: the collected file has {value}")


def _along(coordinate, variable):
    """The values of a coordinate, broadcast to the shape of the variable."""
    axis = variable.dims.index(coordinate.dims[0])
    shape = [-1 if i == axis else 1 for i in range(len(variable.dims))]
    return np.broadcast_to(coordinate.values.reshape(shape), variable.values.shape)


def _variable(data, name, key):
    if name not in data.variables:
        have = ", ".join(sorted(data.variables))
        near = meant(name, data.variables)
        raise ValueError(f"{key} = {name}: no such variable; the collected file has {have}{near}")
    return data.variables[name]


def _coordinate(data, variable, name, key):
    """Dimension of `variable` that the coordinate `name` runs along, and its values."""
    coordinate = _variable(data, name, key)
    if len(coordinate.dims) != 1 or coordinate.dims[0] not in variable.dims:
        dims = ", ".join(variable.dims) or "none"
        raise ValueError(f"{key}: {name} is no coordinate here; dimensions: {dims}")
    return coordinate.dims[0], coordinate.values


def _select(data, variable, name, wanted):
    """The dimension of coordinate `name` and the indices along it with the wanted value or range."""
    dim, values = _coordinate(data, variable, name, "select")
    if wanted in ("min", "max"):
        return dim, np.array([(np.argmin if wanted == "min" else np.argmax)(values)])
    if isinstance(wanted, list):
        which = np.flatnonzero((values >= wanted[0]) & (values <= wanted[1]))
    elif values.dtype.kind in "OSU":
        which = np.flatnonzero(values.astype(str) == str(wanted))
    elif isinstance(wanted, str):
        raise ValueError(f"select: {name} = {wanted}: a number, [from, to], min or max is needed")
    else:
        which = np.flatnonzero(np.isclose(values, wanted, rtol=1e-6, atol=1e-9 * np.abs(values).max()))
    if not len(which):
        raise ValueError(f"select: {name} = {wanted}: the collected file has " + ", ".join(map(_short, values)))
    return dim, which


def _short(value) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def _part(y, part, name):
    if (part is not None) != np.iscomplexobj(y):
        raise ValueError(f"{name} is {'complex: give' if part is None else 'real: leave out'} part")
    return {
        None: lambda: y,
        "real": lambda: y.real,
        "imag": lambda: y.imag,
        "abs": lambda: np.abs(y),
        "decay": lambda: -y.real,
    }[part]()


def divisor(power: str | None, known: dict):
    if power is None:
        return 1.0
    name, _, exponent = power.partition("^")
    return np.asarray(parameter(name, known, "divide"), float) ** int(exponent or 1)


def parameter(name, known, key):
    if name not in known:
        raise ValueError(f"{key}: {name} is neither a parameter of the model nor a coordinate of the data")
    return known[name]


def evaluate(theory: Theory, known: dict):
    """A theory with its arguments taken by name from the model's parameters and the coordinates."""
    return theory(**arguments_of(theory, known))


def arguments_of(theory: Theory, known: dict) -> dict:
    """What a theory is evaluated at. Raises ValueError naming what is not known."""
    return {name: parameter(name, known, theory) for name in theory.arguments}


def name_of(curve: Curve, spec: Data, written=str) -> str:
    """A curve among the others of its panel or check: `S = 4`, `sublattice a`; written: how a result is written."""
    parts = [written(curve.variable)] if len(spec.y) > 1 else []
    if spec.by and spec.reduce is None:
        value = curve.known[spec.by]
        if isinstance(value, str):
            parts.append(word(value) if spec.by == "method" else f"{spec.by} {word(value)}")
        else:
            parts.append(f"{spec.by} = {number(value)}")
    return ", ".join(parts)


@contextmanager
def located(place: str):
    """Say in which figure a name stands that the file does not know, or what cannot be drawn."""
    try:
        yield
    except ValueError as error:
        raise StoreError(f"{place}: {error}", 2) from None
    except (TypeError, LookupError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
        raise StoreError(f"{place}: cannot be drawn ({type(error).__name__}: {error})", 2) from error
