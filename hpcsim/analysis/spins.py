"""Theory of one collective spin (model `collective_spin`) and of the XYZ lattice (model `xyz_lattice`)."""

import functools

import numpy as np
import scipy.sparse as sp
from scipy.special import gammaln, xlogy

NAN = float("nan")


# ------------------------------------------------------------------ one collective spin, exact


def superradiant_Sz(S, decay, time):
    """⟨Sz⟩ of a spin that starts up and decays at (Γ/2S) D[S-]: the rate equations of its populations,

    dp_m/dt = γ_{m+1} p_{m+1} - γ_m p_m,  γ_m = (Γ/S) [S(S+1) - m(m-1)], exact at any S. time is rising.
    """
    m = np.arange(S, -S - 1, -1.0)
    down = decay / S * (S * (S + 1) - m * (m - 1))
    generator = sp.diags([-down, down[:-1]], [0, -1], format="csc")
    times = np.atleast_1d(np.asarray(time, float))
    from scipy.integrate import solve_ivp  # slow to load, and few runs need it

    solution = solve_ivp(
        lambda t, p: generator @ p,
        (0, max(times[-1], 1e-12)),
        np.eye(len(m), 1).ravel(),
        "Radau",
        times,
        jac=generator,
        rtol=1e-7,
        atol=1e-10,
    )
    return m @ solution.y


def dephased_Sx(S, dephasing, time):
    """⟨Sx⟩ = S exp(-Γφ t) of a spin that starts along x with the dephasing Γφ D[Sz]: exact at any S."""
    return S * np.exp(-dephasing * np.asarray(time))


def twisted_squeezing(S, twist, time):
    """ξ² = 2S min ΔS⊥²/|⟨S⟩|² of a spin that starts down, under H = (g/2S) Sx² alone.

    With μ = gt/S, A = 1 - cos^{2S-2} μ, B = 4 sin(μ/2) cos^{2S-2}(μ/2):
        min ΔS⊥² = (S/2) [1 + (S-½)/2 (A - sqrt(A² + B²))],  ⟨Sz⟩ = -S cos^{2S-1}(μ/2)
    Source: Kitagawa and Ueda (1993), doi:10.1103/PhysRevA.47.5138.
    """
    mu = twist * np.asarray(time) / S
    A = 1 - np.cos(mu) ** (2 * S - 2)
    B = 4 * np.sin(mu / 2) * np.cos(mu / 2) ** (2 * S - 2)
    return (1 + (S - 0.5) / 2 * (A - np.hypot(A, B))) / np.cos(mu / 2) ** (4 * S - 2)


def _driven(S, drive, decay):
    """The moments of `_driven_one` for arrays of parameters that broadcast."""
    S, drive, decay = np.broadcast_arrays(*(np.asarray(value, float) for value in (S, drive, decay)))
    moments = np.empty((5, *S.shape))
    for one in np.unique(S):
        moments[:, one == S] = _driven_one(float(one), drive[one == S], decay[one == S])
    return moments


def _driven_one(S, drive, decay):
    """⟨Sy⟩, ⟨Sz⟩, ⟨Sx²⟩, ⟨Sy²⟩, ⟨Sz²⟩ of the steady state of H = Ω Sx with (Γ/2S) D[S-].

    ρ ∝ A⁻¹ A⁻¹†, A = S- + i e, e = ΩS/Γ, a polynomial in S- (Puri and Lawande 1979,
    doi:10.1016/0375-9601(79)90003-7; Drummond 1980). With T_k = Tr S-^k S+^k = (2S+k+1)! (k!)² /
    [(2S-k)! (2k+1)!] and the weights e^{-2k}, n-fold shifted averages R_n = Σ e^{-2(k+1)} T_{k+n} /
    Σ e^{-2(k+1)} T_k (n = 1, 2), and the mean k̄ of k,

        ⟨Sy⟩ = R_1/e,  ⟨Sz⟩ = -k̄/2,  ⟨S-²⟩ = -R_2/e²,  and from d⟨Sz⟩/dt = 0:  ⟨S+S-⟩ = e ⟨Sy⟩.
    """
    e = np.maximum(drive * S / decay, 1e-9)[:, None]
    k = np.arange(int(2 * S) + 1)
    log_T = gammaln(2 * S + k + 2) + 2 * gammaln(k + 1) - gammaln(2 * S - k + 1) - gammaln(2 * k + 2)
    log_weight = log_T - xlogy(2 * k, e)
    log_norm = np.logaddexp.reduce(log_weight, axis=-1, keepdims=True)
    p = np.exp(log_weight - log_norm)
    # T_{k+n} e^{-2k} = p_{k+n} e^{2n}
    first, second = e[..., 0] ** 2 * p[..., 1:].sum(-1), e[..., 0] ** 4 * p[..., 2:].sum(-1)
    e = e[..., 0]
    y, z = first / e, -(p @ k) / 2
    zz = S * (S + 1) + z - e * y
    ladder = -second / e**2  # = ⟨Sx²⟩ - ⟨Sy²⟩
    return y, z, (S * (S + 1) - zz + ladder) / 2, (S * (S + 1) - zz - ladder) / 2, zz


