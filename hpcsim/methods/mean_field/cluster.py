"""Clusters of sites treated exactly in the mean field of their surroundings (huber2020, Appendix B).

The lattice is cut into clusters of n consecutive sites, which are all alike. One density matrix ρ stands for
each of them; couplings between clusters act as fields of the averages in ρ itself,

    dρ/dt = L ρ - i [ Σ_{i a} b_ia S_ia, ρ ],   b = outer s,  s_ia = Tr(S_ia ρ).
"""
from dataclasses import dataclass, replace

import numpy as np
from scipy.integrate import RK45
from scipy.special import comb

from hpcsim import matrices
from hpcsim.methods.mean_field.equations import couplings, local_parts
from hpcsim.system import System

LARGEST = 1500      # dimension of a cluster


@dataclass(frozen=True)
class Cluster:
    """system : the first n sites alone; outer : (3n, 3n) field by the averages, positions 3 site + axis."""

    system: System
    outer: np.ndarray


def cut(system: System, n: int) -> Cluster:
    """The cluster of n sites. Raises ValueError where clusters are not alike, or too large."""
    if n > system.sites or system.sites % n:
        raise ValueError(f"cluster = {n}: the {system.sites} sites do not make clusters of {n}")
    first = replace(system, spins=system.spins[:n], cutoffs=system.cutoffs[:n], symmetries=(),
                    sublattice=system.sublattice[:n], hamiltonian=_inside(system.hamiltonian, n),
                    jumps=tuple(_jumps_inside(system.jumps, n)))
    if first.dimension > LARGEST:
        raise ValueError(f"cluster = {n}: its Hilbert space has {first.dimension:.4g} dimensions; "
                         f"{LARGEST} at most")
    count = system.sites // n
    inner, outer = (np.zeros((count, 3 * n, 3 * n)) for _ in range(2))
    for i, a, j, b, c in couplings(system):
        (inner if i // n == j // n else outer)[i // n, 3 * (i % n) + a, 3 * (j % n) + b] += c
    alike = [inner, outer, system.spins, system.sublattice, *local_parts(system)]
    for part in alike:
        part = part.reshape(count, -1)
        if not np.allclose(part, part[0], rtol=1e-12, atol=0):
            raise ValueError(f"cluster = {n}: the clusters of {n} consecutive sites differ in their couplings "
                             f"or rates (an open chain, or the unit cell is larger)")
    return Cluster(first, outer[0])


def _inside(hamiltonian, n):
    kept = ((terms, np.all(terms.sites < n, axis=1)) for terms in hamiltonian)
    return tuple(replace(terms, sites=terms.sites[inside], coefficients=terms.coefficients[inside])
                 for terms, inside in kept)


def _jumps_inside(jumps, n):
    for family in jumps:
        inside = family.sites < n
        if inside.any():
            rates = family.rates if family.collective else family.rates[inside]
            yield replace(family, sites=family.sites[inside], rates=rates)


class Dynamics:
    """dρ/dt of a cluster."""

    def __init__(self, cluster: Cluster):
        system, self.outer = cluster.system, cluster.outer
        self.system, self.dimension = system, round(system.dimension)
        H, jumps = matrices.hamiltonian(system), matrices.jump_operators(system)
        self.generator = (-1j * matrices.effective_hamiltonian(H, jumps)).tocsr()
        self.jumps = [np.sqrt(rate) * jump for rate, jump in jumps]
        self.spins = [matrices.site_operator(system, f"S{a}", site).tocoo()
                      for site in range(system.sites) for a in "xyz"]
        self.fed = [k for k in range(3 * system.sites) if np.any(self.outer[k])]

    def averages(self, rho) -> np.ndarray:
        """(3n,) Tr(S_ia ρ)."""
        return np.array([(S.data @ rho[S.col, S.row]).real for S in self.spins])

    def squares(self, rho) -> np.ndarray:
        """(3n,) Tr(S_ia² ρ)."""
        return np.array([np.sum((S.tocsr() @ rho)[S.col, S.row] * S.data).real for S in self.spins])

    def __call__(self, time, flat):
        rho = flat.reshape(self.dimension, self.dimension)
        generator = self.generator
        if self.fed:
            b = self.outer @ self.averages(rho)
            generator = generator - 1j * sum(b[k] * self.spins[k] for k in self.fed)
        half = generator @ rho
        change = half + half.conj().T
        for jump in self.jumps:
            # ρ is Hermitian: L (L ρ)† = L ρ L†
            change += jump @ (jump @ rho).conj().T
        return change.ravel()

    def product(self, directions) -> np.ndarray:
        """ρ of spin coherent states along the directions (n, 3)."""
        psi = np.ones(1)
        for S, n in zip(self.system.spins, directions / np.linalg.norm(directions, axis=1, keepdims=True)):
            k, size = np.arange(round(2 * S) + 1), round(2 * S)
            polar, azimuth = np.arctan2(np.hypot(n[0], n[1]), n[2]), np.arctan2(n[1], n[0])
            amplitude = np.sqrt(comb(size, k)) * np.cos(polar / 2)**(size - k) * np.sin(polar / 2)**k
            psi = np.kron(psi, amplitude * np.exp(1j * k * azimuth))
        return np.outer(psi, psi.conj())

    def advance(self, rho, duration, settled, tolerance):
        """ρ after `duration`, or once max |ds/dt| <= settled and max |dρ/dt| <= settled.

        Returns ρ, max |dρ/dt|, and averages, lowest and highest values of s on the way.
        """
        solver = RK45(self, 0.0, rho.ravel().astype(complex), duration, rtol=tolerance, atol=tolerance * 1e-2)
        s = self.averages(rho)
        mean, low, high = np.zeros(len(s)), s.copy(), s.copy()
        while solver.status == "running" and np.abs(solver.f).max() > settled:
            solver.step()
            s = self.averages(solver.y.reshape(rho.shape))
            mean, low, high = mean + solver.step_size * s, np.minimum(low, s), np.maximum(high, s)
        mean = mean / solver.t if solver.t > 0 else s
        rho = solver.y.reshape(rho.shape)
        return (rho + rho.conj().T) / 2, np.abs(solver.f).max(), mean, low, high
