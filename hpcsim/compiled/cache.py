"""numba's cache of compiled kernels, made safe for processes that need a kernel at once and for damaged files."""

import contextlib
import fcntl
import hashlib
import logging
import pickle
from pathlib import Path

import numba
from numba.core.caching import IndexDataCacheFile
from numba.core.compiler_lock import global_compiler_lock

from hpcsim.compiled import timed

log = logging.getLogger("hpcsim")
DIGEST = 16  # bytes


def dispatcher(function, options: dict):
    """`numba.njit` with cache=True: of the processes that need a kernel at once one compiles it, the others load it.

    Its method `compile`, which looks into the cache first, runs in one process at a time. A kernel that calls others
    compiles them too; no two kernels call each other, so that no two processes wait for each other.
    """
    made = numba.njit(**{"cache": True, "no_cfunc_wrapper": True} | options)(function)
    _verify(made)
    compile_or_load = made.compile

    def compile_alone(signature):
        # threads first, then processes, as numba itself takes the former lock
        with timed(), global_compiler_lock, _locked(made):
            return compile_or_load(signature)

    made.compile = compile_alone
    return made


@contextlib.contextmanager
def _locked(dispatcher):
    """Hold a file beside those of the kernel's cache; nothing where the folder or its file system does not allow it."""
    folder = Path(dispatcher.stats.cache_path or "")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{dispatcher.py_func.__qualname__}-{dispatcher.py_func.__code__.co_firstlineno}.lock"
            file = stack.enter_context(open(folder / name, "w"))
            fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, also by a process that is killed
        yield


def _verify(dispatcher):
    """Let a damaged cache be no cache: numba itself would stop in every run, or run damaged code."""
    file = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if type(file) is IndexDataCacheFile:
        file.__class__ = _VerifiedFile


class _VerifiedFile(IndexDataCacheFile):
    """Files of numba's cache with a hash of their content in front of it; what cannot be written is not kept."""

    def _dump(self, content):
        data = super()._dump(content)
        return hashlib.blake2b(data, digest_size=DIGEST).digest() + data

    def _load_index(self):
        try:
            data = Path(self._index_path).read_bytes()
        except OSError:
            return {}
        version = pickle.dumps(self._version, protocol=-1)  # numba writes it in front
        content = _verified(data.removeprefix(version)) if data.startswith(version) else None
        if content is None:
            return {}
        stamp, overloads = pickle.loads(content)
        return overloads if stamp == self._source_stamp else {}

    def _load_data(self, name):
        content = _verified(Path(self._data_path(name)).read_bytes())
        if content is None:
            raise OSError(f"{name} is damaged")  # to numba it is missing
        return pickle.loads(content)

    def save(self, key, data):
        try:
            super().save(key, data)
        except OSError as error:
            log.warning(
                "compiled kernels are not kept in %s (%s): every process compiles them", self._cache_path, error
            )


def _verified(data: bytes) -> bytes | None:
    """What stands behind its hash; None if it is damaged."""
    content = data[DIGEST:]
    return content if data[:DIGEST] == hashlib.blake2b(content, digest_size=DIGEST).digest() else None
