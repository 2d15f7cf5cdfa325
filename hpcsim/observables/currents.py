"""Currents of jumps that a config asks for: which channels are counted, with which weights, and their outputs.

{name: photons, jumps: S-}                              the jumps of that operator
{name: net, jumps: {S-: 1, S+: -1}, sites: [0]}         with weights, and on these sites only
"""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from hpcsim.observables.outputs import Output
from hpcsim.observables.two_times import check_names, named
from hpcsim.system import Jumps, System

EXAMPLE = "{name: photons, jumps: S-}, or {name: net, jumps: {S-: 1, S+: -1}, sites: [0]}"
NOTE = "a weight is a number, the operators of a jump stand with a space between them"


def _channels(values) -> tuple:
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"a list is needed, such as [{EXAMPLE}]")
    found = tuple(map(_channel, values))
    check_names([name for each in found for name in names(each)])
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


def names(item: dict) -> tuple[str, str, str]:
    return item["name"], f"{item['name']}_variance", f"{item['name']}_fano"


def outputs(system: System, options) -> tuple[Output, ...]:
    """Raises ValueError where a system has no such jumps."""
    found = []
    for item in options.channels:
        _check(system, item)
        mean, variance, fano = names(item)
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
        if not any(is_counted(table, item, jumps, row) for table in system.jumps for row in range(len(table.sites))):
            known = ", ".join(dict.fromkeys(" ".join(table.operators) for table in system.jumps)) or "none"
            raise ValueError(f"{where}there are no jumps {jumps} on these sites; the operators of jumps are {known}")


def is_counted(table: Jumps, item: dict, jumps: str, row: int) -> bool:
    inside = "sites" not in item or set(table.sites[row].tolist()) <= set(item["sites"])
    return tuple(jumps.split()) == table.operators and inside


def counted(system: System, item: dict) -> Iterator[float]:
    """The weight ν of every channel whose rate is not zero, in the order of the tables, 0 where it is not counted.

    A channel is counted where all products of it are on the sites asked for.
    """
    for table in system.jumps:
        for _, rows, _ in table.channels():
            weights = (w for jumps, w in item["jumps"].items() if all(is_counted(table, item, jumps, r) for r in rows))
            yield next(weights, 0.0)
