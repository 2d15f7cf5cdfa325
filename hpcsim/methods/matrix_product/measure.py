"""Expectation values in an infinite matrix-product density operator.

Tr ρ = ... T_0 T_1 ... of the transfer matrices T_i = Σ_p Tr(basis operator p) B_i[p]; the dominant eigenvectors of
that of a cell stand for the two half-infinite chains beside a few sites.
"""

import functools

import numpy as np
from scipy import linalg

from hpcsim import observables
from hpcsim.methods.matrix_product.chain import Chain
from hpcsim.observables import Output, Plan, Setting
from hpcsim.observables.matrices import one_site_product
from hpcsim.observables.terms import averages
from hpcsim.system import System

Items = observables.items()


class Reduced:
    """Density matrices of a few sites, and correlations.

    growth   : Tr of one more cell, for a vector ρ of norm 1
    spectrum : {|charge|: |eigenvalues| of the transfer matrix of a cell over the largest, falling}
    """

    def __init__(self, chain: Chain, psi):
        self.chain = chain
        self.tensors = [psi.get_B(i).transpose(["vL", "p", "vR"]).to_ndarray() for i in range(psi.L)]
        self.levels = [round(np.sqrt(len(charges))) for charges in chain.charges]
        self.traces = [self.weighted(i, np.eye(levels)) for i, levels in enumerate(self.levels)]
        cell = functools.reduce(np.matmul, self.traces)
        charges = psi.get_B(0).get_leg("vL").to_qflat()
        charge = abs(charges[:, 0]) if chain.modulus else np.zeros(len(cell), int)
        self.growth, start, end = _dominant(cell, np.flatnonzero(charge == 0))
        self.spectrum = {
            int(q): np.sort(abs(np.linalg.eigvals(cell[np.ix_(charge == q, charge == q)])))[::-1] / self.growth
            for q in np.unique(charge)
        }
        self.tensors[0], self.traces[0] = self.tensors[0] / self.growth, self.traces[0] / self.growth
        # left[i] and right[i] contract everything left and right of bond i, the one before site i
        self.left, self.right = [start], [end]
        for trace in self.traces:
            self.left.append(self.left[-1] @ trace)
        for trace in self.traces[::-1]:
            self.right.insert(0, trace @ self.right[0])

    def weighted(self, i: int, operator) -> np.ndarray:
        """Σ_p Tr(operator · basis operator p) B_i[p]: (chi, chi')."""
        return np.einsum("apb,p->ab", self.tensors[i], operator.T.ravel() @ self.chain.bases[i])

    def pair(self, i: int) -> np.ndarray:
        """ρ of the sites i and i + 1: (levels · levels', levels · levels')."""
        j = (i + 1) % len(self.tensors)
        left = np.tensordot(self.left[i], self.tensors[i], 1)
        right = np.tensordot(self.tensors[j], self.right[j + 1], 1)
        found = self.chain.bases[i] @ left @ right @ self.chain.bases[j].T
        a, b = self.levels[i], self.levels[j]
        return found.reshape(a, a, b, b).transpose(0, 2, 1, 3).reshape(a * b, a * b)

    def average(self, factors: dict[int, np.ndarray]) -> complex:
        """⟨Π O⟩ of {place in the infinite chain: matrix}."""
        cell, first, last = len(self.tensors), min(factors), max(factors)
        vector = self.left[first % cell]
        for place in range(first, last + 1):
            at = place % cell
            vector = vector @ (self.weighted(at, factors[place]) if place in factors else self.traces[at])
        return vector @ self.right[last % cell + 1]

    def correlation_length(self, charge: int) -> float:
        """In periods: -1/ln of the largest eigenvalue that decays, for operators of a charge where it is conserved."""
        values = self.spectrum.get(charge, ()) if charge and self.chain.modulus else self.spectrum[0][1:]
        periods = len(self.tensors) / self.chain.period
        return -periods / np.log(min(values[0], 1 - 1e-15)) if len(values) and values[0] > 0 else 0.0


def _dominant(matrix, sector) -> tuple[float, np.ndarray, np.ndarray]:
    """The eigenvalue of largest modulus in a sector, and its left and right eigenvectors l, r, with l·r = 1."""
    values, left, right = linalg.eig(matrix[np.ix_(sector, sector)], left=True)
    first = int(abs(values).argmax())
    found = np.zeros((2, len(matrix)), complex)
    found[:, sector] = left[:, first].conj(), right[:, first]
    return values[first].real, found[0] / (found[0] @ found[1]), found[1]


def plan(system: System, items, distances: int) -> Plan:
    """Spins, their variances, correlations, and what is asked for. Raises ValueError where it is of a finite chain."""
    if "squeezing" in items:
        raise ValueError(
            "method.observables: squeezing is that of the total spin, and the chain is infinite; delete it"
        )
    setting = Setting(distances=distances)
    found = observables.plan(system, (*observables.DEFAULT, "correlation", *items), setting=setting)
    if whole := [name for name, mean in found.means.items() if mean.build is None]:
        raise ValueError(
            f"method.observables: {whole[0]} of all sites is not known of an infinite chain, whose renyi2 is always "
            "given; ask for it of some sites, as {name: of_some, " + whole[0] + ": [0, 1]}"
        )
    return found


def own_outputs() -> tuple[Output, ...]:
    """Results of the tensors alone. The asymptotic correlation lengths are those of the transfer matrix."""
    length = "asymptotic correlation length, from the transfer matrix, of"
    return (
        Output("asymptotic_length", (), "cells", f"{length} ⟨S⁺_n S⁻_{{n+s}}⟩"),
        Output("asymptotic_length_zz", (), "cells", f"{length} ⟨S_z S_z'⟩ - ⟨S_z⟩²"),
        Output("renyi2", (), "1", "-ln(Tr ρ²)/N, Rényi-2 entropy per spin in nats, of a long piece of the chain"),
        Output("operator_entropy", (), "nats", "-Σ p ln p of the squared operator Schmidt values, largest of bonds"),
    )


def measure(system: System, found: Plan, chain: Chain, psi) -> dict[str, np.ndarray]:
    """The outputs of the plan, and `own_outputs`."""
    reduced, known = Reduced(chain, psi), {}

    def of_terms(operators, sites):
        return np.array([average(operators, term) for term in sites.tolist()], complex)

    def average(operators, term):
        """Terms that are whole cells apart are equal."""
        start = min(term, default=0) // len(chain.spins) * len(chain.spins)
        factors = tuple((name, site - start) for name, site in zip(operators, term))
        if factors not in known:
            known[factors] = reduced.average(_places(system, factors)) if factors else 1.0
        return known[factors]

    values = {name: averages(mean, of_terms) for name, mean in found.means.items()}
    return found.finish(values) | {
        "asymptotic_length": reduced.correlation_length(1),
        "asymptotic_length_zz": reduced.correlation_length(0),
        "renyi2": 2 * np.log(reduced.growth) / len(chain.spins),
        "operator_entropy": max(psi.entanglement_entropy()),
    }


def _places(system: System, factors) -> dict[int, np.ndarray]:
    """{place: matrix} of a product of operators on sites of the infinite chain."""
    names = {}
    for name, place in factors:
        names.setdefault(place, []).append(name)
    return {place: one_site_product(system, own, place % system.sites) for place, own in names.items()}
