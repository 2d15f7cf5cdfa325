"""Symmetry sectors of the Liouvillian as real sparse matrices, assembled by ranges of rows.

Weak U(1): the |m><n| with Q(m) - Q(n) = k mix with no others; sector -k is the adjoint of sector k.
In a sector ρ = Σ_u x_u B_u, with elements B_u for which the matrix of the Liouvillian is real:

with a transposition symmetry
    B = c|m><n|, c = 1 if u_m u_n = 1 else i. The antilinear ρ -> Uρ*U commutes with L, keeps the
    sector and fixes every B. In k = 0 the adjoint, which commutes too, splits the sector in two:
    parity +1, B = c|m><n| + h.c., m <= n, with the diagonal, the trace and the steady state; and
    parity -1, B = c|m><n| - h.c., m < n.
without
    k = 0: Hermitian B = |m><n| + h.c. and i|m><n| + h.c., m <= n (unknowns Re ρ_mn, Im ρ_mn).
    k > 0: B = |m><n| and i|m><n|; the spectrum is that of k and of -k together.
"""
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy import sparse

from hpcsim import matrices
from hpcsim.system import System, Transposition, WeakU1


@dataclass(frozen=True)
class Operators:
    """H_eff and the jump operators of a system, basis states sorted by their charge.

    effective : (D, D) CSR, H - (i/2) Σ γ L†L
    rates : (jumps,);  jumps : list of (D, D) CSR
    first : (blocks + 1,) first state of each block of equal charge; block b has charge b
    block : (D,) block of each state
    signs : (D,) u_m of the transposition symmetry, or None
    order : (D,) index of each state in the product basis
    spin  : Σ_i S_i
    """

    effective: sparse.csr_matrix
    rates: np.ndarray
    jumps: list
    first: np.ndarray
    block: np.ndarray
    signs: np.ndarray | None
    order: np.ndarray
    spin: float


def operators(system: System) -> Operators:
    """Build the matrices of a system; raises ValueError if a declared symmetry is not one."""
    hamiltonian, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
    matrices.verify_symmetries(system, hamiltonian, jumps)
    dimension = hamiltonian.shape[0]
    charge = matrices.charges(system) if system.symmetry(WeakU1) else np.zeros(dimension, int)
    transposition = system.symmetry(Transposition)
    signs = matrices.transposition_signs(system, transposition.sites) if transposition else None
    order = np.argsort(charge, kind="stable")
    effective = matrices.effective_hamiltonian(hamiltonian, jumps)
    return Operators(
        effective=effective[order][:, order],
        rates=np.array([rate for rate, _ in jumps]), jumps=[jump[order][:, order] for _, jump in jumps],
        first=np.searchsorted(charge[order], np.arange(charge.max() + 2)), block=charge[order],
        signs=None if signs is None else signs[order], order=order, spin=float(system.spins.sum()))


def sector_names(blocks: int, transposition: bool) -> list[tuple[int, int]]:
    """(k, parity) of the sectors k >= 0; parity is 0 where the adjoint does not split the sector."""
    zero = [(0, 1), (0, -1)] if transposition else [(0, 0)]
    return zero + [(k, 0) for k in range(1, blocks)]


def sector_sizes(sizes, k: int, parity: int, transposition: bool) -> np.ndarray:
    """Unknowns of sector (k, parity) in each pair of blocks (b + k, b); `sizes` are those of the blocks."""
    if k == 0 and transposition:
        return sizes * (sizes + parity) / 2
    return sizes[k:] * sizes[:len(sizes) - k] * (1 if transposition or k == 0 else 2)


# What fixes the numbering of a sector's unknowns: `first`, `block`, `signs` as in Operators;
# real = there is a transposition symmetry; offsets[b] = first unknown with n in block b.
Layout = namedtuple("Layout", "k parity real first block signs offsets")


@dataclass(frozen=True)
class Elements:
    """The elements B of some unknowns: B = c|m><n| (± h.c. in k = 0), c = i where `imaginary`."""

    m: np.ndarray
    n: np.ndarray
    imaginary: np.ndarray


