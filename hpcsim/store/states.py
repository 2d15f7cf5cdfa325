"""The states of records in a run file, where their bytes are, and the CRCs that cover both."""

import functools
import json
import math
import struct
import zlib
from dataclasses import dataclass

import h5py
import numpy as np

from hpcsim.ensemble.reduce import missing

# Flags of records. Skipped: the point has reached its target_error without it. Failed: the method raised an error.
DONE, SKIPPED, FAILED = 1, 2, 3
HISTORY = (32, 4096)  # sessions, bytes of each entry
CHUNK = 2**26  # bytes that are verified together
FAILURES = (64, 512)  # reasons of failed records that are kept, bytes of each
REASON_LOST = "its reason is not in the file"  # one of many more failures, or damaged


@dataclass(frozen=True)
class Place:
    """Where a contiguous dataset's bytes are in the file."""

    offset: int
    shape: tuple
    dtype: np.dtype

    def row(self, i: int) -> int:
        """Offset of row i."""
        return self.offset + int(i) * self._length

    @functools.cached_property
    def _length(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])


def places(file: h5py.File) -> dict[str, Place]:
    """{path of the dataset: Place} of all that is written after the creation."""
    names = [f"records/{name}" for name in ("done", "crc", "seconds")] + [f"data/{name}" for name in file["data"]]
    names += [name for name in ("history", "failures") if name in file]
    return {name: Place(file[name].id.get_offset(), file[name].shape, file[name].dtype) for name in names}


def record_slab(name: str, array, place: Place) -> np.ndarray:
    """`array` in the leading corner of one record's slab, NaN elsewhere; None is NaN everywhere."""
    shape = place.shape[1:]
    if array is None:
        return np.full(shape, missing(place.dtype), place.dtype)
    array = np.asarray(array)
    if array.shape == shape and array.dtype == place.dtype:
        return np.array(array)
    if array.ndim != len(shape) or any(n > m for n, m in zip(array.shape, shape)):
        raise ValueError(f"output {name} has shape {array.shape}, its declared dims allow {shape}")
    if not np.can_cast(array.dtype, place.dtype, "same_kind"):
        raise ValueError(f"output {name} is {array.dtype}, it was declared {place.dtype}")
    slab = np.full(shape, missing(place.dtype), place.dtype)
    slab[tuple(slice(n) for n in array.shape)] = array
    return slab


def record_crc(version: int, record: int, flag: int, seconds: float, slabs=()) -> int:
    """CRC-32 of one record: its number, flag and seconds, its slabs in alphabetical order of the outputs; never 0.

    Files of format 1 leave the flag out.
    """
    head = struct.pack("<qd", record, seconds) + bytes([flag] * (version > 1))
    crc = zlib.crc32(head)
    for slab in slabs:
        crc = zlib.crc32(np.ascontiguousarray(slab), crc)
    return crc if version == 1 else crc or 1


def _record_crcs(version: int, records: np.ndarray, flag: int, seconds: np.ndarray, slabs) -> np.ndarray:
    """`record_crc` of many records: of each slab (records, ...)."""
    head = np.empty((len(records), 16 + (version > 1)), np.uint8)
    head[:, :8], head[:, 8:16], head[:, 16:] = _bytes(records.astype("<i8")), _bytes(seconds.astype("<f8")), flag
    rows = np.concatenate([head, *map(_bytes, slabs)], 1)
    found = np.fromiter(map(zlib.crc32, rows), np.uint32, len(rows))
    return found if version == 1 else np.where(found == 0, np.uint32(1), found)


def _bytes(array: np.ndarray) -> np.ndarray:
    """(rows, bytes of each row)"""
    length = array.dtype.itemsize * math.prod(array.shape[1:])
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).reshape(len(array), length)


def _row_bytes(arrays: dict) -> int:
    """The bytes of one record, all its results together."""
    return sum(array.dtype.itemsize * math.prod(array.shape[1:]) for array in arrays.values())


@dataclass(frozen=True)
class States:
    """What the records of one file are: (records,) bool of each kind, and the numbers of the damaged ones.

    A record whose flag says nothing but whose CRC is right is done: it was killed between the two, or the flag is lost.
    """

    done: np.ndarray
    skipped: np.ndarray
    failed: np.ndarray
    damaged: list[int]
    seconds: np.ndarray


def read_records(file: h5py.File, version: int) -> tuple[States, dict]:
    """The states and the arrays of a file that others may be writing at the time: flags first, arrays last."""
    flags, crcs, seconds = (file["records"][name][:] for name in ("done", "crc", "seconds"))
    arrays = {name: data[...] for name, data in file["data"].items()}
    found = np.zeros(len(flags), np.uint8)
    stated = np.where((flags == 0) & (crcs != 0), DONE, flags)
    if version == 1:  # without a CRC of their own
        free = (flags == 0) | (flags == SKIPPED)
        found[free], stated[free] = flags[free], 0
    for flag in (DONE, SKIPPED, FAILED):
        records = np.flatnonzero(stated == flag)
        for few in np.array_split(records, len(records) * _row_bytes(arrays) // CHUNK + 1):
            slabs = [arrays[name][few] for name in sorted(arrays)] if flag == DONE else []
            found[few[_record_crcs(version, few, flag, seconds[few], slabs) == crcs[few]]] = flag
    damaged = np.flatnonzero((flags != 0) & (found == 0)).tolist()
    done, skipped, failed = (found == flag for flag in (DONE, SKIPPED, FAILED))
    return States(done, skipped, failed, damaged, seconds), arrays


def entry_bytes(entry: dict, length: int) -> bytes | None:
    """A row of the history or of the failures: a CRC and JSON; None if it is longer than the row."""
    text = json.dumps(entry, default=lambda value: value.tolist()).encode()
    row = b"%08x" % zlib.crc32(text) + text
    return row.ljust(length, b"\0") if len(row) <= length else None


def read_entries(rows: np.ndarray, version: int):
    """Yield the rows that `entry_bytes` made; None for one that is damaged or was killed in the middle."""
    for row in rows:
        text = row.tobytes().rstrip(b"\0")
        if not text:
            continue
        crc, text = (b"", text) if version == 1 else (text[:8], text[8:])
        try:
            yield json.loads(text) if version == 1 or crc == b"%08x" % zlib.crc32(text) else None
        except ValueError:
            yield None


def read_history(file: h5py.File, version: int) -> list[dict]:
    """The finished sessions, oldest first."""
    lost = {"ended": "this entry of the history is damaged"}
    entries = [entry if isinstance(entry, dict) else lost for entry in read_entries(file["history"][:], version)]
    return sorted(entries, key=lambda entry: entry.get("started", 0))


def read_failures(file: h5py.File, version: int, failed: np.ndarray) -> dict[int, str]:
    """{record: reason} of the records (bool) that have failed."""
    known = {}
    if "failures" in file:
        entries = filter(None, read_entries(file["failures"][:], version))
        known = {entry["record"]: entry["reason"] for entry in entries}
    return {int(r): known.get(int(r), REASON_LOST) for r in np.flatnonzero(failed)}
