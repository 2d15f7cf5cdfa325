"""What is measured on a density matrix: outputs, and the operators whose mean values they are made of."""

import numpy as np
from scipy import sparse

from hpcsim.methods import Dim, Output
from hpcsim.system import System, lines_along, matrices

OBSERVABLES = ("P_ab", "P_n", "squeezing", "correlation")


def check(system: System, names, evolving: bool) -> None:
    """ValueError, naming the observable and the reason, where one does not fit."""
    if "P_ab" in names and (system.sites != 2 or np.any(system.cutoffs)):
        raise ValueError(f"method.observables: P_ab is the joint distribution of two spins, not {system.sites} sites")
    if "P_n" in names and np.count_nonzero(system.cutoffs) != 1:
        raise ValueError(
            "method.observables: P_n is the distribution of quanta of one boson mode, and the "
            f"model has {np.count_nonzero(system.cutoffs)}"
        )
    if "squeezing" in names and np.any(system.cutoffs):
        raise ValueError("method.observables: squeezing is that of the total spin, not of boson modes")
    if "correlation" in names and (np.any(system.cutoffs) or lines_along(system) is None):
        raise ValueError(
            "method.observables: correlation needs spins with a translation symmetry, such as a periodic "
            "chain (periodic: true)"
        )
    if evolving and (wrong := [name for name in names if name not in ("squeezing", "correlation")]):
        raise ValueError(f"method.observables: {wrong[0]} belongs to task: steady_state, not to evolve; delete it")


