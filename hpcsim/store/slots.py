"""Plain writes into a run file: each thing at its own place."""

import os
from pathlib import Path

import numpy as np

from hpcsim.store.states import DONE, FAILED, FAILURES, HISTORY, SKIPPED, Place, entry_bytes, record_crc
from hpcsim.store.whole import write_at


class Slots:
    """A run file open for writing; HDF5 takes no part. All raise OSError.

    places  : as `states.places` finds them
    version : of the file's format
    flags   : of os.open, besides reading and writing
    """

    def __init__(self, path: Path, places: dict[str, Place], version: int, flags: int = 0):
        self._places, self._version = places, version
        self._fd = os.open(path, os.O_RDWR | flags)

    def done(self, record: int, slabs: dict, seconds: float):
        """A record's results, then that it is done."""
        for name, slab in slabs.items():
            self._put(f"data/{name}", record, slab)
        self._settle(record, DONE, seconds, slabs.values())

    def failed(self, record: int, reason: str, seconds: float):
        """That a record has failed, and why."""
        rows, length = FAILURES
        entries = (entry_bytes({"record": int(record), "reason": reason[:cut]}, length) for cut in (length, 100, 20))
        self._put_row("failures", record % rows, next(filter(None, entries)))
        self._settle(record, FAILED, seconds)

    def skipped(self, record: int):
        """That a record is not needed."""
        self._put("records/crc", record, record_crc(self._version, record, SKIPPED, np.nan))
        self._put("records/done", record, SKIPPED)

    def session(self, entry: dict):
        """An entry of the history; it has the number of the session."""
        sessions, length = HISTORY
        if not (row := entry_bytes(entry, length)):  # many groups
            entry = {
                key: [min(v), sum(v) / len(v), max(v)] if isinstance(v, list) else v for key, v in entry.items()
            } | {"lists": "min, mean, max"}
            row = entry_bytes(entry, length)
        number = entry.get("session", 0)
        self._put_row("history", number % sessions, row if self._version > 1 else row[8:].ljust(length, b"\0"))

    def sync(self):
        """Bring what was written to the disk."""
        os.fsync(self._fd)

    def close(self):
        os.close(self._fd)

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
