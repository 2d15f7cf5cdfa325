"""What is measured along the trajectories: one class for each item of `observables`, and `Moments` for all.

Each adds to sums of shape (*shape, trajectories) at every sample. `results` gets their averages over samples,
[slot, *shape, trajectory], and those of `Moments` per site, [slot, quantity, sublattice, trajectory], and
makes the outputs, [slot, ...]: the slots are the times of `evolve`, or the one steady state.
"""

import functools

import numpy as np

from hpcsim.ensemble.burn_in import autocorrelation_time
from hpcsim.methods import Dim, Output
from hpcsim.methods.phase_space.kernels import QUANTITIES, measure
from hpcsim.system import System, lines_along

BINS = 50


class Moments:
    """Means, second moments and variances of the spin components of a site, by sublattice."""

    def __init__(self, system: System, conserving: bool, ordering: int):
        self.system, self.conserving, self.ordering = system, conserving, ordering
        self.sites = np.bincount(system.sublattice, minlength=len(system.sublattices))
        # of Mz: share of the sites over the spin, which all sites of a sublattice have in common
        self.weights = np.bincount(system.sublattice, 1 / system.spins, len(system.sublattices)) / system.sites
        self.shape = (QUANTITIES, len(system.sublattices))

    def add(self, total, s):
        measure(
            total,
            s,
            self.system.spins,
            self.conserving,
            self.ordering,
            self.system.sublattice,
            np.empty((3, *total.shape[1:])),
        )

    def outputs(self, lattice, time):
        out = []
        for axis in "xyz":
            s, name = f"S{axis}", f"S_{axis}"
            out += [
                Output(s, (lattice, *time), "ħ", f"⟨{name}⟩ of a site", reduce="mean"),
                Output(f"{s}2", (lattice, *time), "ħ²", f"⟨{name}²⟩ of a site", reduce="mean"),
                Output(
                    f"var_{s}",
                    (lattice, *time),
                    "ħ²",
                    f"variance of {name} of a site",
                    reduce="variance",
                    sources=(f"{s}2", s),
                ),
            ]
        length = "the classical spin of a site"
        return [
            *out,
            Output(
                "S_perp", (lattice, *time), "ħ", "sqrt(⟨S_x⟩² + ⟨S_y⟩²) of a site", reduce="norm", sources=("Sx", "Sy")
            ),
            Output("Mz", time, "1", "mean of ⟨Sz⟩/S over all spins", reduce="mean"),
            Output("spin_length", (lattice, *time), "ħ", f"length of {length}", reduce="mean"),
            Output("spin_length2", (lattice, *time), "ħ²", f"squared length of {length}", reduce="mean"),
            Output(
                "var_spin_length",
                (lattice, *time),
                "ħ²",
                f"variance of the length of {length}",
                reduce="variance",
                sources=("spin_length2", "spin_length"),
            ),
        ]

    def results(self, averages, moments):
        site = moments.mean(axis=-1)
        names = ("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2", None, None, None, "spin_length", "spin_length2")
        results = {name: site[:, q] for q, name in enumerate(names) if name}
        return results | {"Mz": results["Sz"] @ self.weights}

    def autocorrelation_time(self, averages, duration):
        """[sublattice] of the slowest component of a sublattice's magnetisation."""
        return np.fmax.reduce(autocorrelation_time(averages[0, :3], averages[0, 11:].mean(axis=-1), duration))


