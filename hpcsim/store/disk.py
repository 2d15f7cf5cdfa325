"""The run file on the disk: laid out completely, sealed with a CRC, and verified whenever it is read."""

import functools
import hashlib
import importlib.metadata
import io
import json
import math
import os
import shutil
import subprocess
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np

from hpcsim import __version__
from hpcsim.ensemble.reduce import missing
from hpcsim.store.layout import (
    Layout,
    StoreError,
    config_of,
    config_text,
    plain,
    plain_layout,
    plain_output,
    slab_shape,
)
from hpcsim.store.states import FAILURES, HISTORY
from hpcsim.store.whole import sync_folder, write_at

FORMAT = 2  # 1: no CRC covers the flags and the history; no failures
READABLE = (1, 2)
MAGIC = b"hpcsim run file\n"
HEADER = 8192  # bytes before HDF5's own (its user block)
CONSISTENCY_FLAGS = (HEADER + 20, 4)  # offset, bytes: HDF5 notes there that the file is open
LIBRARIES = ("numpy", "scipy", "numba", "h5py", "mpi4py", "petsc4py", "slepc4py")


def create(path: Path, layout: Layout):
    """Write the whole file under another name, then rename it: there is no half-made run file."""
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "w+b", buffering=0) as raw:
            os.posix_fallocate(raw.fileno(), 0, file_bytes(layout))  # is there room?
            raw.truncate(0)
            kept = _ErrorsKept(raw)
            with h5py.File(kept, "w", libver="earliest", userblock_size=HEADER) as file:
                written = _lay_out(file, layout)
                extents = sorted((data.id.get_offset(), data.id.get_storage_size()) for data in written)
            if kept.error:
                raise kept.error
        _seal(new, extents)
        os.replace(new, path)
    except (OSError, RuntimeError) as error:
        new.unlink(missing_ok=True)
        raise StoreError(
            f"{path}: cannot be created ({error}): it needs {file_bytes(layout)} bytes, and "
            f"{shutil.disk_usage(path.parent).free} are free on the disk; make room, or choose "
            f"another place with --out"
        ) from None
    sync_folder(path.parent)


class _ErrorsKept(io.RawIOBase):
    """A file for HDF5, which crashes at the end where it could not write.

    error : the first of the disk; what is read or written after it is nothing
    """

    def __init__(self, raw: io.FileIO):
        self._raw, self.error = raw, None

    @contextmanager
    def _kept(self):
        try:
            yield
        except OSError as error:
            self.error = self.error or error

    def seek(self, offset, whence=os.SEEK_SET):
        return self._raw.seek(offset, whence)

    def tell(self):
        return self._raw.tell()

    def readinto(self, buffer):
        with self._kept():
            self._raw.readinto(buffer)
        return len(buffer)

    def write(self, content):
        with self._kept():
            write_at(self._raw.fileno(), content, self._raw.tell())
        return len(content)

    def truncate(self, size=None):
        with self._kept():
            self._raw.truncate(size)
        return size


def file_bytes(layout: Layout) -> int:
    """Bytes of the run file, with some room for HDF5's own tables."""
    stored = [output for output in layout.outputs if output.stored]
    record = 32 + sum(np.dtype(o.dtype).itemsize * math.prod(slab_shape(o)) for o in stored)
    texts = len(config_text(layout.config).encode()) + len(json.dumps(plain_layout(layout)))
    return (
        HEADER
        + len(layout.point) * record
        + math.prod(HISTORY)
        + math.prod(FAILURES)
        + texts
        + 2048 * (9 + len(stored))
    )


def _lay_out(file: h5py.File, layout: Layout) -> list[h5py.Dataset]:
    """Make all datasets; those that are written later."""
    text = config_text(layout.config)
    outputs = [plain_output(output) for output in layout.outputs]
    file.attrs.update(versions=json.dumps(versions()), config_hash=hashlib.sha256(text.encode()).hexdigest())
    for name, content in (
        ("config", text),
        ("axes", json.dumps(layout.axes, default=plain)),
        ("outputs", json.dumps(outputs)),
    ):
        file[name] = np.bytes_(content.encode())  # a dataset: attributes end at 64 KB
    records = len(layout.point)
    file["records/point"] = np.asarray(layout.point, np.int64)
    file["records/index"] = np.asarray(layout.index, np.int64)
    return [
        _allocate(file, "history", HISTORY, "u1", 0),
        _allocate(file, "failures", FAILURES, "u1", 0),
        _allocate(file, "records/done", (records,), "u1", 0),
        _allocate(file, "records/crc", (records,), "u4", 0),
        _allocate(file, "records/seconds", (records,), "f8", np.nan),
        *(
            _allocate(file, f"data/{output.name}", (records, *slab_shape(output)), output.dtype, missing(output.dtype))
            for output in layout.outputs
            if output.stored
        ),
    ]


