"""What the Gaussian steady state says: moments of the spins, entanglement, and correlations along the lattice."""

import numpy as np
from scipy.linalg import solve_continuous_lyapunov
from scipy.special import xlogy

from hpcsim import observables
from hpcsim.methods.gaussian.lattice import Lattice
from hpcsim.observables import Plan
from hpcsim.observables.terms import averages
from hpcsim.system import System, lines_along
from hpcsim.system.operators import VECTORS

Items = observables.items()


def covariance(drift, diffusion) -> np.ndarray:
    """V_k of A_k V_k + V_k A_k† + D_k = 0 for every wave vector: (..., 2 orbits, 2 orbits), Hermitian."""
    V = np.empty_like(drift)
    for k in np.ndindex(*drift.shape[:-2]):
        V[k] = solve_continuous_lyapunov(drift[k], -diffusion[k])
    return (V + np.swapaxes(V, -1, -2).conj()) / 2


def plan(system: System, lattice: Lattice, items) -> Plan:
    """Spins, variances, purity, correlations along a lattice, and what is asked for.

    Raises ValueError where a product of more than two spin components is needed.
    """
    for name, mean in observables.plan(system, items).means.items():
        for operators, count in {(p.operators, p.sites.shape[1]) for p in _all(mean)} if mean.build else ():
            if count > 2 or not all(operator in VECTORS for operator in operators):
                raise ValueError(
                    f"method.observables: {name}: it needs the average of {' '.join(operators)}, and gaussian knows "
                    "products of at most two spin components"
                )
    grid = lines_along(system)
    # the lattice leaves out translations that do not keep the sublattices
    keeps = grid is not None and np.all(system.sublattice[grid] == system.sublattice[grid[0]])
    along = ("correlation",) if lattice.orders and keeps else ()
    return observables.plan(system, (*observables.DEFAULT, "purity", *along, *items))


def _all(mean):
    return (products for element in mean.elements.flat if element is not None for products in element)


class Gaussian:
    """Averages of products of one or two spin components, to the order of the fluctuations.

    mean      : (sites, 3) n_i (S_i - ⟨c†c⟩)
    own       : (sites, 3, 3) covariances of the components of a site, ½⟨{S_a, S_b}⟩ - ⟨S_a⟩⟨S_b⟩
    """

    def __init__(self, system: System, lattice: Lattice, frames, V):
        self.lattice, self.n, self.apart = lattice, frames[:, 0], lattice.back(V)
        self.across = np.sqrt(system.spins / 2)[:, None, None] * frames[:, 1:]
        orbits = np.arange(len(lattice.home))
        self.block = self.apart[(0,) * len(lattice.orders)][orbits, :, orbits, :]  # (orbit, 2, 2)
        self.occupation = (np.trace(self.block, axis1=1, axis2=2) - 2) / 4
        pairs = (self.block[:, 0, 0] - self.block[:, 1, 1] + 2j * self.block[:, 0, 1]) / 4
        variance = self.occupation**2 + self.occupation + abs(pairs) ** 2  # of c†c, by Wick's theorem
        at = lattice.orbit
        self.mean = self.n * (system.spins - self.occupation[at])[:, None]
        self.own = np.einsum("ica,icd,idb->iab", self.across, self.block[at], self.across)
        self.own += self.n[:, :, None] * self.n[:, None] * variance[at, None, None]

    def between(self, i, j) -> np.ndarray:
        """(pairs, 2, 2) ⟨ξ_i ξ_j⟩ of different sites."""
        steps = (self.lattice.position[j] - self.lattice.position[i]) % np.array(self.lattice.orders, int)
        return self.apart[(*steps.T, self.lattice.orbit[i], slice(None), self.lattice.orbit[j])]

    def __call__(self, operators, sites) -> np.ndarray:
        """(terms,) ⟨O_1 O_2⟩ of the operators named."""
        c = np.array([VECTORS[name] for name in operators], complex).reshape(-1, 3)
        if len(c) == 0:
            return np.ones(len(sites))
        if len(c) == 1:
            return self.mean[sites[:, 0]] @ c[0]
        i, j = sites.T
        found = (self.mean[i] @ c[0]) * (self.mean[j] @ c[1])
        same = i == j
        # S_a S_b = ½{S_a, S_b} + ½ i ε_abc S_c
        turned = self.mean[i] @ np.cross(c[0], c[1]) * 0.5j
        found[same] += (np.einsum("a,iab,b->i", c[0], self.own[i], c[1]) + turned)[same]
        i, j = i[~same], j[~same]
        V = self.between(i, j)
        found[~same] += np.einsum("a,ica,icd,idb,b->i", c[0], self.across[i], V, self.across[j], c[1])
        hop = (V[:, 0, 0] + V[:, 1, 1] + 1j * (V[:, 0, 1] - V[:, 1, 0])) / 4  # ⟨c†_i c_j⟩
        pair = (V[:, 0, 0] - V[:, 1, 1] + 1j * (V[:, 0, 1] + V[:, 1, 0])) / 4  # ⟨c_i c_j⟩
        found[~same] += (self.n[i] @ c[0]) * (self.n[j] @ c[1]) * (abs(hop) ** 2 + abs(pair) ** 2)
        return found


