"""The records of a run, written by many ranks: what a run file and an in-memory store have in common."""

import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hpcsim.ensemble.reduce import missing
from hpcsim.store import disk
from hpcsim.store.layout import Layout, RunData, slab_shape
from hpcsim.store.states import record_slab
from hpcsim.store.target import Targets


class Records(ABC):
    """The records of a run, open for writing by every rank of `comm`.

    done       : (records,) bool, what was done when this was opened
    failed     : (records,) bool, what had failed then
    targets    : decides how many records are needed; up to date on rank 0
    values     : on rank 0, see below, with what todo() has gathered
    io_seconds : spent in write and sync by this rank

    values : on rank 0, {record: {output: slab}} of the records that are done already: the outputs that
             `targets` watches, and all outputs of the records in `needed`
    shapes : {output: array whose shape[1:] and dtype are those of a slab}
    needed : numbers of the records whose results others start from
    """

    def __init__(self, comm, done, failed, targets: Targets, values: dict, shapes: dict, needed=frozenset()):
        self.done, self.failed, self.targets, self.values, self.io_seconds = done, failed, targets, values, 0.0
        self._comm, self._shapes, self._needed, self._written = comm, shapes, needed, 0
        self._now, self._reasons = done | failed, {}
        # since the last todo(): numbers of records, what `targets` watches, and the points that have enough
        self._news, self._found, self._closed = [], {}, {}

    @abstractmethod
    def _store(self, record: int, slabs: dict, seconds: float):
        """Keep one record. Not collective."""

    @abstractmethod
    def _fail(self, record: int, reason: str, seconds: float):
        """Keep that a record has failed. Not collective."""

    @abstractmethod
    def _skip(self, records):
        """Keep that these are not needed. On rank 0 alone."""

    @abstractmethod
    def sync(self):
        """Bring what was written to where it is safe. Not collective."""

    @abstractmethod
    def note(self, **more):
        """Say something to who asks for the status. On rank 0 alone."""

    @abstractmethod
    def _append(self, entry: dict):
        """Add a session to the history. On rank 0 alone."""

    @abstractmethod
    def close(self):
        """Collective."""

    def write(self, record: int, arrays: dict, seconds: float) -> dict:
        """Store what record `record` returned: {output: array no larger than its slab}. Not collective.

        Outputs that other points have and this one has not are NaN. Returns what others may ask for: all of a record
        in `needed`, else what `targets` watches. Raises StoreError where the disk fails, ValueError for arrays that
        are no outputs.
        """
        if not arrays.keys() <= self._shapes.keys():
            raise ValueError(f"a record returned {sorted(arrays)}, the outputs are {sorted(self._shapes)}")
        slabs = {name: record_slab(name, arrays.get(name), kind) for name, kind in sorted(self._shapes.items())}
        with self._timed():
            self._store(record, slabs, seconds)
        self._written += 1
        self._news.append(int(record))
        watched = {name: slabs[name] for name in self.targets.watched}
        if watched:
            self._found[int(record)] = watched
        return slabs if record in self._needed else watched

    def fail(self, record: int, reason: str, seconds: float):
        """Store that the method raised an error, and why; the other records go on. Not collective."""
        with self._timed():
            self._fail(record, reason, seconds)
        self._news.append(int(record))
        self._reasons[int(record)] = reason

    def failures(self) -> dict[int, str]:
        """{record: reason} of what has failed, in this session or before. Collective."""
        return {record: why for reasons in self._comm.allgather(self._reasons) for record, why in reasons.items()}

    @contextmanager
    def _timed(self):
        began = time.perf_counter()
        yield
        self.io_seconds += time.perf_counter() - began

    def look(self, point: int, look: int, values: dict) -> int:
        """`Targets.look`, whose end of a point all ranks learn in the next todo(). Not collective."""
        further, above = self.targets.look(point, look, values)
        if not further:
            self._closed[point] = look, above
        return further

    def todo(self) -> np.ndarray:
        """Numbers of the records to compute next, from what all ranks have written; empty at the end. Collective."""
        closed = {p: end for each in self._comm.allgather(self._closed) for p, end in each.items()}
        done_with = {record for p in closed for record in self.targets.open[p][0].tolist()}
        found = {record: values for record, values in self._found.items() if record not in done_with}
        before = self.targets.skipped.copy()
        for p, end in closed.items():
            self.targets.close(p, *end)
        for record in done_with:
            self.values.pop(record, None)
        for news, values in self._comm.gather((np.array(self._news, int), found)) or ():
            self.values |= values
            self._now[news] = True
        self._news, self._found, self._closed = [], {}, {}
        return on_rank0(self._comm, lambda: self._next(before))

    def _next(self, skipped_before: np.ndarray) -> np.ndarray:
        todo = self.targets.todo(self._now, self.values)
        self._skip(np.flatnonzero(self.targets.skipped & ~skipped_before & ~self._now))
        return todo

    def ahead(self) -> np.ndarray:
        """Records that todo() has not named and later looks may want. On rank 0."""
        rest = [records[look:] for records, look in self.targets.open.values()]
        found = np.concatenate(rest) if rest else np.zeros(0, int)
        return found[~self._now[found]]

    def finish(self, summary: dict):
        """Add this session to the history. Collective.

        summary : plain data; `started` (seconds since 1970), `wall_seconds`, `busy_fraction` (of each
                  group), `io_seconds`, `ranks` and `ended` (why) are shown by the status. The number
                  of records and the versions are added.
        """
        before = int(self.done.sum())
        after = before + self._comm.allreduce(self._written)
        entry = {**summary, "records_before": before, "records_done": after, "versions": disk.versions()}
        on_rank0(self._comm, lambda: self._append(entry))


