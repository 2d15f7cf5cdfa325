"""Systems in time: coefficients and rates as functions of time, while sites, operators and symmetries stay.

A model is built at a few values of its parameters. Where its coefficients are linear in those that depend on time, as
nearly always, they follow the parameters exactly; else the coefficients themselves are fitted by polynomials.
"""

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from hpcsim.system import piecewise
from hpcsim.system.course import Course
from hpcsim.system.piecewise import Curve
from hpcsim.system.tables import real_numbers
from hpcsim.system.terms import MAGNITUDES, System, content

TOLERANCE = 1e-12  # of the parameters, relative to their largest values
OF_TABLES = 1e-9  # of coefficients that are not linear in them: each value takes a system to be built
MOST_BUILT = 400  # pieces of polynomials then
ROUNDING = 16 * np.finfo(float).eps
EQUAL = 1e-12  # relative difference of coefficients that is rounding
AHEAD = 3  # pieces of the curve that a step may go into, if they are about as long as its first
EDGES, RANDOM = 16, 8  # times at which the model is built to see what changes


@dataclass(frozen=True)
class Drive:
    """Coefficients and rates at the time t: those of `still` plus Σ_a w_a(t) those of parts[a].

    still, parts : systems with the same tables and symmetries as the driven one. All that is linear in coefficients
                   and rates, as H and the Liouvillian, is the same sum of theirs
    curve        : the functions w_a, from 0 to the last time
    edges        : times at which they may jump or bend
    """

    still: System
    parts: tuple[System, ...]
    curve: Curve
    edges: np.ndarray

    def mapped(self, change: Callable[[System], System]) -> "Drive":
        """The drive of systems that `change`, which is linear in coefficients and rates, makes of these."""
        return replace(self, still=change(self.still), parts=tuple(map(change, self.parts)))

    @property
    def systems(self) -> tuple[System, ...]:
        return self.still, *self.parts

    @functools.cached_property
    def ahead(self) -> np.ndarray:
        """(pieces,) the last time that a step may take which begins in a piece; infinite where that is the end.

        Up to AHEAD more pieces, each between half and twice as long as the first, and no further than the next edge:
        where pieces are much shorter, something happens that a long step might not see.
        """
        breaks, pieces = self.curve.breaks, len(self.curve.coefficients)
        lengths, at, goes_on = np.diff(breaks), np.arange(pieces), np.ones(pieces, bool)
        smooth = ~np.isin(breaks[1:], self.edges)
        for _ in range(AHEAD):
            after = np.minimum(at + 1, pieces - 1)
            goes_on &= smooth[at] & (lengths[after] > 0.49 * lengths) & (lengths[after] < 2.01 * lengths)
            at = np.where(goes_on, after, at)
        return np.where(at == pieces - 1, np.inf, breaks[at + 1])

    def room(self, time: float) -> float:
        """How long a step from this time on may be, by `ahead`."""
        piece = piecewise.piece_at(self.curve, time)
        return max(self.ahead[piece] - time, 1e-3 * (self.curve.breaks[piece + 1] - self.curve.breaks[piece]))

    @functools.cached_property
    def largest(self) -> np.ndarray:
        """(1 + parts,) the largest |w_a|, 1 of `still`."""
        return np.append(1.0, np.abs(piecewise.values(self.curve, piecewise.sampled(self.curve).ravel())).max(axis=0))


def driven(build: Callable[[dict, float], System], courses: dict[str, Course], end: float) -> System:
    """The system of a model whose parameters depend on time, from 0 to `end`.

    build : ({name: value}, t) -> the system at these values of the parameters in `courses`, which they have at the
            time t; raises ValueError where the model refuses them
    Where they turn out not to change it is build(values, 0) itself. Raises ValueError where other things than
    coefficients and rates depend on them, a rate becomes negative, or they change too fast.
    """
    names = list(courses)

    def parameters(times):
        return np.stack([courses[name](times) for name in names], axis=-1)

    def built(values, t) -> System:
        return build(dict(zip(names, values.tolist())), float(t))

    if not end:
        return built(parameters(np.zeros(1))[0], 0.0)
    edges = np.unique(np.concatenate([course.edges(end) for course in courses.values()]))
    try:
        curve = piecewise.fit(parameters, edges, end, TOLERANCE)
    except ValueError as error:
        raise ValueError(f"{', '.join(names)} {error}") from None
    times = piecewise.sampled(curve).ravel()
    values = parameters(times)
    if np.all(values == values[0]):
        return built(values[0], 0.0)
    extremes = np.unique(np.concatenate([values.argmin(axis=0), values.argmax(axis=0)]))
    probes = np.unique(np.concatenate([[0, len(times) - 1], extremes, _some(times, edges, len(extremes))]))
    systems = [built(values[k], times[k]) for k in probes]
    tables = _Tables(systems)
    samples = np.array([tables.magnitudes(system) for system in systems])
    found = _linear(built, tables, values, samples, probes)
    if found is None:
        still, parts, curve = _fitted(
            lambda t: tables.magnitudes(built(parameters(np.array([t]))[0], t)), samples, edges, end
        )
    else:
        still, parts, (middle, half) = found
        chosen, mixed, shift = _independent((values - middle) / half)
        still, parts = still + shift @ parts, mixed @ parts
        tolerance = np.maximum(TOLERANCE, ROUNDING * np.abs(values).max(axis=0) / half)[chosen]
        curve = piecewise.fit(lambda t: ((parameters(t) - middle) / half)[:, chosen], edges, end, tolerance)
    parts, curve = _with_rates(parts, curve, tables.is_rate)
    if not len(parts):
        return built(values[0], 0.0)
    drive = Drive(tables.system(still), tuple(map(tables.system, parts)), curve, edges)
    return replace(tables.system(_largest(still, parts, curve, tables)), drive=drive)


