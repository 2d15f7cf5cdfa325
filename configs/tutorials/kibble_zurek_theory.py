"""Ramp of a transverse-field Ising ring, exactly: free fermions, each pair of momenta ±k a two-level system."""

import numpy as np

STEPS = 4000  # of the time from 0 to 1


def bond(J, sites):
    """⟨Sz Sz⟩ of neighbours after the field has fallen from 2J to 0, ħ = 1 and times in units of T.

    H_k = (J/2) [(g - cos k) σz + sin k σx] with g = 2 field/J = 4 (1 - t), k = π/N, 3π/N, ... (Dziarmaga, Phys. Rev.
    Lett. 95, 245701 (2005)); a pair that ends excited with the probability p_k makes two kinks of N.
    """
    J, N = np.atleast_1d(np.asarray(J, float)), int(np.ravel(sites)[0])
    k = np.pi * np.arange(1, N, 2) / N
    state = _ground(4.0, k) * np.ones((len(J), 1, 1))
    for t in (np.arange(STEPS) + 0.5) / STEPS:
        z, x = J[:, None] / 2 * (4 * (1 - t) - np.cos(k)), J[:, None] / 2 * np.sin(k)
        energy = np.hypot(z, x)
        c, s = np.cos(energy / STEPS), np.sin(energy / STEPS) / energy
        up, down = np.moveaxis(state, -1, 0)
        state = np.stack([c * up - 1j * s * (z * up + x * down), c * down - 1j * s * (x * up - z * down)], axis=-1)
    left = 1 - abs((state * _ground(0.0, k)).sum(axis=-1)) ** 2
    return (1 - 4 * left.sum(axis=1) / N) / 4


def _ground(g: float, k):
    """(k, 2) the lower state of (g - cos k) σz + sin k σx."""
    angle = np.arctan2(np.sin(k), g - np.cos(k))
    return np.stack([-np.sin(angle / 2), np.cos(angle / 2)], axis=-1)


def infinite(J):
    """The same of an infinite ring and slow ramps, by Landau and Zener: kinks 1/(2π sqrt(JT/8))."""
    return (1 - 2 / (2 * np.pi * np.sqrt(np.asarray(J, float) / 8))) / 4