class Memory(Records):
    """Records that stay in the memory of the ranks that computed them, until `gathered`."""

    def __init__(self, layout: Layout, comm, needed=frozenset()):
        shapes = {o.name: np.empty((0, *slab_shape(o)), o.dtype) for o in layout.outputs if o.stored}
        nothing = np.zeros((2, len(layout.point)), bool)
        super().__init__(comm, *nothing, Targets(layout), {}, shapes, needed)
        self._layout, self._kept, self._history = layout, {}, []

    def _store(self, record, slabs, seconds):
        self._kept[int(record)] = slabs, seconds

    def _fail(self, record, reason, seconds):
        pass

    def _skip(self, records):
        pass

    def sync(self):
        pass

    def note(self, **more):
        pass

    def _append(self, entry):
        self._history.append({"session": 1, **entry})

    def close(self):
        pass

    def gathered(self) -> RunData | None:
        """All records, on rank 0; None on the others. Collective."""
        mine = list(self._kept), np.array([seconds for _, seconds in self._kept.values()])
        slabs = [slabs for slabs, _ in self._kept.values()]
        arrays = {name: np.array([each[name] for each in slabs]) for name in self._shapes} if slabs else {}
        parts, failures = self._comm.gather((*mine, arrays)), self.failures()
        if parts is None:
            return None
        data = empty(self._layout)
        data.skipped[:] = self.targets.skipped
        for records, seconds, arrays in parts:
            data.done[records], data.seconds[records] = True, seconds
            for name, array in arrays.items():
                data.arrays[name][records] = array
        data.failures.update(failures)
        data.history.extend(self._history)
        return data


def empty(layout: Layout, full=np.full) -> RunData:
    """What a run of this layout holds before anything is computed. full : makes the arrays, as np.full does."""
    records = len(layout.point)
    arrays = {o.name: full((records, *slab_shape(o)), missing(o.dtype), o.dtype) for o in layout.outputs if o.stored}
    done, skipped = np.zeros(records, bool), np.zeros(records, bool)
    return RunData(Path("memory"), layout, done, skipped, {}, arrays, np.full(records, np.nan), [], disk.versions())


def on_rank0(comm, work, errors: type[Exception] | tuple[type[Exception], ...] = Exception, told=lambda result: result):
    """work() on rank 0, told(its result) on the others; an error of the kinds `errors` is raised on every rank."""
    result = error = shared = None
    if comm.rank == 0:
        try:
            result = work()
            shared = told(result)
        except errors as caught:
            error = caught
    shared, error = comm.bcast((shared, error))
    if error is not None:
        raise error
    return result if comm.rank == 0 else shared
