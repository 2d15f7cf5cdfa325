"""Product states: directions, and spin coherent states."""

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


def spin_coherent(levels: int, polar: float, azimuth: float) -> np.ndarray:
    """ψ of one spin: (levels,) complex, the state |θ, φ⟩ with n·S = S along n.

    ⟨m|θ, φ⟩ = sqrt(C(2S, S-m)) cos(θ/2)^(S+m) sin(θ/2)^(S-m) e^(i(S-m)φ)
    """
    j = np.arange(levels)
    choose = np.cumprod(np.concatenate([[1.0], (levels - j[1:]) / j[1:]]))
    amplitude = np.sqrt(choose) * np.cos(polar / 2) ** (levels - 1 - j) * np.sin(polar / 2) ** j
    return amplitude * np.exp(1j * j * azimuth)


def coherent_state(levels: np.ndarray, angles: np.ndarray, cutoffs: np.ndarray | None = None) -> np.ndarray:
    """ψ (D,) of the product of spin coherent states in directions (sites, 2) of polar angle and azimuth.

    cutoffs : (sites,) not 0 on boson modes, which are empty; None: there are none
    """
    state = np.ones(1, complex)
    for i, (size, direction) in enumerate(zip(levels, angles)):
        empty = cutoffs is not None and cutoffs[i]
        state = np.kron(state, np.eye(size)[-1] if empty else spin_coherent(size, *direction))
    return state