def driven_Sx(S, drive, decay):
    """⟨Sx⟩ = 0 in the steady state of the driven decaying spin: exact (Puri and Lawande)."""
    return 0.0 * np.asarray(drive) * S * decay


def driven_Sy(S, drive, decay):
    """⟨Sy⟩ of the exact steady state of the driven decaying spin (Puri and Lawande)."""
    return _driven(S, drive, decay)[0]


def driven_Sz(S, drive, decay):
    """⟨Sz⟩ of the exact steady state of the driven decaying spin (Puri and Lawande)."""
    return _driven(S, drive, decay)[1]


def driven_var_Sx(S, drive, decay):
    """(ΔSx)² of the exact steady state of the driven decaying spin (Puri and Lawande)."""
    return _driven(S, drive, decay)[2]


def driven_var_Sy(S, drive, decay):
    """(ΔSy)² of the exact steady state of the driven decaying spin (Puri and Lawande)."""
    y, _, _, yy, _ = _driven(S, drive, decay)
    return yy - y**2


def driven_var_Sz(S, drive, decay):
    """(ΔSz)² of the exact steady state of the driven decaying spin (Puri and Lawande)."""
    _, z, _, _, zz = _driven(S, drive, decay)
    return zz - z**2


@functools.lru_cache(maxsize=64)
def _from_down(S, drive, twist, decay, dephasing, times):
    """Moments of a spin that starts down: ⟨S⟩, [component, time], and ⟨{S_i, S_j}⟩/2 - ⟨S_i⟩⟨S_j⟩, [i, j, time].

    By integrating the master equation of H = Ω Sx + (g/2S) Sx² with (Γ/2S) D[S-] and Γφ D[Sz],
    D[c]ρ = 2cρc† - c†cρ - ρc†c.
    """
    m = np.arange(S, -S - 1, -1.0)
    ladder = np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1))
    plus = sp.diags(ladder, 1, format="csr")
    x, y, z = (plus + plus.T) / 2, (plus - plus.T) / 2j, sp.diags(m, format="csr")
    H = (drive * x + twist / (2 * S) * x @ x).tocsr()
    leaves = decay / (2 * S) * np.append(ladder**2, 0)
    lost, falls = (
        -np.add.outer(leaves, leaves) - dephasing * np.subtract.outer(m, m) ** 2,
        decay / S * np.outer(ladder, ladder),
    )

    def flow(t, v):
        rho = v.reshape(len(m), len(m))
        turn = -1j * (H @ rho)
        change = turn + turn.conj().T + lost * rho
        change[1:, 1:] += falls * rho[:-1, :-1]
        return change.ravel()

    start = np.zeros((len(m), len(m)), complex)
    start[-1, -1] = 1
    from scipy.integrate import solve_ivp

    solution = solve_ivp(flow, (0, max(times[-1], 1e-12)), start.ravel(), "DOP853", times, rtol=1e-6, atol=1e-9)
    if not solution.success:
        raise ValueError(f"the master equation was not integrated: {solution.message}")

    def mean(operator):
        return (operator.T.reshape(1, -1) @ solution.y)[0].real

    spin = np.array([mean(one) for one in (x, y, z)])
    second = np.array([[mean((a @ b + b @ a) / 2) for b in (x, y, z)] for a in (x, y, z)])
    return spin, second - spin[:, None] * spin


