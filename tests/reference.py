"""Exact results, independent of the package: Liouvillians of Kronecker products and nothing else; random models.

A `System` is read as the tables that it is: operators of one site, products of them, rates.
"""

import functools

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve


def site_matrices(system, site) -> dict:
    """The operators of one site by name, in the basis of falling Sz or of falling number."""
    if system.cutoffs[site]:
        n = np.arange(system.cutoffs[site] - 1, -1, -1.0)
        a = np.diag(np.sqrt(n[:-1]), -1)
        return {"n": np.diag(n), "a": a, "a+": a.T, "x": a + a.T, "p": 1j * (a.T - a)}
    S = system.spins[site]
    m = S - np.arange(round(2 * S) + 1)
    units = {
        f"|{a}><{b}|": np.outer(np.eye(len(m))[a], np.eye(len(m))[b]) for a in range(len(m)) for b in range(len(m))
    }
    up = np.diag(np.sqrt(S * (S + 1) - m[1:] * (m[1:] + 1)), 1)
    return units | {"Sz": np.diag(m), "S+": up, "S-": up.T, "Sx": (up + up.T) / 2, "Sy": (up - up.T) / 2j}


def on_site(system, name, site) -> np.ndarray:
    """(D, D) dense: the operator on one site, the identity on the others."""
    factors = [np.eye(int(d)) for d in system.levels]
    factors[site] = site_matrices(system, site)[name]
    return functools.reduce(np.kron, factors)


def hamiltonian(system) -> np.ndarray:
    D = int(system.dimension)
    H = np.zeros((D, D), complex)
    for terms in system.hamiltonian:
        for sites, c in zip(terms.sites, terms.coefficients):
            term = c * product(system, terms.operators, sites)
            H += term + term.conj().T if terms.plus_hc else term
    return H


def product(system, operators, sites) -> np.ndarray:
    return functools.reduce(np.matmul, [on_site(system, o, i) for o, i in zip(operators, sites)])


def jump_operators(system) -> list[np.ndarray]:
    """The rates are in the operators: sqrt(rate) L."""
    found = []
    for jumps in system.jumps:
        operators = [product(system, jumps.operators, sites) for sites in jumps.sites]
        if jumps.weights is not None:
            operators = [sum(w * operator for w, operator in zip(row, operators)) for row in jumps.weights]
        found += [np.sqrt(rate) * operator for rate, operator in zip(jumps.rates, operators) if rate]
    return found


def liouvillian(system) -> np.ndarray:
    """(D², D²) dense, on row-stacked ρ: vec(AρB) = (A ⊗ Bᵀ) vec ρ."""
    return _sparse_liouvillian(system).toarray()


def _sparse_liouvillian(system) -> sparse.csr_matrix:
    H, one = sparse.csr_matrix(hamiltonian(system)), sparse.identity(int(system.dimension))
    L = -1j * (sparse.kron(H, one) - sparse.kron(one, H.T))
    for c in map(sparse.csr_matrix, jump_operators(system)):
        n = c.conj().T @ c
        L = L + sparse.kron(c, c.conj()) - sparse.kron(n, one) / 2 - sparse.kron(one, n.T) / 2
    return L.tocsr()


def steady_state(system) -> np.ndarray:
    """ρ with Lρ = 0 and trace 1: the trace replaces one of the dependent rows."""
    L, D = _sparse_liouvillian(system).tolil(), int(system.dimension)
    L[0] = np.eye(D).ravel()
    return spsolve(L.tocsc(), np.eye(D * D)[0].astype(complex)).reshape(D, D)


def product_state(system, directions) -> np.ndarray:
    """ρ of spins along directions (sites, 2) of polar angle and azimuth: the top state of n·S; modes are empty."""
    psi = np.ones(1)
    for site, (polar, azimuth) in enumerate(directions):
        m = site_matrices(system, site)
        if system.cutoffs[site]:
            psi = np.kron(psi, np.eye(int(system.cutoffs[site]))[-1])
            continue
        along = np.sin(polar) * (np.cos(azimuth) * m["Sx"] + np.sin(azimuth) * m["Sy"]) + np.cos(polar) * m["Sz"]
        psi = np.kron(psi, np.linalg.eigh(along)[1][:, -1])
    return np.outer(psi, psi.conj())


