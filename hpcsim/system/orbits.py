"""Which sites a system's symmetries make equal, and the lines of sites along a translation."""

import numpy as np

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
    return connected(system.sites, np.tile(sites, len(moves)), np.concatenate(moves))


def connected(nodes: int, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(nodes,) the connected part of every node of a graph, numbered from 0 in the order of their first nodes.

    start, end : (edges,) nodes. As scipy.sparse.csgraph.connected_components, which takes long to load.
    """
    label, before = np.arange(nodes), None
    while not np.array_equal(label, before):
        before = label.copy()
        for one, other in ((start, end), (end, start)):
            np.minimum.at(label, before[one], label[other])
        label = label[label]
    return np.unique(label, return_inverse=True)[1]


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