class Squeezing:
    """Spin squeezing of a site, ξ² = 2S min ΔS⊥² / |⟨S⟩|² over the directions ⊥ ⟨S⟩ (huber2021, Eq. 33)."""

    shape = ()

    def __init__(self, system: System, evolving: bool):
        self.system, self.evolving = system, evolving
        counts = np.bincount(system.sublattice)
        if np.any(counts > 1):
            raise ValueError("observables: squeezing is that of single spins: it needs one site per sublattice")
        self.bosons = 2 * system.spins[np.argsort(system.sublattice)]

    def add(self, total, s):
        """All is in the moments already."""

    def outputs(self, lattice, time):
        found = [Output("squeezing", (lattice, *time), "1", "spin squeezing parameter ξ²", reduce="mean")]
        if time:
            found.append(
                Output(
                    "squeezing_minimum",
                    (lattice,),
                    "1",
                    "smallest ξ² of all times (too small by about its scatter between records)",
                    reduce="mean",
                )
            )
        return found

    def results(self, averages, moments):
        """Without the bias of order 1/trajectories, by a jackknife over trajectories."""
        n = moments.shape[-1]
        whole = moments.mean(axis=-1, keepdims=True)
        value = self._squeezing(whole)[..., 0]
        if n > 1:
            left_out = self._squeezing((n * whole - moments) / (n - 1))
            value = n * value - (n - 1) * left_out.mean(axis=-1)
        return {"squeezing": value} | ({"squeezing_minimum": value.min(axis=0)} if self.evolving else {})

    def _squeezing(self, m):
        """[slot, sublattice, ...] of moments [slot, quantity, sublattice, ...]."""
        mean, xx, yy, zz, xy, yz, zx = m[:, :3], m[:, 3], m[:, 4], m[:, 5], m[:, 6], m[:, 7], m[:, 8]
        second = np.stack([np.stack([xx, xy, zx]), np.stack([xy, yy, yz]), np.stack([zx, yz, zz])])
        first = np.moveaxis(mean, 1, 0)
        covariance = second - first[:, None] * first[None]
        length2 = (first**2).sum(axis=0)
        along = first / np.sqrt(length2)
        flat = np.eye(3).reshape(3, 3, 1, 1, 1) - along[:, None] * along[None]
        projected = np.einsum("ij...,jk...,kl...->...il", flat, covariance, flat, optimize=True)
        trace = np.trace(projected, axis1=-2, axis2=-1)
        # its eigenvalues are 0, along the mean, and the two roots of λ² - trace λ + minors
        minors = (trace**2 - np.einsum("...ij,...ji->...", projected, projected)) / 2
        smallest = trace / 2 - np.sqrt(np.maximum(trace**2 / 4 - minors, 0))
        return self.bosons.reshape(1, -1, 1) * smallest / length2


