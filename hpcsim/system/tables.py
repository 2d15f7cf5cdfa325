"""The tables that a `System` consists of: terms of the Hamiltonian, and jump operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hpcsim.system.operators import SPIN_OPERATORS, adjoint, is_hermitian

NEGATIVE, NOTHING = 1e-10, 1e-13  # eigenvalues of a rate matrix, relative to the largest, that are an error, or zero


@dataclass(frozen=True)
class Terms:
    """A family of Hamiltonian terms that share their operators: Σ_r c_r Π_j O_j(site[r, j]), and + h.c. with plus_hc.

    operators    : names of one-site operators, see hpcsim.system.operators: Sx, Sy, Sz, S+, S-, of boson modes n, x, p,
                   a, a+, and |a><b| between levels; they are multiplied in this order
    sites        : (terms, len(operators)) integers; several factors may be on one site
    coefficients : (terms,) real; with plus_hc real or complex
    plus_hc      : add the Hermitian conjugate of every term. Without it every product must be Hermitian
    """

    operators: tuple[str, ...]
    sites: np.ndarray
    coefficients: np.ndarray
    plus_hc: bool = False

    def strengths(self, lengths: np.ndarray) -> np.ndarray:
        """|c_r| Π_j length[site[r, j]]: (terms,); with lengths (sites,) that bound |O|, bounds of the terms."""
        return (1 + self.plus_hc) * np.abs(self.coefficients) * np.prod(lengths[self.sites], axis=1)

    def content(self) -> tuple:
        """What tells it from others; without a conjugate as former versions had it."""
        return (self.operators, self.sites, self.coefficients, *([True] if self.plus_hc else []))

    def structure(self) -> tuple[tuple, tuple[np.ndarray, ...]]:
        """What coefficients do not change, in words and in arrays; of the coefficients, which are zero."""
        return (self.operators, self.plus_hc), (np.asarray(self.sites), self.numbers != 0)

    @property
    def numbers(self) -> np.ndarray:
        """The coefficients as real numbers: those of complex ones are real and imaginary part in turn."""
        return real_numbers(np.asarray(self.coefficients))

    def __str__(self):
        return product_name(self.operators, self.sites) + " + h.c." * self.plus_hc


@dataclass(frozen=True)
class Jumps:
    """A family of jump operators L_k = Σ_r w_kr Π_j O_j(site[r, j]), each with the rate γ_k.

    operators  : names of the factors O_j, or the name of the only one
    sites      : (rows, factors) integers, or (rows,) of one factor
    rates      : (channels,) γ_k, not negative
    collective : one channel, with the weights 1
    weights    : (channels, rows) w_kr, real or complex, or (rows,) of one channel. Without weights every row is a
                 channel of its own: local decay, or jumps of pairs of sites

    `collective` tells afterwards whether there are weights: a single row never has them, its |w|² are in the rates.
    Raises ValueError where the shapes do not fit, or a rate is negative.
    """

    operators: tuple[str, ...]
    sites: np.ndarray
    rates: np.ndarray
    collective: bool = False
    weights: np.ndarray | None = None

    def __post_init__(self):
        operators = (self.operators,) if isinstance(self.operators, str) else tuple(self.operators)
        sites, rates, weights = np.asarray(self.sites), np.asarray(self.rates, float), self.weights
        sites = sites[:, None] if sites.ndim == 1 else sites
        if weights is None and self.collective:
            weights = np.ones((1, len(sites)))
        elif weights is not None:
            weights = np.atleast_2d(weights)
        wanted = (len(rates), len(sites)) if weights is not None else (len(rates),) * 2
        if sites.shape[1:] != (len(operators),) or wanted != (
            np.shape(weights) if weights is not None else sites.shape[:1] * 2
        ):
            raise ValueError(
                f"the jump operators {' '.join(operators)} have {len(rates)} rates, sites of the shape {sites.shape} "
                f"and weights of the shape {np.shape(weights)}: a rate for every channel, and weights (channels, rows)"
            )
        if not np.all(rates >= 0):
            raise ValueError(f"the jump operators {' '.join(operators)} have the rate {rates.min()}: it must be >= 0")
        if weights is not None and len(sites) == 1:
            sites, rates, weights = sites.repeat(len(rates), 0), rates * np.abs(weights[:, 0]) ** 2, None
        if weights is not None and len(operators) == 1 and len(found := np.unique(sites)) < len(sites):
            place = np.searchsorted(found, sites[:, 0])  # several rows of one site are one row
            sites, weights = found[:, None], weights @ np.eye(len(found))[place]
        named = dict(operators=operators, sites=sites, rates=rates, weights=weights, collective=weights is not None)
        for name, value in named.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of_rate_matrix(cls, operator: str, sites, matrix) -> Jumps:
        """Correlated decay Σ_ij Γ_ij (O_i ρ O_j† - ½{O_j† O_i, ρ}): channels from the eigenvectors of Γ.

        matrix : (sites, sites) Γ, Hermitian and positive semidefinite, or ValueError
        """
        sites, matrix = np.asarray(sites), np.asarray(matrix)
        if matrix.shape != (len(sites),) * 2:
            raise ValueError(
                f"a rate matrix of {len(sites)} sites has {len(sites)} rows and columns, not {matrix.shape}"
            )
        scale = np.abs(matrix).max(initial=0)
        if np.abs(matrix - matrix.conj().T).max(initial=0) > NEGATIVE * scale:
            raise ValueError("a rate matrix is Hermitian: element j, i is the complex conjugate of i, j")
        if not np.any(matrix - np.diag(matrix.diagonal())):
            return cls(operator, sites, matrix.diagonal().real)
        rates, vectors = np.linalg.eigh(matrix)
        if rates[0] < -NEGATIVE * scale:
            raise ValueError(
                f"a rate matrix is positive semidefinite, and this one has the eigenvalue {rates[0]:.6g}: "
                "rates between sites are at most those of the sites, |Γ_ij|² <= Γ_ii Γ_jj"
            )
        kept = rates > NOTHING * scale
        return cls(operator, sites, rates[kept], weights=vectors.T[kept])

    def content(self) -> tuple:
        """What tells it from others; of a single operator without weights that differ as former versions had it."""
        if self.single and (self.weights is None or self.weights.shape[0] == 1 and np.all(self.weights == 1)):
            return self.operators[0], self.site, self.rates, self.collective
        return self.operators, self.sites, self.rates, self.weights

    def structure(self) -> tuple[tuple, tuple[np.ndarray, ...]]:
        """What rates do not change, in words and in arrays; of the rates, which are zero."""
        weights = () if self.weights is None else (self.weights,)
        return (self.operators, self.collective), (self.sites, self.rates != 0, *weights)

    @property
    def site(self) -> np.ndarray:
        """(rows,) of jump operators of one factor."""
        return self.sites[:, 0]

    @property
    def single(self) -> bool:
        """Whether every product has one factor."""
        return len(self.operators) == 1

    @property
    def of_spins(self) -> bool:
        """Whether every product is one of Sx, Sy, Sz, S+, S-."""
        return self.single and self.operators[0] in SPIN_OPERATORS

    @property
    def used(self) -> bool:
        return bool(np.any(self.rates))

    def channels(self) -> Iterator[tuple[float, list[int], list[complex]]]:
        """(rate, rows, their weights) of every channel whose rate is not zero."""
        for k in np.flatnonzero(self.rates):
            if self.weights is None:
                yield float(self.rates[k]), [int(k)], [1.0]
            else:
                rows = np.flatnonzero(self.weights[k])
                yield float(self.rates[k]), rows.tolist(), self.weights[k, rows].tolist()

    def rate_matrix(self) -> np.ndarray:
        """(rows, rows) Γ_rs = Σ_k γ_k w_kr w_ks* of families with weights, in the convention of `of_rate_matrix`."""
        return (self.rates * self.weights.T) @ self.weights.conj()

    def totals(self) -> np.ndarray:
        """(rows,) Γ_rr: the rate of every product by itself."""
        return self.rates if self.weights is None else self.rates @ np.abs(self.weights) ** 2

    def __str__(self):
        name = product_name(self.operators, self.sites)
        return (
            f"a sum of {name} over {len(self.sites)} {'sites' if self.single else 'rows of sites'}"
            if self.collective
            else name
        )


def real_numbers(values: np.ndarray) -> np.ndarray:
    """Real numbers that an array consists of: real and imaginary parts in turn where it is complex."""
    return np.ascontiguousarray(values).view(float) if np.iscomplexobj(values) else values


def product_name(operators: tuple[str, ...], sites: np.ndarray) -> str:
    """A product by its operators and, where there are several, the sites of its first row: S+_0 S-_1."""
    if len(operators) == 1 or not len(sites):
        return " ".join(operators)
    return " ".join(f"{name}_{site}" for name, site in zip(operators, sites[0]))


def hermitian_rows(operators: tuple[str, ...], sites: np.ndarray) -> np.ndarray:
    """(rows,) whether a product is Hermitian: on every site the adjoint factors in reverse order are the factors."""
    if len(set(operators)) == 1:
        return np.full(len(sites), is_hermitian(operators[0]))
    alone = all(map(is_hermitian, operators))
    found = np.full(len(sites), alone)
    ordered = np.sort(sites, axis=1)
    for row in np.flatnonzero(np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)):
        found[row] = all(_self_adjoint([o for o, s in zip(operators, sites[row]) if s == site]) for site in sites[row])
    return found


def _self_adjoint(names: list[str]) -> bool:
    return list(map(adjoint, reversed(names))) == names
