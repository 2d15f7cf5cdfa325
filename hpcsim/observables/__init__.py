"""Every observable once: which expectation values it needs, how it is finished, how records of an ensemble reduce.

A method calls `plan(system, items, ...)` in its `records`, `outputs` and `run`, and uses three things of it:

    plan.means             {name: Mean}: what to deliver, arrays of expectation values, linear in ρ. A method goes
                           through mean.elements (an object array; of each element the Products to add up, or None for
                           NaN), or knows a quicker way for some names, such as correlation. Where it cannot deliver
                           one, it raises ValueError("method.observables: NAME: REASON") in `records`
    plan.outputs           what to declare in `outputs`
    plan.finish(values)    what a record returns, from {name of a Mean: array (*dims, *time)}

For an exact method the derived quantities (variances, squeezing, lengths, entropies) are finished at once and internal
means left out. With ensemble=True a record returns the means as they are; the derived quantities are finished after
averaging over the records, with a jackknife error, by `reduced` in collect and at each look of a target_error. So a
nonlinear function is never averaged over records.

A family is one file of this folder. It may have

    OBSERVABLES   {name in the config: function (system, setting) -> list of Mean and Derived}
    KINDS         {key of an item such as {name: edge, product: ...}: Kind}
    FUNCTIONS     {name: Function}, the finishing functions that its Derived name

The functions raise ValueError with the reason where a system does not have the observable. A file of the user's own has
`observable(system, params)` with such a list, see `hpcsim.observables.own`; what it derives is a `formula`.
"""

import functools
import importlib
import math
import pkgutil
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import BeforeValidator

from hpcsim.ensemble.reduce import REDUCTIONS, jackknife
from hpcsim.observables import formulas
from hpcsim.observables import own as of_files
from hpcsim.observables.formulas import formula
from hpcsim.observables.outputs import Dim, Output
from hpcsim.observables.products import NAMED, named
from hpcsim.observables.terms import Derived, Function, Mean, Products, Setting, array_of, derived, number
from hpcsim.system import System

__all__ = [
    "DEFAULT",
    "FUNCTIONS",
    "OBSERVABLES",
    "Derived",
    "Dim",
    "Mean",
    "Output",
    "Plan",
    "Products",
    "Setting",
    "array_of",
    "derived",
    "finishing",
    "formula",
    "items",
    "largest_error",
    "name_of",
    "number",
    "plan",
    "reduced",
]

_FAMILIES = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
OBSERVABLES = {name: make for family in _FAMILIES for name, make in getattr(family, "OBSERVABLES", {}).items()}
KINDS = {key: kind for family in _FAMILIES for key, kind in getattr(family, "KINDS", {}).items()}
FUNCTIONS = {name: call for family in _FAMILIES for name, call in getattr(family, "FUNCTIONS", {}).items()}
DEFAULT = ("spins", "variances")  # measured by every method that can, without being asked


# ------------------------------------------------------------------ what a config asks for


def items(*own: str):
    """The type of a method's option `observables`: a tuple of names and of {name, ...} items, each checked.

    own : names that only this method knows, and measures itself
    """
    return Annotated[tuple, BeforeValidator(lambda values: _items(values, own))]


def _items(values, own) -> tuple:
    if not isinstance(values, (list, tuple)):
        raise ValueError("a list is needed, such as [Sz, correlation]")
    found = tuple(_item(value, own) for value in values)
    names = [name_of(item) for item in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"each observable once, and {repeated} stands twice; delete one, or give it another name")
    return found


def name_of(item) -> str:
    return item if isinstance(item, str) else item["name"]


def is_known(name: str) -> bool:
    """Whether every method knows the name, if only to refuse it."""
    return name in OBSERVABLES or NAMED.fullmatch(name) is not None


def _item(value, own):
    if isinstance(value, str):
        if is_known(value) or value in own:
            return value
        raise ValueError(
            f"{value} is not known: there are {', '.join([*OBSERVABLES, *own])}; correlators by name such as Sz_3, "
            "Sx_3_Sy_5 and, against the distance, Sx_Sy; and items such as {name: edge, product: [[Sz, 0], [Sz, 3]]}"
        )
    if isinstance(value, dict) and {"source", "package"} & value.keys():
        return of_files.checked(value, lambda name: is_known(name) or name in own)
    kinds = [key for key in KINDS if isinstance(value, dict) and key in value]
    if len(kinds) != 1:
        raise ValueError(
            f"{value} is not known: write the name of an observable, {{name: NAME, KEY: ...}} with one KEY out of "
            f"{', '.join(KINDS)}, or in a config {{file: my_observable.py}}"
        )
    checks, name = KINDS[kinds[0]].checks, value.get("name")
    if further := sorted(set(value) - {"name", *checks}):
        raise ValueError(f"{value}: unknown key {further[0]}; known: name, {', '.join(checks)}")
    if not isinstance(name, str) or not name.isidentifier() or is_known(name):
        raise ValueError(f"{value}: name must be a word, and not that of another observable; such as my_{kinds[0]}")
    return {"name": name} | {key: check(value[key]) for key, check in checks.items() if key in value}


