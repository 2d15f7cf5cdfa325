"""Models, methods and observables of installed packages: entry points, loaded only when their name is asked for."""

import importlib.metadata
import runpy
import sys
import tomllib

import numpy as np
import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hpcsim
from hpcsim import cli, own
from hpcsim.own import code
from hpcsim.run.config import ConfigError

MODEL = {"name": "twisted_ring", "sites": 3, "field": 0.5}
POINTS = """[hpcsim.models]
twisted_ring = lab_package.ring
broken = lab_package.nothing
xyz_lattice = lab_package.ring
[hpcsim.methods]
other_mean_field = lab_package.method
[hpcsim.observables]
lab_binder = lab_package.binder
"""


def install(folder, name, points, version="1.2"):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package on sys.path that notes when it is imported."""
    package = tmp_path / "lab_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for name, source in ("ring", "ising_twist"), ("binder", "binder"):
        (package / f"{name}.py").write_text((ROOT / f"configs/tutorials/{source}.py").read_text())
    names = "Options, cost, outputs, records, run, supports"
    (package / "method.py").write_text(f"'''Mean field.'''\nfrom hpcsim.methods.mean_field import {names}\n")
    install(tmp_path, "lab_package", POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    code.loaded.cache_clear()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("lab_package")]:
        del sys.modules[name]


def imported():
    return sorted(name.removeprefix("lab_package.") for name in sys.modules if name.startswith("lab_package."))


def test_only_what_is_asked_for_is_loaded(installed, tmp_path, capsys):
    for words in (["list"], ["describe", "collective_spin"]):
        assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "twisted_ring" in shown and "of the installed package lab_package 1.2" in shown and not imported()
    found = hpcsim.solve(MODEL, {"name": "other_mean_field", "observables": ["spins"]})
    assert imported() == ["method", "ring"]
    kept = yaml.safe_load(found.attrs["config"])
    assert kept["model"]["package"] == kept["method"]["package"] == "lab_package 1.2"
    file = {"file": str(ROOT / "configs/tutorials/ising_twist.py"), "sites": 3, "field": 0.5}
    assert np.array_equal(found.Sz, hpcsim.solve(file, "mean_field").Sz)
    exact = hpcsim.solve(MODEL, {"name": "liouvillian", "observables": [{"name": "lab_binder", "scale": 2.0}]})
    assert np.isfinite(exact.binder) and imported() == ["binder", "method", "ring"]
    for name in ("twisted_ring", "other_mean_field", "lab_binder"):
        assert cli.main(["describe", name]) == 0
        assert name in capsys.readouterr().out.splitlines()[0]


def test_a_file_is_read_without_the_package(installed, tmp_path, monkeypatch):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": MODEL, "method": "mean_field"}))
    run, collected = str(tmp_path / "r.h5"), str(tmp_path / "c.h5")
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", run]) == 0
    (tmp_path / "lab_package-1.2.dist-info").rename(tmp_path / "gone")
    code.loaded.cache_clear()
    assert cli.main(["status", run]) == cli.main(["collect", collected, run]) == cli.main(["plot", collected]) == 0
    with pytest.raises(ConfigError, match="unknown model"):
        hpcsim.solve(MODEL)
    install(tmp_path, "lab_package", POINTS, version="1.3")
    with pytest.raises(ConfigError, match=r"'lab_package 1.2': is 'lab_package 1.3' now"):
        hpcsim.solve(yaml.safe_load(hpcsim.open(collected).attrs["config"])["model"])


@pytest.mark.parametrize(
    "model, words",
    [
        ("xyz_lattice", "hpcsim itself and lab_package 1.2 have this name"),
        ("broken", "broken of the package lab_package: cannot be loaded"),
        ({"name": "twisted_ring", "sites": 2}, "model.sites = 2"),
        ({"name": "collective_spin", "S": 1, "package": "lab 1"}, "model.package: belongs to"),
    ],
)
def test_a_clash_or_a_mistake_is_one_message(installed, model, words):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(model)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_names_of_two_others_clash(installed, tmp_path, monkeypatch):
    (tmp_path / "twisted_ring.py").write_text("")
    monkeypatch.setenv("HPCSIM_PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="twisted_ring.py and lab_package 1.2 have this name"):
        hpcsim.solve(MODEL)
    (tmp_path / "mean_field.py").write_text("")
    with pytest.raises(ConfigError, match="hpcsim itself and .*mean_field.py have this name"):
        hpcsim.solve({"name": "collective_spin", "S": 1}, "mean_field")
    (tmp_path / "spins.py").write_text("")
    with pytest.raises(ConfigError, match="hpcsim itself and .*spins.py have this name"):
        hpcsim.solve({"name": "collective_spin", "S": 1, "decay": 1}, {"name": "liouvillian", "observables": ["spins"]})


def test_files_are_listed_by_what_they_define_and_described(tmp_path, monkeypatch, capsys):
    marker = tmp_path / "executed"
    spy = f"\nopen({str(marker)!r}, 'a').close()\n"
    for name in ("ising_twist", "binder"):
        (tmp_path / f"{name}.py").write_text((ROOT / f"configs/tutorials/{name}.py").read_text() + spy)
    (tmp_path / "curves.py").write_text('"""Curves."""\ndef line(x, S):\n    """Straight."""\n    return S * x\n')
    (tmp_path / "wrong.py").write_text("def f(:")
    monkeypatch.setenv("HPCSIM_PATH", str(tmp_path))
    for kind, name in ("models", "ising_twist"), ("observables", "binder"), ("theories", "curves"):
        assert cli.main(["list", kind]) == 0
        assert name in capsys.readouterr().out
    assert not marker.exists()
    for name, words in {
        "ising_twist": ["model ising_twist", "turns : whole turns", "trajectories"],
        str(tmp_path / "binder.py"): ["observable binder", "scale"],
        "curves": ["theories of curves", "curves.py:line(x, S)  Straight"],
    }.items():
        own.executed.cache_clear()
        assert cli.main(["describe", name]) == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in words), shown
    assert marker.exists()
    assert cli.main(["describe", "wrong"]) == 2 and "line 1" in capsys.readouterr().err


def needs(name, version, extras):
    """What a package needs, where this version of it is installed."""
    try:
        there = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    found = [Requirement(each) for each in there.requires or ()] if there.version == version else []
    return [each for each in found if not each.marker or any(each.marker.evaluate({"extra": e}) for e in extras)]


def test_every_version_that_ci_uses_is_pinned():
    """What pyproject.toml asks for, and what that needs in its turn, but for what is bound to the system's MPI."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (ROOT / "jobs" / "env" / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if not line.startswith("#"))
    asked = project["build-system"]["requires"] + project["project"]["dependencies"]
    left = [Requirement(each) for each in asked + project["project"]["optional-dependencies"]["test"]]
    seen = {"mpi4py", "h5py"}
    while left:
        needed = left.pop()
        name = canonicalize_name(needed.name)
        if name not in seen:
            seen.add(name)
            assert name in pinned and needed.specifier.contains(pinned[name]), f"{needed}: {pinned.get(name)} is pinned"
            left += needs(name, pinned[name], ["", *needed.extras])
    assert {"numpy", "jsonschema", "setuptools"} <= seen


