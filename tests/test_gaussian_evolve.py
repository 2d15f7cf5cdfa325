"""Fluctuations about a product state that moves, against steady states, closed forms and the exact evolution."""

import numpy as np
import pytest
import yaml
from runs import collected
from runs import command as hpcsim_command

import hpcsim
from hpcsim.run.config import ConfigError

DIMER = {"name": "gain_loss_lattice", "S": 30, "gain": 0.3, "loss": 1.4}
RING = DIMER | {"cells": 3, "h": 0.4, "gain": 3.0, "loss": 5.0}
NAMES = ("Sx", "Sy", "Sz", "var_Sx", "var_Sy", "var_Sz")


def evolved(model, times, schedule=None, name="gaussian", **more):
    return hpcsim.solve(model, {"name": name, "task": "evolve", "times": times, **more}, schedule=schedule)


@pytest.mark.parametrize("model", [DIMER, RING], ids=["dimer", "ring"])
def test_it_ends_in_the_steady_state(model):
    """With translations there is a covariance for every wave vector."""
    last = evolved(model, [40.0 if model is DIMER else 8.0], initial={"a": [0.1, 0.2], "b": [0.9, 0.4]}).isel(time=0)
    still = hpcsim.solve(model, "gaussian")
    assert float(still.stable) == 1
    for name in (*NAMES, "purity", "occupation", "entropy"):
        if name in still:
            assert np.allclose(last[name].values, still[name].values, rtol=1e-6, atol=1e-6 * model["S"]), name
    assert still.occupation.values.max() > 1e-3


@pytest.mark.parametrize("S", [8])
def test_moving_spins_have_the_exact_moments_up_to_one_over_S(S):
    """A spin that turns, decays and is twisted, under a drive that changes, from a direction that is no fixed point."""
    model = {"name": "spin_network", "sites": 1, "S": S, "field_z": 0.8, "twist": 0.7, "decay": 0.3, "gain": 0.1}
    schedule = {"model.field_x": {"times": [0.2, 0.6], "values": [0.0, 1.0]}, "model.gain": {"function": "0.1 + 0.1*t"}}
    times, initial = [0.4, 0.9], [0.3, 0.4]
    found, exact = (evolved(model, times, schedule, name, initial=initial) for name in ("gaussian", "liouvillian"))
    for name in NAMES:
        size = S if name[0] == "S" else S / 2  # of a spin, and of the variance of a coherent state
        error = np.abs(found[name].values - exact[name].values).max() / size
        assert error < 2.5 / S, (name, error)
    assert np.abs(exact.var_Sx.values / (S / 2) - 1).max() > 0.3 and np.ptp(exact.Sx.values) > 0.2 * S


def test_a_spin_in_a_field_turns_without_noise():
    model = {"name": "spin_network", "sites": 1, "S": 4, "field_z": 1.3, "convention": "standard"}
    data = evolved(model, [0, 1.7], initial=[0.5, 0])
    assert np.allclose(data.Sx.values.squeeze(), 4 * np.cos([0, 1.3 * 1.7]), atol=1e-7)
    assert np.allclose(data.occupation, 0, atol=1e-8) and np.allclose(data.quadrature_squeezing, 1, atol=1e-8)


def test_by_the_command_a_constant_schedule_is_none(tmp_path):
    config, run = tmp_path / "c.yaml", tmp_path / "r.h5"
    method = {"name": "gaussian", "task": "evolve", "times": [0.5, 2.0], "observables": ["squeezing"]}
    schedule = {"model.gain": {"function": "0.3"}}
    config.write_text(yaml.safe_dump({"model": DIMER, "method": method, "schedule": schedule}))
    assert hpcsim_command("check", config) == hpcsim_command("run", config, "--out", run) == 0
    data, plain = hpcsim.open(collected(run)), evolved(DIMER, [0.5, 2.0], observables=["squeezing"])
    assert all(np.array_equal(data[name], plain[name]) for name in (*NAMES, "squeezing"))


@pytest.mark.parametrize(
    "change, words",
    [
        ({"times": None}, "times is missing; task: evolve requires it"),
        ({"task": "steady_state"}, "times belongs to task: evolve, not to steady_state"),
        ({"state": [0, 0]}, "state belongs to task: steady_state, not to evolve"),
        ({"initial": "mixed"}, "this method starts from the kinds direction alone"),
    ],
)
def test_what_does_not_fit_is_one_message(change, words):
    with pytest.raises(ConfigError, match=words):
        hpcsim.solve(DIMER, {"name": "gaussian", "task": "evolve", "times": [1.0], **change})
