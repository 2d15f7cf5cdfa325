"""Product states: directions of spin coherent states."""

import numpy as np

from hpcsim.system.terms import System


def angles(system: System, initial) -> np.ndarray:
    """(sites, 2) polar angle and azimuth of an Initial; 0 on sublattices of boson modes. Raises ValueError."""
    modes = {name for s, name in enumerate(system.sublattices) if np.all(system.cutoffs[system.sublattice == s])}
    names = [name for name in system.sublattices if name not in modes]
    directions = initial if isinstance(initial, dict) else dict.fromkeys(names, initial)
    if set(directions) != set(names):
        raise ValueError(
            f"initial = {directions}: give one direction for all sites, or one for each of the "
            f"sublattices {', '.join(names)}"
        )
    return np.pi * np.array([directions.get(name, (0.0, 0.0)) for name in system.sublattices])[system.sublattice]
