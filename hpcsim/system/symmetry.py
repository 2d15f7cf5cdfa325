"""The symmetries that a model may declare, each one class with its behaviour.

A method asks for what a symmetry does, never for its class. A new symmetry is a subclass of `Symmetry`, declared by a
model, with either a charge or an `Action`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hpcsim.system.action import Action, basis_sum, verify_invariance
from hpcsim.system.terms import System


class Symmetry:
    """A map of ρ, or for a charge one for every angle, that commutes with the Liouvillian.

    cyclic : whether its sectors are numbered by a momentum, for a map of any order, or by a parity, for an
             `action` that is its own inverse
    """

    cyclic: ClassVar[bool] = False

    def charge_weights(self, system: System) -> np.ndarray | None:
        """(sites,) integers w of the charge Q = Σ_i w_i Sz_i + Σ_modes w_i n_i, or None if it is no charge."""
        return None

    def action(self, system: System) -> Action | None:
        """The map of ρ; None for a charge. Raises ValueError where the system does not allow it."""
        return None

    def verify(self, system: System, hamiltonian, jumps) -> None:
        """Raises ValueError, naming the operator, where it is no symmetry of the matrices of H and the jumps.

        hamiltonian : (D, D) sparse;  jumps : (rate, L) of every jump operator
        """
        action = self.action(system)
        declared = f"the model declares {self}"
        if not self.cyclic and action.order > 2:
            raise ValueError(f"{declared}, but it is not its own inverse")
        verify_invariance(action, system.levels, hamiltonian, jumps, declared)


@dataclass(frozen=True)
class WeakU1(Symmetry):
    """Weak U(1): exp(iφQ), Q = Σ_i w_i Sz_i + Σ_modes w_i n_i, commutes with the Liouvillian.

    It does where H keeps Q and every L_j shifts it by one constant. Its sectors hold the |m⟩⟨n| with
    Q(m) - Q(n) = k.

    weights : (sites,) integers w; None is 1 on every site
    """

    weights: np.ndarray | None = None

    def charge_weights(self, system: System) -> np.ndarray:
        return np.ones(system.sites, int) if self.weights is None else self.weights

    def verify(self, system: System, hamiltonian, jumps) -> None:
        charge = _charges(self.charge_weights(system), system.levels)
        named = [("the Hamiltonian", hamiltonian), *((f"jump operator {i}", jump) for i, (_, jump) in enumerate(jumps))]
        for name, matrix in named:
            shifts = charge_shifts(matrix, charge)
            if len(shifts) > 1 or (matrix is hamiltonian and np.any(shifts)):
                raise ValueError(
                    f"the model declares WeakU1, but {name} changes its charge "
                    f"by {shifts.tolist()}: H must keep it, a jump shift it by one constant"
                )


@dataclass(frozen=True)
class Transposition(Symmetry):
    """The map ρ -> U ρᵀ U, U = Π_i (-1)^(S_i - Sz_i) over `sites`, commutes with the Liouvillian.

    It does where U Hᵀ U = -H and the U L_j* U are the L_j of the same rates, up to phases: of real matrices in the
    Sz basis, where U H U = -H and U L_j U = ± L_j. On a boson mode the factor of U is (-1)^n.

    sites : integers
    """

    sites: np.ndarray

    def action(self, system: System) -> Action:
        chosen = np.isin(np.arange(system.sites), self.sites)
        return Action.on_sites(system.sites, alternating=chosen, transposed=True)

    def __str__(self):
        return "Transposition"


@dataclass(frozen=True)
class Parity(Symmetry):
    """Weak Z2: ρ -> U ρ U†, with U² = 1 up to a phase, commutes with the Liouvillian.

    U rotates every spin by π about `axis`, exp(iπ S_axis), and then moves site i to permutation[i].
    It is a symmetry where U H U† = H and U permutes the jump operators of equal rate, up to phases.
    It may turn the Q of WeakU1 into -Q, and a Translation into its inverse, instead of commuting with them.

    axis        : "x", "y" (spins only) or "z" ((-1)^n on boson modes); None: no rotation
    permutation : (sites,) integers, its own inverse; None: sites stay
    """

    axis: str | None = None
    permutation: np.ndarray | None = None

    def action(self, system: System) -> Action:
        """Rotations by π in the basis of falling Sz: about z (-1)^j |j⟩, x |2S-j⟩, y (-1)^j |2S-j⟩."""
        if self.axis in ("x", "y") and np.any(system.cutoffs):
            raise ValueError(f"a rotation by π about {self.axis} is not defined on a boson mode")
        moves = None if self.permutation is None else checked(self.permutation, system)
        return Action.on_sites(system.sites, moves, self.axis in ("x", "y"), self.axis in ("y", "z"))

    def __str__(self):
        about = f" about {self.axis}" if self.axis else ""
        return f"Parity{about}" + ("" if self.permutation is None else f" with the permutation {self.permutation}")


@dataclass(frozen=True)
class Translation(Symmetry):
    """Weak Z_order: ρ -> T ρ T†, where T moves site i to permutation[i], commutes with the Liouvillian.

    It does where T H T† = H and T permutes the jump operators of equal rate, up to phases. A lattice of two
    dimensions declares two, which commute. Its sectors have the eigenvalues exp(2πi q/order) of the map.
    With weights of alternating sign it may turn the Q of WeakU1 into -Q.

    permutation : (sites,) integers
    """

    permutation: np.ndarray
    cyclic: ClassVar[bool] = True

    def action(self, system: System) -> Action:
        return Action.on_sites(system.sites, checked(self.permutation, system))

    def __str__(self):
        return f"Translation with the permutation {self.permutation}"


def charge_weights(system: System) -> np.ndarray | None:
    """(sites,) weights of the declared charge, or None."""
    return next((w for s in system.symmetries if (w := s.charge_weights(system)) is not None), None)


def charges(system: System) -> np.ndarray:
    """Q of every basis state, counted from the smallest: (D,) integers, 0 where no charge is declared."""
    weights = charge_weights(system)
    if weights is None:
        return np.zeros(round(system.dimension), int)
    return _charges(weights, system.levels)


def _charges(weights, levels) -> np.ndarray:
    total = basis_sum([w * np.arange(size - 1, -1, -1) for w, size in zip(weights, levels)])
    return total - total.min()


def actions(system: System, cyclic: bool) -> list[Action]:
    """The actions of the declared symmetries of this kind, in their order."""
    return [a for s in system.symmetries if s.cyclic == cyclic and (a := s.action(system)) is not None]


def translations(system: System) -> list[np.ndarray]:
    """(sites,) permutations of the declared cyclic symmetries that move sites and do nothing else."""
    return [action.permutation for action in actions(system, cyclic=True) if action.is_permutation]


def transposition(system: System) -> Action | None:
    """The declared map ρ -> U ρᵀ U of a diagonal U, or None. Then U^(1/2)* ρ U^(1/2) can be real."""
    return next((a for a in actions(system, cyclic=False) if a.transposed and a.is_diagonal), None)


def gauge_symmetries(system: System) -> tuple[Symmetry, ...]:
    """Those declared that relate every ρ_mn to itself or, with the adjoint, to ρ*_mn."""
    return tuple(s for s in system.symmetries if (a := s.action(system)) is None or (a.transposed and a.is_diagonal))


def conserves_parity(system: System) -> bool:
    """Whether Π_i (-1)^(S_i - Sz_i) over all sites is declared by itself; a charge may imply it too."""
    total = Action.on_sites(system.sites, alternating=True)
    return any(action == total for action in actions(system, cyclic=False))


def checked(permutation, system: System) -> np.ndarray:
    """The permutation, or ValueError if it is none or moves a site to one of another dimension."""
    target, size = np.asarray(permutation), system.levels
    if not np.array_equal(np.sort(target), np.arange(system.sites)) or np.any(size != size[target]):
        raise ValueError(f"{permutation} is not a permutation of equal sites")
    return target


def charge_shifts(matrix, charge: np.ndarray) -> np.ndarray:
    """The different Q(m) - Q(n) over the elements (m, n) of a sparse matrix."""
    rows, columns = matrix.nonzero()
    return np.unique(charge[rows] - charge[columns])
