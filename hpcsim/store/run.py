"""Writing: open or create the run file on all ranks, and add records to it."""

import logging
import os
import re
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcsim.store import disk
from hpcsim.store.layout import Layout, StoreError, difference, plain_layout, science
from hpcsim.store.lock import Lock
from hpcsim.store.records import (
    DONE,
    FAILED,
    FAILURES,
    HISTORY,
    SKIPPED,
    States,
    entry_bytes,
    places,
    read_history,
    read_records,
    record_crc,
    record_slab,
)
from hpcsim.store.target import Targets
from hpcsim.store.whole import file_system, write_at

log = logging.getLogger("hpcsim")


class RunFile:
    """A run file open for writing by every rank of `comm`: plain writes at known places, HDF5 takes no part.

    done, failed : (records,) bool, what was so when the file was opened
    targets      : decides how many records are needed; on rank 0
    io_seconds   : spent in write and sync by this rank
    cleanup      : gives up the lock, on rank 0
    """

    def __init__(self, path: Path, comm, opened: "_Opened", targets: Targets, values: dict):
        self.done, self.failed, self.targets, self.io_seconds = opened.done, opened.failed, targets, 0.0
        self._now, self._values, self._news = opened.done | opened.failed, values, {}
        self.cleanup = ExitStack()
        self._path, self._comm, self._written, self._reasons = path, comm, 0, {}
        self._places, self._version = opened.places, opened.version
        self._data = {
            name.removeprefix("data/"): place for name, place in self._places.items() if name.startswith("data/")
        }
        # NFS may write back whole pages, with old bytes of other nodes' records; not where each write goes through
        through = os.O_DSYNC if comm.size > 1 and file_system(path).startswith("nfs") else 0
        self._fd = os.open(path, os.O_RDWR | through)

    def write(self, record: int, arrays: dict, seconds: float):
        """Store what record `record` returned: {output: array no larger than its slab}. Not collective.

        Raises StoreError where the disk fails, ValueError for arrays that are not the outputs.
        """
        if arrays.keys() != self._data.keys():
            raise ValueError(f"a record returned {sorted(arrays)}, the outputs are {sorted(self._data)}")
        slabs = {name: record_slab(name, arrays[name], self._data[name]) for name in sorted(arrays)}
        with self._writing(f"record {record}"):
            for name, slab in slabs.items():
                self._put(f"data/{name}", record, slab)
            self._settle(record, DONE, seconds, slabs.values())
        self._written += 1
        self._news[record] = {name: slabs[name] for name in self.targets.watched}

    def fail(self, record: int, reason: str, seconds: float):
        """Store that the method raised an error, and why; the other records go on. Not collective."""
        with self._writing(f"record {record}"):
            rows, length = FAILURES
            for cut in (length, 100, 20):  # a reason too long is cut
                if row := entry_bytes({"record": record, "reason": reason[:cut]}, length):
                    self._put_row("failures", record % rows, row)
                    break
            self._settle(record, FAILED, seconds)
        self._news[record], self._reasons[record] = None, reason

    def _settle(self, record: int, flag: int, seconds: float, slabs=()):
        """The last writes of a record: its seconds, its CRC, then its flag."""
        self._put("records/seconds", record, seconds)
        self._put("records/crc", record, record_crc(self._version, record, flag, seconds, slabs))
        self._put("records/done", record, flag)

    def _put(self, name: str, record: int, value):
        place = self._places[name]
        write_at(self._fd, np.ascontiguousarray(value, place.dtype), place.row(record))

    def _put_row(self, name: str, i: int, row: bytes):
        if name in self._places:  # format 1 has no failures
            write_at(self._fd, row, self._places[name].row(i))

    @contextmanager
    def _writing(self, what: str):
        began = time.perf_counter()
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._path}: {what} cannot be written ({error}); those before "
                f"are safe: make room on the disk, then give the same command again"
            ) from None
        self.io_seconds += time.perf_counter() - began

    def todo(self) -> np.ndarray:
        """Numbers of the records to compute next, from what all ranks have written; empty at the end. Collective."""
        for news in self._comm.gather(self._news) or ():
            self._values |= {record: values for record, values in news.items() if values is not None}
            self._now[list(news)] = True
        self._news = {}
        return on_rank0(self._comm, self._look)

    def _look(self):
        before = self.targets.skipped.copy()
        todo = self.targets.todo(self._now, self._values)
        with self._writing("which records are not needed"):
            for record in np.flatnonzero(self.targets.skipped & ~before & ~self._now):
                self._put("records/crc", record, record_crc(self._version, record, SKIPPED, np.nan))
                self._put("records/done", record, SKIPPED)
        return todo

    def failures(self) -> dict[int, str]:
        """{record: reason} of what has failed since the file was opened. Collective."""
        return {record: why for reasons in self._comm.allgather(self._reasons) for record, why in reasons.items()}

    def sync(self):
        """Bring what was written to the disk, against a power cut. Not collective."""
        began = time.perf_counter()
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be brought to the disk: {error}") from None
        self.io_seconds += time.perf_counter() - began

    def finish(self, summary: dict):
        """Add this session to the history. Collective.

        summary : plain data; `started` (seconds since 1970), `wall_seconds`, `busy_fraction` (of each
                  group), `io_seconds`, `ranks` and `ended` (why) are shown by the status. The number
                  of records and the versions are added.
        """
        before = int(self.done.sum())
        after = before + self._comm.allreduce(self._written)
        on_rank0(self._comm, self._append, {**summary, "records_before": before, "records_done": after})

    def _append(self, entry: dict):
        sessions, length = HISTORY
        with disk.reading(self._path) as (file, version):
            number = 1 + max((old.get("session", 0) for old in read_history(file, version)), default=0)
        entry = {"session": number, **entry, "versions": disk.versions()}
        if not (row := entry_bytes(entry, length)):  # many groups
            entry = {
                key: [min(v), sum(v) / len(v), max(v)] if isinstance(v, list) else v for key, v in entry.items()
            } | {"lists": "min, mean, max"}
            row = entry_bytes(entry, length)
        with self._writing("the history"):
            self._put_row("history", number % sessions, row if self._version > 1 else row[8:].ljust(length, b"\0"))

    def close(self):
        """Collective. Gives up the lock when all ranks have ended their writes: the run has come to a clean end."""
        os.close(self._fd)
        self._comm.Barrier()
        self.cleanup.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # After an error on this rank alone a collective call would wait for ever.
        if kind is None or self._comm.size == 1:
            self.close()


