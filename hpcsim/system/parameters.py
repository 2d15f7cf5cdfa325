"""Parameters that the YAML file may contain, frozen, and the types of their values."""

import difflib
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from hpcsim.system import vocabulary

# Beyond these no machine would come to an end, and the numbers themselves would fill its memory
LARGEST, LARGEST_SPIN = 1e300, 1e9
SIZES = ("sites", "cells")  # parameters that may be [nx, ny]
MOST, MOST_SITES, MOST_TIMES = 10**9, 10**6, 10**6


class Parameters(BaseModel):
    """Base of every model's `Params` and method's `Options`: frozen, and no unknown keys.

    FORMERLY : {field: its name in the first version}, of fields that were renamed
    LATER    : {field: value}, of fields that came later, whose value changes nothing
    Keys may have other names, see `hpcsim.system.vocabulary`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    FORMERLY: ClassVar[dict[str, str]] = {}
    LATER: ClassVar[dict[str, Any]] = {}

    @model_validator(mode="before")
    @classmethod
    def _one_vocabulary(cls, values):
        return vocabulary.in_preferred_names(values, cls.model_fields) if isinstance(values, dict) else values

    def identity(self) -> dict:
        """What keys the random streams of a point: plain data, the same in all versions."""
        given = {key: value for key, value in self.model_dump().items() if (key, value) not in self.LATER.items()}
        return {self.FORMERLY.get(key, key): value for key, value in given.items()}


def keys_of_task(options: Any, keys: dict[str, tuple[str, ...]]) -> None:
    """ValueError where options lack a key that their task requires, or have one that belongs to others.

    keys : {key: the tasks that require it, and no others have}; a key is not given where it is None or ()
    """
    task = options.task
    for key, tasks in keys.items():
        given = getattr(options, key) not in (None, ())
        if task in tasks and not given:
            raise ValueError(f"{key} is missing; task: {task} requires it")
        if task not in tasks and given:
            belongs = f"task: {tasks[0]}" if len(tasks) == 1 else f"the tasks {' and '.join(tasks)}"
            raise ValueError(f"{key} belongs to {belongs}, not to {task}; delete it")


def _plain(value):
    """NumPy's numbers as Python's, which every NumPy writes alike."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    return [_plain(each) for each in value] if isinstance(value, list) else value


def shown(value, length: int = 60) -> str:
    """`value` as a message shows it: repr, cut to `length` characters."""
    try:
        text = repr(_plain(value))
    except (ValueError, RecursionError):  # thousands of digits, or of lists in lists
        text = f"<{type(value).__name__}>"
    return text if len(text) <= length else text[: length - 3] + "..."


def meant(name, known) -> str:
    """What a message adds on a name that is nearly one of those known; "" on any other."""
    close = difflib.get_close_matches(str(name)[:100], dict.fromkeys(known), 3)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def _no_bool(value):
    if isinstance(value, bool):
        raise ValueError("a number is needed, not true/false")
    return value


def _half_integer(value):
    if value > LARGEST_SPIN:
        raise ValueError(f"a spin is at most {LARGEST_SPIN:g}")
    if value <= 0 or 2 * value != round(2 * value):
        raise ValueError("a spin is a positive multiple of 1/2 (0.5, 1, 1.5, ...)")
    return value


def _numbers(value) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) <= LARGEST for x in value
    )


def direction(value) -> tuple[float, float]:
    """A direction [polar, azimuth] in units of π. Raises ValueError."""
    if not _numbers(value) or len(value) != 2 or not 0 <= value[0] <= 1:
        raise ValueError("a direction is [polar, azimuth] in units of π, with 0 <= polar <= 1; [0, 0] is up")
    return float(value[0]), float(value[1])


def _initial(value):
    if isinstance(value, dict) and value:
        return {str(name): direction(each) for name, each in value.items()}
    return direction(value)


def spaced(kind: str, arguments, most: int) -> list[float]:
    """The values of linspace or geomspace: [first, last, count], at most `most`. Raises ValueError."""
    ok = isinstance(arguments, (list, tuple)) and len(arguments) == 3 and _numbers(arguments)
    ok = ok and isinstance(arguments[2], int) and arguments[2] >= 1
    if not ok or kind == "geomspace" and not arguments[0] * arguments[1] > 0:
        ends = " and ends of one sign, not zero" if kind == "geomspace" else ""
        raise ValueError(f"{kind} = {shown(arguments)}: needs [first, last, count] with count >= 1{ends}")
    if arguments[2] > most:
        raise ValueError(f"{kind} = {shown(arguments)}: {arguments[2]} values are more than {most}")
    # twelve digits: the value is the one a person would have typed
    first, last, count = arguments
    return [float(f"{x:.12g}") for x in getattr(np, kind)(float(first), float(last), count)]


def axis_value(key: str, value):
    """A value of a parameter as an axis of a sweep has it: sizes [nx, ny] of a lattice are the word nxxny, its label.

    key : of the config, as model.sites
    """
    name = key.rpartition(".")[2]
    size = isinstance(value, (list, tuple)) and value and all(type(n) is int and n > 0 for n in value)
    if not size or vocabulary.NAMES.get(name, name) not in SIZES:
        return value
    return value[0] if len(value) == 1 else "x".join(map(str, value))


def _rising(value, negative: bool) -> tuple[float, ...]:
    """A rising tuple of numbers from a list of them, or from linspace: [first, last, count]. Raises ValueError."""
    if isinstance(value, dict) and list(value) == ["linspace"]:
        value = spaced("linspace", value["linspace"], MOST_TIMES)
    found = tuple(map(float, value)) if _numbers(value) else ()
    if not found or np.any(np.diff(found) <= 0) or found[0] < 0 and not negative:
        what = (
            "frequencies are a rising list of numbers"
            if negative
            else "times are a rising list of numbers, not negative"
        )
        raise ValueError(f"{what}, or linspace: [first, last, count]")
    return found


Direction = tuple[float, float]
# directions of spin coherent states, of all spins or by sublattice; times of results, frequencies
Initial = Annotated[Direction | dict[str, Direction], BeforeValidator(_initial)]
Times = Annotated[tuple[float, ...], BeforeValidator(partial(_rising, negative=False))]
Frequencies = Annotated[tuple[float, ...], BeforeValidator(partial(_rising, negative=True))]
Number = Annotated[float, BeforeValidator(_no_bool)]
Whole = Annotated[int, BeforeValidator(_no_bool), Field(ge=-(2**63), lt=2**63)]
Count = Annotated[Whole, Field(ge=1, le=MOST)]
Rate = Annotated[Number, Field(ge=0)]
Spin = Annotated[
    Number, AfterValidator(_half_integer), WithJsonSchema({"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 0})
]
