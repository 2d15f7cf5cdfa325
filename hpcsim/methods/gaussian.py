"""Gaussian theory: spins as bosons about a product state, to second order (huber2020, Appendix A).

Every spin points along n_i, with e1, e2, n right-handed. To leading orders in S, Holstein and Primakoff give

    S_i = n_i (S_i - c†c) + sqrt(S_i/2) (e1_i X_i + e2_i P_i),   X = c + c†,  P = -i(c - c†),  [X, P] = 2i.

The product state is a fixed point of the classical equations: no terms of first order are left. With
ξ = (X_1, P_1, X_2, ...), H = ½ ξᵀGξ and jump operators L = λ + l·ξ + ..., of which λ adds to H,

    dξ/dt = A ξ + noise,  dV/dt = A V + V Aᵀ + D,  V = ½⟨{ξ, ξᵀ}⟩,
    A = 2 Ω (G - Im M),  D = 4 Ω (Re M) Ωᵀ,  M = Σ γ l l†,  Ω = ⊕ [[0, 1], [-1, 0]],

and V = 1 without excitations. Results are those of S → ∞, with relative errors of order 1/S; at S = 1/2 they
are those of hard-core bosons with the constraint dropped (lee2013).
"""
import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import model_validator
from scipy.linalg import eigvals, solve_continuous_lyapunov

from hpcsim.methods import Context, Cost, Dim, Output
from hpcsim.system import Count, Initial, Parameters, System, Translation, angles

approximation = "leading order in 1/S about a product state"

VECTORS = {"Sx": (1, 0, 0), "Sy": (0, 1, 0), "Sz": (0, 0, 1), "S-": (1, -1j, 0), "S+": (1, 1j, 0)}
NEWTON_STEPS = 50
LARGEST = 24        # sites of which all configurations can be gone through
CHUNK = 1024        # configurations in a record, at most


class Options(Parameters):
    """Without arguments: the steady state about the most stable of the polarised states.

    task  : steady_state, or configurations: the least stable fluctuation about each of the 2^sites states with
            all spins up or down
    state : steady_state: where Newton's search for a fixed point of the classical equations starts: [polar,
            azimuth] in units of π for all sites, or one for each sublattice by name. By default from every
            choice of up and down for the sublattices; the most stable fixed point is taken
    keep  : configurations: how many to keep, the most stable first
    """

    task: Literal["steady_state", "configurations"] = "steady_state"
    state: Initial | None = None
    keep: Count = 4096

    @model_validator(mode="after")
    def _of_the_task(self):
        if self.task == "configurations" and self.state is not None:
            raise ValueError("state belongs to task: steady_state, not to configurations; delete it")
        return self


@dataclass(frozen=True)
class Linear:
    """Linearised equations; leading axes, if any, run over states.

    force : (..., 2 sites) d⟨ξ⟩/dt at ξ = 0, zero at a fixed point
    drift, diffusion : (..., 2 sites, 2 sites) A and D
    """

    force: np.ndarray
    drift: np.ndarray
    diffusion: np.ndarray

    @property
    def at_rest(self):
        """Whether the state is a fixed point, to rounding."""
        scale = 1 + np.abs(self.drift).max(axis=(-2, -1))
        return np.abs(self.force).max(axis=-1) <= 1e-10 * scale


def supports(system: System) -> str | None:
    """None, or why spins do not stay near a product state, or what is not linearised here."""
    if np.any(system.cutoffs):
        return "it has boson modes; gaussian linearises spins"
    if long := [t.operators for t in system.hamiltonian if len(t.operators) > 2]:
        return f"its Hamiltonian has products of more than two operators, {' '.join(long[0])}"
    for jumps in system.jumps:
        if jumps.operator not in ("S-", "S+") and np.any(jumps.rates):
            return (f"jump operators {jumps.operator} dephase spins away from every product state; gaussian "
                    "needs S- and S+ alone")
    return None


