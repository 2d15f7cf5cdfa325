"""Sparse matrices of a `System` in the product basis of Sz eigenstates, and its symmetries checked.

Basis: site 0 is the slowest index. On every site Sz falls, S, S-1, ..., -S; so does the number of a boson
mode, cutoff-1, ..., 0. Everything is D x D with D = Π_i levels_i, except `full_liouvillian`, D² x D².
"""

import numpy as np
from scipy import sparse

from hpcsim.system.operators import BOSON_OPERATORS, boson_operator, one_site_operator
from hpcsim.system.symmetry import Parity, Translation, Transposition, WeakU1
from hpcsim.system.terms import System

ROUNDING = 1e-13  # matrix elements this small against the largest one are rounding


def site_operator(system: System, name: str, site: int) -> sparse.csr_matrix:
    """The one-site operator `name` of one site, on the whole space: (D, D)."""
    size = system.levels
    left, right = int(np.prod(size[:site])), int(np.prod(size[site + 1 :]))
    operator = (
        boson_operator(name, size[site]) if name in BOSON_OPERATORS else one_site_operator(name, system.spins[site])
    )
    return sparse.kron(sparse.kron(sparse.identity(left), operator), sparse.identity(right), "csr")


def _clean(matrix: sparse.spmatrix) -> sparse.csr_matrix:
    """Drop entries that are rounding, and the imaginary part if nothing of it is left."""
    matrix = sparse.csr_matrix(matrix)
    matrix.data[abs(matrix.data) <= ROUNDING * abs(matrix.data).max(initial=0)] = 0
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix.real if not np.any(matrix.data.imag) else matrix


def hamiltonian(system: System) -> sparse.csr_matrix:
    """H = Σ_terms Σ_r c_r Π_j O_j(site[r, j]): (D, D), real where it can be."""
    dimension = round(system.dimension)
    total = sparse.csr_matrix((dimension, dimension))
    for terms in system.hamiltonian:
        for coefficient, sites in zip(terms.coefficients, terms.sites):
            if coefficient != 0:
                product = coefficient * sparse.identity(dimension, format="csr")
                for name, site in zip(terms.operators, sites):
                    product = product @ site_operator(system, name, site)
                total = total + product
    return _clean(total)


def jump_operators(system: System) -> list[tuple[float, sparse.csr_matrix]]:
    """(rate, L) of every jump operator whose rate is not zero; L is (D, D)."""
    found = []
    for jumps in system.jumps:
        operators = (site_operator(system, jumps.operator, site) for site in jumps.sites)
        if jumps.collective:
            operators = [sum(operators)]
        found += [(float(rate), _clean(operator)) for rate, operator in zip(jumps.rates, operators) if rate]
    return found


def effective_hamiltonian(hamiltonian, jumps) -> sparse.csr_matrix:
    """H - (i/2) Σ γ L†L: (D, D) complex. The Liouvillian is ρ -> -i(H_eff ρ - ρ H_eff†) + Σ γ LρL†."""
    loss = sum((rate * (jump.getH() @ jump) for rate, jump in jumps), sparse.csr_matrix(hamiltonian.shape))
    return sparse.csr_matrix(hamiltonian - 0.5j * loss)


def full_liouvillian(hamiltonian, jumps) -> sparse.csr_matrix:
    """The Liouvillian on column-stacked ρ: (D², D²) complex. For tests: nothing is exploited.

    vec(AρB) = (Bᵀ ⊗ A) vec(ρ) with vec(ρ) = ρ.flatten("F").
    """
    one = sparse.identity(hamiltonian.shape[0])
    effective = effective_hamiltonian(hamiltonian, jumps)
    total = -1j * (sparse.kron(one, effective) - sparse.kron(effective.conj(), one))
    return sparse.csr_matrix(sum((rate * sparse.kron(jump.conj(), jump) for rate, jump in jumps), total))


def _basis_sum(values) -> np.ndarray:
    """Σ_i values[i][state of site i] of every basis state: (D,)."""
    total = np.zeros(1, int)
    for value in values:
        total = np.add.outer(total, value).ravel()
    return total


def charges(system: System) -> np.ndarray:
    """Q of every basis state, from 0: (D,) integers. The charge of `WeakU1` up to a constant."""
    symmetry = system.symmetry(WeakU1)
    weights = np.ones(system.sites, int) if symmetry is None or symmetry.weights is None else symmetry.weights
    total = _basis_sum([w * np.arange(size - 1, -1, -1) for w, size in zip(weights, system.levels)])
    return total - total.min()


def transposition_signs(system: System, sites) -> np.ndarray:
    """The diagonal of U = Π_i (-1)^(S_i - Sz_i) over `sites`: (D,) of +1 and -1."""
    chosen = np.isin(np.arange(system.sites), sites)
    return 1 - 2 * (_basis_sum([np.arange(size) * on for size, on in zip(system.levels, chosen)]) % 2)


