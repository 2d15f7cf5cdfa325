"""How a discrete symmetry acts on the states of a system: a permutation of the sites, and signs.

In the product basis (levels j = 0, 1, ... of every site, as in `matrices`) U|j_0 j_1 ...⟩ is ± one basis state. Only
U ρ U† matters, so a phase of U as a whole does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import sparse

MIXED = 1e-11  # what two sums over jump operators may differ by, relative to their terms
ROUNDING = 1e-13  # matrix elements this small against the largest one are rounding


@dataclass(frozen=True, eq=False)
class Action:
    """The map ρ -> U ρ U†, or ρ -> U ρᵀ U†, of a U that acts on every site and then moves the sites.

    permutation : (sites,) site i goes to site permutation[i]
    flipped    : (sites,) bool, level j of site i becomes level levels - 1 - j
    alternating : (sites,) bool, level j of site i takes the factor (-1)^j
    transposed  : whether ρ is transposed
    """

    permutation: np.ndarray
    flipped: np.ndarray
    alternating: np.ndarray
    transposed: bool = False

    @classmethod
    def on_sites(cls, sites: int, permutation=None, flipped=False, alternating=False, transposed=False) -> Action:
        """None leaves the sites in place; True and False hold for all sites."""
        return cls(
            np.arange(sites) if permutation is None else np.asarray(permutation),
            np.broadcast_to(flipped, sites),
            np.broadcast_to(alternating, sites),
            transposed,
        )

    def __eq__(self, other) -> bool:
        """Whether both are the same map of ρ."""
        return self.transposed == other.transposed and all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("permutation", "flipped", "alternating")
        )

    __hash__ = None

    def after(self, first: Action) -> Action:
        """The map that does `first` and then this."""
        p = first.permutation
        return Action(
            self.permutation[p],
            first.flipped ^ self.flipped[p],
            first.alternating ^ self.alternating[p],
            self.transposed != first.transposed,
        )

    def power(self, exponent: int) -> Action:
        """This map `exponent` times, by repeated squaring."""
        result, square = Action.on_sites(len(self.permutation)), self
        while exponent:
            if exponent % 2:
                result = square.after(result)
            square, exponent = square.after(square), exponent // 2
        return result

    @property
    def inverse(self) -> Action:
        return self.power(self.order - 1)

    @property
    def order(self) -> int:
        """The smallest n > 0 after which n times this map is the identity."""
        cycle = order_of(self.permutation)
        return cycle if self.power(cycle) == Action.on_sites(len(self.permutation)) else 2 * cycle

    @property
    def keeps_sites(self) -> bool:
        return np.array_equal(self.permutation, np.arange(len(self.permutation)))

    @property
    def is_diagonal(self) -> bool:
        """Whether U is diagonal."""
        return self.keeps_sites and not self.flipped.any()

    @property
    def is_permutation(self) -> bool:
        """Whether it only moves sites."""
        return not (self.transposed or self.flipped.any() or self.alternating.any())

    def on_weights(self, weights: np.ndarray) -> int | None:
        """What it does to k = Q(m) - Q(n) of |m⟩⟨n|, Q = Σ_i w_i Sz_i: +1 keeps it, -1 negates it, None neither."""
        there = weights[self.permutation] * np.where(self.flipped != self.transposed, -1, 1)
        return next((sign for sign in (1, -1) if np.array_equal(there, sign * weights)), None)

    def on_basis(self, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(image, sign), both (D,): U|s⟩ = sign[s] |image[s]⟩ up to one phase; levels (sites,) of every site."""
        stride = np.append(np.cumprod(levels[:0:-1])[::-1], 1)[self.permutation]
        ladders = [np.arange(n) for n in levels]
        image = basis_sum([s * (j[::-1] if turned else j) for s, j, turned in zip(stride, ladders, self.flipped)])
        return image, 1 - 2 * (basis_sum([j * on for j, on in zip(ladders, self.alternating)]) % 2)


def basis_sum(values) -> np.ndarray:
    """Σ_i values[i][level of site i] of every basis state: (D,) integers."""
    total = np.zeros(1, int)
    for value in values:
        total = np.add.outer(total, value).ravel()
    return total


