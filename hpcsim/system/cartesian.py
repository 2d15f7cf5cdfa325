"""The Hamiltonian in Hermitian one-site operators and real coefficients, for methods that know these alone."""

import itertools
from types import MappingProxyType

import numpy as np

from hpcsim.system.operators import levels_of
from hpcsim.system.tables import Terms
from hpcsim.system.terms import System

# S± = Sx ± i Sy, a = (x + i p)/2
COMPONENTS = MappingProxyType(
    {
        "S+": (("Sx", 1), ("Sy", 1j)),
        "S-": (("Sx", 1), ("Sy", -1j)),
        "a": (("x", 0.5), ("p", 0.5j)),
        "a+": (("x", 0.5), ("p", -0.5j)),
    }
)


def cartesian(system: System) -> tuple[Terms, ...]:
    """H as Σ c Π_j O_j with Hermitian O_j and real c, without conjugates: S+S- + h.c. is 2 SxSx + 2 SySy.

    Products with several factors on one site, and those with |a><b|, stay as they are: they have no such form here, see
    `left_over`. Families have the same rows in all systems of a structure.
    """
    if not any(map(left_over, system.hamiltonian)):
        return system.hamiltonian
    return system.kept("cartesian", lambda: tuple(each for terms in system.hamiltonian for each in _expanded(terms)))


def left_over(terms: Terms) -> bool:
    """Whether terms out of `cartesian` have no such form: products on one site, and |a><b|."""
    return terms.plus_hc or any(name in COMPONENTS or levels_of(name) for name in terms.operators)


def _expanded(terms: Terms):
    if not left_over(terms):
        yield terms
        return
    ordered = np.sort(terms.sites, axis=1)
    shared = np.any(ordered[:, 1:] == ordered[:, :-1], axis=1) | any(map(levels_of, terms.operators))
    if shared.any():
        yield Terms(terms.operators, terms.sites[shared], terms.coefficients[shared], terms.plus_hc)
    sites, coefficients = terms.sites[~shared], terms.coefficients[~shared]
    for parts in itertools.product(*(COMPONENTS.get(name, ((name, 1),)) for name in terms.operators)):
        names, factors = zip(*parts)
        real = np.real(coefficients * np.prod(factors)) * (1 + terms.plus_hc)
        if np.any(real):
            yield Terms(names, sites, real)
