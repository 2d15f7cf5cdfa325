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

# `system` holds the base class of all parameters, `ensemble` the averages over records, `compiled` numba's decorator,
# `own` the files that the user names: any module may import them.
ARROWS = {
    "__main__": {"cli"},
    "cli": {"api", "run", "store", "figures", "report", "doctor", "guide", "schema", "examples", "completion"},
    "schema": {"guide", "run"},
    "features": {"models"},
    "guide": {"examples", "features", "run", "models", "methods", "observables", "analysis"},
    "api": {"run", "store", "figures"},
    "run": {"store", "models", "methods", "observables"},
    "report": {"figures", "store"},
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
            allowed = ARROWS.get(here[0] if here else "", set()) | {
                "system",
                "ensemble",
                "environment",
                "compiled",
                "own",
            }
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
    assert users <= {"hpcsim.solvers.petsc", "hpcsim.doctor.probe"}, users


@pytest.mark.parametrize("name", [name for name in SOURCES if own_parts(name)[:1] == ("doctor",)])
def test_doctor_needs_nothing_that_may_be_missing(name):
    top = [node for node in SOURCES[name].body if isinstance(node, (ast.Import, ast.ImportFrom))]
    foreign = {target for target in imported(ast.Module(top, [])) if not target.startswith("hpcsim.doctor")}
    assert {target.split(".")[0] for target in foreign} <= sys.stdlib_module_names


@pytest.mark.parametrize("name", [name for name in SOURCES if own_parts(name)[:1] not in (("system",), ("models",))])
def test_only_models_name_the_classes_of_symmetries(name):
    """Everything else asks what a symmetry does."""
    classes = {"WeakU1", "Transposition", "Parity", "Translation"}
    used = {target.rsplit(".", 1)[-1] for target in imported(SOURCES[name])}
    used |= {node.attr for node in ast.walk(SOURCES[name]) if isinstance(node, ast.Attribute)}
    assert not used & classes, f"{name} uses {used & classes}: ask system.symmetry for actions and charges"


CHANGES = {"append", "add", "update", "clear", "pop", "popitem", "setdefault", "extend", "insert", "remove", "discard"}
EMPTY = {"list", "dict", "set", "defaultdict", "OrderedDict", "deque", "Counter", "WeakKeyDictionary"}
# What may live as long as the process, with the reason
KEPT = {
    ("hpcsim.run.problem", "find"): "one entry for each model and method, which are modules and stay loaded anyway",
}


def assigned(statements):
    """The names that these statements bind, and the value of each."""
    for node in statements:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node.value) for target in targets if isinstance(target, ast.Name))


def is_empty(value):
    if isinstance(value, ast.Call):
        name = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", None)
        return name in EMPTY and not value.args
    return isinstance(value, (ast.List, ast.Set, ast.Dict)) and not (
        getattr(value, "elts", None) or getattr(value, "keys", None)
    )


def changed(function):
    """Names that a function changes in place and does not bind itself."""
    nodes = list(ast.walk(function))
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    for node in nodes:
        if isinstance(node, ast.Global):
            yield from node.names
        target = None
        if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
            target = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            target = node.func.value
        if isinstance(target, ast.Name) and target.id not in own:
            yield target.id


def is_unbounded(decorator):
    name = ast.unparse(decorator).removeprefix("functools.")
    return name in ("cache", "lru_cache") or name.replace(" ", "").startswith("lru_cache(maxsize=None")


def lasting(tree):
    """Names of a module that hold what grows or changes while the process lives."""
    names = dict(assigned(tree.body))
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    scopes = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    outermost = [node for scope in scopes for node in scope.body if node in functions]
    yield from (name for name, value in names.items() if value is not None and is_empty(value))
    yield from (name for function in functions for name in changed(function) if name in names)
    yield from (function.name for function in outermost if any(map(is_unbounded, function.decorator_list)))


@pytest.mark.parametrize("name", SOURCES)
def test_no_module_keeps_a_state(name):
    found = {kept for kept in lasting(SOURCES[name]) if ("hpcsim." + ".".join(own_parts(name)), kept) not in KEPT}
    assert not found, f"{name} keeps {sorted(found)} for ever: use context.cache, or an object that the caller holds"


@pytest.mark.parametrize(
    "source, names",
    [
        ("kept = []", ["kept"]),
        ("kept: dict = {}\nother = {'a': 1}", ["kept"]),
        ("kept = collections.OrderedDict()", ["kept"]),
        ("kept = [None]\ndef f(x):\n    kept[0] = x", ["kept"]),
        ("kept = {1: 2}\nclass A:\n    def f(self):\n        kept.update(self.x)", ["kept"]),
        ("kept = 0\ndef f():\n    global kept\n    kept = 1", ["kept"]),
        ("@functools.cache\ndef f(x):\n    return x", ["f"]),
        ("@lru_cache(maxsize=None)\ndef f(x):\n    return x", ["f"]),
        ("@lru_cache(maxsize=8)\ndef f(x):\n    return x", []),
        ("names = ('a',)\ndef f(x):\n    names = []\n    names.append(x)", []),
        ("TABLE = {1: 2}\ndef f(x):\n    return TABLE[x]", []),
        ("def f(x):\n    @cache\n    def g(y):\n        return y\n    return g(x)", []),
    ],
)
def test_a_state_is_seen(source, names):
    assert list(lasting(ast.parse(source))) == names


@pytest.mark.parametrize("name", SOURCES)
def test_docstrings_are_sentences_or_nouns(name):
    """None begins with "Of": what something is stands before what it belongs to."""
    with_docstrings = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, with_docstrings):
            assert not (ast.get_docstring(node) or "").startswith("Of "), getattr(node, "name", name)


@pytest.mark.parametrize("name", SOURCES)
def test_no_file_is_longer_than_400_lines(name):
    path = PACKAGE.parent.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    assert len(path.read_text().splitlines()) <= 400


@pytest.mark.parametrize("name", SOURCES)
def test_iterations_start_from_a_given_vector(name):
    """SciPy 1.17 begins elsewhere in every call: two ranks, or two runs, would have different last bits."""
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            if called in ("eigs", "eigsh", "svds"):
                assert "v0" in [keyword.arg for keyword in node.keywords], f"{name}, line {node.lineno}"
