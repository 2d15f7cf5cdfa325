"""What is measured along a trajectory, and the outputs made of it.

Of a state ψ: ⟨S_a⟩ and ⟨S_a²⟩ of every site and, where asked for, ⟨S_a S_a'⟩ of all pairs, a = x, y, z. Every
site is rotated so that S_a is diagonal; the probabilities |ψ|² are then summed over one site after the other.
"""
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from hpcsim.matrices import one_site_operator
from hpcsim.methods import Dim, Output
from hpcsim.system import System, Translation

OBSERVABLES = ("correlation", "entanglement_entropy")


class Plan(NamedTuple):
    """Tables of the kernel. Results are numbered: 6 moments of every site, 3 x classes, the entropy.

    levels, stride : (sites,)
    m        : (sites, most levels), S - j of level j
    rotation : (2, sites, most levels, most levels) complex, eigenvectors of Sx and Sy as rows, conjugated
    kind     : (sites, sites) class of the pair, or -1
    classes  : number of classes
    cut      : states of the second half of the sites, for the entropy; 0 for none
    size     : number of results
    """

    levels: np.ndarray
    stride: np.ndarray
    m: np.ndarray
    rotation: np.ndarray
    kind: np.ndarray
    classes: int
    cut: int
    size: int


class Distances:
    """Pairs of one sublattice at each distance along the first translation."""

    def __init__(self, system: System):
        move = system.symmetry(Translation)
        if move is None:
            raise ValueError("observables: correlation needs a system with a translation symmetry, such as a "
                             "periodic chain (periodic: true)")
        n = system.sites
        step = csr_matrix((np.ones(n), (np.arange(n), move.permutation)), (n, n))
        _, label = connected_components(step, directed=False)
        length = np.bincount(label)
        if np.any(length != length[0]):
            raise ValueError("observables: correlation needs a translation that moves every site equally far")
        self.count, sublattices = int(length[0]) // 2 + 1, len(system.sublattices)
        self.kind = np.full((n, n), -1, np.int64)
        there = np.arange(n)
        for distance in range(1, self.count):
            there = move.permutation[there]
            self.kind[np.arange(n), there] = self.kind[there, np.arange(n)] = (
                system.sublattice * self.count + distance)
        self.pairs = np.bincount(self.kind[np.triu_indices(n, 1)].clip(-1) + 1,
                                 minlength=sublattices * self.count + 1)[1:].reshape(sublattices, self.count)


