"""The path a user walks: a config, `hpcsim run` on two ranks or `hpcsim.solve`, collect, xarray.

Every model with every method in every task: exact results agree with dense Kronecker products (reference.py), all of
an ensemble's averages within four standard errors; what a method does not support is refused in one message.
"""

import functools

import numpy as np
import pytest
import reference
import xarray
import yaml
from exact import moments, whole
from scipy.linalg import expm
from test_api import by_command, same

import hpcsim
from hpcsim import cli, guide
from hpcsim.run import config, plan
from hpcsim.run.config import ConfigError
from hpcsim.system import cartesian

MODELS = {
    "all_to_all_xyz": {
        "name": "all_to_all_xyz", "N": 3, "Jx": 0.6, "Jy": 1.4, "Jz": 1.0, "decay": 1.0, "field": 0.3,
    },
    "atom_array": {"name": "atom_array", "sites": 3, "spacing": 0.4, "rabi": 0.8, "laser": [1, 0, 1], "detuning": 0.3},
    "cavity_dimer": {
        "name": "cavity_dimer", "S": 0.5, "detuning": 0.7, "Gc": 0.8, "G": 1.1,
        "decay_a": 1.0, "decay_b": 0.6, "decay_c": 0.2,
    },
    "collective_spin": {
        "name": "collective_spin", "S": 1.5, "drive": 0.7, "twist": 0.3, "decay": 1.0, "dephasing": 0.2,
    },
    "driven_spin": {"name": "collective_spin", "S": 2, "drive": 0.7, "decay": 1.0},
    "gain_loss_lattice": {"name": "gain_loss_lattice", "S": 1, "gain": 1.0, "loss": 0.5},
    "kerr_oscillator": {"name": "kerr_oscillator", "detuning": 1.0, "U": 1.0, "F": 1.0, "cutoff": 6},
    "spin_network": {  # no two sites are alike
        "name": "spin_network", "sites": 3, "Jx": 0.7, "Jy": -0.5, "Jz": 0.4, "edges": [[0, 1], [1, 2, 0.5]],
        "field_x": [0.9, -0.6, 0.7], "field_z": 0.4, "decay": [0.5, 0.3, 0.4], "gain": 0.1, "resolve": True,
    },
    "spin_ring": {"name": "spin_network", "sites": 3, "Jx": 0.9, "Jy": 1.2, "Jz": 1.0, "field_x": 0.3, "decay": 0.5},
    "xyz_lattice": {
        "name": "xyz_lattice", "convention": "huber2021", "sites": 4, "S": 0.5, "Jx": 0.9, "Jy": 1.2, "Jz": 1.0,
    },
}  # fmt: skip
TIMES, INITIAL = [0.4, 1.0], [0.3, 0.2]
EVOLVE = {"task": "evolve", "times": TIMES, "initial": INITIAL}
STEADY = {"task": "steady_state", "burn_in": 10, "duration": 40}
TASKS = {
    "liouvillian steady_state": {},
    "liouvillian spectrum": {"eigenvalues": 3},
    "liouvillian gap": {},
    "liouvillian antigap": {},
    "liouvillian evolve": EVOLVE,
    "permutation steady_state": {},
    "permutation spectrum": {"eigenvalues": 3},
    "permutation evolve": EVOLVE,
    "trajectories steady_state": STEADY | {"trajectories": 128, "batch": 2},
    "trajectories evolve": EVOLVE | {"trajectories": 1024, "batch": 16},
    "phase_space steady_state": STEADY | {"trajectories": 256, "batch": 16},
    "phase_space evolve": EVOLVE | {"trajectories": 1024, "batch": 64},
    "mean_field steady_state": {"starts": 2},
    "mean_field evolve": EVOLVE,
    "gaussian steady_state": {},
    "gaussian configurations": {"keep": 4},
    "matrix_product steady_state": {"bond_dimension": 4, "max_time": 4, "dt": 0.1, "distances": 2},
}


def method_of(task) -> dict:
    return dict(zip(("name", "task"), task.split())) | TASKS[task]


@functools.cache
def system_of(model):
    given = {key: value for key, value in MODELS[model].items() if key != "name"}
    module = guide.modules("models")[MODELS[model]["name"]]
    return module.build(module.Params(**given))


