"""The records of several runs at the points of one data set."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from hpcsim.ensemble.reduce import missing
from hpcsim.store.align import METHOD, on_common_axes, positions
from hpcsim.store.collected import slug
from hpcsim.store.layout import REALISATION, RunData, StoreError


@dataclass(frozen=True)
class Merged:
    """Several runs on common axes and dimensions.

    axes    : {key: values} of the union of the sweeps; the first is that of the methods, where there are several
    methods : of each value along that axis (one, where there is no such axis), the section and {name: Output}
    dims    : {name: union of labels}, units : {name: of the dim}
    done    : the records that are done
    total   : (points,) number of records, without those that a target_error did not need
    ended   : (points,) bool, whether these are all done and a target_error spared others
    failed  : {point: {index of the record: reason}}
    arrays  : for each run, {output: (records, *dims)} with the common dims
    """

    runs: list[RunData]
    axes: list[dict]
    methods: list[tuple[dict, dict]]
    dims: dict
    units: dict
    done: "Done"
    total: np.ndarray
    ended: np.ndarray
    failed: dict[int, dict]
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
        """The names of the methods."""
        return self.axes[0][METHOD] if self.several else [self.methods[0][0]["name"]]

    @property
    def disordered(self) -> bool:
        """Whether points are averaged over realisations of disorder."""
        return "disorder" in self.runs[0].layout.config

    def points(self, method: int) -> range:
        """The points of a method, an index of `methods`: the first axis is the slowest."""
        each = len(self.total) // len(self.methods)
        return range(method * each, (method + 1) * each)

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
    records = _records(runs, at, arrays, math.prod(map(len, union)))
    return Merged(runs, axes, [*methods.values()], dims, units, *records, arrays)


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


class Done:
    """The records that are done, point after point, in order of their index.

    key    : (done,) point times `width` plus index, in rising order; of all records that there are: known
    run, record : (done,) where each is;  first : (points + 1,) where those of each point begin
    """

    def __init__(
        self, key: np.ndarray, known: np.ndarray, width: int, run: np.ndarray, record: np.ndarray, points: int
    ):
        self.run, self.record = run, record
        self._key, self._known, self._width = key, known, width
        self.first = np.searchsorted(key // width, np.arange(points + 1))

    @property
    def counts(self) -> np.ndarray:
        """(points,)"""
        return np.diff(self.first)

    def of_point(self, point: int) -> slice:
        return slice(self.first[point], self.first[point + 1])

    def realisations(self, point: int) -> list[tuple[slice, bool]]:
        """The records of each realisation of a point, and whether all that it has are done."""
        begin, end = point * self._width, (point + 1) * self._width
        edges = np.append(np.arange(begin, end, REALISATION), end)
        done, known = (np.searchsorted(keys, edges) for keys in (self._key, self._known))
        return [(slice(a, b), b - a == n) for a, b, n in zip(done, done[1:], np.diff(known)) if b > a]

    def rows(self, arrays: list[dict], name: str, here: slice) -> np.ndarray:
        """(records, *dims) of an output."""
        return np.stack([arrays[k][name][r] for k, r in zip(self.run[here], self.record[here])])


def _records(runs, at, arrays, points: int):
    """`done`, `total`, `ended` and `failed` of Merged."""
    index = np.concatenate([np.asarray(run.layout.index) for run in runs])
    width = int(index.max(initial=0)) + 1
    key = np.concatenate([np.asarray(point) for point in at]) * width + index  # of a record, in whatever run
    run = np.repeat(np.arange(len(runs)), [len(run.done) for run in runs])
    record = np.concatenate([np.arange(len(run.done)) for run in runs])
    finished, skipped = (np.concatenate([getattr(run, name) for run in runs]) for name in ("done", "skipped"))
    finished = np.flatnonzero(finished)
    there, first, of = np.unique(key[finished], return_index=True, return_inverse=True)
    for other in np.setdiff1d(np.arange(len(finished)), first):
        _require_equal(runs, arrays, *((run[j], record[j]) for j in (finished[first[of[other]]], finished[other])))
    chosen = finished[first]
    done = Done(there, np.unique(key), width, run[chosen], record[chosen], points)

    def counted(keys):
        return np.bincount(keys // width, minlength=points)

    spared = counted(np.setdiff1d(key[skipped], there))
    total = counted(np.unique(key)) - spared
    failed, lost = defaultdict(dict), np.zeros(points, int)
    for k, each in enumerate(runs):
        for r, why in each.failures.items():
            p, i = int(at[k][r]), int(each.layout.index[r])
            if p * width + i not in there[slice(*np.searchsorted(there, [p * width + i, p * width + i + 1]))]:
                lost[p] += i not in failed[p]
                failed[p][i] = why
    return done, total, (spared > 0) & (done.counts + lost == total), dict(failed)


def _require_equal(runs, arrays, one, two):
    """Raises StoreError where two runs have two values of one record; one, two: (run, record) of each."""
    (other, s), (k, r) = one, two
    for name in arrays[k]:
        if not np.array_equal(arrays[k][name][r], arrays[other][name][s], equal_nan=True):
            raise StoreError(
                f"{runs[other].path} and {runs[k].path}: their records {s} and {r} are one "
                f"record of one point, but differ in {name}; leave one file out",
                2,
            )
