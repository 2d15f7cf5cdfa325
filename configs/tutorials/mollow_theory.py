"""Resonance fluorescence of a two-level atom, H = Ω σx/2 with the decay γ of its excited state: Mollow's closed form."""


def triplet(omega, field_x, decay):
    """2 Re ∫_0^∞ (⟨σ+(τ) σ-⟩ - |⟨σ-⟩|²) exp(-iωτ) dτ (Mollow, Phys. Rev. 188, 1969 (1969)).

    One line at the frequency of the laser and, of the damped rotation at the Rabi frequency Ω, two beside it.
    """
    Y, z = 2 * (field_x / decay) ** 2, 3 * decay / 4 + 1j * omega
    sides = ((Y - 1) * z + (5 * Y - 1) * decay / 4) / (z**2 + field_x**2 - decay**2 / 16)
    return 2 * (Y / (4 * (1 + Y)) * (1 / (decay / 2 + 1j * omega) + sides / (1 + Y))).real


def coherent(field_x, decay):
    """|⟨σ-⟩|², the part of the light that keeps the phase of the laser."""
    Y = 2 * (field_x / decay) ** 2
    return Y / (2 * (1 + Y) ** 2)


def saturated(field_x, decay):
    """⟨σ+σ-⟩, all of the light: the population of the excited state."""
    Y = 2 * (field_x / decay) ** 2
    return Y / (2 * (1 + Y))
