"""Initial states: what the option `initial` of the methods may be, and the states that it names.

    [0.5, 0], {a: [0, 0], b: [1, 0]}     spin coherent states, [polar, azimuth] in units of π, of all or by sublattice
    random                               a spin coherent state with a random direction for every site
    {fock: 0.5}, {fock: {a: 1, b: -1}}   product of the levels Sz = m of spins, or n of boson modes
    {alpha: [1.5, 0]}                    coherent states of boson modes, [Re α, Im α]
    {dicke: 0}                           the state of largest total spin with this total Sz
    mixed                                ρ = 1/D
    {state: FILE, select: {KEY: value}}  a state that another run has saved
    {steady_state: {model.KEY: value}}, {ground_state: {...}}, {thermal: {temperature: 1, ...}}
                                         of the same model, with other parameters where they are given

Random directions follow from the seed and the parameters of a point: they are the same in all methods, and others in
each realisation of a disorder.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator
from scipy import sparse
from scipy.special import gammaln, loggamma

from hpcsim.system.parameters import LARGEST, direction, shown
from hpcsim.system.states import angles, coherent_state
from hpcsim.system.terms import System

EXAMPLES: dict[str, Any] = {  # one of every kind
    "direction": (0.5, 0.0),
    "random": "random",
    "fock": {"fock": 0.5},
    "alpha": {"alpha": (1.0, 0.0)},
    "dicke": {"dicke": 0.0},
    "mixed": "mixed",
    "state": {"state": "steady.h5"},
    "steady_state": {"steady_state": {}},
    "ground_state": {"ground_state": {}},
    "thermal": {"thermal": {"temperature": 1.0}},
}
OF_RUN = ("state", "steady_state", "ground_state", "thermal")  # found by what runs a method, not by the method
OF_SITES = ("direction", "random", "fock", "alpha")  # products of pure states
LOST = 1e-6  # of the norm of a coherent state, beyond the cutoff


def kind(initial) -> str:
    """Which of EXAMPLES an initial state is like; a dict without such a key has directions by sublattice."""
    if isinstance(initial, str):
        return initial
    known = [name for name in EXAMPLES if isinstance(initial, dict) and name in initial]
    if known and not (known == ["state"] and not isinstance(initial["state"], str)):
        return known[0]
    return "direction"


def accepting(*kinds: str):
    """The type of the option `initial` of a method that holds these kinds of states."""
    return Annotated[Any, BeforeValidator(functools.partial(_checked, kinds))]


def _checked(kinds, value):
    found = kind(value)
    if found in EXAMPLES and found not in kinds:
        raise ValueError(
            f"this method starts from the kinds {', '.join(kinds)} alone; liouvillian and trajectories from all kinds"
        )
    if found in ("mixed", "random") or found in OF_RUN:
        return dict(value) if isinstance(value, dict) else value
    if found == "direction":
        if isinstance(value, dict) and value:
            return {str(name): direction(each) for name, each in value.items()}
        return direction(value)
    if found not in EXAMPLES or len(value) > 1:
        raise ValueError(f"{shown(value)}: write a direction [polar, azimuth], or one of {', '.join(EXAMPLES)}")
    return {found: _values(found, value[found])}


def _values(found: str, given):
    if found == "fock" and isinstance(given, dict) and given:
        return {str(name): _number(each, found) for name, each in given.items()}
    if found == "alpha":
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise ValueError(f"alpha = {shown(given)}: write [Re α, Im α]")
        return tuple(_number(each, found) for each in given)
    return _number(given, found)


def _number(value, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= LARGEST:
        raise ValueError(f"{name} = {shown(value)}: a number is needed")
    return float(value)


def check(system: System, initial) -> None:
    """Raise ValueError where an initial state does not fit the system."""
    found = kind(initial)
    if found == "direction":
        angles(system, initial)
    elif found == "fock":
        levels(system, initial)
    elif found == "alpha":
        _coherent_modes(system, initial["alpha"])
    elif found == "dicke":
        _dicke_level(system, initial["dicke"])
    elif found == "state" and initial["states"] != system.dimension:
        raise ValueError(
            f"method.initial.state: has {initial['states']} states, and this system has {system.dimension:.6g}; "
            "it must be of the same sites"
        )


def breaks_symmetries(options) -> bool:
    """Whether sites that a symmetry of the system makes equal may differ in a state that options evolve."""
    found = kind(getattr(options, "initial", None))
    return options.task == "evolve" and (found == "random" or found in OF_RUN)


def is_diagonal(system: System, initial) -> bool:
    """Whether the initial state is known to be diagonal in the product basis."""
    found = kind(initial)
    return (
        found in ("mixed", "fock")
        or found == "direction"
        and bool(np.all(np.sin(angles(system, initial)[:, 0]) < 1e-9))
    )


def directions(system: System, initial, key: tuple[int, int]) -> np.ndarray:
    """(sites, 2) polar angles and azimuths of a start of the kind direction or random, or of levels Sz = S and -S."""
    if kind(initial) == "direction":
        return angles(system, initial)
    if kind(initial) == "fock":
        polar = np.where(levels(system, initial) > 0, np.pi, 0.0)
        return np.column_stack([polar, np.zeros(system.sites)])
    x, y, z = random_directions(key, 0, system.sites).T
    return np.column_stack([np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)])


def random_directions(key: tuple[int, int], number: int, sites: int) -> np.ndarray:
    """(sites, 3) unit vectors, with a stream of this point and number alone."""
    found = np.random.default_rng([*key, number]).normal(size=(sites, 3))
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def levels(system: System, initial) -> np.ndarray:
    """(sites,) the level of every site in a product of levels. Raises ValueError."""
    given = initial["fock"]
    every = given if isinstance(given, dict) else dict.fromkeys(system.sublattices, given)
    if set(every) != set(system.sublattices):
        raise ValueError(
            f"method.initial.fock = {given}: give one number for all sites, or one for each of the sublattices "
            f"{', '.join(system.sublattices)}"
        )
    numbers = np.array([every[name] for name in system.sublattices])[system.sublattice]
    found = np.where(system.cutoffs > 0, system.cutoffs - 1, system.spins) - numbers
    if np.any(wrong := (found < 0) | (found >= system.levels) | (found != np.rint(found))):
        site = int(np.flatnonzero(wrong)[0])
        S, cutoff = system.spins[site], system.cutoffs[site]
        allowed = f"n = 0, ..., {cutoff - 1}" if cutoff else f"Sz = {-S:g}, {1 - S:g}, ..., {S:g}"
        raise ValueError(f"method.initial.fock: {numbers[site]:g} is no level of site {site}, which has {allowed}")
    return found.astype(int)


def known_levels(system: System, initial) -> np.ndarray | None:
    """(sites,) the level of every site, where the initial state is a product of levels; else None."""
    if kind(initial) == "fock":
        return levels(system, initial)
    if kind(initial) != "direction":
        return None
    polar = angles(system, initial)[:, 0]
    polar[system.cutoffs > 0] = np.pi  # modes are empty
    down = polar == np.pi
    return None if np.any((polar != 0) & ~down) else np.where(down, system.levels - 1, 0)


def _coherent_modes(system: System, alpha) -> list[np.ndarray]:
    """Amplitudes of every mode, the largest number first; normalised within the cutoff. Raises ValueError."""
    if not np.all(system.cutoffs):
        raise ValueError("method.initial.alpha: it is of boson modes, and the system has spins; give directions")
    found = []
    for cutoff in system.cutoffs:
        n, size = np.arange(cutoff), abs(complex(*alpha))
        amplitude = np.exp(n * np.log(max(size, 1e-300)) - gammaln(n + 1) / 2 - size**2 / 2)
        if (lost := 1 - np.sum(amplitude**2)) > LOST:
            raise ValueError(
                f"method.initial.alpha: {lost:.1e} of the state is beyond the cutoff {cutoff}; raise model.cutoff"
            )
        phased = amplitude * np.exp(1j * n * np.angle(complex(*alpha)))
        found.append(phased[::-1] / np.linalg.norm(phased))
    return found


def _dicke_level(system: System, total: float) -> int:
    """How far the total Sz is below its largest value. Raises ValueError."""
    if np.any(system.cutoffs):
        raise ValueError("method.initial.dicke: it is of spins, and the system has boson modes; take fock")
    J = system.spins.sum()
    if abs(total) > J or (J - total) != round(J - total):
        raise ValueError(f"method.initial.dicke = {total:g}: the total Sz is one of {-J:g}, {1 - J:g}, ..., {J:g}")
    return round(J - total)


def _dicke(system: System, total: float) -> np.ndarray:
    """ψ of the largest total spin J: |ψ_m|² = Π_i C(2S_i, S_i - m_i) / C(2J, J - M) where Σ m_i = M."""
    down = _dicke_level(system, total)

    def log_choose(n, k):
        return loggamma(n + 1) - loggamma(k + 1) - loggamma(n - k + 1)

    places, logs = np.zeros(1, int), np.zeros(1)
    for size in system.levels:
        j = np.arange(size)
        places = np.add.outer(places, j).ravel()
        logs = np.add.outer(logs, log_choose(size - 1, j)).ravel()
    return np.where(places == down, np.exp((logs - log_choose(2 * system.spins.sum(), down)) / 2), 0.0)


def pure(system: System, initial, key: tuple[int, int]) -> np.ndarray:
    """ψ (D,) of a pure state that is not OF_RUN."""
    found = kind(initial)
    if found == "dicke":
        return _dicke(system, initial["dicke"])
    if found == "fock":
        return _basis_state(system, levels(system, initial))
    if found == "alpha":
        return functools.reduce(np.kron, _coherent_modes(system, initial["alpha"]))
    return coherent_state(system.levels, directions(system, initial, key), system.cutoffs)


def _basis_state(system: System, level: np.ndarray) -> np.ndarray:
    state = np.zeros(round(system.dimension), complex)
    state[np.ravel_multi_index(tuple(level), system.levels)] = 1
    return state


def density(system: System, initial, key: tuple[int, int], found: Callable[[dict], np.ndarray]) -> sparse.coo_matrix:
    """ρ of any initial state.

    found : gives ρ (D, D) or ψ (D,) of what is OF_RUN
    """
    if initial == "mixed":
        return sparse.coo_matrix(sparse.identity(round(system.dimension)) / system.dimension)
    state = found(initial) if kind(initial) in OF_RUN else pure(system, initial, key)
    if state.ndim == 2:
        return sparse.coo_matrix(state)
    column = sparse.csr_matrix(state[:, None])
    return sparse.coo_matrix(column @ column.conj().T)


class Ensemble:
    """Pure states whose average is the initial state.

    fixed : ψ (D,) where all are this one, else None
    """

    def __init__(self, system: System, initial, key: tuple[int, int], found: Callable[[dict], np.ndarray]):
        self._system, self._key, self.fixed, self._states = system, key, None, None
        if initial == "mixed":
            return
        state = found(initial) if kind(initial) in OF_RUN else pure(system, initial, key)
        if state.ndim == 1:
            self.fixed = state.astype(complex)
            return
        weights, vectors = np.linalg.eigh(state)
        self._states, self._bounds = vectors.T, np.cumsum(np.maximum(weights, 0))

    def state(self, number: int) -> np.ndarray:
        """ψ of the trajectory with this number, whatever the batch and the rank that it is run by."""
        if self.fixed is not None:
            return self.fixed
        rng = np.random.default_rng([*self._key, number, 0x5354])
        if self._states is None:
            return _basis_state(self._system, rng.integers(0, self._system.levels))
        return self._states[np.searchsorted(self._bounds, rng.uniform(0, self._bounds[-1]))].astype(complex)
