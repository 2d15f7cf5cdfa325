"""Writing: open or create the run file on all ranks, and add records to it."""

import logging
import os
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcsim.store import disk
from hpcsim.store.align import in_names_of
from hpcsim.store.extend import extend
from hpcsim.store.layout import Layout, StoreError, difference, plain_layout, science
from hpcsim.store.lock import Lock
from hpcsim.store.records import Records, on_rank0
from hpcsim.store.slots import Slots
from hpcsim.store.states import States, places, read_failures, read_history, read_records
from hpcsim.store.target import Targets
from hpcsim.store.whole import file_system, write_at

log = logging.getLogger("hpcsim")


class RunFile(Records):
    """A run file open for writing by every rank of `comm`: plain writes at known places, HDF5 takes no part.

    cleanup : gives up the lock, on rank 0
    lock    : None on other ranks
    """

    lock: Lock | None = None

    def __init__(self, path: Path, comm, opened: "_Opened", targets: Targets, values: dict, needed):
        self.cleanup = ExitStack()
        self._path = path
        # NFS may write back whole pages, with old bytes of other nodes' records; not where each write goes through
        through = os.O_DSYNC if comm.size > 1 and file_system(path).startswith("nfs") else 0
        self._slots = Slots(path, opened.places, opened.version, through)
        shapes = {name[len("data/") :]: place for name, place in opened.places.items() if name.startswith("data/")}
        super().__init__(comm, opened.done, opened.failed, targets, values, shapes, needed)
        self._reasons = dict(opened.reasons) if comm.rank == 0 else {}

    def _store(self, record: int, slabs: dict, seconds: float):
        with self._writing(f"record {record}"):
            self._slots.done(record, slabs, seconds)

    def _fail(self, record: int, reason: str, seconds: float):
        with self._writing(f"record {record}"):
            self._slots.failed(record, reason, seconds)

    def _skip(self, records):
        with self._writing("which records are not needed"):
            for record in records:
                self._slots.skipped(record)

    @contextmanager
    def _writing(self, what: str):
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._path}: {what} cannot be written ({error}); those before "
                f"are safe: make room on the disk, then give the same command again"
            ) from None

    def note(self, **more):
        self.lock.note(**more)

    def sync(self):
        """Bring what was written to the disk, against a power cut. Not collective."""
        try:
            with self._timed():
                self._slots.sync()
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be brought to the disk: {error}") from None

    def _append(self, entry: dict):
        with disk.reading(self._path) as (file, version):
            number = 1 + max((old.get("session", 0) for old in read_history(file, version)), default=0)
        with self._writing("the history"):
            self._slots.session({"session": number, **entry})

    def close(self):
        """Collective. Gives up the lock when all ranks have ended their writes: the run has come to a clean end."""
        with self._writing("what was written last"):  # NFS tells it here
            self._slots.close()
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
    reasons: dict


def open_run(path, layout: Layout, comm, needed=frozenset(), retry_failed: bool = False) -> RunFile:
    """Create the run file, or check that it belongs to `layout` and is intact. Collective over `comm`.

    A file of the same config but for points that were added to its sweep gets these, and keeps its records; a swept
    parameter that has got another of its names keeps the one in the file.

    comm         : communicator of all ranks that write
    needed       : numbers of the records whose results others start from, see `Records.earlier`
    retry_failed : records that have failed count as not done
    Records whose CRC fails are named in the log and count as not done.
    Raises StoreError, the same on every rank: file in use, of another config, damaged, disk full.
    """
    path = Path(os.path.realpath(path))  # of a link the file itself: its name is the lock's, too
    targets, values, locks = Targets(layout), {}, []
    with ExitStack() as cleanup:

        def prepare():
            lock = Lock(path)
            locks.append(lock)
            cleanup.callback(lock.release)
            try:
                opened, found = _prepare(path, layout, targets.watched, needed, lock, retry_failed)
            except OSError as error:
                raise StoreError(f"{path}: cannot be opened for writing: {error}") from None
            lock.note(done=int(opened.done.sum()))
            values.update(found)
            return opened

        opened = on_rank0(comm, prepare)
        run = error = None
        try:
            run = RunFile(path, comm, opened, targets, values, needed)
        except OSError as caught:
            error = StoreError(f"{path}: cannot be opened for writing: {caught}")
        for failed in filter(None, comm.allgather(error)):
            raise failed
        run.cleanup = cleanup.pop_all()
        run.lock = next(iter(locks), None)
        return run


def run_files(path) -> list[Path]:
    """The existing files of the run `path`: itself, and parts that former versions wrote, F.g000.h5, F.g001.h5, ..."""
    path = Path(path)
    name = re.compile(re.escape(path.stem) + r"\.g\d{3,}" + re.escape(path.suffix))
    parts = sorted(p for p in path.parent.glob("*") if name.fullmatch(p.name))
    return [p for p in (path, *parts) if p.is_file()]


def _prepare(path: Path, layout: Layout, watched, needed, lock: Lock, retry_failed: bool):
    """Check every file of the run, create it where it is missing, and forget what is damaged.

    Returns an _Opened, and {record: {output: array}} of the records that are done: the outputs `watched`, or all
    of the records in `needed`.
    """
    values, forget, reasons = {}, {}, {}
    for file in run_files(path)[:1]:
        with disk.reading(file) as (opened, _):
            layout = in_names_of(disk.read_layout(opened), layout)
    if run_files(path) == [path]:
        extend(path, layout, lock)
    done, failed = np.zeros((2, len(layout.point)), bool)
    for file in run_files(path):
        states, arrays, why = _resume(file, layout)
        retried = np.flatnonzero(states.failed & retry_failed)
        reasons |= why
        forget[file] = [*states.damaged, *retried]
        done |= states.done
        failed |= states.failed
        failed[retried] = False
        for r in map(int, np.flatnonzero(states.done)) if watched else sorted(needed):
            if states.done[r]:
                values[r] = {name: arrays[name][r] for name in (arrays if r in needed else watched)}
    if not path.exists():
        disk.create(path, layout)
    lock.hold()
    for file, records in forget.items():
        _forget(file, records)
    with disk.reading(path) as (file, version):
        failed &= ~done
        return _Opened(places(file), version, done, failed, {r: reasons[r] for r in np.flatnonzero(failed)}), values


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


def _resume(path: Path, layout: Layout) -> tuple[States, dict, dict]:
    """The states of the records of an existing file, its arrays, and {record: reason}. Raises StoreError."""
    with disk.reading(path) as (file, version):
        old = disk.read_layout(file)
        states, arrays = read_records(file, version)
        reasons = read_failures(file, version, states.failed)
    if found := difference(science(old.config), science(layout.config)):
        where, then, now = found
        raise StoreError(
            f"{path}: belongs to another config: {where} = {then!r} in the file, {now!r} now; "
            f"restore the value, or give this run another file with --out",
            2,
        )
    same = np.array_equal(old.point, layout.point) and np.array_equal(old.index, layout.index)
    found = difference(plain_layout(old), plain_layout(layout))
    if found or not same:
        raise StoreError(
            f"{path}: was laid out differently by another version of hpcsim ({found[0] if found else 'records'}); "
            f"give this run another file with --out",
            2,
        )
    for record in states.damaged:
        log.warning("%s: record %d is damaged (its CRC fails); it will be computed again", path, record)
    return states, arrays, reasons
