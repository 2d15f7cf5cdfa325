"""Symmetry sectors of the Liouvillian as real sparse matrices, assembled by ranges of rows.

In a sector (see `symmetry`) ρ = Σ_u x_u B_u. B_u is c|m><n| together with its images under all maps that
fix the sector's ρ: an orbit of |m><n|. Where an antilinear map takes |m><n| to itself it fixes the phase
c; elsewhere there are two unknowns, with c = 1 and c = i. The matrix of the Liouvillian is real. Without an
antilinear map its eigenvalues are those of the sector and their conjugates.
"""

import functools
from collections import namedtuple

import numpy as np
from scipy import sparse

from hpcsim.compiled import njit
from hpcsim.methods.liouvillian.operators import Operators
from hpcsim.methods.liouvillian.symmetry import Name

KEPT = 2**14  # |m><n| of a sector up to which what unknowns they belong to is kept
# first, block : as in Operators; pairs[b] = number of the first |m><n| with n in block b
Layout = namedtuple("Layout", "k first block pairs")
# of every |m><n| of the sector: the (first) unknown of its orbit or -1, and the map that leads there from
# that unknown's m, n
Orbits = namedtuple("Orbits", "unknown map")


def _numbered(operators: Operators, name: Name):
    """layout, maps, orbits, m, n, phase and weight of a `Sector`."""
    first, k = operators.first, name.k
    widths = np.diff(first)
    layout = Layout(k, first, operators.block, np.concatenate([[0], np.cumsum(widths[k:] * widths[: len(widths) - k])]))
    maps = operators.symmetries.maps(name, operators.order)
    unknown, chosen, *unknowns = _orbits(layout, maps)
    return layout, maps, Orbits(unknown, chosen), *unknowns


