"""Spin components and their variances, by sublattice; likewise the quanta of boson modes."""

from functools import partial

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.sites import sublattices
from hpcsim.observables.terms import Function, Mean, Products, array_of, derived, number
from hpcsim.system import System, orbits


def _mean(operators, sites, share: float = 1.0) -> Products | None:
    """The average over sites of a product of operators on each, times `share`; None without sites."""
    if not len(sites):
        return None
    at = np.repeat(sites[:, None], len(operators), axis=1)
    return Products(operators, at, np.full(len(sites), share / len(sites)))


def _average(system: System, name: str, operators, units: str, long_name: str, public: bool = True) -> Mean:
    """[sublattice] The average over the sites of each sublattice that have this operator."""
    members = sublattices(system, operators[0] != "n")
    output = Output(name, (Dim("sublattice", system.sublattices),), units, long_name)
    return Mean(output, array_of((len(members),), lambda k: _mean(operators, members[k])), public)


def spins(system: System, evolving: bool) -> list:
    """Sx, Sy, Sz [sublattice], averages over its spins; S_perp [sublattice]; Mz. Of boson modes n [sublattice]."""
    found, here = [], np.flatnonzero(system.cutoffs == 0)
    lattice = (Dim("sublattice", system.sublattices),)
    if len(here):
        found += [_average(system, f"S{a}", (f"S{a}",), "ħ", f"mean over the sites of ⟨S{a}⟩") for a in "xyz"]
        found.append(derived("S_perp", "norm", ("Sx", "Sy"), lattice, "ħ", "sqrt(Sx² + Sy²)"))
        weights = 1 / system.spins[here] / len(here)
        output = Output("Mz", (), "1", "⟨Sz⟩/S, mean over all spins")
        found.append(number(output, Products(("Sz",), here[:, None], weights)))
    if len(here) < system.sites:
        found.append(_average(system, "n", ("n",), "1", "mean over the sites of ⟨a†a⟩"))
    return found


def variances(system: System, evolving: bool, each_site: bool = False) -> list:
    """var_Sx, var_Sy, var_Sz, var_n [sublattice]: the mean over the sites of ⟨O²⟩ - ⟨O⟩².

    ⟨O⟩² differs from site to site where no symmetry makes them equal. Two averages are needed, both internal:
    O2 [sublattice], that of ⟨O²⟩ over the sites; and O_orbit [sublattice, orbit], ⟨O⟩ of an orbit of equal sites
    times the square root of its share of the sublattice's sites, so that the sum of the squares over the orbits is
    the mean over the sites of ⟨O⟩². NaN beyond the last orbit.

    each_site : every site is an orbit of its own (for states that break the symmetries)
    """
    found, labels = [], np.arange(system.sites) if each_site else orbits(system)
    for name, units in [(f"S{a}", "ħ") for a in "xyz"] * bool(np.any(system.cutoffs == 0)) + [("n", "1")] * bool(
        np.any(system.cutoffs)
    ):
        members = sublattices(system, name != "n")
        parts = [[own[labels[own] == label] for label in np.unique(labels[own])] for own in members]
        lattice, square = Dim("sublattice", system.sublattices), units if units == "1" else f"{units}²"
        dims = (lattice, Dim("orbit", tuple(range(max(map(len, parts))))))
        orbit = Output(f"{name}_orbit", dims, units, f"⟨{name}⟩ of an orbit of equal sites, weighted")
        found += [
            _average(system, f"{name}2", (name, name), square, f"mean over the sites of ⟨{name}²⟩", public=False),
            Mean(orbit, array_of((len(parts), len(dims[1].values)), partial(_orbit, name, members, parts)), False),
            derived(
                f"var_{name}",
                "variance",
                (f"{name}2", f"{name}_orbit"),
                (lattice,),
                square,
                f"mean over the sites of ⟨{name}²⟩ - ⟨{name}⟩²",
            ),
        ]
    return found


def _orbit(name, members, parts, k: int, o: int) -> Products | None:
    own = parts[k][o] if o < len(parts[k]) else ()
    return _mean((name,), own, np.sqrt(len(own) / max(len(members[k]), 1)))


def variance(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """⟨O²⟩ of a sublattice minus Σ_orbit ⟨O⟩_orbit², weighted as `variances` says: (sublattice, *time)."""
    return second - np.nansum(first**2, axis=1)


OBSERVABLES = {
    **dict.fromkeys(("spins", "Sx", "Sy", "Sz", "S_perp", "Mz", "n"), spins),
    **dict.fromkeys(("variances", "var_Sx", "var_Sy", "var_Sz", "var_n"), variances),
}
FUNCTIONS = {"norm": Function(np.hypot), "variance": Function(variance)}