class _AlongChain:
    """Sites as [place along the first translation, orbit], for Fourier transforms over places."""

    def __init__(self, system: System, name: str):
        self.grid = lines_along(system)
        if self.grid is None:
            raise ValueError(
                f"observables: {name} needs a system with a translation symmetry that moves every site equally far, "
                f"such as a periodic chain (periodic: true)"
            )
        self.places = len(self.grid)
        self.sublattice = system.sublattice[self.grid[0]]
        self.orbits = np.bincount(self.sublattice, minlength=len(system.sublattices))
        # per component and sublattice: one number for each wavenumber, and the sum of squares of single spins
        self.shape = (3, len(system.sublattices), self.places // 2 + 2)

    def _transform(self, s):
        """[wavenumber, orbit, component, trajectory]."""
        return np.fft.rfft(s[self.grid], axis=0)

    def _add_squares(self, total, s):
        squares = np.einsum("ijt,ijt->ijt", s, s)
        for k in range(len(self.orbits)):
            total[:, k, -1] += squares[self.grid[:, self.sublattice == k].ravel()].sum(axis=0)


class Correlation(_AlongChain):
    """Correlations of two spins of one sublattice against their distance along the first translation."""

    def __init__(self, system: System, evolving: bool):
        super().__init__(system, "correlation")

    def add(self, total, s):
        power = np.abs(self._transform(s)) ** 2
        for k in range(len(self.orbits)):
            total[:, k, :-1] += np.moveaxis(power[:, self.sublattice == k].sum(axis=1), 0, 1)
        self._add_squares(total, s)

    def outputs(self, lattice, time):
        dims = (lattice, Dim("distance", tuple(range(self.places // 2 + 1)), "cells"), *time)
        return [
            Output("correlation", dims, "ħ²", "Re ⟨S⁺_n S⁻_{n+s}⟩", reduce="mean"),
            *(Output(f"correlation_{a}{a}", dims, "ħ²", f"⟨S_{a} S_{a}'⟩ at a distance", reduce="mean") for a in "xyz"),
            Output(
                "correlation_length",
                (lattice, *time),
                "cells",
                "correlation length ξ of ⟨S⁺_n S⁻_{n+s}⟩",
                reduce="decay_length",
                sources=("correlation",),
            ),
            Output(
                "correlation_distance",
                (lattice, *time),
                "cells",
                "distance at which Re ⟨S⁺_n S⁻_{n+s}⟩ is 1/e of its value at s = 0, or the largest there is",
                reduce="mean",
            ),
        ]

    def results(self, averages, moments):
        site = moments.mean(axis=-1)
        power = averages.mean(axis=-1)[..., :-1] / self.orbits[:, None]
        found = np.fft.irfft(power, self.places, axis=-1)[..., : self.places // 2 + 1] / self.places
        found[..., 0] = site[:, 3:6]
        x, y, z = np.moveaxis(found, 1, 0)
        ladder = x + y
        ladder[..., 0] += site[:, 2]
        return {
            "correlation": ladder,
            "correlation_xx": x,
            "correlation_yy": y,
            "correlation_zz": z,
            "correlation_distance": _falls_to(ladder, 1 / np.e),
        }


def _falls_to(curves, part):
    """Where along the last axis curves first fall to a part of their first value, on the line between points."""
    scaled = curves / curves[..., :1]
    after = np.argmax(scaled < part, axis=-1)[..., None]
    high, low = (np.take_along_axis(scaled, np.maximum(after + k, 0), axis=-1) for k in (-1, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        place = after - 1 + (high - part) / (high - low)
    return np.where(after > 0, place, scaled.shape[-1] - 1)[..., 0]


class StructureFactor(_AlongChain):
    """S_jj(k) = (1/N) Σ_{nm} e^{ik(n-m)} ⟨Sj_n Sj_m⟩ over the N sites of a sublattice."""

    def __init__(self, system: System, evolving: bool):
        super().__init__(system, "structure_factor")

    def add(self, total, s):
        waves = self._transform(s)
        for k in range(len(self.orbits)):
            total[:, k, :-1] += np.moveaxis(np.abs(waves[:, self.sublattice == k].sum(axis=1)) ** 2, 0, 1)
        self._add_squares(total, s)

    def outputs(self, lattice, time):
        waves = tuple(2 * m / self.places for m in range(self.places // 2 + 1))
        dims = (lattice, Dim("wavenumber", waves, "π/cell"), *time)
        return [
            Output(f"structure_factor_{a}{a}", dims, "ħ²", f"structure factor of S_{a}", reduce="mean") for a in "xyz"
        ]

    def results(self, averages, moments):
        site = moments.mean(axis=-1)
        mean = averages.mean(axis=-1) / (self.places * self.orbits)[:, None]
        # the classical squares of single spins are replaced by the quantum ones
        found = mean[..., :-1] - mean[..., -1:] + site[:, 3:6, :, None]
        return {f"structure_factor_{a}{a}": found[:, j] for j, a in enumerate("xyz")}


class Histogram:
    """Distribution of a classical component s_j/(S + ½) of single sites over equal bins of [-1, 1]."""

    def __init__(self, system: System, evolving: bool, axis: str):
        self.system, self.axis = system, axis
        self.sites = np.bincount(system.sublattice, minlength=len(system.sublattices))
        self.shape = (len(self.sites), BINS)

    def add(self, total, s):
        scaled = s[:, "xyz".index(self.axis)] / (self.system.spins[:, None] + 0.5)
        where = np.clip(((scaled + 1) * (BINS / 2)).astype(int), 0, BINS - 1)
        np.add.at(total, (self.system.sublattice[:, None], where, np.arange(s.shape[2])), 1)

    def outputs(self, lattice, time):
        centres = tuple(round((2 * n + 1) / BINS - 1, 6) for n in range(BINS))
        dims = (lattice, Dim(f"S{self.axis}_over_S", centres), *time)
        return [Output(f"histogram_S{self.axis}", dims, "1", f"probability of a bin of S_{self.axis}/S", reduce="mean")]

    def results(self, averages, moments):
        return {f"histogram_S{self.axis}": averages.mean(axis=-1) / self.sites[:, None]}


OBSERVABLES = {
    "correlation": Correlation,
    "structure_factor": StructureFactor,
    "squeezing": Squeezing,
    **{f"histogram_S{axis}": functools.partial(Histogram, axis=axis) for axis in "xyz"},
}
