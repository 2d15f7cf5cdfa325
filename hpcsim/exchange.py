"""Systems to and from QuTiP: a Hamiltonian and the list of collapse operators.

The factors of QuTiP's tensor products are the sites in their order. A spin has its levels Sz = S, ..., -S in both;
a boson mode has n = 0, 1, ... in QuTiP.
"""

import itertools

import numpy as np

from hpcsim.system import HERMITIAN_OPERATORS, SPIN_OPERATORS, Jumps, System, Terms
from hpcsim.system.matrices import hamiltonian, jump_operators
from hpcsim.system.operators import local_operator

LARGEST = 1024  # dimension of what is decomposed
ROUNDING = 1e-10


def to_qutip(system: System):
    """(H, c_ops) of a system, as qutip.Qobj: dρ/dt = -i[H, ρ] + Σ D[c]ρ with c = √γ L and ħ = 1.

    Raises ValueError where coefficients depend on time.
    """
    import qutip

    if system.drive:
        raise ValueError("coefficients depend on time: give the systems in its drive, and the weights of these")
    levels = [int(n) for n in system.levels]
    places = np.arange(np.prod(levels)).reshape(levels)
    order = np.flip(places, np.flatnonzero(system.cutoffs)).ravel()

    def quantum(matrix):
        return qutip.Qobj(matrix.astype(complex)[order][:, order], dims=[levels, levels])

    return quantum(hamiltonian(system)), [quantum(np.sqrt(rate) * jump) for rate, jump in jump_operators(system)]


def from_qutip(H, c_ops) -> System:
    """The System of spins with H and the collapse operators of QuTiP; a factor of dimension d is a spin (d - 1)/2.

    H is decomposed into products of powers of Sx, Sy, Sz, at most one of them on each site; every collapse operator
    must be a multiple of one of Sx, Sy, Sz, S+, S- of one site, or a weighted sum of it over several sites. Raises
    ValueError, with what cannot be expressed.
    """
    levels = H.dims[0]
    if H.dims != [levels, levels] or np.prod(levels) > LARGEST or min(levels) < 2:
        raise ValueError(f"H has the dims {H.dims}: an operator on spins, of dimension at most {LARGEST}, is needed")
    for i, each in enumerate(c_ops):
        if each.dims != H.dims:
            raise ValueError(f"c_ops[{i}] has the dims {each.dims}, H has {H.dims}")
    empty = System((np.array(levels) - 1) / 2, (), ())
    jumps = tuple(_jumps(each.full(), empty, i) for i, each in enumerate(c_ops))
    system = System(empty.spins, _terms(H.full(), levels), jumps)
    rest = hamiltonian(system).toarray() - H.full()
    rest -= np.trace(rest) / len(rest) * np.eye(len(rest))
    if abs(rest).max() > ROUNDING * max(1, abs(H.full()).max()):
        raise ValueError("H holds products of different spin components of one site, or is not Hermitian")
    return system


def _site_operators(levels: int):
    """Independent powers of Sx, Sy, Sz of a site, as tuples of names, and (levels², n) their matrices."""
    names, columns = [()], [np.eye(levels).ravel()]
    for power, name in itertools.product(range(1, levels), HERMITIAN_OPERATORS):
        matrix = np.linalg.matrix_power(local_operator(name, levels).toarray(), power).ravel()
        if np.linalg.matrix_rank(np.column_stack([*columns, matrix])) > len(columns):
            names.append((name,) * power)
            columns.append(matrix)
    return names, np.column_stack(columns)


def _terms(matrix, levels) -> tuple[Terms, ...]:
    n = len(levels)
    pairs = [axis for i in range(n) for axis in (i, n + i)]
    tensor = matrix.reshape(*levels, *levels).transpose(pairs).reshape([d * d for d in levels])
    found = [_site_operators(d) for d in levels]
    for _, basis in found:  # the first axis goes, its coefficients come last
        tensor = np.tensordot(tensor, np.linalg.pinv(basis), (0, 1))
    terms = []
    for where in np.argwhere(abs(tensor) > ROUNDING * max(1, abs(matrix).max())):
        parts = [(name, site) for site, i in enumerate(where) for name in found[site][0][i]]
        if parts:
            names, sites = zip(*parts)
            terms.append(Terms(names, np.array([sites]), np.array([tensor[tuple(where)].real])))
    return tuple(terms)


def _jumps(matrix, empty: System, i: int) -> Jumps:
    """The one family that `matrix` is a weighted sum of."""
    for name in SPIN_OPERATORS:
        ones = [
            jump_operators(System(empty.spins, (), (Jumps(name, np.array([s]), np.ones(1)),)))[0][1]
            for s in range(empty.sites)
        ]
        weights = np.array([one.conj().multiply(matrix).sum() / abs(one).power(2).sum() for one in ones])
        sites = np.flatnonzero(abs(weights) > ROUNDING * max(1, abs(weights).max()))
        if len(sites):
            total = sum(weights[s] * ones[s].toarray() for s in sites)
            if np.allclose(total, matrix, atol=ROUNDING * max(1, abs(matrix).max())):
                if np.allclose(weights[sites], weights[sites[0]]):
                    return Jumps(name, sites, np.array([abs(weights[sites[0]]) ** 2]), len(sites) > 1)
                return Jumps(name, sites, np.ones(1), weights=weights[sites])
    raise ValueError(
        f"c_ops[{i}] is no multiple of one of {SPIN_OPERATORS} of a site, or of its weighted sum over sites"
    )
