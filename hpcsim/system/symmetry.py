"""The symmetries that a model may declare."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class WeakU1:
    """Weak U(1): exp(iφQ), Q = Σ_i w_i Sz_i + Σ_modes w_i n_i, commutes with the Liouvillian.

    It does where H keeps Q and every L_j shifts it by one constant. Its sectors hold the |m⟩⟨n| with
    Q(m) - Q(n) = k.

    weights : (sites,) integers w; None is 1 on every site
    """

    weights: np.ndarray | None = None
    site_permutation = None


@dataclass(frozen=True)
class Transposition:
    """The map ρ -> U ρᵀ U, U = Π_i (-1)^(S_i - Sz_i) over `sites`, commutes with the Liouvillian.

    It does where, in the Sz basis, H and the L_j are real, U H U = -H and U L_j U = ± L_j.
    On a boson mode the factor of U is (-1)^n.
    """

    sites: np.ndarray
    site_permutation = None


@dataclass(frozen=True)
class Parity:
    """Weak Z2: ρ -> U ρ U†, with U² = 1 up to a phase, commutes with the Liouvillian.

    U rotates every spin by π about `axis`, exp(iπ S_axis), and then moves site i to permutation[i].
    It is a symmetry where U H U† = H and U permutes the jump operators of equal rate, up to phases.
    It may turn the Q of WeakU1 into -Q, and a Translation into its inverse, instead of commuting with them.

    axis        : "x", "y" (spins only) or "z" ((-1)^n on boson modes); None: no rotation
    permutation : (sites,) integers, its own inverse; None: sites stay
    """

    axis: str | None = None
    permutation: np.ndarray | None = None

    @property
    def site_permutation(self) -> np.ndarray | None:
        """The site whose operators those of every site become, or None where they are rotated as well."""
        return self.permutation if self.axis is None else None


@dataclass(frozen=True)
class Translation:
    """Weak Z_order: ρ -> T ρ T†, where T moves site i to permutation[i], commutes with the Liouvillian.

    It does where T H T† = H and T permutes the jump operators of equal rate, up to phases. A lattice of two
    dimensions declares two, which commute. Its sectors have the eigenvalues exp(2πi q/order) of the map.
    With weights of alternating sign it may turn the Q of WeakU1 into -Q.

    permutation : (sites,) integers
    """

    permutation: np.ndarray

    @property
    def site_permutation(self) -> np.ndarray:
        return self.permutation

    @property
    def order(self) -> int:
        """The smallest number of steps that moves every site back: the lcm of the cycles' lengths."""
        order, moved = 1, self.permutation
        while not np.array_equal(moved, np.arange(len(moved))):
            order, moved = order + 1, self.permutation[moved]
        return order
