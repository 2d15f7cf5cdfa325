"""What is measured on a mean-field state: a product of the states of sites, or of equal clusters of sites.

Averages of products factorise between sites, or between clusters. Without clusters the state consists of the averages
⟨S⟩ of all sites. They determine every average of a spin 1/2, and of a larger spin those linear in Sx, Sy, Sz.
"""

import numpy as np

from hpcsim import observables
from hpcsim.observables import Dim, Plan, Setting
from hpcsim.observables.matrices import local_matrix, one_site_product, product_matrix
from hpcsim.observables.terms import averages, patterns
from hpcsim.system import System

Items = observables.items()
EACH = Setting(each_site=True)  # a steady state may be a wave that breaks the translations


def plan(system: System, items, time: tuple[Dim, ...], cluster: int | None) -> Plan:
    """What to measure. Raises ValueError, with the observable and the reason, where the state does not determine it."""
    for name, mean in observables.plan(system, items, time, setting=EACH).means.items():
        if mean.build is None:
            raise ValueError(
                f"method.observables: {name}: of all sites mean_field does not know it: its state is factorised; ask "
                "for it of some sites, as {name: of_some, " + name + ": [0, 1]}"
            )
        if not cluster and np.isnan(averages(mean, Spins(system, np.zeros((system.sites, 3))))).any():
            raise ValueError(
                f"method.observables: {name}: mean_field without clusters knows of a spin larger than 1/2 the averages "
                "of Sx, Sy and Sz alone, not of their products on one site; take cluster: 1, which is exact there"
            )
    default = observables.DEFAULT if cluster or np.all(system.spins == 0.5) else ("spins",)
    return observables.plan(system, (*default, *items), time, setting=EACH)


class Spins:
    """Averages of products, from those of the spins, s (sites, 3); NaN where these do not say them.

    over_time : s are averages over time: those of products on several sites are not products of them, and NaN
    """

    def __init__(self, system: System, s: np.ndarray, over_time: bool = False):
        self.system, self.s, self.over_time = system, s, over_time

    def __call__(self, operators, sites: np.ndarray) -> np.ndarray:
        found = np.ones(len(sites), complex)
        for rows, groups in patterns(sites):
            for group in groups:
                here = sites[rows, group[0]]
                c = self._linear([operators[position] for position in group], here)
                found[rows] *= c[:, 0] + np.sum(c[:, 1:] * self.s[here], axis=1)
            if self.over_time and len(groups) > 1:
                found[rows] = np.nan
        return found

    def _linear(self, names, sites) -> np.ndarray:
        """(sites, 4) c of the product c_0 + c_x Sx + c_y Sy + c_z Sz of operators; NaN where it is no such sum."""
        kinds, which = np.unique(self.system.spins[sites], return_index=True, return_inverse=True)[1:]
        found = np.full((len(kinds), 4), np.nan, complex)
        for k, site in enumerate(sites[kinds]):
            basis = [np.eye(self.system.levels[site])]
            basis = np.array(basis + [local_matrix(self.system, f"S{a}", site) for a in "xyz"]).reshape(4, -1)
            matrix = one_site_product(self.system, names, site).ravel()
            c = basis.conj() @ matrix / np.sum(np.abs(basis) ** 2, axis=1)
            if np.abs(matrix - c @ basis).max() < 1e-10 * max(np.abs(matrix).max(), 1):
                found[k] = c
        return found[which.ravel()]


class Clusters:
    """Averages of products, from the density matrix ρ (D, D) of each of equal clusters of n consecutive sites."""

    def __init__(self, first: System, rho: np.ndarray):
        self.first, self.rho, self.known = first, rho, {}

    def __call__(self, operators, sites: np.ndarray) -> np.ndarray:
        found, n = np.ones(len(sites), complex), self.first.sites
        for term, own in enumerate(sites.tolist()):
            clusters = {}
            for name, site in zip(operators, own):
                clusters.setdefault(site // n, []).append((name, site % n))
            for inside in clusters.values():
                found[term] *= self._trace(tuple(inside))
        return found

    def _trace(self, inside) -> complex:
        if inside not in self.known:
            matrix = product_matrix(self.first, inside).tocoo()
            self.known[inside] = np.sum(matrix.data * self.rho[matrix.col, matrix.row])
        return self.known[inside]
