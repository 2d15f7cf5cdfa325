"""What is measured along a trajectory, and the outputs made of it.

Of a state ψ: ⟨S_a⟩ and ⟨S_a²⟩ of every site and, where asked for, ⟨S_a S_a'⟩ of all pairs, a = x, y, z. Every
site is rotated so that S_a is diagonal; the probabilities |ψ|² are then summed over one site after the other.
Correlators asked for by name are ⟨A ψ|B ψ⟩, A and B operators of one site each.
"""

import re
from typing import NamedTuple

import numpy as np
from numba import njit

from hpcsim.methods import Dim, Output
from hpcsim.methods.trajectories.compile import PAD, strides
from hpcsim.system import System, lines_along
from hpcsim.system.operators import local_operator

FAMILIES = ("correlation", "structure_factor", "entanglement_entropy")
NAMED = re.compile(r"S([xyz])(?:_(\d+)(?:_S([xyz])_(\d+))?|_S([xyz]))")


class Plan(NamedTuple):
    """Tables of the kernel. Results are numbered: 6 moments of every site, 3 x classes, named ones, the entropy.

    levels, stride : (sites,)
    m        : (sites, most levels), S - j of level j
    rotation : (sites, most levels, most levels) eigenvectors of Sx as rows
    turn     : (D,) Σ levels of the state, modulo 4: (-i)^turn turns Sy into Sx
    kind     : (sites, sites) class of the pair, or -1
    classes  : number of classes
    operator : (3, sites, most levels, most levels) complex, Sx, Sy, Sz
    named    : (terms, 5) components and sites a, i, b, j (b = -1: none) of ⟨S_a,i S_b,j⟩, and number of the result
    cut      : states of the second half of the sites, for the entropy; 0 for none
    size     : number of results
    """

    levels: np.ndarray
    stride: np.ndarray
    m: np.ndarray
    rotation: np.ndarray
    turn: np.ndarray
    kind: np.ndarray
    classes: int
    operator: np.ndarray
    named: np.ndarray
    cut: int
    size: int


class Distances:
    """Pairs of one sublattice at each distance along the first translation."""

    def __init__(self, system: System):
        lines, n = lines_along(system), system.sites
        if lines is None:
            raise ValueError(
                "observables: what depends on a distance (correlation, structure_factor, Sx_Sy) needs a "
                "system with a translation symmetry that moves every site equally far, such as a periodic chain "
                "(periodic: true)"
            )
        self.length, self.orbits = lines.shape
        self.permutation = np.empty(n, int)
        self.permutation[lines] = np.roll(lines, -1, axis=0)
        self.count, sublattices = self.length // 2 + 1, len(system.sublattices)
        self.kind = np.full((n, n), -1, np.int64)
        there = np.arange(n)
        for distance in range(1, self.count):
            there = self.permutation[there]
            self.kind[np.arange(n), there] = self.kind[there, np.arange(n)] = system.sublattice * self.count + distance
        self.pairs = np.bincount(self.kind[np.triu_indices(n, 1)].clip(-1) + 1, minlength=sublattices * self.count + 1)[
            1:
        ].reshape(sublattices, self.count)


def named(system: System, name: str):
    """Terms (a, i, b, j) of the correlator of this name, [at each distance or one], or None if it is no such name.

    Sz_3 is ⟨Sz⟩ of site 3, Sx_3_Sy_5 is ⟨Sx Sy⟩ of the sites 3 and 5, Sx_Sy is ⟨Sx Sy'⟩ against the distance.
    """
    match = NAMED.fullmatch(name)
    if match is None:
        return None
    a, i, b, j, other = match.groups()
    if other:
        distances, terms, there = Distances(system), [], np.arange(system.sites)
        for _ in range(distances.count):
            terms.append([("xyz".index(a), m, "xyz".index(other), n) for m, n in enumerate(there.tolist())])
            there = distances.permutation[there]
        return terms
    for site in (i, j):
        if site is not None and int(site) >= system.sites:
            raise ValueError(f"observables: {name}: the sites are numbered 0 to {system.sites - 1}")
    return [[("xyz".index(a), int(i), "xyz".index(b) if b else -1, int(j or 0))]]