def _with_rates(parts: np.ndarray, curve: Curve, is_rate: np.ndarray):
    """Parts that are not zero and whose rates are not negative, and their curve.

    Rates that fall are a part of their own, with the negative weight.
    """
    falling = np.where(is_rate & (parts < 0), -parts, 0.0)
    parts = np.concatenate([parts + falling, falling])
    used = np.flatnonzero(parts.any(axis=1))
    signs = np.repeat([1.0, -1.0], len(falling))[used]
    which = used % len(falling)
    return parts[used], Curve(
        curve.breaks, np.ascontiguousarray(curve.coefficients[..., which] * signs), curve.area[:, which] * signs
    )


def _some(times: np.ndarray, edges: np.ndarray, offset: int) -> np.ndarray:
    """Indices of times on both sides of the first edges, and of some drawn by chance."""
    at = np.searchsorted(times, edges[:EDGES])
    drawn = np.random.default_rng(offset).integers(0, len(times), RANDOM)
    return np.concatenate([at, np.maximum(at - 1, 0), drawn])


class _Tables:
    """The tables of all systems together, and the coefficients and rates of each in them, one after the other."""

    def __init__(self, systems: list[System]):
        first = self._first = systems[0]
        for other in systems:
            for name in {each.name for each in fields(first)} - {"hamiltonian", "jumps", "symmetries", "drive"}:
                if content(getattr(first, name)) != content(getattr(other, name)):
                    raise ValueError(
                        "they change the sites of the system; coefficients and rates alone may depend on time"
                    )
        self._places, size = {}, 0
        every = [item for system in systems for item in _named(system)]
        self._complex = {key for key, table in every if np.iscomplexobj(_magnitude(table))}
        for key, table in every:
            if key not in self._places:
                count = len(self._numbers(key, table))
                self._places[key] = table, slice(size, size + count)
                size += count
        if len(self._places) > 4 * max(len(_all(system)) for system in systems):
            raise ValueError("they change the operators of the system; coefficients and rates alone may depend on time")
        self.size = size
        self.is_rate = np.zeros(size, bool)
        for table, place in self._places.values():
            self.is_rate[place] = _field(table) == "rates"
        kept = [{content(each): each for each in system.symmetries} for system in systems]
        self._symmetries = tuple(each for key, each in kept[0].items() if all(key in other for other in kept))

    def _numbers(self, key, table) -> np.ndarray:
        return real_numbers(_magnitude(table).astype(complex if key in self._complex else float))

    def magnitudes(self, system: System) -> np.ndarray:
        """(size,) real numbers: a complex coefficient is two of them."""
        found = np.zeros(self.size)
        for key, table in _named(system):
            if key not in self._places:
                raise ValueError(
                    "they change the operators of the system; coefficients and rates alone may depend on time"
                )
            found[self._places[key][1]] = self._numbers(key, table)
        return found

    def system(self, magnitudes: np.ndarray) -> System:
        """The system with these, and the symmetries that hold at all times."""
        named = {"hamiltonian": [], "jumps": []}
        for key, (table, place) in self._places.items():
            numbers = magnitudes[place].copy()
            value = numbers.view(complex) if key in self._complex else numbers
            named[key[0]].append(replace(table, **{_field(table): value}))
        named = {name: tuple(tables) for name, tables in named.items()}
        return replace(self._first, symmetries=self._symmetries, **named)


def _all(system: System) -> list:
    return [*system.hamiltonian, *system.jumps]


def _field(table) -> str:
    return next(each.name for each in fields(table) if each.name in MAGNITUDES)


def _magnitude(table) -> np.ndarray:
    return getattr(table, _field(table))


def _named(system: System):
    """Every table, under what it consists of besides coefficients and rates, and how many equal ones came before."""
    seen: Counter = Counter()
    for name in ("hamiltonian", "jumps"):
        for table in getattr(system, name):
            parts = tuple(content(getattr(table, each.name)) for each in fields(table) if each.name not in MAGNITUDES)
            seen[name, parts] += 1
            yield (name, parts, seen[name, parts]), table