def moments(system: System, lattice: Lattice, frames, V, found: Plan) -> dict:
    """Everything that the covariance says; frames (sites, 3, 3), V as `covariance` returns it."""
    state = Gaussian(system, lattice, frames, V)
    mean = averaging(system, lattice)
    values, results = _along_the_chain(system, lattice, state, V, mean) if lattice.orders else ({}, {})
    values = {name: value for name, value in values.items() if name in found.means}
    for name, wanted in found.means.items():
        if wanted.build and name not in values:
            values[name] = averages(wanted, state)
    values |= {"purity": np.exp(-np.linalg.slogdet(V)[1].sum() / 2), "entropy": _entropy(V) / system.sites}
    results |= found.finish(values) | {
        "occupation": mean @ state.occupation,
        "quadrature_squeezing": mean @ np.linalg.eigvalsh(state.block)[:, 0],
    }
    if system.sites > 1:
        others = np.arange(1, system.sites)
        with_first = state.between(np.zeros_like(others), others)
        eta = _smallest_symplectic(state.block[lattice.orbit[0]], state.block[lattice.orbit[others]], with_first)
        results |= {"negativity": np.maximum(0, (1 / eta - 1) / 2), "log_negativity": np.maximum(0, -np.log(eta))}
    return results


def _entropy(V) -> float:
    """Σ over modes of h((ν+1)/2) - h((ν-1)/2), h(x) = x ln x; ±ν are the eigenvalues of iΩV of all wave vectors."""
    omega = np.kron(np.eye(V.shape[-1] // 2), [[0, 1], [-1, 0]])
    nu = np.maximum(np.abs(np.linalg.eigvals(1j * omega @ V).real), 1.0)
    return float(np.sum(xlogy((nu + 1) / 2, (nu + 1) / 2) - xlogy((nu - 1) / 2, (nu - 1) / 2)) / 2)


def averaging(system: System, lattice: Lattice) -> np.ndarray:
    """(sublattices, orbits): averages over the orbits of each sublattice, of as many sites each."""
    member = system.sublattice[lattice.home] == np.arange(len(system.sublattices))[:, None]
    return member / member.sum(axis=1, keepdims=True)


def _smallest_symplectic(first, second, between) -> np.ndarray:
    """η of the partial transpose of two modes of covariance [[first, between], [betweenᵀ, second]]
    (huber2020, after Eq. A25); (2, 2), (pairs, 2, 2) twice."""
    first = np.broadcast_to(first, second.shape)
    V = np.block([[first, between], [np.swapaxes(between, -1, -2), second]])
    det = np.linalg.det
    sigma = det(first) + det(second) - 2 * det(between)
    return np.sqrt((sigma - np.sqrt(np.maximum(sigma**2 - 4 * det(V), 0))) / 2)


def _along_the_chain(system: System, lattice: Lattice, state: Gaussian, V, mean) -> tuple[dict, dict]:
    """Means of the observable `correlation`, [sublattice, distance], from the pairs that start in the home cell; and
    the squeezing of waves [sublattice, wavenumber]. Both along the first translation."""
    home, orbits, half = lattice.home, np.arange(len(lattice.home)), lattice.orders[0] // 2 + 1
    first = (0,) * (len(lattice.orders) - 1)
    pairs = np.stack(np.broadcast_arrays(home, lattice.site[(slice(half), *first)]), axis=-1)  # distance, orbit, 2
    values = {
        f"correlation_{a}{a}": mean @ state((f"S{a}", f"S{a}"), pairs.reshape(-1, 2)).real.reshape(half, -1).T
        for a in "xyz"
    }
    # to leading order in 1/S alone, as the closed forms have it
    classical, across = system.spins[home, None] * state.n[home], state.across[home]
    there = state.apart[(slice(half), *first)][:, orbits, :, orbits, :]  # (orbit, distance, 2, 2)
    ladder = np.einsum("ica,iscd,ida->isa", across, there, across)[..., :2].sum(axis=-1)
    ladder += (classical[:, :2] ** 2).sum(axis=1, keepdims=True)
    ladder[:, 0] += classical[:, 2]
    values["correlation"] = mean @ ladder
    # of Σ_n cos(kn) c_n over the sites of a sublattice
    waves = V[(slice(half), *first)].real.reshape(half, len(orbits), 2, len(orbits), 2)
    member = (mean > 0).astype(float)
    squeezed = np.einsum("ui,kicjd,uj->ukcd", member, waves, member) / member.sum(axis=1)[:, None, None, None]
    return values, {"squeezing_of_waves": np.linalg.eigvalsh(squeezed)[..., 0]}