def basis_map(system: System, symmetry: Parity | Translation) -> tuple[np.ndarray, np.ndarray]:
    """(image, sign), both (D,): U|s⟩ = sign[s] |image[s]⟩ up to one phase, U of a Parity or a Translation.

    Rotations by π in the basis of falling Sz: about z (-1)^j |j⟩, x |2S-j⟩, y (-1)^j |2S-j⟩.
    """
    axis, size = getattr(symmetry, "axis", None), system.levels
    target = np.arange(system.sites) if symmetry.permutation is None else symmetry.permutation
    if axis in ("x", "y") and np.any(system.cutoffs):
        raise ValueError(f"a rotation by π about {axis} is not defined on a boson mode")
    if not np.array_equal(np.sort(target), np.arange(system.sites)) or np.any(size != size[target]):
        raise ValueError(f"{target} is not a permutation of equal sites")
    stride = np.append(np.cumprod(size[:0:-1])[::-1], 1)[target]
    levels = [np.arange(n) for n in size]
    image = _basis_sum([stride[i] * (j[::-1] if axis in ("x", "y") else j) for i, j in enumerate(levels)])
    sign = 1 - 2 * (_basis_sum(levels) % 2) if axis in ("y", "z") else np.ones(len(image), int)
    return image, sign


def charge_shifts(matrix: sparse.csr_matrix, charge: np.ndarray) -> np.ndarray:
    """The different Q(m) - Q(n) over the elements (m, n) of a matrix."""
    rows, columns = matrix.nonzero()
    return np.unique(charge[rows] - charge[columns])


def verify_symmetries(system: System, hamiltonian, jumps) -> None:
    """Check every symmetry the system declares against its matrices.

    Raises ValueError, naming the symmetry and the operator that breaks it.
    """
    checks = {
        WeakU1: _verify_charge,
        Transposition: _verify_transposition,
        Parity: _verify_unitary,
        Translation: _verify_unitary,
    }
    for symmetry in system.symmetries:
        checks[type(symmetry)](system, symmetry, hamiltonian, jumps)


def _named(hamiltonian, jumps):
    return [("the Hamiltonian", hamiltonian)] + [
        (f"jump operator {index}", jump) for index, (_, jump) in enumerate(jumps)
    ]


def _verify_charge(system, symmetry, hamiltonian, jumps):
    charge = charges(system)
    for name, matrix in _named(hamiltonian, jumps):
        shifts = charge_shifts(matrix, charge)
        if len(shifts) > 1 or (matrix is hamiltonian and np.any(shifts)):
            raise ValueError(
                f"the model declares WeakU1, but {name} changes its charge "
                f"by {shifts.tolist()}: H must keep it, a jump shift it by one constant"
            )


def _verify_transposition(system, symmetry, hamiltonian, jumps):
    sign = transposition_signs(system, symmetry.sites)
    for name, matrix in _named(hamiltonian, jumps):
        if np.iscomplexobj(matrix):
            raise ValueError(f"the model declares Transposition, but {name} is not real in the Sz basis")
        rows, columns = matrix.nonzero()
        found = set((sign[rows] * sign[columns]).tolist())
        if len(found) > 1 or (matrix is hamiltonian and 1 in found):
            raise ValueError(
                f"the model declares Transposition, but {name} does not obey "
                + ("U H U = -H" if matrix is hamiltonian else "U L U = +L or -L")
            )


def _verify_unitary(system, symmetry, hamiltonian, jumps):
    """U H U† = H, and the total rate of every jump operator is that of its image."""
    image, sign = basis_map(system, symmetry)
    axis, permutation = getattr(symmetry, "axis", None), symmetry.permutation
    declared = (
        f"the model declares {type(symmetry).__name__}"
        + (f" about {axis}" if axis else "")
        + ("" if permutation is None else f" with the permutation {permutation}")
    )
    if isinstance(symmetry, Parity) and not np.array_equal(image[image], np.arange(len(image))):
        raise ValueError(f"{declared}, but the permutation is not its own inverse")

    def moved(matrix):
        m = matrix.tocoo()
        return sparse.csr_matrix((sign[m.row] * sign[m.col] * m.data, (image[m.row], image[m.col])), m.shape)

    if abs(moved(hamiltonian) - hamiltonian).max() > ROUNDING * max(abs(hamiltonian).max(), 1e-300):
        raise ValueError(f"{declared}, but the Hamiltonian does not obey U H U† = H")
    rates = _rates(jumps)
    for index, (_, jump) in enumerate(jumps):
        here, there = rates[_fingerprint(jump)], rates.get(_fingerprint(moved(jump)), 0)
        if not np.isclose(here, there, rtol=1e-12, atol=0):
            raise ValueError(
                f"{declared}, but the image of jump operator {index}, of rate {here:g}, has the rate {there:g}"
            )


def _rates(jumps) -> dict:
    """Total rate of every different jump operator."""
    total = {}
    for rate, jump in jumps:
        key = _fingerprint(jump)
        total[key] = total.get(key, 0) + rate
    return total


def _fingerprint(matrix) -> tuple[bytes, bytes]:
    """Equal for operators that are equal up to a phase: where the elements are, and what they are."""
    m = matrix.tocsr()
    m.sort_indices()
    phase = m.data[0] / abs(m.data[0]) if m.nnz else 1
    values = np.round(m.data / phase, 10) + 0.0  # + 0.0: no negative zeros
    return (m.indptr.astype(int).tobytes() + m.indices.astype(int).tobytes(), values.astype(complex).tobytes())
