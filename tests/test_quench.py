"""Quench from a saved steady state: run, saved, evolved, against the matrix exponential of the dense Liouvillian."""

import h5py
import numpy as np
import pytest
import reference
import yaml
from scipy.linalg import expm

import hpcsim
from hpcsim import cli
from hpcsim.models import spin_network
from hpcsim.run.config import ConfigError
from hpcsim.system.matrices import site_operator

RING = {"name": "spin_network", "sites": 3, "Jx": 0.9, "Jy": 1.2, "decay": 0.5}
UNEQUAL = RING | {"field_x": [0.9, -0.6, 0.7], "gain": 0.1}
TIMES = [0.0, 0.7, 2.0]


def system_of(model):
    return spin_network.build(spin_network.Params(**{k: v for k, v in model.items() if k != "name"}))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A run and a collected file of steady states: of fields in x along the sweep, no two sites alike."""
    folder = tmp_path_factory.mktemp("saved")
    method = {"name": "liouvillian", "save_state": True}
    sweep = [{"model.field_z": [0, 0.5]}]
    (folder / "steady.yaml").write_text(yaml.safe_dump({"model": UNEQUAL, "method": method, "sweep": sweep}))
    run, collected = str(folder / "r.h5"), str(folder / "c.h5")
    assert cli.main(["run", str(folder / "steady.yaml"), "--out", run]) == cli.main(["collect", collected, run]) == 0
    return folder


def evolved(folder, file="c.h5", select=None, model=RING, **more):
    initial = {"state": str(folder / file), "select": {"field_z": 0.5} if select is None else select}
    items = ["Sx_0", "Sz_0", "Sy_1", {"name": "pair", "product": [["Sx", 0], ["Sy", 2]]}]
    method = {"name": "liouvillian", "task": "evolve", "times": TIMES, "initial": initial, "observables": items}
    return hpcsim.solve(model, method | more)


@pytest.mark.parametrize("file", ["r.h5", "c.h5"])
def test_a_state_without_the_symmetries_of_the_system_evolves_as_it_must(saved, file):
    """The saved state has different sites; the ring that it evolves on has all alike, and sectors of all momenta."""
    found, system = evolved(saved, file), system_of(RING)
    start = reference.steady_state(system_of(UNEQUAL | {"field_z": 0.5}))
    L = reference.liouvillian(system)
    factors = {"Sx_0": [("Sx", 0)], "Sz_0": [("Sz", 0)], "Sy_1": [("Sy", 1)], "pair": [("Sx", 0), ("Sy", 2)]}
    for t, time in enumerate(TIMES):
        rho = (expm(L * time) @ start.ravel()).reshape(start.shape)
        for name, each in factors.items():
            product = np.eye(len(rho))
            for operator, site in each:
                product = product @ site_operator(system, operator, site).toarray()
            assert found[name].values[t] == pytest.approx(np.trace(product @ rho).real, abs=1e-7), name
    assert abs(found.Sx_0.values[0] - found.Sx.values.ravel()[0]) > 0.01  # the sites do differ


def test_without_a_quench_nothing_happens(saved):
    still = evolved(saved, select={"field_z": 0}, model=UNEQUAL)
    assert np.allclose(still.Sx_0, still.Sx_0[0], atol=1e-8) and abs(still.Sx_0[0]) > 1e-3
    moved = evolved(saved, select={"field_z": 0.5}, model=UNEQUAL)
    assert abs(moved.Sx_0[-1] - moved.Sx_0[0]) > 1e-3


def test_by_command_relative_to_the_config_and_kept(saved, tmp_path, capsys):
    initial = {"state": "c.h5", "select": {"field_z": "1/2"}}
    method = {"name": "liouvillian", "task": "evolve", "times": TIMES, "initial": initial, "observables": ["Sx_0"]}
    config = saved / "quench.yaml"
    config.write_text(yaml.safe_dump({"model": RING, "method": method}))
    run = str(tmp_path / "q.h5")
    assert cli.main(["run", str(config), "--out", run]) == 0
    data = hpcsim.open(run)
    assert np.array_equal(data.Sx_0, evolved(saved).Sx_0)
    kept = yaml.safe_load(data.attrs["config"])
    assert len(kept["method"]["initial"]["state_hash"]) == 64 and kept["method"]["initial"]["states"] == 8
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(kept))
    assert cli.main(["check", str(tmp_path / "again.yaml")]) == 0
    kept["method"]["initial"]["select"] = {"field_z": 0}
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(kept))
    assert cli.main(["check", str(tmp_path / "again.yaml")]) == 2
    assert "another state than the config was made with" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, words",
    [
        ({"select": {}}, "several field_z: 0.0, 0.5; select one"),
        ({"select": {"field_z": 0.3}}, "field_z = 0.3: the file has 0.0, 0.5"),
        ({"select": {"S": 1}}, "select.S: the file is swept along field_z"),
        ({"select": 3}, "write {KEY: value}"),
        ({"file": "nothing.h5"}, "nothing.h5"),
        ({"file": "steady.yaml"}, "steady.yaml"),
        ({"model": RING | {"sites": 4}}, "has 8 states, and this system has 16"),
        (
            {"name": "mean_field"},
            "this method starts from the kinds direction, random, fock, mixed, steady_state alone",
        ),
        ({"name": "trajectories", "model": RING | {"sites": 4}}, "has 8 states, and this system has 16"),
    ],
)
def test_what_does_not_fit_is_one_message(saved, change, words):
    with pytest.raises(ConfigError) as error:
        evolved(saved, **change)
    assert words in str(error.value) and "\n" not in str(error.value), error.value


def test_a_file_without_a_state(saved, tmp_path):
    hpcsim_file = tmp_path / "none.h5"
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": RING, "method": "mean_field"}))
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(hpcsim_file)]) == 0
    with pytest.raises(ConfigError, match="holds no state; run it with method.save_state: true"):
        evolved(tmp_path, "none.h5", {})
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["rho"] = np.eye(8)
    with pytest.raises(ConfigError, match="other.h5"):
        evolved(tmp_path, "other.h5", {})
