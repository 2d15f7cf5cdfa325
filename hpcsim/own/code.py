"""Executing a file of the user's own, or loading one of an installed package; mistakes in it are one message."""

import functools
import hashlib
import inspect
import linecache
import logging
import sys
import traceback
import types
from pathlib import Path

from hpcsim.own.find import NEEDED, entry_point
from hpcsim.system import Parameters

log = logging.getLogger("hpcsim")


def module(section: dict, what: str) -> types.ModuleType:
    """What a section stands for, which holds the source of its file, or the package that has it. Raises ValueError."""
    if "source" in section:
        return executed(Path(section.get("file", section["name"])).stem, section["source"], what)
    return loaded(section["name"], what)


@functools.lru_cache(maxsize=16)
def loaded(name: str, what: str) -> types.ModuleType:
    """The module that an entry point of an installed package names. Raises ValueError."""
    point = entry_point(name, what)
    if point is None:
        raise ValueError(f"{what} {name}: no installed package has it any more; install the package again")
    log.info(
        "loads %s %s (%s) of the installed package %s %s", what, name, point.value, point.dist.name, point.dist.version
    )
    try:
        found = point.load()
    except Exception as error:
        raise ValueError(
            f"{what} {name} of the package {point.dist.name}: cannot be loaded ({type(error).__name__}: {error})"
        ) from None
    check(found, what, name)
    return found


@functools.lru_cache(maxsize=16)
def executed(name: str, source: str, what: str) -> types.ModuleType:
    """The module that a source makes. Raises ValueError, with the line, where it fails or lacks a name."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    log.info("executes %s.py (sha256 %s), because it is named as the %s", name, digest[:12], what)
    filename = f"<{what} {name} {digest[:12]}>"
    module = types.ModuleType(f"hpcsim_own_{what}_{name}_{digest[:12]}", None)
    sys.modules[module.__name__] = module  # where pydantic and pickle look for the names of annotations
    linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)
    try:
        exec(compile(source, filename, "exec", dont_inherit=True), vars(module))
    except Exception as error:
        raise ValueError(told(error, what, name)) from None
    check(module, what, name)
    return module


def check(module: types.ModuleType, what: str, name: str):
    """ValueError where a module is no model, method or observable."""
    if lacking := [each for each in NEEDED[what] if not hasattr(module, each)]:
        raise ValueError(f"{what} {name}: its file defines no {', '.join(lacking)}; it needs {', '.join(NEEDED[what])}")
    for kind in ("Params", "Options"):
        options = getattr(module, kind, Parameters)
        if what != "theory" and not (isinstance(options, type) and issubclass(options, Parameters)):
            raise ValueError(f"{what} {name}: its {kind} must extend hpcsim.system.Parameters")


def told(error: Exception, what: str, name: str) -> str:
    """An error of the user's file in one line, with the last line of a file outside hpcsim that led to it."""
    package = str(Path(__file__).resolve().parent.parent)
    frames = traceback.extract_tb(error.__traceback__)
    marks = [frame for frame in frames if frame.filename.startswith(f"<{what} ")] or [
        frame for frame in frames if not frame.filename.startswith((package, "<"))
    ]
    line = error.lineno if isinstance(error, SyntaxError) else marks[-1].lineno if marks else None
    file = marks[-1].filename if marks and not marks[-1].filename.startswith("<") else "its file"
    place = f", line {line} of {file}" if line else ""
    return f"{what} {name}{place}: {type(error).__name__}: {error}"


class Guarded:
    """A method of one's own, whose mistakes are one message: RuntimeError in `run`, as of a record that fails, else
    ValueError. What its functions raise on purpose passes: ValueError, RuntimeError, errors with a status."""

    def __init__(self, module: types.ModuleType, name: str):
        self.__name__, self._module, self._name = module.__name__, module, name

    def __getattr__(self, key: str):
        found = getattr(self._module, key)
        return self._guarded(found) if inspect.isroutine(found) else found

    def _guarded(self, function):
        @functools.wraps(function)
        def call(*arguments):
            try:
                return function(*arguments)
            except (TypeError, LookupError, AttributeError, NameError, AssertionError, ImportError) as error:
                kind = RuntimeError if function.__name__ == "run" else ValueError
                raise kind(told(error, "method", self._name)) from error

        return call
