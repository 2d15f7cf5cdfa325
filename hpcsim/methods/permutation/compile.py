"""From a `System` of equivalent spins 1/2 to the action of its Liouvillian on symmetrised Pauli strings.

Where every site and every pair of sites enters with the same coefficient, the Liouvillian is a sum over
sites of one superoperator and over ordered pairs of sites of another. Both are compiled here from the
2 x 2 matrices of the operators that the system names.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hpcsim.system import System, cartesian, left_over
from hpcsim.system.operators import local_operator

PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
SPIN = {name: local_operator(name, 2).toarray() for name in ("Sx", "Sy", "Sz", "S+", "S-")}
EQUAL = 1e-12  # coefficients that differ by less, relative to the largest one, are equal
PAIR_ENTRIES = 4e8  # the table of all pairs is not built beyond this


class NotSymmetric(ValueError):
    """The system is not made of equivalent spins 1/2; the message says why."""


@dataclass(frozen=True)
class Moves:
    """d⟨string n⟩/dt = Σ_r rate[r] factor[r] n_a (n_b - δ_ab) ⟨string n + shift⟩, n = (n_0, n_x, n_y, n_z).

    labels : (r, 2) the labels a, b of 0, x, y, z; b = -1 where only one site changes: the factor is n_a
    shift  : (r, 3) change of (n_x, n_y, n_z), rows of equal shift adjacent
    factor : (r,) multiples of small powers of two, hence exact
    rate   : (r,) of the term or jump that the row belongs to. Rows of different terms are not added up, so
             that the Liouvillian, evaluated with more digits, is exactly that of a master equation
    """

    labels: np.ndarray
    shift: np.ndarray
    factor: np.ndarray
    rate: np.ndarray

    @property
    def conserves_parity(self) -> bool:
        """Whether rotations by π about z commute with the Liouvillian: n_x + n_y stays even or odd."""
        return not np.any((self.shift[:, 0] + self.shift[:, 1]) % 2)

    @cached_property
    def shifts(self):
        """The different shifts, and the first row of each followed by the number of rows."""
        different, first = np.unique(self.shift, axis=0, return_index=True)
        return different, np.append(first, len(self.rate))


def compile_system(system: System) -> Moves:
    """The moves of a system. Raises NotSymmetric with the reason if it is not permutation symmetric."""
    return system.kept("permutation", lambda: _compile(system))


def _compile(system: System) -> Moves:
    if np.any(wrong := system.spins != 0.5):
        raise NotSymmetric(f"it needs sites of spin 1/2, not {system.spins[wrong][0]:g}")
    fields, couplings = _hamiltonian(system)
    local, between = _jumps(system)
    tables = system.of_structure("permutation", dict)

    def table(make, *names):
        if (make, names) not in tables:
            tables[make, names] = make(*names)
        return tables[make, names]

    parts = [(table(_field, name), c) for name, c in fields.items()]
    parts += [(table(_coupling, *names), c) for names, c in couplings.items()]
    parts += [(table(_decay, name), rate) for name, rate in local]
    parts += [(table(_collective_decay, name), rate) for name, rate in between]
    return _moves(parts)


def field_moves(name: str) -> Moves:
    """The action of i[Σ_j σ_j, .] on strings, for the Pauli matrix of Sx, Sy or Sz."""
    return _moves([(_table(_one_site(_commutator(2 * SPIN[name]))), 1.0)])


def _field(name: str) -> dict:
    return _table(_one_site(_commutator(SPIN[name])))


def _coupling(a: str, b: str) -> dict:
    pair = np.kron(SPIN[a], SPIN[b])
    if a != b:
        pair = pair + np.kron(SPIN[b], SPIN[a])
    return _table(two=_two_sites(_commutator(pair / 2)))  # ordered pairs count each pair twice


def _decay(name: str) -> dict:
    operator = SPIN[name]
    return _table(_one_site(lambda A: _dissipator(operator, operator, A)))


def _collective_decay(name: str) -> dict:
    """The terms of different sites; each site by itself decays as well."""
    left, right = np.kron(SPIN[name], np.eye(2)), np.kron(np.eye(2), SPIN[name])
    return _table(two=_two_sites(lambda A: _dissipator(left, right, A)))


def _commutator(H):
    return lambda A: 1j * (H @ A - A @ H)


def _dissipator(left, right, A):
    """Adjoint dissipator L†AR - ½{L†R, A}."""
    product = left.conj().T @ right
    return left.conj().T @ A @ right - (product @ A + A @ product) / 2


def _one_site(action):
    """M[a, b] with action(σ_a) = Σ_b M[a, b] σ_b; real, as a Liouvillian maps Hermitian to Hermitian."""
    return np.einsum("bij,aji->ab", PAULI, np.array([action(A) for A in PAULI])).real / 2


def _two_sites(action):
    """M[a, b, c, d] with action(σ_a ⊗ σ_b) = Σ_cd M[a, b, c, d] σ_c ⊗ σ_d.

    Only the real part is kept: the imaginary part is odd under the exchange of the two sites and cancels.
    """
    strings = np.array([[np.kron(A, B) for B in PAULI] for A in PAULI])
    images = np.array([[action(A) for A in row] for row in strings])
    return np.einsum("cdij,abji->abcd", strings, images).real / 4


def _table(one=None, two=None) -> dict:
    """{(shift of n_x, n_y, n_z, label a, label b): factor} of a one-site or a two-site matrix."""
    change, found = np.vstack([np.zeros(3, int), np.eye(3, dtype=int)]), defaultdict(float)
    for a, b in zip(*np.nonzero(one)) if one is not None else ():
        found[*(change[b] - change[a]), a, -1] += one[a, b]
    for a, b, c, d in zip(*np.nonzero(two)) if two is not None else ():
        found[*(change[c] + change[d] - change[a] - change[b]), *sorted((a, b))] += two[a, b, c, d]
    return found


def _moves(parts) -> Moves:
    """From the table and the rate of every term and jump."""
    rows = [(*key, factor, rate) for table, rate in parts for key, factor in table.items() if factor != 0 and rate != 0]
    rows = np.array(sorted(rows)).reshape(-1, 7)
    return Moves(rows[:, 3:5].astype(int), rows[:, :3].astype(int), rows[:, 5], rows[:, 6])


def _hamiltonian(system: System):
    """Coefficients {name: c} of Σ_i S_i and {(name, name): c} of Σ_{i<j} of the products on both sites."""
    fields, couplings = defaultdict(float), defaultdict(float)
    for terms in cartesian(system):
        used = terms.coefficients != 0
        sites, coefficients = terms.sites[used], terms.coefficients[used]
        if not len(sites):
            continue
        if left_over(terms):
            raise NotSymmetric(f"its Hamiltonian has {terms}: Sx, Sy, Sz and products of two sites are allowed")
        if len(terms.operators) == 1:
            (name,) = terms.operators
            fields[name] += _of_every_site(system, sites[:, 0], coefficients, f"field {name}")
        elif len(terms.operators) == 2:
            a, b = terms.operators
            couplings[*sorted((a, b))] += _of_every_pair(system, a, b, sites, coefficients)
        else:
            raise NotSymmetric(
                f"its Hamiltonian has a product of {len(terms.operators)} operators: "
                "fields and couplings of pairs are allowed"
            )
    return fields, couplings


def _of_every_site(system, sites, coefficients, what) -> float:
    total = np.bincount(sites, coefficients, minlength=system.sites)
    if np.ptp(total) > EQUAL * np.abs(total).max():
        raise NotSymmetric(
            f"the {what} is {total.min():g} on one site and {total.max():g} on another: all sites must be equal"
        )
    return total.mean()


def _of_every_pair(system, a, b, sites, coefficients) -> float:
    """The c of Σ_{i<j} c (A_i B_j + B_i A_j), or Σ_{i<j} c A_i A_j where A is B."""
    N, what = system.sites, f"coupling {a} {b}"
    between = sites[:, 0] != sites[:, 1]  # on one site, the square of a spin-1/2 operator is a number
    sites, coefficients = sites[between], coefficients[between]
    pairs = N * (N - 1) / (2 if a == b else 1)
    if not len(sites):
        return 0.0
    if len(sites) < pairs or N**2 > PAIR_ENTRIES:
        raise NotSymmetric(f"the {what} couples {len(sites)} of {pairs:g} pairs of sites: all pairs must be coupled")
    table = np.bincount(sites[:, 0] * N + sites[:, 1], coefficients, minlength=N * N).reshape(N, N)
    if a == b:
        table = table + table.T
    values = table[~np.eye(N, dtype=bool)]
    if np.ptp(values) > EQUAL * np.abs(values).max():
        raise NotSymmetric(
            f"the {what} is {values.min():g} for one pair of sites and {values.max():g} for "
            "another: all pairs must be equal"
        )
    return values.mean()


def _jumps(system: System):
    """Pairs (operator, rate): Γ_ii of every site by itself, and Γ_ij of all pairs of sites."""
    local, between = [], []
    for jumps in filter(lambda jumps: jumps.used, system.jumps):
        if not jumps.of_spins:
            raise NotSymmetric(f"it has the jump operator {jumps}: Sx, Sy, Sz, S+, S-, and their sums, are allowed")
        (name,) = jumps.operators
        local.append((name, _of_every_site(system, jumps.site, jumps.totals(), f"rate of the jump {name}")))
        if jumps.collective:
            between.append((name, _between(jumps)))
    return local, between


def _between(jumps) -> float:
    """The Γ_ij of a family that has all sites, if it is the same for all pairs, and real."""
    rates = jumps.rate_matrix()[~np.eye(len(jumps.sites), dtype=bool)]
    largest = np.abs(rates).max()
    if np.ptp(rates.real) > EQUAL * largest or np.abs(rates.imag).max() > EQUAL * largest:
        raise NotSymmetric(f"the weights of {jumps.operators[0]} in {jumps} differ: all sites must be equal")
    return float(rates.real.mean())
