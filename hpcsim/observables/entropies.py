"""Purity and entropies of the whole state, and reduced density matrices of chosen sites with theirs, and negativity.

Whole-state numbers are not linear in ρ: a method that holds ρ delivers purity and entropy by name. Reduced density
matrices are expectation values, of the operators |b><a| of the chosen sites, which any method may deliver.
"""

import dataclasses

import numpy as np

from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.terms import (
    Function,
    Kind,
    Mean,
    Products,
    Setting,
    array_of,
    check_sites,
    constant,
    derived,
    sites_exist,
)
from hpcsim.system import System
from hpcsim.system.operators import unit

LARGEST = 64  # levels of the sites of a reduced density matrix


def purity(system: System, setting: Setting) -> list:
    """Tr ρ² of all sites."""
    return [Mean(Output("purity", (), "1", "Tr ρ²"), None)]


def entropy(system: System, setting: Setting) -> list:
    """-Tr(ρ ln ρ)/N of all N sites, in nats per site."""
    return [Mean(Output("entropy", (), "1", "-Tr(ρ ln ρ)/N, entropy per spin in nats"), None)]


def renyi2(system: System, setting: Setting) -> list:
    """-ln(Tr ρ²)/N of all N sites, in nats per site."""
    text = "-ln(Tr ρ²)/N, Rényi-2 entropy per spin in nats"
    return [
        *purity(system, setting),
        constant("sites", system.sites),
        derived("renyi2", "renyi2_per_site", ("purity", "sites"), long_name=text),
    ]


def _labels(system: System, sites) -> tuple[str, ...]:
    """Sz (or the number of quanta) of each site, of every basis state."""
    labels = [()]
    for site in sites:
        top = system.cutoffs[site] - 1 if system.cutoffs[site] else system.spins[site]
        labels = [(*label, f"{top - level:g}") for label in labels for level in range(system.levels[site])]
    return tuple(" ".join(label) for label in labels)


def _density_matrix(system: System, name: str, sites, groups: int = 0) -> Mean:
    """ρ of some sites, [row, column]; or internal, [a, b, a', b'], of the first `groups` of them and the others."""
    sites_exist(system, name, sites)
    levels = system.levels[list(sites)]
    size = int(np.prod(levels))
    if size > LARGEST:
        raise ValueError(
            f"method.observables: {name}: the sites {list(sites)} have {size} states together, and {LARGEST} are the "
            "limit of a reduced density matrix; choose fewer"
        )
    labels = _labels(system, sites)
    shape, dims = (size, size), tuple(Dim(f"{name}_{part}", labels) for part in ("row", "column"))
    if groups:
        shape = (int(np.prod(levels[:groups])), int(np.prod(levels[groups:]))) * 2
        dims = tuple(Dim(f"{name}_{part}", tuple(range(n))) for part, n in zip(("a", "b", "a2", "b2"), shape))

    def element(*index):
        row, column = np.unravel_index(np.ravel_multi_index(index, shape), (size, size))
        rows, columns = np.unravel_index(row, levels), np.unravel_index(column, levels)
        return Products(tuple(unit(c, r) for r, c in zip(rows, columns)), np.array([sites]), np.ones(1))

    text = f"density matrix of the sites {', '.join(map(str, sites))}"
    output = Output(f"{name}_matrix" if groups else name, dims, "1", text, "c16")
    return Mean(output, array_of(shape, element), public=not groups)


def reduced(system: System, item: dict) -> list:
    """{name, reduced: [sites]}: their density matrix [name_row, name_column], labelled by Sz of each site."""
    return [_density_matrix(system, item["name"], item["reduced"])]


def negativity(system: System, item: dict) -> list:
    """{name, negativity: [site, site]} or of two lists of sites: (‖ρ^T‖₁ - 1)/2, T the transpose of the first.

    ρ is that of all these sites, the rest traced out.
    """
    first, second = item["negativity"]
    matrix = _density_matrix(system, item["name"], [*first, *second], len(first))
    text = f"negativity of the sites {first} with {second}"
    return [matrix, derived(item["name"], "negativity", (matrix.name,), long_name=text)]


def of_sites(system: System, item: dict) -> list:
    """{name, purity | entropy | renyi2: [sites]}: of the reduced state of some sites, entropies in nats."""
    kind = next(key for key in SITES if key in item)
    text, unit_of = SITES[kind]
    matrix = _density_matrix(system, item["name"], item[kind])
    output = dataclasses.replace(matrix.output, name=f"{item['name']}_matrix")
    sites = ", ".join(map(str, item[kind]))
    return [
        Mean(output, matrix.build, public=False),
        derived(item["name"], kind, (output.name,), units=unit_of, long_name=f"{text} of the sites {sites}"),
    ]


# ------------------------------------------------------------------ finishing


def _matrices(rho: np.ndarray) -> np.ndarray:
    """(*time, row, column), its Hermitian part, of (row, column, *time)."""
    rho = np.moveaxis(rho, (0, 1), (-2, -1))
    return (rho + np.swapaxes(rho, -1, -2).conj()) / 2


def von_neumann(probabilities: np.ndarray) -> np.ndarray:
    """-Σ p ln p over the last axis, in nats; what is not above zero is left out."""
    p = np.asarray(probabilities)
    return -np.sum(p * np.log(np.where(p > 0, p, 1)), axis=-1, where=p > 0)


def purity_of(rho: np.ndarray) -> np.ndarray:
    """Tr ρ² (*time) of ρ (row, column, *time)."""
    return np.sum(np.abs(rho) ** 2, axis=(0, 1))


def entropy_of(rho: np.ndarray) -> np.ndarray:
    """-Tr(ρ ln ρ) (*time) of ρ (row, column, *time)."""
    return von_neumann(np.linalg.eigvalsh(_matrices(rho)))


def negativity_of(rho: np.ndarray) -> np.ndarray:
    """(‖ρ^T‖₁ - 1)/2 (*time) of ρ (a, b, a', b', *time), T the exchange of a and a'."""
    a, b = rho.shape[:2]
    transposed = np.swapaxes(rho, 0, 2).reshape(a * b, a * b, *rho.shape[4:])
    return (np.abs(np.linalg.eigvalsh(_matrices(transposed))).sum(axis=-1) - 1) / 2


def _check_parts(value) -> list:
    parts = value if isinstance(value, (list, tuple)) else ()
    lists = [part if isinstance(part, (list, tuple)) else [part] for part in parts]
    if len(lists) != 2:
        raise ValueError(f"negativity = {value}: two sites are needed, or two lists of sites: [0, 1], [[0, 1], [2, 3]]")
    check_sites([site for part in lists for site in part])
    return [check_sites(part) for part in lists]


SITES = {
    "purity": ("Tr ρ²", "1"),
    "entropy": ("-Tr(ρ ln ρ)", "nats"),
    "renyi2": ("-ln Tr ρ²", "nats"),
}
OBSERVABLES = {"purity": purity, "entropy": entropy, "renyi2": renyi2}
KINDS = {
    "reduced": Kind(reduced, {"reduced": check_sites}),
    "negativity": Kind(negativity, {"negativity": _check_parts}),
    **{key: Kind(of_sites, {key: check_sites}) for key in SITES},
}
FUNCTIONS = {
    "renyi2_per_site": Function(lambda purity, sites: -np.log(purity) / sites),
    "negativity": Function(negativity_of),
    "purity": Function(purity_of),
    "entropy": Function(entropy_of),
    "renyi2": Function(lambda rho: -np.log(purity_of(rho))),
}
