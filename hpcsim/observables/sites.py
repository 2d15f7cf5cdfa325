"""Which sites are alike, and where they are along the first translation."""

import numpy as np

from hpcsim.system import System, connected, lines_along, translations


def sublattices(system: System, of_spins: bool = True) -> list[np.ndarray]:
    """The spins (or the boson modes) of every sublattice, as arrays of sites."""
    kind = (system.cutoffs == 0) == of_spins
    return [np.flatnonzero(kind & (system.sublattice == k)) for k in range(len(system.sublattices))]


def places(system: System, name: str) -> np.ndarray:
    """(order, orbits) sites: places[s, o] is s steps along the first translation. ValueError without one."""
    if not translations(system):
        raise ValueError(
            f"method.observables: {name} needs a system with a translation symmetry, such as a periodic chain "
            "(periodic: true)"
        )
    grid = lines_along(system)
    if grid is None:
        raise ValueError(f"method.observables: {name} needs a translation that moves every site equally far")
    return grid


def only_spins(system: System, name: str):
    """ValueError where the system has boson modes."""
    if np.any(system.cutoffs):
        raise ValueError(f"method.observables: {name} is known of spins, and this model has boson modes")


def checkerboard(system: System, name: str) -> np.ndarray:
    """(sites,) +1 and -1, different on sites that a Hamiltonian term couples; of uncoupled sites (-1)^site.

    The first site of every connected part has (-1)^site, so that a chain has alternating signs. ValueError where the
    couplings do not allow it.
    """
    n = system.sites
    pairs = [terms.sites[terms.coefficients != 0] for terms in system.hamiltonian if terms.sites.shape[1] == 2]
    pairs = np.vstack([np.zeros((0, 2), int), *pairs])
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    # in the doubled graph, each coupling joins a site to the copy of its neighbour
    rows = np.concatenate([pairs[:, 0], pairs[:, 0] + n])
    columns = np.concatenate([pairs[:, 1] + n, pairs[:, 1]])
    label = connected(2 * n, rows, columns)
    if np.any(label[:n] == label[n:]):
        raise ValueError(
            f"method.observables: {name}: weights: alternating needs couplings between two halves of the sites, and "
            "this system has a loop of an odd number of them; list the weights of all sites"
        )
    sign = np.zeros(n, int)
    for site in range(n):
        if not sign[site]:
            first = 1 - 2 * (site % 2)
            sign[label[:n] == label[site]] = first
            sign[label[n:] == label[site]] = -first
    return sign
