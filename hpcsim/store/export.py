"""The results of a file as tables of text, one for each."""

import csv
import io
from pathlib import Path

import numpy as np

from hpcsim.store.collected import Collected, Variable, asked
from hpcsim.store.layout import StoreError
from hpcsim.store.whole import write_whole

COMPANIONS = {"stderr": "standard error", "error": "error that the method states"}  # X_stderr, X_error of X


def export_csv(data: Collected, path, to=None) -> list[Path]:
    """Write a table of every result into the folder `to` (default: beside the file), as FILE.RESULT.csv.

    path : of the file that holds the data
    Returns the files written. Raises StoreError, before anything is written, where one of them exists and is another
    table, or no table.
    """
    folder = Path(to) if to else Path(path).parent
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"--to {folder}: is a file; give the name of a folder for the tables", 2)
    texts = {folder / f"{Path(path).stem}.{name}.csv": table(data, name) for name in results(data)}
    for file, text in texts.items():
        if file.exists() and _first_line(file) != text.partition("\n")[0]:
            raise StoreError(f"{file}: exists and is not a table of this result; give another folder with --to", 2)
    for file, text in texts.items():
        write_whole(file, text.encode())
    return [*texts]


def _first_line(file: Path) -> str | None:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.readline(10**4).rstrip("\n")
    except (OSError, UnicodeDecodeError):
        return None


def coordinates(data: Collected) -> list[str]:
    """Names of the variables that label others."""
    further = data.attrs.get("coordinates", "").split()
    return [name for name, variable in data.variables.items() if variable.dims == (name,) or name in further]


def companion(data: Collected, name: str) -> tuple[str, str] | None:
    """(kind, variable) of the errors of a result: its standard errors, or those that its method states."""
    return next(((kind, f"{name}_{kind}") for kind in COMPANIONS if f"{name}_{kind}" in data.variables), None)


def results(data: Collected) -> list[str]:
    """Names of the variables that are neither coordinates nor the errors of others."""
    labels = coordinates(data)
    errors = [f"{name}_{kind}" for name in data.variables for kind in COMPANIONS]
    return [name for name in data.variables if name not in labels and name not in errors]


def table(data: Collected, name: str) -> str:
    """The result `name` as CSV: a column for each coordinate, then value (or value_real and value_imag), stderr, units.

    Points and labels that no run has are left out; what is missing is an empty field.
    """
    variable = data.variables[name]
    shape, rows = variable.values.shape, asked(data, variable).ravel()
    columns = {}
    for label in _labels(data, variable):
        other = data.variables[label]
        axis = [n if dim in other.dims else 1 for dim, n in zip(variable.dims, shape)]
        columns[label] = np.broadcast_to(other.values.reshape(axis), shape)
    if np.iscomplexobj(variable.values):
        columns |= {"value_real": variable.values.real, "value_imag": variable.values.imag}
    else:
        columns["value"] = variable.values
    if found := companion(data, name):
        columns[found[0]] = data.variables[found[1]].values
    columns["units"] = np.broadcast_to(np.array(variable.attrs.get("units", "1"), object), shape)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*([_field(v) for v in column.ravel()[rows].tolist()] for column in columns.values())))
    return text.getvalue()


def _labels(data: Collected, variable: Variable) -> list[str]:
    """The coordinates of one value, then those of each dimension."""
    every = coordinates(data)
    found = [label for label in every if data.variables[label].dims == ()]
    for dim in variable.dims:
        found += [dim, *(label for label in every if data.variables[label].dims == (dim,) and label != dim)]
    return found


def _field(value):
    return "" if value != value else value
