"""Terms and jump operators as a config lists them: operators of spins, sites, and complex numbers."""

import math
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import BeforeValidator, model_validator

from hpcsim.system.operators import SPIN_OPERATORS, levels_of, parts_of
from hpcsim.system.parameters import Parameters, shown
from hpcsim.system.tables import Jumps, Terms, hermitian_rows, product_name

MOST_FACTORS = 6  # of a product
COMPLEX = "a number, [real part, imaginary part], or {abs: r, phase: φ} with φ in radians"
WORDS = {"all": 1, "bonds": 2}  # for sites: how many operators it is for


def or_none(check: Callable) -> Callable:
    """The check of a value that may be left out."""
    return lambda value: None if value is None else check(value)


def _operators(value):
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names or not all(map(_is_operator, names)):
        raise ValueError(f"must be a list of operators out of {', '.join(SPIN_OPERATORS)} and |a><b|, as in [S+, S-]")
    if len(names) > MOST_FACTORS:
        raise ValueError(f"{len(names)} factors: a product has {MOST_FACTORS} at most")
    return tuple(names)


def _is_operator(name) -> bool:
    if not isinstance(name, str):
        return False
    parts = parts_of(name)
    return all(each in SPIN_OPERATORS or levels_of(each) is not None for _, each in parts or ((1.0, name),))


def _rows(value):
    if isinstance(value, str) and value in WORDS:
        return value
    rows = (
        [row if isinstance(row, (list, tuple)) else [row] for row in value] if isinstance(value, (list, tuple)) else []
    )
    if not rows or not all(type(site) is int and site >= 0 for row in rows for site in row):
        raise ValueError("must be all, bonds, or a list of rows with a site for each operator, as in [[0, 1], [1, 2]]")
    return tuple(map(tuple, rows))


def _real(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def complex_number(value):
    """A real number, or (real, imaginary part)."""
    if _real(value):
        return float(value)
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_real, value)):
        return float(value[0]), float(value[1])
    polar = isinstance(value, dict) and value.keys() == {"abs", "phase"} and all(map(_real, value.values()))
    if not polar:
        raise ValueError(f"{shown(value)}: {COMPLEX} is needed")
    return value["abs"] * math.cos(value["phase"]), value["abs"] * math.sin(value["phase"])


def _coefficients(value):
    if _real(value):
        return float(value)
    return tuple(map(complex_number, value if isinstance(value, (list, tuple)) else [value]))


def _weights(value):
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list with one for each row of sites")
    return tuple(map(complex_number, value))


def _rates(value):
    several = isinstance(value, (list, tuple))
    if not all(_real(rate) and rate >= 0 for rate in (value if several else [value])):
        raise ValueError("must be a number greater than or equal to 0, or a list of one for each row of sites")
    return tuple(map(float, value)) if several else float(value)


def _matrix(value):
    if not isinstance(value, (list, tuple)) or not all(isinstance(row, (list, tuple)) for row in value):
        raise ValueError("must be a list of rows")
    return tuple(tuple(map(complex_number, row)) for row in value)


def a_list(value):
    if not isinstance(value, (list, tuple)):
        raise ValueError("must be a list of mappings, as in [{operators: [S+, S-], sites: [[0, 1]]}]")
    return value


def complex_numbers(values) -> np.ndarray:
    """An array of what the config has as numbers and pairs: real where it can be."""
    found = np.array([complex(*each) if isinstance(each, tuple) else complex(each) for each in values], complex)
    return found if np.any(found.imag) else found.real


class Graph(NamedTuple):
    """Equal spins: their number, the levels of each, (pairs, 2) of the couplings and (pairs,) their weights w."""

    sites: int
    levels: int
    bonds: np.ndarray
    weights: np.ndarray