@functools.cache
def spectrum(model):
    """All eigenvalues, in falling order of their real parts."""
    values = np.linalg.eigvals(reference.liouvillian(system_of(model)))
    return values[np.argsort(-values.real)]


@functools.cache
def states(model):
    """The steady state, and the states at TIMES."""
    system = system_of(model)
    L, polar = reference.liouvillian(system), np.pi * np.array([INITIAL] * system.sites)
    start, now, found = reference.product_state(system, polar), 0.0, []
    vector = start.ravel()
    for time in TIMES:
        vector, now = expm(L * (time - now)) @ vector, time
        found.append(vector.reshape(start.shape))
    return reference.steady_state(system), found


def expected(model, task) -> dict:
    """Moments, and of the steady state its purity and entropy."""
    steady, later = states(model)
    if not task.endswith("evolve"):
        return moments(system_of(model), steady) | whole(system_of(model), steady)
    at = [moments(system_of(model), rho) for rho in later]
    return {name: np.stack([each[name] for each in at], axis=-1) for name in at[0]}


def assert_states_agree(data, model, task, tolerance):
    """Within the tolerance, and four standard errors where there are any; neither twice as much nor negated."""
    told = 0
    for name, exact in expected(model, task).items():
        if name not in data:
            continue
        error = data[f"{name}_stderr"].values if f"{name}_stderr" in data else 0.0
        found, allowed = data[name].values, tolerance * max(1, np.nanmax(np.abs(exact))) + 4 * error
        assert found.shape == np.shape(exact), name
        assert np.array_equal(np.isnan(found), np.isnan(exact)), name
        assert not (abs(found - exact) > allowed).any(), (name, found, exact, allowed)
        told += bool((abs(2 * found - exact) > allowed).any() and (abs(found + exact) > allowed).any())
    assert told >= 2


