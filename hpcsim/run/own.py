"""Models and methods of one's own: Python files that the user names, outside the package.

`file: my_model.py` in a section stands for the name of a model or method; a name that the package does not have is
looked for as NAME.py in the folders of HPCSIM_PATH. The text of the file is kept in the config, as `source`, with its
`source_hash`. It is executed only by what computes or plans; a config that brings another text than its file has is
refused, so that nothing runs but the file that the user named.
"""

import functools
import hashlib
import linecache
import logging
import os
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
}
KEYS = ("file", "source", "source_hash")


def with_source(section: dict, what: str, folder: Path, known) -> dict:
    """The section with its name, source and source_hash, if it names a file outside the package; else as it is.

    what   : model or method
    folder : where a relative `file` is
    known  : names that the package has
    Raises ValueError.
    """
    path = _path(section, what, folder, known)
    if path is None:
        if extra := [key for key in KEYS if key in section]:
            raise ValueError(f"{what}.{extra[0]}: belongs to a file of one's own; give {what}.file, or delete it")
        return section
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{what}.file = {str(path)!r}: cannot be read ({error}); give the path of a file") from None
    if len(source) > LONGEST:
        raise ValueError(f"{what}.file = {str(path)!r}: more than {LONGEST} characters")
    digest = hashlib.sha256(source.encode()).hexdigest()
    if section.get("source_hash", digest) != digest or section.get("source", source) != source:
        raise ValueError(
            f"{what}.file = {str(path)!r}: is not the one that the config was made with; delete source_hash"
        )
    return {"name": path.stem, **section, "source_hash": digest, "source": source}


def _path(section: dict, what: str, folder: Path, known) -> Path | None:
    """Where the file of a section is, None if it is none of one's own."""
    if "file" in section:
        if not isinstance(section["file"], str) or not section["file"].endswith(".py"):
            raise ValueError(f"{what}.file = {section['file']!r}: the path of a Python file, NAME.py, is needed")
        return folder / section["file"]
    name = section.get("name")
    if not isinstance(name, str) or name in known or not name.isidentifier():
        return None
    folders = filter(None, os.environ.get("HPCSIM_PATH", "").split(os.pathsep))
    return next((path for each in folders if (path := Path(each) / f"{name}.py").is_file()), None)


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
    if lacking := [each for each in NEEDED[what] if not hasattr(module, each)]:
        raise ValueError(f"{what} {name}: its file defines no {', '.join(lacking)}; it needs {', '.join(NEEDED[what])}")
    options = getattr(module, NEEDED[what][0])
    if not (isinstance(options, type) and issubclass(options, Parameters)):
        raise ValueError(f"{what} {name}: its {NEEDED[what][0]} must extend hpcsim.system.Parameters")
    return module


def told(error: Exception, what: str, name: str) -> str:
    """An error of the user's file in one line, with the last line of the file that led to it."""
    marks = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith("<")]
    line = error.lineno if isinstance(error, SyntaxError) else marks[-1] if marks else None
    place = f", line {line}" if line else ""
    return f"{what} {name}{place} of its file: {type(error).__name__}: {error}"
