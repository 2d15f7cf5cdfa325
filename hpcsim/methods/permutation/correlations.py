"""Two-time functions of collective operators in a symmetric steady state, and their spectra.

B = Σ_i s_i takes a symmetric ρ to the symmetric Bρ, whose correlators e'(n) = Tr(string Bρ) are complex; for one of the
σ_a, of letters a, b, c = x, y, z,

    e'(n) = n_0 e(n + a) + n_a e(n - a) + Σ_{b≠a} i ε_bac n_b e(n - b + c).

The correlators of X† are the conjugates of those of X, and L is real: real and imaginary part evolve by themselves.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from hpcsim import solvers
from hpcsim.methods.permutation.basis import Balanced, Strings
from hpcsim.methods.permutation.compile import PAULI
from hpcsim.methods.permutation.observables import of_terms
from hpcsim.observables import two_times
from hpcsim.observables.matrices import local_matrix
from hpcsim.observables.terms import Mean, averages
from hpcsim.solvers.resolvent import Resolvent
from hpcsim.system import System
from hpcsim.system.operators import adjoint

LEVI_CIVITA = np.array([[[(a - b) * (b - c) * (c - a) / 2 for c in range(3)] for b in range(3)] for a in range(3)])


class Collective:
    """c = Σ_i s_i, from the 2 x 2 matrix s: what multiplication by it does to correlators."""

    def __init__(self, matrix: np.ndarray):
        self._of_paulis = np.einsum("aij,ji->a", PAULI, matrix) / 2  # of 1, σx, σy, σz
        used = np.abs(self._of_paulis) > 1e-15
        self.flips = bool(used[1] or used[2])  # the parity of n_x + n_y

    def target(self, strings: Strings) -> Strings:
        """The sector of cρ."""
        return Strings(strings.N, -strings.parity if self.flips else strings.parity, strings.moves)

    def left(self, source: Strings, target: Strings, e: np.ndarray) -> np.ndarray:
        """The correlators of cX from those of X: (target.size,) complex."""
        letters = np.eye(3, dtype=int)
        n = target.strings()
        found = self._of_paulis[0] * source.N * _moved(source, target, e, 0 * letters[0])
        for a in np.flatnonzero(np.abs(self._of_paulis[1:]) > 1e-15):
            own = n[:, 0] * _moved(source, target, e, letters[a]) + n[:, 1 + a] * _moved(source, target, e, -letters[a])
            for b, c in ((b, 3 - a - b) for b in range(3) if b != a):
                turned = _moved(source, target, e, letters[c] - letters[b])
                own = own + 1j * LEVI_CIVITA[b, a, c] * n[:, 1 + b] * turned
            found = found + self._of_paulis[1 + a] * own
        return found

    def both_sides(self, strings: Strings, e: np.ndarray) -> np.ndarray:
        """The correlators of cρc† from those of ρ: (size,) real. cρc† = (c(cρ)†)†."""
        target = self.target(strings)
        return self.left(target, strings, self.left(strings, target, e).conj()).conj().real


def _moved(source: Strings, target: Strings, e: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """e(n + shift) at every string n of the target, 0 where there is none."""
    to = target.layout.counts + shift
    inside = np.all(to >= 0, axis=1) & (to.sum(axis=1) <= source.N)
    unknown = np.full(len(to), -1)
    unknown[inside] = source.layout.index[tuple(to[inside].T)]
    return np.where(unknown >= 0, e[unknown], 0)


def lowest(strings: Strings, letters: int) -> np.ndarray:
    """The unknowns of strings with at most this many letters."""
    return np.flatnonzero(strings.layout.counts.sum(axis=1) <= letters)


def functional(system: System, mean: Mean, strings: Strings) -> np.ndarray:
    """Tr A B_u of every unknown u: (size,) complex. A product of k operators sees strings of k letters at most."""
    found, e = np.zeros(strings.size, complex), np.zeros(strings.size)
    for u in lowest(strings, max(len(part.operators) for part in mean.elements[()])):
        e[u] = 1
        found[u] = averages(mean, partial(of_terms, system, strings, e))
        e[u] = 0
    return found


def check(system: System, options) -> None:
    """ValueError where B of a function is no sum over all sites with equal weights."""
    for item in options.functions:
        key = "lowering" if "lowering" in item else "B"
        entry = item[key]
        weights = entry.get("weights", "uniform")
        equal = weights == "uniform" or not isinstance(weights, str) and len(set(weights)) == 1
        if "sum" not in entry or not equal:
            raise ValueError(
                f"method.functions: {item['name']}: {key}: it must keep the symmetry of all sites, as a sum with equal "
                "weights, {sum: S-}; take the method liouvillian for others"
            )


class Regression(NamedTuple):
    """A function Tr A f(L) X of the Liouvillian, with X = Bρ, or cρc† and A = c†c.

    start : (sector.size,) complex, the correlators of X
    seen  : (sector.size,) complex, Tr A B_u of every unknown u
    means : ⟨A⟩ and ⟨B⟩; of the function of cρc† twice ⟨c†c⟩
    """

    name: str
    lowering: bool
    sector: Strings
    start: np.ndarray
    seen: np.ndarray
    means: tuple[complex, complex]


def regression(system: System, item: dict, home: Strings, e: np.ndarray, pairs: bool) -> Regression:
    """A function of a config in the steady state with the correlators e.

    pairs : of a lowering operator c the function of cρc† rather than that of cρ
    """
    lowering = "lowering" in item
    entry = item["lowering" if lowering else "B"]
    of_A = entry | {"sum": adjoint(entry["sum"])} if lowering else item["A"]
    A, B = two_times.means_of(system, {"name": item["name"], "A": of_A, "B": entry})
    c = Collective(B.elements[()][0].weights[0] * local_matrix(system, entry["sum"], 0))
    sector = c.target(home)
    start, seen = c.left(home, sector, e), functional(system, A, sector)
    if lowering and pairs:
        number, unit = np.zeros(home.size, complex), np.zeros(home.size)
        for u in lowest(home, 2):
            unit[u] = 1
            number[u] = seen @ c.left(home, sector, unit)
            unit[u] = 0
        quanta = seen @ start
        return Regression(item["name"], True, home, c.both_sides(home, e), number, (quanta, quanta))
    means = functional(system, A, home) @ e, functional(system, B, home) @ e
    return Regression(item["name"], lowering, sector, start, seen, means)


def correlations(system: System, options, comm, home: Strings, e: np.ndarray) -> dict:
    """The task correlation, from the steady state's correlators e. Collective."""
    found = {}
    for item in options.functions:
        each = regression(system, item, home, e, pairs=True)
        rows, values = slice(*solvers.row_range(comm, each.sector.size)), np.zeros(len(options.times), complex)
        for unit, part in (1, each.start.real), (1j, each.start.imag):
            if np.any(part):
                accuracy = options.tolerance, options.petsc_options, options.integrator
                intervals = np.diff(options.times, prepend=0)
                along = solvers.propagate(comm, each.sector, part[rows].copy(), intervals, *accuracy)
                values += unit * np.array([each.seen[rows] @ state for state in along])
        values = comm.allreduce(values)
        with np.errstate(invalid="ignore", divide="ignore"):  # NaN where no quantum ever leaves
            found[each.name] = (values / each.means[0] ** 2).real if each.lowering else values
    return found


def spectra(system: System, options, comm, home: Strings, e: np.ndarray) -> dict:
    """The task emission, likewise."""
    found, worst, omega = {}, 0.0, np.array(options.frequencies)
    for item in options.functions:
        each = regression(system, item, home, e, pairs=False)
        sector, values = Balanced(home.N, each.sector.parity, home.moves), np.zeros(len(omega), complex)
        scale, steady, start = np.exp(sector.log_norms() / 4), None, each.start
        if sector.parity == home.parity:
            own = _moved(home, sector, e, np.zeros(3, int))
            steady, start = scale * own, start - each.means[1] * own
        resolvent = Resolvent(comm, sector, omega, options.tolerance, steady)
        for unit, part in (1, scale * start.real), (1j, scale * start.imag):
            if np.any(part):
                along, rest = resolvent.spectra(part, (each.seen / scale)[None])
                values, worst = values + unit * along[0], max(worst, rest)
        a, b = each.means
        found |= {each.name: 2 * values.real, f"{each.name}_coherent": abs(b) ** 2 if each.lowering else a * b}
    return found | {"residual": worst}
