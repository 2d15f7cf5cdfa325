"""Two-time functions of the steady state that a config asks for: their operators and their outputs.

    {name: g1, A: [[S+, 0]], B: [[S-, 0]]}     ⟨A(τ) B(0)⟩, or its spectrum
    {name: g2, lowering: [[S-, 0]]}            of c = S-_0: ⟨c† c†(τ) c(τ) c⟩ / ⟨c†c⟩², or the spectrum of ⟨c†(τ) c(0)⟩

An operator is a product of site operators, [[S+, 0], [Sz, 1]], or a sum, {sum: S-, weights: [1, -1]}, with the keys of
the entries of `observables`.
"""

from typing import Annotated, NamedTuple

from pydantic import BeforeValidator
from scipy import sparse

from hpcsim import observables
from hpcsim.observables.matrices import operator
from hpcsim.observables.outputs import Dim, Output, inverse
from hpcsim.observables.products import KINDS, units_of
from hpcsim.system import System

FORMS = ({"A", "B"}, {"lowering"})


class TwoTime(NamedTuple):
    """A function of two operators A and B, of which B acts first: matrices (D, D).

    lowering : whether they are c† and c, of an operator c that the config calls so
    key      : tells B from others
    """

    name: str
    A: sparse.csr_matrix
    B: sparse.csr_matrix
    lowering: bool
    key: str


def _functions(values) -> tuple:
    if not isinstance(values, (list, tuple)):
        raise ValueError("a list is needed, such as [{name: g1, A: [[S+, 0]], B: [[S-, 0]]}]")
    found = tuple(map(_function, values))
    check_names([each["name"] for each in found])
    return found


def check_names(names: list[str], where: str = "") -> None:
    """ValueError, which begins with `where`, where a name stands twice."""
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{where}each name once, and {repeated} stands twice; give one of them another name")


def named(value, kind: str) -> str:
    """The key `name` of an entry; ValueError where it is no word of its own."""
    name = value.get("name")
    if not isinstance(name, str) or not name.isidentifier() or observables.is_known(name):
        raise ValueError(f"{value}: name must be a word, and not that of an observable; such as my_{kind}")
    return name


def _function(value) -> dict:
    if not isinstance(value, dict) or set(value) - {"name"} not in FORMS:
        raise ValueError(
            f"{value} is no function: write {{name: NAME, A: OPERATOR, B: OPERATOR}} or {{name: NAME, lowering: "
            "OPERATOR}, an OPERATOR being a product such as [[S+, 0]] or a sum such as {sum: S-}"
        )
    name = named(value, "function")
    return {"name": name} | {key: _operator(value[key], f"{name}: {key}") for key in value if key != "name"}


def _operator(value, where: str) -> dict:
    """An operator with the keys of an entry of `observables`."""
    entry = {"product": value} if isinstance(value, (list, tuple)) else value
    kind = next((kind for kind in KINDS if isinstance(entry, dict) and kind in entry), None)
    if kind is None or set(entry) - set(KINDS[kind].checks):
        raise ValueError(
            f"{where} = {value}: write a product of site operators, such as [[S-, 0]] or [[S-, 0], [Sz, 1]], or a sum "
            "over all sites, such as {sum: S-} or {sum: S-, weights: alternating}"
        )
    try:
        return {key: check(entry[key]) for key, check in KINDS[kind].checks.items() if key in entry}
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


Functions = Annotated[tuple, BeforeValidator(_functions)]


def means_of(system: System, item: dict) -> list:
    """The operators of a function as `Mean`s, A and B, or c alone. Raises ValueError where the system has none such."""
    found = []
    for key in [key for key in item if key != "name"]:
        kind = next(kind for kind in KINDS if kind in item[key])
        try:
            found.append(KINDS[kind].make(system, {"name": f"{item['name']}: {key}"} | item[key])[0])
        except ValueError as error:
            raise ValueError(str(error).replace("method.observables", "method.functions", 1)) from None
    return found


def _units(means: list) -> str:
    """The units of AB, or of c†c."""
    names = [name for mean in means for part in mean.elements[()] for name in part.operators]
    return units_of(names * (3 - len(means)))


def built(system: System, items) -> list[TwoTime]:
    """The functions of a config with their matrices."""
    found = []
    for item in items:
        matrices = dict(zip([key for key in item if key != "name"], means_of(system, item)))
        matrices = {key: operator(system, mean.elements[()]) for key, mean in matrices.items()}
        if lowering := "lowering" in item:
            matrices = {"A": matrices["lowering"].getH().tocsr(), "B": matrices["lowering"]}
        key = repr(item["lowering" if lowering else "B"])
        found.append(TwoTime(item["name"], matrices["A"], matrices["B"], lowering, key))
    return found


def outputs(system: System, options) -> tuple[Output, ...]:
    """What the tasks correlation and emission return. Raises ValueError where a system does not have an operator."""
    of_one = _spectrum if options.task == "emission" else _correlation
    found = [output for item in options.functions for output in of_one(system, options, item)]
    if options.task == "emission":
        found.append(Output("residual", (), "1", "largest |(iω - L)y - x| / |x| of all frequencies"))
    check_names([output.name for output in found], "method.functions: ")
    return tuple(found)


def _correlation(system: System, options, item: dict) -> list[Output]:
    units, along = _units(means_of(system, item)), (Dim("tau", options.times, inverse(system.units)),)
    if "lowering" in item:
        return [Output(item["name"], along, "1", "⟨c† c†(τ) c(τ) c⟩ / ⟨c†c⟩²")]
    return [Output(item["name"], along, units, "⟨A(τ) B(0)⟩ in the steady state", "c16")]


def _spectrum(system: System, options, item: dict) -> list[Output]:
    units, lowering = _units(means_of(system, item)), "lowering" in item
    of_time, along = inverse(system.units), (Dim("omega", options.frequencies, system.units),)
    density = of_time if units == "1" else units + of_time.removeprefix("1")
    text = "⟨c†(τ) c⟩ - |⟨c⟩|²" if lowering else "⟨A(τ) B⟩ - ⟨A⟩⟨B⟩"
    whole = Output(item["name"], along, density, f"2 Re ∫_0^∞ ({text}) exp(-iωτ) dτ")
    text = "|⟨c⟩|²" if lowering else "⟨A⟩⟨B⟩"
    text = f"{text}: the coherent part of the spectrum is 2π δ(ω) times this"
    return [whole, Output(f"{item['name']}_coherent", (), units, text, "f8" if lowering else "c16")]
