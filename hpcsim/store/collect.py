"""Merge run files into one self-describing file.

Any number of run files, of parts written without a parallel HDF5 and of extended sweeps become one
compressed HDF5 file with dimension scales, which opens in xarray (engine "h5netcdf"). The records
of each point are reduced as `methods.Output` says. Of a point that is not complete,

    mean, function              are taken over the records that are done;
    single, min, at_min, merge  are NaN: a gap over some of the sectors would be wrong.

`records_done` and `records_total` say for each point how far it is, `target_met` whether a `target_error` ended it
or its standard errors are below that. Points that no file has are NaN; figures leave them out.
"""

import hashlib
import io
import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from hpcsim.ensemble.reduce import AVERAGED, missing
from hpcsim.observables import largest_error, reduced
from hpcsim.store import (
    Collected,
    Layout,
    RunData,
    StoreError,
    Variable,
    difference,
    empty,
    is_collected,
    read_runs,
    science,
    seal,
    write_whole,
)
from hpcsim.store.layout import config_text, plain

COUNTS = {
    "records_done": "records that are computed",
    "records_total": "records of the point, without those that its target_error did not need",
    "records_failed": "records whose method raised an error, see the attribute failures",
}
TARGET_MET = "target_met"


def collect(out_path, run_paths):
    """Write the collected file `out_path` from the run files `run_paths`.

    The configs of the files may differ in the values of the sweep and in `run`, `figures` and `title`.
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
    combined = combine(list(runs.values()))
    _write(out, combined.variables, combined.attrs)


def combine(runs: list[RunData]) -> Collected:
    """What the collected file of these runs holds. Raises StoreError, as `collect` does."""
    merged = _merge(runs)
    coordinates = _coordinates(merged)
    further = [name for name, variable in coordinates.items() if variable.dims != (name,)]
    config = json.loads(json.dumps({**merged.runs[0].layout.config, "sweep": merged.axes}, default=plain))
    attributes = _attributes(merged, config)
    if further:
        attributes["coordinates"] = " ".join(further)  # CF: these variables are no data
    return Collected({**coordinates, **_reduced(merged)}, attributes, config)


def outline(layout: Layout) -> Collected:
    """What `combine` will give of a run: the same names, dimensions and labels, and NaN for every number."""

    def full(shape, value, dtype):
        return np.broadcast_to(np.array(value, dtype), shape)  # takes no memory

    return combine([empty(layout, full)])


@dataclass(frozen=True)
class _Merged:
    """Several runs on common axes and dimensions.

    axes    : {key: values} of the union of the sweeps
    outputs : {name: Output}, of the first run; dims : {name: union of labels}, units : {name: of the dim}
    points  : for each point, (index, run, record) of the records that are done, in order of index
    total   : (points,) number of records, without those that a target_error did not need
    ended   : (points,) bool, whether these are all done and a target_error spared others
    failed  : for each point, {index of the record: reason}
    arrays  : for each run, {output: (records, *dims)} with the common dims
    names   : {key of an axis: its name as a coordinate}
    """

    runs: list[RunData]
    axes: list[dict]
    outputs: dict
    dims: dict
    units: dict
    points: list[list]
    total: np.ndarray
    ended: np.ndarray
    failed: list[dict]
    arrays: list[dict]
    names: dict

    @property
    def shape(self):
        return tuple(len(next(iter(axis.values()))) for axis in self.axes)


def _merge(runs: list[RunData]) -> _Merged:
    for run in runs[1:]:
        _require_same(runs[0], run)
    labels = [[[*zip(*axis.values())] for axis in run.layout.axes] for run in runs]
    union = [_union(of_runs) for of_runs in zip(*labels)]
    axes = [dict(zip(axis, map(list, zip(*values)))) for axis, values in zip(runs[0].layout.axes, union)]
    at = [_points(run, own, union) for run, own in zip(runs, labels)]
    outputs = {output.name: output for output in runs[0].layout.outputs}
    dims, units, arrays = _common_dims(runs)
    points, total, ended, failed = _records(runs, at, arrays, math.prod(map(len, union)))
    names = _names([key for axis in axes for key in axis], {*outputs, *dims})
    return _Merged(runs, axes, outputs, dims, units, points, total, ended, failed, arrays, names)


def _require_same(first: RunData, other: RunData):
    """Configs may differ in the values of the sweep and the seed, outputs in the labels of their dims."""

    def compared(run):
        outputs = {
            o.name: [o.units, o.dtype, o.reduce, o.function, o.sources, [[d.name, d.units] for d in o.dims]]
            for o in run.layout.outputs
        }
        sweep = [list(axis) for axis in run.layout.axes]
        config = {**science(run.layout.config), "sweep": None, "run": None}
        return {"the keys of the sweep": sweep, **config, "outputs": outputs}

    if found := difference(compared(first), compared(other)):
        where, a, b = found
        raise StoreError(
            f"{first.path} and {other.path}: differ in more than the values of the sweep: "
            f"{where} = {a!r} and {b!r}; collect them into two files",
            2,
        )


def _union(lists) -> list:
    """Every label once: in the given order if all lists are the same, else numbers sorted."""
    together = [*dict.fromkeys(label for labels in lists for label in labels)]
    if all(labels == together for labels in lists):
        return together
    numbers = all(isinstance(value, (int, float)) for label in together for value in label)
    return sorted(together) if numbers else together


def _points(run: RunData, own, union) -> np.ndarray:
    """(records,) flat index of each record's point on the common axes."""
    if not own:
        return run.layout.point
    where = np.unravel_index(run.layout.point, run.layout.shape)
    places = [np.array([common.index(label) for label in labels]) for labels, common in zip(own, union)]
    return np.ravel_multi_index([place[i] for place, i in zip(places, where)], [len(u) for u in union])


