"""The YAML file: read, merge `quick` and `--set`, expand the sweep, and say clearly what is wrong.

The result is plain data: a dict with the sections title, model, method, sweep, run and figures,
where every axis of `sweep` is a dict {key: list of values}.
"""

import math
import re
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from hpcsim.own import KEYS
from hpcsim.run import courses, disorder, several
from hpcsim.run.numbers import numbers
from hpcsim.run.sources import figures_with_sources, with_sources
from hpcsim.run.text import LONGEST, BadText, parse
from hpcsim.system import Count, Number, Parameters, Whole, axis_value, meant, spaced
from hpcsim.system import shown as _show
from hpcsim.system.vocabulary import NAMES, preferred


class ConfigError(ValueError):
    """The user's input is wrong: one message with the key's path, the value and what is allowed."""

    status = 2  # of the program, see cli


class Run(Parameters):
    """How to run, with no influence on results but through the seed.

    seed            : of every random stream
    ranks_per_point : MPI ranks that share one record (a distributed solve)
    flush_seconds   : at most this much work is lost to a power cut
    device          : cpu, or gpu for methods that can: every rank takes a GPU of its node. Numbers are those of the CPU
                      up to rounding; a run may go on on the other
    """

    seed: Annotated[Whole, Field(ge=0)] = 0
    ranks_per_point: Count = 1
    flush_seconds: Annotated[Number, Field(gt=0)] = 60.0
    device: Literal["cpu", "gpu"] = "cpu"


class Sections(Parameters):
    """The top level of the file."""

    title: str = ""
    model: dict[str, Any]
    method: dict[str, Any]
    sweep: list[dict[str, Any]] = []
    run: Run = Run()
    quick: dict[str, Any] = {}
    figures: list[Any] = []
    disorder: dict[str, Any] = {}
    schedule: dict[str, Any] = {}


RANGES = ("linspace", "geomspace")


SWEPT = rf"(model|method)\.[A-Za-z_]\w*|disorder\.strength|{courses.CONSTANT}"
MOST_POINTS = 10**6  # of a sweep


def _parse(text: str, where: str):
    try:
        return parse(text)
    except BadText as error:
        raise ConfigError(f"{where}: {error}") from None


@contextmanager
def _told():
    """Every ValueError is a ConfigError."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from None


@contextmanager
def in_file(place):
    """Name the file, or another place, in front of every ConfigError."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None


def load(path, overrides=(), quick=False, method: int = 0) -> dict:
    """Read a config file into its resolved sections (plain data).

    overrides : strings "dotted.key=value" that win over the file, value written as in YAML
    quick     : merge the file's `quick` section over the rest
    method    : which one of a list of methods
    Raises ConfigError.
    """
    return resolve(read(path), overrides, quick, Path(path).parent, method)


def read(path):
    """What the YAML of a config file holds. Raises ConfigError."""
    path = Path(path)
    if not path.is_file():
        raise ConfigError("no such file; give the path of a YAML config")
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read as UTF-8 text: {error}") from None
    return _parse(text, "the file")


def figures(path) -> list:
    """The section `figures` of a config file, which needs no other section. Raises ConfigError."""
    raw = read(path)
    section = raw.get("figures") if isinstance(raw, dict) else None
    if not isinstance(section, list) or not section:
        raise ConfigError(
            f"figures = {_show(section)}: a list of figures is needed, as in "
            "figures: [{file: f, panels: [{y: Sz, x: gain}]}]"
        )
    if unknown := [key for key in raw if key not in Sections.model_fields]:
        raise ConfigError(f"{unknown[0]}: unknown key; known: {', '.join(Sections.model_fields)}")
    with _told():
        return figures_with_sources(section, Path(path).parent)


def methods(path, overrides=(), quick=False) -> list[str]:
    """A word for each method of a config that has a list of them, all different; else [""]. Raises ConfigError."""
    with _told():
        return several.words(_merged(read(path), overrides, quick).get("method"))


def resolve(raw, overrides=(), quick=False, folder=Path(), method: int = 0) -> dict:
    """Merge and validate the sections of a parsed file that is in `folder`. Raises ConfigError."""
    raw = _merged(raw, overrides, quick)
    with _told():
        raw = raw | {"method": several.chosen(raw["method"], method)} if "method" in raw else raw
    _refuse_swept(overrides, raw.get("sweep"))
    _refuse_mapping(raw.get("sweep"))
    return _resolved(validate(Sections, raw, "").model_dump(), folder)


def _merged(raw, overrides, quick) -> dict:
    """The sections with those of `quick` and the overrides in them."""
    if not isinstance(raw, dict):
        raise ConfigError(
            f"the file holds {_show(raw)}: a mapping with the keys {', '.join(Sections.model_fields)} is needed"
        )
    if quick:
        if not isinstance(raw.get("quick"), dict) or not raw["quick"]:
            raise ConfigError("quick: missing; --quick needs a section of overrides in the file")
        raw = _named(_merge(_named(raw), raw["quick"]))
    raw = _named(raw)
    for override in overrides:
        raw = _named(_set(raw, override))
    return raw


