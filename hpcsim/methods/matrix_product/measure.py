"""Expectation values in an infinite matrix-product density operator.

Tr ρ = ... T_0 T_1 ... of the transfer matrices T_i = Σ_p Tr(basis operator p) B_i[p]; the dominant eigenvectors of
that of a cell stand for the two half-infinite chains beside a few sites.
"""

import functools

import numpy as np
from scipy import linalg

from hpcsim.methods import Dim, Output
from hpcsim.methods.matrix_product.chain import Chain
from hpcsim.system import System
from hpcsim.system.operators import local_operator


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
        # left[i] and right[i] are all that is left and right of bond i, the one before site i
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

    def correlations(self, i: int, first, second, distances: int) -> np.ndarray:
        """⟨first(i) second(i + s period)⟩ for s = 0 ... distances: (distances + 1,) complex."""
        cell, period = len(self.tensors), self.chain.period
        found = [self.left[i] @ self.weighted(i, first @ second) @ self.right[i + 1]]
        vector = self.left[i] @ self.weighted(i, first)
        for place in range(i + 1, i + 1 + distances * period):
            at = place % cell
            if (place - i) % period == 0:
                found.append(vector @ self.weighted(at, second) @ self.right[at + 1])
            vector = vector @ self.traces[at]
        return np.array(found)

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


def outputs(system: System, distances: int) -> tuple[Output, ...]:
    """What `measure` finds, in units of ħ. Each X comes with X_error."""
    lattice = Dim("sublattice", tuple(system.sublattices))
    apart = (lattice, Dim("distance", tuple(range(distances + 1)), "cells"))
    found = [
        *(Output(f"S{a}", (lattice,), "ħ", f"⟨S{a}⟩ of a site") for a in "xyz"),
        *(Output(f"var_S{a}", (lattice,), "ħ²", f"variance of S{a} of a site") for a in "xyz"),
        Output("S_perp", (lattice,), "ħ", "sqrt(⟨Sx⟩² + ⟨Sy⟩²) of a site"),
        Output("Mz", (), "1", "mean of ⟨Sz⟩/S over all spins"),
        Output("correlation", apart, "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩"),
        *(Output(f"correlation_{a}{a}", apart, "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance") for a in "xyz"),
        Output("correlation_length", (), "cells", "correlation length ξ of ⟨S⁺_n S⁻_{n+s}⟩"),
        Output("correlation_length_zz", (), "cells", "correlation length ξ of ⟨S_z S_z'⟩ - ⟨S_z⟩²"),
        Output("renyi_entropy", (), "nats/spin", "-ln(Tr ρ²) of a long piece of the chain, over its sites"),
        Output("operator_entropy", (), "nats", "-Σ p ln p of the squared operator Schmidt values, largest of bonds"),
    ]
    return tuple(found)


def measure(system: System, chain: Chain, psi, distances: int) -> dict[str, np.ndarray]:
    """All of `outputs`."""
    reduced, sites = Reduced(chain, psi), range(len(chain.spins))
    operators = [{a: local_operator(f"S{a}", round(2 * spin) + 1).toarray() for a in "xyz+-"} for spin in chain.spins]
    mean = {
        a: np.array([reduced.correlations(i, operators[i][a], np.eye(reduced.levels[i]), 0)[0].real for i in sites])
        for a in "xyz"
    }
    pairs = {
        a + b: np.array([reduced.correlations(i, operators[i][a], operators[i][b], distances).real for i in sites])
        for a, b in ("+-", "xx", "yy", "zz")
    }
    found = {f"S{a}": mean[a] for a in "xyz"} | {f"var_S{a}": pairs[a + a][:, 0] - mean[a] ** 2 for a in "xyz"}
    found |= {"S_perp": np.hypot(mean["x"], mean["y"]), "correlation": pairs["+-"]}
    found |= {f"correlation_{a}{a}": pairs[a + a] for a in "xyz"}
    members = [chain.sublattice == k for k in range(len(system.sublattices))]
    found = {name: np.array([values[where].mean(axis=0) for where in members]) for name, values in found.items()}
    return found | {
        "Mz": np.mean(mean["z"] / chain.spins),
        "correlation_length": reduced.correlation_length(1),
        "correlation_length_zz": reduced.correlation_length(0),
        "renyi_entropy": 2 * np.log(reduced.growth) / len(chain.spins),
        "operator_entropy": max(psi.entanglement_entropy()),
    }