# ------------------------------------------------------------------ what a method delivers


@dataclass(frozen=True)
class Plan:
    """What is measured on one system, see the top of this file.

    means   : {name: Mean} that the method delivers
    outputs : what it declares
    """

    means: dict[str, Mean]
    derived: tuple[Derived, ...]
    time: tuple[Dim, ...]
    ensemble: bool

    @functools.cached_property
    def outputs(self) -> tuple[Output, ...]:
        """For an exact method the public outputs; for an ensemble the means and the functions of their averages."""
        found = []
        for mean in self.means.values():
            if self.ensemble or mean.public:
                kind = dict(reduce="mean" if self.ensemble else "single", internal=not mean.public)
                found.append(replace(mean.output, dims=mean.output.dims + self.time, **kind))
        for each in self.derived:
            dims = each.output.dims + (self.time if each.timed else ())
            kind = {} if self.ensemble else dict(reduce="single", sources=(), function="")
            found.append(replace(each.output, dims=dims, **kind))
        return tuple(found)

    def finish(self, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What a record returns, from the array (*dims, *time) of every Mean."""
        if self.ensemble:
            return {name: values[name] for name in self.means}
        found = {name: values[name] for name, mean in self.means.items() if mean.public}
        for name, call, sources in self._calls:
            found[name] = call(*(values[source] for source in sources))
        return found

    @functools.cached_property
    def _calls(self) -> list:
        """(name, function, names of its arguments) of what is derived."""
        return [(each.name, each.call or finishing(each.output), each.output.sources) for each in self.derived]


def plan(
    system: System,
    items,
    time: tuple[Dim, ...] = (),
    ensemble: bool = False,
    own: tuple[str, ...] = (),
    setting: Setting | None = None,
) -> Plan:
    """The Plan of a system for names and items as the config has them. Raises ValueError with the reason.

    items : DEFAULT or a part of it, and what the user asks for
    time  : (Dim,) when evolving, or ()
    own   : names to leave out, which only this method knows
    setting : what else there is to know of the method
    """
    setting = setting or Setting()
    if setting.evolving != bool(time):
        setting = replace(setting, evolving=bool(time))
    key = "observables", repr(items), time, ensemble, own, setting
    return system.of_structure(key, lambda: _plan(system, items, time, ensemble, own, setting))


def _plan(system: System, items, time, ensemble: bool, own, setting: Setting) -> Plan:
    found: dict[str, Mean | Derived] = {}
    for item in items:
        if isinstance(item, str) and item in own:
            continue
        for each in _parts(system, item, setting):
            if each.name in found and found[each.name].output != each.output:
                raise ValueError(f"method.observables: two observables have the name {each.name}; rename one")
            found.setdefault(each.name, each)
    means = {name: each for name, each in found.items() if isinstance(each, Mean)}
    functions = tuple(each for each in found.values() if isinstance(each, Derived))
    for each in functions:
        if absent := [name for name in each.output.sources if name not in means]:
            raise ValueError(f"method.observables: {each.name} is a function of {absent[0]}, which is not measured")
        if ensemble and each.call is not None:
            raise ValueError(
                f"method.observables: {each.name}: its Python function cannot be evaluated by collect, which executes "
                "no file of one's own; write it as a formula, or take a method without statistical errors"
            )
    return Plan(means, functions, time, ensemble)


def _parts(system, item, setting: Setting) -> list:
    if not isinstance(item, str) and {"source", "package"} & item.keys():
        return of_files.parts(system, item)
    if not isinstance(item, str):
        kind = next(key for key in KINDS if key in item)
        return KINDS[kind].make(system, item)
    if item in OBSERVABLES:
        return OBSERVABLES[item](system, setting)
    return named(system, item, setting)


# ------------------------------------------------------------------ how records reduce


def finishing(output) -> Function:
    """The function of a derived output: one of FUNCTIONS, or a formula. Raises ValueError where it is neither."""
    return FUNCTIONS.get(output.function) or formulas.function(output.function, output.sources)


def reduced(output, rows):
    """The value (*dims) of a point and its standard error, NaN where it has none, from its records.

    rows : (name) -> (records, *dims), what the records returned for a stored output, in the order of their index
    """
    if output.reduce == "function":
        return jackknife(finishing(output), [rows(name) for name in output.sources])
    return REDUCTIONS[output.reduce](output, rows)


def largest_error(output, value, error) -> float:
    """Largest standard error among the elements of an average, for a target; inf where it is not known.

    Elements that are NaN in every record are not there: a smaller system has fewer distances. But what an elusive
    function did not find may be found yet.
    """
    elusive = output.reduce == "function" and finishing(output).elusive
    absent = np.isnan(value) & (not elusive)
    errors = np.where(np.isnan(error), np.inf, error)[~absent]
    return float(errors.max()) if errors.size else math.inf