def test_a_pinned_version_with_a_known_vulnerability_is_named(tmp_path):
    audit = runpy.run_path(str(ROOT / "jobs" / "env" / "audit.py"))
    events = [{"introduced": "1.2"}, {"fixed": "1.10"}, {"introduced": "2.0"}, {"last_affected": "2.1"}]
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    advisory = {"id": "PYSEC-1", "summary": "runs it", "affected": [{"package": {"name": "A_b"}, "ranges": ranges}]}
    (folder := tmp_path / "vulns" / "a-b").mkdir(parents=True)
    (folder / "PYSEC-1.yaml").write_text(yaml.safe_dump(advisory))
    for version, bad in {"1.1": 0, "1.2": 1, "1.9.3": 1, "1.10": 0, "2.1": 1, "2.1.1": 0}.items():
        read, lines = audit["audit"](audit["locked"](f"# x\nA.b=={version}\nc==1\n"), tmp_path)
        assert read == 1 and lines == [f"a-b {version}: PYSEC-1: runs it"] * bad
    (folder / "PYSEC-1.yaml").write_text(yaml.safe_dump(advisory | {"withdrawn": "2020-01-01T00:00:00Z"}))
    assert audit["audit"](audit["locked"]("a-b==1.2"), tmp_path) == (1, [])