def _linear(built, tables: _Tables, values, samples, probes):
    """still, parts and (origin, span): coefficients are still + (values - origin) / span @ parts.

    None where they are no linear functions of the parameters.
    """
    low, high = values.min(axis=0), values.max(axis=0)
    middle, half = (low + high) / 2, (high - low) / 2
    changing = np.flatnonzero(half > 0)
    half = np.where(half > 0, half, 1.0)
    try:
        still = tables.magnitudes(built(middle, 0.0))
        parts = np.zeros((len(half), tables.size))
        for k in changing:
            parts[k] = tables.magnitudes(built(np.where(np.arange(len(half)) == k, high, middle), 0.0)) - still
    except ValueError:
        return None
    parts[np.abs(parts) <= EQUAL * np.abs(still)] = 0
    expected = still + (values[probes] - middle) / half @ parts
    scale = np.maximum(np.abs(samples).max(axis=0), np.abs(still))
    if np.any(np.abs(samples - expected) > 4 * EQUAL * scale):
        return None
    for k in changing:
        still, parts[k], middle[k], half[k] = _from_zero(still, parts[k], middle[k], half[k], tables.is_rate)
    return still, parts, (middle, half)


def _from_zero(still, part, middle: float, half: float, is_rate):
    """still, part, origin and span of one parameter, from the value 0 on where fewer coefficients are then in both.

    What a part has to itself acts once and not twice. half : of the span of the values about `middle`
    """
    at_zero = still - middle / half * part
    own = np.abs(at_zero) <= 4 * (EQUAL + ROUNDING * abs(middle / half)) * np.abs(still)
    at_zero[own] = 0
    if np.count_nonzero(at_zero) == np.count_nonzero(still) or np.any(at_zero[is_rate] < 0):
        return still, part, middle, half
    largest = abs(middle) + half
    return at_zero, np.where(own & (still != 0), still * (largest / middle), part * (largest / half)), 0.0, largest


def _independent(courses: np.ndarray):
    """Independent ones of the courses (times, n), which are chosen + a constant: places, (chosen, n) and (n,).

    Symmetries that hold at all times then hold of the coefficients that follow each course.
    """
    centred = courses - courses.mean(axis=0)
    order, rank, rows = _rows_of(centred, 1e-9)
    mixed = np.zeros((rank, courses.shape[1]))
    mixed[:, order] = rows
    mixed = np.where(np.abs(mixed - np.round(mixed)) < EQUAL, np.round(mixed), mixed)
    shift = (courses - courses[:, order[:rank]] @ mixed).mean(axis=0)
    return order[:rank], mixed, np.where(np.abs(shift) < EQUAL, 0, shift)


def _rows_of(matrix: np.ndarray, tolerance: float):
    """order, rank, rows (rank, n): matrix[:, order] is about matrix[:, order[:rank]] @ rows.

    tolerance : of what is left over, relative to the largest column
    """
    from scipy import linalg  # here, for systems without a drive are most

    triangle, order = linalg.qr(matrix, mode="r", pivoting=True)
    sizes = np.abs(np.diag(triangle))
    rank = int(np.sum(sizes > tolerance * sizes[0]))
    return order, rank, linalg.solve_triangular(triangle[:rank, :rank], triangle[:rank])


def _fitted(magnitudes: Callable, samples: np.ndarray, edges, end):
    """Coefficients, their changes and the curve of these, from fits of the coefficients themselves."""
    _, first, which = np.unique(samples, axis=1, return_index=True, return_inverse=True)
    reference = samples[0, first]
    function = lambda times: np.array([magnitudes(t)[first] - reference for t in times])  # noqa: E731
    curve = piecewise.fit(function, edges, end, OF_TABLES, MOST_BUILT)
    rows = curve.coefficients.reshape(-1, len(first))
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    order, rank, combined = _rows_of(rows / scale, OF_TABLES)
    chosen = order[:rank]
    parts = np.zeros((rank, len(first)))
    parts[:, order] = combined
    parts = np.where(np.abs(parts) < OF_TABLES, 0, parts) * scale / scale[chosen][:, None]
    curve = Curve(curve.breaks, np.ascontiguousarray(curve.coefficients[..., chosen]), curve.area[:, chosen].copy())
    return samples[0], parts[:, which.ravel()], curve


def _largest(still, parts, curve, tables: _Tables) -> np.ndarray:
    """The value of every coefficient that is largest in modulus of all times. ValueError where a rate is negative."""
    different, which = np.unique(np.vstack([still, parts]), axis=1, return_inverse=True)
    times = piecewise.sampled(curve).ravel()
    courses = different[0] + piecewise.values(curve, times) @ different[1:]
    largest = courses[np.abs(courses).argmax(axis=0), np.arange(courses.shape[1])]
    largest[np.abs(largest) <= EQUAL * np.abs(different).sum(axis=0)] = 0
    of_rates = np.unique(which.ravel()[tables.is_rate])
    lowest = courses[:, of_rates].min(axis=0, initial=0)
    if np.any(wrong := lowest < -1e-9 * np.abs(courses[:, of_rates]).max(axis=0, initial=0)):
        when = times[courses[:, of_rates[wrong][0]].argmin()]
        raise ValueError(
            f"a rate of the system is {lowest[wrong][0]:.6g} at t = {when:.6g}; rates must not be negative"
        )
    return largest[which.ravel()]