def _times(time):
    return tuple(np.atleast_1d(np.asarray(time, float)))


def evolved_Sx(S, drive, twist, decay, dephasing, time):
    """⟨Sx⟩ of a spin that starts down, from its master equation: exact at any S. time is rising."""
    return _from_down(S, drive, twist, decay, dephasing, _times(time))[0][0]


def evolved_Sy(S, drive, twist, decay, dephasing, time):
    """⟨Sy⟩ of a spin that starts down, from its master equation: exact at any S."""
    return _from_down(S, drive, twist, decay, dephasing, _times(time))[0][1]


def evolved_Sz(S, drive, twist, decay, dephasing, time):
    """⟨Sz⟩ of a spin that starts down, from its master equation: exact at any S."""
    return _from_down(S, drive, twist, decay, dephasing, _times(time))[0][2]


def evolved_squeezing(S, drive, twist, decay, dephasing, time):
    """ξ² = 2S min ΔS⊥²/|⟨S⟩|² of a spin that starts down, from its master equation: exact at any S."""
    spin, covariance = _from_down(S, drive, twist, decay, dephasing, _times(time))
    length2 = (spin**2).sum(axis=0)
    across = np.eye(3)[..., None] - spin[:, None] * spin / length2
    # a large variance along ⟨S⟩ keeps the minimum perpendicular to it
    flat = (
        np.einsum("ijt,jkt,klt->til", across, covariance, across)
        + np.einsum("it,jt->tij", spin, spin) * (covariance.max() / length2)[:, None, None]
    )
    return 2 * S * np.linalg.eigvalsh(flat)[:, 0] / length2


# ------------------------------------------------------------------ the XYZ chain, S → ∞
# Linearised spin waves about all spins down in the infinite chain with Jz = 0 (convention huber2021:
# H = (1/2S) Σ Jx SxSx + Jy SySy, decay (Γ/2S) D[S-]). It is stable where Q = -Jx Jy/Γ² < 1.


def _spin_waves(Jx, Jy, decay):
    """Q, and G = ∫ dq/2π cos²q / (1 - Q cos²q) = (1/Q) (1/√(1-Q) - 1); NaN where all down is not stable."""
    Q = -np.asarray(Jx * np.asarray(Jy, float)) / decay**2
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(np.where(Q < 1, 1 - Q, NAN))
        return Q, np.where(Q == 0, 0.5, (1 / root - 1) / Q)


def _excitations(Jx, Jy, decay):
    """n = (Jx - Jy)² G / 8Γ² of each site."""
    return (Jx - Jy) ** 2 * _spin_waves(Jx, Jy, decay)[1] / (8 * decay**2)


def polarised_Sz(Jx, Jy, decay, S):
    """⟨Sz⟩ = -S + n of the XYZ chain with all spins down."""
    return -S + _excitations(Jx, Jy, decay)


def polarised_var_Sx(Jx, Jy, decay, S):
    """(ΔSx)² = (S/2) [1 + Jy (Jy - Jx) G / 2Γ²] of the XYZ chain with all spins down."""
    return S / 2 * (1 + Jy * (Jy - Jx) * _spin_waves(Jx, Jy, decay)[1] / (2 * decay**2))


def polarised_var_Sy(Jx, Jy, decay, S):
    """(ΔSy)² = (S/2) [1 - Jx (Jy - Jx) G / 2Γ²] of the XYZ chain with all spins down."""
    return S / 2 * (1 - Jx * (Jy - Jx) * _spin_waves(Jx, Jy, decay)[1] / (2 * decay**2))


def polarised_var_Sz(Jx, Jy, decay):
    """(ΔSz)² = n² + n + |m|² of the XYZ chain with all spins down, m = (Jy² - Jx²) G / 8Γ²."""
    n, m = _excitations(Jx, Jy, decay), (Jy**2 - Jx**2) * _spin_waves(Jx, Jy, decay)[1] / (8 * decay**2)
    return n**2 + n + m**2


