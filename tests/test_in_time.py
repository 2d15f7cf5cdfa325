"""Parameters as functions of time: the section `schedule`, against master equations integrated with dense matrices."""

import numpy as np
import pytest
import yaml
from conftest import mpirun, require_module
from runs import collected, shortened
from runs import command as hpcsim_command
from scipy.integrate import solve_ivp

import hpcsim
from hpcsim import schema
from hpcsim.run.config import ConfigError
from hpcsim.run.problem import Problem
from hpcsim.system import Jumps, System, Terms, angles, coherent_state, matrices, piecewise
from hpcsim.system.course import Course
from hpcsim.system.drive import driven

TIMES = [0, 0.7, 2.5, 4.0]
MODEL = {"name": "spin_network", "convention": "standard", "sites": 2, "Jx": 0.7, "Jy": 0.3, "Jz": 1.0, "decay": 0.3}
# a step, a bend and a smooth function; field_x breaks the symmetry that the model declares without it
SCHEDULE = {
    "model.gain": {"times": [1, 2], "values": [0.0, 0.6], "kind": "step"},
    "model.field_z": {"times": [0.5, 3], "values": [0.4, 1]},
    "model.field_x": {"function": "0.8*cos(2*pi*t/T)", "T": 3},
}
EVOLVE = {"task": "evolve", "times": TIMES}
EXACT = {"name": "liouvillian", "initial": [0.3, 0.2], **EVOLVE}


def values(t):
    """The parameters of SCHEDULE at a time."""
    return {
        "gain": 0.6 if t >= 2 else 0.0,
        "field_z": float(np.interp(t, [0.5, 3], [0.4, 1])),
        "field_x": 0.8 * np.cos(2 * np.pi * t / 3),
    }


def liouvillian(system):
    return matrices.full_liouvillian(matrices.hamiltonian(system), matrices.jump_operators(system)).toarray()


def linear_in(model, names):
    """The dense Liouvillian, linear in these parameters, at their values: (values) -> (D², D²)."""

    def dense(given):
        return liouvillian(Problem(model | given, {"name": "liouvillian"}).system)

    still = dense(dict.fromkeys(names, 0.0))
    parts = {name: dense(dict.fromkeys(names, 0.0) | {name: 1.0}) - still for name in names}
    return lambda given: still + sum(given[name] * part for name, part in parts.items())


