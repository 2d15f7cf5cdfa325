"""Theory of the gain/loss chain (model `gain_loss_lattice`).

Linearised spin waves (Holstein-Primakoff) about the ordered states, huber2020, Appendix A; the infinite
chain, h = 0 being the dimer. Sublattice a has gain Γg, b has loss Γl. Phases by the direction of (a, b):
P = Γg Γl, g and h of one sign,

    up-up      Γg > Γl, P < (g-h)²        down-down  Γl > Γg, P < (g-h)²        up-down  P > (g+h)²
"""

import numpy as np

NAN = float("nan")


def _edges(g, h):
    """Extremes of |g + h e^{ik}|² over the band: (|g|-|h|)² and (|g|+|h|)²."""
    return (abs(g) - abs(h)) ** 2, (abs(g) + abs(h)) ** 2


def _phase(gain, loss, g, h):
    """Boolean arrays up-up, down-down, up-down: where each ordered state is stable."""
    lower, upper = _edges(g, h)
    aligned = gain * loss < lower
    return aligned & (gain > loss), aligned & (loss > gain), gain * loss > upper


def _occupation(gain, loss, g, h, sublattice):
    """n = S ∓ ⟨Sz⟩, the excitations per site (huber2020, Eqs. A6-A14).

    With C = sqrt{[(g-h)² - P][(g+h)² - P]}:
        up-up      n_a = Γl/(Γg-Γl) (1 + P/C)      n_b = Γl/(Γg-Γl) (1 + Γg²/C)
        down-down  n_a = Γg/(Γl-Γg) (1 + Γl²/C)    n_b = Γg/(Γl-Γg) (1 + P/C)
        up-down    n_a = Γl/(Γl+Γg) (P/C - 1)      n_b = Γg/(Γl+Γg) (P/C - 1)
    """
    up, down, anti = _phase(gain, loss, g, h)
    P, (lower, upper) = gain * loss, _edges(g, h)
    with np.errstate(divide="ignore", invalid="ignore"):
        C = np.sqrt((lower - P) * (upper - P))
        if sublattice == "a":
            cases = [
                loss / (gain - loss) * (1 + P / C),
                gain / (loss - gain) * (1 + loss**2 / C),
                loss / (loss + gain) * (P / C - 1),
            ]
        else:
            cases = [
                loss / (gain - loss) * (1 + gain**2 / C),
                gain / (loss - gain) * (1 + P / C),
                gain / (loss + gain) * (P / C - 1),
            ]
    return np.select([up, down, anti], cases, NAN)


def gaussian_Sz(gain, loss, g, h, S, sublattice):
    """⟨Sz⟩ per site in the ordered phases: S - n where the sublattice points up, n - S where down."""
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, _, anti = _phase(gain, loss, g, h)
    sign = np.where(up | (anti & (sublattice == "a")), 1, -1)
    return sign * (S - _occupation(gain, loss, g, h, sublattice))


def gaussian_var_Sz(gain, loss, g, h, S, sublattice):
    """(ΔSz)² per site in the ordered phases: the number variance n² + n of a Gaussian state.

    In general it is n² + n + |⟨cc⟩|². Here ⟨c_i c_i⟩ = 0 on every site, also in up-down, whose spin
    waves are created in pairs c_a c_b: rotations about z conserve Σ_a c†c - Σ_b c†c.
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    n = _occupation(gain, loss, g, h, sublattice)
    return n**2 + n


def gaussian_gap(gain, loss, g, h):
    """Smallest decay rate of a spin-wave amplitude: the Liouvillian gap of an ordered phase, S → ∞.

    Linearising huber2020, Eq. A3, with J the extreme |g + h e^{ik}|, Γ± = (Γg ± Γl)/2:
        up-down                gap = Γ+ - sqrt(Γ-² + J²),             J = |g| + |h|
        up-up, down-down       gap = |Γ-| - Re sqrt(Γ+² - J²),        J = ||g| - |h||
    One amplitude changes Σ Sz by one, so the mode is in the weak-U(1) sectors k = ±1.
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, down, anti = _phase(gain, loss, g, h)
    mean, half, (lower, upper) = (gain + loss) / 2, (gain - loss) / 2, _edges(g, h)
    staggered = mean - np.sqrt(half**2 + upper)
    aligned = abs(half) - np.sqrt(np.maximum(mean**2 - lower, 0))
    return np.select([up | down, anti], [aligned, staggered], NAN)


