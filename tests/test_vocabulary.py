"""One name for one thing in all models; former names are read, and give the same numbers to the bit."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from conftest import ROOT

import hpcsim
from hpcsim import cli, figures, guide, schema
from hpcsim.models import all_to_all_xyz
from hpcsim.run import config
from hpcsim.run.config import ConfigError
from hpcsim.run.plan import plan
from hpcsim.run.problem import Problem
from hpcsim.store import disk
from hpcsim.store.collect import outline
from hpcsim.system import vocabulary

OLD = {
    "all_to_all_xyz": {"N": 3, "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0, "pump": 0.2, "field": 0.3},
    "collective_spin": {"S": 2, "drive": 0.7, "decay": 1.0},
}
NEW = {
    "all_to_all_xyz": {"sites": 3, "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0, "gain": 0.2, "field_x": 0.3},
    "collective_spin": {"S": 2, "field_x": 0.7, "decay": 1.0},
}
KEYS = {  # of the random streams and of the system, with seed 5, as version 0.1 had them
    "all_to_all_xyz": ((3728305322, 3232386749), "b8c98d42b01aa672"),
    "collective_spin": ((4269038482, 1510928601), "8c497a7a813a3ffa"),
}
RUN = {"name": "trajectories", "trajectories": 4, "batch": 2, "duration": 1, "burn_in": 1}


@pytest.mark.parametrize("model", OLD)
def test_old_names_and_new_ones_are_one_problem_that_version_0_1_had(model):
    for values in (OLD, NEW):
        problem = Problem({"name": model, **values[model]}, RUN)
        assert (problem.key(5), problem.system.key.hex()[:16]) == KEYS[model]
        assert problem.params.model_dump(include=NEW[model].keys()) == NEW[model]


def test_no_model_has_a_field_with_an_old_name():
    for name, module in guide.modules("models").items():
        old = set(module.Params.model_fields) & set(vocabulary.NAMES)
        assert not old, f"{name} has {old}; write {[vocabulary.NAMES[each] for each in old]}"


def test_results_have_the_name_that_the_user_swept_and_preferred_ones_else(tmp_path):
    fixed = {key: value for key, value in OLD["collective_spin"].items() if key != "drive"}
    data = hpcsim.solve({"name": "collective_spin", **fixed}, sweep={"model.drive": [0.4, 0.7]})
    one = hpcsim.solve({"name": "collective_spin", **NEW["collective_spin"]})
    assert np.array_equal(data.Sx.sel(drive=0.7), one.Sx)
    kept = yaml.safe_load(data.attrs["config"])
    assert "drive" not in kept["model"] and "field_x" not in kept["model"] and [*kept["sweep"][0]] == ["model.drive"]
    assert yaml.safe_load(one.attrs["config"])["model"]["field_x"] == 0.7
    again = config.resolve(yaml.safe_load(data.attrs["config"]))
    assert plan(again).config == {**kept, "figures": []} | {"run": kept["run"]}
    for name in ("field_x", "drive"):  # in place of the value that the model has
        swept = {f"model.{name}": [0.4, 0.7]}
        over = hpcsim.solve({"name": "collective_spin", **OLD["collective_spin"]}, sweep=swept)
        assert np.array_equal(over.Sx, data.Sx)


@pytest.mark.parametrize("swept, x", [("N", "sites"), ("sites", "N")])
def test_figures_may_use_any_name(swept, x):
    """Coordinates, labels, divisors and the arguments of theories."""
    panel = {"y": "Sz", "x": "Jy", "by": x, "label": f"{{{x}}} spins", "divide": x}
    panel["overlays"] = [{"theory": "all_to_all_Mz"}]
    check = {"name": "c", "y": "Sz", "x": "Jy", "by": x, "select": {x: [2, 3]}, "analysis": "maximum", "below": 1}
    loaded = config.resolve(
        {
            "model": {"name": "all_to_all_xyz", "Jx": 0.6, "Jz": 1.0, "decay": 1.0},
            "method": "permutation",
            "sweep": [{f"model.{swept}": [2, 3]}, {"model.Jy": [1.1, 1.4]}],
            "figures": [{"file": "f", "panels": [panel], "checks": [check]}],
        }
    )
    figures.verify(figures.parse(loaded["figures"]), outline(plan(loaded).layout))


@pytest.mark.parametrize(
    "model, sweep, words",
    [
        ({"N": 3, "sites": 3}, {}, "N and sites are two names of one parameter, sites; give one of them"),
        ({"N": 3, "field": 1, "drive": 2}, {}, "field and drive are two names of one parameter, field_x"),
        ({"Jx": 1}, {"model.N": [2], "model.sites": [3]}, "N and sites are two names"),
        ({"sites": 1}, {}, "model.sites = 1"),
        ({"Jx": 1}, {"model.N": [1]}, "model.N = 1"),
    ],
)
def test_two_names_of_one_parameter_are_one_message(model, sweep, words):
    base = {"name": "all_to_all_xyz", "Jx": 0.6, "Jy": 1.1, "Jz": 1.0, "decay": 1.0}
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(base | model, sweep=sweep)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_a_swept_parameter_is_not_set_under_another_name(tmp_path, capsys):
    text = "model: {name: collective_spin, S: 1, decay: 1}\nmethod: liouvillian\nsweep: [{model.drive: [0.1, 0.2]}]\n"
    (tmp_path / "c.yaml").write_text(text)
    assert cli.main(["check", str(tmp_path / "c.yaml"), "--set", "model.field_x=0.3"]) == 2
    assert "model.field_x has its values from the sweep" in capsys.readouterr().err


def test_a_lattice_of_cells_says_that_it_counts_cells():
    with pytest.raises(ConfigError, match="unit cells of two sites"):
        hpcsim.solve({"name": "gain_loss_lattice", "sites": 4, "S": 0.5, "gain": 1, "loss": 0.5})


def test_a_model_of_ones_own_keeps_its_own_names():
    file = str(ROOT / "configs/tutorials/ising_twist.py")
    data = hpcsim.solve({"file": file, "N": 3, "field": 0.5})
    kept = yaml.safe_load(data.attrs["config"])["model"]
    assert kept["field"] == 0.5 and kept["sites"] == 3 and "N" not in kept


def test_describe_and_schema_tell_the_other_names():
    shown = guide.described("all_to_all_xyz")
    assert "sites                 required (also: N)" in shown and "(also: drive, field)" in shown
    keys = schema._keys(all_to_all_xyz.Params)["properties"]
    assert keys["pump"] == {"description": "another name of gain", "deprecated": True}


FORMER = {  # sections `model` as version 0.1 wrote them into its files
    "all_to_all_xyz": {"N": 3, "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0, "collective_decay": 0.0}
    | {"dephasing": 0.0, "collective_dephasing": 0.0, "pump": 0.2, "collective_pump": 0.0, "field": 0.3}
    | {"field_angle": 0.0},
    "spin_network": {"sites": [2], "S": 0.5, "power": None, "edges": None, "Jx": 1.0, "Jy": 0.0, "Jz": 0.0}
    | dict.fromkeys(("field_x", "field_y", "field_z", "twist", "gain", "dephasing"), 0.0)
    | {"decay": 1.0, "periodic": True, "resolve": False},
}


@pytest.mark.parametrize("model", FORMER)
def test_a_run_that_a_former_version_began_goes_on(model, tmp_path):
    """And files of both go into one."""
    given = {"model": {"name": model} | FORMER[model], "method": "mean_field", "sweep": [{"model.Jx": [0.5, 1.0]}]}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(given))
    layout = plan(config.load(tmp_path / "c.yaml")).layout
    old = replace(layout, config=layout.config | {"model": given["model"]})
    disk.create(tmp_path / "r.h5", old)
    disk.create(tmp_path / "other.h5", old)
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "r.h5")]) == 0
    assert cli.main(["collect", *(str(tmp_path / f"{name}.h5") for name in ("c", "r", "other"))]) == 0
    data = hpcsim.open(tmp_path / "c.h5")
    assert np.isfinite(data.Sz).all() and yaml.safe_load(data.attrs["config"])["model"]["name"] == model


def test_a_run_goes_on_when_its_config_gives_a_swept_parameter_another_name(tmp_path, caplog):
    """The file keeps its name, also when it gets more points."""
    text = "model: {name: collective_spin, S: 1/2, decay: 1}\nmethod: liouvillian\nsweep: [{model.KEY: VALUES}]\n"
    run, seen = str(tmp_path / "r.h5"), []
    for key, values in ("drive", "[0.1, 0.2]"), ("field_x", "[0.1, 0.2]"), ("field_x", "[0.1, 0.2, 0.3]"):
        (tmp_path / "c.yaml").write_text(text.replace("KEY", key).replace("VALUES", values))
        assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", run]) == 0
        seen.append(caplog.text)
        caplog.clear()
    assert "2 records (2 done)" in seen[1] and "3 records (2 done)" in seen[2]
    assert cli.main(["collect", str(tmp_path / "d.h5"), run]) == 0
    assert hpcsim.open(tmp_path / "d.h5").Sx.dims[0] == "drive"


def test_runs_that_sweep_one_parameter_under_two_names_are_one_data_set(tmp_path, monkeypatch):
    """Files of version 0.1 and of this one, say: the name is that of the first file; --over takes any name."""
    monkeypatch.chdir(tmp_path)
    model = {"name": "all_to_all_xyz", "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0}
    sweeps = {
        "old": [{"model.N": [2, 3]}, {"model.pump": [0.1, 0.2], "model.field": [0.3, 0.5]}],
        "new": [{"model.field_x": [0.7], "model.gain": [0.3]}, {"model.sites": [2, 3, 4]}],
        "one": [{"model.sites": [4]}],
    }
    for name, sweep in sweeps.items():
        given = model | {"gain": 0.1, "drive": 0.3} if name == "one" else model
        (tmp_path / f"{name}.yaml").write_text(
            yaml.safe_dump({"model": given, "method": "permutation", "sweep": sweep})
        )
        hpcsim.run_config(f"{name}.yaml", f"{name}.h5")
    hpcsim.collect("c.h5", ["old.h5", "new.h5", "one.h5"])
    data = hpcsim.open("c.h5")
    assert data.Sz.dims[:2] == ("N", "field") and data.N.values.tolist() == [2, 3, 4]
    assert data.pump.values.tolist() == [0.1, 0.2, 0.3] and data.field.values.tolist() == [0.3, 0.5, 0.7]
    there = np.isfinite(data.Sz.values[..., 0])
    assert np.array_equal(there, [[True, True, True], [True, True, True], [True, False, True]])
    alone = hpcsim.solve(model | {"N": 4, "gain": 0.1, "drive": 0.3}, "permutation")
    assert np.array_equal(data.Sz.sel(N=4, field=0.3), alone.Sz)
    hpcsim.collect("d.h5", ["one.h5"], over=[("model.drive",)])
    hpcsim.collect("e.h5", ["new.h5", "old.h5"])
    assert hpcsim.open("d.h5").drive.values.tolist() == [0.3]
    assert np.array_equal(hpcsim.open("e.h5").Sz.sel(field_x=0.5, sites=3), data.Sz.sel(field=0.5, N=3))
