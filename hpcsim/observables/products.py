"""Products of site operators, and weighted sums over sites, that a user asks for.

{name: edge, product: [[Sz, 0], [Sz, 3]]}                  ⟨Sz_0 Sz_3⟩, factors in the written order
{name: staggered, sum: Sz, weights: alternating}           Σ_i w_i ⟨Sz_i⟩
Sz_3, Sx_3_Sy_5, Sx_Sy                                     ⟨Sz⟩ of site 3; ⟨Sx Sy⟩ of two sites; against the distance
"""

import re
from functools import partial

import numpy as np

from hpcsim.observables.correlations import Line
from hpcsim.observables.matrices import by_site
from hpcsim.observables.outputs import Output
from hpcsim.observables.sites import checkerboard
from hpcsim.observables.terms import Kind, Mean, Products, Setting, array_of, number, sites_exist
from hpcsim.system import System

NAMED = re.compile(r"S([xyz])(?:_(\d+)(?:_S([xyz])_(\d+))?|_S([xyz]))")


def product(system: System, item: dict) -> list:
    """⟨O_1 O_2 ...⟩; complex where the product is not Hermitian."""
    factors = [(name, site) for name, site in item["product"]]
    units = units_of(name for name, _ in factors)
    text = "⟨" + " ".join(f"{name}_{site}" for name, site in factors) + "⟩"
    hermitian = all(_is_hermitian(matrix) for matrix in _matrices(system, item["name"], factors).values())
    operators, sites = zip(*factors)
    output = Output(item["name"], (), units, text, "f8" if hermitian else "c16")
    return [number(output, Products(operators, np.array([sites]), np.ones(1)))]


def weighted_sum(system: System, item: dict) -> list:
    """Σ_i w_i ⟨O_i⟩ over all sites; weights: uniform (1), alternating (see `sites.checkerboard`), or a list."""
    name, operator, weights = item["name"], item["sum"], item.get("weights", "uniform")
    if weights == "uniform":
        weights = np.ones(system.sites)
    elif weights == "alternating":
        weights = checkerboard(system, name).astype(float)
    if len(weights) != system.sites:
        raise ValueError(
            f"method.observables: {name}: {len(weights)} weights are given for {system.sites} sites; list one for each"
        )
    hermitian = [
        _is_hermitian(next(iter(_matrices(system, name, [(operator, i)]).values()))) for i in range(system.sites)
    ]
    sites = np.arange(system.sites)[:, None]
    output = Output(
        name, (), units_of([operator]), f"Σ w ⟨{operator}⟩ over the sites", "f8" if all(hermitian) else "c16"
    )
    return [number(output, Products((operator,), sites, np.array(weights, float)))]


def named(system: System, name: str, setting: Setting) -> list:
    """Sz_3, Sx_3_Sy_5 and, [distance] along the first translation and averaged over all sites, Sx_Sy."""
    a, i, b, j, other = NAMED.fullmatch(name).groups()
    if not other:
        factors = [[f"S{a}", int(i)], *([[f"S{b}", int(j)]] if b else [])]
        return product(system, {"name": name, "product": factors})
    line = Line(system, setting, name)
    text, dtype = f"⟨S_{a} S_{other}'⟩ at a distance, mean over all sites", "f8" if a == other else "c16"
    build = array_of((len(line.distance.values),), partial(line.mean, (f"S{a}", f"S{other}"), None))
    return [Mean(Output(name, (line.distance,), "ħ²", text, dtype), build)]


def _matrices(system: System, name: str, factors) -> dict[int, np.ndarray]:
    sites_exist(system, name, [site for _, site in factors])
    try:
        return by_site(system, factors)
    except ValueError as error:
        raise ValueError(f"method.observables: {name}: {error}") from None


def _is_hermitian(matrix: np.ndarray) -> bool:
    return np.allclose(matrix, matrix.conj().T, rtol=0, atol=1e-12 * max(np.abs(matrix).max(), 1e-300))


def units_of(names) -> str:
    """The units of a product of operators: ħ to the power of the spin operators."""
    power = sum(name.startswith("S") for name in names)
    return {0: "1", 1: "ħ", 2: "ħ²", 3: "ħ³"}.get(power, f"ħ^{power}")


def _check_product(value) -> list[list]:
    fits = isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and type(pair[0]) is str and type(pair[1]) is int
        for pair in value
    )
    if not fits or not value:
        raise ValueError(f"product = {value}: write a list of [operator, site], such as [[Sz, 0], [Sz, 3]]")
    return [list(pair) for pair in value]


def _check_sum(value) -> str:
    if not isinstance(value, str):
        raise ValueError(f"sum = {value}: write the name of one operator, such as Sz")
    return value


def _check_weights(value):
    numbers = isinstance(value, (list, tuple)) and all(type(x) in (int, float) for x in value)
    if value not in ("uniform", "alternating") and not numbers:
        raise ValueError(f"weights = {value}: write uniform, alternating, or a list of one number for each site")
    return value if isinstance(value, str) else list(value)


KINDS = {
    "product": Kind(product, {"product": _check_product}),
    "sum": Kind(weighted_sum, {"sum": _check_sum, "weights": _check_weights}),
}
