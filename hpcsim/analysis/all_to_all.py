"""Mean-field theory of all-to-all XYZ spins (model `all_to_all_xyz`), huybrechts2020, Sec. III."""

import numpy as np
from scipy.special import xlogy


def _bloch(N, Jx, Jy, Jz, decay, collective_decay):
    """⟨σx⟩², ⟨σy⟩², ⟨σz⟩ of the steady state of huybrechts2020, Eq. 7, with γ' = γ + Γ/(N-1).

    Where the couplings order, K = 2 sqrt((Jy - Jz)(Jz - Jx)) and 2K > γ' + Γ,
        ⟨σz⟩ = -γ'/(2K - Γ),  ⟨σy⟩/⟨σx⟩ = r = -K/(2(Jy - Jz)),
        ⟨σx⟩² = γ'(1 + ⟨σz⟩) / (2(Jx - Jy) r - (Γ/2)(1 + r²));
    else the spins are down. For Γ = 0 these are Eqs. 24 and 25.
    """
    N, Jx, Jy, Jz, decay, collective_decay = np.broadcast_arrays(
        *(np.asarray(v, float) for v in (N, Jx, Jy, Jz, decay, collective_decay))
    )
    K = 2 * np.sqrt(np.maximum((Jy - Jz) * (Jz - Jx), 0))
    loss = decay + collective_decay / (N - 1)
    ordered = loss + collective_decay < 2 * K
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(ordered, -loss / (2 * K - collective_decay), -1.0)
        r = -K / (2 * (Jy - Jz))
        x2 = loss * (1 + z) / (2 * (Jx - Jy) * r - collective_decay / 2 * (1 + r**2))
    return np.where(ordered, x2, 0.0), np.where(ordered, r**2 * x2, 0.0), z


def all_to_all_Sxx(N, Jx, Jy, Jz, decay, collective_decay):
    """⟨σx⟩² in mean field, what Sxx is for independent spins (huybrechts2020, Eq. 24)."""
    return _bloch(N, Jx, Jy, Jz, decay, collective_decay)[0]


def all_to_all_Mz(N, Jx, Jy, Jz, decay, collective_decay):
    """⟨σz⟩ in mean field (huybrechts2020, Eq. 25)."""
    return _bloch(N, Jx, Jy, Jz, decay, collective_decay)[2]


def all_to_all_entropy(N, Jx, Jy, Jz, decay, collective_decay):
    """Entropy per spin in mean field, from the length of the Bloch vector (huybrechts2020, Eq. 17)."""
    x2, y2, z = _bloch(N, Jx, Jy, Jz, decay, collective_decay)
    p = (1 + np.sqrt(np.minimum(x2 + y2 + z**2, 1))) / 2
    return -xlogy(p, p) - xlogy(1 - p, 1 - p)


def all_to_all_critical_Jy(Jx, Jz, decay, collective_decay):
    """Jy of the transition in mean field for N → ∞: Jz + (γ + Γ)²/(16 (Jz - Jx)) (huybrechts2020, Eq. 9).

    NaN near the pole Jx = Jz, where |Jy - Jz| exceeds 10 (γ + Γ), so that a line over Jx is broken there.
    """
    with np.errstate(divide="ignore"):
        distance = (decay + collective_decay) ** 2 / (16 * np.subtract(Jz, Jx))
    return np.where(np.abs(distance) < 10 * (decay + collective_decay), Jz + distance, np.nan)


def _covariance(Jx, Jy, Jz, decay, collective_decay):
    """⟨X²⟩, ⟨P²⟩, ⟨{X, P}⟩/2 of the spin wave of all spins in the paramagnet for N → ∞, 1, 1, 0 in the vacuum.

    Of small fluctuations about all spins down, Σσ₋ = √N a with X = a + a†, P = -i(a - a†):
        H = ((Jx - Jz) X² + (Jy - Jz) P²)/2,  D[a] with the rate κ = γ + Γ.
    With u = 2 (Jy - Jz), v = 2 (Jz - Jx) and Δ = κ² - 4uv, which is 0 at the transition,
        ⟨X²⟩ = 1 + 2u (u + v)/Δ,  ⟨P²⟩ = 1 + 2v (u + v)/Δ,  ⟨{X, P}⟩/2 = κ (u + v)/Δ.
    NaN where the wave is not damped.
    """
    u, v, loss = 2 * np.subtract(Jy, Jz), 2 * np.subtract(Jz, Jx), np.add(decay, collective_decay)
    gap = loss**2 - 4 * u * v
    with np.errstate(divide="ignore"):
        pull = np.where(gap > 0, (u + v) / gap, np.nan)
    return 1 + 2 * u * pull, 1 + 2 * v * pull, loss * pull


def all_to_all_wave_Sxx(Jx, Jy, Jz, decay, collective_decay):
    """N Sxx of the paramagnet for N → ∞: ⟨X²⟩ - 1, X = a + a† of its spin wave a."""
    return _covariance(Jx, Jy, Jz, decay, collective_decay)[0] - 1


def all_to_all_wave_Mz(Jx, Jy, Jz, decay, collective_decay):
    """N (⟨σz⟩ + 1) of the paramagnet for N → ∞: 2 ⟨a†a⟩ of its spin wave a."""
    x2, p2, _ = _covariance(Jx, Jy, Jz, decay, collective_decay)
    return (x2 + p2) / 2 - 1


def all_to_all_wave_entropy(Jx, Jy, Jz, decay, collective_decay):
    """Entropy of all N spins of the paramagnet for N → ∞: that of its spin wave.

    (n+1) ln(n+1) - n ln n, 2n + 1 the root of the determinant of its covariance.
    """
    x2, p2, xp = _covariance(Jx, Jy, Jz, decay, collective_decay)
    n = (np.sqrt(np.maximum(x2 * p2 - xp**2, 1)) - 1) / 2
    return xlogy(n + 1, n + 1) - xlogy(n, n)


THEORY = (
    all_to_all_Sxx,
    all_to_all_Mz,
    all_to_all_entropy,
    all_to_all_critical_Jy,
    all_to_all_wave_Sxx,
    all_to_all_wave_Mz,
    all_to_all_wave_entropy,
)
