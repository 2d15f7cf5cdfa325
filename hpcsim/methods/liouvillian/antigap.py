"""Both ends of the spectrum of spins 1/2, in the full space, without a matrix.

Where the Liouvillian has the mirror symmetry λ -> -2η - λ (Prosen, Phys. Rev. Lett. 109, 090404 (2012)), the
distance of its second-smallest from its smallest real part, -2η, the antigap, is the gap (huybrechts2020,
Sec. IV A). Krylov spaces do not see the shift, so both ends cost the same: each checks the other.

The symmetry holds where H is invariant under rotations by π of all spins about two axes and every jump
operator is local and either S- or S+, on any site and with any rate, or all are the same component of S.
With R = ρ -> ρ Πσ, σ about an axis that the jump operators do not have, and for S∓ a rotation by π
about x of both sides, R (L + η) R^-1 = -(L + η)^T.
"""

from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from scipy.sparse import linalg

from hpcsim import solvers
from hpcsim.compiled import njit
from hpcsim.system import System, cartesian, left_over, matrices

TILE = 32  # vectors that H multiplies at once
CHUNK = 64  # rows of a tile that stay in the first-level cache


def mirror(system: System) -> str | None:
    """None where the mirror symmetry holds, or why not."""
    if np.any(system.cutoffs) or np.any(system.spins != 0.5):
        return "spins larger than 1/2 and boson modes do not have it"
    for terms in cartesian(system):
        mixed = len(set(terms.operators)) > 1 or len(terms.operators) % 2 or left_over(terms)
        if np.any(terms.coefficients) and mixed:
            return (
                "rotations by π about x, y and z must keep the Hamiltonian, made of products of one component "
                f"each, and it has {terms}"
            )
    jumps = [jump for jump in system.jumps if jump.used]
    if wrong := [jump for jump in jumps if jump.collective or not jump.of_spins]:
        return f"jump operators other than S-, S+, Sx, Sy, Sz of one site break it, and it has {wrong[0]}"
    names = {jump.operators[0] for jump in jumps}
    kinds = {"S∓" if name in ("S-", "S+") else name for name in names}
    if len(kinds) != 1:
        return f"there must be dissipation of one kind, and there is {' and '.join(sorted(kinds)) or 'none'}"
    return None


def mirror_point(system: System) -> float:
    """η of λ -> -2η - λ: minus the mean of all eigenvalues, Tr L / 4^N = Σ γ ( |Tr L|²/4^N - Tr L†L/2^N )."""
    total = 0.0
    for jump in system.jumps:
        per_site = 0.5 if jump.operators[0] in ("S-", "S+") else 0.25  # Tr L†L / 2
        total += per_site * float(np.sum(jump.rates))
    return total


def exchanges_sectors(system: System) -> bool:
    """Whether the mirror takes the even sector to the odd one: ρ Πσx has another parity where N is odd."""
    return bool(system.sites % 2 and all(jump.operators == ("Sz",) for jump in system.jumps if jump.used))


def _range(hamiltonian) -> float:
    """Largest minus smallest eigenvalue of H, to three digits: the same on all ranks, in every run."""
    if not hamiltonian.nnz:  # Arnoldi's method refuses to start
        return 0.0
    start = np.random.default_rng(0).standard_normal(hamiltonian.shape[0])  # SciPy's own is another one in every call
    largest, smallest = (
        linalg.eigsh(hamiltonian, 1, which=end, v0=start, return_eigenvectors=False, tol=1e-3)[0]
        for end in ("LA", "SA")
    )
    return largest - smallest


def _spins(system: System, states) -> np.ndarray:
    """(len(states), N) of +-1/2: bit N-1-i of a state is set where spin i is down."""
    return 0.5 - (states[:, None] >> np.arange(system.sites - 1, -1, -1) & 1)


def _energies(system: System, axis: str, spins) -> np.ndarray:
    """Eigenvalues of the terms that are products of S_axis, of the eigenstates given by their spins."""
    terms = [terms for terms in cartesian(system) if terms.operators[0] == axis]
    return sum((np.prod(spins[:, term.sites], axis=2) @ term.coefficients for term in terms), np.zeros(len(spins)))


