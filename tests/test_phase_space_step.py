"""`dt: auto`: the step that a pilot chooses keeps its promise."""

import dataclasses

import h5py
import numpy as np
import pytest
from conftest import mpirun
from functions import VARIANCE
from pydantic import ValidationError
from test_phase_space import CONTEXT, average, coherent, exact_evolution, moments, one_spin, spin_matrices

from hpcsim.methods import Cache, Output, phase_space
from hpcsim.methods.phase_space import step

NAMES = ("Sx", "Sy", "Sz", "Sx2", "Sy2", "Sz2")
TIMES = (1.0, 2.0)


@pytest.fixture(scope="module")
def driven():
    """A driven, decaying spin S = 20, its exact moments [moment, time], and the errors of a step."""
    S, drive = 20, 2.0
    x, y, z, _, minus = spin_matrices(S)
    states = exact_evolution(drive * x, [(minus, 1 / S)], coherent(S, 0.5, 0.0), TIMES)
    exact = np.array([moments(rho, (x, y, z)) for rho in states]).T
    system = one_spin(S=S, drive=drive, decay=1.0)

    def errors(**options):
        """{moment: (difference from the exact value, standard error)}, and dt_used if the step is automatic."""
        found = average(system, task="evolve", times=TIMES, trajectories=2**16, batch=2**10, **options)
        return {name: (found[name][0][0] - value, found[name][1][0]) for name, value in zip(NAMES, exact)} | {
            name: found[name][0] for name in ("dt_used", "dt_bias") if name in found
        }

    return errors


@pytest.mark.parametrize("targets, shortest", [({"Sy": 0.3, "Sz": 0.2}, 0.07), ({"Sx2": 4.0}, 0.07), ({}, 0.1)])
def test_bias_of_an_automatic_step_is_what_is_allowed(driven, targets, shortest):
    """Half the target error, or else 0.01 S and 0.01 S², which a coarse step is far from; and no step is wasted."""
    allowed = {name: error / 2 for name, error in targets.items()} or dict(zip(NAMES, 3 * [0.2] + 3 * [4.0]))
    auto, coarse = driven(dt="auto", target_error=targets), driven(dt=1 / 3)
    assert max(np.max(np.abs(coarse[name][0]) / limit) for name, limit in allowed.items()) > 2
    for name, limit in allowed.items():
        difference, error = auto[name]
        assert np.all(4 * error < limit), "too few trajectories to tell"
        assert np.all(np.abs(difference) < limit + 2 * error), (name, difference, error)
    assert shortest < auto["dt_used"] < 1 / 4 and 0.5 < auto["dt_bias"] <= 1
    assert round(1 / auto["dt_used"], 9) == round(1 / auto["dt_used"])  # divides the times


def test_a_noisy_pilot_leads_to_a_smaller_step():
    system, used = one_spin(S=20, drive=2.0, decay=1.0), []
    for batch in (64, 4096):
        options = phase_space.Options(
            task="evolve", times=TIMES, dt="auto", batch=batch, trajectories=64 * batch, target_error={"Sz": 0.2}
        )
        used.append(phase_space.run(system, options, 0, CONTEXT)["dt_used"])
    assert used[0] < 0.75 * used[1]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"burn_in": "auto"},
        {"observables": ("squeezing",), "scheme": "pda"},
        {"target_error": {"var_Sx": 5.0, "S_perp": 1.0, "autocorrelation_time": 1.0}},
    ],
)
def test_steady_states_with_an_automatic_step(more):
    """The times are whole numbers of steps and samples; all records of a point take one step, from one pilot."""
    system = one_spin(S=20, drive=0.8, decay=1.0)
    values = {"dt": "auto", "batch": 64, "trajectories": 3200, "burn_in": 30, "duration": 60}
    options = phase_space.Options(**values | more)
    assert phase_space.cost(system, options, 0).time > 0
    runs = [phase_space.run(system, options, record, CONTEXT) for record in range(2)]
    assert runs[0].keys() == {o.name for o in phase_space.outputs(system, options) if o.stored}
    dt = runs[0]["dt_used"]
    assert dt == runs[1]["dt_used"] and 0 < runs[0]["dt_bias"] <= 1
    for steps in (60 / (10 * dt), 30 / dt):
        assert abs(steps - round(steps)) < 1e-6
    fixed = phase_space.run(system, options.model_copy(update={"dt": float(dt)}), 1, CONTEXT)
    assert all(np.array_equal(fixed[name], runs[1][name]) for name in fixed)


def test_trajectories_of_the_pilot_are_not_those_of_the_records(monkeypatch):
    begun, sampled = [], phase_space._sampled

    def watched(system, options, parts, begin, trajectories, context):
        if system.spins[0] == 20:  # smaller ones belong to the estimate of the truncation
            begun.append((begin, begin + trajectories, options.dt))
        return sampled(system, options, parts, begin, trajectories, context)

    monkeypatch.setattr(phase_space, "_sampled", watched)
    options = phase_space.Options(task="evolve", times=TIMES, dt="auto", batch=96, trajectories=960)
    system, context = one_spin(S=20, drive=2.0, decay=1.0), dataclasses.replace(CONTEXT, cache=Cache())
    for record in (9, 0):
        phase_space.run(system, options, record, context)
    first, dt = begun[0][2], begun[2][2]
    assert begun == [(960, 1056, first), (960, 1056, first / 2), (864, 960, dt), (0, 96, dt)] and dt < first / 2