def assert_rates_agree(data, model, task):
    """Every eigenvalue is one of the dense Liouvillian, and the gap and the far end are its own."""
    whole = spectrum(model)
    for value in data["eigenvalues"].values if "eigenvalues" in data else ():
        assert np.isnan(value) or min(abs(whole - value)) < 1e-6, value
    if task.startswith("liouvillian"):
        assert data.gap.item() == pytest.approx(-whole[1].real, rel=1e-6)
        assert abs(whole[0]) < 1e-9
    else:  # the symmetric part of the spectrum
        assert min(abs(whole.real + data.gap.item())) < 1e-6 and data.gap >= -whole[1].real - 1e-6
    if task.endswith("antigap"):
        assert data.fastest.values == pytest.approx(-whole[::-1][:2].real, rel=1e-6, abs=1e-6)
        assert data.antigap.item() == pytest.approx(whole[-2].real - whole[-1].real, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("task", TASKS)
def test_every_model_method_and_task(model, task):
    method, system = task.split()[0], system_of(model)
    reason = guide.modules("methods")[method].supports(system)
    if reason is not None:
        with pytest.raises(ConfigError) as refused:
            hpcsim.solve(MODELS[model], method_of(task))
        assert reason in str(refused.value) and str(refused.value).startswith("method.name") and "\n" not in reason
        return
    data = hpcsim.solve(MODELS[model], method_of(task), run={"seed": 5})
    assert isinstance(data, xarray.Dataset) and all(v.attrs["units"] for v in data.data_vars.values() if v.ndim)
    if task.endswith(("spectrum", "gap")):
        assert_rates_agree(data, model, task)
    elif method in ("liouvillian", "permutation"):
        assert_states_agree(data, model, task, 1e-7)
    elif method == "trajectories":
        assert_states_agree(data, model, task, 1e-6)
    elif method == "phase_space":  # no spin is large here: the first moments are right to the truncation
        scale = system.spins.max()
        for name in ("Sx", "Sy", "Sz"):
            allowed = 0.25 * scale + 4 * data[f"{name}_stderr"]
            assert (abs(data[name] - expected(model, task)[name]) < allowed).all(), name
    elif task == "gaussian configurations":  # up and down are at rest unless a field across turns them
        across = [t.coefficients for t in cartesian(system) if t.operators in (("Sx",), ("Sy",))]
        for name in ("damping", "frequency", "magnetisation", "code"):
            assert np.isnan(data[name]).all() if any(map(np.any, across)) else np.isfinite(data[name]).all(), name
    elif method == "gaussian" and not data.stable:  # no fluctuations about a state that does not last
        assert np.isnan(data.var_Sx).all() and np.isnan(data.occupation).all()
    else:
        found = [v for v in data.data_vars.values() if v.dtype.kind == "f"]
        assert sum(bool(np.isfinite(v).all()) for v in found) > len(found) / 2


@pytest.mark.parametrize("task", ["mean_field steady_state", "mean_field evolve"])
@pytest.mark.parametrize("model", ["driven_spin", "gain_loss_lattice"])
def test_mean_field_of_one_cluster_is_exact(model, task):
    method = method_of(task) | {"cluster": system_of(model).sites, "tolerance": 1e-10}
    data = hpcsim.solve(MODELS[model], method | ({} if "evolve" in task else {"settled": 1e-9}))
    assert_states_agree(data, model, task, 1e-6)


BY_COMMAND = {
    "cavity_dimer liouvillian steady_state": "model.Gc",
    "spin_network liouvillian evolve": "model.Jx",
    "all_to_all_xyz permutation spectrum": "model.Jx",
    "spin_network trajectories evolve": "model.Jx",
    "gain_loss_lattice phase_space steady_state": "model.gain",
    "xyz_lattice gaussian steady_state": "model.Jx",
}


@pytest.mark.parametrize("case", BY_COMMAND)
def test_the_command_line_on_two_ranks_gives_the_same_bits(case, tmp_path):
    model, task = case.split(maxsplit=1)
    key = BY_COMMAND[case].removeprefix("model.")
    values = [0.8 * MODELS[model][key], MODELS[model][key]]
    given = {
        "model": {k: v for k, v in MODELS[model].items() if k != key},
        "method": method_of(task),
        "sweep": [{BY_COMMAND[case]: values}],
        "run": {"seed": 5},
    }
    path = by_command(given, tmp_path, ranks=2)
    data = hpcsim.solve(**given)
    assert same(data, hpcsim.open(path))
    with xarray.open_dataset(path, engine="h5netcdf") as read:
        assert set(read.variables) == set(data.variables) and read.sizes[key] == 2
        if task.split()[0] in ("liouvillian", "trajectories"):
            assert_states_agree(read.sel({key: values[1]}), model, task, 1e-6)


@pytest.mark.parametrize(
    "model, method, message",
    [
        ("kerr_oscillator", {"name": "phase_space"}, "does not support"),
        ("spin_ring", {"name": "liouvillian", "task": "evolve"}, "times is missing"),
        ("spin_ring", {"name": "permutation", "task": "gap"}, "steady_state"),
        ("spin_ring", {"name": "liouvillian", "task": "gap", "observables": ["Sz"]}, "observables belong to the tasks"),
        ("spin_ring", {"name": "trajectories", "observables": ["purity"]}, "purity"),
        ("collective_spin", {"name": "liouvillian", "observables": ["correlation"]}, "correlation"),
        ("driven_spin", {"name": "mean_field", "cluster": 2}, "cluster = 2"),
        ("xyz_lattice", {"name": "matrix_product", "bond_dimension": 1}, "bond_dimension"),
    ],
)
def test_what_does_not_fit_is_one_message_by_command_and_in_memory(model, method, message, tmp_path, capsys):
    with pytest.raises(ConfigError, match=message) as caught:
        hpcsim.solve(MODELS[model], method)
    assert "\n" not in str(caught.value)
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": MODELS[model], "method": method}))
    for arguments in (["check"], ["run", "--out", str(tmp_path / "r.h5")]):
        assert cli.main([arguments[0], str(tmp_path / "c.yaml"), *arguments[1:]]) == 2
        shown = capsys.readouterr().err
        assert message in shown and "Traceback" not in shown and len(shown.strip().splitlines()) == 1


@pytest.mark.parametrize("model", MODELS)
def test_the_resolved_config_of_every_path_gives_the_same_plan(model):
    """What `check` shows, and a file holds, is itself a config."""
    for task in TASKS:
        if guide.modules("methods")[task.split()[0]].supports(system_of(model)) is None:
            first = plan.plan(config.resolve({"model": MODELS[model], "method": method_of(task)}))
            again = plan.plan(config.resolve(yaml.safe_load(yaml.safe_dump(first.config))))
            assert again.config == first.config and again.numbering.records == first.numbering.records
