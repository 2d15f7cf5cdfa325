"""Writing: open or create the run file on all ranks, and add records to it."""

import json
import logging
import os
import re
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np

from hpcsim.store import disk
from hpcsim.store.layout import Layout, StoreError, difference, plain, plain_layout, science
from hpcsim.store.lock import Lock
from hpcsim.store.records import Records, on_rank0
from hpcsim.store.target import Targets

log = logging.getLogger("hpcsim")


class RunFile(Records):
    """A run file open for writing by every rank of `comm`.

    cleanup : gives up the lock, on rank 0
    """

    def __init__(self, path: Path, comm, shared: bool, done: np.ndarray, targets: Targets, values: dict, needed):
        self.cleanup = ExitStack()
        self._path, self._shared = path, shared
        self._file = h5py.File(path, "r+", driver="mpio", comm=comm) if shared else h5py.File(path, "r+", locking=False)
        self._data, self._records = dict(self._file["data"]), dict(self._file["records"])
        self._history = self._file["history"]
        self._fd = os.open(path, os.O_RDWR)
        super().__init__(comm, done, targets, values, self._data, needed)

    def _store(self, record: int, slabs: dict, seconds: float):
        try:
            for name, slab in slabs.items():
                self._data[name][record] = slab
            self._records["seconds"][record] = seconds
            self._records["crc"][record] = disk.record_crc(record, seconds, slabs.values())
            self._flush()
            self._records["done"][record] = disk.DONE
            self._flush()
        except OSError as error:
            raise StoreError(
                f"{self._path}: record {record} cannot be written ({error}); those before "
                f"are safe: make room on the disk, then give the same command again"
            ) from None

    def _skip(self, records):
        for record in records:
            self._records["done"][record] = disk.SKIPPED
        self._flush()

    def _flush(self):
        """Let nothing sit in HDF5's buffers: the mpio driver has none, and its flush is collective."""
        if not self._shared:
            self._file.flush()

    def sync(self):
        """Bring what was written to the disk, against a power cut. Not collective."""
        try:
            with self._timed():
                os.fsync(self._fd)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot be brought to the disk: {error}") from None

    def _append(self, entry: dict):
        sessions, length = self._history.shape
        number = 1 + max((old.get("session", 0) for old in disk.read_history(self._file)), default=0)
        entry = {"session": number, **entry}
        text = json.dumps(entry, default=plain).encode()
        if len(text) > length:  # many groups
            entry = {
                key: [min(v), sum(v) / len(v), max(v)] if isinstance(v, list) else v for key, v in entry.items()
            } | {"lists": "min, mean, max"}
            text = json.dumps(entry, default=plain).encode()
        self._history[number % sessions] = np.frombuffer(text.ljust(length, b"\0"), np.uint8)
        self._flush()

    def close(self):
        """Collective. Gives up the lock: the run has come to a clean end."""
        self._file.close()
        os.close(self._fd)
        self.cleanup.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # Closing a shared file is collective: after an error on this rank alone it would wait for ever.
        if kind is None or not self._shared:
            self.close()


def open_run(path, layout: Layout, comm, needed=frozenset()) -> RunFile:
    """Create the run file, or check that it belongs to `layout` and is intact. Collective over `comm`.

    comm   : communicator of all ranks that write
    needed : numbers of the records whose results others start from, see `Records.earlier`
    Records whose CRC fails are named in the log and count as not done.
    Raises StoreError, the same on every rank: file in use, of another config, damaged, disk full.
    """
    path = Path(path)
    shared = comm.size > 1 and h5py_has_mpi()
    files = [path] if shared or comm.size == 1 else [part(path, rank) for rank in range(comm.size)]
    targets, values = Targets(layout), {}
    with ExitStack() as cleanup:

        def prepare():
            lock = Lock(path)
            cleanup.callback(lock.release)
            done, found = _prepare(path, files, layout, targets.watched, needed)
            lock.note(done=int(done.sum()))
            values.update(found)
            return done

        done = on_rank0(comm, prepare)
        run = error = None
        try:
            run = RunFile(files[comm.rank % len(files)], comm, shared, done, targets, values, needed)
        except OSError as caught:
            error = StoreError(f"{path}: cannot be opened for writing: {caught}")
        for failed in filter(None, comm.allgather(error)):
            raise failed
        run.cleanup = cleanup.pop_all()
        return run


def h5py_has_mpi() -> bool:
    """Whether the h5py in use can write one file from several ranks."""
    return h5py.get_config().mpi


def part(path: Path, rank: int) -> Path:
    """The file of one writer where h5py has no MPI."""
    return path.with_name(f"{path.stem}.g{rank:03d}{path.suffix}")


def run_files(path) -> list[Path]:
    """The existing files of the run `path`: itself, and its parts."""
    path = Path(path)
    name = re.compile(re.escape(path.stem) + r"\.g\d{3,}" + re.escape(path.suffix))
    parts = sorted(p for p in path.parent.glob("*") if name.fullmatch(p.name))
    return [p for p in (path, *parts) if p.is_file()]


def _prepare(path: Path, files: list[Path], layout: Layout, watched, needed):
    """Check every file of the run and create the missing ones.

    Returns (records,) which records are done, and {record: {output: array}} of those: the outputs `watched`, or
    all of the records in `needed`.
    """
    done, values = np.zeros(len(layout.point), bool), {}
    for file in run_files(path):
        intact, arrays = _resume(file, layout)
        done |= intact
        for r in map(int, np.flatnonzero(intact)):
            values[r] = {name: arrays[name][r] for name in (arrays if r in needed else watched)}
    missing = [file for file in files if not file.exists()]
    try:
        for file in missing:
            disk.create(file, layout)
    except StoreError:
        for file in missing:
            file.unlink(missing_ok=True)
        raise
    return done, values


def _resume(path: Path, layout: Layout):
    """(records,) which records of an existing file are done and intact, and its arrays. Raises StoreError."""
    with disk.reading(path) as file:
        old = disk.read_layout(file)
        arrays = {name: data[...] for name, data in file["data"].items()}
        done, damaged = disk.intact_records(file, arrays)
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
    for record in damaged:
        log.warning("%s: record %d is damaged (its CRC fails); it will be computed again", path, record)
    return done, arrays