class Block(NamedTuple):
    """H = W x W + s W y W s + z on states of one parity, W the Walsh-Hadamard transform: all (d,)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    s: np.ndarray


class ParityBlocks:
    """L on the Hermitian ρ = X + iY stored as the real matrix R = X + Y, in one sector of the parity about z.

        dR/dt = [H, R]^T - (G R + R G)/2 + Σ γ A R A^T,   G = Σ γ A^T A diagonal,  L = A or iA, A real

    Basis states are sorted by their parity, even first, and are numbered within it by their bits but the last.
    `odd` sectors hold the blocks (even, odd) and (odd, even) of R, even ones (even, even) and (odd, odd):
    2 d² unknowns, d = 2^(N-1), by rows. Products of Sx flip bits of the number, so that one transform W makes
    them all diagonal; products of Sy are those of Sx between factors s = +-1.
    Jump operators have one element in a row: (A R A^T)_mn = v_m v_n R_t(m)t(n), t(m) = m ^ flip.

    The ranks of `comm` share the rows of R, and each has `local` of the unknowns.
    centre, radius : L has real parts centre +- centre; radius is the range of H, which imaginary parts hardly
                     exceed, or -1.5 centre
    products       : with less the wrong end of a wide spectrum comes through
    """

    products, vectors = 13, 20

    def __init__(self, system: System, odd: bool, comm=MPI.COMM_SELF):
        self.odd = int(odd)
        states = np.arange(round(system.dimension))
        spins = _spins(system, states)
        downs = np.sum(spins < 0, axis=1)
        blocks = [states[downs % 2 == parity] for parity in (0, 1)]
        self.width = d = len(blocks[0])
        self.size = 2 * d**2
        transformed = _spins(system, 2 * np.arange(d))
        x, y = (_energies(system, axis, transformed) / d for axis in ("Sx", "Sy"))
        self.blocks = [
            Block(x, y, _energies(system, "Sz", spins[block]), 1.0 - downs[block] // 2 % 2 * 2) for block in blocks
        ]
        hamiltonian = matrices.hamiltonian(system)
        self.centre = -mirror_point(system)
        self.radius = max(_range(hamiltonian), -1.5 * self.centre)
        place = np.argsort(np.concatenate(blocks))
        self.loss, flips, values = np.zeros(2 * d), [], []
        for rate, jump in matrices.jump_operators(system):
            entries = (jump.real if np.any(jump.data.real) else jump.imag).tocoo()
            value = np.zeros(2 * d)
            value[place[entries.row]] = np.sqrt(rate) * entries.data
            self.loss[place[entries.col]] += rate * entries.data**2
            flips.append(entries.row[0] ^ entries.col[0])
            values.append(value)
        self.flips, self.values = np.array(flips), np.array(values)
        self._share(comm)

    def _share(self, comm):
        """Who has which rows, and which of the others' the jump operators move to one's own."""
        d = self.width
        start, stop = solvers.row_range(comm, 2 * d)
        own = np.arange(start, stop)
        block, i = np.divmod(own, d)
        other = block ^ (self.flips[:, None] != 0)  # a flipped spin changes the parity
        sources = other * d + (i ^ (self.flips[:, None] >> 1))
        self.local, self._transposed, self._halo = (stop - start) * d, solvers.Transposed(comm, d, self.odd), None
        self._result, self._sources = np.empty((stop - start, d)), sources
        if comm.size > 1:
            moved = self.values[:, own] != 0
            needed = np.unique(sources[moved])
            self._halo, self._sources = solvers.Halo(comm, (start, stop), needed), np.searchsorted(needed, sources)

    def multiply(self, x: np.ndarray) -> np.ndarray:
        """This rank's part of dR/dt from that of R, flat; overwritten by the next. Collective."""
        R, out, pieces = x.reshape(-1, self.width), self._result, self._transposed.mine
        out[:] = 0
        across = [self.blocks[block ^ self.odd] for block, *_ in pieces]
        for energies, (_, first, last, at), columns in zip(across, pieces, self._transposed.columns(R)):
            _left(*energies, columns, 0, last - first, out[at : at + last - first])
        rooms = self._transposed.room(out)
        for energies, (_, first, last, at), room in zip(across, pieces, rooms):
            _right(*energies, R[at : at + last - first], 0, last - first, room)
        self._transposed.add(rooms, out)
        sources = R if self._halo is None else self._halo.fetch(R)
        for block, first, last, at in pieces:
            own, columns = slice(at, at + last - first), self.width * (block ^ self.odd)
            rows = block * self.width + first
            _dissipate(self.loss, self.flips, self.values, rows, columns, R[own], sources, self._sources, at, out[own])
        return out.reshape(-1)


@njit(cache=True, fastmath=True, error_model="numpy")
def _eights(x, h):
    """Walsh-Hadamard transform over three bits, of numbers at the distances h, 2h and 4h."""
    for base in range(0, len(x), 8 * h):
        x0, x1, x2, x3 = x[base:], x[base + h :], x[base + 2 * h :], x[base + 3 * h :]
        x4, x5, x6, x7 = x[base + 4 * h :], x[base + 5 * h :], x[base + 6 * h :], x[base + 7 * h :]
        for i in range(h):
            a, b, c, d = x0[i] + x4[i], x1[i] + x5[i], x2[i] + x6[i], x3[i] + x7[i]
            e, f, g, j = x0[i] - x4[i], x1[i] - x5[i], x2[i] - x6[i], x3[i] - x7[i]
            a, b, c, d, e, f, g, j = a + c, b + d, a - c, b - d, e + g, f + j, e - g, f - j
            x0[i], x1[i], x2[i], x3[i] = a + b, a - b, c + d, c - d
            x4[i], x5[i], x6[i], x7[i] = e + f, e - f, g + j, g - j