def cycles(permutation: np.ndarray) -> list[list[int]]:
    """The sites of every cycle, in the order in which the permutation visits them from the smallest one."""
    found, seen = [], np.zeros(len(permutation), bool)
    for site in range(len(seen)):
        if not seen[site]:
            cycle = [site]
            while (following := int(permutation[cycle[-1]])) != site:
                cycle.append(following)
            seen[cycle] = True
            found.append(cycle)
    return found


def order_of(permutation: np.ndarray) -> int:
    """The smallest number of times that the permutation moves every site back to itself."""
    return math.lcm(*(len(cycle) for cycle in cycles(permutation)))


def verify_invariance(action: Action, levels: np.ndarray, hamiltonian, jumps, declared: str) -> None:
    """Check that the map commutes with the Liouvillian: it is sufficient that

    U H U† = H, and every jump operator L has the total rate of its image U L U†; or, with a transposition,
    U Hᵀ U† = -H, and every L has the total rate of U L* U†. Jump operators that differ by a phase are the same.
    Where the L are not so permuted, Σ γ L†L and Σ γ LρL† must be the same of all images: `_mixed`.

    hamiltonian : (D, D) sparse;  jumps : (rate, L) of every jump operator
    declared    : what to begin the message of the ValueError with
    """
    image, sign = action.on_basis(levels)

    def moved(matrix):
        m = matrix.tocoo()
        return sparse.csr_matrix((sign[m.row] * sign[m.col] * m.data, (image[m.row], image[m.col])), m.shape)

    there = -moved(hamiltonian.T) if action.transposed else moved(hamiltonian)
    if abs(there - hamiltonian).max() > ROUNDING * max(abs(hamiltonian).max(), 1e-300):
        law = "U Hᵀ U† = -H" if action.transposed else "U H U† = H"
        raise ValueError(f"{declared}, but the Hamiltonian does not obey {law}")
    rates = {}
    for rate, jump in jumps:
        key = _fingerprint(jump)
        rates[key] = rates.get(key, 0) + rate
    for index, (_, jump) in enumerate(jumps):
        image_of_jump = moved(jump.conj() if action.transposed else jump)
        here, there = rates[_fingerprint(jump)], rates.get(_fingerprint(image_of_jump), 0)
        if not np.isclose(here, there, rtol=1e-12, atol=0):
            if _mixed(jumps, [(rate, moved(L.conj() if action.transposed else L)) for rate, L in jumps]):
                return
            raise ValueError(
                f"{declared}, but the image of jump operator {index}, of rate {here:g}, has the rate {there:g}"
            )


def _mixed(jumps, images) -> bool:
    """Whether both lists of (rate, L) are unitary mixtures of each other: their Σ γ L†L and Σ γ LρL† are the same.

    Two linear maps are compared on ρ = |x⟩⟨y| and with |z⟩, all random, and agree by chance with probability zero.
    """
    random = np.random.default_rng(0)
    x, y, z = random.standard_normal((2, 3, jumps[0][1].shape[0])).T.dot([1, 1j]).T
    sides = []
    for side in (jumps, images):
        seen = [(rate, L, L @ x, np.vdot(L @ y, z)) for rate, L in side]
        sides.append(
            np.stack([sum(rate * v * w for rate, _, v, w in seen), sum(r * (L.getH() @ v) for r, L, v, _ in seen)])
        )
        scale = np.array([sum(r * abs(w) * np.linalg.norm(v) for r, _, v, w in seen), np.linalg.norm(sides[-1][1])])
    return bool(np.all(np.linalg.norm(sides[0] - sides[1], axis=1) <= MIXED * scale))


def _fingerprint(matrix) -> tuple[bytes, bytes]:
    """Equal for operators that are equal up to a phase: where the elements are, and what they are."""
    m = matrix.tocsr()
    m.sort_indices()
    phase = m.data[0] / abs(m.data[0]) if m.nnz else 1
    values = np.round(m.data / phase, 10) + 0.0  # + 0.0: no negative zeros
    return (m.indptr.astype(int).tobytes() + m.indices.astype(int).tobytes(), values.astype(complex).tobytes())
