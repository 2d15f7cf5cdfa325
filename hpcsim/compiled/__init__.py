"""Compiled kernels: functions that numba compiles when they are first called.

numba is loaded then too, which takes half a second: a program that calls no kernel, or only in a small case that need
not be compiled, runs without it.
"""

import functools
import time
from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["INLINE", "PART", "Kernel", "interpreted", "njit", "timed", "timing"]

# Of functions that kernels alone call. A PART is compiled by itself, without what would call it from Python and take
# its tables apart, and once more with every kernel that calls it, and with those that call that. What is INLINE is
# compiled with the kernel that calls it alone: for what is called at few places
PART = {"error_model": "numpy", "no_cpython_wrapper": True}
INLINE = {"inline": "always"}

_interpreted: ContextVar[bool] = ContextVar("interpreted", default=False)
_timer: ContextVar[Callable[[float], None] | None] = ContextVar("timer", default=None)


def njit(*function, **options):
    """`numba.njit` at the first call, with a cache on disk that all processes of a machine share, see `cache`.

    options : those of `numba.njit`
    """
    if function:
        return Kernel(*function, options)
    return lambda function: Kernel(function, options)


class Kernel:
    """A function that numba compiles for the types of its arguments, at a call from Python or from another kernel.

    py_func    : the function in Python
    dispatcher : what `numba.njit` makes of it
    """

    def __init__(self, function: Callable, options: dict):
        functools.update_wrapper(self, function)
        self.py_func, self._options = function, options

    def __call__(self, *arguments):
        return (self.py_func if _interpreted.get() else self.dispatcher)(*arguments)

    @functools.cached_property
    def dispatcher(self):
        with timed():
            from hpcsim.compiled import cache  # with numba

        return cache.dispatcher(self.py_func, self._options)

    @property
    def targetoptions(self) -> dict:
        """Where numba looks for inline="always": then a call from a kernel becomes a part of it, compiled with it."""
        return self._options

    @property
    def _numba_type_(self):
        """What numba takes this object for, where a kernel calls it."""
        return self.dispatcher._numba_type_


@contextmanager
def interpreted(small: bool):
    """Where the case is `small`, let kernels run in Python, as they are written: the numbers are the same."""
    token = _interpreted.set(small)
    try:
        yield
    finally:
        _interpreted.reset(token)


@contextmanager
def timing(add: Callable[[float], None]):
    """Call `add` with the seconds that kernels, and numba itself, are compiled, waited for or loaded within."""
    token = _timer.set(add)
    try:
        yield
    finally:
        _timer.reset(token)


@contextmanager
def timed():
    """What is timed by `timing`; what happens within is part of it."""
    add, began = _timer.get(), time.monotonic()
    token = _timer.set(None)
    try:
        yield
    finally:
        _timer.reset(token)
        if add:
            add(time.monotonic() - began)
