"""What is measured on a symmetric state, from its correlators e(n_x, n_y, n_z)."""

from functools import partial
from itertools import combinations_with_replacement, product

import numpy as np
from scipy.special import ellipe

from hpcsim import observables
from hpcsim.methods.permutation import dicke
from hpcsim.methods.permutation.basis import Strings
from hpcsim.observables import Dim, Output, Plan
from hpcsim.observables.matrices import one_site_product
from hpcsim.observables.terms import averages, patterns
from hpcsim.system import System

STRINGS = tuple("".join(s) for order in (1, 2, 3, 4) for s in combinations_with_replacement("xyz", order))
PAULI = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
Items = observables.items()


def correlator(sector: Strings, e: np.ndarray, string: str) -> float:
    """⟨σ σ ...⟩ on different sites, for example "xxz"; 1 for no factor; 0 where there is no such string."""
    if not string:
        return 1.0
    counts = [string.count(a) for a in "xyz"]
    unknown = sector.index(*counts) if sum(counts) <= sector.N else -1
    return float(e[unknown]) if unknown >= 0 else 0.0


def plan(system: System, items, time: tuple[Dim, ...]) -> Plan:
    """What to measure besides `own`: any product of site operators, and purity and entropy of the whole state."""
    return observables.plan(system, (*observables.DEFAULT, "squeezing", "purity", "entropy", *items), time)


def own_outputs(time: tuple[Dim, ...]) -> tuple[Output, ...]:
    """Correlators of Pauli matrices, which are equal on all sites, and how accurate the state is."""
    return (
        *(
            Output(f"S{a}{b}", time, "1", f"structure factor S{a}{b} at k = 0: ⟨σ{a} σ{b}⟩ of two sites")
            for a, b in ("xx", "yy", "zz", "xy")
        ),
        Output("correlator", (Dim("string", STRINGS), *time), "1", "⟨σ σ ...⟩ on different sites"),
        *(Output(f"bimodality_{a}", time, "1", f"⟨M²⟩²/⟨M⁴⟩ of M = Σ σ{a}") for a in "xy"),
        Output("trace_error", time, "1", "Tr ρ - 1 over the resolved eigenvalues of the Dicke blocks"),
        Output(
            "negative_probability",
            time,
            "1",
            "largest probability with the wrong sign, of a Dicke block; 0 if there is none",
        ),
    )


def measure(found: Plan, system: System, sector: Strings, e, low, noise: float = dicke.EXTENDED) -> tuple[dict, dict]:
    """The Means of a plan, and `own_outputs`, of one state.

    e, low : correlators, and what is to be added to them for their full accuracy
    noise  : see `dicke.summarise`
    """
    N, c = sector.N, {s: correlator(sector, e, s) for s in STRINGS}
    summary = dicke.summarise(sector, e, low, noise)
    values = {"purity": dicke.purity(sector, e), "entropy": summary.pop("entropy")}
    for name, mean in found.means.items():
        if mean.build is not None:
            values[name] = averages(mean, partial(of_terms, system, sector, e))
    own = {
        "Sxx": c["xx"],
        "Syy": c["yy"],
        "Szz": c["zz"],
        "Sxy": c["xy"],
        "correlator": np.array([c[s] for s in STRINGS]),
        "bimodality_x": bimodality(N, c["xx"], c["xxxx"]),
        "bimodality_y": bimodality(N, c["yy"], c["yyyy"]),
    }
    return values, own | summary


def of_terms(system: System, sector: Strings, e: np.ndarray, operators, sites) -> np.ndarray:
    """(terms,) ⟨O_1 O_2 ...⟩. All sites are alike, so only which factors share a site matters."""
    found = np.empty(len(sites), complex)
    for rows, groups in patterns(sites):
        matrices = [
            one_site_product(system, [operators[i] for i in group], sites[rows[0], group[0]]) for group in groups
        ]
        found[rows] = _of_paulis([np.einsum("aij,ji->a", PAULI, matrix) / 2 for matrix in matrices], sector, e)
    return found


def _of_paulis(parts: list[np.ndarray], sector: Strings, e) -> complex:
    """⟨Π_i Σ_a parts[i][a] σ_a⟩ on different sites, a = 1, x, y, z."""
    total = 0j
    for letters in product(*(np.flatnonzero(np.abs(part) > 1e-15).tolist() for part in parts)):
        string = "".join("1xyz"[a] for a in letters).replace("1", "")
        total += np.prod([part[a] for part, a in zip(parts, letters)]) * correlator(sector, e, string)
    return total


def bimodality(N: int, second: float, fourth: float) -> float:
    """⟨M²⟩²/⟨M⁴⟩ of M = Σ_j σ_j, from the correlators of 2 and 4 different sites (huybrechts2020, Eq. 18).

    ⟨M²⟩ = N + N(N-1) second,
    ⟨M⁴⟩ = N(3N-2) + N(N-1)(6N-8) second + N(N-1)(N-2)(N-3) fourth: products of four σ, some of them on the
    same site, leave 1, a pair or four.
    """
    m2 = N + N * (N - 1) * second
    m4 = N * (3 * N - 2) + N * (N - 1) * (6 * N - 8) * second + N * (N - 1) * (N - 2) * (N - 3) * fourth
    return m2**2 / m4


def angular_average(chi: np.ndarray) -> float:
    """χ_av = (1/2π) ∫ |χ u(θ)| dθ, u a unit vector: (2/π) s_1 E(1 - s_2²/s_1²), s the singular values of χ.

    chi : (2, 2) ∂M_α/∂h_β (huybrechts2020, Eqs. 21-23)
    """
    large, small = np.linalg.svd(chi, compute_uv=False)
    return 2 / np.pi * large * ellipe(1 - (small / large) ** 2) if large > 0 else 0.0
