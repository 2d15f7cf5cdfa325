"""Reading what collect wrote, for figures."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import yaml

from hpcsim.store.layout import StoreError

DAMAGE = (OSError, KeyError, ValueError, RuntimeError)  # what h5py makes of damaged bytes
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
        with _reading(path) as file:
            return file.attrs.get("hpcsim") == "collected"
    except OSError:
        return False


def load(path) -> Collected:
    """Read a file that `hpcsim collect` wrote. Raises StoreError."""
    if not Path(path).is_file():
        raise StoreError(f"{path}: no such file; hpcsim collect writes it", 2)
    try:
        with _reading(path) as file:
            if file.attrs.get("hpcsim") != "collected":
                raise StoreError(f"{path}: is not collected yet: hpcsim collect OUT.h5 {path}", 2)
            variables = {name: _variable(name, data) for name, data in file.items()}
            attrs = dict(file.attrs)
    except DAMAGE as error:
        raise StoreError(
            f"{path}: is not an HDF5 file, or is truncated or damaged ({error}); collect it again"
        ) from None
    return Collected(variables, attrs, yaml.safe_load(attrs["config"]))


def _variable(name: str, data: h5py.Dataset) -> Variable:
    values = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
    dims = (name,) if h5py.h5ds.is_scale(data.id) else tuple(dim.keys()[0] for dim in data.dims)
    attrs = {key: value for key, value in data.attrs.items() if key not in HDF5_OWN_ATTRIBUTES}
    return Variable(dims, values, attrs)