@dataclass(frozen=True)
class _Opened:
    """What rank 0 has found in a file, for all ranks."""

    places: dict
    version: int
    done: np.ndarray
    failed: np.ndarray


def open_run(path, layout: Layout, comm, retry_failed: bool = False) -> RunFile:
    """Create the run file, or check that it belongs to `layout` and is intact. Collective over `comm`.

    comm         : communicator of all ranks that write
    retry_failed : records that have failed count as not done
    Records whose CRC fails are named in the log and count as not done.
    Raises StoreError, the same on every rank: file in use, of another config, damaged, disk full.
    """
    path = Path(os.path.realpath(path))  # of a link the file itself: its name is the lock's, too
    targets, values = Targets(layout), {}
    with ExitStack() as cleanup:

        def prepare():
            lock = Lock(path)
            cleanup.callback(lock.release)
            opened, found = _prepare(path, layout, targets.watched, lock, retry_failed)
            lock.note(done=int(opened.done.sum()))
            values.update(found)
            return opened

        opened = on_rank0(comm, prepare)
        run = error = None
        try:
            run = RunFile(path, comm, opened, targets, values)
        except OSError as caught:
            error = StoreError(f"{path}: cannot be opened for writing: {caught}")
        for failed in filter(None, comm.allgather(error)):
            raise failed
        run.cleanup = cleanup.pop_all()
        return run


def run_files(path) -> list[Path]:
    """The existing files of the run `path`: itself, and parts that former versions wrote, F.g000.h5, F.g001.h5, ..."""
    path = Path(path)
    name = re.compile(re.escape(path.stem) + r"\.g\d{3,}" + re.escape(path.suffix))
    parts = sorted(p for p in path.parent.glob("*") if name.fullmatch(p.name))
    return [p for p in (path, *parts) if p.is_file()]


def on_rank0(comm, work, *arguments):
    """The result of `work` on rank 0, on every rank; its exception likewise."""
    result = error = None
    if comm.rank == 0:
        try:
            result = work(*arguments)
        except Exception as caught:
            error = caught
    result, error = comm.bcast((result, error))
    if error is not None:
        raise error
    return result


def _prepare(path: Path, layout: Layout, watched, lock: Lock, retry_failed: bool):
    """Check every file of the run, create it where it is missing, and forget what is damaged.

    Returns an _Opened, and {record: {output: array}} of the outputs `watched`.
    """
    values, forget = {}, {}
    done, failed = np.zeros((2, len(layout.point)), bool)
    for file in run_files(path):
        states, arrays = _resume(file, layout)
        retried = np.flatnonzero(states.failed & retry_failed)
        forget[file] = [*states.damaged, *retried]
        done |= states.done
        failed |= states.failed
        failed[retried] = False
        values |= {int(r): {name: arrays[name][r] for name in watched} for r in np.flatnonzero(states.done)}
    if not path.exists():
        disk.create(path, layout)
    lock.hold()
    for file, records in forget.items():
        _forget(file, records)
    with disk.reading(path) as (file, version):
        return _Opened(places(file), version, done, failed & ~done), values


def _forget(path: Path, records):
    """Take the flags of the records back, so that nobody reads them while they are computed again."""
    if not records:
        return
    with disk.reading(path) as (file, _):
        where = places(file)
    try:
        fd = os.open(path, os.O_RDWR)
        try:
            for record in records:
                write_at(fd, b"\0", where["records/done"].row(record))
                write_at(fd, bytes(4), where["records/crc"].row(record))
        finally:
            os.close(fd)
    except OSError as error:
        raise StoreError(f"{path}: cannot be opened for writing: {error}") from None


def _resume(path: Path, layout: Layout) -> tuple[States, dict]:
    """The states of the records of an existing file, and its arrays. Raises StoreError."""
    with disk.reading(path) as (file, version):
        old = disk.read_layout(file)
        states, arrays = read_records(file, version)
    if found := difference(science(old.config), science(layout.config)):
        where, then, now = found
        raise StoreError(
            f"{path}: belongs to another config: {where} = {then!r} in the file, {now!r} now; "
            f"restore the value, or give this run another file with --out",
            2,
        )
    if found := difference(plain_layout(old), plain_layout(layout)):
        raise StoreError(
            f"{path}: was laid out differently by another version of hpcsim ({found[0]}); "
            f"give this run another file with --out",
            2,
        )
    for record in states.damaged:
        log.warning("%s: record %d is damaged (its CRC fails); it will be computed again", path, record)
    return states, arrays
