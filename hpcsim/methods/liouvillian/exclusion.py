"""Sectors that cannot hold the gap, shown without a factorisation.

In any inner product ⟨A, B⟩ no eigenvalue of L has a real part above the largest Re⟨B, LB⟩/⟨B, B⟩, the
logarithmic norm. With ⟨A, B⟩ = Tr A† σ^(-1/2) B σ^(-1/2), σ the steady state (KMS, of ρ and not of
observables), L contracts: its norm is 0 in the sector of σ, and negative in others, the more so the larger k
is. A dimer with gain = loss = g has -0.021 k at S = 13, and its gap is 0.050: k = 3 and all above are excluded.

σ need not be exact: every positive σ gives a bound, and only its value changes.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import linalg

from hpcsim import solvers
from hpcsim.compiled import njit
from hpcsim.methods.liouvillian.sectors import Operators, Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.system import gauge_symmetries, transposition

MIXED = 1e-13  # part of the maximally mixed state in σ: more loosens the bound, less loses digits
STEPS = 1500  # of the Lanczos recursion, at most
CONVERGED = 0.2  # residual of its largest Ritz value, relative to the distance to what it must stay below


class Weights(NamedTuple):
    """σ^(1/2) and σ^(-1/2) in blocks of equal charge, and the basis they are real in.

    operators : with the symmetries alone that keep every |m⟩⟨n| to itself where k > 0
    gauge : (D,) ρ_mn -> gauge*_m ρ_mn gauge_n; by a transposition it makes σ real, and all ρ of k > 0
    places : (blocks + 1,) where each block begins in root and inverse, which hold one after the other
    """

    operators: Operators
    gauge: np.ndarray
    places: np.ndarray
    root: np.ndarray
    inverse: np.ndarray


def weights(comm, operators: Operators, petsc_options: dict) -> Weights:
    """From the steady state. Collective; raises RuntimeError where that is not unique."""
    system, home = operators.symmetries.system, Sector(operators, HOME)
    local, _ = solvers.steady_state(comm, home, petsc_options)
    elements = home.elements(np.concatenate(comm.allgather(local)))
    gauge, real = np.ones(len(operators.order)), transposition(system)
    if real:
        gauge = np.where(real.on_basis(system.levels)[1][operators.order] < 0, 1j, 1)
    places, root, inverse = home.layout.pairs, [], []
    for first, last, start, stop in zip(operators.first, operators.first[1:], places, places[1:]):
        block = elements[start:stop].reshape(last - first, last - first)
        block = gauge[first:last, None].conj() * block * gauge[first:last]
        values, vectors = linalg.eigh(block.real if real else block)
        values = (1 - MIXED) * np.maximum(values, 0) + MIXED / len(gauge)
        root.append((vectors * np.sqrt(values) @ vectors.conj().T).ravel())
        inverse.append((vectors / np.sqrt(values) @ vectors.conj().T).ravel())
    return Weights(
        replace(operators, symmetries=Symmetries(replace(system, symmetries=gauge_symmetries(system)))),
        gauge,
        places,
        np.concatenate(root),
        np.concatenate(inverse),
    )


@njit(cache=True)
def _multiply(first, places, factor, pairs, k, x, result):
    """Each block of x, of the |m><n| with n in block b and m in block b + k, times the factor on both sides."""
    for b in range(len(pairs) - 1):
        rows, columns = first[b + k + 1] - first[b + k], first[b + 1] - first[b]
        left = factor[places[b + k] : places[b + k + 1]].reshape(rows, rows)
        right = factor[places[b] : places[b + 1]].reshape(columns, columns)
        block = x[pairs[b] : pairs[b + 1]].reshape(rows, columns)
        np.dot(np.dot(left, block), right, result[pairs[b] : pairs[b + 1]].reshape(rows, columns))


def decay(weights: Weights, k: int, enough: float) -> float:
    """A rate, above `enough`, that all ρ of k > 0 decay with at least; NaN where there is none to be shown.

    Lanczos recursion for the largest μ of C z = μ Σ z, with Σ: B -> σ^(1/2) B σ^(1/2), C = (LΣ + ΣL†)/2 and
    x = Σz. Each step takes LΣz and ΣL†z, and divides by Σ. It ends as soon as μ is seen to be above, or what it has
    found and the residual of that stay below; of what its start lacks altogether it would not know. So that is a
    random x and a random z, of equal norm: x alone is nearly all where σ is small, and at S = 60 then settles on
    -0.37, with a residual of 0.02, a hundred steps before it sees the largest μ, -0.013.
    """
    sector = Sector(weights.operators, Name(k))
    matrix, transposed = _matrix(weights, sector)

    def both_sides(factor, x):
        result = np.empty_like(x)
        kind = factor.dtype  # complex elements take two unknowns
        _multiply(sector.layout.first, weights.places, factor, sector.layout.pairs, k, x.view(kind), result.view(kind))
        return result

    x, z = np.random.default_rng(k).standard_normal((2, sector.size))
    sigma_z = both_sides(weights.root, z)
    sign = np.sign(x @ z)  # else a sector of one unknown may lose it
    x = x / np.sqrt(x @ both_sides(weights.inverse, x)) + sign * sigma_z / np.sqrt(sigma_z @ z)
    z = both_sides(weights.inverse, x)
    before, norm, diagonal, beside = np.zeros_like(x), np.sqrt(x @ z), [], []
    for step in range(STEPS):
        x, z = x / norm, z / norm
        product = (matrix @ x + both_sides(weights.root, transposed @ z)) / 2
        diagonal.append(product @ z)
        before, x = x, product - diagonal[-1] * x - norm * before * (step > 0)
        z = both_sides(weights.inverse, x)
        norm = np.sqrt(max(x @ z, 0))
        beside.append(norm)
        if step % 10 == 9 or norm < 1e-9 * abs(diagonal[0]):
            largest, residual = _largest(diagonal, beside)
            if largest > -enough:
                return np.nan
            if residual < CONVERGED * (-enough - largest):
                return -largest - residual
    return np.nan


def _largest(diagonal, beside):
    """Largest Ritz value of a Lanczos recursion, and the norm of its residual."""
    if len(diagonal) == 1:
        return diagonal[0], beside[0]
    last = len(diagonal) - 1
    (value,), vector = linalg.eigh_tridiagonal(diagonal, beside[:-1], select="i", select_range=(last, last))
    return value, beside[-1] * abs(vector[-1, 0])


def _matrix(weights: Weights, sector: Sector):
    """The sector's Liouvillian in the basis of `weights.gauge`, and its transpose: CSR both."""
    matrix = sector.rows(0, sector.size)
    if not sector.doubled:
        gauge = weights.gauge
        signs = (gauge[sector.m].conj() * sector.phase * gauge[sector.n]).real
        matrix.data *= np.repeat(signs, np.diff(matrix.indptr)) * signs[matrix.indices]
    return matrix, matrix.T.tocsr()
