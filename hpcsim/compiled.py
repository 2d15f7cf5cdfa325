"""Compiled kernels: numba's `njit` with its cache on disk, shared by all processes of a machine."""

import contextlib
import fcntl
from pathlib import Path

import numba
from numba.core.compiler_lock import global_compiler_lock


def njit(*function, **options):
    """`numba.njit` with cache=True: of the processes that need a kernel at once one compiles it, the others load it.

    options : those of `numba.njit`
    """
    if function:
        return _compiled_once(numba.njit(*function, cache=True))
    return lambda function: _compiled_once(numba.njit(**{"cache": True} | options)(function))


def _compiled_once(dispatcher):
    """Let its method `compile`, which looks into the cache first, run in one process at a time.

    A kernel that calls others compiles them too; no two kernels call each other, so that no two processes wait for
    each other.
    """
    compile_or_load = dispatcher.compile

    def compile_alone(signature):
        # threads first, then processes, as numba itself takes the former lock
        with global_compiler_lock, _locked(dispatcher):
            return compile_or_load(signature)

    dispatcher.compile = compile_alone
    return dispatcher


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
