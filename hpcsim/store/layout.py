"""What a run file holds, as plain data, and how two runs differ."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from hpcsim.system import spaced
from hpcsim.system.vocabulary import modern, same

DUMPER, LOADER = (getattr(yaml, f"CSafe{kind}", getattr(yaml, f"Safe{kind}")) for kind in ("Dumper", "Loader"))
LONG = 1000  # values of an axis, beyond which the text of a config has their range where they are one
REALISATION = 10**7  # more than a point has records
FREE_SECTIONS = ("run", "figures", "title")  # may change between the sessions of one run


class StoreError(Exception):
    """A file cannot be used. status: 2 if the user's command is to be corrected, 1 for damage and full disks."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message, status)
        self.status = status

    def __str__(self):
        return self.args[0]


def _frozen(values: list) -> list:
    return [tuple(v) if type(v) is list else v for v in values] if any(type(v) is list for v in values) else values


@dataclass(frozen=True)
class Layout:
    """All that is known of a run before it starts.

    config  : resolved plain data
    axes    : of the sweep, {key: values}; the keys of one axis advance together, the axes form an
              outer product with the first axis slowest
    outputs : methods.Output of every result, with dims as long as the longest point needs
    point   : (records,) flat index of the point of each record
    index   : (records,) number of the record within its point; with disorder, REALISATION times the number of its
              realisation more
    """

    config: dict
    axes: tuple[dict, ...]
    outputs: tuple
    point: np.ndarray
    index: np.ndarray

    def __post_init__(self):
        # lists of one number for each site are labels, too
        frozen = tuple({key: _frozen(values) for key, values in axis.items()} for axis in self.axes)
        object.__setattr__(self, "axes", frozen)
        several = bool(np.any(np.asarray(self.index) % REALISATION))
        for output in self.outputs:
            if several and output.reduce == "single":
                raise ValueError(f"output {output.name} is single, but a point has several records")

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(len(next(iter(axis.values()))) for axis in self.axes)


def swept_at(axes, shape: tuple[int, ...], point: int) -> dict:
    """{key: value} of what is swept at one point."""
    where = np.unravel_index(point, shape)
    return {key: values[i] for axis, i in zip(axes, where) for key, values in axis.items()}


def in_words(swept: dict) -> str:
    """For messages: "model.S = 4, model.decay = 0.5"; "" without a sweep."""
    return ", ".join(f"{key} = {value}" for key, value in swept.items())


@dataclass(frozen=True)
class RunData:
    """One run read whole, or kept in memory.

    done    : (records,) bool
    skipped : (records,) bool, not needed for the target_error
    failures : {record: reason} of the records whose method raised an error
    arrays  : {output: (records, *dims)}, of the stored outputs
    seconds : (records,) time each record took
    history : finished sessions, plain data
    """

    path: Path
    layout: Layout
    done: np.ndarray
    skipped: np.ndarray
    failures: dict
    arrays: dict
    seconds: np.ndarray
    history: list
    versions: dict


def config_text(config: dict) -> str:
    """The YAML of a resolved config; `config_of` reads it."""
    sweep = [{key: _short(values) for key, values in axis.items()} for axis in config.get("sweep", ())]
    return yaml.dump(config | ({"sweep": sweep} if sweep else {}), Dumper=DUMPER, sort_keys=False, allow_unicode=True)


def config_of(text) -> dict:
    """The resolved config that `config_text` wrote, this or a former version's. Raises yaml.YAMLError."""
    config = yaml.load(text if isinstance(text, str) else bytes(text), LOADER)
    if isinstance(config.get("model"), dict):
        config["model"] = modern(config["model"])
    for axis in config.get("sweep", ()):
        for key, values in axis.items():
            if isinstance(values, dict):
                axis[key] = spaced(*next(iter(values.items())), most=10**9)
    return config


def _short(values):
    """The values of an axis, or linspace: [first, last, count] where it has them all."""
    if len(values) > LONG and all(type(value) is float for value in values):
        arguments = [values[0], values[-1], len(values)]
        if spaced("linspace", arguments, len(values)) == values:
            return {"linspace": arguments}
    return values


def science(config: dict) -> dict:
    """The part of a config that results depend on; a swept parameter stands in its axis alone."""
    kept = {key: value for key, value in config.items() if key not in FREE_SECTIONS}
    kept["run"] = {"seed": config.get("run", {}).get("seed")}
    for key in (key for axis in config.get("sweep", ()) for key in axis):
        section, _, name = key.partition(".")
        meant = {name} if name in kept[section] else {other for other in kept[section] if same(other, name)}
        kept[section] = {other: value for other, value in kept[section].items() if other not in meant}
    return kept


def difference(a, b, where: str = ""):
    """(path, value in a, value in b) of the first place where two nested plain data differ, or None."""
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = [(key, a.get(key, "absent"), b.get(key, "absent")) for key in {**a, **b}]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) and len(a) == len(b):
        pairs = [(i, x, y) for i, (x, y) in enumerate(zip(a, b))]
    else:
        return None if a == b else (where, a, b)
    found = (difference(x, y, f"{where}.{key}".lstrip(".")) for key, x, y in pairs)
    return next(filter(None, found), None)


def plain_layout(layout: Layout) -> dict:
    """All of a layout but its config and its records, as plain data."""
    return {
        "axes": layout.axes,
        "outputs": {output.name: plain_output(output) for output in layout.outputs},
    }


def plain_output(output) -> dict:
    """An Output, and whether it is stored, as JSON gives it back."""
    names = ("name", "units", "long_name", "dtype", "reduce", "function", "sources", "stored", "internal")
    dims = [{"name": dim.name, "values": dim.values, "units": dim.units} for dim in output.dims]
    all_plain = {name: getattr(output, name) for name in names} | {"dims": dims}
    return json.loads(json.dumps(all_plain, default=plain))


def plain(value):
    """For json: a numpy scalar or array."""
    return value.tolist()


def slab_shape(output) -> tuple[int, ...]:
    return tuple(len(dim.values) for dim in output.dims)
