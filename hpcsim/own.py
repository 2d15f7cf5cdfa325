"""Models, methods, observables and theory curves of one's own: Python files that the user names, outside the package.

`file: my_model.py` in a section stands for the name of a model or method, in an item of `method.observables` for that
of an observable; a name that the package does not have is looked for as NAME.py in the folders of HPCSIM_PATH. A theory
of the figures is FILE.py:FUNCTION. The text of each file is kept in the config, as `source`, with its `source_hash`.

Such a file is code. `run`, `check`, `solve`, `describe` and `plot --config` execute it because the user names it, and
say so. What only reads files that others may have made (`status`, `collect`, `plot`, `open`) executes nothing: so
collect evaluates the formulas of one's own observables (see `hpcsim.observables.formula`), which are no code, and plot
leaves out theories of one's own. A config that brings another text than its file has is refused, so that nothing runs
but the file that the user named.
"""

import functools
import hashlib
import inspect
import linecache
import logging
import os
import re
import sys
import traceback
import types
from pathlib import Path

from hpcsim.system import Parameters

log = logging.getLogger("hpcsim")
LONGEST = 200_000  # characters of a source
NEEDED = {
    "model": ("Params", "build"),
    "method": ("Options", "supports", "records", "cost", "outputs", "run"),
    "observable": ("observable",),
    "theory": (),
}
IN_A_FILE = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")  # a theory
KEYS = ("file", "source", "source_hash")


def with_source(section: dict, what: str, folder: Path, known, where: str | None = None) -> dict:
    """The section with its name, source and source_hash, if it names a file outside the package; else as it is.

    what   : model, method or observable
    folder : where a relative `file` is
    known  : names that the package has
    where  : the section's path in the config, by default `what`
    Raises ValueError.
    """
    where = where or what
    path = _path(section, where, folder, known)
    if path is None:
        if extra := [key for key in KEYS if key in section]:
            raise ValueError(f"{where}.{extra[0]}: belongs to a file of one's own; give {where}.file, or delete it")
        return section
    return {"name": path.stem, **section, **read(path, f"{where}.file", section)}


def read(path: Path, where: str, given: dict) -> dict:
    """{source_hash, source} of a file, which are those that `given` has, if it has any. Raises ValueError."""
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{where} = {str(path)!r}: cannot be read ({error}); give the path of a file") from None
    if len(source) > LONGEST:
        raise ValueError(f"{where} = {str(path)!r}: more than {LONGEST} characters")
    digest = hashlib.sha256(source.encode()).hexdigest()
    if given.get("source_hash", digest) != digest or given.get("source", source) != source:
        raise ValueError(f"{where} = {str(path)!r}: is not the one that the config was made with; delete source_hash")
    return {"source_hash": digest, "source": source}


def _path(section: dict, where: str, folder: Path, known) -> Path | None:
    """Where the file of a section is, None if it is none of one's own."""
    if "file" in section:
        if not isinstance(section["file"], str) or not section["file"].endswith(".py"):
            raise ValueError(f"{where}.file = {section['file']!r}: the path of a Python file, NAME.py, is needed")
        return folder / section["file"]
    name = section.get("name")
    if not isinstance(name, str) or name in known or not name.isidentifier():
        return None
    return next((path for each in folders() if (path := each / f"{name}.py").is_file()), None)


def folders() -> list[Path]:
    """Those of HPCSIM_PATH."""
    return [Path(each) for each in os.environ.get("HPCSIM_PATH", "").split(os.pathsep) if each]


def module(section: dict, what: str) -> types.ModuleType:
    """What the file of a section makes, which holds its source. Raises ValueError."""
    return executed(Path(section.get("file", section["name"])).stem, section["source"], what)


@functools.lru_cache(maxsize=16)
def executed(name: str, source: str, what: str) -> types.ModuleType:
    """The module that a source makes. Raises ValueError, with the line, where it fails or lacks a name."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    log.info("executes %s.py (sha256 %s), which the config names as its %s", name, digest[:12], what)
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
    """An error of the user's file in one line, with the last line of the file that led to it."""
    marks = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(f"<{what} ")
    ]
    line = error.lineno if isinstance(error, SyntaxError) else marks[-1] if marks else None
    place = f", line {line}" if line else ""
    return f"{what} {name}{place} of its file: {type(error).__name__}: {error}"


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
