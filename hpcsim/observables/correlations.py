"""Correlations of two spins along the first translation, their correlation length and their Fourier sums."""

import math
from functools import partial

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.sites import only_spins, places
from hpcsim.observables.terms import Function, Mean, Products, Setting, array_of, derived
from hpcsim.system import System


class Line:
    """Pairs of sites at a distance along the first translation: around a ring, or on an infinite chain.

    distance : its Dim: 0 ... half way around, or as far as the setting says
    ring     : whether the line comes back
    """

    def __init__(self, system: System, setting: Setting, name: str):
        only_spins(system, name)
        self.system, self.ring, grid = system, setting.distances is None, places(system, name)
        last = len(grid) // 2 if self.ring else setting.distances
        self.grid, self.distance = grid, Dim("distance", tuple(range(last + 1)), "cells")

    def pairs(self, k: int | None, s: int) -> np.ndarray:
        """(pairs, 2) every start on sublattice k (on all for None), and the site s steps away."""
        there = np.roll(self.grid, -s, axis=0) if self.ring else self.grid + s * (self.grid[1] - self.grid[0])
        starts = np.full(self.grid.shape, True) if k is None else self.system.sublattice[self.grid] == k
        return np.column_stack([self.grid[starts], there[starts]])

    def mean(self, operators, k: int | None, s: int) -> Products | None:
        """The average over all pairs of a product of two operators."""
        pairs = self.pairs(k, s)
        return Products(operators, pairs, np.full(len(pairs), 1 / len(pairs))) if len(pairs) else None

    def ladder(self, k: int, s: int) -> tuple[Products, ...] | None:
        """Re S⁺S⁻ = SxSx + SySy of two sites, and + Sz on one."""
        pairs = [self.mean((f"S{a}", f"S{a}"), k, s) for a in "xy"]
        if pairs[0] is None:
            return None
        if s == 0:
            pairs.append(Products(("Sz",), pairs[0].sites[:, :1], pairs[0].weights))
        return tuple(pairs)


def correlation(system: System, setting: Setting) -> list:
    """[sublattice, distance] ⟨S_a S_a'⟩ and Re⟨S⁺_n S⁻_{n+s}⟩ of two sites s steps apart along the first translation.

    The mean over all starts n on a sublattice; at s = 0 both are one site. correlation_length [sublattice] is that of
    Re⟨S⁺_n S⁻_{n+s}⟩ on a ring, see `decay_length`; correlation_distance [sublattice] is where it has fallen to 1/e.
    """
    line, lattice = Line(system, setting, "correlation"), Dim("sublattice", system.sublattices)
    apart = line.distance
    shape = len(system.sublattices), len(apart.values)
    found = [
        Mean(
            Output("correlation", (lattice, apart), "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩"),
            array_of(shape, line.ladder),
        ),
        *(
            Mean(
                Output(f"correlation_{a}{a}", (lattice, apart), "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance"),
                array_of(shape, partial(line.mean, (f"S{a}", f"S{a}"))),
            )
            for a in "xyz"
        ),
    ]
    if not line.ring:
        return found
    lengths = {
        "length": "correlation length ξ of ⟨S⁺_n S⁻_{n+s}⟩",
        "distance": "distance at which ⟨S⁺_n S⁻_{n+s}⟩ is 1/e of its value at s = 0, or the largest there is",
    }
    return found + [
        derived(f"correlation_{name}", f"correlation_{name}", ("correlation",), (lattice,), "cells", text)
        for name, text in lengths.items()
    ]


