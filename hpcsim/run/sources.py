"""The files that a config names: those of one's own are kept in it, see `hpcsim.own`; of a saved state its hash is."""

import pkgutil
from pathlib import Path

import hpcsim.methods
import hpcsim.models
from hpcsim.observables import KINDS, is_known
from hpcsim.own import IN_A_FILE, read, with_source
from hpcsim.run.states import located

PLACES = ("theory", "distance", "expect", "arguments", "vlines", "table")  # of a theory in a figure


def with_sources(sections: dict, folder: Path) -> dict:
    """The sections of a config with the sources of all files that they name. Raises ValueError."""
    found = dict(sections)
    for what, package in ("model", hpcsim.models), ("method", hpcsim.methods):
        known = {module.name for module in pkgutil.iter_modules(package.__path__)}
        found[what] = with_source(sections[what], what, folder, known.__contains__)
    items = found["method"].get("observables")
    if isinstance(items, list):
        own = [_observable(item, folder, f"method.observables.{i}") for i, item in enumerate(items)]
        found["method"] = found["method"] | {"observables": own}
    if "initial" in found["method"]:
        initial = located(found["method"]["initial"], folder, "method.initial")
        found["method"] = found["method"] | {"initial": initial}
    return found | {"figures": figures_with_sources(sections["figures"], folder)}


def figures_with_sources(section: list, folder: Path) -> list:
    """The section `figures` with the sources of all files that it names. Raises ValueError."""
    return [_figure(figure, folder, f"figures.{i}") for i, figure in enumerate(section)]


def _observable(item, folder: Path, where: str):
    """An item as it is, unless it stands for an observable outside hpcsim."""
    if isinstance(item, str):
        section = with_source({"name": item}, "observable", folder, is_known, where)
        return section if {"source", "package"} & {*section} else item
    if not isinstance(item, dict) or KINDS.keys() & item.keys():
        return item
    return with_source(item, "observable", folder, is_known, where)


def _figure(figure, folder: Path, where: str):
    """With `sources`, {file: {source_hash, source}} of the theories that it names."""
    files = dict.fromkeys(own["file"] for word in _theories(figure) if (own := IN_A_FILE.fullmatch(word)))
    if not files:
        return figure
    given = figure.get("sources") if isinstance(figure.get("sources"), dict) else {}
    kept = {file: read(folder / file, f"{where}, theory", given.get(file) or {}) for file in files}
    return {**figure, "sources": kept}


def _theories(part, inside: bool = False):
    """All words where a theory can stand."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _theories(value, inside or key in PLACES)
    elif isinstance(part, list):
        for value in part:
            yield from _theories(value, inside)
    elif inside and isinstance(part, str):
        yield part