def _common_dims(runs):
    """Union of the labels of every dimension, their units, and the arrays of every run on them."""
    found, units = defaultdict(list), {}
    for run in runs:
        own = {}
        for dim in (dim for output in run.layout.outputs for dim in output.dims):
            labels = [(label,) for label in dim.values]
            if own.setdefault(dim.name, labels) != labels:
                raise ValueError(f"two outputs have a dimension {dim.name} with different coordinates")
            units[dim.name] = dim.units
        for name, labels in own.items():
            found[name].append(labels)
    dims = {name: _union(lists) for name, lists in found.items()}
    placed = [
        {output.name: _placed(run.arrays[output.name], output, dims) for output in run.layout.outputs if output.stored}
        for run in runs
    ]
    return {name: [label for (label,) in labels] for name, labels in dims.items()}, units, placed


def _placed(array, output, dims):
    """(records, *common dims): every value where its labels are."""
    places = [[dims[dim.name].index((label,)) for label in dim.values] for dim in output.dims]
    shape = tuple(len(dims[dim.name]) for dim in output.dims)
    if places == [list(range(n)) for n in shape]:
        return array
    wide = np.full((len(array), *shape), missing(array.dtype), array.dtype)
    wide[np.ix_(np.arange(len(array)), *places)] = array
    return wide


def _records(runs, at, arrays, points: int):
    """For each point the done records in order of their index; and `total`, `ended` and `failed` of _Merged."""
    known, skipped = ([set() for _ in range(points)] for _ in range(2))
    done, failed = ([{} for _ in range(points)] for _ in range(2))
    for k, run in enumerate(runs):
        for r, (p, index, finished) in enumerate(zip(at[k], run.layout.index, run.done)):
            known[p].add(index)
            if run.skipped[r]:
                skipped[p].add(index)
            if r in run.failures:
                failed[p][int(index)] = run.failures[r]
            if not finished:
                continue
            other, s = done[p].setdefault(index, (k, r))
            if other == k:
                continue
            for name in arrays[k]:
                if not np.array_equal(arrays[k][name][r], arrays[other][name][s], equal_nan=True):
                    raise StoreError(
                        f"{runs[other].path} and {run.path}: their records {s} and {r} are one "
                        f"record of one point, but differ in {name}; leave one file out",
                        2,
                    )
    ordered = [sorted((index, *where) for index, where in own.items()) for own in done]
    spared = [len(own - there.keys()) for own, there in zip(skipped, done)]
    total = np.array([len(own) for own in known]) - spared
    failed = [{i: why for i, why in own.items() if i not in there} for own, there in zip(failed, done)]
    ended = [left > 0 and len(there) + len(lost) == n for left, there, lost, n in zip(spared, done, failed, total)]
    return ordered, total, np.array(ended), failed