def structure_factor(system: System, setting: Setting) -> list:
    """[sublattice, wavenumber] S_aa(k) = (1/N) Σ_nm cos(k(n - m)) ⟨S_a,n S_a,m⟩ over the N sites of a sublattice.

    n and m count steps along the first translation, k = 2π j/order in units of π per step.
    """
    only_spins(system, "structure_factor")
    if setting.distances is not None:
        raise ValueError(
            "method.observables: structure_factor is of a ring, and this chain is infinite; take correlation"
        )
    grid = places(system, "structure_factor")
    length = len(grid)
    waves = Dim("wavenumber", tuple(2 * k / length for k in range(length // 2 + 1)), "π/cell")
    dims = (Dim("sublattice", system.sublattices), waves)

    def wave(a, k, j):
        step, line = np.nonzero(system.sublattice[grid] == k)
        if not len(step):
            return None
        sites = grid[step, line]
        first, second = (x.ravel() for x in np.meshgrid(np.arange(len(sites)), np.arange(len(sites)), indexing="ij"))
        weights = np.cos(2 * np.pi * j * (step[first] - step[second]) / length) / len(sites)
        return Products((f"S{a}", f"S{a}"), np.column_stack([sites[first], sites[second]]), weights)

    return [
        Mean(
            Output(f"structure_factor_{a}{a}", dims, "ħ²", f"structure factor of S_{a}"),
            array_of((len(system.sublattices), len(waves.values)), partial(wave, a)),
        )
        for a in "xyz"
    ]


# ------------------------------------------------------------------ finishing


def decay_length(curves: np.ndarray, errors=None) -> np.ndarray:
    """ξ (sublattice, *time) of C (sublattice, distance, *time), see `fit_decay`; equal weights where C is exact."""
    curves = np.moveaxis(curves, 1, -1)
    error = np.full_like(curves, np.nan) if errors is None else np.moveaxis(errors[0], 1, -1)
    flat = zip(curves.reshape(-1, curves.shape[-1]), error.reshape(-1, curves.shape[-1]))
    return np.array([fit_decay(*pair) for pair in flat]).reshape(curves.shape[:-1])


def fit_decay(c: np.ndarray, error: np.ndarray) -> float:
    """ξ of C(s) = A (μ^s + μ^(L-s)), μ = exp(-1/ξ), L = 2 (len(C) - 1), by weighted least squares from s = 1.

    Even and odd distances have each their own A: correlations may alternate, or vanish at every second.
    error : (distances,) the weights are 1/error²; equal where it is NaN, for values that are exact.
    NaN where no decay is seen at three standard errors. Distances at the end where C is NaN are not there.
    """
    count = int(np.isfinite(c).sum())
    if count < 2:
        return np.nan
    c, error = c[1:count], error[1:count]
    if not np.all(np.isfinite(error)):
        error = np.full(len(c), 1e-8 * np.abs(c).max())
    s, length, weight = np.arange(1, count), 2 * (count - 1), 1 / np.maximum(error, 1e-150) ** 2

    def explained(log_xi):
        """Reduction of χ² by the best A, for each ξ."""
        decay = np.exp(-np.exp(-np.atleast_1d(log_xi))[:, None])
        basis = decay**s + decay ** (length - s)
        halves = (basis * (s % 2), basis * ((s + 1) % 2))
        return sum(((weight * c * half).sum(1)) ** 2 / np.maximum((weight * half**2).sum(1), 1e-300) for half in halves)

    grid = np.linspace(math.log(0.1), math.log(10 * length), 200)
    found = explained(grid)
    best = int(found.argmax())
    if not found[best] > 9 or best in (0, len(grid) - 1):
        return np.nan
    from scipy.optimize import minimize_scalar  # takes half a second to load, and most runs need it not

    fine = minimize_scalar(
        lambda x: -explained(x)[0], bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-7}
    )
    return math.exp(fine.x)


def falls_to(curves: np.ndarray, part: float = 1 / np.e) -> np.ndarray:
    """Where along axis 1 curves first fall to a part of their first value, on the line between two distances."""
    curves = np.moveaxis(curves, 1, -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = curves / curves[..., :1]
        after = np.argmax(scaled < part, axis=-1)[..., None]
        high, low = (np.take_along_axis(scaled, np.maximum(after + k, 0), axis=-1) for k in (-1, 0))
        place = (after - 1 + (high - part) / (high - low))[..., 0]
    last = np.isfinite(scaled).sum(axis=-1) - 1.0
    return np.where(after[..., 0] > 0, place, np.where(last < 0, np.nan, last))


OBSERVABLES = {"correlation": correlation, "structure_factor": structure_factor}
FUNCTIONS = {
    "correlation_length": Function(decay_length, weighted=True, elusive=True),
    "correlation_distance": Function(falls_to),
}
