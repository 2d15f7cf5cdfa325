"""From a `System` to the tables of the kernels: local matrices that act on a few sites of a state vector.

Basis as in `hpcsim.matrices`: site 0 is the slowest index, Sz falls. Site i has the stride Π_{j>i} levels_j.
"""
from functools import cache
from typing import NamedTuple

import numpy as np

from hpcsim.matrices import one_site_operator
from hpcsim.system import System

BLOCK = 128     # basis states whose results stay in the fastest cache


class Generator(NamedTuple):
    """-i H_eff with H_eff = H - (i/2) Σ γ L†L, as a diagonal and the rows of local matrices of H_eff.

    Local row a has the entries rows[a] ... rows[a+1]: the amplitude of state s takes coefficient * ψ[s + shift].
    The state vector is worked through in blocks, and for every local matrix (group) in pieces within which no
    level of its sites changes. Sites whose stride is below the block are inner sites, the others outer ones.

    diagonal  : (D,) complex, of -i H_eff
    piece     : (groups,) states of a piece: the lowest stride, or a block
    first_row : (groups,)
    outer_stride, outer_levels, outer_rows : (groups, sites) of outer sites, with the rows that one level
                skips; padded by sites of one level
    place     : (groups + 1,) where a group's pieces begin in inner_row
    inner_row : row of each piece of a block, when the levels of the outer sites are 0
    rows, shift, coefficient : entries
    block    : basis states done together, the stride of a site or D
    scale    : time in which the largest row of H_eff turns a state by about 1
    """

    diagonal: np.ndarray
    piece: np.ndarray
    first_row: np.ndarray
    outer_stride: np.ndarray
    outer_levels: np.ndarray
    outer_rows: np.ndarray
    place: np.ndarray
    inner_row: np.ndarray
    rows: np.ndarray
    shift: np.ndarray
    coefficient: np.ndarray
    block: int
    scale: float


class Channels(NamedTuple):
    """Jump operators. Channel c is the sum of the one-site operators parts[c] ... parts[c+1].

    rate   : (channels,)
    parts  : (channels + 1,)
    stride, levels, first_row : (all parts,) as in `Generator`
    rows, shift, coefficient  : entries
    """

    rate: np.ndarray
    parts: np.ndarray
    stride: np.ndarray
    levels: np.ndarray
    first_row: np.ndarray
    rows: np.ndarray
    shift: np.ndarray
    coefficient: np.ndarray


def strides(system: System) -> np.ndarray:
    """(sites,) distance in the state vector of neighbouring levels of each site."""
    return np.append(np.cumprod(system.levels[:0:-1])[::-1], 1).astype(np.int64)


@cache
def operator(name: str, spin: float) -> np.ndarray:
    """(2S+1, 2S+1) complex."""
    return one_site_operator(name, spin).toarray().astype(complex)


def local_matrices(system: System) -> dict[tuple[int, ...], np.ndarray]:
    """H_eff as a sum of matrices on a few sites: {rising sites: matrix in their product basis}."""
    found = {}

    def add(factors: dict, coefficient):
        sites = tuple(sorted(factors))
        matrix = np.eye(1)
        for site in sites:
            matrix = np.kron(matrix, factors[site])
        found[sites] = found.get(sites, 0) + coefficient * matrix

    for terms in system.hamiltonian:
        for coefficient, sites in zip(terms.coefficients, terms.sites.tolist()):
            factors = {}
            for name, site in zip(terms.operators, sites):
                factor = operator(name, system.spins[site])
                factors[site] = factors[site] @ factor if site in factors else factor
            if coefficient:
                add(factors, coefficient)
    for jumps in system.jumps:
        for rate, sites in _channels(jumps):
            ladder = {site: operator(jumps.operator, system.spins[site]) for site in sites}
            for i in sites:
                for j in sites:
                    left, right = ladder[i].conj().T, ladder[j]
                    add({i: left @ right} if i == j else {i: left, j: right}, -0.5j * rate)
    return found


def _channels(jumps):
    """(rate, sites) of every jump operator of a family whose rate is not zero."""
    sites = jumps.sites.tolist()
    each = [sites] if jumps.collective else [[site] for site in sites]
    return [(float(rate), where) for rate, where in zip(jumps.rates, each) if rate]