def _resolved(sections: dict, folder: Path) -> dict:
    sections = _as_numbers(sections)
    with _told():
        sections = with_sources(sections, folder)
    for name in ("model", "method"):
        if not isinstance(sections[name].get("name"), str):
            raise ConfigError(f"{name}.name = {_show(sections[name].get('name'))}: the name of a {name} is needed")
    sections["sweep"] = [_axis(item, f"sweep.{i}") for i, item in enumerate(sections["sweep"])]
    keys = [key for axis in sections["sweep"] for key in axis]
    if twice := {key for key in keys if keys.count(key) > 1}:
        raise ConfigError(f"sweep: {', '.join(sorted(twice))} is swept by two axes; keep one")
    if math.prod(shape(sections)) > MOST_POINTS:
        sizes = " times ".join(map(str, shape(sections)))
        raise ConfigError(f"sweep: {sizes} points are more than {MOST_POINTS}; split it, and collect the runs together")
    del sections["quick"]
    with _told():
        found = {
            disorder.KEY: disorder.checked(sections[disorder.KEY], keys),
            courses.KEY: courses.checked(sections[courses.KEY], keys),
        }
    return {key: found.get(key, section) for key, section in sections.items() if key not in found or found[key]}


def _named(raw: dict) -> dict:
    """`method: liouvillian` stands for `method: {name: liouvillian}`, a method without options; so for a model."""
    words = {key: {"name": raw[key]} for key in ("model", "method") if isinstance(raw.get(key), str)}
    of_time = {courses.KEY: courses.flat(raw[courses.KEY])} if courses.KEY in raw else {}
    return {**raw, **words, **of_time}


def _as_numbers(sections: dict) -> dict:
    """1/2, 2*pi and the like replaced by their values."""
    with _told():
        found = {key: numbers(sections[key], key) for key in ("model", "method", "run", disorder.KEY, courses.KEY)}
        return {**sections, **found, "sweep": [numbers(axis, f"sweep.{i}") for i, axis in enumerate(sections["sweep"])]}


def _refuse_mapping(sweep):
    if isinstance(sweep, dict):
        key, values = next(iter(sweep.items()), ("model.S", [1, 2]))
        raise ConfigError(
            f"sweep = {_show(sweep)}: a list of axes is needed; put a dash before the first key of each axis, as in "
            f"sweep: [{{{key}: {_show(values)}}}]"
        )


def _refuse_swept(overrides, sweep):
    """ConfigError where --set gives one value to a key that an axis of the sweep gives its values."""
    axes = sweep if isinstance(sweep, list) else []
    swept = {_canonical(key): i for i, axis in enumerate(axes) if isinstance(axis, dict) for key in axis}
    for override in overrides:
        path, _, text = override.partition("=")
        value = _parse(text, f"--set {override}")
        inside = [f"{path}.{key}" for key in value] if isinstance(value, dict) else []
        for key in (".".join(path.split(".")[:2]), *inside):
            if _canonical(key) not in swept:
                continue
            axis = swept[_canonical(key)]
            raise ConfigError(
                f"--set {override}: {key} has its values from the sweep, sweep.{axis}; replace the sweep, for "
                f"example --set 'sweep=[{{{key}: [{value[key.removeprefix(f'{path}.')] if inside else text}]}}]', or "
                f"delete it with --set 'sweep=[]'"
            )


def _canonical(path: str) -> str:
    """A path of the config under the preferred name of its key."""
    section, _, key = path.partition(".")
    return f"{section}.{NAMES.get(key, key)}"


def _merge(base: dict, over: dict) -> dict:
    """Nested dicts are merged; anything else (also a list, so the whole sweep) is replaced, but for numbered items."""
    out = dict(base)
    for key, value in over.items():
        if key == "method" and isinstance(value, dict) and isinstance(out.get(key), list):
            with _told():
                out[key] = several.changed(out[key], value, _merge)
            continue
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = _merge(out[key], value) if both else value
    return out


def _set(raw: dict, override: str) -> dict:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: write --set key=value, for example --set model.S=4")
    value = _parse(text, f"--set {override}")
    for part in reversed(key.split(".")):
        value = {part: value}
    if key.split(".")[0] == "sweep" and key != "sweep":
        raise ConfigError(
            f"--set {override}: a sweep is replaced whole, for example --set 'sweep=[{{model.S: [2, 4]}}]'"
        )
    return _merge(raw, value)


