"""Parameters as functions of time: the section `schedule` of a config.

    schedule:
      model.gain: {times: [0, 10], values: [0.5, 2]}                # kind: linear (default), step or smooth
      model.field_x: {function: "0.3*cos(2*pi*t/T)", T: 5}          # T and others: constants, which may be swept
      model.decay: {times: [0, 1], values: [0, 1], kind: step, period: 2}

Each takes the place of the value that the model has. Before the first of its times a parameter has the first value,
after the last one the last. Functions know t, pi, + - * / ** and those of `hpcsim.system.expression`. The numbers are
for the tasks that evolve in time, of the methods that say so; nothing but coefficients and rates may change.
"""

import re
from collections.abc import Callable

import numpy as np

from hpcsim.system import System, shown
from hpcsim.system.course import EXAMPLE, Course
from hpcsim.system.drive import driven
from hpcsim.system.vocabulary import NAMES, in_preferred_names, preferred

KEY = "schedule"
POINT = "(schedule)"  # where the model of one point has the section
PARAMETER = re.compile(r"model\.([A-Za-z_]\w*)")
CONSTANT = r"schedule\.model\.[A-Za-z_]\w*\.[A-Za-z_]\w*"  # of a sweep
FIXED = ("function", "times", "values", "kind", "period")  # of which `period` alone may be swept


def checked(section: dict, swept: list[str]) -> dict:
    """The section `schedule`. Raises ValueError with the path of what is wrong.

    swept : keys of the sweep, whose constants need not be there yet
    """
    one_name = {_one_name(key): key for key in swept if key.startswith("model.")}
    for key, course in section.items():
        where = f"{KEY}.{key}"
        if not PARAMETER.fullmatch(key):
            raise ValueError(f"{where}: parameters of the model alone depend on time; write model.KEY: {EXAMPLE}")
        if twice := one_name.get(_one_name(key)):
            raise ValueError(f"sweep: {twice} is swept, and {where} says what it is in time; keep one")
        if not isinstance(course, dict):
            raise ValueError(f"{where} = {shown(course)}: write {EXAMPLE}")
        constants = {key.rpartition(".")[2]: 1.0 for key in swept if key.rpartition(".")[0] == where}
        if fixed := next((name for name in constants if name in FIXED and name != "period"), None):
            raise ValueError(f"sweep: {where}.{fixed}: constants of a function alone are swept")
        Course(course | constants, where)
    for key in swept:
        if re.fullmatch(CONSTANT, key) and key.removeprefix(f"{KEY}.").rpartition(".")[0] not in section:
            raise ValueError(f"sweep: {key} is swept, and {key.rpartition('.')[0]} is missing; add it")
    return section


def _one_name(key: str) -> str:
    section, _, name = key.partition(".")
    return f"{section}.{NAMES.get(name, name)}"


def flat(section):
    """The section with model.KEY for KEY below model, as --set schedule.model.KEY.T=5 has it."""
    below = section.get("model") if isinstance(section, dict) else None
    if not isinstance(below, dict):
        return section
    found = {key: value for key, value in section.items() if key != "model"}
    for key, value in ((f"model.{key}", value) for key, value in below.items()):
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = found[key] | value if both else value
    return found


def put(section: dict, key: str, value) -> dict:
    """The section with the value of a constant, key = model.NAME.CONSTANT."""
    name, _, constant = key.rpartition(".")
    return section | {name: section[name] | {constant: value}}


def value(section: dict, key: str):
    """The value of a constant, key = model.NAME.CONSTANT."""
    name, _, constant = key.rpartition(".")
    return section[name][constant]


def with_first(model: dict, section: dict, known) -> dict:
    """A section `model` with the values of the parameters at time 0, under their preferred names.

    known : the parameters that the model has
    """
    first = {name: float(course(np.zeros(1))[0]) for name, course in courses(section, known).items()}
    return in_preferred_names(model, known) | first


def courses(section: dict, known) -> dict[str, Course]:
    """{parameter: its course}. Raises ValueError where the model has no such parameter."""
    found = {}
    for key, course in section.items():
        name = preferred(given := PARAMETER.fullmatch(key)[1], known)
        if name not in known:
            raise ValueError(f"{KEY}.{key}: the model has no parameter {given}; it has {', '.join(known)}")
        if name in found:
            raise ValueError(f"{KEY}.{key}: {name} stands twice; keep one")
        found[name] = Course(course, f"{KEY}.{key}")
    return found


def require_period(section: dict, known, period: float) -> None:
    """Raise ValueError where a parameter does not have this period."""
    times = period * np.linspace(0.01, 0.99, 50)
    for name, course in courses(section, known).items():
        first, later = course(times), course(times + period)
        if np.any(abs(later - first) > 1e-9 * np.abs([first, later]).max()):
            raise ValueError(
                f"method.period = {period:g}: {KEY}.model.{name} does not have this period; change one of them, or add "
                f"period: {period:g} to it, which repeats its values between 0 and {period:g}"
            )


def in_time(section: dict, known, build: Callable[[dict], System], end: float) -> System:
    """The system whose parameters depend on time, from 0 to `end`. Raises ValueError."""

    def at(values: dict, t: float) -> System:
        try:
            return build(values)
        except ValueError as error:
            given = ", ".join(f"{name} = {value:.6g}" for name, value in values.items())
            raise ValueError(f"{KEY}: at t = {t:.6g}, where {given}: {error}") from None

    try:
        return driven(at, courses(section, known), end)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(KEY) else f"{KEY}: {text}") from None
