"""The arrows between modules point one way, read from the imports in the sources."""

import ast
import sys

import pytest
from conftest import ROOT

PACKAGE = ROOT / "hpcsim"
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for path in sorted(PACKAGE.rglob("*.py"))
}

# `system` holds the base class of all parameters, `ensemble` the averages over records: any module may import them.
ARROWS = {
    "__main__": {"cli"},
    "cli": {"api", "run", "store", "figures", "doctor"},
    "api": {"run", "store", "methods", "models"},
    "run": {"store", "models", "methods", "observables"},
    "figures": {"analysis", "store"},
    "methods": {"observables", "solvers"},
    "store": {"observables"},
}


def imported(tree):
    """Every module that a source imports, anywhere in it; `from a import b` gives a and a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write imports of hpcsim with its name"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_parts(name):
    """The parts of a module's name below hpcsim, without __init__: hpcsim.store.__init__ is ("store",)."""
    return tuple(part for part in name.split(".")[1:] if part != "__init__")


def is_module(parts):
    path = PACKAGE.joinpath(*parts)
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("name", SOURCES)
def test_arrows(name):
    here = own_parts(name)
    for target in imported(SOURCES[name]):
        parts = own_parts(target)
        if target.split(".")[0] != "hpcsim" or not parts or not is_module(parts):
            continue
        if here and parts[0] == here[0]:
            assert_own_folder(name, here, parts)
        else:
            allowed = ARROWS.get(here[0] if here else "", set()) | {"system", "ensemble", "environment"}
            assert parts[0] in allowed, f"{name} imports {target}; it may import {sorted(allowed)}"


def assert_own_folder(name, here, parts):
    """Within models/ and methods/ each file or folder stands alone; it may import its package's contract."""
    if here[0] in ("models", "methods") and len(parts) > 1:
        assert parts[1] == here[1], f"{name} imports its neighbour {'.'.join(parts)}"


@pytest.mark.parametrize("name", SOURCES)
def test_only_the_entry_and_the_groups_know_all_ranks(name):
    used = {node.attr for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Attribute)}
    used |= {target.rsplit(".", 1)[-1] for target in imported(SOURCES[name])}
    if own_parts(name) not in (("cli",), ("run", "parallel")):
        assert "COMM_WORLD" not in used, f"{name} must use the communicator it is given"


def test_petsc_is_imported_in_one_module():
    users = {
        name
        for name, tree in SOURCES.items()
        if {"petsc4py", "slepc4py"} & {target.split(".")[0] for target in imported(tree)}
    }
    users.discard("hpcsim.doctor")
    assert users <= {"hpcsim.solvers.petsc"}, users


def test_doctor_needs_nothing_that_may_be_missing():
    top = [node for node in SOURCES["hpcsim.doctor"].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {target.split(".")[0] for target in imported(ast.Module(top, []))}
    assert names <= sys.stdlib_module_names
