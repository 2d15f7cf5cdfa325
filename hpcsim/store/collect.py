"""Merge run files into one self-describing file.

Any number of run files, of parts written without a parallel HDF5, of extended sweeps and of several methods become one
compressed HDF5 file with dimension scales, which opens in xarray (engine "h5netcdf"). The records
of each point are reduced as `methods.Output` says. Of a point that is not complete,

    mean, function              are taken over the records that are done;
    single, min, at_min, merge  are NaN: a gap over some of the sectors would be wrong.

With disorder each realisation is reduced so, and the point has the mean over the realisations and its standard error.

`records_done` and `records_total` say for each point how far it is, `target_met` whether a `target_error` ended it
or its standard errors are below that. Points that no file has are NaN; figures leave them out. Where the methods
differ, `method` is the first axis, and each variable lists in its attribute `methods` those that it is from.
"""

import functools
import hashlib
import io
import json
import logging
import time
from pathlib import Path

import h5py
import numpy as np

from hpcsim.ensemble.reduce import AVERAGED, missing
from hpcsim.observables import finishing, largest_error, reduced
from hpcsim.store import (
    Collected,
    Layout,
    RunData,
    StoreError,
    Variable,
    empty,
    failures,
    is_collected,
    is_settled,
    load,
    read_runs,
    seal,
    shortfall,
    write_whole,
)
from hpcsim.store.align import METHOD
from hpcsim.store.layout import config_text, plain, swept_at
from hpcsim.store.merge import Merged, merge

log = logging.getLogger("hpcsim")

COUNTS = {
    "records_done": "records that are computed",
    "records_total": "records of the point, without those that its target_error did not need",
    "records_failed": "records whose method raised an error, see the attribute failures",
}
TARGET_MET = "target_met"
MET = "1 where target_error ended the point, or its standard errors are below it"


def collect(out_path, run_paths, over=()):
    """Write the collected file `out_path` from the run files `run_paths`.

    The configs of the files may differ in the sweep, the method and in `run`, `figures` and `title`; see `combine`.
    Raises StoreError: a damaged file, other differences, one record with two values, no place to write.
    """
    out = Path(out_path)
    if out.exists() and not is_collected(out):
        raise StoreError(
            f"{out}: exists and is not a collected file; the first argument of hpcsim collect "
            f"is the file to write: give it another name",
            2,
        )
    runs = {run.path.resolve(): run for path in run_paths for run in read_runs(path)}
    combined = combine(_as_begun(list(runs.values())), over)
    if there := shortfall(combined):
        failed = failures(combined) and is_settled(combined)
        then = "hpcsim run --retry-failed computes those again" if failed else "hpcsim run goes on with the others"
        log.warning("%s: holds %s; %s, then collect again", out, there, then)
    _write(out, combined.variables, combined.attrs)


def _as_begun(runs: list[RunData]) -> list[RunData]:
    """Files that one command made, of the methods in its config, in the order of that list, not of their names."""
    first = [run.history[0] if run.history else {"command": str(run.path)} for run in runs]
    others = [{key: each for key, each in run.layout.config.items() if key != METHOD} for run in runs]
    of = [(entry.get("command"), other) for entry, other in zip(first, others)]
    order = sorted(range(len(runs)), key=lambda i: (of.index(of[i]), first[i].get("started", 0)))
    return [runs[i] for i in order]


def combine(runs: list[RunData], over=()) -> Collected:
    """What the collected file of these runs holds. Raises StoreError, as `collect` does.

    A key that one run sweeps and another gives one value is an axis of both. Where the methods differ, the first
    axis, `method`, has their names; else `method` is a coordinate of one value.

    over : keys of further axes, tuples of those that advance together
    """
    _check_functions(runs)
    merged = merge(runs, over)
    names = _names(merged.axes, {*merged.dims, *(name for _, outputs in merged.methods for name in outputs)})
    coordinates = _coordinates(merged, names)
    further = [name for name, variable in coordinates.items() if variable.dims != (name,)]
    config = _config(merged)
    attributes = _attributes(merged, config)
    if further:
        attributes["coordinates"] = " ".join(further)  # CF: these variables are no data
    return Collected({**coordinates, **_reduced(merged, names)}, attributes, config)


def _check_functions(runs: list[RunData]):
    """Raises StoreError where a result is a function that this version does not know."""
    for run in runs:
        for output in (each for each in run.layout.outputs if each.reduce == "function"):
            try:
                finishing(output)
            except ValueError as error:
                raise StoreError(
                    f"{run.path}: {output.name} is a function that this version of hpcsim does not know ({error}); "
                    "collect with the version that ran it"
                ) from None


def opened(path) -> Collected:
    """What a collected file holds, or a run file, complete or not. Raises StoreError."""
    return load(path) if is_collected(path) else combine(read_runs(path))


def outline(*layouts: Layout) -> Collected:
    """What `combine` will give of runs: the same names, dimensions and labels, and NaN for every number."""

    def full(shape, value, dtype):
        return np.broadcast_to(np.array(value, dtype), shape)  # takes no memory

    return combine([empty(layout, full) for layout in layouts])


