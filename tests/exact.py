"""Observables of a density matrix from their definitions, with the matrices of reference.py and nothing of the package.

What a config may ask of every method that holds a state.
"""

import functools

import numpy as np
import reference


def product(system, *factors):
    """The product of (name, site), in the written order."""
    return functools.reduce(np.matmul, [reference.on_site(system, *factor) for factor in factors])


def reduced(system, rho, kept):
    """The density matrix of some sites, in the given order."""
    n, shape = system.sites, system.levels.tolist()
    others = [i for i in range(n) if i not in kept]
    order = [*kept, *others, *(n + i for i in kept), *(n + i for i in others)]
    a, b = (int(np.prod([shape[i] for i in part], dtype=int)) for part in (kept, others))
    return np.einsum("aibi->ab", rho.reshape(*shape, *shape).transpose(order).reshape(a, b, a, b))


def entropy(rho):
    p = np.linalg.eigvalsh(rho)
    p = p[p > 1e-15]
    return -np.sum(p * np.log(p))


def negativity(rho, a):
    """Sum of the moduli of the negative eigenvalues of the partial transpose of the first factor, of dimension a."""
    b = len(rho) // a
    values = np.linalg.eigvalsh(rho.reshape(a, b, a, b).transpose(2, 1, 0, 3).reshape(a * b, a * b))
    return -values[values < 0].sum()


def squeezing(total, rho, S):
    """2S min Var(n·J)/|⟨J⟩|² over a fine mesh of directions n perpendicular to the mean."""
    mean = np.array([np.trace(J @ rho).real for J in total])
    first = np.cross(mean, [0.3, -0.5, 0.8])
    second = np.cross(mean, first)
    first, second = (sum(c * J for c, J in zip(v / np.linalg.norm(v), total)) for v in (first, second))
    angle = np.linspace(0, np.pi, 200001)
    xx, yy = (np.trace(J @ J @ rho).real for J in (first, second))
    xy = np.trace((first @ second + second @ first) @ rho).real / 2
    least = np.min(xx * np.cos(angle) ** 2 + yy * np.sin(angle) ** 2 + 2 * xy * np.sin(angle) * np.cos(angle))
    return 2 * S * least / (mean @ mean)


def moments(system, rho):
    """Averages and variances of spins and quanta by sublattice, S_perp and Mz; NaN without such a site."""
    found, spins = {}, np.flatnonzero(system.cutoffs == 0)
    components = ["Sx", "Sy", "Sz"] * bool(len(spins)) + ["n"] * bool(np.any(system.cutoffs))
    lattice, site = np.arange(len(system.sublattices)), {}
    for name in components:
        first, square = np.full((2, system.sites), np.nan)
        for i in np.flatnonzero(system.cutoffs) if name == "n" else spins:
            O = reference.on_site(system, name, i)
            first[i], square[i] = np.trace(O @ rho).real, np.trace(O @ O @ rho).real
        site[name] = first
        found[name], found[f"var_{name}"] = (
            np.array([_mean(x[system.sublattice == k]) for k in lattice]) for x in (first, square - first**2)
        )
    if len(spins):
        across = np.hypot(site["Sx"], site["Sy"])
        found["S_perp"] = np.array([_mean(across[system.sublattice == k]) for k in lattice])
        found["Mz"] = np.mean(site["Sz"][spins] / system.spins[spins])
    return found


def _mean(values):
    values = values[np.isfinite(values)]
    return values.mean() if len(values) else np.nan


def whole(system, rho):
    """Purity and entropies of the whole state."""
    purity = np.trace(rho @ rho).real
    return {
        "purity": purity,
        "entropy": entropy(rho) / system.sites,
        "renyi2": -np.log(purity) / system.sites,
        "impurity": 1 / (len(rho) * purity),
    }


def along(system, rho, step):
    """Correlations against the distance, and structure factors, of a ring with the translation step (sites,).

    Every sublattice is one orbit of the translation.
    """
    lattice = [np.flatnonzero(system.sublattice == k) for k in range(len(system.sublattices))]
    orbits = []
    for own in lattice:
        orbits.append([own[0]])
        while (there := step[orbits[-1][-1]]) != own[0]:
            orbits[-1].append(there)
    length = len(orbits[0])
    pair, distances, found = {}, np.arange(length // 2 + 1), {}
    for a, b in ("xx", "yy", "zz", "+-", "xy"):
        pair[a + b] = np.array(
            [
                [np.trace(product(system, (f"S{a}", i), (f"S{b}", j)) @ rho) for j in range(system.sites)]
                for i in range(system.sites)
            ]
        )
    for kind in ("xx", "yy", "zz", "+-"):
        curves = np.array(
            [
                [np.mean([pair[kind][o[n], o[(n + s) % length]] for n in range(length)]) for s in distances]
                for o in orbits
            ]
        ).real
        found["correlation" if kind == "+-" else f"correlation_{kind}"] = curves
        if kind != "+-":
            n = np.arange(length)
            found[f"structure_factor_{kind}"] = np.array(
                [
                    [
                        np.sum(np.cos(2 * np.pi * k * np.subtract.outer(n, n) / length) * pair[kind][np.ix_(o, o)]).real
                        / length
                        for k in distances
                    ]
                    for o in orbits
                ]
            )
    every = [(o[n], o[(n + s) % length]) for s in distances for o in orbits for n in range(length)]
    found["Sx_Sy"] = np.array([pair["xy"][i, j] for i, j in every]).reshape(len(distances), -1).mean(axis=1)
    return found