class Sector:
    """One sector of a system: its unknowns, and rows of its Liouvillian.

    size  : number of unknowns; 0 if the symmetries leave nothing
    m, n, phase : (size,) of the representative c|m><n| of every B
    weight : (size,) Tr B†B = the number of |m><n| in the orbit
    doubled : whether the eigenvalues are those of the sector and their conjugates

    like : a sector of this name whose system has the same levels and symmetries, and so the same unknowns
    """

    def __init__(self, operators: Operators, name: Name, like: "Sector | None" = None):
        self.operators, self.name = operators, name
        self._numbered = like._numbered if like else self._number()
        self.layout, self.maps, self.orbits, self.m, self.n, self.phase, self.weight = self._numbered
        self.doubled = operators.symmetries.of(name).antilinear is None
        self.size = len(self.m)

    def _number(self):
        return self.operators.share(
            ("liouvillian", "unknowns", self.name), lambda: _numbered(self.operators, self.name)
        )

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows start..stop-1 of the Liouvillian: (stop - start, size) real."""
        h, jumps, m, n = self.operators.effective, self.operators.jumps, self.m[start:stop], self.n[start:stop]
        h_length = np.diff(h.indptr)
        length = h_length[m] + h_length[n]
        for jump in jumps:
            l_length = np.diff(jump.indptr)
            length += l_length[m] * l_length[n]
        twins = np.any((self.m[1:] == self.m[:-1]) & (self.n[1:] == self.n[:-1]))
        room = int(length.sum()) * (2 if twins else 1) + stop - start
        pointer, columns = np.zeros(stop - start + 1, np.int64), np.empty(room, np.int32)
        data = np.empty(room)
        stacked = sparse.vstack([sparse.csr_matrix(h.shape), *jumps], "csr").astype(complex)
        unknowns = self.m, self.n, self.phase
        _fill(
            self.layout,
            self.maps,
            self.orbits,
            unknowns,
            start,
            stop,
            h.indptr,
            h.indices,
            h.data,
            self.operators.rates,
            stacked.indptr[h.shape[0] :],
            stacked.indices,
            stacked.data,
            pointer,
            columns,
            data,
        )
        used = pointer[-1]
        matrix = sparse.csr_matrix((data[:used], columns[:used], pointer), (stop - start, self.size))
        matrix.sum_duplicates()
        return matrix

    def __str__(self):
        return str(self.name)

    @property
    def spin(self) -> float:
        """Σ_i S_i."""
        return self.operators.spin

    def trace(self, start: int, stop: int) -> np.ndarray:
        """Tr B of unknowns start..stop-1; also the components of a positive diagonal state."""
        return np.where(self.m == self.n, self.weight, 0.0)[start:stop]

    def overlaps(self, matrix: sparse.spmatrix, start: int, stop: int) -> np.ndarray:
        """Tr B†A of unknowns start..stop-1 with a matrix A in the product basis: (stop - start,) complex."""
        place = np.argsort(self.operators.order)
        entries = matrix.tocoo()
        p, q, block = place[entries.row], place[entries.col], self.operators.block
        inside = np.flatnonzero(block[p] - block[q] == self.name.k)
        found = np.zeros(stop - start, complex)
        for at, u, element in self._entries(_pair.py_func(self.layout, p[inside], q[inside])):
            here = (u >= start) & (u < stop)
            terms = entries.data[inside[at[here]]] * element[here].conj()
            found.real += np.bincount(u[here] - start, terms.real, len(found))
            found.imag += np.bincount(u[here] - start, terms.imag, len(found))
        return found

    def _entries(self, pairs: np.ndarray):
        """Yield (at, u, element): the pairs[at] with an unknown, which it is, and the elements of B_u there.

        Orbits with two unknowns, one after the other, are yielded twice.
        """
        maps, u = self.maps, self.orbits.unknown[pairs]
        at = np.flatnonzero(u >= 0)
        u, g = u[at], self.orbits.map[pairs[at]]
        while len(at):
            m, n, phase = self.m[u], self.n[u], self.phase[u]
            factor = maps.phase[g] * (maps.sign[g, m] * maps.sign[g, n])
            yield at, u, factor * np.where(maps.conjugate[g], phase.conj(), phase)
            after = np.minimum(u + 1, self.size - 1)
            twins = (after > u) & (self.m[after] == m) & (self.n[after] == n)
            at, u, g = at[twins], after[twins], g[twins]

    def functional(self, operator: sparse.spmatrix, start: int, stop: int) -> np.ndarray:
        """Tr OB of unknowns start..stop-1: (stop - start,) complex. Of a Hermitian ρ, Tr Oρ is real."""
        return self.overlaps(operator.conj().T, start, stop).conj()

    def diagonal(self, x: np.ndarray, start: int, stop: int) -> np.ndarray:
        """What the components start..stop-1 of a state add to ρ_ss, in the product basis: (D,)."""
        found, order = np.zeros(len(self.operators.order)), self.operators.order
        states = np.arange(len(order))
        pairs = _pair.py_func(self.layout, states, states)
        unknown = self.orbits.unknown[pairs]
        inside = (unknown >= start) & (unknown < stop)
        found[order[inside]] = x[unknown[inside] - start]
        return found

    def elements(self, x: np.ndarray) -> np.ndarray:
        """The elements ρ_mn of Σ_u x_u B_u of all pairs of the sector, block by block: (pairs,) complex."""
        pairs = len(self.orbits.unknown)
        found = np.zeros(pairs, complex)
        for at, u, element in self._kept_entries if pairs <= KEPT else self._entries(np.arange(pairs)):
            found[at] += x[u] * element
        return found

    @functools.cached_property
    def _kept_entries(self) -> list:
        return list(self._entries(np.arange(len(self.orbits.unknown))))

    def components(self, state: sparse.spmatrix, start: int, stop: int) -> np.ndarray:
        """The complex x of the part of ρ in this sector; real where `doubled`, whose B are not orthogonal."""
        x = self.overlaps(state, start, stop) / self.weight[start:stop]
        return x.real.astype(complex) if self.doubled else x


class Scaled:
    """The Liouvillian of a sector in a basis of unit norm, for which |Lx| is that of matrices."""

    def __init__(self, sector: Sector):
        self.sector, self.size, self.spin, self.scale = sector, sector.size, sector.spin, np.sqrt(sector.weight)

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        rows = self.sector.rows(start, stop)
        rows.data *= np.repeat(self.scale[start:stop], np.diff(rows.indptr)) / self.scale[rows.indices]
        return rows

    def __str__(self):
        return str(self.sector)


@njit
def _pair(layout, m, n):
    """The number of |m><n| in its sector."""
    b = layout.block[n]
    width = layout.first[b + 1] - layout.first[b]
    return layout.pairs[b] + (m - layout.first[b + layout.k]) * width + n - layout.first[b]


@njit
def _moved(maps, g, m, n):
    """Where map g takes |m><n|, and its factor."""
    factor = maps.phase[g] * (maps.sign[g, m] * maps.sign[g, n])
    if maps.swap[g]:
        return maps.image[g, n], maps.image[g, m], factor
    return maps.image[g, m], maps.image[g, n], factor


@njit
def _orbits(layout, maps):
    """Orbits.unknown, Orbits.map, and m, n, phase, weight of every unknown."""
    pairs, k, first, group = layout.pairs[-1], layout.k, layout.first, len(maps.phase)
    unknown, chosen = np.full(pairs, -2, np.int32), np.zeros(pairs, np.int16)
    ms, ns, size = np.empty(2 * pairs, np.int32), np.empty(2 * pairs, np.int32), 0
    phases, weights = np.empty(2 * pairs, np.complex128), np.empty(2 * pairs, np.float64)
    for b in range(len(layout.pairs) - 1):
        for m in range(first[b + k], first[b + k + 1]):
            for n in range(first[b], first[b + 1]):
                if unknown[_pair(layout, m, n)] != -2:
                    continue
                free, phase, fixed = 2, 1 + 0j, 0
                for g in range(group):
                    p, q, factor = _moved(maps, g, m, n)
                    if p == m and q == n:
                        fixed += 1
                        if maps.conjugate[g]:  # c = factor c*
                            free, phase = min(free, 1), np.sqrt(factor)
                        elif abs(factor - 1) > 1e-9:
                            free = 0
                for g in range(group):
                    p, q, _ = _moved(maps, g, m, n)
                    at = _pair(layout, p, q)
                    if unknown[at] == -2:
                        unknown[at], chosen[at] = size if free else -1, g
                for i in range(free):
                    ms[size], ns[size], weights[size] = m, n, group // fixed
                    phases[size] = phase if i == 0 else 1j
                    size += 1
    return unknown, chosen, ms[:size].copy(), ns[:size].copy(), phases[:size].copy(), weights[:size].copy()


@njit
def _put(layout, maps, orbits, unknowns, p, q, weight, conjugate_phase, columns, data, at):
    """Write the term dρ_mn/dt = weight ρ_pq into the row of c|m><n|; returns the next free place."""
    ms, ns, phases = unknowns
    pair = _pair(layout, p, q)
    u, g = orbits.unknown[pair], orbits.map[pair]
    if u < 0:
        return at
    m, n = ms[u], ns[u]
    factor = conjugate_phase * weight * maps.phase[g] * (maps.sign[g, m] * maps.sign[g, n])
    while u < len(ms) and ms[u] == m and ns[u] == n:
        value = (factor * (phases[u].conjugate() if maps.conjugate[g] else phases[u])).real
        if abs(value) > 1e-14 * abs(factor):
            columns[at], data[at] = u, value
            at += 1
        u += 1
    return at


@njit
def _fill(
    layout,
    maps,
    orbits,
    unknowns,
    start,
    stop,
    h_pointer,
    h_columns,
    h_data,
    rates,
    l_pointer,
    l_columns,
    l_data,
    pointer,
    columns,
    data,
):
    """Rows of the unknowns start..stop-1, with duplicates.

    The jump operators lie one below the other in one CSR matrix: (jumps * D, D).
    """
    at, dimension = 0, len(h_pointer) - 1
    ms, ns, phases = unknowns
    for u in range(start, stop):
        # the diagonal is always stored: PETSc shifts in place only what is there
        columns[at], data[at] = u, 0
        at += 1
        m, n, phase = ms[u], ns[u], phases[u].conjugate()
        for a in range(h_pointer[m], h_pointer[m + 1]):
            at = _put(layout, maps, orbits, unknowns, h_columns[a], n, -1j * h_data[a], phase, columns, data, at)
        for b in range(h_pointer[n], h_pointer[n + 1]):
            at = _put(
                layout, maps, orbits, unknowns, m, h_columns[b], 1j * h_data[b].conjugate(), phase, columns, data, at
            )
        for jump in range(len(rates)):
            row = jump * dimension
            for a in range(l_pointer[row + m], l_pointer[row + m + 1]):
                for b in range(l_pointer[row + n], l_pointer[row + n + 1]):
                    weight = rates[jump] * l_data[a] * l_data[b].conjugate()
                    at = _put(
                        layout, maps, orbits, unknowns, l_columns[a], l_columns[b], weight, phase, columns, data, at
                    )
        pointer[u - start + 1] = at