def outputs(system: System, names, time: tuple) -> tuple[Output, ...]:
    """Spins in units of ħ. NaN for spin components of boson modes and quanta of spins."""
    lattice, found = (Dim("sublattice", system.sublattices), *time), []
    mean = "mean over the sites of"
    if np.any(system.cutoffs == 0):
        found += [Output(f"S{a}", lattice, "ħ", f"{mean} ⟨S{a}⟩") for a in "xyz"]
        found += [Output(f"var_S{a}", lattice, "ħ²", f"{mean} ⟨S{a}²⟩ - ⟨S{a}⟩²") for a in "xyz"]
        found += [
            Output("S_perp", lattice, "ħ", "sqrt(Sx² + Sy²)"),
            Output("Mz", time, "1", "⟨Sz⟩/S, mean over all spins"),
        ]
    if np.any(system.cutoffs):
        found += [
            Output("n", lattice, "1", f"{mean} ⟨a†a⟩"),
            Output("var_n", lattice, "1", f"{mean} ⟨(a†a)²⟩ - ⟨a†a⟩²"),
        ]
    if "squeezing" in names:
        found.append(Output("squeezing", time, "1", "spin squeezing parameter ξ² of the total spin"))
    if "correlation" in names:
        distance = Dim("distance", tuple(range(len(lines_along(system)) // 2 + 1)), "cells")
        dims = (lattice[0], distance, *time)
        found += [
            Output("correlation", dims, "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩"),
            *(Output(f"correlation_{a}{a}", dims, "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance") for a in "xyz"),
        ]
    if "P_ab" in names:
        m = [
            Dim(name, tuple((S - np.arange(2 * S + 1)).tolist()), "ħ") for name, S in zip(("m_a", "m_b"), system.spins)
        ]
        found += [
            Output("P_ab", tuple(m), "1", "probability P(m_a, m_b)"),
            Output("participation", (), "1", "1/(D ΣP_ab²), of D = (2S+1)² states"),
        ]
    if "P_n" in names:
        n = Dim("quanta", tuple(range(int(system.cutoffs.max()))))
        found.append(Output("P_n", (n,), "1", "probability of n quanta"))
    return tuple(found)


def operators(system: System, names) -> dict[tuple, sparse.spmatrix]:
    """Operators of every site, for the squeezing of the total spin and for pairs; keys as `results` needs them."""
    found = {}
    for site in range(system.sites):
        for name in ("n",) if system.cutoffs[site] else ("Sx", "Sy", "Sz"):
            found[name, site] = matrices.site_operator(system, name, site)
            found[name + "2", site] = found[name, site] @ found[name, site]
    if "squeezing" in names:
        total = [sum(found[f"S{a}", site] for site in range(system.sites)) for a in "xyz"]
        for i, first in enumerate(total):
            found["J", i] = first
            for j, second in enumerate(total[i:], i):
                found["JJ", i, j] = (first @ second + second @ first) / 2
    if "correlation" in names:
        places = lines_along(system)
        for a in "xyz":
            for k in range(len(system.sublattices)):
                mine = places[:, system.sublattice[places[0]] == k]
                for s in range(len(places) // 2 + 1):
                    found[f"C{a}", k, s] = (
                        sum(
                            found[f"S{a}", i] @ found[f"S{a}", j]
                            for i, j in zip(mine.ravel(), np.roll(mine, -s, axis=0).ravel())
                        )
                        / mine.size
                    )
    return found


def results(system: System, names, values: dict) -> dict[str, np.ndarray]:
    """Outputs but the distributions, from the expectation values (times,) of `operators`."""
    members = np.array([system.sublattice == s for s in range(len(system.sublattices))])
    average = members / members.sum(1, keepdims=True)
    missing = np.full_like(next(iter(values.values())), np.nan)

    def sites(name):
        return np.array([values.get((name, site), missing) for site in range(system.sites)])

    found, spins = {}, system.cutoffs == 0
    for name in [f"S{a}" for a in "xyz"] * bool(np.any(spins)) + ["n"] * bool(np.any(~spins)):
        mean = sites(name)
        kept = np.any(members & (spins if name != "n" else ~spins), axis=1)
        found[name] = np.where(kept[:, None], average @ np.nan_to_num(mean), np.nan)
        variance = np.nan_to_num(sites(name + "2") - mean**2)
        found["var_" + name] = np.where(kept[:, None], average @ variance, np.nan)
    if np.any(spins):
        found["S_perp"] = np.hypot(found["Sx"], found["Sy"])
        found["Mz"] = np.mean(sites("Sz")[spins] / system.spins[spins, None], axis=0)
    if "squeezing" in names:
        found["squeezing"] = _squeezing(system, values)
    if "correlation" in names:
        shape = len(system.sublattices), len(lines_along(system)) // 2 + 1
        pairs = {
            a: np.array([[values[f"C{a}", k, s] for s in range(shape[1])] for k in range(shape[0])]) for a in "xyz"
        }
        found |= {f"correlation_{a}{a}": value for a, value in pairs.items()}
        found["correlation"] = pairs["x"] + pairs["y"]
        found["correlation"][:, 0] += found["Sz"]  # S⁺S⁻ of one site
    return found


def _squeezing(system: System, values) -> np.ndarray:
    """ξ² = 2S min ΔJ⊥² / |⟨J⟩|², S = Σ S_i, over the directions ⊥ ⟨J⟩ (huber2021, Eq. 33): (times,)."""
    mean = np.array([values["J", i] for i in range(3)]).T
    second = np.array([[values["JJ", min(i, j), max(i, j)] for i in range(3)] for j in range(3)])
    covariance = np.moveaxis(second, -1, 0) - mean[:, :, None] * mean[:, None]
    xi = np.empty(len(mean))
    for t, (direction, matrix) in enumerate(zip(mean, covariance)):
        across = np.linalg.svd(direction[None])[2][1:]  # two unit vectors perpendicular to the mean
        xi[t] = np.linalg.eigvalsh(across @ matrix @ across.T)[0] / (direction @ direction)
    return 2 * system.spins.sum() * xi


def coherent_state(system: System, angles: np.ndarray) -> sparse.coo_matrix:
    """ρ of the product of spin coherent states in directions (sites, 2) of polar angle and azimuth.

    ⟨m|θ, φ⟩ = sqrt(C(2S, S-m)) cos(θ/2)^(S+m) sin(θ/2)^(S-m) e^(i(S-m)φ); boson modes are empty.
    """
    state = np.ones(1)
    for size, cutoff, (polar, azimuth) in zip(system.levels, system.cutoffs, angles):
        if cutoff:
            site = np.eye(size)[-1]
        else:
            j = np.arange(size)
            choose = np.cumprod(np.concatenate([[1.0], (size - j[1:]) / j[1:]]))
            site = (
                np.sqrt(choose)
                * np.cos(polar / 2) ** (size - 1 - j)
                * np.sin(polar / 2) ** j
                * np.exp(1j * j * azimuth)
            )
        state = np.kron(state, site)
    return sparse.coo_matrix(np.outer(state, state.conj()))
