"""Joint distributions of two spins, and the distribution of the quanta of a boson mode."""

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.terms import Function, Mean, Products, Setting, array_of, derived
from hpcsim.system import System
from hpcsim.system.operators import unit


def joint(system: System, setting: Setting) -> list:
    """P_ab [m_a, m_b]: probability that the first of two spins has Sz = m_a and the second m_b.

    participation: 1/(D ΣP_ab²) of the D = (2S_a + 1)(2S_b + 1) states, 1 where all are equally likely.
    """
    if system.sites != 2 or np.any(system.cutoffs):
        raise ValueError(f"method.observables: P_ab is the joint distribution of two spins, not {system.sites} sites")
    m = [Dim(name, tuple((S - np.arange(2 * S + 1)).tolist()), "ħ") for name, S in zip(("m_a", "m_b"), system.spins)]

    def both(a, b):
        return Products((unit(a, a), unit(b, b)), np.array([[0, 1]]), np.ones(1))

    shape = tuple(len(dim.values) for dim in m)
    return [
        Mean(Output("P_ab", tuple(m), "1", "probability $P(m_a, m_b)$"), array_of(shape, both)),
        derived("participation", "participation", ("P_ab",), long_name="1/(D ΣP_ab²), of D = (2S+1)² states"),
    ]


def quanta(system: System, setting: Setting) -> list:
    """P_n [quanta]: probability of n quanta of the one boson mode."""
    modes = np.flatnonzero(system.cutoffs)
    if len(modes) != 1:
        raise ValueError(
            f"method.observables: P_n is the distribution of quanta of one boson mode, and the model has {len(modes)}"
        )
    count = int(system.cutoffs[modes[0]])

    def of_quanta(n):
        level = count - 1 - n  # the largest number is the first level
        return Products((unit(level, level),), modes[:, None], np.ones(1))

    output = Output("P_n", (Dim("quanta", tuple(range(count))),), "1", "probability of n quanta")
    return [Mean(output, array_of((count,), of_quanta))]


def participation(probability: np.ndarray) -> np.ndarray:
    """1/(D ΣP²) of P (m_a, m_b, *time)."""
    return 1 / (probability.shape[0] * probability.shape[1] * np.sum(probability**2, axis=(0, 1)))


OBSERVABLES = {"P_ab": joint, "P_n": quanta}
FUNCTIONS = {"participation": Function(participation)}
