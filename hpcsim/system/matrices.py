"""Sparse matrices of a `System` in the product basis of Sz eigenstates.

Basis: site 0 is the slowest index. On every site Sz falls, S, S-1, ..., -S; so does the number of a boson
mode, cutoff-1, ..., 0. Everything is D x D with D = Π_i levels_i, except `full_liouvillian`, D² x D².
"""

import functools
import operator

import numpy as np
from scipy import sparse

from hpcsim.system.action import ROUNDING
from hpcsim.system.operators import local_operator
from hpcsim.system.terms import System

SMALL = 640  # basis states of a system up to which matrices that follow from its structure are kept


def site_operator(system: System, name: str, site: int) -> sparse.csr_matrix:
    """The one-site operator `name` of one site, on the whole space: (D, D). It is not to be changed."""
    if system.dimension > SMALL:
        return _on_site(system, name, site)
    kept = system.of_structure("matrices", dict)
    if (name, int(site)) not in kept:
        kept[name, int(site)] = _on_site(system, name, site)
    return kept[name, int(site)]


def _on_site(system: System, name: str, site: int) -> sparse.csr_matrix:
    size = system.levels
    left, right = int(np.prod(size[:site])), int(np.prod(size[site + 1 :]))
    return sparse.kron(
        sparse.kron(sparse.identity(left), local_operator(name, size[site])), sparse.identity(right), "csr"
    )


def _clean(matrix: sparse.spmatrix) -> sparse.csr_matrix:
    """Drop entries that are rounding, and the imaginary part if nothing of it is left."""
    matrix = sparse.csr_matrix(matrix, copy=True)
    matrix.data[abs(matrix.data) <= ROUNDING * abs(matrix.data).max(initial=0)] = 0
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix.real if not np.any(matrix.data.imag) else matrix


def hamiltonian(system: System) -> sparse.csr_matrix:
    """H = Σ_terms Σ_r c_r Π_j O_j(site[r, j]) and the conjugates that are asked for: (D, D), real where it can be."""
    dimension = round(system.dimension)
    if system.dimension <= SMALL:
        weights = [c for terms in system.hamiltonian for c in terms.numbers.tolist() if c != 0]
        return _clean(products(system)(np.array(weights)))
    total = sparse.csr_matrix((dimension, dimension))
    for coefficient, product in _products(system):
        total = total + coefficient * product
    return _clean(total)


def products(system: System) -> "WeightedSum":
    """H of a small system from its coefficients that are not zero."""
    dimension = round(system.dimension)
    return system.of_structure("products", lambda: WeightedSum([p for _, p in _products(system)], dimension))


def _products(system: System):
    """(c, A) with H = Σ c A, c real, not zero, and A Hermitian: two for a complex coefficient.

    Re c (P + P†) + Im c i(P - P†) is c P + c* P†.
    """
    for terms in system.hamiltonian:
        parts = terms.numbers.reshape(len(terms.sites), 1 + np.iscomplexobj(terms.coefficients))
        for numbers, sites in zip(parts, terms.sites):
            if not np.any(numbers):
                continue
            product = product_of(system, terms.operators, sites)
            adjoint = product.getH() if terms.plus_hc else None
            for number, phase in zip(numbers.tolist(), (1, 1j)):
                if number != 0:
                    yield number, product if adjoint is None else phase * product + np.conj(phase) * adjoint


def product_of(system: System, operators, sites) -> sparse.csr_matrix:
    """Π_j O_j(site[j]) on the whole space: (D, D). It is not to be changed."""
    return functools.reduce(
        operator.matmul, [site_operator(system, name, site) for name, site in zip(operators, sites)]
    )


class WeightedSum:
    """Σ_r w_r A_r of sparse matrices (D, D) that stay the same, with weights that do not."""

    def __init__(self, matrices, dimension: int):
        self._shape = 2 * (dimension,)
        flat = [sparse.csr_matrix(each).reshape((1, -1)) for each in matrices]
        stacked = sparse.vstack([sparse.csr_matrix((1, dimension**2)), *flat], "csc")
        places = np.flatnonzero(np.diff(stacked.indptr))
        self._values = stacked[1:, places].T.tocsr()
        self._columns = places % dimension
        self._pointer = np.searchsorted(places, dimension * np.arange(dimension + 1))

    def __call__(self, weights: np.ndarray) -> sparse.csr_matrix:
        return sparse.csr_matrix((self._values @ weights, self._columns, self._pointer), self._shape)


def jump_operators(system: System) -> list[tuple[float, sparse.csr_matrix]]:
    """(rate, L) of every jump operator whose rate is not zero; L is (D, D). They are not to be changed."""
    rates = [float(rate) for jumps in system.jumps for rate in jumps.rates if rate]
    small = system.dimension <= SMALL
    found = system.of_structure("jump operators", lambda: _jumps(system)) if small else _jumps(system)
    return list(zip(rates, found))


def _jumps(system: System) -> list[sparse.csr_matrix]:
    found = []
    for jumps in system.jumps:
        kept: dict[int, sparse.csr_matrix] = {}  # of the products that several channels are made of
        for _, rows, weights in jumps.channels():
            kept = {r: kept[r] if r in kept else product_of(system, jumps.operators, jumps.sites[r]) for r in rows}
            found.append(_clean(sum(w * kept[r] for r, w in zip(rows, weights))))
    return found


def effective_hamiltonian(hamiltonian, jumps) -> sparse.csr_matrix:
    """H - (i/2) Σ γ L†L: (D, D) complex. The Liouvillian is ρ -> -i(H_eff ρ - ρ H_eff†) + Σ γ LρL†."""
    loss = sum((rate * (jump.getH() @ jump) for rate, jump in jumps), sparse.csr_matrix(hamiltonian.shape))
    return sparse.csr_matrix(hamiltonian - 0.5j * loss)


def full_liouvillian(hamiltonian, jumps) -> sparse.csr_matrix:
    """The Liouvillian on column-stacked ρ: (D², D²) complex, without any use of symmetries.

    vec(AρB) = (Bᵀ ⊗ A) vec(ρ) with vec(ρ) = ρ.flatten("F").
    """
    one = sparse.identity(hamiltonian.shape[0])
    effective = effective_hamiltonian(hamiltonian, jumps)
    total = -1j * (sparse.kron(one, effective) - sparse.kron(effective.conj(), one))
    return sparse.csr_matrix(sum((rate * sparse.kron(jump.conj(), jump) for rate, jump in jumps), total))


def verify_symmetries(system: System, hamiltonian, jumps) -> None:
    """Raises ValueError, with the symmetry and the operator, where a declared symmetry does not hold."""
    for symmetry in system.symmetries:
        symmetry.verify(system, hamiltonian, jumps)