def plan(system: System, names) -> Plan:
    """Raises ValueError if an observable does not fit the system."""
    levels, n = system.levels.astype(np.int64), system.sites
    most = levels.max()
    m, rotation = np.zeros((n, most)), np.zeros((2, n, most, most), complex)
    for i, (d, S) in enumerate(zip(levels, system.spins)):
        m[i, :d] = S - np.arange(d)
        for axis, name in enumerate(("Sx", "Sy")):
            _, vectors = np.linalg.eigh(one_site_operator(name, S).toarray())
            rotation[axis, i, :d, :d] = vectors[:, ::-1].conj().T      # eigh: rising eigenvalues
    kind, classes, cut = np.full((n, n), -1, np.int64), 0, 0
    if "correlation" in names:
        distances = Distances(system)
        kind, classes = distances.kind, distances.pairs.size
    if "entanglement_entropy" in names:
        if n < 2:
            raise ValueError("observables: entanglement_entropy needs at least two sites")
        cut = int(np.prod(levels[n // 2:]))
    stride = np.append(np.cumprod(levels[:0:-1])[::-1], 1).astype(np.int64)
    return Plan(levels, stride, m, rotation, kind, classes, cut, 6 * n + 3 * classes + (cut > 0))


@njit(cache=True, error_model="numpy")
def measure(total, psi, plan):
    """Add all results of a normalised state (D,) to total (size,)."""
    n = len(plan.levels)
    p, q, rotated = np.empty(len(psi)), np.empty(len(psi)), np.empty_like(psi)
    for axis in range(3):
        rotated[:] = psi
        if axis < 2:
            for i in range(n):
                _rotate(rotated, plan.rotation[axis, i], plan.levels[i], plan.stride[i])
        for s in range(len(psi)):
            p[s] = rotated[s].real ** 2 + rotated[s].imag ** 2
        length = len(psi)
        for i in range(n):
            length = length // plan.levels[i]
            first, second = _contract(p, q, plan.m[i], plan.levels[i], length)
            total[axis * n + i] += first
            total[(3 + axis) * n + i] += second
            if plan.classes:
                rest = length
                for j in range(i + 1, n):
                    rest = rest // plan.levels[j]
                    pair = _first_moment(q, plan.m[j], plan.levels[j], rest)
                    if plan.kind[i, j] >= 0:
                        total[6 * n + axis * plan.classes + plan.kind[i, j]] += pair
    if plan.cut:
        total[-1] += _entropy(psi.reshape(len(psi) // plan.cut, plan.cut))


@njit(cache=True, error_model="numpy")
def _rotate(psi, u, levels, stride):
    """Apply u to one site in place."""
    if levels == 2:     # by far the most frequent
        for start in range(0, len(psi), 2 * stride):
            upper, lower = psi[start:start + stride], psi[start + stride:start + 2 * stride]
            for k in range(stride):
                a, b = upper[k], lower[k]
                upper[k], lower[k] = u[0, 0] * a + u[0, 1] * b, u[1, 0] * a + u[1, 1] * b
        return
    old = np.empty(levels, np.complex128)
    for start in range(0, len(psi), levels * stride):
        for k in range(start, start + stride):
            for a in range(levels):
                old[a] = psi[k + a * stride]
            for a in range(levels):
                value = 0j
                for b in range(levels):
                    value += u[a, b] * old[b]
                psi[k + a * stride] = value


@njit(cache=True, error_model="numpy")
def _contract(p, q, m, levels, length):
    """Sum p over its slowest site, in place; q = the same with the weight m. Returns Σ m p and Σ m² p."""
    first = second = 0.0
    for k in range(length):
        plain = weighted = 0.0
        for a in range(levels):
            value = p[a * length + k]
            plain += value
            weighted += m[a] * value
            second += m[a] * m[a] * value
        p[k], q[k] = plain, weighted
        first += weighted
    return first, second


@njit(cache=True, error_model="numpy")
def _first_moment(q, m, levels, length):
    """Sum q over its slowest site, in place. Returns Σ m q."""
    first = 0.0
    for k in range(length):
        plain = 0.0
        for a in range(levels):
            value = q[a * length + k]
            plain += value
            first += m[a] * value
        q[k] = plain
    return first


@njit(cache=True, error_model="numpy")
def _entropy(matrix):
    """-Tr ρ ln ρ of the first factor of ψ[first, second]."""
    small = matrix if matrix.shape[0] <= matrix.shape[1] else np.ascontiguousarray(matrix.T)
    total = 0.0
    for probability in np.linalg.eigvalsh(small @ np.conj(small.T)):
        if probability > 1e-15:
            total -= probability * np.log(probability)
    return total


def outputs(system: System, names, time: tuple) -> tuple[Output, ...]:
    """Spins in units of ħ; time is (Dim,) or ()."""
    lattice = (Dim("sublattice", tuple(system.sublattices)), *time)
    found = []
    for a in "xyz":
        found += [Output(f"S{a}", lattice, "ħ", f"mean over the sites of ⟨S_{a}⟩", reduce="mean"),
                  Output(f"S{a}2", lattice, "ħ²", f"mean over the sites of ⟨S_{a}²⟩", reduce="mean"),
                  Output(f"var_S{a}", lattice, "ħ²", f"variance of S_{a} of a site", reduce="variance",
                         sources=(f"S{a}2", f"S{a}"))]
    found += [Output("S_perp", lattice, "ħ", "sqrt(⟨S_x⟩² + ⟨S_y⟩²) of a site", reduce="norm",
                     sources=("Sx", "Sy")),
              Output("Mz", time, "1", "mean of ⟨Sz⟩/S over all spins", reduce="mean"),
              Output("jumps", (), "1", "jumps of a trajectory", reduce="mean")]
    if "correlation" in names:
        dims = (lattice[0], Dim("distance", tuple(range(Distances(system).count)), "cells"), *time)
        found += [Output("correlation", dims, "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩", reduce="mean"),
                  *(Output(f"correlation_{a}{a}", dims, "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance", reduce="mean")
                    for a in "xyz"),
                  Output("correlation_length", lattice, "cells", "correlation length ξ of ⟨S⁺_n S⁻_{n+s}⟩",
                         reduce="decay_length", sources=("correlation",))]
    if "entanglement_entropy" in names:
        found.append(Output("entanglement_entropy", time, "nats", "entropy of the first half of the sites in a "
                            "trajectory's pure state (depends on the unravelling)", reduce="mean"))
    return tuple(found)


def results(system: System, names, values: np.ndarray) -> dict[str, np.ndarray]:
    """Stored outputs but `jumps`, [..., slot], from the averages of `measure`, values (slots, size)."""
    n, sublattices = system.sites, len(system.sublattices)
    member = np.array([system.sublattice == k for k in range(sublattices)])
    average = member / member.sum(axis=1, keepdims=True)
    moments = values[:, :6 * n].reshape(-1, 6, n)
    site = np.einsum("ki,tqi->qkt", average, moments)
    found = dict(zip(("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2"), site))
    found["Mz"] = np.mean(moments[:, 2] / system.spins, axis=1)
    if "correlation" in names:
        pairs = Distances(system).pairs
        sums = values[:, 6 * n:6 * n + 3 * pairs.size].reshape(-1, 3, *pairs.shape)
        x, y, z = np.moveaxis(sums / np.maximum(pairs, 1), 0, -1)
        x[:, 0], y[:, 0], z[:, 0] = site[3:]
        ladder = x + y
        ladder[:, 0] += site[2]
        found |= {"correlation": ladder, "correlation_xx": x, "correlation_yy": y, "correlation_zz": z}
    if "entanglement_entropy" in names:
        found["entanglement_entropy"] = values[:, -1]
    return found