def reference(model, at, times, breaks, initial=(0.3, 0.2)):
    """⟨S⟩ of all sites, (3, sites, times), of the parameters at(t), smooth between the breaks."""
    first, generator = Problem(model | at(0), {"name": "liouvillian"}).system, linear_in(model, list(at(0)))
    psi = coherent_state(first.levels, angles(first, initial))
    rho, now, found = np.outer(psi, psi.conj()).ravel("F"), 0.0, []
    for time in times:
        for end in [b for b in breaks if now < b < time] + [time]:
            if end > now:
                span = now, np.nextafter(end, now)
                rho = solve_ivp(lambda t, x: generator(at(t)) @ x, span, rho, "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
                now = end
        state = rho.reshape(len(psi), -1, order="F")
        sites = range(first.sites)
        found.append([[(matrices.site_operator(first, f"S{a}", i) @ state).trace().real for i in sites] for a in "xyz"])
    return np.moveaxis(np.array(found), 0, -1)


@pytest.fixture(scope="module")
def exact():
    """(3, times) the mean over the sites."""
    return reference(MODEL, values, TIMES, [0.5, 2, 3]).mean(axis=1)


def spins(data):
    return np.array([data[f"S{a}"].values.squeeze() for a in "xyz"])


def test_a_run_by_the_command_line_meets_the_master_equation(exact, tmp_path):
    config = tmp_path / "in_time.yaml"
    given = {"model": MODEL, "method": EXACT, "schedule": SCHEDULE, "sweep": [{"schedule.model.field_x.T": [3, 1.5]}]}
    config.write_text(yaml.safe_dump(given, sort_keys=False))
    run = tmp_path / "run.h5"
    assert hpcsim_command("run", config, "--out", run) == 0
    data = hpcsim.open(collected(run))
    assert np.allclose(spins(data.sel(T=3)), exact, atol=1e-8)
    assert np.abs(spins(data.sel(T=1.5)) - exact).max() > 0.05
    kept = yaml.safe_load(data.attrs["config"])
    assert kept["schedule"] == SCHEDULE and kept["model"]["field_z"] == 0.4 and kept["model"]["field_x"] == 0.8


@pytest.mark.parametrize("name, options", [("permutation", {}), ("mean_field", {"cluster": 2})])
def test_methods_that_are_exact_here_meet_the_master_equation(name, options, exact):
    method = {"name": name, "initial": [0.3, 0.2], **EVOLVE, **options}
    assert np.allclose(spins(hpcsim.solve(MODEL, method, schedule=SCHEDULE)), exact, atol=1e-8)


def test_mean_field_of_sites_meets_that_of_clusters_of_one_site():
    method = {"name": "mean_field", "initial": [0.3, 0.2], **EVOLVE}
    sites, clusters = (hpcsim.solve(MODEL, method | each, schedule=SCHEDULE) for each in ({}, {"cluster": 1}))
    assert np.allclose(spins(sites), spins(clusters), atol=1e-7)


@pytest.mark.parametrize("initial, left_out", [((0.3, 0.2), ""), ((0.0, 0.0), "model.field_x")])
def test_trajectories_meet_the_master_equation(initial, left_out, exact):
    """The second case has a parity, and so half of each state vector."""
    schedule = {key: course for key, course in SCHEDULE.items() if key != left_out}
    if left_out:
        without = lambda t: {key: x for key, x in values(t).items() if key != "field_x"}  # noqa: E731
        exact = reference(MODEL, without, TIMES, [0.5, 2, 3], initial).mean(axis=1)
    method = {"name": "trajectories", "initial": initial, "trajectories": 1024, "batch": 8, **EVOLVE}
    data = hpcsim.solve(MODEL, method, schedule=schedule)
    error = np.array([data[f"S{a}_stderr"].values.squeeze() for a in "xyz"])
    assert np.all(np.abs(spins(data) - exact) < 4 * error + 1e-9) and error.max() < 0.02


def test_a_trajectory_without_jumps_is_as_exact_as_its_tolerance():
    fields = {key: course for key, course in SCHEDULE.items() if "field" in key}
    method = {"name": "trajectories", "initial": [0.3, 0.2], "trajectories": 2, "batch": 1, "tolerance": 1e-9, **EVOLVE}
    no_jumps = MODEL | {"decay": 0.0}
    data = hpcsim.solve(no_jumps, method, schedule=fields)
    expected = hpcsim.solve(no_jumps, EXACT, schedule=fields)
    assert np.allclose(spins(data), spins(expected), atol=1e-8)


@pytest.mark.parametrize("integrator", ["eo", "sib"])
def test_phase_space_is_of_second_order_also_across_a_jump(integrator):
    """Without noise all steps start from the same samples, and errors are those of the integrator."""
    model = {"name": "spin_network", "sites": 2, "S": 10, "Jx": 0.7, "Jz": -1.0}
    jump = {"times": [0, 0.3], "values": [0, 1.2], "kind": "step"}  # within a step
    schedule = {"model.field_z": jump, "model.field_x": {"function": "0.8*cos(3*t)"}, "model.Jy": {"function": "0.5*t"}}
    method = {"name": "phase_space", "initial": [0.3, 0.2], "trajectories": 4, "batch": 2, "integrator": integrator}
    method |= {"task": "evolve", "times": [0.8]}
    fine, *coarse = (spins(hpcsim.solve(model, method | {"dt": dt}, schedule=schedule)) for dt in (0.0125, 0.05, 0.1))
    errors = [np.abs(each - fine).max() for each in coarse]
    assert errors[0] < 0.02 and errors[1] > 3 * errors[0]


def test_noise_in_time_is_that_of_the_master_equation():
    """A spin that is only turned and dephased is exact in the Wigner representation, decay nearly so."""
    model = {"name": "spin_network", "convention": "standard", "sites": 1, "S": 6, "decay": 0.02}
    schedule = {"model.dephasing": SCHEDULE["model.gain"], "model.field_x": SCHEDULE["model.field_x"]}

    def at(t):
        return {"dephasing": values(t)["gain"], "field_x": values(t)["field_x"]}

    method = {"name": "phase_space", "initial": [0.3, 0.2], "trajectories": 2048, "batch": 64, "dt": 0.1, **EVOLVE}
    data = hpcsim.solve(model, method, schedule=schedule)
    error = np.array([data[f"S{a}_stderr"].values.squeeze() for a in "xyz"])
    difference = np.abs(spins(data) - reference(model, at, TIMES, [2]).mean(axis=1))
    assert np.all(difference < 4 * error + 1e-9) and error.max() < 0.1
    assert np.abs(np.diff(spins(data))).max() > 1


@pytest.mark.parametrize("integrator", ["krylov", "taylor"])
def test_a_constant_schedule_gives_the_bits_of_none(integrator):
    method = EXACT | {"integrator": integrator}
    constant = {"model.gain": {"function": "a/2", "a": 0.5}, "model.field_x": {"times": [0, 2], "values": [0.1, 0.1]}}
    given = hpcsim.solve(MODEL, method, schedule=constant)
    assert np.array_equal(spins(given), spins(hpcsim.solve(MODEL | {"gain": 0.25, "field_x": 0.1}, method)))


L, GAIN = {"name": "liouvillian", "task": "evolve", "times": [0, 1]}, "model.gain"


@pytest.mark.parametrize(
    "schedule, method, message",
    [
        (
            {"gain": {"function": "t"}},
            L,
            "schedule.gain: parameters of the model alone depend on time; write model.KEY",
        ),
        ({GAIN: 3}, L, "schedule.model.gain = 3: write {times"),
        (
            {GAIN: {"times": [0, 1], "values": [0, -1]}},
            L,
            "at t = 0.0625, where gain = -0.0625: model.gain = -0.0625: must",
        ),
        ({GAIN: {"times": [1, 1], "values": [0, 1]}}, L, "schedule.model.gain.times = [1.0, 1.0]: a rising list"),
        (
            {GAIN: {"times": [0], "values": [0], "kind": "cubic"}},
            L,
            "gain.kind = 'cubic': must be linear or step or smooth",
        ),
        ({GAIN: {"times": [0], "values": [0, 1]}}, L, "schedule.model.gain: 1 times and 2 values"),
        ({GAIN: {"times": [0], "values": [0], "kin": 1}}, L, "schedule.model.gain.kin: unknown key; known: times"),
        ({GAIN: {"function": "__import__('os')"}}, L, "unknown function __import__; known: sin, cos"),
        ({GAIN: {"function": "t.real"}}, L, "'t.real' is not allowed"),
        ({GAIN: {"function": "t" + "+t" * 300}}, L, "601 characters are more than 500"),
        ({GAIN: {"function": "-" * 99 + "t"}}, L, "more than 40 parts within each other"),
        ({GAIN: {"function": "9**9**9**9*t"}}, L, "schedule.model.gain: has no finite value at t = 0"),
        ({GAIN: {"function": "1/(1-2*t)+t/0.5"}}, L, "schedule.model.gain: has no finite value at t = 0.5"),
        ({GAIN: {"function": "sin(a*t)"}}, L, "unknown name a; known: t, pi"),
        ({GAIN: {"function": "sin(a*t)", "a": "x"}}, L, "schedule.model.gain.a = 'x': a number is needed"),
        ({GAIN: {"function": "sin(a*t)**2", "a": 1e8}}, L, "gain changes too fast: more than 100000 pieces"),
        ({"model.S": {"times": [0, 1], "values": [0.5, 1], "kind": "step"}}, L | {"times": [0, 2]}, "change the sites"),
        ({"model.foo": {"function": "t"}}, L, "schedule.model.foo: the model has no parameter foo; it has convention"),
        (
            {GAIN: {"function": "t"}},
            "liouvillian",
            "steady_state; with task: evolve can gaussian, liouvillian, mean_field, permutation, phase_space",
        ),
        (
            {GAIN: {"function": "t"}},
            L | {"name": "trajectories", "distribute": True},
            "distribute = true: does not take",
        ),
    ],
)
def test_bad_input_ends_in_one_message(schedule, method, message):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(MODEL, method, schedule=schedule)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_key_has_one_source():
    with pytest.raises(ConfigError, match="model.pump is swept, and schedule.model.gain says what it is in time"):
        hpcsim.solve(MODEL, L, schedule={GAIN: {"function": "t"}}, sweep={"model.pump": [1, 2]})
    with pytest.raises(ConfigError, match="schedule.model.gain.times: constants of a function alone are swept"):
        hpcsim.solve(MODEL, L, schedule={GAIN: {"function": "t"}}, sweep={"schedule.model.gain.times": [1, 2]})
    with pytest.raises(ConfigError, match="schedule.model.gain.a is swept, and schedule.model.gain is missing"):
        hpcsim.solve(MODEL, L, sweep={"schedule.model.gain.a": [1, 2]})
    with pytest.raises(ConfigError, match="disorder.gain: is drawn for each site, and schedule says"):
        law = {"gain": {"uniform": [0, 1]}, "realisations": 2}
        hpcsim.solve(MODEL, L, schedule={GAIN: {"function": "t"}}, disorder=law)


def test_check_names_what_depends_on_time_and_the_schema_knows_it(tmp_path, capsys):
    config = tmp_path / "in_time.yaml"
    given = {"model": MODEL, "method": EXACT, "schedule": SCHEDULE}
    config.write_text(yaml.safe_dump(given, sort_keys=False))
    assert hpcsim_command("check", config, "--set", "schedule.model.field_x.T=2") == 0
    assert "in time          model.gain, model.field_z, model.field_x" in capsys.readouterr().out
    validator = require_module("jsonschema").Draft202012Validator(schema.schema())
    assert not [error.message for error in validator.iter_errors(given)]
    assert [*validator.iter_errors(given | {"schedule": {"model.gain": {"times": [0], "valus": [1]}}})]


def of_two_parameters(values):
    """Linear in both with a rate that falls as another rises; not linear, and complex; without what is zero."""
    a, b = values["a"], values["b"]
    one, two = np.array([0]), np.array([[0, 1]])
    return {
        "linear": lambda: System(
            np.full(2, 0.5),
            (Terms(("Sx",), np.array([[0], [1]]), np.array([a, 2.0])), Terms(("Sz",), one[:, None], np.array([a + b]))),
            (Jumps("S-", np.array([0, 1]), np.array([1 - a, 1 + a])), Jumps("S+", one, np.array([b]))),
        ),
        "not linear": lambda: System(
            np.full(2, 0.5),
            (Terms(("S+", "S-"), two, np.array([a * np.exp(2j * b)]), plus_hc=True),),
            (Jumps("S-", np.array([0, 1]), np.array([a**2, 1 + a * b])),),
        ),
        # without what is zero
        "of changing structure": lambda: System(
            np.full(2, 0.5),
            (Terms(("Sx",), one[:, None], np.array([a])),) * bool(a > 0),
            (Jumps("S-", one, np.ones(1)),),
        ),
    }


@pytest.mark.parametrize("kind", of_two_parameters({"a": 0.0, "b": 0.0}))
def test_the_sum_of_its_parts_is_the_model_at_every_time(kind):
    section = {
        "a": Course({"function": "step(t-1)*(0.4+0.4*cos(3*t)**2)"}, "a"),
        "b": Course({"times": [0, 2], "values": [0, 1], "kind": "smooth", "period": 3}, "b"),
    }

    def build(values, t):
        assert values == {name: course(np.array([t]))[0] for name, course in section.items()} or t == 0
        return of_two_parameters(values)[kind]()

    system = driven(build, section, 5.0)
    assert all(np.all(jumps.rates >= 0) for part in system.drive.parts for jumps in part.jumps)
    times = np.concatenate([np.random.default_rng(5).uniform(0, 5, 12), [1.0, 3.0, np.nextafter(1.0, 0)]])
    of_parts = [liouvillian(part) for part in system.drive.systems]
    bound = liouvillian(system)
    for t, weights in zip(times, piecewise.values(system.drive.curve, times)):
        at = {name: course(np.array([t]))[0] for name, course in section.items()}
        expected = liouvillian(of_two_parameters(at)[kind]())
        found = of_parts[0] + sum(w * part for w, part in zip(weights, of_parts[1:]))
        assert np.abs(found - expected).max() < 1e-8, t
        assert np.all(np.abs(bound[expected != 0]) > 0)  # nothing is left out of the structure


def test_symmetries_are_those_of_all_times():
    weak_u1 = MODEL | {"Jy": 0.7}
    for model, symmetries in (MODEL, {"Parity", "Translation"}), (weak_u1, {"WeakU1", "Translation"}):
        for schedule, left in (
            ({GAIN: {"times": [1], "values": [1]}, "model.Jz": {"function": "t"}}, symmetries),
            ({"model.field_x": {"function": "ramp(t-0.9)"}}, {"Translation"}),
        ):
            given = {"(schedule)": schedule} | model
            assert {type(each).__name__ for each in Problem(given, L).system.symmetries} == left


def test_a_symmetry_of_two_parameters_that_stay_equal_is_used():
    """Gain and loss exchanged with the sublattices; the sum of both courses is constant in the second case."""
    dimer = {"name": "gain_loss_lattice", "S": 1}
    method = {"name": "liouvillian", "task": "evolve", "times": [2], "initial": {"a": [0, 0], "b": [1, 0]}}
    rise, fall = {"function": "1+0.5*sin(t)"}, {"function": "1-0.5*sin(t)"}
    for gain, loss, parities in (rise, rise, 1), (rise, fall, 0):
        schedule = {"model.gain": gain, "model.loss": loss}
        system = Problem(dimer | {"(schedule)": schedule}, method).system
        assert [type(each).__name__ for each in system.symmetries].count("Parity") == parities

        def at(t):
            return {key[6:]: 1 + (0.5 if course is rise else -0.5) * np.sin(t) for key, course in schedule.items()}

        data = hpcsim.solve(dimer, method, schedule=schedule)
        expected = reference(dimer, at, [2], [], method["initial"])
        assert np.allclose(spins(data), expected[..., 0], atol=1e-8)


def test_an_evolution_starts_from_the_steady_state_of_other_parameters():
    strong, method = MODEL | {"field_x": 2.0}, EXACT | {"times": [0, 0.5]}
    found = hpcsim.solve(MODEL, method | {"initial": {"steady_state": {"model.drive": 2}}})
    steady = spins(hpcsim.solve(strong, "liouvillian"))
    assert np.allclose(spins(found)[:, 0], steady, atol=1e-10) and np.abs(spins(found)[:, 1] - steady).max() > 0.01
    # a schedule has its values at t = 0: nothing happens before it begins
    ramp = {"model.field_x": {"times": [1, 2], "values": [2, 0]}}
    found = spins(hpcsim.solve(MODEL, method | {"times": [0, 1, 1.5], "initial": {"steady_state": {}}}, schedule=ramp))
    assert np.allclose(found[:, 1], steady, atol=1e-8) and np.abs(found[:, 2] - steady).max() > 0.01


def test_the_mixed_state_decays_as_it_must():
    data = hpcsim.solve(MODEL | {"Jx": 0, "Jy": 0}, EXACT | {"initial": "mixed"})
    assert np.allclose(data.Sz, (np.exp(-0.3 * np.array(TIMES)) - 1) / 2, atol=1e-8) and np.allclose(
        data.Sx, 0, atol=1e-9
    )


@pytest.mark.parametrize(
    "initial, changed, message",
    [
        (
            {"steady_state": {"gain": 1}},
            {},
            "method.initial.steady_state.gain: write model.KEY, with one of convention",
        ),
        ({"steady_state": 3}, {}, "method.initial.steady_state = 3: write {model.KEY: value, ...}"),
        ({"steady_state": {"model.gain": -3}}, {}, "method.initial.steady_state: model.gain = -3: must be greater"),
        ({"steady_state": {"model.sites": 3}}, {}, "method.initial.steady_state: changes the sites of the system"),
        (
            {"steady_state": {"model.decay": 0}},
            {},
            "method.initial.steady_state: method.task = steady_state: the steady",
        ),
        (
            {"steady_state": {}},
            {"name": "phase_space"},
            "this method starts from the kinds direction, fock, random, mixed alone; liouvillian and trajectories",
        ),
        (
            {"dicke": 0},
            {"name": "mean_field"},
            "this method starts from the kinds direction, random, fock, mixed, steady_state alone",
        ),
    ],
)
def test_a_start_that_cannot_be_ends_in_one_message(initial, changed, message):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(MODEL, EXACT | {"initial": initial} | changed)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name, more", [("trajectories", {}), ("phase_space", {"dt": 0.1, "sampling": "fock"})])
def test_an_ensemble_under_a_drive_goes_on_to_the_bit(name, more, tmp_path):
    """Records that a kill took away are computed again; all numbers are those of the whole run."""
    config, whole = tmp_path / "c.yaml", tmp_path / "whole.h5"
    method = {"name": name, "initial": [0.3, 0.2], "trajectories": 6, "batch": 2, **EVOLVE, **more}
    config.write_text(yaml.safe_dump({"model": MODEL, "method": method, "schedule": SCHEDULE}))
    assert hpcsim_command("run", config, "--out", whole) == 0
    short = shortened(whole, without=[1])
    assert int(hpcsim.open(short).records_done) == 2
    assert hpcsim_command("run", config, "--out", short) == 0
    first, second = (spins(hpcsim.open(collected(path))) for path in (whole, short))
    assert np.array_equal(first, second) and np.all(np.isfinite(first))


def test_every_method_under_a_drive_has_the_same_bits_on_two_ranks(tmp_path, capsys):
    """Through the command: estimates of all, a run of each on two ranks, and on one in memory."""
    start, fast = {"initial": [0.3, 0.2], **EVOLVE}, {"trajectories": 4, "batch": 2}
    methods = [{"name": name, **start} for name in ("gaussian", "mean_field", "permutation", "liouvillian")]
    methods += [{"name": "trajectories", **start, **fast}, {"name": "phase_space", "dt": 0.1, **start, **fast}]
    given = {"model": MODEL, "method": methods, "schedule": SCHEDULE}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(given, sort_keys=False))
    assert hpcsim_command("check", tmp_path / "c.yaml") == 0
    assert capsys.readouterr().out.count("in time   ") == len(methods)
    assert mpirun(2, ["-m", "hpcsim", "run", tmp_path / "c.yaml"], cwd=tmp_path, timeout=400).returncode == 0
    for method in methods:
        data = hpcsim.open(collected(tmp_path / f"results/c.{method['name']}.h5"))
        alone = hpcsim.solve(MODEL, method, schedule=SCHEDULE)
        assert np.array_equal(spins(data), spins(alone)) and np.all(np.isfinite(spins(data))), method["name"]
