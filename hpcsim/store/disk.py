"""The run file on the disk: laid out completely, sealed with a CRC, and verified whenever it is read."""
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import struct
import subprocess
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import yaml

from hpcsim import __version__
from hpcsim.store.layout import Layout, StoreError, missing, plain, plain_layout, plain_output, slab_shape

FORMAT = 1
HISTORY = (32, 4096)  # sessions, bytes of each entry
LIBRARIES = ("numpy", "scipy", "numba", "h5py", "mpi4py", "petsc4py", "slepc4py")
CONSISTENCY_FLAGS = (20, 4)  # offset, bytes: HDF5 notes there that the file is open (superblock version 0)
# what h5py and the parsers raise on damaged bytes
DAMAGE = (OSError, KeyError, ValueError, TypeError, RuntimeError, yaml.YAMLError)


def create(path: Path, layout: Layout):
    """Write the whole file under another name, then rename it: there is no half-made run file."""
    new = path.with_name(path.name + ".new")
    try:
        with h5py.File(new, "w", libver="earliest", locking=False) as file:
            _lay_out(file, layout)
        with h5py.File(new, "r", locking=False) as file:
            crc, where = _table_crc(new, file), file["table_crc"].id.get_offset()
        with open(new, "r+b") as raw:
            raw.seek(where)
            raw.write(struct.pack("<I", crc))
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(new, path)
    except (OSError, RuntimeError) as error:
        new.unlink(missing_ok=True)
        free = shutil.disk_usage(path.parent).free
        raise StoreError(f"{path}: cannot be created, the disk or a quota may be full: it needs "
                         f"{file_bytes(layout)} bytes and {free} are free on the disk ({error}); "
                         f"make room, or choose another place with --out") from None
    sync_folder(path.parent)


