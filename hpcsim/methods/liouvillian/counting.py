"""Full counting statistics: how many jumps of chosen channels there are in a long time, on average and in variance.

A channel is counted with a weight ν_k. With J = Σ_k ν_k γ_k L_k · L_k† the number N(t) grows as

    I = lim ⟨N⟩/t = Tr Jρ,     lim Var(N)/t = Σ_k ν_k² γ_k Tr L_k†L_k ρ - 2 Tr J L⁺ (Jρ - Iρ),

where L⁺ is the Drazin inverse of L: its traceless solution (Flindt, Novotny and Jauho, Phys. Rev. B 70, 205334 (2004);
Landi, Kewming, Mitchison and Potts, PRX Quantum 5, 020201 (2024)). The variance is solved for in all sectors that J
reaches: one alone where the counted jumps have the symmetries of the model.
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator
from scipy import sparse

from hpcsim import solvers
from hpcsim.methods import Context, Output
from hpcsim.methods.liouvillian.operators import kept_operators
from hpcsim.methods.liouvillian.regression import average, pieces, sources
from hpcsim.methods.liouvillian.steady import SteadyState, steady_state
from hpcsim.methods.liouvillian.symmetry import HOME
from hpcsim.observables.two_times import check_names, named
from hpcsim.system import Jumps, System, matrices

EXAMPLE = "{name: photons, jumps: S-}, or {name: net, jumps: {S-: 1, S+: -1}, sites: [0]}"
NOTE = "a weight is a number, the operators of a jump stand with a space between them"


def _channels(values) -> tuple:
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"a list is needed, such as [{EXAMPLE}]")
    found = tuple(map(_channel, values))
    check_names([name for each in found for name in _names(each)])
    return found


def _channel(value) -> dict:
    if not isinstance(value, dict) or not {"name", "jumps"} <= set(value) <= {"name", "jumps", "sites"}:
        raise ValueError(f"{value} says no channels: write {EXAMPLE}")
    found = {"name": named(value, "current"), "jumps": value["jumps"]}
    jumps = {value["jumps"]: 1} if isinstance(value["jumps"], str) else value["jumps"]
    numbers = isinstance(jumps, dict) and all(type(weight) in (int, float) for weight in jumps.values())
    if not numbers or not jumps or not all(isinstance(key, str) and np.isfinite(w) for key, w in jumps.items()):
        raise ValueError(f"{found['name']}: jumps = {value['jumps']}: write S-, or {{S-: 1, S+: -1}}; {NOTE}")
    found["jumps"] = {key: float(weight) for key, weight in jumps.items()}
    if "sites" in value:
        found["sites"] = _sites(value["sites"], found["name"])
    return found


def _sites(value, name: str) -> list[int]:
    if not isinstance(value, (list, tuple)) or not value or not all(type(site) is int for site in value):
        raise ValueError(f"{name}: sites = {value}: write a list of their numbers, such as [0, 1], or leave it out")
    return list(value)


Channels = Annotated[tuple, BeforeValidator(_channels)]


def _names(item: dict) -> tuple[str, str, str]:
    return item["name"], f"{item['name']}_variance", f"{item['name']}_fano"


def outputs(system: System, options) -> tuple[Output, ...]:
    """Raises ValueError where a system has no such jumps."""
    found = []
    for item in options.channels:
        _check(system, item)
        mean, variance, fano = _names(item)
        counted = ", ".join(f"{weight:+g} {jumps}" for jumps, weight in item["jumps"].items())
        found.append(Output(mean, (), system.units, f"jumps per time, counted as {counted}"))
        found.append(Output(variance, (), system.units, "variance of their number per time, after a long time"))
        found.append(Output(fano, (), "1", "this variance over the modulus of the mean"))
    return tuple(found)


def _check(system: System, item: dict) -> None:
    where = f"method.channels: {item['name']}: "
    if wrong := [site for site in item.get("sites", ()) if not 0 <= site < system.sites]:
        raise ValueError(f"{where}site {wrong[0]}: the sites are numbered 0 to {system.sites - 1}")
    for jumps in item["jumps"]:
        if not any(_is_counted(table, item, jumps, row) for table in system.jumps for row in range(len(table.sites))):
            known = ", ".join(dict.fromkeys(" ".join(table.operators) for table in system.jumps)) or "none"
            raise ValueError(f"{where}there are no jumps {jumps} on these sites; the operators of jumps are {known}")


def _is_counted(table: Jumps, item: dict, jumps: str, row: int) -> bool:
    inside = "sites" not in item or set(table.sites[row].tolist()) <= set(item["sites"])
    return tuple(jumps.split()) == table.operators and inside


def _counted(system: System, item: dict) -> Iterator[tuple[float, float, sparse.csr_matrix]]:
    """(ν, γ, L) of the channels that are counted: all products of them are on the sites asked for."""
    operators = iter(matrices.jump_operators(system))
    for table in system.jumps:
        for _, rows, _ in table.channels():
            rate, jump = next(operators)
            for jumps, weight in item["jumps"].items():
                if all(_is_counted(table, item, jumps, row) for row in rows):
                    yield weight, rate, jump


def statistics(system: System, options, context: Context) -> dict:
    """The task counting."""
    found = steady_state(system, options, context)
    rho, kept = found.matrix(), [list(_counted(system, item)) for item in options.channels]
    zero = sparse.csr_matrix(rho.shape)
    rates = [sum((weight * rate * (jump.getH() @ jump) for weight, rate, jump in each), zero) for each in kept]
    squares = [sum((weight**2 * rate * (jump.getH() @ jump) for weight, rate, jump in each), zero) for each in kept]
    means = np.array([average(rate, rho).real for rate in rates])

    def moved(number: int) -> np.ndarray:
        """Jρ - Iρ."""
        terms = [weight * rate * (jump @ rho @ jump.getH()) for weight, rate, jump in kept[number]]
        return sum(terms, np.zeros_like(rho)) - means[number] * rho

    wanted = sources(range(len(kept)), rates, moved)
    noise = _noise(system, options, context, found, wanted)
    variances = np.array([average(square, rho).real for square in squares]) - 2 * noise
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN where nothing is counted
        fano = variances / np.abs(means)
    rows = zip(options.channels, means, variances, fano)
    return {name: value for item, *values in rows for name, value in zip(_names(item), values)}


def _noise(system: System, options, context: Context, steady: SteadyState, wanted) -> np.ndarray:
    """Tr J L⁺ (Jρ - Iρ) of every current."""
    comm, total = context.comm, np.zeros(len(wanted))
    whole = np.concatenate(steady.comm.allgather(steady.local))
    for sector, found in pieces(comm, kept_operators(system, context), wanted):
        rows = solvers.row_range(comm, sector.size)
        trace = sector.trace(*rows)
        for piece in found:
            for unit, part in piece.parts:
                x = solvers.response(comm, sector, part, options.petsc_options, context.cache)
                if sector.name == HOME:
                    x = x - comm.allreduce(trace @ x) * whole[slice(*rows)]
                total[piece.numbers] += piece.value(unit, piece.seen @ x).real
    return comm.allreduce(total)
