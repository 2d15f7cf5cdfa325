"""Observables and theory curves of one's own: run, kept, and never executed by those who read."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import ROOT

import hpcsim
from hpcsim import cli, own, store
from hpcsim.observables.formulas import formula, function
from hpcsim.store.collect import combine

BINDER = ROOT / "configs/tutorials/binder.py"
MODEL = {"name": "spin_network", "sites": 2, "Jx": 1.3, "field_z": 0.4, "decay": 0.5}
TRAJECTORIES = {"name": "trajectories", "trajectories": 16, "batch": 4, "duration": 3, "burn_in": 1}
THEORY = "def line(field_z, decay):\n    return 2.0 * field_z + decay\n"


def written(folder, method, figures=(), sweep=()):
    path = folder / "c.yaml"
    path.write_text(yaml.safe_dump({"model": MODEL, "method": method, "figures": [*figures], "sweep": [*sweep]}))
    return str(path)


def test_the_binder_cumulant_of_two_spins():
    """M = (σx_1 + σx_2)/4: M² = (1 + xx)/8, M⁴ = (1 + xx)/32, so that U = 1 - 2/(3 (1 + ⟨xx⟩))."""
    items = [{"file": str(BINDER), "scale": "2/1"}, {"name": "xx", "product": [["Sx", 0], ["Sx", 1]]}]
    found = hpcsim.solve(MODEL, {"name": "liouvillian", "observables": items})
    assert found.binder.item() == pytest.approx(1 - 2 / (3 * (1 + 4 * found.xx.item())), abs=1e-8)
    assert found.M2.item() == pytest.approx(4 * (1 + 4 * found.xx.item()) / 8, abs=1e-8)
    assert found.binder.attrs["long_name"].startswith("Binder")


@pytest.fixture(scope="module")
def spied(tmp_path_factory):
    """A run of an ensemble with an observable of one's own, a figure with a theory of one's own, and both removed."""
    folder = tmp_path_factory.mktemp("spied")
    marker = folder / "executed"
    spy = f"\nopen({str(marker)!r}, 'a').close()\n"
    (folder / "binder.py").write_text(BINDER.read_text() + spy)
    (folder / "mine.py").write_text(THEORY + spy)
    panel = {"y": "binder", "x": "field_z", "overlays": [{"theory": "mine.py:line"}], "vlines": [0.5]}
    checks = [
        {"name": "near", "y": "binder", "x": "field_z", "analysis": "value", "select": {"field_z": 0.4}}
        | {"expect": "mine.py:line", "within": 1e3},
        {"name": "one", "y": "binder", "x": "field_z", "analysis": "maximum", "below": 1},
    ]
    method = TRAJECTORIES | {"observables": [{"file": "binder.py"}]}
    sweep = [{"model.field_z": [0.4, 0.6]}]
    config = written(folder, method, [{"file": "f", "panels": [panel], "checks": checks}], sweep)
    assert cli.main(["run", config, "--out", str(folder / "r.h5")]) == 0
    assert marker.exists()
    sources = {name: (folder / name).read_text() for name in ("binder.py", "mine.py")}
    for each in (marker, *(folder / name for name in sources)):
        each.unlink()
    own.executed.cache_clear()  # as in a new process
    return folder, config, marker, sources


def test_who_reads_executes_nothing(spied, capsys, caplog):
    folder, config, marker, sources = spied
    run, collected = str(folder / "r.h5"), str(folder / "c.h5")
    assert cli.main(["status", run]) == cli.main(["collect", collected, run]) == 0
    with caplog.at_level(logging.WARNING, "hpcsim"):
        assert cli.main(["plot", collected, "--to", str(folder)]) == 1
    assert not marker.exists() and (folder / "f.png").exists()
    assert "left out: mine.py:line is code" in caplog.text and "--config" in caplog.text
    shown = capsys.readouterr().out
    assert "1 of 2 checks passed" in shown and "mine.py:line  not executed; name the config" in shown
    data = hpcsim.open(collected)
    kept = yaml.safe_load(data.attrs["config"])
    assert kept["method"]["observables"][0]["source"] == sources["binder.py"]
    assert kept["figures"][0]["sources"]["mine.py"]["source"] == sources["mine.py"]
    assert np.isfinite(data.binder_stderr).all() and not marker.exists()


def test_a_figure_of_a_config_that_the_user_names_has_the_theory(spied, capsys):
    folder, config, marker, sources = spied
    run, collected = str(folder / "r.h5"), str(folder / "c2.h5")
    assert cli.main(["collect", collected, run]) == 0
    for name, text in sources.items():
        (folder / name).write_text(text)
    assert cli.main(["plot", collected, "--config", config, "--to", str(folder / "g")]) == 0
    assert marker.exists() and "2 of 2 checks passed" in capsys.readouterr().out
    (folder / "mine.py").write_text(THEORY.replace("2.0", "nothing"))
    assert cli.main(["plot", collected, "--config", config, "--to", str(folder / "g")]) == 2
    assert "theory mine, line 2 of its file: NameError" in capsys.readouterr().err
    (folder / "mine.py").write_text("def other(x):\n    return x\n")
    assert cli.main(["plot", collected, "--config", config, "--to", str(folder / "g")]) == 2
    assert "mine.py has no function line; it has other" in capsys.readouterr().err


def test_the_average_of_an_ensemble_is_a_function_of_averages(spied):
    data = hpcsim.open(spied[0] / "r.h5")
    assert np.allclose(data.binder, 1 - data.M4 / (3 * data.M2**2), atol=1e-12)


GOOD = "from hpcsim.observables import *\n"


@pytest.mark.parametrize(
    "text, extra, words",
    [
        ("x = 1", {}, ["observable bad", "defines no observable"]),
        (GOOD + "def observable(system, params):\n    return system.x", {}, ["line 3", "AttributeError"]),
        (GOOD + "def observable(system, params):\n    return [1]", {}, ["int", "Mean and Derived"]),
        (GOOD + "def observable(system, params):\n    return []", {"p": 1}, ["observable bad", "p", "not permitted"]),
        (GOOD + "def observable(system, params):\n    return []", {"name": "Sz"}, ["Sz", "add a name"]),
        (GOOD + "def observable(s, p):\n    return [formula('q', '1 - M2')]", {}, ["q is a function of M2"]),
        (GOOD + "def observable(s, p):\n    return [formula('q', 'M2.real')]", {}, ["'M2.real' is not allowed"]),
        (GOOD + "def observable(s, p):\n    return [derived('q', abs, ('Sx2',))]", {}, ["Python function", "formula"]),
    ],
)
def test_a_mistake_in_the_file_is_one_message(tmp_path, capsys, text, extra, words):
    (tmp_path / "bad.py").write_text(text)
    config = written(tmp_path, TRAJECTORIES | {"observables": [{"file": "bad.py", **extra}]})
    assert cli.main(["check", config]) == 2
    err = capsys.readouterr().err
    assert all(word in err for word in words) and "Traceback" not in err and err.count("error:") == 1, err


def test_a_python_function_of_an_exact_method(tmp_path, monkeypatch):
    text = "def observable(s, p):\n    dims = (Dim('sublattice', ('all',)),)\n"
    text += "    return [derived('q', lambda x: 3 * x, ('Sx2',), dims)]"
    (tmp_path / "triple.py").write_text(GOOD + text)
    monkeypatch.setenv("HPCSIM_PATH", str(tmp_path))
    found = hpcsim.solve(MODEL, {"name": "liouvillian", "observables": ["triple"]})
    assert np.allclose(found.q, 0.75)


def test_a_mistake_in_a_method_is_one_message(tmp_path, capsys):
    names = "Options, cost, outputs, records, supports"
    text = f"from hpcsim.methods.mean_field import {names}\ndef run(*arguments):\n    return {{}}['Sx']"
    (tmp_path / "mine.py").write_text(text)
    config = written(tmp_path, {"file": "mine.py"})
    assert cli.main(["run", config, "--out", str(tmp_path / "r.h5")]) == 1
    assert "method mine, line 3 of its file: KeyError: 'Sx'" in capsys.readouterr().err
    (tmp_path / "mine.py").write_text(text.replace("cost, ", "") + "\ndef cost(system):\n    return 1")
    assert cli.main(["check", config]) == 2
    assert "method mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["x.__class__", "x if x else x", "[x]", "lambda: x", "open(x)", "'x'", "x" * 400, "1", "sqrt(x, x, x)"]
)
def test_a_formula_is_arithmetic_alone(text):
    with pytest.raises(ValueError):
        formula("q", text)


def test_a_formula_is_what_python_says():
    a, b = np.array([1.5, 2.0]), np.array([0.3, 4.0])
    made = formula("q", "sqrt(abs(a - b))**3 / maximum(a, b) + exp(-a)*real(b)")
    assert made.output.sources == ("a", "b")
    found = function(made.output.function, made.output.sources)(a, b)
    assert np.allclose(found, np.sqrt(abs(a - b)) ** 3 / np.maximum(a, b) + np.exp(-a) * b)


def test_a_function_that_this_version_does_not_know_is_one_message(spied):
    (run,) = store.read_runs(spied[0] / "r.h5")
    for text in ("soft_length", "M2.__class__", "1 - M6"):
        outputs = tuple(
            SimpleNamespace(**vars(each) | {"function": text}) if each.name == "binder" else each
            for each in run.layout.outputs
        )
        with pytest.raises(store.StoreError, match="binder is a function that this version of hpcsim does not know"):
            combine([replace(run, layout=replace(run.layout, outputs=outputs))])
