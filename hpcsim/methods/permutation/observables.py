"""What is measured on a symmetric state, from its correlators e(n_x, n_y, n_z)."""

from itertools import combinations_with_replacement

import numpy as np
from scipy.special import ellipe

from hpcsim.methods.permutation import dicke
from hpcsim.methods.permutation.basis import Strings

STRINGS = tuple("".join(s) for order in (1, 2, 3, 4) for s in combinations_with_replacement("xyz", order))


def correlator(sector: Strings, e: np.ndarray, string: str) -> float:
    """⟨σ σ ...⟩ on different sites, for example "xxz"; 0 where sector or system have no such string."""
    counts = [string.count(a) for a in "xyz"]
    unknown = sector.index(*counts) if sum(counts) <= sector.N else -1
    return float(e[unknown]) if unknown >= 0 else 0.0


def measure(sector: Strings, e: np.ndarray, low: np.ndarray, noise: float = dicke.EXTENDED) -> dict:
    """All observables of one state but its response; see `outputs`.

    e, low : correlators, and what is to be added to them for their full accuracy
    noise  : see `dicke.summarise`
    """
    N, c = sector.N, {s: correlator(sector, e, s) for s in STRINGS}
    return {
        "mean": np.array([c["x"], c["y"], c["z"]]),
        "Mz": c["z"],
        "Sxx": c["xx"],
        "Syy": c["yy"],
        "Szz": c["zz"],
        "Sxy": c["xy"],
        "correlator": np.array([c[s] for s in STRINGS]),
        "bimodality_x": bimodality(N, c["xx"], c["xxxx"]),
        "bimodality_y": bimodality(N, c["yy"], c["yyyy"]),
        "squeezing": squeezing(N, c),
        "purity": dicke.purity(sector, e),
        **dicke.summarise(sector, e, low, noise),
    }


def bimodality(N: int, second: float, fourth: float) -> float:
    """⟨M²⟩²/⟨M⁴⟩ of M = Σ_j σ_j, from the correlators of 2 and 4 different sites (huybrechts2020, Eq. 18).

    ⟨M²⟩ = N + N(N-1) second,
    ⟨M⁴⟩ = N(3N-2) + N(N-1)(6N-8) second + N(N-1)(N-2)(N-3) fourth: products of four σ, some of them on the
    same site, leave 1, a pair or four.
    """
    m2 = N + N * (N - 1) * second
    m4 = N * (3 * N - 2) + N * (N - 1) * (6 * N - 8) * second + N * (N - 1) * (N - 2) * (N - 3) * fourth
    return m2**2 / m4


def squeezing(N: int, c: dict) -> float:
    """Wineland's ξ² = N min Var(J_n)/|⟨J⟩|² over n perpendicular to ⟨J⟩, J = Σσ/2; inf if ⟨J⟩ = 0."""
    mean = N / 2 * np.array([c[a] for a in "xyz"])
    length = np.linalg.norm(mean)
    if length < 1e-12 * N:
        return np.inf
    second = np.array([[c["".join(sorted(a + b))] for b in "xyz"] for a in "xyz"])
    covariance = N / 4 * np.eye(3) + N * (N - 1) / 4 * second - np.outer(mean, mean)
    _, _, axes = np.linalg.svd(mean[None])
    across = axes[1:]
    return N * np.linalg.eigvalsh(across @ covariance @ across.T)[0] / length**2


def angular_average(chi: np.ndarray) -> float:
    """χ_av = (1/2π) ∫ |χ u(θ)| dθ, u a unit vector: (2/π) s_1 E(1 - s_2²/s_1²), s the singular values of χ.

    chi : (2, 2) ∂M_α/∂h_β (huybrechts2020, Eqs. 21-23)
    """
    large, small = np.linalg.svd(chi, compute_uv=False)
    return 2 / np.pi * large * ellipe(1 - (small / large) ** 2) if large > 0 else 0.0
