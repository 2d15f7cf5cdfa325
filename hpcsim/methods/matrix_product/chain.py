"""The infinite chain that a periodic one stands for: its cell, and the Liouvillians of neighbouring sites.

A density matrix is a vector with one index for every site, which numbers a basis of the operators on the site. With
a weak U(1) the basis is |m⟩⟨n|, with the charge w (m - n); otherwise it consists of Hermitian operators, with the
charge m - n mod 2 where the parity is conserved. In both the Liouvillian is a real matrix: in the Hermitian basis
always, in the other one with a phase i^(m - n) on the sites of a declared `Transposition`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from hpcsim.system import (
    Jumps,
    System,
    Terms,
    cartesian,
    charge_weights,
    conserves_parity,
    matrices,
    translations,
    transposition,
)

LARGEST_LEVELS = 7  # a gate has levels⁸ elements, before charges make it sparse: 46 MB


@dataclass(frozen=True)
class Chain:
    """One cell of an infinite chain.

    period       : sites after which the chain repeats itself
    sublattice   : (sites,) of the cell, an even number of sites: one period, or two
    spins        : (sites,)
    bases        : of every site (levels², levels²): column p is the basis operator p, row by row
    charges      : of every site (levels²,) integers, rising
    modulus      : charges are conserved modulo this; 1: exactly; None: there are none
    liouvillians : of every bond i, from site i to the next: (levels⁴, levels⁴) sparse, indices (p_i, p_next)
    """

    period: int
    sublattice: np.ndarray
    spins: np.ndarray
    bases: tuple[np.ndarray, ...]
    charges: tuple[np.ndarray, ...]
    modulus: int | None
    liouvillians: tuple[sparse.csr_matrix, ...]


def why_not(system: System) -> str | None:
    """None, or why the system is not a cell repeated along a chain with nearest neighbours."""
    if np.any(system.cutoffs):
        return "it has boson modes, and matrix_product is of spins: use the method liouvillian"
    if sums := [jumps for jumps in system.jumps if jumps.collective and jumps.used]:
        return f"it has the jump operator {sums[0]}, and every jump must be on one site or two neighbours"
    n, period = system.sites, _period(system)
    if period is None or n < 3:
        return (
            "the infinite chain is that of which a periodic chain shows at least two cells and three sites; "
            "its sites are in the order of the chain: take a larger one, with periodic: true"
        )
    tables: tuple[Terms | Jumps, ...] = (*cartesian(system), *system.jumps)
    for table in tables:
        apart = np.ptp(table.sites, axis=1)
        if len(table.operators) > 2 or not np.all(np.isin(apart, (0, 1, n - 1))):
            return f"its {table} are not all on single sites and neighbours of one chain"
        if isinstance(table, Terms) and table.plus_hc:
            return (
                f"its Hamiltonian has {table}: terms with a conjugate are products of Sx, Sy, Sz, S+, S- of two sites"
            )
    found = _tables(system)
    if any(found[i] != found[(i + period) % n] for i in range(n)):
        return f"it is not the same after {period} sites, which its Translation declares"
    if (levels := system.levels.max()) > LARGEST_LEVELS:
        return (
            f"a site has {levels} levels, and {LARGEST_LEVELS} are the limit (S = {(LARGEST_LEVELS - 1) / 2:g}): "
            "take a smaller S, or the method phase_space"
        )
    return None


def build(system: System) -> Chain:
    """The cell of a system for which `why_not` is None. Raises ValueError if a declared symmetry does not hold."""
    period, n = _period(system), system.sites
    sites = np.arange(period * (1 + period % 2))
    bases, charges, (modulus, *_) = zip(*(_basis(system, i % n) for i in sites))
    pairs = [_pair(system, i % n) for i in sites]
    liouvillians = []
    for i, pair in enumerate(pairs):
        following = (i + 1) % len(sites)
        liouvillian = _in_basis(pair, bases[i], bases[following])
        charge = np.add.outer(charges[i], charges[following]).ravel()
        rows, columns = liouvillian.nonzero()
        change = charge[rows] - charge[columns]
        if modulus and np.any(change if modulus == 1 else change % modulus):
            raise ValueError(
                f"the model declares {'WeakU1' if modulus == 1 else 'Parity about z'}, but the "
                f"Liouvillian of the sites {i} and {i + 1} does not keep its charge"
            )
        liouvillians.append(liouvillian)
    return Chain(
        period, system.sublattice[sites % n], system.spins[sites % n], bases, charges, modulus, tuple(liouvillians)
    )


def _period(system: System) -> int | None:
    """Sites after which a ring repeats itself, its sites numbered in order; None if no translation says so."""
    n = system.sites
    steps = [move[0] for move in translations(system) if np.array_equal(move, (np.arange(n) + move[0]) % n)]
    return int(min(steps)) if steps and 0 < min(steps) < n else None


@dataclass(frozen=True)
class _Site:
    """Coefficients and rates, by their operators, of one site of a ring and of its bond to the next."""

    levels: int
    sublattice: int
    own: dict
    jumps: dict
    bond: dict
    bond_jumps: dict

    @property
    def strength(self) -> float:
        return float(np.linalg.norm([*self.bond.values(), *self.bond_jumps.values()]))


def _tables(system: System) -> list[_Site]:
    n = system.sites
    found = [_Site(system.levels[i], system.sublattice[i], {}, {}, {}, {}) for i in range(n)]

    def collect(table, values, own: str, bond: str):
        for sites, value in zip(table.sites, values):
            site, key, name = sites[0], table.operators, own
            if np.ptp(sites):
                name, forward = bond, (sites[0] + 1) % n == sites[1]
                site, key = (site, key) if forward else (sites[1], key[::-1])
            there = getattr(found[site], name)
            there[key] = there.get(key, 0.0) + float(value)

    for terms in cartesian(system):
        collect(terms, terms.coefficients, "own", "bond")
    for jumps in filter(lambda jumps: jumps.used, system.jumps):
        collect(jumps, jumps.rates, "jumps", "bond_jumps")
    return found


def _pair(system: System, i: int) -> System:
    """The sites i and i + 1 of the ring with their share of their own terms, jumps included.

    A site's terms are divided between its two bonds in proportion to their couplings, so that a chain of uncoupled
    pairs is exact.
    """
    n, tables = system.sites, _tables(system)
    hamiltonian = [Terms(key, np.array([[0, 1]]), np.array([c])) for key, c in tables[i].bond.items()]
    jumps = [Jumps(key, np.array([[0, 1]]), np.array([rate])) for key, rate in tables[i].bond_jumps.items()]
    for place, site in enumerate((i, (i + 1) % n)):
        left, right = tables[site - 1].strength, tables[site].strength
        share = 0.5 if left + right == 0 else (left if place else right) / (left + right)
        hamiltonian += [
            Terms(key, np.full((1, len(key)), place), np.array([share * c])) for key, c in tables[site].own.items()
        ]
        jumps += [
            Jumps(key, np.full((1, len(key)), place), np.array([share * rate]))
            for key, rate in tables[site].jumps.items()
        ]
    return System(spins=system.spins[[i, (i + 1) % n]], hamiltonian=tuple(hamiltonian), jumps=tuple(jumps))


def _basis(system: System, i: int) -> tuple[np.ndarray, np.ndarray, int | None]:
    """Basis operators of site i, their charges, and the modulus."""
    levels, weights = system.levels[i], charge_weights(system)
    ket, bra = np.divmod(np.arange(levels**2), levels)
    if weights is not None:
        real = transposition(system)
        turned = real is not None and bool(real.alternating[i])
        charge, basis, modulus = int(weights[i]) * (bra - ket), np.diag(1j ** (turned * (bra - ket))), 1
    else:
        unit = np.eye(levels**2).reshape(levels, levels, levels**2)
        other, upper, lower = unit.transpose(1, 0, 2), ket < bra, ket > bra
        basis = np.where(upper, unit + other, np.where(lower, 1j * (unit - other), unit * np.sqrt(2)))
        basis = basis.reshape(levels**2, levels**2) / np.sqrt(2)
        charge, modulus = (abs(ket - bra) % 2, 2) if conserves_parity(system) else (0 * ket, None)
    order = np.argsort(charge, kind="stable")
    return basis[:, order], charge[order], modulus


def _in_basis(pair: System, first: np.ndarray, second: np.ndarray) -> sparse.csr_matrix:
    """The Liouvillian of two sites: rows and columns (p, q) number first[:, p] ⊗ second[:, q]; real if it can be."""
    a, b = pair.levels
    liouvillian = matrices.full_liouvillian(matrices.hamiltonian(pair), matrices.jump_operators(pair))
    # its index of ρ is (bra_1 bra_2 ket_1 ket_2); here (ket_1 bra_1 ket_2 bra_2)
    order = np.arange((a * b) ** 2).reshape(a, b, a, b).transpose(2, 0, 3, 1).ravel()
    change = sparse.kron(first, second, "csr")
    found = change.getH() @ liouvillian[order][:, order] @ change
    found.sum_duplicates()  # a product may have its entries in parts; abs(found) would move them under our hands
    largest = np.abs(found.data).max(initial=0)
    found.data[np.abs(found.data) <= matrices.ROUNDING * largest] = 0
    found.eliminate_zeros()
    return found if np.any(np.abs(found.data.imag) > matrices.ROUNDING * largest) else found.real
