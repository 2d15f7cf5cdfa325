"""Photons of a two-level atom, H = Ω σx/2 with the decay γ of its excited state: closed forms."""

import numpy as np


def density(wait, field_x, decay):
    """γ (Ω/2λ)² exp(-γτ/2) sin² λτ, λ² = Ω²/4 - γ²/16, averaged over bins.

    Source: Carmichael, Singh, Vyas and Rice, Phys. Rev. A 39, 1200 (1989).
    """
    turning = np.sqrt(field_x**2 / 4 - decay**2 / 16 + 1e-12 + 0j)
    tau = wait[:, None] + (wait[1] - wait[0]) * (np.arange(20) - 9.5) / 20
    found = decay * np.exp(-decay * tau / 2) * (field_x / 2 / turning * np.sin(turning * tau)) ** 2
    return found.real.mean(axis=-1)


def fano(field_x, decay):
    """1 - 6 Ω²γ²/(γ² + 2Ω²)² of the number of photons in a long time (Mandel, Opt. Lett. 4, 205 (1979))."""
    return 1 - 6 * (field_x * decay) ** 2 / (decay**2 + 2 * field_x**2) ** 2
