"""Matrices of what is measured: of one site, and of sums of products on the whole space."""

import functools

import numpy as np
from scipy import sparse

from hpcsim.system import System
from hpcsim.system.operators import levels_of, local_operator, operator_names

DENSE = 64  # states up to which dense matrices are faster


def local_matrix(system: System, name: str, site: int) -> np.ndarray:
    """(levels, levels) matrix of a one-site operator: a spin's, a boson mode's, or |a><b|. Raises ValueError."""
    levels, boson = int(system.levels[site]), bool(system.cutoffs[site])
    if between := levels_of(name):
        if max(between) >= levels:
            raise ValueError(f"{name} is not an operator of site {site}, which has the levels 0 to {levels - 1}")
    elif name not in operator_names(boson):
        raise ValueError(f"{name} is not an operator of site {site}; known: {', '.join(operator_names(boson))}")
    return local_operator(name, levels).toarray()


def one_site_product(system: System, names, site: int) -> np.ndarray:
    """The product of one-site operators on one site, in the written order."""
    found = local_matrix(system, names[0], site)
    for name in names[1:]:
        found = found @ local_matrix(system, name, site)
    return found


def by_site(system: System, factors) -> dict[int, np.ndarray]:
    """{site: matrix} of a product of (operator, site), in rising order of the sites.

    Operators on different sites commute; those on one site are multiplied in the written order.
    """
    found = {}
    for name, site in factors:
        matrix = local_matrix(system, name, site)
        found[site] = found[site] @ matrix if site in found else matrix
    return dict(sorted(found.items()))


def product_matrix(system: System, factors_of_sites) -> sparse.csr_matrix:
    """A product of (operator, site) on the whole space: (D, D)."""
    total, before, levels = sparse.identity(1, format="csr"), 0, system.levels
    if system.dimension <= DENSE:
        factors = [np.eye(size) for size in levels]
        for site, matrix in by_site(system, factors_of_sites).items():
            factors[site] = matrix
        return sparse.csr_matrix(functools.reduce(np.kron, factors))
    for site, matrix in by_site(system, factors_of_sites).items():
        gap = sparse.identity(int(np.prod(levels[before:site])))
        total = sparse.kron(sparse.kron(total, gap), sparse.csr_matrix(matrix), "csr")
        before = site + 1
    return sparse.kron(total, sparse.identity(int(np.prod(levels[before:]))), "csr")


def operator(system: System, element) -> sparse.csr_matrix:
    """The sum of an element (a tuple of `Products`) on the whole space: (D, D)."""
    dimension = round(system.dimension)
    total = sparse.csr_matrix((dimension, dimension))
    for products in element:
        for weight, factors in products:
            total = total + weight * product_matrix(system, factors)
    return total.tocsr()
