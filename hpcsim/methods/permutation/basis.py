"""Sectors of the symmetrised Pauli strings, and rows of the Liouvillian in them.

A symmetric state of N spins 1/2 is given by its correlators

    e(n_x, n_y, n_z) = ⟨σx_1...σx_{n_x} σy_{n_x+1}... σz...⟩,      n_x + n_y + n_z <= N,

C(N+3, 3) real numbers, e(0, 0, 0) = 1, so that

    ρ = 2^-N Σ_n e(n) Σ (all distinct arrangements of the string on the sites).

Where rotations by π about z commute with the Liouvillian, n_x + n_y even and odd do not mix.
Unscaled correlators, all at most 1 in modulus, are the right variables: e(0, 0, 0) is not small against
the others, and the low eigenvectors are well conditioned. Scaled to orthonormal strings, the overlap of
the left and right eigenvectors of the steady state would be exp(-(N ln 2 - S_2)/2), S_2 = -ln Tr ρ².
"""

from collections import namedtuple

import numpy as np
from scipy import sparse
from scipy.special import gammaln

from hpcsim.compiled import njit
from hpcsim.methods.permutation.compile import Moves
from hpcsim.methods.permutation.ordering import nested_dissection

# counts : (size, 3) n_x, n_y, n_z of every unknown
# index  : (N + 1, N + 1, N + 1) the unknown with these counts, -1 where the sector has no such string
Layout = namedtuple("Layout", "N counts index")


def sector_size(N: int, parity: int) -> int:
    """Unknowns of the sector with n_x + n_y even (1), odd (-1), or both (0)."""
    n = np.arange(N + 1)
    return int(np.sum(_columns_of(n, parity) * (N - n + 1)))


def _columns_of(n, parity):
    """How many (n_x, n_y) with n_x + n_y = n a sector has."""
    return np.where((parity == 0) | (n % 2 == (parity < 0)), n + 1, 0)


class Strings:
    """A sector of strings: its unknowns, and rows of the Liouvillian given by `moves`.

    parity    : 1 and -1 for n_x + n_y even and odd, 0 for all strings
    dissected : numbered for elimination (see `ordering`); else by n_x + n_y + n_z
    size      : number of unknowns
    spin      : N/2
    """

    def __init__(self, N: int, parity: int, moves: Moves, dissected: bool = True):
        side = np.arange(N + 1, dtype=np.int32)
        rows = [(x, y) for x in side for y in side[: N + 1 - x] if parity == 0 or (x + y) % 2 == (parity < 0)]
        lengths = np.array([N + 1 - x - y for x, y in rows])
        counts = np.column_stack([np.repeat(rows, lengths, axis=0), np.concatenate([side[:n] for n in lengths])])
        order = (
            nested_dissection(counts, moves.shift)
            if dissected
            else np.lexsort((counts[:, 2], counts[:, 0], counts.sum(1)))
        )
        counts = counts[order]
        index = np.full((N + 1, N + 1, N + 1), -1, np.int32)
        index[tuple(counts.T)] = np.arange(len(counts))
        self.layout = Layout(N, counts, index)
        self.N, self.parity, self.moves = N, parity, moves
        self.size, self.spin = len(counts), N / 2

    def __str__(self):
        return {0: "all strings", 1: "the even strings", -1: "the odd strings"}[self.parity]

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows start..stop-1 of the Liouvillian: (stop - start, size), the diagonal always stored."""
        return self.rows_towards(self, start, stop)

    def rows_towards(self, other: "Strings", start: int, stop: int, moves: Moves = None) -> sparse.csr_matrix:
        """Rows start..stop-1 of the map from the strings of `other` to these: (stop - start, other.size)."""
        moves = moves or self.moves
        shifts, ends = moves.shifts
        room = (len(shifts) + 1) * (stop - start)
        pointer = np.zeros(stop - start + 1, np.int64)
        columns, data = np.empty(room, np.int64), np.empty(room)
        _fill(
            self.layout,
            other.layout,
            self is other,
            start,
            stop,
            shifts,
            ends,
            moves.labels,
            moves.factor * moves.rate,
            pointer,
            columns,
            data,
        )
        used = pointer[-1]
        return sparse.csr_matrix((data[:used], columns[:used], pointer), (stop - start, other.size))

    def trace(self, start: int, stop: int) -> np.ndarray:
        """Tr ρ is the unknown e(0, 0, 0); if it is the only one that is not zero, ρ is the fully mixed state."""
        return (np.arange(start, stop) == self.index(0, 0, 0)) * float(self.parity >= 0)

    def index(self, nx: int, ny: int, nz: int) -> int:
        """The unknown of a string, -1 if it is not in this sector."""
        return int(self.layout.index[nx, ny, nz])

    def strings(self) -> np.ndarray:
        """(size, 4) the counts n_0, n_x, n_y, n_z of every unknown."""
        return np.column_stack([self.N - self.layout.counts.sum(1), self.layout.counts])

    def log_norms(self) -> np.ndarray:
        """ln of the factor of e(n)² in Tr ρ²: 2^-N N!/(n_0! n_x! n_y! n_z!), (size,)."""
        return gammaln(self.N + 1) - gammaln(self.strings() + 1).sum(1) - self.N * np.log(2)


class Moved:
    """The Liouvillian of other moves on the same strings: a part of one that depends on time."""

    def __init__(self, strings: Strings, moves: Moves):
        self._strings, self._moves, self.size = strings, moves, strings.size

    def __str__(self):
        return str(self._strings)

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """As those of `Strings`."""
        return self._strings.rows_towards(self._strings, start, stop, self._moves)


class Balanced(Strings):
    """The strings with the unknowns e(n) (N!/(n_0! n_x! n_y! n_z!))^(1/4), for eigenvalues.

    They lie half way between correlators and orthonormal strings. In either of these the Liouvillian is so far from
    normal that rounding alone moves its eigenvalues: for N = 95, Jy = 2.5 γ the even gap of 0.522 becomes -0.6 with
    correlators and -1.2 with orthonormal strings, with residuals below 1e-8. Here it is 0.521986, also with the powers
    0.15 and 0.3 instead of 1/4.
    """

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        matrix, logs = super().rows(start, stop), self.log_norms() / 4
        rows = np.repeat(np.arange(start, stop), np.diff(matrix.indptr))
        matrix.data *= np.exp(logs[rows] - logs[matrix.indices])
        return matrix


@njit(cache=True)
def _fill(layout, other, diagonal, start, stop, shifts, ends, labels, weight, pointer, columns, data):
    """Rows start..stop-1: one entry for each different shift that applies to the string."""
    at, n = 0, np.empty(4, np.int64)
    for u in range(start, stop):
        n[1], n[2], n[3] = layout.counts[u, 0], layout.counts[u, 1], layout.counts[u, 2]
        n[0] = layout.N - n[1] - n[2] - n[3]
        if diagonal:
            columns[at], data[at] = u, 0
            at += 1
        for g in range(len(shifts)):
            value = 0.0
            for r in range(ends[g], ends[g + 1]):
                a, b = labels[r]
                factor = n[a] if b < 0 else n[a] * (n[b] - (a == b))
                value += weight[r] * factor
            if value == 0:
                continue
            x, y, z = n[1] + shifts[g, 0], n[2] + shifts[g, 1], n[3] + shifts[g, 2]
            to = other.index[x, y, z]
            if diagonal and to == u:
                data[pointer[u - start]] += value
            else:
                columns[at], data[at] = to, value
                at += 1
        pointer[u - start + 1] = at
