"""How ⟨S_⊥⟩ of a lattice is ordered along its translations: waves, and the kind of order (lee2013, Fig. 1)."""

import numpy as np

from hpcsim.methods import Dim, Output
from hpcsim.system import System, lines_along, translations

ORDERED = 1e-3  # smallest ⟨S_⊥⟩/S of an ordered state
WAVED = 1 / 3  # smallest sin²k of a wave: domains have less
ANGLE = 0.3  # smallest sine of the angle between neighbours that are not collinear
KINDS = ("none", "uniform", "density wave", "alternating", "two sublattices at an angle")


def outputs(system: System) -> tuple[Output, ...]:
    """Empty where the system declares no translation."""
    if lines_along(system) is None:
        return ()
    kinds = ", ".join(f"{number} {kind}" for number, kind in enumerate(KINDS))
    return (
        Output("wave", (_wavenumbers(system),), "ħ²", "|Σ_n exp(-ikn) ⟨S_⊥⟩_n / N|² over N places"),
        Output("main_wavenumber", (), "π/cell", "wavenumber of the largest wave"),
        Output("order", (), "1", f"order of ⟨S_⊥⟩: {kinds}"),
    )


def waves(system: System, s) -> dict[str, np.ndarray]:
    """The outputs of averages s (sites, 3)."""
    places = lines_along(system)
    if places is None:
        return {}
    wave = np.fft.fft(s[places][..., :2], axis=0) / len(places)  # place, orbit, x or y
    power = (np.abs(wave) ** 2).sum(axis=(1, 2))
    half = len(places) // 2 + 1
    power = power[:half] + np.where(np.arange(half) * 2 % len(places), np.roll(power[::-1], 1)[:half], 0)
    kind = _order(system, s[:, :2])
    main = _wavenumbers(system).values[int(power.argmax())] if kind else np.nan
    return {"wave": power, "main_wavenumber": main, "order": np.float64(kind)}


def _order(system: System, across) -> int:
    """The kind of order, an index into KINDS, of vectors u (sites, 2), even if a random start has left domains.

    With sums over the sites and neighbours n+1 along a translation, a wave k has Σ|u_{n+2} - u_n|² / 4Σ|u_n|² =
    sin²k and Σ|u_{n+1} - u_n|² / 4Σ|u_n|² = sin²(k/2). The median tells at which angle most neighbours are.
    """
    length = np.hypot(*across.T)
    if length.max() < ORDERED * system.spins.max():
        return 0
    waved, alternating, angle = [], [], []
    for move in translations(system):
        near, far = across[move], across[move[move]]
        waved.append(np.sum((far - across) ** 2) / np.sum(4 * length**2))
        alternating.append(np.sum((near - across) ** 2) / np.sum(4 * length**2))
        product = across[:, 0] * near[:, 1] - across[:, 1] * near[:, 0]
        angle.append(np.median(abs(product) / np.maximum(length * length[move], 1e-300)))
    if max(waved) > WAVED:
        return 2
    if max(angle) > ANGLE:
        return 4
    return 3 if max(alternating) > 0.5 else 1


def _wavenumbers(system: System) -> Dim:
    length = len(lines_along(system))
    return Dim("wavenumber", tuple(2 * m / length for m in range(length // 2 + 1)), "π/cell")