def plan(system: System, names) -> Plan:
    """Raises ValueError if an observable does not fit the system."""
    levels, n = system.levels.astype(np.int64), system.sites
    most = levels.max()
    m, rotation, operators = np.zeros((n, most)), np.zeros((n, most, most)), np.zeros((3, n, most, most), complex)
    for i, (d, S) in enumerate(zip(levels, system.spins)):
        m[i, :d] = S - np.arange(d)
        for axis, name in enumerate(("Sx", "Sy", "Sz")):
            operators[axis, i, :d, :d] = local_operator(name, d).toarray()
        _, vectors = np.linalg.eigh(operators[0, i, :d, :d].real)
        rotation[i, :d, :d] = vectors[:, ::-1].T  # eigh: rising eigenvalues
    turn = np.zeros(1, np.uint8)
    for d in levels:
        turn = np.add.outer(turn, np.arange(d, dtype=np.uint8)).ravel() % 4
    kind, classes, cut = np.full((n, n), -1, np.int64), 0, 0
    if {"correlation", "structure_factor"} & set(names):
        distances = Distances(system)
        if "structure_factor" in names and distances.orbits > len(system.sublattices):
            raise ValueError(
                "observables: structure_factor is of chains: of each sublattice, the translation moves "
                "one site to all others"
            )
        kind, classes = distances.kind, distances.pairs.size
    size, terms = 6 * n + 3 * classes, []
    for name in names:
        for members in named(system, name) or ():
            terms += [(*term, size) for term in members]
            size += 1
    if "entanglement_entropy" in names:
        if n < 2:
            raise ValueError("observables: entanglement_entropy needs at least two sites")
        cut = int(np.prod(levels[n // 2 :]))
    return Plan(
        levels,
        strides(levels),
        m,
        rotation,
        turn,
        kind,
        classes,
        operators,
        np.array(terms, np.int64).reshape(-1, 5),
        cut,
        size + (cut > 0),
    )


@njit(cache=True, error_model="numpy")
def measure(total, state, scratch, plan):
    """Add all results of a normalised state to total (size,). scratch : another state"""
    dimension = len(plan.turn)
    for axis in (2, 0, 1):
        scratch[:] = state
        rotate(scratch, axis, plan, 0)
        moments(total, scratch, axis, plan, plan.m[:0, 0])
    if len(plan.named) or plan.cut:
        psi = state[0, PAD : PAD + dimension] + 1j * state[1, PAD : PAD + dimension]
        for a, i, b, j, k in plan.named:
            total[k] += _correlator(psi, plan.operator[a, i], i, plan.operator[b, j], j if b >= 0 else -1, plan)
        if plan.cut:
            matrix = psi.reshape(dimension // plan.cut, plan.cut)
            small = matrix if matrix.shape[0] <= matrix.shape[1] else np.ascontiguousarray(matrix.T)
            total[-1] += entropy(small @ np.conj(small.T))


@njit(cache=True, error_model="numpy")
def rotate(state, axis, plan, outer):
    """Rotate the sites from `outer` on so that S_a is diagonal, in place; a = x, y, z of axis 0, 1, 2."""
    dimension = plan.levels[outer:].prod()
    real, imag = state[0, PAD : PAD + dimension], state[1, PAD : PAD + dimension]
    if axis == 1:
        _turn(real, imag, plan.turn)
    if axis < 2:
        for i in range(outer, len(plan.levels)):
            _rotate(real, plan.rotation[i], plan.levels[i], plan.stride[i])
            _rotate(imag, plan.rotation[i], plan.levels[i], plan.stride[i])


@njit(cache=True, error_model="numpy")
def moments(total, state, axis, plan, fixed):
    """Add the moments of S_a of sites and pairs, from a rotated state, which is overwritten.

    fixed : S_a of the first sites, if the state is of the others only
    """
    n, outer = len(plan.levels), len(fixed)
    length = plan.levels[outer:].prod()
    p, q = state[0, PAD : PAD + length], state[1, PAD : PAD + length]
    for s in range(length):
        p[s] = p[s] * p[s] + q[s] * q[s]
    pairs = total[6 * n + axis * plan.classes :]
    if outer:
        norm = p.sum()
        for i in range(outer):
            total[axis * n + i] += fixed[i] * norm
            total[(3 + axis) * n + i] += fixed[i] * fixed[i] * norm
            for j in range(i + 1, outer):
                if plan.kind[i, j] >= 0:
                    pairs[plan.kind[i, j]] += fixed[i] * fixed[j] * norm
    for i in range(outer, n):
        length = length // plan.levels[i]
        first, second = _contract(p, q, plan.m[i], plan.levels[i], length)
        total[axis * n + i] += first
        total[(3 + axis) * n + i] += second
        for j in range(outer):
            if plan.kind[j, i] >= 0:
                pairs[plan.kind[j, i]] += fixed[j] * first
        if plan.classes:
            rest = length
            for j in range(i + 1, n):
                rest = rest // plan.levels[j]
                pair = _first_moment(q, plan.m[j], plan.levels[j], rest)
                if plan.kind[i, j] >= 0:
                    pairs[plan.kind[i, j]] += pair


@njit(cache=True, error_model="numpy")
def _turn(real, imag, turn):
    """Multiply by (-i)^turn, in place."""
    for s in range(len(real)):
        a, b = real[s], imag[s]
        if turn[s] % 2:
            a, b = b, -a
        real[s], imag[s] = (-a, -b) if turn[s] >= 2 else (a, b)


@njit(cache=True, error_model="numpy")
def _correlator(psi, first, i, second, j, plan):
    """Re ⟨A ψ|B ψ⟩ of operators of the sites i and j; B = 1 for j = -1."""
    total = 0.0
    for s in range(len(psi)):
        left = _element(psi, s, first, plan.levels[i], plan.stride[i])
        right = _element(psi, s, second, plan.levels[j], plan.stride[j]) if j >= 0 else psi[s]
        total += left.real * right.real + left.imag * right.imag
    return total


@njit(cache=True, error_model="numpy")
def _element(psi, s, operator, levels, stride):
    """⟨s|A ψ⟩ of an operator of one site."""
    a, value = s // stride % levels, 0j
    for b in range(levels):
        value += operator[a, b] * psi[s + (b - a) * stride]
    return value


@njit(cache=True, error_model="numpy")
def apply(psi, operator, levels, stride):
    """A ψ of an operator of one site: (D,) complex."""
    result = np.empty_like(psi)
    for s in range(len(psi)):
        result[s] = _element(psi, s, operator, levels, stride)
    return result


@njit(cache=True, error_model="numpy")
def _rotate(x, u, levels, stride):
    """Apply u to one site of real numbers, in place."""
    if levels == 2:  # by far the most frequent
        for start in range(0, len(x), 2 * stride):
            upper, lower = x[start : start + stride], x[start + stride : start + 2 * stride]
            for k in range(stride):
                a, b = upper[k], lower[k]
                upper[k], lower[k] = u[0, 0] * a + u[0, 1] * b, u[1, 0] * a + u[1, 1] * b
        return
    old = np.empty(levels)
    for start in range(0, len(x), levels * stride):
        for k in range(start, start + stride):
            for a in range(levels):
                old[a] = x[k + a * stride]
            for a in range(levels):
                value = 0.0
                for b in range(levels):
                    value += u[a, b] * old[b]
                x[k + a * stride] = value


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
def entropy(rho):
    """-Tr ρ ln ρ."""
    total = 0.0
    for probability in np.linalg.eigvalsh(rho):
        if probability > 1e-15:
            total -= probability * np.log(probability)
    return total


def outputs(system: System, names, time: tuple) -> tuple[Output, ...]:
    """Spins in units of ħ; time is (Dim,) or ()."""
    lattice = (Dim("sublattice", tuple(system.sublattices)), *time)
    found = []
    for a in "xyz":
        found += [
            Output(f"S{a}", lattice, "ħ", f"mean over the sites of ⟨S_{a}⟩", reduce="mean"),
            Output(f"S{a}2", lattice, "ħ²", f"mean over the sites of ⟨S_{a}²⟩", reduce="mean"),
            Output(
                f"var_S{a}",
                lattice,
                "ħ²",
                f"variance of S_{a} of a site",
                reduce="variance",
                sources=(f"S{a}2", f"S{a}"),
            ),
        ]
    found += [
        Output("S_perp", lattice, "ħ", "sqrt(⟨S_x⟩² + ⟨S_y⟩²) of a site", reduce="norm", sources=("Sx", "Sy")),
        Output("Mz", time, "1", "mean of ⟨Sz⟩/S over all spins", reduce="mean"),
        Output("jumps", (), "1", "jumps of a trajectory", reduce="mean"),
    ]
    if "correlation" in names:
        dims = (lattice[0], _distance(system), *time)
        found += [
            Output("correlation", dims, "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩", reduce="mean"),
            *(Output(f"correlation_{a}{a}", dims, "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance", reduce="mean") for a in "xyz"),
            Output(
                "correlation_length",
                lattice,
                "cells",
                "correlation length ξ of ⟨S⁺_n S⁻_{n+s}⟩",
                reduce="decay_length",
                sources=("correlation",),
            ),
        ]
    if "structure_factor" in names:
        length = Distances(system).length
        waves = Dim("wavenumber", tuple(2 * k / length for k in range(length // 2 + 1)), "π/cell")
        found += [
            Output(
                f"structure_factor_{a}{a}",
                (lattice[0], waves, *time),
                "ħ²",
                f"structure factor of S_{a}",
                reduce="mean",
            )
            for a in "xyz"
        ]
    for name in names:
        if match := NAMED.fullmatch(name):
            a, i, b, j, other = match.groups()
            if other:
                found.append(
                    Output(
                        name,
                        (_distance(system), *time),
                        "ħ²",
                        f"⟨S_{a} S_{other}'⟩ at a distance, mean over all sites",
                        reduce="mean",
                    )
                )
            elif b:
                found.append(Output(name, time, "ħ²", f"⟨S_{a} S_{b}⟩ of the sites {i} and {j}", reduce="mean"))
            else:
                found.append(Output(name, time, "ħ", f"⟨S_{a}⟩ of the site {i}", reduce="mean"))
    if "entanglement_entropy" in names:
        found.append(
            Output(
                "entanglement_entropy",
                time,
                "nats",
                "entropy of the first half of the sites in a trajectory's pure state (depends on the unravelling)",
                reduce="mean",
            )
        )
    return tuple(found)


def _distance(system) -> Dim:
    return Dim("distance", tuple(range(Distances(system).count)), "cells")


def results(system: System, names, values: np.ndarray) -> dict[str, np.ndarray]:
    """Stored outputs but `jumps`, [..., slot], from the averages of `measure`, values (slots, size)."""
    n, sublattices = system.sites, len(system.sublattices)
    member = np.array([system.sublattice == k for k in range(sublattices)])
    average = member / member.sum(axis=1, keepdims=True)
    moments = values[:, : 6 * n].reshape(-1, 6, n)
    site = np.einsum("ki,tqi->qkt", average, moments)
    found = dict(zip(("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2"), site))
    found["Mz"] = np.mean(moments[:, 2] / system.spins, axis=1)
    place = 6 * n
    if {"correlation", "structure_factor"} & set(names):
        distances = Distances(system)
        pairs = distances.pairs
        sums = values[:, place : place + 3 * pairs.size].reshape(-1, 3, *pairs.shape)
        place += 3 * pairs.size
        x, y, z = np.moveaxis(sums / np.maximum(pairs, 1), 0, -1)
        x[:, 0], y[:, 0], z[:, 0] = site[3:]
        ladder = x + y
        ladder[:, 0] += site[2]
        if "correlation" in names:
            found |= {"correlation": ladder, "correlation_xx": x, "correlation_yy": y, "correlation_zz": z}
        if "structure_factor" in names:
            s = np.arange(distances.count)
            # every distance but 0 and half way around occurs twice
            wave = np.where((s == 0) | (2 * s == distances.length), 1, 2) * np.cos(
                2 * np.pi * np.outer(s, s) / distances.length
            )
            found |= {f"structure_factor_{a}{a}": np.einsum("ks,qst->qkt", wave, c) for a, c in zip("xyz", (x, y, z))}
    for name in names:
        terms = named(system, name)
        if terms:
            value = values[:, place : place + len(terms)].T / len(terms[0])
            place += len(terms)
            found[name] = value if NAMED.fullmatch(name)[5] else value[0]
    if "entanglement_entropy" in names:
        found["entanglement_entropy"] = values[:, -1]
    return found