@njit(cache=True, fastmath=True, error_model="numpy")
def _twos(x, h):
    """The same over one bit."""
    for base in range(0, len(x), 2 * h):
        x0, x1 = x[base:], x[base + h :]
        for i in range(h):
            x0[i], x1[i] = x0[i] + x1[i], x0[i] - x1[i]


@njit(cache=True)
def _transform(x, h):
    """Over all bits from the distance h on."""
    while 8 * h <= len(x):
        _eights(x, h)
        h *= 8
    while h < len(x):
        _twos(x, h)
        h *= 2


@njit(cache=True)
def _transformed_product(energies, x):
    """x <- W energies W x, of TILE vectors, x[state * TILE + vector]."""
    chunk = min(CHUNK * TILE, len(x))
    _transform(x, chunk)
    for first in range(0, len(x), chunk):
        part = x[first : first + chunk]
        _transform(part, TILE)
        for k in range(chunk // TILE):
            for t in range(TILE):
                part[k * TILE + t] *= energies[first // TILE + k]
        _transform(part, TILE)
    _transform(x, chunk)


@njit(cache=True, fastmath=True, error_model="numpy")
def _hamiltonian(x, y, z, s, tile, work):
    """work <- H tile, and tile is lost: both (d, TILE)."""
    for k in range(len(tile)):  # work[:] = s[:, None] * tile would take numba seconds to compile
        for t in range(TILE):
            work[k, t] = s[k] * tile[k, t]
    _transformed_product(y, work.ravel())
    for k in range(len(tile)):
        for t in range(TILE):
            work[k, t] = s[k] * work[k, t] + z[k] * tile[k, t]
    _transformed_product(x, tile.ravel())
    for k in range(len(tile)):
        for t in range(TILE):
            work[k, t] += tile[k, t]


@njit(cache=True, fastmath=True, error_model="numpy")
def _left(x, y, z, s, R, first, last, out):
    """out += (H R)^T, its rows first..last-1, from these columns of R."""
    d = R.shape[0]
    tile, work = np.zeros((d, TILE)), np.empty((d, TILE))
    for i in range(first, last, TILE):
        width = min(TILE, last - i)
        for j in range(d):
            for t in range(width):
                tile[j, t] = R[j, i + t]
        _hamiltonian(x, y, z, s, tile, work)
        _add_transposed(work, out[i : i + width])


@njit(cache=True, fastmath=True, error_model="numpy")
def _add_transposed(tile, out):
    """out += tile^T, in pieces that stay in the first-level cache."""
    chunk = min(CHUNK, out.shape[1])
    for first in range(0, out.shape[1], chunk):
        for t in range(len(out)):
            for j in range(first, first + chunk):
                out[t, j] += tile[j, t]


@njit(cache=True, fastmath=True, error_model="numpy")
def _right(x, y, z, s, R, first, last, out):
    """out -= (R H)^T = H R^T, its columns first..last-1."""
    d, chunk = len(x), min(CHUNK, len(x))
    tile, work = np.zeros((d, TILE)), np.empty((d, TILE))
    for j in range(first, last, TILE):
        width = min(TILE, last - j)
        for i in range(0, d, chunk):
            for t in range(width):
                for k in range(i, i + chunk):
                    tile[k, t] = R[j + t, k]
        _hamiltonian(x, y, z, s, tile, work)
        for i in range(d):
            for t in range(width):
                out[i, j + t] -= work[i, t]


@njit(cache=True, fastmath=True, error_model="numpy")
def _dissipate(loss, flips, values, first, columns, R, sources, places, at, out):
    """out += -(G R + R G)/2 + Σ A R A^T, of rows of R that are numbered from `first` on, and their columns from
    `columns` on; sources[places[jump, at + i]] is the row that a jump operator moves to row i."""
    for i in range(len(R)):
        m = first + i
        for j in range(R.shape[1]):
            out[i, j] -= 0.5 * (loss[m] + loss[columns + j]) * R[i, j]
        for jump in range(len(flips)):
            if values[jump, m] != 0:
                source = sources[places[jump, at + i]]
                _add_flipped(values[jump, m], values[jump, columns:], source, flips[jump] >> 1, out[i])


@njit(cache=True, fastmath=True, error_model="numpy")
def _add_flipped(factor, values, source, flip, out):
    """out_j += factor values_j source_(j ^ flip); values vanish, or not, with the bit of the flip."""
    step = flip or len(out)
    for base in range(0, len(out), step):
        if flip == 0 or values[base] != 0:
            shift = (base ^ flip) - base
            for j in range(base, base + step):
                out[j] += factor * values[j] * source[j + shift]