def polarised_correlation(Jx, Jy, decay, S, distance):
    """⟨S⁺_n S⁻_{n+s}⟩ of the XYZ chain with all spins down.

    2S n μ^{s/2} / (1 - √(1-Q)) at even s > 0, 0 at odd s, 2S n at s = 0, with
    μ = (1 - Q/2 - √(1-Q)) / (Q/2). At s that is not an integer, a line through the even ones.
    """
    Q, _ = _spin_waves(Jx, Jy, decay)
    s, root = np.asarray(distance, float), np.sqrt(1 - Q)
    ratio = (1 - Q / 2 - root) / (Q / 2)
    near, decayed = 1 + s / 2 * (ratio / (1 - root) - 1), np.sqrt(ratio) ** s / (1 - root)
    return 2 * S * _excitations(Jx, Jy, decay) * np.select([s % 2 == 1, s < 2], [0.0, near], decayed)


def polarised_correlation_length(Jx, Jy, decay):
    """ξ = -2/ln μ of `polarised_correlation`, ≈ 1/√(1-Q) near the boundary."""
    Q, _ = _spin_waves(Jx, Jy, decay)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = np.sqrt(np.where((Q > 0) & (Q < 1), 1 - Q, NAN))
        return -2 / np.log((1 - Q / 2 - root) / (Q / 2))


def polarised_boundary(Jx, decay):
    """Jy at which all down becomes unstable: Jx Jy = -Γ²."""
    return -(decay**2) / np.asarray(Jx, float)


# ------------------------------------------------------------------ the XYZ lattice in mean field, convention lee2013


def _paramagnet(Jx, Jz, decay):
    """Jy at which the waves with c = cos k make all spins down unstable, (..., c), and ∂/∂Jy of the left side of

    (Jx c - Jz)(Jy c - Jz) < -γ²/16 (lee2013, Eq. 4), where it is positive a lower edge.
    """
    c = np.cos(np.linspace(0, np.pi, 2001))
    Jx = np.asarray(Jx, float)[..., None]
    slope = (Jx * c - Jz) * c
    with np.errstate(divide="ignore", invalid="ignore"):
        return (Jz * (Jx * c - Jz) - decay**2 / 16) / slope, slope


def paramagnet_lower(Jx, Jz, decay):
    """The smallest Jy at which all spins down is stable; NaN where none is (lee2013, Eq. 4)."""
    Jy, slope = _paramagnet(Jx, Jz, decay)
    edge = np.where(slope > 0, Jy, -np.inf).max(axis=-1)
    return np.where(np.isfinite(edge), edge, NAN)


def paramagnet_upper(Jx, Jz, decay):
    """The largest Jy at which all spins down is stable; NaN where none is (lee2013, Eq. 4)."""
    Jy, slope = _paramagnet(Jx, Jz, decay)
    edge = np.where(slope < 0, Jy, np.inf).min(axis=-1)
    return np.where(np.isfinite(edge), edge, NAN)


def unstable_wavenumber(Jx, Jz, decay):
    """k/π of the wave that becomes unstable at `paramagnet_lower`: 0 up to the Lifshitz point (lee2013, Fig. 3a)."""
    Jy, slope = _paramagnet(Jx, Jz, decay)
    return np.where(slope > 0, Jy, -np.inf).argmax(axis=-1) / 2000


THEORY = (
    superradiant_Sz,
    dephased_Sx,
    twisted_squeezing,
    driven_Sx,
    driven_Sy,
    driven_Sz,
    driven_var_Sx,
    driven_var_Sy,
    driven_var_Sz,
    evolved_Sx,
    evolved_Sy,
    evolved_Sz,
    evolved_squeezing,
    polarised_Sz,
    polarised_var_Sx,
    polarised_var_Sy,
    polarised_var_Sz,
    polarised_correlation,
    polarised_correlation_length,
    polarised_boundary,
    paramagnet_lower,
    paramagnet_upper,
    unstable_wavenumber,
)