def test_an_automatic_step_is_that_of_the_system():
    """One key of the random streams and one set of options, two systems: the faster one needs a shorter step."""
    options = phase_space.Options(task="evolve", times=(1.0,), dt="auto", batch=16, trajectories=32)
    context = dataclasses.replace(CONTEXT, cache=Cache())
    steps = [
        float(phase_space.run(one_spin(S=10, drive=1.0, decay=decay), options, 0, context)["dt_used"])
        for decay in (1.0, 50.0)
    ]
    alone = phase_space.run(
        one_spin(S=10, drive=1.0, decay=50.0), options, 0, dataclasses.replace(CONTEXT, cache=Cache())
    )
    assert steps[0] > 5 * steps[1] and steps[1] == alone["dt_used"]


CONFIG = """
title: automatic step
model: {name: gain_loss_lattice, cells: 4, S: 10, gain: 1.5, h: 0.5}
method: {name: phase_space, task: evolve, times: {linspace: [0, 3, 10]}, trajectories: 64, batch: 16, dt: auto}
sweep: [{model.loss: [0.4, 1.0]}]
"""


def test_automatic_steps_are_the_same_on_any_number_of_ranks(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG)
    found = []
    for n, size in ((2, 1), (3, 3)):
        ended = mpirun(
            n,
            ["-m", "hpcsim", "run", "c.yaml", "--out", f"{n}.h5", "--set", f"run.ranks_per_point={size}"],
            cwd=tmp_path,
        )
        assert ended.returncode == 0, ended.stderr
        with h5py.File(tmp_path / f"{n}.h5", "r") as file:
            found.append({name: data[:].tobytes() for name, data in file["data"].items()})
            dt = file["data/dt_used"][:].reshape(2, 4)
    assert found[0] == found[1]
    assert (dt == dt[:, :1]).all() and dt[0, 0] != dt[1, 0]


@pytest.mark.parametrize(
    "times, unit",
    [
        ((2.0,), 2.0),
        ((0.0, 0.5, 0.8), 0.1),
        (tuple(np.linspace(0, 3, 100)), 1 / 33),
        ((200.0, 20.0), 20.0),
        ((0.0,), 1.0),
    ],
)
def test_the_longest_step_that_divides_all_times(times, unit):
    assert abs(step.common_unit(times) - unit) < 1e-12
    assert step.divided(unit, unit) == unit and step.divided(unit, 0.4 * unit) == unit / 3


def test_relative_bias_of_a_pilot():
    """C dt^1.5 from the difference of two steps, with its standard error; derived outputs too."""
    one = [
        Output("x", reduce="mean"),
        Output("x2", reduce="mean"),
        Output("var", reduce="function", function=VARIANCE, sources=("x2", "x")),
    ]
    at_coarse, at_half = [{"x": 1.0, "x2": 3.0}] * 8, [{"x": 0.5, "x2": 3.0}] * 8
    for name, difference in (("x", 0.5), ("var", 0.75)):
        bias = step.relative_bias(one, {name: 0.1}, at_coarse, at_half)
        assert abs(bias - difference / 0.1 / (1 - 2**-1.5)) < 1e-12
    noisy = [{"x": 1.0 + (-1) ** n, "x2": 3.0} for n in range(8)]  # a standard error of sqrt(1/7)
    bias = step.relative_bias(one, {"x": 0.1}, noisy, at_half)
    assert abs(bias - (0.5 + 7**-0.5) / 0.1 / (1 - 2**-1.5)) < 1e-12


def test_refinement_follows_the_order():
    """Four times the bias allowed: the step is shorter by 4^(2/3), to the next that divides."""
    dt, bias = step.refined(1.0, 0.5, 4.0)
    assert dt == 1 / 6 and abs(bias - 4 * 3**-1.5) < 1e-12
    assert step.refined(1.0, 0.5, 0.3) == (0.5, 0.3) and step.refined(1.0, 0.5, 0.0) == (0.5, 0.0)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"integrator": "midpoint"}, "integrator = midpoint: needs a number for dt"),
        ({"dt": -1}, "greater than 0, or auto"),
        ({"dt": "fine"}, "or auto"),
    ],
)
def test_options_that_an_automatic_step_refuses(values, message):
    with pytest.raises(ValidationError, match=message):
        phase_space.Options(**{"dt": "auto"} | values)


def test_times_that_no_step_divides_are_refused():
    options = phase_space.Options(task="evolve", dt="auto", times=(1.00001, 1.7))
    with pytest.raises(ValueError, match="dt = auto: no step longer than 1e-05 divides all times"):
        phase_space.records(one_spin(S=20, drive=2.0), options)