def _allocate(file: h5py.File, name: str, shape, dtype, fill) -> h5py.Dataset:
    """A contiguous dataset whose bytes are on the disk, with the fill value in them, from now on."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_ALLOC)
    kind = np.dtype(dtype).newbyteorder("<")
    return file.create_dataset(name, shape, kind, fillvalue=fill, dcpl=properties)


def _seal(path: Path, extents: list):
    """Write the header, a CRC of itself and of every byte outside the extents that are written later."""
    body = json.dumps(
        {
            "format": FORMAT,
            "version": __version__,
            "bytes": os.path.getsize(path),
            "extents": extents,
            "crc": _crc_outside(path, extents),
        }
    )
    body = body.encode().ljust(HEADER - len(MAGIC) - 9) + b"\n"
    if len(MAGIC) + 8 + len(body) > HEADER:
        raise ValueError(f"{len(extents)} datasets are too many for the header of a run file")
    with open(path, "r+b") as raw:
        raw.write(MAGIC + b"%08x" % zlib.crc32(body) + body)
        raw.flush()
        os.fsync(raw.fileno())


def _crc_outside(path: Path, extents: list) -> int:
    """CRC-32 of all that never changes after the creation: HDF5's own tables, and ours."""
    crc, position = 0, HEADER
    with open(path, "rb") as raw:
        for offset, length in [CONSISTENCY_FLAGS, *extents, (os.path.getsize(path), 0)]:
            raw.seek(position)
            crc = zlib.crc32(raw.read(offset - position), crc)
            position = offset + length
    return crc


def _check(path: Path) -> int:
    """The format of a run file. Raises StoreError unless it is one, whole and intact outside its records.

    Done before HDF5 sees the file: it may crash on damaged tables.
    """
    lost = "nothing in it can be trusted: move it away and run again"
    if not path.is_file():
        raise StoreError(f"{path}: no such file; give a run file, as hpcsim run --out wrote it", 2)
    with open(path, "rb") as raw:
        header = raw.read(HEADER)
    if not header.startswith(MAGIC):
        raise StoreError(f"{path}: is not a run file; give a file that hpcsim run --out wrote", 2)
    stated, body = header[len(MAGIC) : len(MAGIC) + 8], header[len(MAGIC) + 8 :]
    if stated != b"%08x" % zlib.crc32(body):
        raise StoreError(f"{path}: is damaged (the CRC of its header fails); {lost}")
    seal = json.loads(body)
    if seal["format"] not in READABLE:
        raise StoreError(
            f"{path}: has format {seal['format']}, written by hpcsim {seal.get('version', 'of another version')}; "
            f"this is hpcsim {__version__}, which reads {' and '.join(map(str, READABLE))}: use that version",
            2,
        )
    if os.path.getsize(path) != seal["bytes"]:
        raise StoreError(
            f"{path}: is truncated or damaged (it has {os.path.getsize(path)} bytes, not {seal['bytes']}); {lost}"
        )
    if _crc_outside(path, seal["extents"]) != seal["crc"]:
        raise StoreError(f"{path}: is damaged (the CRC of its tables fails); {lost}")
    return seal["format"]


@contextmanager
def reading(path):
    """(file, format) of a run file open for reading, verified but for its records; others may be writing it.

    Raises StoreError.
    """
    path = Path(path)
    try:
        version = _check(path)
        with h5py.File(path, "r", locking=False) as file:
            yield file, version
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error})") from None


def read_layout(file: h5py.File) -> Layout:
    outputs = json.loads(file["outputs"][()])
    for output in outputs:
        output["dims"] = tuple(SimpleNamespace(**dim) for dim in output["dims"])
    return Layout(
        config_of(file["config"][()]),
        tuple(json.loads(file["axes"][()])),
        tuple(SimpleNamespace(**({"function": "", "internal": False} | output)) for output in outputs),  # older files
        file["records/point"][:],
        file["records/index"][:],
    )


@functools.lru_cache(maxsize=1)
def versions() -> dict:
    """Versions of hpcsim, of its libraries and of HDF5, and the commit if this is a checkout."""
    found = {"hpcsim": __version__, "hdf5": h5py.version.hdf5_version}
    for name in LIBRARIES:
        loaded = getattr(sys.modules.get(name), "__version__", None)
        try:
            found[name] = loaded or importlib.metadata.version(name)  # of which each takes 6 ms to read
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        git = subprocess.run(command, capture_output=True, text=True)
        if git.returncode == 0:
            found["commit"] = git.stdout.strip()
    return found