class Sector:
    """One sector (k, parity) of a system: its unknowns, and rows of its Liouvillian.

    size : number of unknowns
    """

    def __init__(self, operators: Operators, k: int, parity: int):
        real = operators.signs is not None
        sizes = sector_sizes(np.diff(operators.first), k, parity, real).astype(int)
        signs = operators.signs if real else np.ones(len(operators.block), int)
        self.operators, self.k, self.parity = operators, k, parity
        self.layout = Layout(k, parity, real, operators.first, operators.block, signs,
                             np.concatenate([[0], np.cumsum(sizes)]))
        self.size = int(sizes.sum())

    def elements(self, start: int, stop: int) -> Elements:
        """Of the unknowns start..stop-1."""
        return Elements(*_elements(self.layout, start, stop))

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Rows start..stop-1 of the Liouvillian: (stop - start, size) real."""
        e, h, jumps = self.elements(start, stop), self.operators.effective, self.operators.jumps
        h_length = np.diff(h.indptr)
        length = h_length[e.m] + h_length[e.n]
        for jump in jumps:
            l_length = np.diff(jump.indptr)
            length += l_length[e.m] * l_length[e.n]
        room = int(length.sum()) * (1 if self.layout.real else 2) + stop - start
        pointer, columns = np.zeros(stop - start + 1, np.int64), np.empty(room, np.int64)
        data = np.empty(room)
        stacked = sparse.vstack([sparse.csr_matrix(h.shape), *jumps], "csr").astype(complex)
        _fill(self.layout, start, e.m, e.n, e.imaginary, h.indptr, h.indices, h.data, self.operators.rates,
              stacked.indptr[h.shape[0]:], stacked.indices, stacked.data, pointer, columns, data)
        used = pointer[-1]
        matrix = sparse.csr_matrix((data[:used], columns[:used], pointer), (stop - start, self.size))
        matrix.sum_duplicates()
        return matrix

    def __str__(self):
        return f"sector k = {self.k}, parity = {self.parity}"

    @property
    def spin(self) -> float:
        """Σ_i S_i."""
        return self.operators.spin

    def trace(self, start: int, stop: int) -> np.ndarray:
        """Tr B of the elements of unknowns start..stop-1; also the components of the identity."""
        elements = self.elements(start, stop)
        return np.where(elements.m == elements.n, 1.0, 0.0)

    def functional(self, operator: sparse.csr_matrix, elements: Elements) -> np.ndarray:
        """Tr(O B) of Hermitian elements B, O in the product basis: (unknowns,). k = 0 only."""
        order = self.operators.order
        e, permuted = elements, operator[order][:, order]
        value = np.asarray(permuted[e.n, e.m]).ravel() * np.where(e.imaginary, 1j, 1)
        return value.real * np.where(e.m == e.n, 1, 2)


@njit(cache=True)
def _elements(layout, start, stop):
    """m, n and whether c = i, of the unknowns start..stop-1, in the order of `_unknown`."""
    k, first = layout.k, layout.first
    m = np.empty(stop - start, np.int64)
    n = np.empty(stop - start, np.int64)
    imaginary = np.empty(stop - start, np.bool_)
    copies = 2 if k > 0 and not layout.real else 1
    for b in range(len(layout.offsets) - 1):
        at = layout.offsets[b]
        for i in range(first[b + k + 1] - first[b + k]):
            left = 0 if layout.parity == 0 else i if layout.parity > 0 else i + 1
            length = (first[b + 1] - first[b] - left) * copies
            for t in range(max(start - at, 0), min(stop - at, length)):
                j, u = left + t // copies, at + t - start
                m[u], n[u] = first[b + k] + i, first[b] + j
                if layout.real:
                    imaginary[u] = layout.signs[m[u]] != layout.signs[n[u]]
                elif k > 0:
                    imaginary[u] = t % 2 == 1
                else:
                    imaginary[u] = j < i
                    m[u], n[u] = min(m[u], n[u]), max(m[u], n[u])
            at += length
    return m, n, imaginary


@njit(cache=True)
def _unknown(layout, m, n, imaginary):
    """The number of the unknown of c|m><n|; m <= n in k = 0."""
    b = layout.block[n]
    i, j = m - layout.first[b + layout.k], n - layout.first[b]
    width, offset = layout.first[b + 1] - layout.first[b], layout.offsets[b]
    if layout.parity > 0:
        return offset + i * width - i * (i - 1) // 2 + j - i
    if layout.parity < 0:
        return offset + i * width - i * (i + 1) // 2 + j - i - 1
    if layout.real:
        return offset + i * width + j
    if layout.k == 0:
        return offset + (j * width + i if imaginary else i * width + j)
    return offset + 2 * (i * width + j) + imaginary


@njit(cache=True)
def _put(layout, p, q, weight, of_imaginary, columns, data, at):
    """Write the term dρ_mn/dt = weight ρ_pq into the row of c|m><n|; returns the next free place."""
    swapped = layout.k == 0 and p > q
    if swapped:
        p, q = q, p
    if p == q and layout.parity < 0:
        return at
    for imaginary in range(2):
        if imaginary and p == q or layout.real and imaginary != (layout.signs[p] != layout.signs[q]):
            continue
        value = weight * (1j if imaginary else 1)
        if swapped and (imaginary != (layout.parity < 0)):
            value = -value    # ρ_qp = ± conj(c) x where ρ_pq = c x
        columns[at] = _unknown(layout, p, q, imaginary)
        data[at] = value.imag if of_imaginary else value.real
        at += 1
    return at


@njit(cache=True)
def _fill(layout, start, m, n, imaginary, h_pointer, h_columns, h_data, rates, l_pointer, l_columns, l_data,
          pointer, columns, data):
    """Rows of the unknowns c|m><n|, the first of which is `start`, with duplicates.

    The jump operators lie one below the other in one CSR matrix: (jumps * D, D).
    """
    at, dimension = 0, len(h_pointer) - 1
    for u in range(len(m)):
        # the diagonal is always stored: PETSc shifts in place only what is there
        columns[at], data[at] = start + u, 0
        at += 1
        for a in range(h_pointer[m[u]], h_pointer[m[u] + 1]):
            at = _put(layout, h_columns[a], n[u], -1j * h_data[a], imaginary[u], columns, data, at)
        for b in range(h_pointer[n[u]], h_pointer[n[u] + 1]):
            at = _put(layout, m[u], h_columns[b], 1j * h_data[b].conjugate(), imaginary[u], columns, data, at)
        for jump in range(len(rates)):
            row = jump * dimension
            for a in range(l_pointer[row + m[u]], l_pointer[row + m[u] + 1]):
                for b in range(l_pointer[row + n[u]], l_pointer[row + n[u] + 1]):
                    weight = rates[jump] * l_data[a] * l_data[b].conjugate()
                    at = _put(layout, l_columns[a], l_columns[b], weight, imaginary[u], columns, data, at)
        pointer[u + 1] = at