def _names(axes, taken) -> dict:
    """Last parts of the dotted keys, or all of the key with _ where that would be ambiguous.

    Of keys of one axis with the same last part and the same values the first has it.
    """
    taken = taken | {f"{name}_stderr" for name in taken} | {*COUNTS, TARGET_MET, METHOD}
    short = {key: key.rpartition(".")[2] for axis in axes for key in axis}
    again = {
        key
        for axis in axes
        for i, key in enumerate(axis)
        if any(short[other] == short[key] and axis[other] == axis[key] for other in [*axis][:i])
    }
    known = [name for key, name in short.items() if key not in again]
    return {
        key: name if key not in again and name not in taken and known.count(name) == 1 else key.replace(".", "_")
        for key, name in short.items()
    }


def _reduced(merged: Merged, names: dict) -> dict[str, Variable]:
    """Every output on the axes of the sweep, its standard error, and the counts of records."""
    axes = tuple(names[next(iter(axis))] for axis in merged.axes)
    targets = any(_targets(section) for section, _ in merged.methods)
    variables, met = {}, merged.done.counts > 0
    for name, output, kinds in merged.results():
        values, errors = _values(merged, output, kinds, met)
        first, averaged = (
            next(iter(kinds.values())),
            [m for m in kinds if merged.disordered or kinds[m].reduce in AVERAGED],
        )
        dims = axes + tuple(dim.name for dim in first.dims)
        about = {"cell_methods": "realisation: mean"} if merged.disordered else {}
        about |= {"units": first.units, "long_name": _long_name(merged, kinds) or name}
        if averaged:
            error = {**about, "long_name": f"standard error of {about['long_name']}", **_methods(merged, averaged)}
            variables[f"{name}_stderr"] = Variable(dims, errors.reshape(merged.shape + errors.shape[1:]), error)
            about["ancillary_variables"] = f"{name}_stderr"
        about |= _methods(merged, kinds)
        variables[name] = Variable(dims, values.reshape(merged.shape + values.shape[1:]), about)
    lost = np.zeros(len(merged.total), np.int64)
    lost[list(merged.failed)] = [len(reasons) for reasons in merged.failed.values()]
    counts = dict(zip(COUNTS, (merged.done.counts, merged.total, lost)))
    about = COUNTS
    if targets:
        counts, about = counts | {TARGET_MET: met}, COUNTS | {TARGET_MET: MET}
    for name, count in counts.items():
        variables[name] = Variable(
            axes, np.array(count, np.int64).reshape(merged.shape), {"units": "1", "long_name": about[name]}
        )
    return variables


def _methods(merged: Merged, which) -> dict:
    """The attribute that lists, where there are several methods, those that a variable is from."""
    return {"methods": json.dumps([merged.names[m] for m in which])} if merged.several else {}


def _long_name(merged: Merged, kinds: dict) -> str:
    """The long_name that all methods agree on, or that of each."""
    texts = {merged.names[m]: output.long_name for m, output in kinds.items()}
    one = len({*texts.values()}) == 1
    return next(iter(texts.values())) if one else "; ".join(f"{text} ({name})" for name, text in texts.items())


def _targets(section: dict) -> dict:
    """{output: the standard error that it is to reach} of a section `method`."""
    return section.get("target_error") or {}


def _values(merged: Merged, name: str, kinds: dict, met) -> tuple[np.ndarray, np.ndarray]:
    """(points, *dims) of an output and its standard error; takes back `met` where that is above its target."""
    shape = tuple(len(merged.dims[dim.name]) for dim in next(iter(kinds.values())).dims)
    dtype = np.result_type(*(output.dtype for output in kinds.values()))
    values = np.full((len(merged.total), *shape), missing(dtype), dtype)
    errors = np.broadcast_to(np.nan, values.shape)
    if merged.disordered or any(output.reduce in AVERAGED for output in kinds.values()):
        errors = errors.copy()
    for m, output in kinds.items():
        if merged.disordered:
            for p in merged.points(m):
                values[p], errors[p] = _over_realisations(merged, output, p, values[p])
            continue
        points, counts = np.array(merged.points(m)), merged.done.counts[merged.points(m)]
        whole = points[(counts > 0) & ((output.reduce in AVERAGED) | (counts >= merged.total[points]))]
        if output.reduce == "single":
            _take(merged, name, whole, values)
            continue
        target = _targets(merged.methods[m][0]).get(name)
        for p in whole:
            values[p], error = reduced(output, functools.partial(_rows, merged, merged.done.of_point(p)))
            if output.reduce in AVERAGED:
                errors[p] = error
            if target:
                met[p] &= merged.ended[p] or largest_error(output, values[p], errors[p]) <= target
    return values, errors


def _rows(merged: Merged, here: slice, source: str) -> np.ndarray:
    return merged.done.rows(merged.arrays, source, here)


