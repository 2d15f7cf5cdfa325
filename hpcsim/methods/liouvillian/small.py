"""Steady states of small systems: what follows from the structure is found once, a point only fills in its magnitudes.

The Liouvillian is linear in the coefficients and rates. Those that are equal belong together, for a symmetry may need
them to be: L = Σ_v v L_v, with one real matrix L_v of the steady state's sector for each different value v. Where these
are few and small they are kept, and a point of a sweep adds them up and calls LAPACK.
"""

import functools

import numpy as np

from hpcsim import solvers
from hpcsim.compiled import interpreted
from hpcsim.methods.liouvillian import uniqueness
from hpcsim.methods.liouvillian.operators import operators
from hpcsim.methods.liouvillian.sectors import Sector
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.system import System
from hpcsim.system.matrices import SMALL

LARGEST = 300  # unknowns of a dense problem
ROOM = 2**21  # elements of all L_v together
FEW = 500  # |m><n| of a sector that is set up in less time than numba takes to load


class Family:
    """All small systems of one structure that have the same magnitudes equal. Their declared symmetries hold.

    home : the steady state's sector of one of them; its unknowns, and what is measured, are the same for all
    """

    def __init__(self, member: System):
        self._member, values = member, member.magnitudes[1]
        found = operators(member)
        self._few = np.sum(np.diff(found.first) ** 2) <= FEW
        with interpreted(self._few):
            self.home = Sector(found, HOME)
        self.dense = self.home.size <= LARGEST and len(values) * self.home.size**2 <= ROOM

    @functools.cached_property
    def connected(self) -> bool:
        """Whether a steady state without zero eigenvalues is unique for all of them."""
        return uniqueness.jumps_connect(self.home.operators)

    @functools.cached_property
    def _parts(self) -> np.ndarray:
        """(values, size, size) L_v."""
        (labels, values), size = self._member.magnitudes, self.home.size
        terms = sum(len(terms.numbers) for terms in self._member.hamiltonian)
        of_terms, of_jumps = ([v for v in part if values[v]] for part in (labels[:terms], labels[terms:]))
        found = np.zeros((len(values), size, size))
        for v in np.flatnonzero(values):
            one = self.home.operators.with_weights(*(np.equal(part, v).astype(float) for part in (of_terms, of_jumps)))
            with interpreted(self._few):
                found[v] = Sector(one, HOME, like=self.home).rows(0, size).toarray()
        return found

    @functools.cached_property
    def _trace(self) -> np.ndarray:
        return self.home.trace(0, self.home.size)

    def steady_state(self, system: System) -> tuple[np.ndarray, float]:
        """All components of the steady state, and its residual, where `dense`."""
        size = self.home.size
        matrix = np.dot(system.magnitudes[1][None], self._parts.reshape(-1, size * size)).reshape(size, size)
        return solvers.dense_steady_state(matrix, self._trace, self.home)


def family_of(system: System) -> Family | None:
    """The family that a system belongs to; None where it is too large, or its symmetries need to be looked at."""
    if system.dimension > SMALL:
        return None
    labels = system.magnitudes[0]
    return system.of_structure(("liouvillian", "family", labels), lambda: _family(system))


def _family(system: System) -> Family | None:
    values = system.magnitudes[1]
    generic = np.where(values == 0, 0.0, np.random.default_rng(1).uniform(1, 2, len(values)))
    try:
        return Family(system.with_magnitudes(generic))
    except ValueError:  # a symmetry does not hold, or only by a coincidence of values
        return None
