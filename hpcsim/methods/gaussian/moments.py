"""What the Gaussian steady state says: moments of the spins, entanglement, and correlations along the lattice."""

import numpy as np
from scipy.linalg import solve_continuous_lyapunov

from hpcsim.methods.gaussian.lattice import Lattice
from hpcsim.system import System


def covariance(drift, diffusion) -> np.ndarray:
    """V_k of A_k V_k + V_k A_k† + D_k = 0 for every wave vector: (..., 2 orbits, 2 orbits), Hermitian."""
    V = np.empty_like(drift)
    for k in np.ndindex(*drift.shape[:-2]):
        V[k] = solve_continuous_lyapunov(drift[k], -diffusion[k])
    return (V + np.swapaxes(V, -1, -2).conj()) / 2


def moments(system: System, lattice: Lattice, frames, V) -> dict:
    """Everything that the covariance says; frames (sites, 3, 3), V as `covariance` returns it."""
    home = lattice.home
    S, n = system.spins[home], frames[home, 0]
    across = np.sqrt(S / 2)[:, None, None] * frames[home, 1:]
    apart = lattice.back(V)
    orbits = np.arange(len(home))
    own = apart[(0,) * len(lattice.orders)][orbits, :, orbits, :]  # (orbit, 2, 2)
    occupation = (np.trace(own, axis1=1, axis2=2) - 2) / 4
    pairs = (own[:, 0, 0] - own[:, 1, 1] + 2j * own[:, 0, 1]) / 4
    variance = occupation**2 + occupation + abs(pairs) ** 2  # of c†c, by Wick's theorem
    transverse = np.einsum("ica,icd,ida->ia", across, own, across)
    mean = averaging(system, lattice)
    results = {
        "occupation": mean @ occupation,
        "squeezing": mean @ np.linalg.eigvalsh(own)[:, 0],
        "purity": np.exp(-np.linalg.slogdet(V)[1].sum() / 2),
    }
    for a, axis in enumerate("xyz"):
        results[f"S{axis}"] = mean @ (n[:, a] * (S - occupation))
        results[f"var_S{axis}"] = mean @ (transverse[:, a] + n[:, a] ** 2 * variance)
    if system.sites > 1:
        others = np.arange(1, system.sites)
        with_first = apart[(*lattice.position[others].T, 0, slice(None), lattice.orbit[others])]
        eta = _smallest_symplectic(own[0], own[lattice.orbit[others]], with_first)
        results |= {"negativity": np.maximum(0, (1 / eta - 1) / 2), "log_negativity": np.maximum(0, -np.log(eta))}
    if lattice.orders:
        results |= _along_the_chain(lattice, S[:, None] * n, across, apart, V, mean)
    return results


def averaging(system: System, lattice: Lattice) -> np.ndarray:
    """(sublattices, orbits): averages over the orbits of each sublattice, of as many sites each."""
    member = system.sublattice[lattice.home] == np.arange(len(system.sublattices))[:, None]
    return member / member.sum(axis=1, keepdims=True)


def _smallest_symplectic(first, second, between) -> np.ndarray:
    """η of the partial transpose of two modes of covariance [[first, between], [betweenᵀ, second]]
    (huber2020, after Eq. A25); (2, 2), (pairs, 2, 2) twice."""
    first = np.broadcast_to(first, second.shape)
    V = np.block([[first, between], [np.swapaxes(between, -1, -2), second]])
    det = np.linalg.det
    sigma = det(first) + det(second) - 2 * det(between)
    return np.sqrt((sigma - np.sqrt(np.maximum(sigma**2 - 4 * det(V), 0))) / 2)


def _along_the_chain(lattice: Lattice, classical, across, apart, V, mean) -> dict:
    """Correlations and waves along the first translation."""
    orbits, half = np.arange(len(lattice.home)), lattice.orders[0] // 2 + 1
    first = (0,) * (len(lattice.orders) - 1)
    there = apart[(slice(half), *first)][:, orbits, :, orbits, :]  # (orbit, distance, 2, 2)
    correlation = np.einsum("ica,iscd,ida->isa", across, there, across)[..., :2].sum(axis=-1)
    correlation += (classical[:, :2] ** 2).sum(axis=1, keepdims=True)
    correlation[:, 0] += classical[:, 2]
    correlation = mean @ correlation
    # of Σ_n cos(kn) c_n over the sites of a sublattice
    waves = V[(slice(half), *first)].real.reshape(half, len(orbits), 2, len(orbits), 2)
    member = (mean > 0).astype(float)
    squeezed = np.einsum("ui,kicjd,uj->ukcd", member, waves, member) / member.sum(axis=1)[:, None, None, None]
    return {
        "correlation": correlation,
        "correlation_length": np.array([_length(c) for c in correlation]),
        "squeezing_of_waves": np.linalg.eigvalsh(squeezed)[..., 0],
    }


def _length(c) -> float:
    """ξ from c(r) + c(3r) = 2 c(2r) cosh(r/ξ), exact on a ring; r = 2 where every second distance has c = 0."""
    if len(c) < 7:
        return np.nan
    r = 1 if abs(c[1]) > 1e-6 * abs(c[2]) else 2
    ratio = abs((c[r] + c[3 * r]) / (2 * c[2 * r])) if c[2 * r] else np.nan
    return r / np.arccosh(ratio) if ratio > 1 else np.nan
