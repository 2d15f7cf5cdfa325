"""What is added up along the trajectories, and the expectation values made of it.

Each class adds to sums of shape (*shape, trajectories) at every sample. `means` gets their averages over samples and
trajectories, [slot, *shape], and those of `Moments` per site, [slot, quantity, sublattice], and makes the arrays
[slot, ...] of some Means of hpcsim.observables, by their names: the slots are the times of `evolve`, or the one steady
state.
"""

from itertools import product

import numpy as np

from hpcsim.ensemble.burn_in import autocorrelation_time
from hpcsim.ensemble.linear import Linear, by_site
from hpcsim.methods.phase_space.moments import QUANTITIES, add_components, measure
from hpcsim.observables import Dim, Output
from hpcsim.observables.sites import places
from hpcsim.observables.squeezing import PAIRS
from hpcsim.system import System

BINS = 50
SYMBOLS: dict[str, dict[int, complex]] = {
    "Sx": {0: 1},
    "Sy": {1: 1},
    "Sz": {2: 1},
    "S+": {0: 1, 1: 1j},
    "S-": {0: 1, 1: -1j},
}
CYCLIC = {(0, 1): (2, 1), (1, 2): (0, 1), (2, 0): (1, 1), (1, 0): (2, -1), (2, 1): (0, -1), (0, 2): (1, -1)}
NAMES = ("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2", None, None, None, "spin_length", "spin_length2")


class Ordering:
    """From classical squares to expectation values: ⟨{S_a, S_b}⟩/2 = weight s_a s_b + δ_ab (shift + slope |s|).

    See `kernels.measure`. weight : (sites,)

    conserving : spins keep the length S + ½
    discrete   : the samples are those of `initial.discrete`, of spins 1/2: {S_a, S_b}/2 = δ_ab/4 is no average
    """

    def __init__(self, system: System, conserving: bool, ordering: int, discrete: bool = False):
        S = system.spins
        self.weight = S * (S + 1) / (S + 0.5) ** 2 if conserving else np.ones(system.sites)
        self.shift, self.slope = (-0.125 if ordering == 0 and not conserving else 0.0), ordering / 2
        if discrete:
            self.weight, self.shift = np.zeros(system.sites), 0.25

    def second(self, s, site, a, b):
        """(trajectories,) of one site, from the classical spins (sites, 3, trajectories)."""
        value = self.weight[site] * s[site, a] * s[site, b]
        if a == b:
            value = value + self.shift + self.slope * np.sqrt((s[site] ** 2).sum(axis=0))
        return value


class Moments:
    """Means, second moments and lengths of the spins, by sublattice."""

    names = (*filter(None, NAMES[:6]), "Mz")

    def __init__(self, system: System, ordering: Ordering):
        self.system, self.ordering = system, ordering
        self.sites = np.bincount(system.sublattice, minlength=len(system.sublattices))
        # of Mz: share of the sites over the spin, which all sites of a sublattice have in common
        self.weights = np.bincount(system.sublattice, 1 / system.spins, len(system.sublattices)) / system.sites
        self.shape = (QUANTITIES, len(system.sublattices))

    def add(self, total, s):
        scratch, order = np.empty((3, *total.shape[1:])), self.ordering
        measure(total, s, order.weight, order.shift, order.slope, self.system.sublattice, scratch)

    def outputs(self, time) -> list[Output]:
        """The method's own quantities."""
        dims = (Dim("sublattice", tuple(self.system.sublattices)), *time)
        length, sources = "the classical spin of a site", ("spin_length2", "spin_length")
        text = f"variance of the length of {length}, over trajectories and sites"
        return [
            Output("spin_length", dims, "ħ", f"length of {length}", reduce="mean"),
            Output("spin_length2", dims, "ħ²", f"squared length of {length}", reduce="mean"),
            Output("var_spin_length", dims, "ħ²", text, reduce="function", function="spread", sources=sources),
        ]

    def means(self, averages, moments):
        found = {name: moments[:, q] for q, name in enumerate(NAMES) if name}
        return found | {"Mz": found["Sz"] @ self.weights}

    def autocorrelation_time(self, averages, duration):
        """[sublattice] of the slowest component of a sublattice's magnetisation; averages have the trajectories too."""
        return np.fmax.reduce(autocorrelation_time(averages[0, :3], averages[0, 11:].mean(axis=-1), duration))


class Symbols:
    """Products of site operators: of equal sites the mean of a component, and any other product by itself.

    label : (sites,) equal for sites that are alike
    keys : ("component", axis, label), and tuples of (site, axis) and (site, axis, axis), different sites
    """

    def __init__(self, label: np.ndarray, ordering: Ordering, linear: Linear):
        self.ordering, self.linear = ordering, linear
        components = [key for key in linear.keys if key[0] == "component"]
        self.products = [key for key in linear.keys if key[0] != "component"]
        keys = [*components, *self.products]
        linear.number({key: number for number, key in enumerate(keys)}, len(keys))
        self.shape = (len(keys),)
        sites = [np.flatnonzero(label == orbit) for _, _, orbit in components]
        self.axes = np.array([axis for _, axis, _ in components], np.int64)
        self.begin = np.cumsum([0, *map(len, sites)])
        self.sites = np.concatenate([np.empty(0, np.int64), *sites])

    def add(self, total, s):
        add_components(total, s, self.axes, self.begin, self.sites)
        for k, key in enumerate(self.products, len(self.axes)):
            total[k] += np.prod([self._symbol(s, *part) for part in key], axis=0)

    def _symbol(self, s, site, *axes):
        return s[site, axes[0]] if len(axes) == 1 else self.ordering.second(s, site, *axes)

    def means(self, averages, moments):
        return {name: np.moveaxis(x, -1, 0) for name, x in self.linear.averages(averages).items()}