class Family(Parameters):
    """operators : one-site operators out of Sx, Sy, Sz, S+, S- and |a><b|, in the order in which they are multiplied;
                levels a and b are numbered from 0, the largest Sz first
    sites     : a list with a row for each product, which has a site for each operator; all: every site (one operator);
                bonds: the pairs that are coupled, in their order, each with the factor of its weight w (two operators).
                By default all or bonds
    """

    operators: Annotated[tuple[str, ...], BeforeValidator(_operators)]
    sites: Annotated[Any, BeforeValidator(or_none(_rows))] = None

    @model_validator(mode="after")
    def _as_many_sites(self):
        count, sites = len(self.operators), self.sites
        if sites is None and count > 2:
            raise ValueError(f"sites is missing; {count} operators need a list of rows with {count} sites")
        if isinstance(sites, str) and WORDS[sites] != count:
            raise ValueError(f"sites: {sites} is for {WORDS[sites]} operators, and there are {count}")
        if isinstance(sites, tuple) and (wrong := [row for row in sites if len(row) != count]):
            raise ValueError(f"sites: {list(wrong[0])} has {len(wrong[0])} sites for {count} operators")
        return self

    def rows(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """(rows, operators) sites, and (rows,) factors of every row. Raises ValueError, with the key."""
        every = [each for name in self.operators for _, each in parts_of(name) or ((1.0, name),)]
        if high := [name for name in every if max(levels_of(name) or (0,)) >= graph.levels]:
            raise ValueError(f"operators: {high[0]}: a site has the levels 0 to {graph.levels - 1}")
        if isinstance(self.sites, tuple):
            rows = np.array(self.sites)
            if (largest := rows.max()) >= graph.sites:
                raise ValueError(f"sites: site {largest}: the sites are numbered 0 to {graph.sites - 1}")
            return rows, np.ones(len(rows))
        if len(self.operators) == 1:
            return np.arange(graph.sites)[:, None], np.ones(graph.sites)
        return graph.bonds, graph.weights


class Term(Family):
    """coefficients : one for all rows, or a list of one for each: real numbers, and complex ones where a product is not
    Hermitian. The Hermitian conjugates of those are added
    """

    coefficients: Annotated[Any, BeforeValidator(_coefficients)] = 1.0

    def tables(self, graph: Graph, strength: float) -> list[Terms]:
        """Terms, their coefficients times `strength`. Raises ValueError, with the key."""
        rows, factors = self.rows(graph)
        numbers = strength * factors * _each(self.coefficients, len(rows), "coefficients")
        hermitian = hermitian_rows(self.operators, rows)
        if np.any(np.imag(numbers[hermitian])):
            raise ValueError(
                f"coefficients: {product_name(self.operators, rows[hermitian])} is Hermitian: its coefficient is real"
            )
        found = [
            Terms(self.operators, rows[hermitian], np.real(numbers[hermitian])),
            Terms(self.operators, rows[~hermitian], numbers[~hermitian], plus_hc=True),
        ]
        return [table for table in found if len(table.sites)]


class Channel(Family):
    """rate    : γ of the Lindblad form D[L]ρ = LρL† - ½(L†Lρ + ρL†L), of every row, or a list of one for each
    weights : a list of one number, real or complex, for each row: the sum of the rows is one jump operator
    collective : the same with all weights 1
    rate_matrix : in place of the rate, Γ_ij of all pairs of rows, a list of lists, positive semidefinite, for
                Σ_ij Γ_ij (O_i ρ O_j† - ½(O_j† O_i ρ + ρ O_j† O_i)) of one operator
    """

    rate: Annotated[Any, BeforeValidator(or_none(_rates))] = None
    weights: Annotated[Any, BeforeValidator(or_none(_weights))] = None
    collective: bool = False
    rate_matrix: Annotated[Any, BeforeValidator(or_none(_matrix))] = None

    @model_validator(mode="after")
    def _one_form(self):
        given = {key: getattr(self, key) for key in ("rate", "weights", "collective", "rate_matrix")}
        if self.rate_matrix is not None:
            if extra := [key for key, value in given.items() if value not in (None, False) and key != "rate_matrix"]:
                raise ValueError(f"rate_matrix and {extra[0]} exclude each other; delete one")
            if len(self.operators) > 1:
                raise ValueError("rate_matrix is for one operator; give a rate to every product")
        elif self.rate is None:
            raise ValueError("rate is missing; give it, or rate_matrix")
        elif self.weights is not None and self.collective:
            raise ValueError("collective stands for weights that are all 1; delete one of them")
        elif (self.weights is not None or self.collective) and isinstance(self.rate, tuple):
            raise ValueError("rate: a sum of rows is one jump operator, with one rate")
        return self

    def tables(self, graph: Graph, strength: float) -> list[Jumps]:
        """Jump operators, their rates times `strength`. Raises ValueError, with the key."""
        rows, factors = self.rows(graph)
        if np.any(factors < 0):
            raise ValueError("sites: bonds: a rate has the factor w of its bond, and some are negative; list the rows")
        if self.rate_matrix is not None:
            matrix = [complex_numbers(row) for row in self.rate_matrix]
            if {len(row) for row in matrix} != {len(rows)}:
                raise ValueError(f"rate_matrix: {len(rows)} rows and columns are needed, one for each site")
            try:
                return [Jumps.of_rate_matrix(*self.operators, rows[:, 0], strength * np.array(matrix))]
            except ValueError as error:
                raise ValueError(f"rate_matrix: {error}") from None
        if self.weights is None and not self.collective:
            return [Jumps(self.operators, rows, strength * factors * _each(self.rate, len(rows), "rate"))]
        given = np.ones(len(rows)) if self.collective else complex_numbers(self.weights)
        if len(given) != len(rows):
            raise ValueError(f"weights: {len(given)} for {len(rows)} rows of sites; give one for each")
        return [Jumps(self.operators, rows, np.array([strength * self.rate]), weights=given * np.sqrt(factors))]


def _each(values, count: int, what: str) -> np.ndarray:
    """(count,) numbers of a list, or of one for all."""
    found = complex_numbers(values if isinstance(values, tuple) else (values,))
    if len(found) not in (1, count):
        raise ValueError(f"{what}: {len(found)} for {count} rows of sites; give one, or one for each")
    return np.broadcast_to(found, count)
