"""Finding what a name or a file outside the package stands for, without executing it."""

import ast
import functools
import hashlib
import importlib.metadata
import os
import re
import sys
from pathlib import Path

LONGEST = 200_000  # characters of a source
IN_A_FILE = re.compile(r"(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")  # a theory
NEEDED = {  # names that a file has to define
    "model": ("Params", "build"),
    "method": ("Options", "supports", "records", "cost", "outputs", "run"),
    "observable": ("observable",),
    "theory": (),
}
KEYS = ("file", "source", "source_hash", "package")


def with_source(section: dict, what: str, folder: Path, known, where: str | None = None) -> dict:
    """The section with its name and its source, or the package that has it, if it stands for what is not in hpcsim.

    what   : model, method or observable
    folder : where a relative `file` is
    known  : (name) -> whether hpcsim has it
    where  : the section's path in the config, by default `what`
    Raises ValueError.
    """
    where, name = where or what, section.get("name")
    if "file" in section:
        if not isinstance(section["file"], str) or not section["file"].endswith(".py"):
            raise ValueError(f"{where}.file = {section['file']!r}: the path of a Python file, NAME.py, is needed")
        path = folder / section["file"]
        return {"name": path.stem, **section, **read(path, f"{where}.file", section)}
    if not isinstance(name, str):  # missing, or refused where the section is read
        return section
    places = elsewhere(name, what) if name.isidentifier() else []
    if len(places) + known(name) > 1:
        names = ["hpcsim itself"] * known(name) + [str(place) for place in places]
        raise ValueError(f"{where}.name = {name!r}: {' and '.join(names)} have this name; rename one, or remove it")
    if places and isinstance(places[0], Path):
        return {**section, **read(places[0], f"{where}.name", section)}
    if places:
        return {**section, "package": _same_package(places[0], section, where)}
    if extra := [key for key in KEYS if key in section]:
        raise ValueError(f"{where}.{extra[0]}: belongs to a file of one's own; give {where}.file, or delete it")
    return section


def _same_package(found: str, section: dict, where: str) -> str:
    if section.get("package", found) != found:
        raise ValueError(
            f"{where}.package = {section['package']!r}: is {found!r} now; install that version again, or delete the key"
        )
    return found


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


def elsewhere(name: str, what: str) -> list[Path | str]:
    """Who outside hpcsim has a name: the first file NAME.py of HPCSIM_PATH, and installed packages, "NAME VERSION"."""
    files = [path for each in folders() if (path := each / f"{name}.py").is_file()][:1]
    points = [point for point in entry_points(what) if point.name == name]
    return [*files, *(f"{point.dist.name} {point.dist.version}" for point in points)]


def entry_point(name: str, what: str) -> importlib.metadata.EntryPoint | None:
    return next((point for point in entry_points(what) if point.name == name), None)


def entry_points(what: str) -> importlib.metadata.EntryPoints:
    """The entry points of hpcsim.models, hpcsim.methods or hpcsim.observables; nothing is loaded."""
    return _installed(tuple((folder, _changed(folder)) for folder in sys.path)).select(group=f"hpcsim.{what}s")


@functools.lru_cache(maxsize=1)
def _installed(path):
    """All entry points of the packages on sys.path, whose folders changed when `path` says: reading takes 30 ms."""
    return importlib.metadata.entry_points()


def _changed(folder: str) -> int:
    """When a package was last installed into a folder, or taken away, in ns; 0 where there is no such folder."""
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


def folders() -> list[Path]:
    """Those of HPCSIM_PATH."""
    return [Path(each) for each in os.environ.get("HPCSIM_PATH", "").split(os.pathsep) if each]


def named() -> dict[str, dict[str, str]]:
    """{what: {name: one line}} of all files of HPCSIM_PATH and all entry points; nothing is executed."""
    found: dict[str, dict[str, str]] = {what: {} for what in ("model", "method", "observable", "theory")}
    for path in (path for each in folders() for path in sorted(each.glob("*.py"))):
        try:
            source = path.read_text(encoding="utf-8")
            text = " ".join((ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0].split())
            found[kind_of(source)].setdefault(path.stem, f"{text} ({path})".strip())
        except (OSError, ValueError, SyntaxError):
            continue
    for what, names in found.items():
        for point in entry_points(what):
            names.setdefault(point.name, f"of the installed package {point.dist.name} {point.dist.version}")
    return found


def kind_of(source: str) -> str:
    """What a file is by the names that it defines: model, method, observable or theory. Raises SyntaxError."""
    names = _defined(ast.parse(source))
    return next(what for what, needed in NEEDED.items() if names >= set(needed))


def _defined(tree: ast.Module) -> set[str]:
    """Names that the statements of a module bind."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found
