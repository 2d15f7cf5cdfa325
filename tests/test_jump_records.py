"""Two-time functions, counts of jumps and waiting times along trajectories, through the command line."""

import numpy as np
import pytest
from runs import collected, command, run, shortened, write
from test_two_times import ATOM, DECAY, LIGHT, RABI

import hpcsim
from hpcsim import store

PAIRS = {"name": "pairs", "lowering": {"sum": "S-", "weights": [1.0, -0.5, 0.3]}}
FUNCTIONS = [
    {"name": "own", "A": [["S+", 0]], "B": [["S-", 0]]},
    {"name": "mixed", "A": {"sum": "Sz"}, "B": [["Sz", 0], ["Sx", 2]]},
    PAIRS,
]
CURRENTS = [
    {"name": "net", "jumps": {"S-": 1, "S+": -0.5}},
    {"name": "last", "jumps": "S-", "sites": [2]},
]
FOUND = {"correlation": ["own", "mixed", "pairs"], "counting": ["net", "last", "net_variance", "last_fano"]}
ASKED = {
    "correlation": {"times": [0, 0.3, 1.1], "functions": FUNCTIONS},
    "counting": {"channels": CURRENTS},
}
SAMPLED = {
    "correlation": {"trajectories": 32, "duration": 32, "sample_every": 2},
    "counting": {"trajectories": 96, "duration": 160, "sample_every": 8},
}


def unequal(seed, **more):
    """The section `model` of three spins with unequal fields and rates."""
    rng = np.random.default_rng(seed)
    values = {f"field_{a}": rng.normal(size=3).tolist() for a in "xyz"} | {f"J{a}": rng.normal() for a in "xyz"}
    rates = {name: rng.uniform(0.2, 1, 3).tolist() for name in ("decay", "gain", "dephasing")}
    return {"name": "spin_network", "sites": 3, "convention": "standard"} | values | rates | more


MODELS = {"no symmetry": unequal(1), "U(1)": unequal(2, field_x=0.0, field_y=0.0, Jx=0.7, Jy=0.7)}


@pytest.mark.parametrize("task", ASKED)
@pytest.mark.parametrize("name", MODELS)
def test_unequal_sites_are_those_of_the_liouvillian(name, task, tmp_path):
    """Two-time functions, the mean and the variance of counts: within four standard errors; a factor 2 is not."""
    sections = {"model": MODELS[name], "sweep": [], "figures": []}
    own = {"task": task} | ASKED[task]
    sampled = own | {"name": "trajectories", "burn_in": 15} | SAMPLED[task]
    found = hpcsim.open(collected(run(tmp_path / "t.h5", method=sampled, **sections)))
    exact = hpcsim.open(collected(run(tmp_path / "l.h5", method=own | {"name": "liouvillian"}, **sections)))
    for key in FOUND[task]:
        wanted, error = exact[key].values, 4 * found[f"{key}_stderr"].values
        assert found[key].dims == exact[key].dims and found[key].attrs["units"] == exact[key].attrs["units"]
        assert np.all(abs(found[key].values - wanted) < error), (key, found[key].values, wanted, error)
        assert key == "mixed" or np.all(abs(2 * found[key].values - wanted).max() > error.max()), key