def sync_folder(folder: Path):
    """Bring a rename in the folder to the disk."""
    fd = os.open(folder, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def file_bytes(layout: Layout) -> int:
    """Bytes of the run file, with some room for HDF5's own tables."""
    stored = [output for output in layout.outputs if output.stored]
    record = 32 + sum(np.dtype(o.dtype).itemsize * math.prod(slab_shape(o)) for o in stored)
    texts = len(_yaml(layout.config)) + len(json.dumps(plain_layout(layout)))
    return len(layout.point) * record + math.prod(HISTORY) + texts + 2048 * (8 + len(stored))


def _yaml(config: dict) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def _lay_out(file: h5py.File, layout: Layout):
    text = _yaml(layout.config)
    outputs = [plain_output(output) for output in layout.outputs]
    file.attrs.update(hpcsim="run", format=FORMAT, versions=json.dumps(versions()),
                      config_hash=hashlib.sha256(text.encode()).hexdigest())
    for name, content in (("config", text), ("axes", json.dumps(layout.axes, default=plain)),
                          ("outputs", json.dumps(outputs))):
        file[name] = np.bytes_(content.encode())  # a dataset: attributes end at 64 KB
    records = len(layout.point)
    file["records/point"] = np.asarray(layout.point, np.int64)
    file["records/index"] = np.asarray(layout.index, np.int64)
    _allocate(file, "records/done", (records,), "u1", 0)
    _allocate(file, "records/crc", (records,), "u4", 0)
    _allocate(file, "records/seconds", (records,), "f8", np.nan)
    _allocate(file, "history", HISTORY, "u1", 0)
    _allocate(file, "table_crc", (1,), "u4", 0)
    for output in layout.outputs:
        if output.stored:
            _allocate(file, f"data/{output.name}", (records, *slab_shape(output)), output.dtype,
                      missing(output.dtype))


def _allocate(file: h5py.File, name: str, shape, dtype, fill):
    """A contiguous dataset whose bytes are on the disk, with the fill value in them, from now on."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
    file.create_dataset(name, shape, np.dtype(dtype).newbyteorder("<"), fillvalue=fill, dcpl=properties)


def _table_crc(path: Path, file: h5py.File) -> int:
    """CRC-32 of all bytes that never change after the creation: HDF5's own, and our tables."""
    written = [file[name] for name in ("history", "table_crc")]
    written += [file["records"][name] for name in ("done", "crc", "seconds")]
    written += file["data"].values()
    extents = sorted((data.id.get_offset(), data.id.get_storage_size()) for data in written)
    crc = position = 0
    with open(path, "rb") as raw:
        for offset, length in [CONSISTENCY_FLAGS, *extents, (os.path.getsize(path), 0)]:
            raw.seek(position)
            crc = zlib.crc32(raw.read(max(0, offset - position)), crc)
            position = offset + length
    return crc


@contextmanager
def reading(path):
    """A run file open for reading, its tables verified; others may be writing it at the time.

    Raises StoreError, also for whatever h5py makes of damaged bytes.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: no such file; give a run file, as hpcsim run --out wrote it", 2)
    try:
        if not h5py.is_hdf5(path):
            raise StoreError(f"{path}: is not an HDF5 file, or its beginning is lost; give a run file", 2)
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("hpcsim") != "run":
                raise StoreError(f"{path}: is not a run file; give a file that hpcsim run --out wrote", 2)
            if file.attrs["format"] != FORMAT:
                raise StoreError(f"{path}: has format {file.attrs['format']}, this version reads {FORMAT}; "
                                 f"use the version that wrote it", 2)
            if file["table_crc"][0] != _table_crc(path, file):
                raise StoreError(f"{path}: is damaged (the CRC of its tables fails); nothing in it can be "
                                 f"trusted: move it away and run again")
            yield file
    except DAMAGE as error:
        raise StoreError(f"{path}: is truncated or damaged ({error}); nothing in it can be trusted: "
                         f"move it away and run again") from None


def kind(path) -> str | None:
    """"run" or "collected" for a file of hpcsim, None for any other file."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return file.attrs.get("hpcsim")
    except OSError:
        return None


def read_layout(file: h5py.File) -> Layout:
    outputs = json.loads(file["outputs"][()])
    for output in outputs:
        output["dims"] = tuple(SimpleNamespace(**dim) for dim in output["dims"])
    return Layout(yaml.safe_load(file["config"][()]), tuple(json.loads(file["axes"][()])),
                  tuple(SimpleNamespace(**output) for output in outputs),
                  file["records/point"][:], file["records/index"][:])


def record_slab(name: str, array, dataset: h5py.Dataset) -> np.ndarray:
    """`array` in the leading corner of one record's slab, NaN elsewhere."""
    array, shape = np.asarray(array), dataset.shape[1:]
    if array.ndim != len(shape) or any(n > m for n, m in zip(array.shape, shape)):
        raise ValueError(f"output {name} has shape {array.shape}, its declared dims allow {shape}")
    if not np.can_cast(array.dtype, dataset.dtype, "same_kind"):
        raise ValueError(f"output {name} is {array.dtype}, it was declared {dataset.dtype}")
    slab = np.full(shape, missing(dataset.dtype), dataset.dtype)
    slab[tuple(slice(n) for n in array.shape)] = array
    return slab


def record_crc(record: int, seconds: float, slabs) -> int:
    """CRC-32 of one record: its number, its seconds, its slabs in alphabetical order of the outputs."""
    crc = zlib.crc32(struct.pack("<qd", record, seconds))
    for slab in slabs:
        crc = zlib.crc32(np.ascontiguousarray(slab), crc)
    return crc


def intact_records(file: h5py.File, arrays: dict) -> tuple[np.ndarray, list[int]]:
    """(records,) which records are done and pass their CRC, and the numbers of those that fail it."""
    flags, crcs, seconds = (file["records"][name][:] for name in ("done", "crc", "seconds"))
    good = np.zeros(len(flags), bool)
    for r in np.flatnonzero(flags):
        slabs = (arrays[name][r] for name in sorted(arrays))
        good[r] = flags[r] == 1 and crcs[r] == record_crc(r, seconds[r], slabs)
    return good, np.flatnonzero((flags != 0) & ~good).tolist()


def read_history(file: h5py.File) -> list[dict]:
    """The finished sessions, oldest first."""
    entries = []
    for row in file["history"][:]:
        if text := row.tobytes().rstrip(b"\0"):
            try:
                entries.append(json.loads(text))
            except ValueError:  # killed in the middle of it
                entries.append({"ended": "this entry of the history is damaged"})
    return sorted(entries, key=lambda entry: entry.get("started", 0))


def versions() -> dict:
    """Versions of hpcsim, of its libraries and of HDF5, and the commit if this is a checkout."""
    found = {"hpcsim": __version__, "hdf5": h5py.version.hdf5_version}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        git = subprocess.run(command, capture_output=True, text=True)
        if git.returncode == 0:
            found["commit"] = git.stdout.strip()
    return found