def _names(keys, taken) -> dict:
    """Last parts of the dotted keys, or all of the key with _ where that would be ambiguous."""
    taken = taken | {f"{name}_stderr" for name in taken} | {*COUNTS, TARGET_MET}
    short = [key.rpartition(".")[2] for key in keys]
    return {
        key: name if name not in taken and short.count(name) == 1 else key.replace(".", "_")
        for key, name in zip(keys, short)
    }


def _reduced(merged: _Merged) -> dict[str, Variable]:
    """Every output on the axes of the sweep, its standard error, and the counts of records."""
    axes = tuple(merged.names[next(iter(axis))] for axis in merged.axes)
    targets = merged.runs[0].layout.config["method"].get("target_error") or {}
    variables, met = {}, np.array([bool(records) for records in merged.points])
    for output in merged.outputs.values():
        shape = tuple(len(merged.dims[dim.name]) for dim in output.dims)
        values = np.full((len(merged.points), *shape), missing(output.dtype), output.dtype)
        errors = np.full(values.shape, np.nan)
        for p, records in enumerate(merged.points):
            averaged = output.reduce in AVERAGED
            if not records or not averaged and len(records) < merged.total[p]:
                continue

            def rows(name):
                return np.stack([merged.arrays[k][name][r] for _, k, r in records])

            values[p], errors[p] = reduced(output, rows)
            if output.name in targets:
                met[p] &= merged.ended[p] or largest_error(output, values[p], errors[p]) <= targets[output.name]
        if output.internal:
            continue
        dims = axes + tuple(dim.name for dim in output.dims)
        about = {"units": output.units, "long_name": output.long_name or output.name}
        if output.reduce in AVERAGED:
            variables[f"{output.name}_stderr"] = Variable(
                dims,
                errors.reshape(merged.shape + shape),
                {**about, "long_name": f"standard error of {about['long_name']}"},
            )
            about["ancillary_variables"] = f"{output.name}_stderr"
        variables[output.name] = Variable(dims, values.reshape(merged.shape + shape), about)
    counts = ([*map(len, merged.points)], merged.total, [*map(len, merged.failed)])
    for name, count in zip(COUNTS, counts):
        variables[name] = Variable(
            axes, np.array(count, np.int64).reshape(merged.shape), {"units": "1", "long_name": COUNTS[name]}
        )
    if targets:
        variables[TARGET_MET] = Variable(
            axes,
            met.astype(np.int64).reshape(merged.shape),
            {"units": "1", "long_name": "1 where target_error ended the point, or its standard errors are below it"},
        )
    return variables


def _coordinates(merged: _Merged) -> dict[str, Variable]:
    """The first key of an axis names its dimension, its further keys are coordinates along that."""
    found = {}
    for axis in merged.axes:
        dim = merged.names[next(iter(axis))]
        for key, values in axis.items():
            found[merged.names[key]] = Variable((dim,), _labels(values), {"long_name": key})
    collected = {dim.name for output in merged.outputs.values() if not output.internal for dim in output.dims}
    for name, labels in merged.dims.items():
        if name in collected:
            found[name] = Variable((name,), _labels(labels), {"units": merged.units[name], "long_name": name})
    return found


def _labels(values) -> np.ndarray:
    """Numbers as they are, anything else as text."""
    array = np.array(values)
    if array.ndim == 1 and array.dtype.kind in "iuf":
        return array
    return np.array([v if isinstance(v, str) else json.dumps(v) for v in values], object)


def _attributes(merged: _Merged, config: dict) -> dict:
    layouts = [run.layout for run in merged.runs]
    text = config_text(config)
    seeds = sorted({layout.config.get("run", {}).get("seed", 0) for layout in layouts})
    sessions = [entry for run in merged.runs for entry in run.history]
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


def _failures(merged: _Merged) -> list[dict]:
    """Where records have failed, and why; as many as an attribute has room for."""
    found = []
    for p in (p for p, failed in enumerate(merged.failed) if failed):
        where = np.unravel_index(p, merged.shape)
        point = {key: values[i] for axis, i in zip(merged.axes, where) for key, values in axis.items()}
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
    write_whole(out, seal.sealed(memory.getbuffer()))


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