def expand(label: list[int]):
    """For `Linear`: the keys of `Symbols` that make up a product, S_a S_b = {S_a, S_b}/2 + (i/2) ε_abc S_c."""

    def expansion(factors):
        combinations = [_of_site(site, names) for site, names in by_site(factors).items()]
        found = []
        for terms in product(*combinations):
            key, coefficient = tuple(key for key, _ in terms), np.prod([value for _, value in terms])
            if len(key) == 1 and len(key[0]) == 2:
                key = ("component", key[0][1], label[key[0][0]])
            found.append((key or None, coefficient))
        return found

    return expansion


def _of_site(site, names) -> list:
    """[((site, axis) or (site, axis, axis), coefficient)] of a product of operators on one site."""
    if any(name not in SYMBOLS for name in names) or len(names) > 2:
        raise ValueError(
            f"{' '.join(names)} on site {site}: phase_space knows up to two of {', '.join(SYMBOLS)} on one site; use "
            "trajectories or liouvillian"
        )
    found = [((site, a), x) for a, x in SYMBOLS[names[0]].items()]
    if len(names) == 1:
        return found
    combined = []
    for ((_, a), x), (b, y) in product(found, SYMBOLS[names[1]].items()):
        combined.append(((site, *sorted((a, b))), x * y))
        if a != b:
            c, sign = CYCLIC[a, b]
            combined.append(((site, c), 0.5j * sign * x * y))
    return combined


class TotalSpin:
    """⟨J_a J_b + J_b J_a⟩/2 of J = Σ_i S_i: classical sums of different sites, and what is right on one site."""

    names = ("J_J",)
    shape = (6,)

    def __init__(self, system: System, ordering: Ordering):
        self.ordering = ordering

    def add(self, total, s):
        J = s.sum(axis=0)
        for k, (a, b) in enumerate(("xyz".index(pair[0]), "xyz".index(pair[1])) for pair in PAIRS):
            own = sum(self.ordering.second(s, i, a, b) for i in range(len(s)))
            total[k] += J[a] * J[b] - (s[:, a] * s[:, b]).sum(axis=0) + own

    def means(self, averages, moments):
        return {"J_J": averages}


class _AlongChain:
    """Sites as [place along the first translation, orbit], for Fourier transforms over places."""

    def __init__(self, system: System, ordering: Ordering):
        self.grid = places(system, "correlation")
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

    names = ("correlation", "correlation_xx", "correlation_yy", "correlation_zz")

    def add(self, total, s):
        power = np.abs(self._transform(s)) ** 2
        for k in range(len(self.orbits)):
            total[:, k, :-1] += np.moveaxis(power[:, self.sublattice == k].sum(axis=1), 0, 1)
        self._add_squares(total, s)

    def means(self, averages, moments):
        power = averages[..., :-1] / self.orbits[:, None]
        found = np.fft.irfft(power, self.places, axis=-1)[..., : self.places // 2 + 1] / self.places
        found[..., 0] = moments[:, 3:6]
        x, y, z = np.moveaxis(found, 1, 0)
        ladder = x + y
        ladder[..., 0] += moments[:, 2]
        return dict(zip(self.names, (ladder, x, y, z)))


class StructureFactor(_AlongChain):
    """S_jj(k) = (1/N) Σ_{nm} e^{ik(n-m)} ⟨Sj_n Sj_m⟩ over the N sites of a sublattice."""

    names = ("structure_factor_xx", "structure_factor_yy", "structure_factor_zz")

    def add(self, total, s):
        waves = self._transform(s)
        for k in range(len(self.orbits)):
            total[:, k, :-1] += np.moveaxis(np.abs(waves[:, self.sublattice == k].sum(axis=1)) ** 2, 0, 1)
        self._add_squares(total, s)

    def means(self, averages, moments):
        mean = averages / (self.places * self.orbits)[:, None]
        # the classical squares of single spins are replaced by the quantum ones
        found = mean[..., :-1] - mean[..., -1:] + moments[:, 3:6, :, None]
        return dict(zip(self.names, np.moveaxis(found, 1, 0)))


class Histogram:
    """Distribution of a classical component s_j/(S + ½) of single sites over equal bins of [-1, 1]."""

    def __init__(self, system: System, name: str):
        self.system, self.name, self.axis = system, name, name[-1]
        self.sites = np.bincount(system.sublattice, minlength=len(system.sublattices))
        self.shape = (len(self.sites), BINS)

    def add(self, total, s):
        scaled = s[:, "xyz".index(self.axis)] / (self.system.spins[:, None] + 0.5)
        where = np.clip(((scaled + 1) * (BINS / 2)).astype(int), 0, BINS - 1)
        np.add.at(total, (self.system.sublattice[:, None], where, np.arange(s.shape[2])), 1)

    def outputs(self, time) -> list[Output]:
        centres = tuple(round((2 * n + 1) / BINS - 1, 6) for n in range(BINS))
        dims = (Dim("sublattice", tuple(self.system.sublattices)), Dim(f"S{self.axis}_over_S", centres), *time)
        return [Output(self.name, dims, "1", f"probability of a bin of S_{self.axis}/S", reduce="mean")]

    def means(self, averages, moments):
        return {self.name: averages / self.sites[:, None]}


QUICK = (Correlation, StructureFactor, TotalSpin)  # ways that know some Means by their names
OWN = ("histogram_Sx", "histogram_Sy", "histogram_Sz")
