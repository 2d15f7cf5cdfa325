"""From a `System` to the tables of the kernels: local matrices that act on a few sites of a state vector.

Basis as in `hpcsim.system.matrices`: site 0 is the slowest index, Sz falls, and so does the number of a boson mode.
Site i has the stride Π_{j>i} levels_j.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from hpcsim.methods.trajectories.simd import CHUNK, COEFFICIENT_BITS
from hpcsim.system import System
from hpcsim.system.operators import adjoint, local_operator

BLOCK = 2048  # basis states whose rows are tabulated together; they and their neighbours stay in the fast caches
PAD = CHUNK  # zeros on both sides of a state, where a chunk at its end may look


class Generator(NamedTuple):
    """-i H_eff as a diagonal and rows of off-diagonal entries for chunks of eight states.

    A chunk's entry takes the eight neighbouring states at a distance, with a coefficient for each; a flip of one of
    the last three sites, all spins 1/2, is a permutation of the eight. A block is all states of the last sites.
    Entries that change those sites are tabulated for one block, once for each set of levels of the first sites
    that share a term with them (a pattern); entries of the first sites alone belong to a block.

    Entries of H_a, which depend on time, point at a state of their own: at the a-th behind the one that H_0 acts on.

    diagonal : (2, chunks CHUNK) real and imaginary part, of -i H_eff, or -i H_0
    driven   : (parts, 2, chunks CHUNK) those of -i H_a
    rows     : chunks of a block
    pattern  : (blocks,)
    entries  : shift << COEFFICIENT_BITS | first element of the coefficients in table
    table    : (different coefficients, CHUNK), flat
    segments : bounds of the entries of each chunk of each pattern: those of the permutations 0 ... 7 with real
               coefficients, then the imaginary ones; from `outer` on, real and imaginary ones of each block
    scale    : time in which the largest row of H_eff turns a state by about 1
    """

    diagonal: np.ndarray
    driven: np.ndarray
    rows: int
    pattern: np.ndarray
    entries: np.ndarray
    table: np.ndarray
    segments: np.ndarray
    outer: int
    scale: float


class Channels(NamedTuple):
    """Jump operators. Channel c is the sum of the products parts[c] ... parts[c+1].

    rate    : (channels,)
    parts   : (channels + 1,)
    factors : (parts + 1,) first one-site operator of each product, the last one acts first
    stride, levels, first_row : (all factors,) as in `Generator`
    rows, shift, coefficient  : entries
    """

    rate: np.ndarray
    parts: np.ndarray
    factors: np.ndarray
    stride: np.ndarray
    levels: np.ndarray
    first_row: np.ndarray
    rows: np.ndarray
    shift: np.ndarray
    coefficient: np.ndarray


def strides(levels: np.ndarray) -> np.ndarray:
    """(sites,) distance in the state vector of neighbouring levels of each site."""
    return np.append(np.cumprod(levels[:0:-1])[::-1], 1)[: len(levels)].astype(np.int64)  # none of no sites


def level_table(levels: np.ndarray) -> np.ndarray:
    """(states, sites) levels of all states."""
    return np.arange(np.prod(levels, dtype=int))[:, None] // strides(levels) % levels


@lru_cache(maxsize=32)
def operator(name: str, levels: int) -> np.ndarray:
    """(levels, levels) complex; read-only, since it is kept."""
    matrix = local_operator(name, levels).toarray().astype(complex)
    matrix.flags.writeable = False
    return matrix


def local_matrix(system: System, factors) -> tuple[tuple[int, ...], np.ndarray]:
    """A product of (name, site), in their order: rising sites, and its matrix in their product basis."""
    found = {}
    for name, site in factors:
        factor = operator(name, int(system.levels[site]))
        found[site] = found[site] @ factor if site in found else factor
    sites, matrix = tuple(sorted(found)), np.eye(1)
    for site in sites:
        matrix = np.kron(matrix, found[site])
    return sites, matrix


def local_matrices(system: System) -> dict[tuple[int, ...], np.ndarray]:
    """H_eff as a sum of matrices on a few sites: {rising sites: matrix in their product basis}."""
    found = {}

    def add(factors, coefficient, plus_hc=False):
        sites, matrix = local_matrix(system, factors)
        matrix = coefficient * matrix
        found[sites] = found.get(sites, 0) + (matrix + matrix.conj().T if plus_hc else matrix)

    for terms in system.hamiltonian:
        for coefficient, sites in zip(terms.coefficients, terms.sites.tolist()):
            if coefficient:
                add(list(zip(terms.operators, sites)), coefficient, terms.plus_hc)
    for jumps in system.jumps:
        products = [list(zip(jumps.operators, sites)) for sites in jumps.sites.tolist()]
        adjoints = [[(adjoint(name), site) for name, site in reversed(product)] for product in products]
        if jumps.collective:
            rates = jumps.rate_matrix()
            used = abs(rates) > 1e-15 * abs(rates).max(initial=0)
            for s, r in zip(*np.nonzero(used.T)):
                add(adjoints[s] + products[r], -0.5j * rates[r, s])
        else:
            for r in np.flatnonzero(jumps.rates):
                add(adjoints[r] + products[r], -0.5j * jumps.rates[r])
    return found


def jump_channels(system: System) -> list[tuple[float, list]]:
    """(rate, [(weight, factors), ...]) of every jump operator whose rate is not zero; factors are (name, site)."""
    found = []
    for jumps in system.jumps:
        products = [list(zip(jumps.operators, sites)) for sites in jumps.sites.tolist()]
        for rate, rows, weights in jumps.channels():
            found.append((rate, [(weight, products[r]) for r, weight in zip(rows, weights)]))
    return found


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
        return (
            np.array(self.rows, np.int64),
            np.array(self.shift, np.int64),
            np.array(self.coefficient, np.complex128),
        )


class _Entries:
    """Entries of a `Generator`, collected by row and segment."""

    def __init__(self):
        self.known, self.table, self.open, self.closed, self.begun = {}, [], [], [], 0

    def add(self, terms, here, stride, row, permute: bool):
        """Entries of the states with the levels `here` (states, sites), eight a row from `row` on."""
        groups = {}
        for sites, a, b, coefficient, behind in terms:
            move = dict(zip(sites, (b - a).tolist()))
            shift = behind + sum(step * int(stride[site]) for site, step in move.items())
            low = {site: step for site, step in move.items() if permute and stride[site] < CHUNK}
            mask = sum(abs(step) * int(stride[site]) for site, step in low.items())
            high = shift - sum(step * int(stride[site]) for site, step in low.items())
            for part, place in (coefficient.real, (mask, high)), (coefficient.imag, (CHUNK, shift)):
                if part:
                    groups.setdefault(place, []).append((sites, a, part))
        for (segment, shift), members in sorted(groups.items()):
            values = np.zeros(-(-len(here) // CHUNK) * CHUNK)
            for sites, a, part in members:
                values[: len(here)][np.all(here[:, sites] == a, axis=1)] += part
            values = values.reshape(-1, CHUNK)
            used = np.flatnonzero(np.any(values, axis=1))
            self._append(row + used, segment, shift, values[used])

    def add_outer(self, terms, levels, stride):
        """Entries of all states of the blocks whose first sites have these levels (blocks, sites)."""
        for sites, a, b, coefficient, behind in terms:
            shift = behind + int((b - a) @ stride[list(sites)])
            used = np.flatnonzero(np.all(levels[:, sites] == a, axis=1))
            for segment, part in enumerate((coefficient.real, coefficient.imag)):
                if part:
                    self._append(used, segment, shift, np.full((len(used), CHUNK), part))

    def _append(self, rows, segment, shift, values):
        different, which = np.unique(values, axis=0, return_inverse=True)
        number = np.empty(len(different), np.int64)
        for k, value in enumerate(different):
            number[k] = self.known.setdefault(value.tobytes(), len(self.known))
            if number[k] == len(self.table):
                self.table.append(value)
        words = np.int64(shift) * 2**COEFFICIENT_BITS + CHUNK * number[which.ravel()]
        self.open.append(np.stack([rows, np.full(len(rows), segment), words]))

    def close(self, rows: int, segments: int) -> np.ndarray:
        """Sort what was added by row and segment, and return the bounds of the segments."""
        row, segment, words = np.hstack([np.zeros((3, 0), np.int64), *self.open])
        bin_of = row * segments + segment
        self.closed.append(words[np.argsort(bin_of, kind="stable")])
        counts = np.bincount(bin_of, minlength=rows * segments)
        bounds = self.begun + np.concatenate([[0], np.cumsum(counts)])
        self.open, self.begun = [], int(bounds[-1])
        return bounds

    def arrays(self):
        return np.concatenate(self.closed), np.concatenate([np.zeros(0), *self.table])


def flips(system: System, local: dict[tuple[int, ...], np.ndarray]) -> np.ndarray | None:
    """(channels,) 1 where a jump changes the parity of the sum of all levels, 0 where it does not.

    local : H_eff, see `local_matrices`.
    None if H_eff or a jump does not have such a parity, or the last site has more than two levels.
    """

    def steps(matrix, levels):
        moved = np.argwhere(np.abs(matrix) > 1e-14 * np.abs(matrix).max(initial=0))
        table = level_table(levels).sum(axis=1)
        return set(((table[moved[:, 0]] - table[moved[:, 1]]) % 2).tolist())

    levels = system.levels
    if levels[-1] != 2 or any(steps(matrix, levels[list(sites)]) - {0} for sites, matrix in local.items()):
        return None
    found = [
        set().union(
            *(steps(matrix, levels[list(sites)]) for sites, matrix in (local_matrix(system, p) for _, p in parts))
        )
        for _, parts in jump_channels(system)
    ]
    return np.array([max(change) for change in found], np.int64) if all(len(c) == 1 for c in found) else None


def generator(
    levels: np.ndarray,
    local: dict[tuple[int, ...], np.ndarray],
    parity: int | None = None,
    driven: Sequence[dict[tuple[int, ...], np.ndarray]] = (),
) -> Generator:
    """Compile H_eff, the sum of the matrices `local` on some of the sites with these levels.

    parity : of the sum of all levels, if H_eff conserves it: the last site, of two levels, is then known from the
             others, and the state vector is theirs
    driven : the H_a, each as `local`, where that is H_0
    """
    known, (own, down) = parity is not None, _known(levels, parity)
    stride, dimension = strides(own), int(np.prod(own))
    block = max((n for n in (dimension, *stride.tolist()) if n <= BLOCK and n % CHUNK == 0), default=dimension)
    stride = np.append(stride, 0) if known else stride
    first = int(np.searchsorted(-stride, -block, side="right"))  # sites from here on are within a block
    padded = -(-dimension // CHUNK) * CHUNK
    diagonals, terms = np.zeros((1 + len(driven), 2, padded)), []
    for part, matrices in enumerate((local, *driven)):
        diagonal = _diagonal(levels, own, matrices, down)
        diagonals[part, :, :dimension] = diagonal.real, diagonal.imag
        terms += _transitions(levels, matrices, 2 * part * (padded + 2 * PAD))
    mixed = sorted({site for sites, *_ in terms if max(sites) >= first for site in sites if site < first})
    outer_levels, weights = level_table(levels[:first]), np.zeros(first, int)
    weights[mixed] = strides(levels[mixed])
    code = 2 * (outer_levels @ weights) + (outer_levels.sum(axis=1) % 2 if known else 0)
    _, example, pattern = np.unique(code, return_index=True, return_inverse=True)
    here = np.hstack([np.zeros((block, first), int), level_table(own[first:])])
    rows, table = -(-block // CHUNK), _Entries()
    for p, outer in enumerate(example):
        here[:, :first] = outer_levels[outer]
        last = [(here.sum(axis=1, keepdims=True) + parity) % 2] if known else []
        table.add(
            [term for term in terms if max(term[0]) >= first],
            np.hstack([here, *last]),
            stride,
            p * rows,
            permute=own[-3:].tolist() == [2, 2, 2],
        )
    inner_segments = table.close(len(example) * rows, CHUNK + 1)
    table.add_outer([term for term in terms if max(term[0]) < first], outer_levels, stride)
    outer_segments = table.close(len(pattern), 2)
    return Generator(
        diagonals[0],
        diagonals[1:],
        rows,
        pattern,
        *table.arrays(),
        np.concatenate([inner_segments, outer_segments]),
        len(inner_segments),
        _scale(local, diagonals[0, :, :dimension]),
    )


def scale(levels: np.ndarray, local: dict[tuple[int, ...], np.ndarray], parity: int | None = None) -> float:
    """That of a `generator`, without the rest of it."""
    own, down = _known(levels, parity)
    diagonal = _diagonal(levels, own, local, down)
    return _scale(local, (diagonal.real, diagonal.imag))


def _scale(local, diagonal) -> float:
    real, imag = diagonal
    return 1 / max(largest_row(local, diagonal=False) + np.ptp(imag) / 2 + np.abs(real).max(), 1e-300)


def _known(levels, parity: int | None):
    """Levels of the sites that a state tells apart, and where the last one is then down, or None where it is told."""
    if parity is None:
        return levels, None
    own = levels[:-1]
    return own, (level_table(own).sum(axis=1).reshape(own) + parity) % 2 == 1


def largest_row(local: dict[tuple[int, ...], np.ndarray], diagonal: bool = True) -> float:
    """A bound of the row sums of the moduli of a sum of local matrices, with or without their diagonals."""
    moduli = (np.abs(matrix) * (diagonal or 1 - np.eye(len(matrix))) for matrix in local.values())
    return float(sum(matrix.sum(axis=1).max(initial=0) for matrix in moduli))


def _diagonal(levels, own, local, down) -> np.ndarray:
    """(states,) of -i times the sum of local matrices; down: where the last site is, if the others tell, else None."""
    total = np.zeros(own, complex)
    for sites, matrix in local.items():
        shape = np.ones(len(levels), int)
        shape[list(sites)] = levels[list(sites)]
        part = -1j * np.diag(matrix).reshape(shape)  # the local diagonal, spread over all other sites
        total += part if down is None else np.where(down, part[..., -1], part[..., 0])
    return total.ravel()


def _transitions(levels, local, behind: int) -> list[tuple]:
    """(sites, their levels after and before, coefficient, behind) of all off-diagonal entries of local matrices."""
    found = []
    for sites, matrix in local.items():
        off = matrix - np.diag(np.diag(matrix))
        table = level_table(levels[list(sites)])
        found += [
            (sites, table[a], table[b], off[a, b], behind)
            for a, b in np.argwhere(np.abs(off) > 1e-14 * np.abs(off).max(initial=0))
        ]
    return found


def channels(system: System, found: list[tuple[float, list]] | None = None) -> Channels:
    """Compile the jump operators, or other `found` ones in their place, as `jump_channels` has them."""
    stride, levels, table, known = strides(system.levels), system.levels, _Rows(), {}
    rates, parts, factors, where, first_row = [], [0], [0], [], []
    for rate, products in jump_channels(system) if found is None else found:
        for weight, product in products:
            for name, site in product:
                key = name, int(levels[site]), stride[site], weight
                if key not in known:
                    known[key] = table.add(weight * operator(*key[:2]), stride[site] * np.arange(levels[site]))
                where.append(site)
                first_row.append(known[key])
                weight = 1.0  # of the product: once
            factors.append(len(where))
        rates.append(rate)
        parts.append(len(factors) - 1)
    return Channels(
        np.array(rates, float),
        np.array(parts, np.int64),
        np.array(factors, np.int64),
        stride[where],
        levels[where].astype(np.int64),
        np.array(first_row, np.int64),
        *table.arrays(),
    )