def test_a_driven_atom_emits_photons_at_the_times_of_the_closed_form(tmp_path):
    """w(τ) = γ (Ω/2λ)² exp(-γτ/2) sin² λτ, λ² = Ω²/4 - γ²/16 (Carmichael et al., Phys. Rev. A 39, 1200 (1989)), and
    the statistics of Mandel."""
    method = {
        "name": "trajectories",
        "task": "counting",
        "channels": [{"name": "photons", "jumps": "S-"}],
        "trajectories": 128,
        "burn_in": 10,
        "duration": 200,
        "waiting": {"linspace": [0, 8, 17]},
    }
    found = hpcsim.open(collected(run(tmp_path / "w.h5", method=method, model=ATOM, sweep=[], figures=[])))
    turning, edges = np.sqrt(RABI**2 / 4 - DECAY**2 / 16), np.linspace(0, 8, 17)
    tau = edges[:-1, None] + (np.arange(50) + 0.5) / 100
    density = DECAY * (RABI / 2 / turning) ** 2 * np.exp(-DECAY * tau / 2) * np.sin(turning * tau) ** 2
    wanted, error = density.mean(axis=1), found.photons_waiting_stderr.values
    assert found.photons_waiting.dims == ("wait",) and np.allclose(found.wait, (edges[1:] + edges[:-1]) / 2)
    assert np.all(abs(found.photons_waiting.values - wanted) < 4 * error) and np.all(error < 0.015)
    saturation = DECAY**2 + 2 * RABI**2
    fano = 1 - 6 * RABI**2 * DECAY**2 / saturation**2
    for value, wanted in (("photons", DECAY * RABI**2 / saturation), ("photons_fano", fano)):
        assert abs(found[value] - wanted) < 4 * found[f"{value}_stderr"] < 0.5 * wanted


@pytest.mark.parametrize("task", ASKED)
def test_the_same_bits_when_a_run_is_resumed(task, tmp_path, capsys):
    method = {"name": "trajectories", "task": task, "trajectories": 6, "batch": 2, "burn_in": 1, "duration": 4}
    method |= ASKED[task] | {"sample_every": 2}
    path = run(tmp_path / "whole.h5", method=method, model=MODELS["no symmetry"], sweep=[], figures=[])
    again = shortened(path, without=[1])
    assert command("run", path.with_suffix(".yaml"), "--out", again) == 0
    (whole,), (resumed,) = store.read_runs(path), store.read_runs(again)
    assert all(np.array_equal(whole.arrays[name], resumed.arrays[name]) for name in whole.arrays) and resumed.done.all()


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"task": "correlation"}, "times is missing; task: correlation requires it"),
        ({"task": "counting"}, "channels is missing; task: counting requires it"),
        ({"functions": [LIGHT]}, "functions belongs to task: correlation, not to steady_state"),
        ({"waiting": [0, 1]}, "waiting belongs to task: counting, not to steady_state"),
        (
            {"task": "counting", "channels": CURRENTS[:1], "observables": ["correlation"]},
            "observables belong to the tasks",
        ),
        (
            {"task": "counting", "channels": CURRENTS[:1], "burn_in": "auto"},
            "burn_in = auto belongs to task: steady_state",
        ),
        ({"task": "counting", "channels": CURRENTS[:1], "distribute": True}, "distribute = true belongs to the tasks"),
        ({"task": "counting", "channels": CURRENTS[:1], "waiting": [0, 300]}, "the last below duration = 200"),
        ({"task": "counting", "channels": CURRENTS[:1], "sample_every": 150}, "longer than half of duration = 200"),
        (
            {"task": "counting", "channels": CURRENTS[1:]},
            "method.channels: last: site 2: the sites are numbered 0 to 0",
        ),
        ({"task": "correlation", "times": [1], "functions": [PAIRS]}, "3 weights are given for 1 sites"),
    ],
)
def test_what_does_not_fit_is_told_in_one_message(keys, message, tmp_path, capsys):
    write(tmp_path / "c.yaml", model=ATOM, method={"name": "trajectories"} | keys, sweep=[], figures=[])
    assert command("check", tmp_path / "c.yaml") == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_check_estimates_and_guides_tell_of_both_tasks(tmp_path, capsys):
    method = {"name": "trajectories", "task": "correlation"} | ASKED["correlation"]
    write(tmp_path / "c.yaml", model=MODELS["U(1)"], method=method, sweep=[], figures=[])
    assert command("check", tmp_path / "c.yaml") == 0 and "memory" in capsys.readouterr().out
    assert command("describe", "trajectories") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("correlation", "counting", "waiting", "channels"))
