"""Observables of one's own: an item {file: my_observable.py, KEY: value, ...} of `method.observables`.

    '''Its docstring says what it is.'''
    import numpy as np
    from hpcsim.observables import Output, Products, formula, number
    from hpcsim.system import Number, Parameters

    class Params(Parameters):                    # may be missing: the keys of the item
        '''power : of the distance'''
        power: Number = 1.0

    def observable(system, params):              # -> list of Mean and Derived
        return [number(Output("M2", units="ħ²"), Products(("Sz", "Sz"), pairs, weights)), formula("q", "1 - M2")]

A file is executed when the method's options are checked, see `hpcsim.own`.
"""

from pydantic import ValidationError

from hpcsim.observables.terms import Derived, Mean
from hpcsim.own import KEYS, module, told
from hpcsim.system import Parameters, System


def checked(item: dict, taken) -> dict:
    """The item as it is, of a file that is an observable and has these keys. Raises ValueError.

    taken : (name) -> whether the package has it
    """
    name, found = item["name"], module(item, "observable")
    if not isinstance(name, str) or not name.isidentifier() or taken(name):
        raise ValueError(f"{name}: its name must be a word, and not that of an observable of the package; add a name")
    try:
        _params(found)(**_keys(item))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:3])
        raise ValueError(f"observable {name}: {wrong}") from None
    return item


def parts(system: System, item: dict) -> list:
    """What the file says is to be measured. Raises ValueError, in one line whatever goes wrong in the file."""
    name, own = item["name"], module(item, "observable")
    try:
        found = list(own.observable(system, _params(own)(**_keys(item))))
    except ValueError as error:
        raise ValueError(f"method.observables: {name}: {error}") from None
    except Exception as error:
        raise ValueError(told(error, "observable", name)) from None
    if wrong := [each for each in found if not isinstance(each, (Mean, Derived))]:
        raise ValueError(
            f"observable {name}: its function gives {type(wrong[0]).__name__}; a list of Mean and Derived "
            "is needed, as number(), formula() and derived() make them"
        )
    return found


def _params(own) -> type[Parameters]:
    return getattr(own, "Params", Parameters)


def _keys(item: dict) -> dict:
    return {key: value for key, value in item.items() if key not in ("name", *KEYS)}
