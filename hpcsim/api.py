"""Python without files: what `hpcsim run` and `hpcsim collect` compute, as an xarray.Dataset in memory.

import hpcsim

data = hpcsim.solve(
    model={"name": "gain_loss_lattice", "S": 4, "loss": 0.4},
    method="liouvillian",
    sweep={"model.gain": [0.2, 0.4, 0.6]},
)
data.Sz.sel(sublattice="a").plot()

And with files, as the command line does, which goes through `run_config` and `plan`:

hpcsim.run_config("fig2c.yaml", "fig2c.h5", quick=True)
hpcsim.collect("collected.h5", ["fig2c.h5"])
data = hpcsim.open("collected.h5")
"""

import contextlib
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI

from hpcsim import store
from hpcsim.run import config, execute, share
from hpcsim.run import plan as planning
from hpcsim.run.parallel import on_root
from hpcsim.run.watch import watching
from hpcsim.store.collect import collect, combine, opened, outline
from hpcsim.system import System

if TYPE_CHECKING:
    import xarray

__all__ = ["collect", "open", "plan", "run_config", "solve"]


def solve(
    model,
    method="liouvillian",
    sweep=(),
    run: Mapping | None = None,
    comm=None,
    disorder: Mapping | None = None,
    schedule: Mapping | None = None,
) -> "xarray.Dataset":
    """Compute, and give what a collected file would hold: the same numbers to the bit as the command line.

    model  : the section `model` of a config file, its name alone, or a System
    method : the section `method`, or its name alone; by default the exact steady state. Or a list of them: the first
             dimension of the result is then `method`
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
    methods = [_section(each) for each in (method if isinstance(method, (list, tuple)) else [method])]
    sections = {
        "model": {"name": "system", "key": system.key.hex()} if system else _section(model),
        "sweep": [_plain(axis) for axis in _axes(sweep)],
        "run": _plain(run or {}),
        "disorder": _plain(disorder or {}),
        "schedule": _plain(schedule or {}),
    }

    def planned(each: dict) -> planning.Plan:
        return planning.plan(config.resolve(sections | {"method": each}), system)

    runs = [execute.compute(functools.partial(planned, each), comm) for each in methods]
    return _dataset(comm.bcast(combine(runs) if comm.rank == 0 else None))


def run_config(
    path,
    out=None,
    overrides: Sequence[str] = (),
    quick: bool = False,
    part: str | None = None,
    max_walltime: float | None = None,
    retry_failed: bool = False,
    comm=None,
) -> str | None:
    """What `hpcsim run` does: compute what a config asks for and the run file does not hold yet. Collective.

    path         : of the config, YAML
    out          : the run file, by default results/NAME.h5 for NAME.yaml; its folder must be there. Where the config
                   has a list of methods, one file for each, NAME.METHOD.h5
    overrides    : KEY=VALUE, as for --set
    quick        : apply the section `quick`
    part         : of the points, I/N or array, into a file of its own; see `hpcsim.run.share`
    max_walltime : seconds after which to stop at a record's end
    retry_failed : also compute records again that have failed
    comm         : communicator (mpi4py) of the ranks that share the work; by default this rank alone
    Returns None where all is computed, else why it stopped early: the same call goes on. Raises ConfigError,
    StoreError, or RecordsFailed at the end, the same on every rank.
    """
    comm = MPI.COMM_SELF if comm is None else comm
    out = Path(out or Path("results") / (Path(path).stem + ".h5"))
    own = share.read(part) if part else None
    made: list[planning.Plan] = []  # on rank 0

    def planned(number: int):
        if out.parent != Path("results") and not out.parent.is_dir():
            raise config.ConfigError(f"--out {out}: there is no folder {out.parent}; make it, or give another")
        made[:] = made or plans(path, overrides, quick)
        return made[number].shared(own)

    def file_of(word: str) -> Path:
        file = out.with_name(f"{out.stem}.{word}{out.suffix}") if word else out
        return share.file_of(file, own) if own else file

    with watching(comm), config.in_file(path):
        words = on_root(comm, lambda: config.methods(path, overrides, quick), (config.ConfigError,))
        works = [(functools.partial(planned, number), file_of(word)) for number, word in enumerate(words)]
        return _run_all(works, max_walltime, comm, retry_failed)


def _run_all(works, max_walltime: float | None, comm, retry_failed: bool) -> str | None:
    """`execute.run` of several (make_plan, file), one after the other in the time that all have together."""
    began, failed = time.monotonic(), None
    for make_plan, file in works:
        left = None if max_walltime is None else max(max_walltime - (time.monotonic() - began), 0.0)
        try:
            stopped = execute.run(make_plan, file, left, comm, retry_failed)
        except execute.RecordsFailed as error:  # the same on every rank
            failed = error
        else:
            if stopped:
                return stopped
    if failed:
        raise failed
    return None


def plan(path, overrides: Sequence[str] = (), quick: bool = False) -> planning.Plan:
    """What a config asks for: points, records, outputs and costs, see `hpcsim.run.plan`; nothing is computed.

    Of a list of methods the first one's. Its figures are checked against the outputs: a typo there must not wait for
    the end of a run. Raises ConfigError.
    """
    return plans(path, overrides, quick)[0]


def plans(path, overrides: Sequence[str] = (), quick: bool = False) -> list[planning.Plan]:
    """The `plan` of each method of a config."""
    words = config.methods(path, overrides, quick)

    def each(make, items) -> list:
        found = []
        for number, item in enumerate(items):
            with config.in_file(f"method.{number}") if words[0] else contextlib.nullcontext():
                found.append(make(item))
        return found

    loaded = each(lambda number: config.load(path, overrides, quick, number), range(len(words)))
    if not (section := loaded[0]["figures"]):
        return each(planning.plan, loaded)
    from hpcsim import figures

    with config.explained("figures"):
        parsed = figures.parse(section, execute=True)
    planned = each(planning.plan, loaded)
    try:
        figures.verify(parsed, outline(*(plan.layout for plan in planned)))
    except store.StoreError as error:
        raise config.ConfigError(f"figures: {error}") from None
    return planned


def open(path) -> "xarray.Dataset":
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


def _dataset(collected: store.Collected) -> "xarray.Dataset":
    import xarray

    further = collected.attrs.get("coordinates", "").split()
    found = {name: (v.dims, v.values, v.attrs) for name, v in collected.variables.items()}
    coordinates = {name: v for name, v in found.items() if v[0] == (name,) or name in further}
    variables = {name: v for name, v in found.items() if name not in coordinates}
    attributes = {key: value for key, value in collected.attrs.items() if key != "coordinates"}
    return xarray.Dataset(variables, coordinates, attributes)
