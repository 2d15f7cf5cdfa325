"""Models and methods outside the package: how they are found, kept in the run file, and who executes them."""

import hashlib
import shutil

import numpy as np
import pytest
import yaml
from conftest import ROOT, mpirun

import hpcsim
from hpcsim import cli, own
from hpcsim.models import spin_network
from hpcsim.run import config

SOURCE = ROOT / "configs/tutorials/ising_twist.py"
OWN = {"file": "ising_twist.py", "sites": 3, "field": "1/2"}


@pytest.fixture
def folder(tmp_path):
    shutil.copy(SOURCE, tmp_path)
    return tmp_path


def written(folder, model=OWN, method="liouvillian"):
    (folder / "c.yaml").write_text(yaml.safe_dump({"model": model, "method": method}))
    return str(folder / "c.yaml")


def exact(field):
    """The same ring by the package's own model: w = 1, -J/S = Jx/2S."""
    params = {"sites": 3, "Jx": -2.0, "field_z": -field, "decay": 1.0}
    return hpcsim.solve(spin_network.build(spin_network.Params(**params)))


def test_the_tutorial_on_two_ranks(tmp_path):
    """The file is beside the config, the program in another folder."""
    path = ROOT / "configs/tutorials/own_model.yaml"
    done = mpirun(2, ["-m", "hpcsim", "run", path, "--quick", "--out", "r.h5", "--set", "model.sites=3"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("executes") == 1 and "ising_twist.py" in done.stderr
    data = hpcsim.open(tmp_path / "r.h5")
    for field in (0.5, 1.0):
        one = hpcsim.solve(OWN | {"file": str(SOURCE), "field": field, "decay": 0.5})
        assert np.allclose(data.Sz.sel(field=field, turns=0), one.Sz, atol=1e-9)
    assert not np.allclose(data.Sz.sel(turns=0), data.Sz.sel(turns=1), atol=1e-3)


def test_the_numbers_are_those_of_the_package(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert np.allclose(hpcsim.solve(OWN).Sz, exact(0.5).Sz, atol=1e-9)
    assert not np.allclose(exact(0.5).Sz, exact(0.6).Sz, atol=1e-3)


def test_the_source_is_kept_and_never_executed_by_those_who_read(folder, capsys):
    marker = folder / "executed"
    spy = SOURCE.read_text() + f"\nopen({str(marker)!r}, 'a').close()\n"
    (folder / "ising_twist.py").write_text(spy)
    path, run, collected = written(folder), str(folder / "r.h5"), str(folder / "c.h5")
    assert cli.main(["run", path, "--out", run]) == 0 and marker.exists()
    marker.unlink()
    own.executed.cache_clear()  # as in a new process
    (folder / "ising_twist.py").unlink()
    assert cli.main(["status", run]) == cli.main(["collect", collected, run]) == cli.main(["plot", collected]) == 0
    assert cli.main(["report", run]) == cli.main(["export", run, "--csv"]) == cli.main(["report", collected]) == 0
    kept = yaml.safe_load(hpcsim.open(run).attrs["config"])["model"]
    assert not marker.exists()
    assert kept["source"] == spy and kept["source_hash"] == hashlib.sha256(spy.encode()).hexdigest()
    assert kept["name"] == "ising_twist" and kept["field"] == 0.5
    (folder / "again.yaml").write_text(yaml.safe_dump({"model": kept, "method": "liouvillian"}))
    assert cli.main(["check", str(folder / "again.yaml")]) == 2 and "cannot be read" in capsys.readouterr().err
    (folder / "ising_twist.py").write_text(spy + "\n")
    assert cli.main(["check", str(folder / "again.yaml")]) == 2 and not marker.exists()
    (folder / "ising_twist.py").write_text(spy)
    assert cli.main(["check", str(folder / "again.yaml")]) == 0 and marker.exists()
    (folder / "ising_twist.py").write_text(spy + "\n")
    assert cli.main(["run", path, "--out", run]) == 2  # another model


def test_a_name_is_found_in_the_folders_of_the_path(folder, monkeypatch):
    named = {"name": "ising_twist", "sites": 3}
    with pytest.raises(config.ConfigError, match="unknown model"):
        hpcsim.solve(named)
    monkeypatch.setenv("HPCSIM_PATH", f"nowhere:{folder}")
    assert np.allclose(hpcsim.solve(named | {"field": 0.5}).Sz, exact(0.5).Sz, atol=1e-9)


def test_a_method_of_ones_own(folder):
    """One that hands on to mean_field."""
    names = "Options, cost, outputs, records, run, supports"
    (folder / "mine.py").write_text(f"from hpcsim.methods.mean_field import {names}\n")
    model = OWN | {"file": str(SOURCE)}
    mine = hpcsim.solve(model, {"file": str(folder / "mine.py")})
    assert np.array_equal(mine.Sz, hpcsim.solve(model, "mean_field").Sz)


@pytest.mark.parametrize(
    "text, words",
    [
        ("x = (", ["line 1", "SyntaxError"]),
        ("\nimport nothing_of_this_name", ["line 2", "nothing_of_this_name"]),
        ("def build(params):\n    pass", ["defines no Params"]),
        ("class Params:\n    pass\ndef build(params):\n    pass", ["Params must extend"]),
        ("from hpcsim.system import Parameters as Params\ndef build(params):\n    return params.x", ["line 3", "'x'"]),
        (
            "from hpcsim.system import Parameters as Params\ndef build(params):\n    return 1",
            ["int", "System is needed"],
        ),
    ],
)
def test_a_mistake_in_the_file_is_one_message(folder, capsys, text, words):
    (folder / "bad.py").write_text(text)
    assert cli.main(["check", written(folder, {"file": "bad.py"})]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words) and "Traceback" not in err, err


@pytest.mark.parametrize(
    "model, words",
    [
        ({"file": "nowhere.py"}, "cannot be read"),
        ({"file": 3}, "NAME.py"),
        ({"name": "collective_spin", "S": 1, "source": "1"}, "model.source"),
        (OWN | {"filed": 1}, "model.filed = 1: unknown key; did you mean field"),
    ],
)
def test_a_wrong_section_is_one_message(folder, capsys, model, words):
    assert cli.main(["check", written(folder, model)]) == 2
    assert words in capsys.readouterr().err
