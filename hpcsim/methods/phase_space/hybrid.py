"""Dissipation of spins 1/2 that start from discrete samples: the hybrid truncated Wigner approximation.

Source: Mink, Petrosyan and Fleischhauer, Phys. Rev. Research 4, 043136 (2022). On the sphere |s|² = ¾ the decay
Γ↓ and the gain Γ↑, Γ = Γ↓ + Γ↑, take s_z to (Γ↑ - Γ↓)/2Γ at the rate Γ, without noise, and the azimuth diffuses. Over
a time t it gets the variance ln(r²(t)/r²(0)) + Γt, r² = ¾ - s_z²: a sum of the paper's terms, for which the average of
s_x and s_y falls as exp(-Γt/2). So a spin by itself decays as the master equation says, in steps of any length.
"""

import math

import numpy as np

from hpcsim.compiled import njit
from hpcsim.ensemble.streams import fill_normals
from hpcsim.methods.phase_space import advance
from hpcsim.methods.phase_space.compile import Tables
from hpcsim.system import System

RELAX = np.uint64(0x52454C41)  # purpose of the random numbers
NOTHING = 1e-24  # r² of a spin whose azimuth is not known


def check(system: System, tables: Tables):
    """ValueError where discrete samples do not fit the system."""
    if system.drive:
        raise ValueError(
            "sampling = discrete: does not take parameters that depend on time (schedule); sampling: fock does"
        )
    if np.any(system.spins != 0.5) or np.any(tables.square):
        raise ValueError(
            "sampling = discrete: is for spins 1/2 without products of operators of one site, which are numbers there; "
            "use sampling: fock, or another model"
        )


@njit(cache=True, error_model="numpy")
def relax(s, loss, gain, duration, half, step, first, key):
    """Decay and gain over a duration, in place. half : 0 or 1, before and after the rotation of a step"""
    normals, words = np.empty((4, s.shape[2])), np.empty((4, s.shape[2]), np.uint64)
    for i in range(len(s)):
        rate = loss[i] + gain[i]
        if rate == 0:
            continue
        keep, rest = math.exp(-rate * duration), (gain[i] - loss[i]) / (2 * rate)
        fill_normals(normals, words, step, np.uint64(i), first, RELAX, key)
        for t in range(s.shape[2]):
            x, y, z = s[i, 0, t], s[i, 1, t], s[i, 2, t]
            later, before = rest + (z - rest) * keep, max(x * x + y * y, NOTHING)
            ratio = (before + z * z - later * later) / before
            angle = math.sqrt(max(math.log(ratio) + rate * duration, 0.0)) * normals[half, t]
            c, d = math.sqrt(ratio) * math.cos(angle), math.sqrt(ratio) * math.sin(angle)
            s[i, 0, t], s[i, 1, t], s[i, 2, t] = c * x - d * y, d * x + c * y, later


class Spins:
    """As `advance.Spins`: every step turns the spins between two halves of their dissipation."""

    def __init__(self, spins, tables: Tables, integrator: int, dt: float, first, key):
        turning = tables._replace(damping=0 * tables.damping)
        self._turning = advance.Spins(spins, None, turning, None, integrator, 0, dt, first, key)
        self._spins, self._rates, self._dt, self._which = spins, (tables.loss, tables.gain), dt, (first, key)

    def advance(self, begin: int, steps: int):
        """Take `steps` steps, of which `begin` were taken before."""
        if not any(map(np.any, self._rates)):
            self._turning.advance(begin, steps)
            return
        for step in range(begin, begin + steps):
            for half in (0, 1):
                relax(self._spins, *self._rates, self._dt / 2, half, np.uint64(step), *self._which)
                if half == 0:
                    self._turning.advance(step, 1)

    def spins(self) -> np.ndarray:
        return self._spins
