"""Sparse matrices of a `System` in the product basis of Sz eigenstates, and its symmetries checked.

Basis: site 0 is the slowest index, and on every site Sz falls: S, S-1, ..., -S.
Everything is D x D with D = Π_i (2 S_i + 1), except `full_liouvillian`, which is D² x D².
"""
import numpy as np
from scipy import sparse

from hpcsim.system import System, Transposition, WeakU1

ROUNDING = 1e-13    # matrix elements this small against the largest one are rounding


def one_site_operator(name: str, spin: float) -> sparse.csr_matrix:
    """Sx, Sy, Sz, S+ or S- of one spin: (2S+1, 2S+1), real except Sy."""
    m = spin - np.arange(round(2 * spin) + 1)
    if name == "Sz":
        return sparse.diags(m).tocsr()
    raising = sparse.diags([np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1))], [1]).tocsr()
    return {"S+": raising, "S-": raising.T, "Sx": (raising + raising.T) / 2,
            "Sy": (raising - raising.T) / 2j}[name].tocsr()


def site_operator(system: System, name: str, site: int) -> sparse.csr_matrix:
    """The one-site operator `name` of one site, on the whole space: (D, D)."""
    size = np.round(2 * system.spins + 1).astype(int)
    left, right = int(np.prod(size[:site])), int(np.prod(size[site + 1:]))
    operator = one_site_operator(name, system.spins[site])
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


def _basis_sum(system: System, values) -> np.ndarray:
    """Σ_i values[i][state of site i] of every basis state: (D,)."""
    total = np.zeros(1, int)
    for value in values:
        total = np.add.outer(total, value).ravel()
    return total


def charges(system: System) -> np.ndarray:
    """Σ_i (Sz_i + S_i) of every basis state: (D,) integers. The charge of `WeakU1` up to a constant."""
    return _basis_sum(system, [np.arange(round(2 * spin), -1, -1) for spin in system.spins])


def transposition_signs(system: System, sites) -> np.ndarray:
    """The diagonal of U = Π_i (-1)^(S_i - Sz_i) over `sites`: (D,) of +1 and -1."""
    chosen = np.isin(np.arange(system.sites), sites)
    lowered = [np.arange(round(2 * spin) + 1) * on for spin, on in zip(system.spins, chosen)]
    return 1 - 2 * (_basis_sum(system, lowered) % 2)


def charge_shifts(matrix: sparse.csr_matrix, charge: np.ndarray) -> np.ndarray:
    """The different Q(m) - Q(n) over the elements (m, n) of a matrix."""
    rows, columns = matrix.nonzero()
    return np.unique(charge[rows] - charge[columns])


def verify_symmetries(system: System, hamiltonian, jumps) -> None:
    """Check every symmetry the system declares against its matrices.

    Raises ValueError, naming the symmetry and the operator that breaks it.
    """
    named = [("the Hamiltonian", hamiltonian)] + [
        (f"jump operator {index}", jump) for index, (_, jump) in enumerate(jumps)]
    if system.symmetry(WeakU1):
        charge = charges(system)
        for name, matrix in named:
            shifts = charge_shifts(matrix, charge)
            if len(shifts) > 1 or (matrix is hamiltonian and np.any(shifts)):
                raise ValueError(f"the model declares WeakU1, but {name} changes the charge Σ Sz "
                                 f"by {shifts.tolist()}: H must keep it, a jump shift it by one constant")
    if transposition := system.symmetry(Transposition):
        sign = transposition_signs(system, transposition.sites)
        for name, matrix in named:
            if np.iscomplexobj(matrix):
                raise ValueError(f"the model declares Transposition, but {name} is not real in the Sz basis")
            rows, columns = matrix.nonzero()
            found = set((sign[rows] * sign[columns]).tolist())
            if len(found) > 1 or (matrix is hamiltonian and 1 in found):
                raise ValueError(f"the model declares Transposition, but {name} does not obey "
                                 + ("U H U = -H" if matrix is hamiltonian else "U L U = +L or -L"))
