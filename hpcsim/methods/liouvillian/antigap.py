"""Both ends of the spectrum of spins 1/2, in the full space, without a matrix.

Where the Liouvillian has the mirror symmetry λ -> -2η - λ (Prosen, Phys. Rev. Lett. 109, 090404 (2012)), the
distance of its second-smallest from its smallest real part, -2η, the antigap, is the gap (huybrechts2020,
Sec. IV A). Krylov spaces do not see the shift, so both ends cost the same: each checks the other.

The symmetry holds where H is invariant under rotations by π of all spins about two axes and every jump
operator is local and either S- or S+, on any site and with any rate, or all are the same component of S.
With R = ρ -> ρ Πσ, σ about an axis that the jump operators do not have, and for S∓ a rotation by π
about x of both sides, R (L + η) R^-1 = -(L + η)^T.
"""
import numpy as np
from numba import njit

from hpcsim import matrices
from hpcsim.system import Parity, System

TILE = 32       # columns multiplied at once: their 2^(N-1) rows stay in the cache up to N = 13


def mirror(system: System) -> str | None:
    """None where the mirror symmetry holds, or why not."""
    if np.any(system.cutoffs) or np.any(system.spins != 0.5):
        return "spins larger than 1/2 and boson modes do not have it"
    for terms in system.hamiltonian:
        odd = {sum(name == axis for name in terms.operators) % 2 for axis in ("Sx", "Sy", "Sz")}
        if len(odd) > 1 and np.any(terms.coefficients):
            product = " ".join(terms.operators)
            return f"rotations by π about x, y and z must keep the Hamiltonian, and one changes {product}"
        if odd == {1} and np.any(terms.coefficients):
            return "the Hamiltonian must be real"
    jumps = [jump for jump in system.jumps if np.any(jump.rates)]
    if any(jump.collective and len(jump.sites) > 1 for jump in jumps):
        return "collective dissipation breaks it"
    kinds = {"S∓" if jump.operator in ("S-", "S+") else jump.operator for jump in jumps}
    if len(kinds) != 1:
        return f"there must be dissipation of one kind, and there is {' and '.join(sorted(kinds)) or 'none'}"
    return None


def mirror_point(system: System) -> float:
    """η of λ -> -2η - λ: minus the mean of all eigenvalues, Tr L / 4^N = Σ γ ( |Tr L|²/4^N - Tr L†L/2^N )."""
    total = 0.0
    for jump in system.jumps:
        per_site = 0.5 if jump.operator in ("S-", "S+") else 0.25     # Tr L†L / 2
        total += per_site * float(np.sum(jump.rates))
    return total


def exchanges_sectors(system: System) -> bool:
    """Whether the mirror takes the even sector to the odd one: ρ Πσx has another parity where N is odd."""
    return bool(system.sites % 2 and all(jump.operator == "Sz" for jump in system.jumps if np.any(jump.rates)))


class ParityBlocks:
    """L on the Hermitian ρ = X + iY stored as the real matrix R = X + Y, in one sector of the parity about z.

        dR/dt = [H, R]^T - (G R + R G)/2 + Σ γ A R A^T,   G = Σ γ A^T A diagonal,  L = A or iA, A real

    Basis states are sorted by their parity, even first. `odd` sectors hold the blocks (even, odd) and
    (odd, even) of R, even ones (even, even) and (odd, odd): 2 d² unknowns, d = 2^(N-1), by rows.
    Jump operators have one element in a row: (A R A^T)_mn = v_m v_n R_{t(m) t(n)}.
    """

    def __init__(self, system: System, odd: bool):
        self.odd = int(odd)
        parity = matrices.basis_map(system, Parity("z"))[1]
        order = np.argsort(-parity, kind="stable")
        place = np.argsort(order)
        self.width = len(order) // 2
        self.size = 2 * self.width**2
        blocks = matrices.hamiltonian(system)[order][:, order].astype(float)
        d = self.width
        self.hamiltonian = [_arrays(blocks[:d, :d]), _arrays(blocks[d:, d:])]
        self.loss = np.zeros(2 * d)
        targets, values = [], []
        for rate, jump in matrices.jump_operators(system):
            if not np.any(jump.data.real):
                jump = jump / 1j
            entries = jump.real.tocoo()
            target, value = np.zeros(2 * d, np.int32), np.zeros(2 * d)
            target[place[entries.row]] = place[entries.col]
            value[place[entries.row]] = np.sqrt(rate) * entries.data
            np.add.at(self.loss, target, value**2)
            targets.append(target)
            values.append(value)
        self.targets, self.values = np.array(targets), np.array(values)

    def multiply(self, x: np.ndarray, start: int, stop: int) -> np.ndarray:
        """Rows start..stop-1 of the 2d rows of dR/dt, flat, from all of R."""
        d, R = self.width, x.reshape(2, self.width, self.width)
        out = np.zeros((stop - start, d))
        for block in range(2):
            first, last = max(start, block * d), min(stop, (block + 1) * d)
            if first < last:
                across, mine = block ^ self.odd, out[first - start:last - start]
                here, there = self.hamiltonian[block], self.hamiltonian[across]
                _left(*there, R[across], first - block * d, mine)
                _right(*here, R[across], first - block * d, mine)
                _dissipate(self.loss, self.targets, self.values, R, block, across, first - block * d, mine)
        return out.ravel()


def _arrays(block):
    block = block.tocsr()
    return block.indptr, block.indices, block.data


@njit(cache=True, fastmath=True)
def _left(pointer, columns, data, R, first, out):
    """out += (H R)^T[first:first + rows]."""
    d, tile = R.shape[0], np.empty((R.shape[0], TILE))
    for i in range(0, out.shape[0], TILE):
        width = min(TILE, out.shape[0] - i)
        tile[:, :width] = R[:, first + i:first + i + width]
        for j in range(d):
            total = np.zeros(TILE)
            for a in range(pointer[j], pointer[j + 1]):
                row, value = columns[a], data[a]
                for t in range(TILE):
                    total[t] += value * tile[row, t]
            for t in range(width):
                out[i + t, j] += total[t]


@njit(cache=True, fastmath=True)
def _right(pointer, columns, data, R, first, out):
    """out -= (R H)^T[first:first + rows] = (H R^T)[first:first + rows]."""
    d, tile = R.shape[0], np.empty((R.shape[0], TILE))
    for j in range(0, d, TILE):
        width = min(TILE, d - j)
        for t in range(width):
            tile[:, t] = R[j + t]
        for i in range(out.shape[0]):
            total = np.zeros(TILE)
            for a in range(pointer[first + i], pointer[first + i + 1]):
                row, value = columns[a], data[a]
                for t in range(TILE):
                    total[t] += value * tile[row, t]
            for t in range(width):
                out[i, j + t] -= total[t]


@njit(cache=True, fastmath=True)
def _dissipate(loss, targets, values, R, block, across, first, out):
    """out += -(G R + R G)/2 + Σ A R A^T."""
    d = R.shape[1]
    for i in range(out.shape[0]):
        m = block * d + first + i
        for j in range(d):
            out[i, j] -= 0.5 * (loss[m] + loss[across * d + j]) * R[block, first + i, j]
        for jump in range(len(targets)):
            value, target = values[jump, m], targets[jump, m]
            if value != 0:
                of, row = target // d, target % d
                for j in range(d):
                    n = across * d + j
                    if values[jump, n] != 0:
                        out[i, j] += value * values[jump, n] * R[of, row, targets[jump, n] % d]
