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

from hpcsim import matrices, solvers
from hpcsim.methods.liouvillian.sectors import Operators, Sector
from hpcsim.methods.liouvillian.symmetry import HOME, Name, Symmetries
from hpcsim.system import Transposition, WeakU1

MIXED = 1e-7        # part of the maximally mixed state in σ: more loosens the bound, less loses digits
STEPS = 1500        # of the Lanczos recursion, at most
CONVERGED = 0.2     # residual of its largest Ritz value, relative to the distance to what it must stay below


class Weights(NamedTuple):
    """σ^(1/2) and σ^(-1/2), one matrix for each block of equal charge, and the basis they are real in.

    operators : with the symmetries alone that keep every |m⟩⟨n| to itself where k > 0
    gauge : (D,) ρ_mn -> gauge*_m ρ_mn gauge_n; by a transposition it makes σ real, and all ρ of k > 0
    """

    operators: Operators
    gauge: np.ndarray
    root: list
    inverse: list


def weights(comm, operators: Operators, petsc_options: dict) -> Weights:
    """From the steady state. Collective; raises RuntimeError where that is not unique."""
    system, home = operators.symmetries.system, Sector(operators, HOME)
    local, _ = solvers.steady_state(comm, home, petsc_options)
    elements = home.elements(np.concatenate(comm.allgather(local)))
    kept = tuple(s for s in system.symmetries if isinstance(s, (WeakU1, Transposition)))
    gauge, transposition = np.ones(len(operators.order)), system.symmetry(Transposition)
    if transposition:
        signs = matrices.transposition_signs(system, transposition.sites)[operators.order]
        gauge = np.where(signs < 0, 1j, 1)
    root, inverse = [], []
    for b, (first, last) in enumerate(zip(operators.first, operators.first[1:])):
        block = elements[home.layout.pairs[b]:home.layout.pairs[b + 1]].reshape(2 * (last - first,))
        block = gauge[first:last, None].conj() * block * gauge[first:last]
        values, vectors = linalg.eigh(block.real if transposition else block)
        values = (1 - MIXED) * np.maximum(values, 0) + MIXED / len(gauge)
        root.append(vectors * np.sqrt(values) @ vectors.conj().T)
        inverse.append(vectors / np.sqrt(values) @ vectors.conj().T)
    return Weights(replace(operators, symmetries=Symmetries(replace(system, symmetries=kept))), gauge, root, inverse)


def decay(weights: Weights, k: int, enough: float) -> float:
    """A rate, above `enough`, that all ρ of k > 0 decay with at least; NaN where there is none to be shown.

    Lanczos recursion for the largest μ of C z = μ Σ z, with Σ: B -> σ^(1/2) B σ^(1/2), C = (LΣ + ΣL†)/2 and
    x = Σz. Each step takes LΣz and ΣL†z, and divides by Σ. It ends as soon as μ is seen to be above.
    """
    sector = Sector(weights.operators, Name(k))
    matrix, transposed = _matrix(weights, sector)
    kind, places, blocks = (complex if sector.doubled else float), sector.layout.pairs, range(len(weights.root) - k)

    def both_sides(factor, x):
        x = x.view(kind)
        result = np.empty_like(x)
        for b in blocks:
            part = slice(places[b], places[b + 1])
            result[part] = (factor[b + k] @ x[part].reshape(-1, len(factor[b])) @ factor[b]).ravel()
        return result.view(float)

    x = np.random.default_rng(k).standard_normal(sector.size)
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
