"""Reading what collect wrote, for figures."""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import yaml

from hpcsim.store import seal
from hpcsim.store.disk import MAGIC as RUN_FILE
from hpcsim.store.layout import StoreError, config_of, in_words

log = logging.getLogger("hpcsim")

DAMAGE = (OSError, LookupError, TypeError, ValueError, RuntimeError, yaml.YAMLError)  # what h5py makes of damaged bytes
HDF5_OWN_ATTRIBUTES = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST")


@dataclass(frozen=True)
class Variable:
    """An array with the names of its dimensions and its attributes (units, long_name)."""

    dims: tuple[str, ...]
    values: np.ndarray
    attrs: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Collected:
    """A collected file: its variables (coordinates among them), its attributes and its resolved config."""

    variables: dict[str, Variable]
    attrs: dict
    config: dict


def failures(data: Collected) -> list[tuple]:
    """(place, record, reason) of the records that failed, as far as the file names them."""
    return [
        (
            in_words({key: value for key, value in each.items() if key not in ("record", "reason")}),
            each.get("record", ""),
            each.get("reason", ""),
        )
        for each in json.loads(data.attrs.get("failures", "[]"))
    ]


def shortfall(data: Collected) -> str:
    """How much of a file is there, "12 of 40 records, 2 failed at model.S = 4"; "" where nothing is missing.

    Points that no run has are not missing; records that a target_error did not need are not, either.
    """
    done, total, failed = _counts(data)
    if done == total:
        return ""
    places = [*dict.fromkeys(place for place, _, _ in failures(data) if place)]
    at = f" at {'; '.join(places[:3])}" * bool(places) + " and elsewhere" * (len(places) > 3)
    return f"{done} of {total} records" + f", {failed} failed{at}" * bool(failed)


def is_settled(data: Collected) -> bool:
    """Whether no record is missing but those that failed."""
    done, total, failed = _counts(data)
    return done + failed == total


def _counts(data: Collected) -> Iterator[int]:
    """Yield how many records are done, how many there are, and how many failed."""
    for kind in ("done", "total", "failed"):
        count = data.variables.get(f"records_{kind}")
        yield 0 if count is None else int(np.sum(count.values))


def slug(method: str) -> str:
    """The name of a method as it stands behind the name of a result that it does not share with others."""
    return re.sub(r"\W+", "_", method).strip("_")


def methods_of(variable: Variable, default) -> list:
    """Those that deliver a variable, as a file of several methods names them."""
    return json.loads(variable.attrs["methods"]) if "methods" in variable.attrs else default


def asked(data: Collected, variable: Variable) -> np.ndarray:
    """Whether a run has the point, and its method the variable and the label, as a time; of the variable's shape."""
    records, values = data.variables.get("records_total"), variable.values
    if not records or variable.dims[: len(records.dims)] != records.dims:  # the sweep's dimensions come first
        return np.ones(values.shape, bool)
    sweep, further = len(records.dims), tuple(range(len(records.dims), values.ndim))
    asked = np.broadcast_to(np.expand_dims(records.values > 0, further), values.shape)
    if "method" not in records.dims[:1]:
        return asked
    methods = data.variables["method"].values
    delivers = np.isin(methods.astype(str), methods_of(variable, methods)).reshape(-1, *[1] * (values.ndim - 1))
    labels = ~np.isnan(values).all(axis=tuple(range(1, sweep)), keepdims=True)
    return asked & delivers & (labels | ~labels.any(axis=further, keepdims=True))


@contextmanager
def _reading(path):
    """The open file, by Python's own: HDF5 refuses one that this process, for instance xarray, has open otherwise."""
    with open(path, "rb") as raw, h5py.File(raw, "r") as file:
        yield file


def is_collected(path) -> bool:
    """Whether hpcsim collect wrote the file."""
    try:
        return not _is_run(path) and (seal.has_seal(path) or seal.probe(path)[0])
    except (OSError, StoreError):
        return False


def _is_run(path) -> bool:
    """Whether it begins as a run file does. Raises OSError."""
    with open(path, "rb") as file:
        return file.read(len(RUN_FILE)) == RUN_FILE


def load(path) -> Collected:
    """Read a file that `hpcsim collect` wrote, verified before it is read. Raises StoreError."""
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: no such file; hpcsim collect writes it", 2)
    try:
        _verify(path)
        with _reading(path) as file:
            variables = {name: _variable(name, data) for name, data in file.items()}
            attrs = dict(file.attrs)
        return Collected(variables, attrs, config_of(attrs["config"]))
    except DAMAGE as error:
        raise StoreError(f"{path}: cannot be read ({error}); collect it again") from None


def _verify(path: Path):
    if seal.has_seal(path):
        seal.verify(path)
        return
    not_yet = StoreError(f"{path}: is not collected yet: hpcsim collect OUT.h5 {path}", 2)
    if _is_run(path):
        raise not_yet
    collected, marked = seal.probe(path)
    if not collected:
        raise not_yet
    if marked:
        raise seal.broken(path)
    log.warning(
        "%s: was collected by a version that wrote no seal: damage in it cannot be seen; collect it again", path
    )


def _variable(name: str, data: h5py.Dataset) -> Variable:
    values = np.array(data.asstr()[()], object) if h5py.check_string_dtype(data.dtype) else data[()]
    dims = (name,) if h5py.h5ds.is_scale(data.id) else tuple(dim.keys()[0] for dim in data.dims)
    attrs = {key: value for key, value in data.attrs.items() if key not in HDF5_OWN_ATTRIBUTES}
    return Variable(dims, values, attrs)