def records(system: System, options: Options) -> tuple[int, ...]:
    """One record, or chunks of the configurations. Raises ValueError where the options do not fit."""
    if options.state is not None:
        angles(system, options.state)
    if options.task == "steady_state":
        return (0,)
    if system.sites > LARGEST:
        raise ValueError(f"task = configurations: the system has 2^{system.sites} of them; "
                         f"{LARGEST} sites at most")
    return tuple(range(2**system.sites // _chunk(system)))


def cost(system: System, options: Options, record: int) -> Cost:
    """Dense linear algebra of size 2 sites."""
    size = 2 * system.sites
    if options.task == "configurations":
        chunk = _chunk(system)
        return Cost(bytes=chunk * (100.0 * size**2) + 100 * options.keep, time=0.01 + 3e-9 * chunk * size**3)
    starts = 1 if options.state is not None else 2 ** len(system.sublattices)
    return Cost(bytes=200.0 * size**2, time=0.01 + 3e-8 * size**3 * (2 + starts))


def outputs(system: System, options: Options) -> tuple[Output, ...]:
    """NaN where there is no fixed point; moments are NaN where it is not stable."""
    unit = system.units
    if options.task == "configurations":
        dims = (Dim("configuration", tuple(range(min(options.keep, 2**system.sites)))),)
        along = dict(dims=dims, reduce="merge", sources=("damping",))
        return (Output("damping", dims, unit, "-Re μ of the least stable fluctuation of a configuration, the "
                       "most stable configuration first", reduce="merge"),
                Output("frequency", units=unit, long_name="|Im μ| of this fluctuation", **along),
                Output("magnetisation", units="1", long_name="mean of ±1 over the sites", **along),
                Output("code", units="1", long_name="bit i is set where site i is up", **along))
    lattice = (Dim("sublattice", tuple(system.sublattices)),)
    components = (Dim("component", ("x", "y", "z")), *lattice)
    found = [
        *(Output(f"S{a}", lattice, "ħ", f"⟨S{a}⟩ of a site") for a in "xyz"),
        *(Output(f"var_S{a}", lattice, "ħ²", f"variance of S{a} of a site") for a in "xyz"),
        Output("direction", components, "1", "direction of the product state"),
        Output("occupation", lattice, "1", "⟨c†c⟩, excitations of a site"),
        Output("squeezing", lattice, "1", "smallest variance of a quadrature of a site over that of the vacuum"),
        Output("purity", (), "1", "Tr ρ²"),
        Output("stable", (), "1", "1 where all fluctuations decay, 0 where not"),
        Output("relaxation_rate", (), unit, "-Re μ of the least stable fluctuation"),
        Output("frequency", (), unit, "|Im μ| of the least stable fluctuation"),
    ]
    if system.sites > 1:
        partner = (Dim("partner", tuple(range(1, system.sites))),)
        found += [Output("negativity", partner, "1", "negativity of site 0 with another site"),
                  Output("log_negativity", partner, "1", "logarithmic negativity (nats), likewise")]
    if (chain := _chain(system)) is not None:
        half = len(chain) // 2 + 1
        waves = Dim("wavenumber", tuple(2 * m / len(chain) for m in range(half)), "π/cell")
        found += [
            Output("correlation", (*lattice, Dim("distance", tuple(range(half)), "cells")), "ħ²",
                   "Re ⟨S⁺_n S⁻_{n+s}⟩"),
            Output("correlation_length", lattice, "cells", "ξ of |⟨S⁺_n S⁻_{n+s}⟩| ∝ exp(-s/ξ)"),
            Output("slowest_wavenumber", (), "π/cell", "wavenumber of the least stable fluctuation"),
            Output("growth_rate", (waves,), unit, "Re μ of the least stable fluctuation with this wavenumber"),
            Output("squeezing_of_waves", (*lattice, waves), "1", "ξ² of Σ_n cos(kn) c_n"),
        ]
    return tuple(found)


def run(system: System, options: Options, record: int, context: Context) -> dict[str, np.ndarray]:
    """Every rank of the group computes the same."""
    if options.task == "configurations":
        return _configurations(system, options, record)
    return _steady_state(system, options)


# ------------------------------------------------------------------ linearisation

def frames_along(direction) -> np.ndarray:
    """(..., 3, 3) rows n, e1, e2, right-handed, of directions (..., 3)."""
    n = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    polar, azimuth = np.arctan2(np.hypot(n[..., 0], n[..., 1]), n[..., 2]), np.arctan2(n[..., 1], n[..., 0])
    e1 = np.stack([np.cos(polar) * np.cos(azimuth), np.cos(polar) * np.sin(azimuth), -np.sin(polar)], axis=-1)
    e2 = np.stack([-np.sin(azimuth), np.cos(azimuth), 0 * azimuth], axis=-1)
    return np.stack([n, e1, e2], axis=-2)


def linearise(system: System, frames) -> Linear:
    """The equations of ξ about spins along frames[..., 0, :]; frames : (..., sites, 3, 3) rows n, e1, e2."""
    n = frames[..., 0, :]
    constant = system.spins[:, None] * n                                # (..., site, axis)
    slope = np.sqrt(system.spins / 2)[:, None, None] * frames[..., 1:, :]   # (..., site, X or P, axis)
    lead, sites = n.shape[:-2], system.sites
    h, G = np.zeros((*lead, sites, 2)), np.zeros((*lead, sites, 2, sites, 2))
    M = np.zeros(G.shape, complex)
    one = np.eye(2)

    def first(i, axis, coefficient):
        """coefficient (...) times the operator `axis` of site i: its linear part, and -n c†c."""
        h[..., i, :] += coefficient[..., None] * slope[..., i, :, axis]
        G[..., i, :, i, :] -= (coefficient * n[..., i, axis])[..., None, None] / 2 * one

    for terms in system.hamiltonian:
        axes = ["xyz".index(name[1]) for name in terms.operators]
        for sites_of_term, c in zip(terms.sites, terms.coefficients):
            if len(axes) == 1:
                first(sites_of_term[0], axes[0], np.full(lead, c))
                continue
            (i, j), (a, b) = sites_of_term, axes
            first(i, a, c * constant[..., j, b])
            first(j, b, c * constant[..., i, a])
            product = c * slope[..., i, :, a, None] * slope[..., j, None, :, b]
            G[..., i, :, j, :] += product
            G[..., j, :, i, :] += np.swapaxes(product, -1, -2)
    for jumps in system.jumps:
        v = np.array(VECTORS[jumps.operator])
        groups = [jumps.sites] if jumps.collective else jumps.sites[:, None]
        for group, rate in zip(groups, jumps.rates):
            # L = λ + K acts as K and the Hamiltonian -γ Im(λ* K)
            value = (constant[..., group, :] @ v).sum(axis=-1)
            for i in group:
                for axis in range(2):
                    first(i, axis, -rate * (value.conj() * v[axis]).imag)
                for j in group:
                    M[..., i, :, j, :] += rate * ((slope[..., i, :, :] @ v)[..., :, None]
                                                  * (slope[..., j, :, :] @ v).conj()[..., None, :])
    omega = np.kron(np.eye(sites), [[0, 1], [-1, 0]])
    G, M = (x.reshape(*lead, 2 * sites, 2 * sites) for x in (G, M))
    return Linear(2 * h.reshape(*lead, -1) @ omega.T, 2 * omega @ (G - M.imag), 4 * omega @ M.real @ omega.T)


def fixed_point(system: System, direction):
    """Directions (sites, 3) of the fixed point that Newton's method finds, and its Linear, or None."""
    for _ in range(NEWTON_STEPS):
        frames = frames_along(direction)
        linear = linearise(system, frames)
        if linear.at_rest:
            return frames, linear
        step = np.linalg.lstsq(linear.drift, -linear.force, rcond=None)[0].reshape(-1, 2)
        step /= np.sqrt(2 * system.spins)[:, None]
        step *= min(1, 0.5 / np.abs(step).max())
        direction = frames[:, 0] + np.einsum("ic,ica->ia", step, frames[:, 1:])
    return None


# ------------------------------------------------------------------ steady state

def _steady_state(system: System, options: Options) -> dict:
    results = {o.name: np.full([len(d.values) for d in o.dims], np.nan) for o in outputs(system, options)}
    found = [point for start in _starts(system, options) if (point := fixed_point(system, start)) is not None]
    results["stable"] = np.float64(0)
    if not found:
        return results
    spectra = [eigvals(linear.drift) for _, linear in found]
    best = int(np.argmin([values.real.max() for values in spectra]))
    (frames, linear), slowest = found[best], spectra[best][np.argmax(spectra[best].real)]
    mean = _averaging(system)
    results |= {"direction": (mean @ frames[:, 0]).T, "relaxation_rate": -slowest.real,
                "frequency": abs(slowest.imag)}
    chain = _chain(system)
    if chain is not None:
        growth = _growth_rates(linear.drift, chain)
        results |= {"growth_rate": growth, "slowest_wavenumber": 2 * growth.argmax() / len(chain)}
    if slowest.real < -1e-10 * (1 + np.abs(linear.drift).max()):
        V = solve_continuous_lyapunov(linear.drift, -linear.diffusion)
        results |= {"stable": np.float64(1)} | _moments(system, frames, (V + V.T) / 2, mean, chain)
    return results


def _starts(system: System, options: Options):
    """Directions (sites, 3) to search from."""
    if options.state is not None:
        polar, azimuth = angles(system, options.state).T
        xyz = np.column_stack([np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)])
        return [np.round(xyz, 15)]
    choices = itertools.product((1.0, -1.0), repeat=len(system.sublattices))
    return [np.outer(np.array(signs)[system.sublattice], [0, 0, 1.0]) for signs in choices]


def _averaging(system: System) -> np.ndarray:
    """(sublattices, sites): averages over the sites of each sublattice."""
    member = system.sublattice == np.arange(len(system.sublattices))[:, None]
    return member / member.sum(axis=1, keepdims=True)


def _moments(system: System, frames, V, mean, chain) -> dict:
    """Everything that the covariance V of ξ says, (sites 2, sites 2)."""
    sites, S, n = system.sites, system.spins, frames[:, 0]
    blocks = V.reshape(sites, 2, sites, 2)
    own = blocks[np.arange(sites), :, np.arange(sites), :]      # (site, 2, 2)
    occupation = (np.trace(own, axis1=1, axis2=2) - 2) / 4
    pairs = (own[:, 0, 0] - own[:, 1, 1] + 2j * own[:, 0, 1]) / 4
    variance = occupation**2 + occupation + abs(pairs) ** 2     # of c†c, by Wick's theorem
    across = np.sqrt(S / 2)[:, None, None] * frames[:, 1:]
    transverse = np.einsum("ica,icd,ida->ia", across, own, across)
    results = {"occupation": mean @ occupation, "squeezing": mean @ np.linalg.eigvalsh(own)[:, 0],
               "purity": np.exp(-np.linalg.slogdet(V)[1] / 2)}
    for a, axis in enumerate("xyz"):
        results[f"S{axis}"] = mean @ (n[:, a] * (S - occupation))
        results[f"var_S{axis}"] = mean @ (transverse[:, a] + n[:, a] ** 2 * variance)
    if sites > 1:
        eta = np.array([_smallest_symplectic(blocks[np.ix_([0, j], [0, 1], [0, j], [0, 1])].reshape(4, 4))
                        for j in range(1, sites)])
        results |= {"negativity": np.maximum(0, (1 / eta - 1) / 2),
                    "log_negativity": np.maximum(0, -np.log(eta))}
    if chain is not None:
        results |= _along_the_chain(system, n, across, blocks, mean, chain)
    return results


def _smallest_symplectic(V) -> float:
    """η of the partial transpose of two modes (huber2020, after Eq. A25)."""
    sigma = np.linalg.det(V[:2, :2]) + np.linalg.det(V[2:, 2:]) - 2 * np.linalg.det(V[:2, 2:])
    return np.sqrt((sigma - np.sqrt(max(sigma**2 - 4 * np.linalg.det(V), 0))) / 2)


# ------------------------------------------------------------------ along the first translation

def _chain(system: System) -> np.ndarray | None:
    """(places, orbits) sites as the first declared translation moves them, or None."""
    move = system.symmetry(Translation)
    return None if move is None else move.places


def _growth_rates(drift, chain) -> np.ndarray:
    """max Re μ of A_k = Σ_s A_{0s} exp(iks): (wavenumbers,)."""
    places, orbits = chain.shape
    A = drift.reshape(chain.size, 2, chain.size, 2)[chain[0]][:, :, chain]      # orbit, 2, place, orbit, 2
    A_k = np.moveaxis(np.fft.fft(A, axis=2), 2, 0)[:places // 2 + 1]
    return np.linalg.eigvals(A_k.reshape(-1, 2 * orbits, 2 * orbits)).real.max(axis=1)


def _along_the_chain(system: System, n, across, blocks, mean, chain) -> dict:
    places, half = len(chain), len(chain) // 2 + 1
    classical = system.spins[:, None] * n
    first = np.empty((system.sites, half))
    for s in range(half):
        there = np.empty(system.sites, int)
        there[chain] = np.roll(chain, -s, axis=0)
        V = blocks[np.arange(system.sites), :, there, :]
        covariance = np.einsum("ica,icd,ida->ia", across, V, across[there])
        first[:, s] = (covariance + classical * classical[there])[:, :2].sum(axis=1)
    first[:, 0] += classical[:, 2]
    correlation = mean @ first
    place = np.empty(system.sites)
    place[chain] = np.arange(places)[:, None]
    squeezing = np.empty((len(mean), half))
    for k in range(half):
        for s, member in enumerate(mean > 0):
            wave = member * np.cos(2 * np.pi * k * place / places)
            V = np.einsum("i,icjd,j->cd", wave, blocks, wave, optimize=True) / (wave @ wave)
            squeezing[s, k] = np.linalg.eigvalsh(V)[0]
    return {"correlation": correlation, "correlation_length": np.array([_length(c) for c in correlation]),
            "squeezing_of_waves": squeezing}


def _length(c) -> float:
    """ξ from c(r) + c(3r) = 2 c(2r) cosh(r/ξ), exact on a ring; r = 2 where every second distance has c = 0."""
    if len(c) < 7:
        return np.nan
    r = 1 if abs(c[1]) > 1e-6 * abs(c[2]) else 2
    ratio = abs((c[r] + c[3 * r]) / (2 * c[2 * r])) if c[2 * r] else np.nan
    return r / np.arccosh(ratio) if ratio > 1 else np.nan


# ------------------------------------------------------------------ configurations

def _chunk(system: System) -> int:
    """Configurations in a record: a sixteenth, so that ranks share them."""
    return min(CHUNK, max(1, 2**system.sites // 16))


def _configurations(system: System, options: Options, record: int) -> dict:
    """Least stable eigenvalue of each of a chunk of configurations; NaN where one is not a fixed point."""
    chunk, sites = _chunk(system), system.sites
    code = record * chunk + np.arange(chunk)
    up = 2.0 * (code[:, None] >> np.arange(sites) & 1) - 1
    frames = np.zeros((chunk, sites, 3, 3))
    # n = ±z, e1 = x, e2 = ±y
    frames[..., 0, 2], frames[..., 1, 0], frames[..., 2, 1] = up, 1, up
    linear = linearise(system, frames)
    values = _eigenvalues(linear.drift, up)
    least = np.take_along_axis(values, values.real.argmax(axis=1)[:, None], axis=1)[:, 0]
    least[~linear.at_rest] = np.nan
    found = {"damping": -least.real, "frequency": abs(least.imag), "magnetisation": up.mean(axis=1),
             "code": code.astype(float)}
    order = np.argsort(-found["damping"], kind="stable")[:options.keep]
    padding = min(options.keep, 2**sites) - len(order)
    return {name: np.pad(x[order], (0, padding), constant_values=np.nan) for name, x in found.items()}


def _eigenvalues(drift, up):
    """Of every drift. Where rotations about z commute with it, s_x - i s_y suffice: half the size."""
    signs = np.stack([np.ones_like(up), up], axis=-1).reshape(len(up), 1, -1)
    A = drift * signs * np.swapaxes(signs, 1, 2)
    xx, xy, yx, yy = A[:, ::2, ::2], A[:, ::2, 1::2], A[:, 1::2, ::2], A[:, 1::2, 1::2]
    if np.allclose(xx, yy, atol=1e-12) and np.allclose(xy, -yx, atol=1e-12):
        return np.linalg.eigvals(xx + 1j * xy)
    return np.linalg.eigvals(A).astype(complex)
