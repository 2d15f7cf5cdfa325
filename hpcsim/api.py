"""Python without files: what `hpcsim run` and `hpcsim collect` compute, as an xarray.Dataset in memory.

import hpcsim

data = hpcsim.solve(
    model={"name": "gain_loss_lattice", "S": 4, "loss": 0.4},
    method="liouvillian",
    sweep={"model.gain": [0.2, 0.4, 0.6]},
)
data.Sz.sel(sublattice="a").plot()
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray
from mpi4py import MPI

from hpcsim import store
from hpcsim.run import config, execute
from hpcsim.run import plan as planning
from hpcsim.store.collect import combine, opened
from hpcsim.system import System


def solve(
    model,
    method="liouvillian",
    sweep=(),
    run: Mapping | None = None,
    comm=None,
    disorder: Mapping | None = None,
    schedule: Mapping | None = None,
) -> xarray.Dataset:
    """Compute, and give what a collected file would hold: the same numbers to the bit as the command line.

    model  : the section `model` of a config file, its name alone, or a System
    method : the section `method`, or its name alone; by default the exact steady state
    sweep  : the section `sweep`: {key: values, ...} for each axis, the keys of one axis advance together. One mapping
             alone has an axis for each of its keys
    run    : the section `run`: seed, ranks_per_point
    disorder : the section `disorder`, see `hpcsim.run.disorder`
    schedule : the section `schedule`, see `hpcsim.run.courses`
    comm   : communicator (mpi4py) of the ranks that share the work, every one of which calls this and is given
             the result; by default this rank alone
    Variables have the dimensions of the sweep first, standard errors are `X_stderr`, units and long_name are in
    their attributes. Raises ConfigError, a ValueError, where the input is wrong.
    """
    comm = MPI.COMM_SELF if comm is None else comm
    system = model if isinstance(model, System) else None
    sections = {
        "model": {"name": "system", "key": system.key.hex()} if system else _section(model),
        "method": _section(method),
        "sweep": [_plain(axis) for axis in _axes(sweep)],
        "run": _plain(run or {}),
        "disorder": _plain(disorder or {}),
        "schedule": _plain(schedule or {}),
    }
    data = execute.compute(lambda: planning.plan(config.resolve(sections), system), comm)
    return _dataset(comm.bcast(combine([data]) if comm.rank == 0 else None))


def open(path) -> xarray.Dataset:
    """What a collected file holds, or a run file, complete or not. Nothing that the file brings is executed.

    Raises StoreError where there is no such file, or it is damaged.
    """
    return _dataset(opened(path))


def _section(given) -> dict:
    return {"name": given} if isinstance(given, str) else _plain(given)


def _axes(sweep) -> Sequence[Mapping]:
    return [{key: values} for key, values in sweep.items()] if isinstance(sweep, Mapping) else sweep


def _plain(value):
    """As a YAML file would have it: no arrays, no numpy numbers, no tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple, range)) else value


def _dataset(collected: store.Collected) -> xarray.Dataset:
    further = collected.attrs.get("coordinates", "").split()
    found = {name: (v.dims, v.values, v.attrs) for name, v in collected.variables.items()}
    coordinates = {name: v for name, v in found.items() if v[0] == (name,) or name in further}
    variables = {name: v for name, v in found.items() if name not in coordinates}
    attributes = {key: value for key, value in collected.attrs.items() if key != "coordinates"}
    return xarray.Dataset(variables, coordinates, attributes)
