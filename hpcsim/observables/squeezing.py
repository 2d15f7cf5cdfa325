"""Spin squeezing of the total spin."""

from itertools import permutations

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.sites import only_spins
from hpcsim.observables.terms import Function, Mean, Products, Setting, array_of, constant, derived
from hpcsim.system import System

PAIRS = ("xx", "yy", "zz", "xy", "yz", "zx")


def squeezing(system: System, setting: Setting) -> list:
    """ξ² = 2S min Var(J_⊥)/|⟨J⟩|², J = Σ_i S_i, S = Σ S_i, over directions ⊥ ⟨J⟩ (huber2021, Eq. 33).

    Below 1: squeezed against a spin coherent state. inf where ⟨J⟩ = 0. When evolving also squeezing_minimum, the
    smallest of all times. Internal: J [axis] and J_J [axes], ⟨J_a J_b + J_b J_a⟩/2 of the six PAIRS.
    """
    only_spins(system, "squeezing")
    sites = np.arange(system.sites)
    pairs = np.array(list(permutations(sites, 2)), int).reshape(-1, 2)

    def second(k):
        a, b = (f"S{letter}" for letter in PAIRS[k])
        own = [Products(order, np.column_stack([sites, sites]), np.full(len(sites), 0.5)) for order in ((a, b), (b, a))]
        return (*own, Products((a, b), pairs, np.ones(len(pairs))))

    sources = ("J", "J_J", "twice_spin")
    found = [
        Mean(
            Output("J", (Dim("axis", ("x", "y", "z")),), "ħ", "total spin"),
            array_of((3,), lambda a: Products((f"S{'xyz'[a]}",), sites[:, None], np.ones(len(sites)))),
            public=False,
        ),
        Mean(Output("J_J", (Dim("axes", PAIRS),), "ħ²", "⟨J_a J_b + J_b J_a⟩/2"), array_of((6,), second), public=False),
        constant("twice_spin", 2 * system.spins.sum()),
        derived("squeezing", "squeezing", sources, long_name="spin squeezing parameter ξ² of the total spin"),
    ]
    if setting.evolving:
        long_name = "smallest ξ² of all times"
        found.append(derived("squeezing_minimum", "squeezing_minimum", sources, long_name=long_name, timed=False))
    return found


def parameter(mean: np.ndarray, second: np.ndarray, twice_spin: np.ndarray) -> np.ndarray:
    """ξ² (*time) from ⟨J⟩ (3, *time), ⟨J_a J_b + J_b J_a⟩/2 (6, *time) of PAIRS, and 2S (*time)."""
    shape, full = mean.shape[1:], np.array([[0, 3, 5], [3, 1, 4], [5, 4, 2]])
    mean, second = mean.reshape(3, -1).T, np.moveaxis(second.reshape(6, -1)[full], -1, 0)
    xi = np.empty(len(mean))
    for t, (direction, both, size) in enumerate(zip(mean, second, np.ravel(twice_spin))):
        length2 = direction @ direction
        if not np.isfinite(length2) or length2 < (1e-12 * size) ** 2:
            xi[t] = np.inf if np.isfinite(length2) else np.nan
            continue
        across = np.linalg.svd(direction[None])[2][1:]  # two unit vectors perpendicular to the mean
        smallest = np.linalg.eigvalsh(across @ (both - np.outer(direction, direction)) @ across.T)[0]
        xi[t] = size * smallest / length2
    return xi.reshape(shape)


def smallest(mean, second, twice_spin) -> np.ndarray:
    """The minimum of ξ² over time."""
    return np.min(parameter(mean, second, twice_spin), axis=-1)


OBSERVABLES = {"squeezing": squeezing}
FUNCTIONS = {"squeezing": Function(parameter), "squeezing_minimum": Function(smallest)}
