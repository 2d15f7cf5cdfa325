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
        if not any(part & set(sites) for _, sites in jumps):
            return f"no dissipation acts on {here}, which nothing couples to other sites"
        own_terms, own_jumps = ([row for row in rows if part & set(row[1])] for rows in (terms, jumps))
        for axis, flip in ROTATIONS:
            if _rotation_commutes(system, part, own_terms, own_jumps, axis, flip):
                return f"H and all jump operators commute with {_rotation(system, part, axis, flip)} of {here}"
        if pair := _exchangeable(system, part, own_terms, own_jumps):
            return f"H and all jump operators stay the same where the sites {pair[0]} and {pair[1]} are exchanged"
    return None


def _all_sites_relax(system: System) -> bool:
    """Whether every site has a S-, S+, a or a+ of its own, which none of the U commute with."""
    relaxing = [
        jumps.sites[np.broadcast_to(jumps.rates, jumps.sites.shape) > 0]
        for jumps in system.jumps
        if jumps.operator in ("S-", "S+", "a", "a+") and not jumps.collective
    ]
    return len(np.unique(np.concatenate([*relaxing, np.zeros(0, int)]))) == system.sites


def _products(system: System) -> list:
    """(operators, sites, coefficient) of every term of H that is not zero."""
    return [
        (terms.operators, tuple(sites), float(c))
        for terms in system.hamiltonian
        for sites, c in zip(terms.sites.tolist(), terms.coefficients)
        if c != 0
    ]


def _jumps(system: System) -> list:
    """(operator, sites) of every jump operator, Σ over the sites, whose rate is not zero."""
    found = []
    for jumps in system.jumps:
        groups = [tuple(jumps.sites.tolist())] if jumps.collective else [(int(site),) for site in jumps.sites]
        found += [(jumps.operator, sites) for sites, rate in zip(groups, jumps.rates) if rate]
    return found


def _parts(system: System, terms, jumps) -> list[set[int]]:
    """The sites in groups that neither H nor a collective jump operator couples to each other."""
    part = list(range(system.sites))

    def root(site):
        while part[site] != site:
            part[site] = site = part[part[site]]
        return site

    for sites in [row[1] for row in terms] + [row[1] for row in jumps]:
        for site in sites[1:]:
            part[root(site)] = root(sites[0])
    groups = {}
    for site in range(system.sites):
        groups.setdefault(root(site), set()).add(site)
    return list(groups.values())


def _sign(operator: str, axis: str | None, flip: bool) -> int:
    """The sign that an operator takes under a rotation by π about an axis, or (-1)^n on a boson mode; 0: neither ±1."""
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
    return all(np.prod([_sign(name, axis, flip) for name in row[0]]) == 1 for row in terms) and all(
        _sign(operator, axis, flip) == 1 for operator, _ in jumps
    )


def _rotation(system: System, part, axis, flip) -> str:
    return " ".join([f"exp(iπ Σ S{axis})"] * bool(axis) + ["exp(iπ Σ a†a)"] * flip)


def _exchangeable(system: System, part, terms, jumps) -> tuple[int, int] | None:
    """Two sites without jump operators of their own whose exchange changes nothing, neighbours in their order."""
    if not jumps:
        return None
    single = {sites[0] for _, sites in jumps if len(sites) == 1}
    candidates = sorted(part - single)
    table = {}
    for operators, sites, coefficient in terms:
        key = _key(operators, sites)
        table[key] = table.get(key, 0.0) + coefficient
    largest = max(map(abs, table.values()), default=0.0)
    for i, j in zip(candidates, candidates[1:]):
        alike = system.levels[i] == system.levels[j] and bool(system.cutoffs[i]) == bool(system.cutoffs[j])
        if not alike or any((i in sites) != (j in sites) for _, sites in jumps):
            continue
        swap = {i: j, j: i}
        if all(
            abs(table.get(_key(*zip(*((o, swap.get(s, s)) for s, o in key))), 0.0) - c) < 1e-12 * largest
            for key, c in table.items()
            if swap.keys() & {s for s, _ in key}
        ):
            return i, j
    return None


def _key(operators, sites) -> tuple:
    """A product, its factors sorted by their site."""
    return tuple(sorted(zip(sites, operators), key=lambda factor: factor[0]))


def _named(system: System, part) -> str:
    if len(part) == system.sites:
        return "all sites"
    return f"site{'s' * (len(part) > 1)} {', '.join(map(str, sorted(part)))}"
