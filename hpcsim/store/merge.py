"""The records of several runs at the points of one data set."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from hpcsim.ensemble.reduce import missing
from hpcsim.store.align import METHOD, on_common_axes, positions
from hpcsim.store.collected import slug
from hpcsim.store.layout import RunData, StoreError


@dataclass(frozen=True)
class Merged:
    """Several runs on common axes and dimensions.

    axes    : {key: values} of the union of the sweeps; the first is that of the methods, where there are several
    methods : of each value along that axis (one, where there is no such axis), the section and {name: Output}
    dims    : {name: union of labels}, units : {name: of the dim}
    points  : for each point, (index, run, record) of the records that are done, in order of index
    total   : (points,) number of records, without those that a target_error did not need
    ended   : (points,) bool, whether these are all done and a target_error spared others
    failed  : for each point, {index of the record: reason}
    arrays  : for each run, {output: (records, *dims)} with the common dims
    """

    runs: list[RunData]
    axes: list[dict]
    methods: list[tuple[dict, dict]]
    dims: dict
    units: dict
    points: list[list]
    total: np.ndarray
    ended: np.ndarray
    failed: list[dict]
    arrays: list[dict]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(next(iter(axis.values()))) for axis in self.axes)

    @property
    def several(self) -> bool:
        """Whether the first axis is that of the methods."""
        return bool(self.axes) and METHOD in self.axes[0]

    @property
    def names(self) -> list[str]:
        """Of the methods."""
        return self.axes[0][METHOD] if self.several else [self.methods[0][0]["name"]]

    def method(self, point: int) -> int:
        """The method of a point, as an index of `methods`."""
        return point * len(self.methods) // len(self.points)

    def results(self):
        """Yield (name, name of the output, {method: Output}) of all that is to be collected.

        What methods call by one name is one result if its units and dimensions are the same; else, as `residual`, it
        becomes several, with the name of the method behind.
        """
        found: dict[str, dict] = defaultdict(dict)
        for m, (_, outputs) in enumerate(self.methods):
            for name, output in outputs.items():
                if not output.internal:
                    found[name][m] = output
        for name, kinds in found.items():
            meanings = {(o.units, *(dim.name for dim in o.dims)) for o in kinds.values()}
            if len(meanings) == 1 and name not in self.dims:
                yield name, name, kinds
            else:
                yield from ((f"{name}_{slug(self.names[m])}", name, {m: o}) for m, o in kinds.items())


def merge(runs: list[RunData], over=()) -> Merged:
    """Raises StoreError where they are no one data set, or a record has two values; over: see `on_common_axes`."""
    runs = on_common_axes(runs, over)
    labels = [[[*zip(*axis.values())] for axis in run.layout.axes] for run in runs]
    union = [_union(of_runs) for of_runs in zip(*labels)]
    axes = [dict(zip(axis, map(list, zip(*values)))) for axis, values in zip(runs[0].layout.axes, union)]
    at = [_points(run, own, union) for run, own in zip(runs, labels)]
    methods: dict[tuple, tuple] = {}
    for run in runs:
        name = tuple(run.layout.axes[0].get(METHOD, ())) if axes else ()
        methods.setdefault(name, (run.layout.config["method"], {o.name: o for o in run.layout.outputs}))
    dims, units, arrays = _common_dims(runs)
    points, total, ended, failed = _records(runs, at, arrays, math.prod(map(len, union)))
    return Merged(runs, axes, [*methods.values()], dims, units, points, total, ended, failed, arrays)


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
    places = [np.array(positions(labels, common)) for labels, common in zip(own, union)]
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
            if units.setdefault(dim.name, dim.units) != dim.units:
                raise StoreError(
                    f"{runs[0].path} and {run.path}: the dimension {dim.name} has the units {units[dim.name]} and "
                    f"{dim.units}; collect them into two files",
                    2,
                )
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
    places = [positions([(label,) for label in dim.values], dims[dim.name]) for dim in output.dims]
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
