"""Conserved quantities that can be read from the tables of a system and that make the steady state not unique.

A unitary U, not a multiple of 1, that commutes with H and with every jump operator divides the Hilbert space into its
eigenspaces, which the dynamics never connects: every one of them has a steady state, and Tr ρU does not change in time
(Buča and Prosen, New J. Phys. 14, 073007 (2012)). For every part
of the system that nothing couples to the rest, these U are tried: rotations of all its spins by π, changes of the sign
of its boson modes, and exchanges of two of its sites. Others are not found: None does not mean that the steady state
is unique.
"""

from itertools import product

import numpy as np

from hpcsim.system.cartesian import cartesian
from hpcsim.system.operators import adjoint, levels_of, parts_of
from hpcsim.system.terms import System

ROTATIONS = [(axis, flip) for axis, flip in product(("z", "x", "y", None), (True, False)) if axis or flip]


def dissipates(system: System) -> bool:
    """Whether any jump operator has a rate that is not zero."""
    return any(np.any(jumps.rates) for jumps in system.jumps)


def require_unique(system: System, task: str) -> None:
    """Raises ValueError where the tables show that the steady state, which the task needs, is not unique."""
    if reason := conserved(system):
        raise ValueError(
            f"method.task = {task}: the steady state is not unique, because {reason}; add dissipation or a field that "
            "changes this, or take task: evolve, from a given initial state"
        )


def conserved(system: System) -> str | None:
    """Why the steady state is not unique, in words, or None where the tables do not show it."""
    if system.of_structure("all sites relax", lambda: _all_sites_relax(system)):
        return None
    if not dissipates(system):
        return "no dissipation acts on the system, and every eigenstate of H is stationary"
    terms, jumps = _products(system), _jumps(system)
    for part in _parts(system, terms, jumps):
        here = _named(system, part)
        if not any(part & set(sites) for sites, _ in jumps):
            return f"no dissipation acts on {here}, which nothing couples to other sites"
        own_terms = [row for row in terms if part & set(row[1])]
        own_jumps = [row for row in jumps if part & set(row[0])]
        for axis, flip in ROTATIONS:
            if _rotation_commutes(system, part, own_terms, own_jumps, axis, flip):
                return f"H and all jump operators commute with {_rotation(system, part, axis, flip)} of {here}"
        if pair := _exchangeable(system, part, own_terms, own_jumps):
            return f"H and all jump operators stay the same where the sites {pair[0]} and {pair[1]} are exchanged"
    return None


def _all_sites_relax(system: System) -> bool:
    """Whether every site has a S-, S+, a or a+ of its own, which none of the U commute with."""
    relaxing = [
        jumps.site[jumps.rates > 0]
        for jumps in system.jumps
        if jumps.operators in (("S-",), ("S+",), ("a",), ("a+",)) and not jumps.collective
    ]
    return len(np.unique(np.concatenate([*relaxing, np.zeros(0, int)]))) == system.sites


def _products(system: System) -> list:
    """(operators, sites, coefficient) of every term of H that is not zero."""
    found = []
    for terms in cartesian(system):
        for sites, c in zip(terms.sites.tolist(), terms.coefficients.tolist()):
            if c != 0:
                found.append((terms.operators, tuple(sites), c))
                if terms.plus_hc:
                    conjugate = tuple(map(adjoint, reversed(terms.operators)))
                    found.append((conjugate, tuple(reversed(sites)), np.conj(c)))
    return found


def _jumps(system: System) -> list:
    """(sites, {product: weight}) of every jump operator whose rate is not zero; products as `_key` writes them."""
    found = []
    for jumps in system.jumps:
        for _, rows, weights in jumps.channels():
            sites = sorted({site for r in rows for site in jumps.sites[r].tolist()})
            found.append(
                (tuple(sites), _table((jumps.operators, jumps.sites[r].tolist(), w) for r, w in zip(rows, weights)))
            )
    return found


def _parts(system: System, terms, jumps) -> list[set[int]]:
    """The sites in groups that neither H nor a collective jump operator couples to each other."""
    part = list(range(system.sites))

    def root(site):
        while part[site] != site:
            part[site] = site = part[part[site]]
        return site

    for sites in [row[1] for row in terms] + [row[0] for row in jumps]:
        for site in sites[1:]:
            part[root(site)] = root(sites[0])
    groups = {}
    for site in range(system.sites):
        groups.setdefault(root(site), set()).add(site)
    return list(groups.values())


def _sign(operator: str, axis: str | None, flip: bool) -> int:
    """The sign that an operator takes under a rotation by π about an axis, or (-1)^n on a boson mode; 0: neither ±1."""
    if parts := parts_of(operator):
        signs = {_sign(each, axis, flip) for _, each in parts}
        return signs.pop() if len(signs) == 1 else 0
    if levels_of(operator):  # known of neither a spin nor a mode here
        return 0
    if operator in ("n", "x", "p", "a", "a+"):
        return -1 if flip and operator != "n" else 1
    if axis is None:
        return 1
    if operator in ("S+", "S-"):
        return -1 if axis == "z" else 0
    return 1 if operator[1] == axis else -1


def _rotation_commutes(system: System, part, terms, jumps, axis, flip) -> bool:
    modes = {site for site in part if system.cutoffs[site]}
    if not (axis and part - modes or flip and modes) or flip and not modes or axis and not part - modes:
        return False
    products = [row[0] for row in terms] + [[name for _, name in key] for _, table in jumps for key in table]
    return all(np.prod([_sign(name, axis, flip) for name in names]) == 1 for names in products)


def _rotation(system: System, part, axis, flip) -> str:
    return " ".join([f"exp(iπ Σ S{axis})"] * bool(axis) + ["exp(iπ Σ a†a)"] * flip)


def _exchangeable(system: System, part, terms, jumps) -> tuple[int, int] | None:
    """Two sites without jump operators of their own whose exchange changes nothing, neighbours in their order."""
    if not jumps:
        return None
    single = {sites[0] for sites, _ in jumps if len(sites) == 1}
    candidates = sorted(part - single)
    table = _table(terms)
    for i, j in zip(candidates, candidates[1:]):
        alike = system.levels[i] == system.levels[j] and bool(system.cutoffs[i]) == bool(system.cutoffs[j])
        if alike and all(_same_exchanged(each, i, j) for each in (*(weights for _, weights in jumps), table)):
            return i, j
    return None


def _same_exchanged(table: dict, i: int, j: int) -> bool:
    """Whether a sum of products stays the same where two sites are exchanged."""
    largest, swap = max(map(abs, table.values()), default=0.0), {i: j, j: i}
    return all(
        abs(table.get(_key(*zip(*((o, swap.get(s, s)) for s, o in key))), 0.0) - c) < 1e-12 * largest
        for key, c in table.items()
        if swap.keys() & {s for s, _ in key}
    )


def _table(rows) -> dict:
    """{product: coefficient} of a sum of (operators, sites, coefficient)."""
    found: dict = {}
    for operators, sites, coefficient in rows:
        key = _key(operators, sites)
        found[key] = found.get(key, 0.0) + coefficient
    return found


def _key(operators, sites) -> tuple:
    """A product, its factors sorted by their site."""
    return tuple(sorted(zip(sites, operators), key=lambda factor: factor[0]))


def _named(system: System, part) -> str:
    if len(part) == system.sites:
        return "all sites"
    return f"site{'s' * (len(part) > 1)} {', '.join(map(str, sorted(part)))}"
