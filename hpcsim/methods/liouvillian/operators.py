"""H_eff and the jump operators of a system, its basis states sorted by their charge: what all sectors share."""

import copy
import functools
from collections.abc import Callable

import numpy as np
from scipy import sparse

from hpcsim.methods import Context
from hpcsim.methods.liouvillian.symmetry import Symmetries, symmetries
from hpcsim.system import System, charges, matrices


class Operators:
    """H_eff and the jump operators of a system, basis states sorted by their charge.

    hamiltonian, effective : (D, D) CSR, H and H - (i/2) Σ γ L†L, made where they are asked for
    rates : (jumps,);  jumps : list of (D, D) CSR
    first : (blocks + 1,) first state of each block of equal charge; block b has charge b
    block : (D,) block of each state
    order : (D,) index of each state in the product basis
    symmetries : what divides the sectors further
    spin  : Σ_i S_i; of a boson mode S = (cutoff - 1)²/2, for its energies grow as n²
    share : (key, make) -> make(), which small systems of one structure share: see System.of_structure
    """

    def __init__(self, system: System):
        self._system, self.share, self.symmetries = system, share_of(system), symmetries(system)
        self.first, self.block, self.order, self.spin = self.share(("liouvillian", "basis"), lambda: _basis(system))
        self.rates = np.array([rate for jumps in system.jumps for rate in jumps.rates.tolist() if rate])

    @functools.cached_property
    def hamiltonian(self) -> sparse.csr_matrix:
        return self._sorted(matrices.hamiltonian(self._system))

    def _sorted(self, matrix: sparse.csr_matrix) -> sparse.csr_matrix:
        return matrix[self.order][:, self.order] if len(self.first) > 2 else matrix

    @functools.cached_property
    def effective(self) -> sparse.csr_matrix:
        if self._system.dimension > matrices.SMALL:
            return matrices.effective_hamiltonian(self.hamiltonian, zip(self.rates, self.jumps))
        return sparse.csr_matrix(self.hamiltonian - 0.5j * self._losses(self.rates))

    @property
    def _losses(self) -> matrices.WeightedSum:
        def make():
            return matrices.WeightedSum([jump.getH() @ jump for jump in self.jumps], len(self.block))

        return self.share(("liouvillian", "losses"), make)

    @functools.cached_property
    def jumps(self) -> list:
        def make():
            return [self._sorted(jump) for _, jump in matrices.jump_operators(self._system)]

        return self.share(("liouvillian", "jump operators"), make)

    def with_weights(self, coefficients: np.ndarray, rates: np.ndarray) -> "Operators":
        """The same of a small system with others in place of its coefficients and rates that are not zero."""
        other = copy.copy(self)
        other.rates, other.hamiltonian = rates, self._sorted(matrices.products(self._system)(coefficients))
        other.effective = sparse.csr_matrix(other.hamiltonian - 0.5j * self._losses(rates))
        return other

    def with_symmetries(self, found: Symmetries) -> "Operators":
        """The same with others, and nothing to share with systems that have those of the model."""
        other = copy.copy(self)
        other.symmetries, other.share = found, unshared
        return other


def _basis(system: System):
    """first, block, order and spin of `Operators`."""
    charge = charges(system)
    order = np.argsort(charge, kind="stable")
    spin = float(np.where(system.cutoffs > 0, (system.levels - 1) ** 2 / 2, system.spins).sum())
    return np.searchsorted(charge[order], np.arange(charge.max() + 2)), charge[order], order, spin


def unshared(key, make: Callable):
    """For Operators.share."""
    return make()


def share_of(system: System) -> Callable:
    """For Operators.share."""
    return system.of_structure if system.dimension <= matrices.SMALL else unshared


def kept_operators(system: System, context: Context, verified: bool = False) -> Operators:
    """`operators`, made once for all records of a run that are of equal systems."""
    return context.cache.get(("liouvillian", "operators", system.key), lambda: operators(system, verified))


def operators(system: System, verified: bool = False) -> Operators:
    """The matrices of a system; raises ValueError if a declared symmetry is not one, unless that is verified.

    Where coefficients depend on time it is verified of the parts, whose operators are made as well.
    """
    if not verified and system.drive is None:
        matrices.verify_symmetries(system, matrices.hamiltonian(system), matrices.jump_operators(system))
    return Operators(system)