def _over_realisations(merged: Merged, output, point: int, absent):
    """The mean over realisations, with the standard error of their scatter: of disorder and trajectories together."""
    parts = [here for here, whole in merged.done.realisations(point) if whole or output.reduce in AVERAGED]
    if not parts:
        return absent, np.nan
    values = np.array([reduced(output, functools.partial(_rows, merged, here))[0] for here in parts])
    with np.errstate(invalid="ignore"):  # inf, where something did not happen at all
        error = values.std(0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return values.mean(0), error


def _take(merged: Merged, name: str, points: np.ndarray, values: np.ndarray):
    """Put what the one record of each of the points returned where it belongs."""
    where = merged.done.first[points]
    run, record = merged.done.run[where], merged.done.record[where]
    for k in np.unique(run):
        values[points[run == k]] = merged.arrays[k][name][record[run == k]]


def _coordinates(merged: Merged, names: dict) -> dict[str, Variable]:
    """The first key of an axis names its dimension, its further keys are coordinates along that."""
    found = {}
    if not merged.several:
        found[METHOD] = Variable((), np.array(merged.names[0], object), {"long_name": METHOD})
    for axis in merged.axes:
        dim = names[next(iter(axis))]
        for key, values in axis.items():
            found[names[key]] = Variable((dim,), _labels(values), {"long_name": key})
    collected = {dim.name for *_, kinds in merged.results() for output in kinds.values() for dim in output.dims}
    for name, labels in merged.dims.items():
        if name in collected:
            found[name] = Variable((name,), _labels(labels), {"units": merged.units[name], "long_name": name})
    return found


def _labels(values) -> np.ndarray:
    """Numbers as they are, anything else as text."""
    several = any(isinstance(value, (list, tuple)) for value in values)
    array = np.array([] if several else values)
    if not several and array.ndim == 1 and array.dtype.kind in "iuf":
        return array
    return np.array([v if isinstance(v, str) else json.dumps(v) for v in values], object)


def _config(merged: Merged) -> dict:
    """The resolved config of all runs together, as plain data."""
    config = {**merged.runs[0].layout.config, "sweep": merged.axes}
    if merged.several:
        del config[METHOD]
        config["sweep"] = merged.axes[1:]
        config["methods"] = {name: section for name, (section, _) in zip(merged.names, merged.methods)}
    return json.loads(json.dumps(config, default=plain))


def _attributes(merged: Merged, config: dict) -> dict:
    layouts = [run.layout for run in merged.runs]
    text = config_text(config)
    seeds = sorted({layout.config.get("run", {}).get("seed", 0) for layout in layouts})
    sessions = [{"file": run.path.name, **entry} for run in merged.runs for entry in run.history]
    commits = dict.fromkeys(run.versions["commit"] for run in merged.runs if "commit" in run.versions)
    versions = {json.dumps(run.versions): run.versions for run in merged.runs}
    return {
        "hpcsim": "collected",
        seal.ATTRIBUTE: "the last line of the file",
        "title": config.get("title", ""),
        "config": text,
        "config_hash": hashlib.sha256(text.encode()).hexdigest(),
        "seed": seeds[0] if len(seeds) == 1 else seeds,
        "versions": json.dumps([*versions.values()]),
        "commit": " ".join(commits) or "unknown",
        "sources": json.dumps([run.path.name for run in merged.runs]),
        "sessions": json.dumps(sessions),
        "failures": json.dumps(_failures(merged)),
        "compute_seconds": float(sum(run.seconds[run.done].sum() for run in merged.runs)),
        "collected": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _failures(merged: Merged) -> list[dict]:
    """Where records have failed, and why; as many as an attribute has room for."""
    found = []
    for p in sorted(merged.failed):
        point = swept_at(merged.axes, merged.shape, p)
        found += [{**point, "record": i, "reason": why} for i, why in sorted(merged.failed[p].items())]
    return found[:64]


def _write(out: Path, variables: dict[str, Variable], attributes: dict):
    """With its seal, under another name first, then renamed. Raises StoreError."""
    memory = io.BytesIO()  # HDF5 crashes where a disk turns out to be full
    with h5py.File(memory, "w") as file:
        file.attrs.update(attributes)
        for name, variable in variables.items():
            _write_variable(file, name, variable)
        for name, variable in variables.items():
            for i, dim in enumerate(variable.dims):
                if dim != name:
                    file[name].dims[i].attach_scale(file[dim])
    with memory.getbuffer() as content:  # Python 3.13 complains of a buffer that garbage collection finds exported
        whole = seal.sealed(content)
    write_whole(out, whole)


def _write_variable(file: h5py.File, name: str, variable: Variable):
    text = variable.values.dtype == object
    packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
    data = file.create_dataset(
        name,
        data=variable.values,
        dtype=h5py.string_dtype() if text else None,
        **(packed if variable.values.ndim and not text else {}),
    )
    data.attrs.update(variable.attrs)
    if variable.dims == (name,):
        data.make_scale(name)
