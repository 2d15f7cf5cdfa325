"""What is measured along a trajectory: the numbers that the kernels add up.

Of a state ψ: ⟨S_a⟩ and ⟨S_a²⟩ of every site and, where asked for, ⟨S_a S_a'⟩ of pairs, a = x, y, z. Every site is
rotated so that S_a is diagonal; the probabilities |ψ|² are then summed over one site after the other. A boson mode is
not rotated: its n stands in place of Sz. Of other products of site operators, ⟨ψ|A B ... ψ⟩ with one operator after the
other applied to ψ; of the total spin J, Re ⟨J_a ψ|J_b ψ⟩.
"""

from typing import NamedTuple

import numpy as np

from hpcsim.compiled import PART, njit
from hpcsim.methods.trajectories.compile import PAD
from hpcsim.methods.trajectories.kernels import copy, store


class Plan(NamedTuple):
    """Tables of the kernel. Results are numbered: 6 moments of every site, 3 x pairs, further ones, the entropy.

    levels, stride : (sites,)
    m        : (sites, most levels), S - j of level j; n of a boson mode
    rotation : (sites, most levels, most levels) eigenvectors of Sx as rows; 1 of a boson mode
    turn     : (D,) Σ levels of the state, modulo 4: (-i)^turn turns Sy into Sx
    kind     : (sites, sites) number of the pair, or -1
    classes  : number of pairs
    operator : (3, sites, most levels, most levels) complex, Sx, Sy, Sz
    matrix   : (factors, most levels, most levels) complex, one-site operators of products
    site     : (factors,) where they act
    product  : (products + 1,) first factor of each product, the last factor acts first. Each has two results, the
               real and the imaginary part, from number `place` on
    place    : number of the first of these
    total    : number of the first of six results ⟨J_a J_b + J_b J_a⟩/2, (a, b) = xx, yy, zz, xy, yz, zx; or -1
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
    matrix: np.ndarray
    site: np.ndarray
    product: np.ndarray
    place: int
    total: int
    cut: int
    size: int


@njit(cache=True, error_model="numpy")
def measure(total, state, scratch, plan):
    """Add all results of a normalised state to total (size,). scratch : another state"""
    dimension = len(plan.turn)
    for axis in (2, 0, 1):
        copy(scratch, state)
        rotate(scratch, axis, plan, 0)
        moments(total, scratch, axis, plan, plan.m[:0, 0])
    if len(plan.product) > 1 or plan.total >= 0 or plan.cut:
        psi = np.empty(dimension, np.complex128)
        store(psi, state)
        for k in range(len(plan.product) - 1):
            after = psi
            for f in range(plan.product[k + 1] - 1, plan.product[k] - 1, -1):
                i = plan.site[f]
                after = apply(after, plan.matrix[f], plan.levels[i], plan.stride[i])
            value = np.vdot(psi, after)
            total[plan.place + 2 * k] += value.real
            total[plan.place + 2 * k + 1] += value.imag
        if plan.total >= 0:
            turned = np.zeros((3, dimension), np.complex128)
            for a in range(3):
                for i in range(len(plan.levels)):
                    for s in range(dimension):
                        turned[a, s] += _element(psi, s, plan.operator[a, i], plan.levels[i], plan.stride[i])
            for k in range(6):
                total[plan.total + k] += np.vdot(turned[k % 3], turned[k % 3 if k < 3 else (k + 1) % 3]).real
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


@njit(**PART)
def _turn(real, imag, turn):
    """Multiply by (-i)^turn, in place."""
    for s in range(len(real)):
        a, b = real[s], imag[s]
        if turn[s] % 2:
            a, b = b, -a
        real[s], imag[s] = (-a, -b) if turn[s] >= 2 else (a, b)


@njit(**PART)
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


@njit(**PART)
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


@njit(**PART)
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


@njit(**PART)
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
