"""Whether tables keep a symmetry, seen from the tables alone, so that a model can leave out one that its terms break.

Sufficient, not necessary: False may be said of a symmetry that holds. `matrices.verify_symmetries` is the numerical
check of what a model declares.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from types import MappingProxyType

import numpy as np

from hpcsim.system.operators import adjoint, levels_of, parts_of
from hpcsim.system.symmetry import Symmetry
from hpcsim.system.tables import Jumps, Terms
from hpcsim.system.terms import System

EQUAL = 1e-12  # relative difference of coefficients that is rounding
# operators as sums of those that change Sz, or the number of quanta, by one amount
LADDER = MappingProxyType(
    {
        "Sx": (("S+", 0.5), ("S-", 0.5)),
        "Sy": (("S+", -0.5j), ("S-", 0.5j)),
        "x": (("a", 1), ("a+", 1)),
        "p": (("a+", 1j), ("a", -1j)),
    }
)
STEP = MappingProxyType({"S+": 1, "S-": -1, "a+": 1, "a": -1})


def holds(symmetry: Symmetry, system: System, terms: Iterable[Terms], jumps: Iterable[Jumps]) -> bool:
    """Whether all the terms together, and all the jumps together, keep a charge, or the map of a symmetry.

    system : of the sites; its own tables are not looked at
    """
    weights, action = symmetry.charge_weights(system), symmetry.action(system)
    hamiltonian, channels = _hamiltonian(terms), [table for family in jumps for table in _channels(family)]
    if weights is not None:
        return _steps(hamiltonian, weights) <= {0} and all(len(_steps(table, weights)) <= 1 for _, table in channels)
    if action.transposed or action.flipped.any():
        return False
    moved = [(rate, _moved(table, action)) for rate, table in channels]
    return _equal(_moved(hamiltonian, action), hamiltonian) and _equal(_dissipator(moved), _dissipator(channels))


def _hamiltonian(terms: Iterable[Terms]) -> dict:
    """{product of ladder operators: coefficient}, conjugates included."""
    found: dict = defaultdict(complex)
    for family in terms:
        for sites, c in zip(family.sites.tolist(), family.coefficients.tolist()):
            _add(found, family.operators, sites, c)
            if family.plus_hc:
                _add(found, list(map(adjoint, reversed(family.operators))), sites[::-1], np.conj(c))
    return _cleaned(found)


def _channels(jumps: Jumps) -> list[tuple[float, dict]]:
    """(rate, {product of ladder operators: weight}) of every channel."""
    found = []
    for rate, rows, weights in jumps.channels():
        table: dict = defaultdict(complex)
        for row, weight in zip(rows, weights):
            _add(table, jumps.operators, jumps.sites[row].tolist(), weight)
        found.append((rate, _cleaned(table)))
    return found


def _add(table: dict, operators: Sequence[str], sites: Sequence[int], coefficient: complex):
    """Add a product, in ladder operators; factors are sorted by their site, and keep their order on each."""
    order = np.argsort(sites, kind="stable")
    for parts in product(*(_ladder(operators[i]) for i in order)):
        key = tuple((int(sites[i]), name) for i, (name, _) in zip(order, parts))
        table[key] += coefficient * np.prod([factor for _, factor in parts])


def _ladder(name: str) -> tuple[tuple[str, complex], ...]:
    """(ladder operator, factor) of an operator, or of a sum of operators of one site."""
    if parts := parts_of(name):
        return tuple((each, c * factor) for c, one in parts for each, factor in _ladder(one))
    return LADDER.get(name, ((name, 1),))


def _cleaned(table: dict) -> dict:
    largest = max(map(abs, table.values()), default=0.0)
    return {key: value for key, value in table.items() if abs(value) > EQUAL * largest}


def _step(name: str) -> int:
    """By how much an operator changes Sz; level a of |a><b| is b - a above level b."""
    if between := levels_of(name):
        return between[1] - between[0]
    return STEP.get(name, 0)


def _steps(table: dict, weights) -> set:
    """By how much the products change the charge Σ_i w_i Sz_i."""
    return {sum(int(weights[site]) * _step(name) for site, name in key) for key in table}


def _moved(table: dict, action) -> dict:
    """The products U P U† of a U that moves sites and multiplies level j of some by (-1)^j."""
    found: dict = defaultdict(complex)
    for key, value in table.items():
        sign = -1 if sum(abs(_step(name)) for site, name in key if action.alternating[site]) % 2 else 1
        sites = [int(action.permutation[site]) for site, _ in key]
        _add(found, [name for _, name in key], sites, sign * value)
    return found


def _dissipator(channels) -> dict:
    """{(product, product): Σ γ w w*}: channels that are unitary mixtures of each other have the same."""
    found: dict = defaultdict(complex)
    for rate, table in channels:
        for (one, w), (other, v) in product(table.items(), repeat=2):
            found[one, other] += rate * w * np.conj(v)
    return found


def _equal(one: dict, other: dict) -> bool:
    largest = max(map(abs, other.values()), default=0.0)
    return all(abs(one.get(key, 0) - other.get(key, 0)) <= EQUAL * largest for key in one.keys() | other.keys())
