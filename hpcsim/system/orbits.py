"""Which sites a system's symmetries make equal, and the lines of sites along a translation."""

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from hpcsim.system.action import cycles
from hpcsim.system.symmetry import actions, translations
from hpcsim.system.terms import System


def orbits(system: System) -> np.ndarray:
    """(sites,) the orbit of every site, numbered from 0 in the order of their first sites.

    Sites share an orbit where declared symmetries that move sites, rotate no spin and keep every site in its
    sublattice lead from one to the other: they then have the same mean values, in the steady state and from
    any initial state that is the same within every sublattice.
    """
    return system.of_structure("orbits", lambda: _orbits(system))


def _orbits(system: System) -> np.ndarray:
    sites = np.arange(system.sites)
    declared = actions(system, cyclic=True) + actions(system, cyclic=False)
    moves = [action.permutation for action in declared if action.is_permutation]
    moves = [p for p in moves if np.array_equal(system.sublattice[p], system.sublattice)]
    if not moves:
        return sites
    start, end = np.tile(sites, len(moves)), np.concatenate(moves)
    graph = csr_matrix((np.ones(len(start), bool), (start, end)), (len(sites),) * 2)
    return connected_components(graph, directed=False)[1].astype(int)


def lines(permutation: np.ndarray) -> np.ndarray | None:
    """(length, lines) sites: [s, l] is s steps of the permutation away from the first site of line l.

    None where the cycles of the permutation differ in length.
    """
    found = cycles(permutation)
    return np.array(found).T if len({len(cycle) for cycle in found}) == 1 else None


def lines_along(system: System) -> np.ndarray | None:
    """`lines` of the first translation that the system declares; None where there is none."""
    moves = translations(system)
    return lines(moves[0]) if moves else None