class _Rows:
    """Entries of local matrices, row by row."""

    def __init__(self):
        self.rows, self.shift, self.coefficient = [0], [], []

    def add(self, matrix, position) -> int:
        """Append a matrix whose local states lie at `position` in the state vector; returns its first row."""
        first = len(self.rows) - 1
        largest = np.abs(matrix).max(initial=0)
        for a, row in enumerate(matrix):
            for b in np.flatnonzero(np.abs(row) > 1e-14 * largest):
                self.shift.append(position[b] - position[a])
                self.coefficient.append(row[b])
            self.rows.append(len(self.shift))
        return first

    def arrays(self):
        return (np.array(self.rows, np.int64), np.array(self.shift, np.int64),
                np.array(self.coefficient, np.complex128))


def _positions(sites, stride, levels) -> np.ndarray:
    """Where the local states of some sites lie relative to that with all levels 0."""
    total = np.zeros(1, np.int64)
    for site in sites:
        total = np.add.outer(total, stride[site] * np.arange(levels[site])).ravel()
    return total


def generator(system: System) -> Generator:
    """Compile H_eff."""
    stride, levels, dimension = strides(system), system.levels, round(system.dimension)
    diagonal, table, groups, size = np.zeros(dimension, complex), _Rows(), [], 0.0
    for sites, matrix in local_matrices(system).items():
        shape = np.ones(system.sites, int)
        shape[list(sites)] = levels[list(sites)]
        # the local diagonal, spread over all other sites
        view = diagonal.reshape(levels)
        view += -1j * np.diag(matrix).reshape(shape)
        off = matrix - np.diag(np.diag(matrix))
        size += np.abs(off).sum(axis=1).max()
        if np.any(off):
            groups.append((list(sites), table.add(off, _positions(sites, stride, levels))))
    block = max(n for n in (dimension, *stride) if n <= max(BLOCK, stride[-1]))
    width = max((len(sites) for sites, _ in groups), default=0)
    outer_stride, outer_levels, outer_rows = (np.full((len(groups), width), n, np.int64) for n in (dimension, 1, 0))
    piece, place, inner_row = [], [0], []
    for g, (sites, _) in enumerate(groups):
        skip = np.append(np.cumprod(levels[sites][:0:-1])[::-1], 1)
        outer = np.flatnonzero(stride[sites] >= block)
        for table_of, values in (outer_stride, stride[sites]), (outer_levels, levels[sites]), (outer_rows, skip):
            table_of[g, outer] = values[outer]
        piece.append(min(block, stride[sites[-1]]))
        starts = np.arange(0, block, piece[-1])
        inner_row.append(sum((starts // stride[site] % levels[site] * rows for site, rows in zip(sites, skip)
                              if stride[site] < block), np.zeros(len(starts), np.int64)))
        place.append(place[-1] + len(starts))
    norm = size + np.ptp(diagonal.imag) / 2 + np.abs(diagonal.real).max()
    return Generator(diagonal, np.array(piece, np.int64), np.array([first for _, first in groups], np.int64),
                     outer_stride, outer_levels, outer_rows, np.array(place, np.int64),
                     np.concatenate([np.zeros(0, np.int64), *inner_row]), *table.arrays(), int(block),
                     1 / max(norm, 1e-300))


def channels(system: System) -> Channels:
    """Compile the jump operators."""
    stride, levels, table, known = strides(system), system.levels, _Rows(), {}
    rates, parts, where, first_row = [], [0], [], []
    for jumps in system.jumps:
        for rate, sites in _channels(jumps):
            for site in sites:
                key = jumps.operator, system.spins[site], stride[site]
                if key not in known:
                    known[key] = table.add(operator(*key[:2]), _positions([site], stride, levels))
                where.append(site)
                first_row.append(known[key])
            rates.append(rate)
            parts.append(len(where))
    return Channels(np.array(rates, float), np.array(parts, np.int64), stride[where],
                    levels[where].astype(np.int64), np.array(first_row, np.int64), *table.arrays())


def coherent_state(system: System, angles: np.ndarray) -> np.ndarray:
    """ψ (D,) of the product of spin coherent states in directions (sites, 2) of polar angle and azimuth.

    ⟨m|θ, φ⟩ = sqrt(C(2S, S-m)) cos(θ/2)^(S+m) sin(θ/2)^(S-m) e^(i(S-m)φ)
    """
    state = np.ones(1, complex)
    for size, (polar, azimuth) in zip(system.levels, angles):
        j = np.arange(size)
        choose = np.cumprod(np.concatenate([[1.0], (size - j[1:]) / j[1:]]))
        state = np.kron(state, np.sqrt(choose) * np.cos(polar / 2) ** (size - 1 - j) * np.sin(polar / 2) ** j
                        * np.exp(1j * j * azimuth))
    return state