# ---- random parameters of every model -------------------------------------------------------------------------------


def _network(rng):
    sites = [2, 3, [2, 2], [2, 1, 2]][rng.integers(4)]
    n = int(np.prod(sites))

    def per_site(low, high):
        return list(rng.uniform(low, high, n)) if rng.random() < 0.5 else float(rng.uniform(low, high))

    values = {f"J{a}": rng.normal() for a in "xyz"} | {f"field_{a}": per_site(-1, 1) for a in "xyz"}
    values |= {name: per_site(0, 1) for name in ("twist", "gain", "dephasing") if rng.random() < 0.7}
    values["decay"] = per_site(0.1, 1)
    graph = [{}, {"power": rng.uniform(0, 3)}, {"edges": [[0, n - 1], [1, 0, rng.normal()]]}][rng.integers(3)]
    return (
        {"sites": sites, "S": 0.5, "periodic": bool(rng.integers(2)), "resolve": bool(rng.integers(2))} | values | graph
    )


def _gain_loss(rng):
    cells = [1, 2, [2, 1]][rng.integers(3)]
    return {
        "cells": cells,
        "S": float(rng.choice([0.5, 1.0])) if cells == 1 else 0.5,
        "g": rng.normal(),
        "h": rng.normal(),
        "gain": rng.uniform(0.1, 1),
        "loss": rng.uniform(0.1, 1),
        "periodic": bool(rng.integers(2)),
    }


def _xyz(rng):
    convention = str(rng.choice(["lee2013", "huber2021"]))
    return {
        "convention": convention,
        "sites": [2, 3, [2, 2]][rng.integers(3)],
        "S": 0.5,
        **{f"J{a}": rng.normal() for a in "xyz"},
        "decay": rng.uniform(0.1, 1),
        "periodic": bool(rng.integers(2)),
    }


RANDOM = {
    "all_to_all_xyz": lambda rng: {
        "N": int(rng.integers(2, 5)),
        **{f"J{a}": rng.normal() for a in "xyz"},
        "decay": rng.uniform(0.1, 1),
        "pump": rng.uniform(0, 1),
        "collective_decay": rng.uniform(0, 1),
        "dephasing": rng.uniform(0, 1),
        "field": rng.normal(),
        "field_angle": rng.uniform(-1, 1),
    },
    "atom_array": lambda rng: {
        "positions": rng.uniform(0, 0.5, (int(rng.integers(1, 4)), 3)).tolist(),
        "dipole": [rng.normal(), [rng.normal(), rng.normal()], 1.0],
        **{name: rng.normal() for name in ("detuning", "rabi")},
        "resolve": bool(rng.integers(2)),
    },
    "cavity_dimer": lambda rng: {
        "S": 0.5,
        **{name: rng.normal() for name in ("detuning", "Gc", "G")},
        **{name: rng.uniform(0.2, 2) for name in ("decay_a", "decay_b", "decay_c")},
        "cutoff_c": int(rng.integers(2, 4)),
    },
    "collective_spin": lambda rng: {
        "S": float(rng.integers(1, 9)) / 2,
        "drive": rng.normal(),
        "twist": rng.normal(),
        "decay": rng.uniform(0.1, 1),
        "dephasing": rng.uniform(0, 1),
    },
    "gain_loss_lattice": _gain_loss,
    "kerr_oscillator": lambda rng: {
        "detuning": rng.normal(),
        "U": rng.normal(),
        "F": rng.normal(),
        "D": rng.uniform(0.5, 3),
        "decay": rng.uniform(0.1, 1),
        "cutoff": int(rng.integers(2, 9)),
    },
    "spin_network": _network,
    "xyz_lattice": _xyz,
}


def random_parameters(model: str, seed) -> dict:
    """Plain values of `model.Params` of a small system; the same for the same seed."""
    return RANDOM[model](np.random.default_rng(seed))