def _axis(item: dict, where: str) -> dict:
    """One axis: {key: values}, expanded; all keys advance together."""
    if not item:
        raise ConfigError(f"{where}: an empty axis; give it a key and values, or delete it")
    axis = {}
    for key, values in item.items():
        if not re.fullmatch(SWEPT, key) or key.split(".")[1] in ("name", *KEYS):
            raise ConfigError(
                f"{where}.{key}: only parameters of the model or the method, the strength of disorder, and constants "
                "of a schedule are swept; write model.KEY, method.KEY, disorder.strength or schedule.model.KEY.CONSTANT"
            )
        axis[key] = _values(values, f"{where}.{key}")
    first, values = next(iter(axis.items()))  # names the dimension; the others may repeat values
    if len({repr(v) for v in values}) < len(values):
        raise ConfigError(f"{where}.{first} = {_show(values)}: a value stands twice; each point is computed once")
    lengths = {key: len(values) for key, values in axis.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(
            f"{where}: keys of one axis advance together and need equal lengths, not "
            + ", ".join(f"{k}: {n}" for k, n in lengths.items())
        )
    return axis


def _values(values, where: str) -> list:
    if isinstance(values, dict):
        kind, arguments = next(iter(values.items()), (None, None))
        if len(values) != 1 or kind not in RANGES:
            raise ConfigError(
                f"{where} = {_show(values)}: write a list, or one of "
                + ", ".join(f"{name}: [first, last, count]" for name in RANGES)
            )
        try:
            return spaced(kind, arguments, MOST_POINTS)
        except ValueError as error:
            raise ConfigError(f"{where}.{error}") from None
    if not isinstance(values, list):
        raise ConfigError(f"{where} = {_show(values)}: a list of values is needed")
    if not values:
        raise ConfigError(f"{where} = []: an axis needs at least one value")
    values = [axis_value(where, value) for value in values]
    for value in values:
        if isinstance(value, dict) or value is None or isinstance(value, list) and not _numbers(value):
            raise ConfigError(
                f"{where}: {_show(value)}: the values of an axis are numbers, words, sizes [nx, ny], or lists of one "
                "number for each site"
            )
    return values


def _numbers(value: list) -> bool:
    return bool(value) and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in value)


def shape(config: dict) -> tuple[int, ...]:
    """Number of values along every axis."""
    return tuple(len(next(iter(axis.values()))) for axis in config["sweep"])


def places(config: dict) -> tuple[int, ...]:
    """The shape of the sweep, and behind it the number of realisations where there is disorder."""
    return (*shape(config), *([config[disorder.KEY]["realisations"]] if disorder.KEY in config else []))


def point(config: dict, number: int) -> tuple[dict, dict]:
    """(model, method) of one of the places, the first axis slowest; with disorder, and with parameters in time, the
    model has their POINT."""
    names = ("model", "method", disorder.KEY, courses.KEY)
    found = {key: dict(config[key]) for key in names if key in config}
    lengths = places(config)
    where = [int(i) for i in np.unravel_index(int(number), lengths)] if lengths else []
    for axis, i in zip(config["sweep"], where):
        for key, values in axis.items():
            section, _, name = key.partition(".")
            if section == courses.KEY:
                found[section] = courses.put(found[section], name, values[i])
            else:
                found[section][name] = values[i]
    if disorder.KEY in found:
        of_point = {"seed": config["run"]["seed"], "realisation": where[-1]}
        found["model"][disorder.POINT] = found[disorder.KEY] | of_point
    if courses.KEY in found:
        found["model"][courses.POINT] = found[courses.KEY]
    return found["model"], found["method"]


@contextmanager
def explained(where: str, kind=None, given=()):
    """Turn pydantic's errors into a ConfigError that names the key path, the value and what is allowed.

    given : the keys as the user wrote them, which may be other names
    """
    try:
        yield
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(kind, e, where, given) for e in error.errors()[:3])) from None


def validate(kind: type[Parameters], values: dict, where: str) -> Parameters:
    """kind(**values). Raises ConfigError."""
    with explained(where, kind, values):
        return kind.model_validate(values)


def _explain(kind, error: dict, where: str, given) -> str:
    own = {preferred(key, getattr(kind, "model_fields", ())): key for key in given if isinstance(key, str)}
    names = [str(own.get(part, part) if i == 0 else part) for i, part in enumerate(error["loc"])]
    path = ".".join([where] * bool(where) + names)
    if error["type"] == "extra_forbidden":
        known = _fields_at(kind, error["loc"][:-1])
        hint = meant(error["loc"][-1], known)
        listed = f"; known: {', '.join(known)}" if known else ""
        return f"{path} = {_show(error['input'])}: unknown key{hint}{listed}"
    if error["type"] == "missing":
        return f"{path}: missing; this key is required"
    message = error["msg"].removeprefix("Value error, ")
    message = re.sub(r"^Input should be", "must be", message)
    return f"{path or 'the file'} = {_show(error['input'])}: {message}"


def _fields_at(kind, loc) -> list[str]:
    for part in loc:
        annotation = kind.model_fields[part].annotation if part in getattr(kind, "model_fields", {}) else None
        if not hasattr(annotation, "model_fields"):
            return []
        kind = annotation
    return list(kind.model_fields)