def gaussian_purity(gain, loss, g):
    """Tr ρ² of the dimer (h = 0), S → ∞, in the ordered phases (huber2020, Eqs. A23, A24), P = Γg Γl:

    up-down                (Γg+Γl)² (P - g²) / [g² (Γg-Γl)² + P (Γg+Γl)²]
    up-up, down-down       (Γg-Γl)² (g² - P) / [P (Γg-Γl)² + g² (Γg+Γl)²]
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, down, anti = _phase(gain, loss, g, 0.0)
    P, total, difference = gain * loss, (gain + loss) ** 2, (gain - loss) ** 2
    return np.select(
        [up | down, anti],
        [
            difference * (g**2 - P) / (P * difference + g**2 * total),
            total * (P - g**2) / (g**2 * difference + P * total),
        ],
        NAN,
    )


def lower_boundary(gain, g, h):
    """Γl at which the aligned phases end: Γg Γl = (g-h)² (huber2020, Eq. 3)."""
    return _edges(g, h)[0] / np.asarray(gain, float)


def upper_boundary(gain, g, h):
    """Γl at which the staggered phase begins: Γg Γl = (g+h)² (huber2020, Eq. 3)."""
    return _edges(g, h)[1] / np.asarray(gain, float)


def critical_rate(g, h):
    """Γ̄ = Γg = Γl at which the staggered phase begins: g + h (huber2020, Eq. 3)."""
    return np.sqrt(_edges(g, h)[1])


def gaussian_correlation_length(gain, loss, g, h):
    """ξ in cells of ⟨S+_{a,n} S-_{a,n+s}⟩ ∝ λ^s in the ordered phases: -1/ln |λ| (huber2020, Eqs. A16-A18).

    λ = (P - g² - h² ∓ C)/(2gh), C as in `_occupation`: - in up-down, + in the aligned phases, where it
    alternates in sign. Near the upper boundary ξ ∝ |Γ̄ - Γ̄c|^(-1/2).
    """
    gain, loss = np.broadcast_arrays(np.asarray(gain, float), np.asarray(loss, float))
    up, down, anti = _phase(gain, loss, g, h)
    P, (lower, upper) = gain * loss, _edges(g, h)
    with np.errstate(invalid="ignore", divide="ignore"):
        C = np.select([up | down, anti], [-1, 1], NAN) * np.sqrt((lower - P) * (upper - P))
        return -1 / np.log(np.abs((P - g**2 - h**2 - C) / (2 * g * h)))


def gaussian_negativity(gain, g):
    """Negativity of the dimer for Γg = Γl = Γ > g: g/2Γ (huber2020, Eq. A26)."""
    gain = np.asarray(gain, float)
    return np.where(gain > abs(g), abs(g) / (2 * gain), NAN)


def square_boundary(gain, g, h):
    """Γl at which the staggered phase of the square lattice begins: Γg Γl = 4 (g+h)².

    Two bonds g and two bonds h at each site: the band edge is 2 (g+h), and the rest is as in one dimension.
    """
    return 4 * _edges(g, h)[1] / np.asarray(gain, float)


def square_critical_rate(g, h):
    """Γ̄ = Γg = Γl at which the staggered phase of the square lattice begins: 2 (g + h)."""
    return 2 * critical_rate(g, h)


def mean_field_S_perp(gain, g, h, S):
    """sqrt(⟨Sx⟩² + ⟨Sy⟩²) of a site in mean field for Γg = Γl = Γ and large S (huber2020, Eq. 9):

    S sqrt(Γ/(g+h)) below Γ = g + h, 0 above.
    """
    edge, gain = critical_rate(g, h), np.asarray(gain, float)
    return np.where(gain < edge, S * np.sqrt(gain / edge), 0.0)


THEORY = (
    gaussian_Sz,
    gaussian_var_Sz,
    gaussian_gap,
    gaussian_purity,
    gaussian_negativity,
    lower_boundary,
    upper_boundary,
    critical_rate,
    gaussian_correlation_length,
    square_boundary,
    square_critical_rate,
    mean_field_S_perp,
)
