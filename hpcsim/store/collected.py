"""Reading what collect wrote, for figures."""

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import yaml

from hpcsim.store import seal
from hpcsim.store.disk import MAGIC as RUN_FILE
from hpcsim.store.layout import StoreError, config_of

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
    values = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
    dims = (name,) if h5py.h5ds.is_scale(data.id) else tuple(dim.keys()[0] for dim in data.dims)
    attrs = {key: value for key, value in data.attrs.items() if key not in HDF5_OWN_ATTRIBUTES}
    return Variable(dims, values, attrs)
