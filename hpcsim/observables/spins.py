"""Spin components and their variances, by sublattice; likewise the quanta of boson modes."""

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.sites import sublattices
from hpcsim.observables.terms import Function, Mean, Products, Setting, array_of, derived, number
from hpcsim.system import System, orbits


def _mean(operators, sites) -> Products | None:
    """The average over sites of a product of operators on each; None without sites."""
    if not len(sites):
        return None
    at = np.repeat(sites[:, None], len(operators), axis=1)
    return Products(operators, at, np.full(len(sites), 1 / len(sites)))


def _average(system: System, name: str, operators, units: str, long_name: str, public: bool = True) -> Mean:
    """[sublattice] The average over the sites of each sublattice that have this operator."""
    members = sublattices(system, operators[0] != "n")
    output = Output(name, (Dim("sublattice", system.sublattices),), units, long_name)
    return Mean(output, array_of((len(members),), lambda k: _mean(operators, members[k])), public)


def _components(system: System) -> list[tuple[str, str]]:
    """(operator, unit) of what the sites have."""
    spins, modes = np.any(system.cutoffs == 0), np.any(system.cutoffs)
    return [(f"S{a}", "ħ") for a in "xyz"] * bool(spins) + [("n", "1")] * bool(modes)


def _orbits(system: System, setting: Setting, name: str) -> list[list[np.ndarray]]:
    """[sublattice][orbit] sites that have this operator."""
    labels = np.arange(system.sites) if setting.each_site else orbits(system)
    found = []
    for own in sublattices(system, name != "n"):
        own = own[np.argsort(labels[own], kind="stable")]
        found.append(np.split(own, np.flatnonzero(np.diff(labels[own])) + 1) if len(own) else [])
    return found


def _by_orbit(system: System, setting: Setting, name: str, units: str) -> list[Mean]:
    """O_orbit [sublattice, orbit], ⟨O⟩ of the equal sites of an orbit; and its share of the sublattice's sites."""
    parts, kind = _orbits(system, setting, name), "modes" if name == "n" else "spins"
    whole = [sum(map(len, own)) for own in parts]
    shape = len(parts), max(map(len, parts))
    dims = (Dim("sublattice", system.sublattices), Dim("orbit", tuple(range(shape[1]))))

    def mean(k, o):
        return _mean((name,), parts[k][o] if o < len(parts[k]) else ())

    def share(k, o):
        if o >= len(parts[k]):
            return None
        return Products((), np.zeros((1, 0), int), np.array([len(parts[k][o]) / whole[k]]))

    return [
        Mean(
            Output(f"{name}_orbit", dims, units, f"⟨{name}⟩ of an orbit of equal sites"), array_of(shape, mean), False
        ),
        Mean(Output(f"share_of_{kind}", dims, "1", "of the sites"), array_of(shape, share), False),
    ]


def spins(system: System, setting: Setting) -> list:
    """Sx, Sy, Sz [sublattice], averages over its spins; Mz, ⟨Sz⟩/S over all spins. Of boson modes n [sublattice].

    S_perp [sublattice] is the mean over its spins of sqrt(⟨Sx⟩² + ⟨Sy⟩²).
    """
    lattice, found = (Dim("sublattice", system.sublattices),), []
    for name, units in _components(system):
        text = "mean over the sites of " + ("⟨a†a⟩" if name == "n" else f"⟨{name}⟩")
        found.append(_average(system, name, (name,), units, text))
    here = np.flatnonzero(system.cutoffs == 0)
    if len(here):
        (x, share), (y, _) = (_by_orbit(system, setting, name, "ħ") for name in ("Sx", "Sy"))
        text = "mean over the sites of sqrt(⟨Sx⟩² + ⟨Sy⟩²)"
        output = Output("Mz", (), "1", "⟨Sz⟩/S, mean over all spins")
        found += [
            *(x, y, share),
            derived("S_perp", "mean_norm", (x.name, y.name, share.name), lattice, "ħ", text),
            number(output, Products(("Sz",), here[:, None], 1 / system.spins[here] / len(here))),
        ]
    return found


def variances(system: System, setting: Setting) -> list:
    """var_Sx, var_Sy, var_Sz, var_n [sublattice]: the mean over the sites of ⟨O²⟩ - ⟨O⟩².

    ⟨O⟩² differs from site to site where no symmetry makes them equal, so that three internal means are needed:
    O2 [sublattice], the average of ⟨O²⟩ over the sites; O_orbit [sublattice, orbit], ⟨O⟩ of each orbit of equal
    sites; and the share of each orbit. They are NaN beyond the last orbit of a sublattice.
    """
    found, lattice = [], (Dim("sublattice", system.sublattices),)
    for name, units in _components(system):
        square, orbit = units if units == "1" else f"{units}²", _by_orbit(system, setting, name, units)
        text = f"mean over the sites of ⟨{name}²⟩"
        sources = (f"{name}2", *(mean.name for mean in orbit))
        found += [
            _average(system, sources[0], (name, name), square, text, public=False),
            *orbit,
            derived(f"var_{name}", "variance", sources, lattice, square, f"{text} - ⟨{name}⟩²"),
        ]
    return found


def variance(second: np.ndarray, first: np.ndarray, share: np.ndarray) -> np.ndarray:
    """⟨O²⟩ (sublattice, *time) less Σ_orbit share ⟨O⟩² of (sublattice, orbit, *time)."""
    return second - _over_orbits(share * first**2)


def mean_norm(x: np.ndarray, y: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Σ_orbit share sqrt(x² + y²) of (sublattice, orbit, *time); NaN without orbits."""
    return np.where(np.isnan(x).all(axis=1), np.nan, _over_orbits(share * np.hypot(x, y)))


def _over_orbits(parts: np.ndarray) -> np.ndarray:
    """Sums over the orbits (sublattice, orbit, *time) that there are; those that are NaN become 0 in their place."""
    parts[np.isnan(parts)] = 0
    return parts.sum(axis=1)


OBSERVABLES = {
    **dict.fromkeys(("spins", "Sx", "Sy", "Sz", "S_perp", "Mz", "n"), spins),
    **dict.fromkeys(("variances", "var_Sx", "var_Sy", "var_Sz", "var_n"), variances),
}
FUNCTIONS = {
    "mean_norm": Function(mean_norm),
    "variance": Function(variance),
    "spread": Function(lambda second, first: second - first**2),
}
