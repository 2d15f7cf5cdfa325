"""The config file: what is accepted, and what it becomes."""

import math

import numpy as np
import pytest

from hpcsim.run import config
from hpcsim.run.plan import plan
from hpcsim.run.problem import Problem


def points(loaded):
    return [config.point(loaded, p) for p in range(math.prod(config.shape(loaded)))]


def resolve(tmp_path, text, **kw):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return config.load(path, **kw)


def test_exponents_without_a_point_are_numbers(tmp_path):
    loaded = resolve(
        tmp_path,
        "model: {name: m, g: 1e-3, h: 2E5, x: -1.5e+2}\nmethod: {name: n}\n"
        "sweep: [{model.loss: [1e-3, 5e-1]}, {model.gain: {linspace: [1e-1, 3e-1, 3]}}]",
    )
    assert loaded["model"] == {"name": "m", "g": 1e-3, "h": 2e5, "x": -150.0}
    assert loaded["sweep"] == [{"model.loss": [1e-3, 0.5]}, {"model.gain": [0.1, 0.2, 0.3]}]


def test_points_are_an_outer_product_of_axes_that_advance_together(tmp_path):
    loaded = resolve(
        tmp_path, "model: {name: m}\nmethod: {name: n}\nsweep: [{model.S: [1, 2]}, {model.a: [3, 4], method.b: [5, 6]}]"
    )
    assert config.shape(loaded) == (2, 2)
    assert [(m["S"], m["a"], n["b"]) for m, n in points(loaded)] == [(1, 3, 5), (1, 4, 6), (2, 3, 5), (2, 4, 6)]


def test_no_sweep_is_one_point(tmp_path):
    loaded = resolve(tmp_path, "model: {name: m}\nmethod: {name: n}")
    assert list(points(loaded)) == [({"name": "m"}, {"name": "n"})]


def test_quick_and_set_win_over_the_file_in_this_order(tmp_path):
    text = (
        "model: {name: m, a: 1, b: 1, c: 1}\nmethod: {name: n}\nsweep: [{model.z: [1, 2, 3]}]\n"
        "quick: {model: {b: 2, c: 2}, sweep: [{model.z: [1]}]}"
    )
    loaded = resolve(tmp_path, text, quick=True, overrides=["model.c=3"])
    assert loaded["model"] == {"name": "m", "a": 1, "b": 2, "c": 3}
    assert loaded["sweep"] == [{"model.z": [1]}]
    assert resolve(tmp_path, text)["sweep"] == [{"model.z": [1, 2, 3]}]
    assert resolve(tmp_path, text, overrides=["sweep=[{model.z: [7]}]"])["sweep"] == [{"model.z": [7]}]


@pytest.mark.parametrize("change", [{"S": 2}, {"gain": 0.25}])
def test_streams_are_keyed_by_seed_and_parameters(change):
    model = {"name": "gain_loss_lattice", "S": 1, "gain": 0.5, "loss": 0.5}
    method = {"name": "liouvillian"}
    key = Problem(model, method).key(1)
    assert key == Problem(dict(model, g=1), method).key(1)  # the default, written out
    assert key != Problem(model, method).key(2)
    assert key != Problem(dict(model, **change), method).key(1)
    assert all(0 <= word < 2**32 for word in key)


def test_sizes_of_lattices_are_swept_as_words(tmp_path):
    loaded = resolve(
        tmp_path,
        "model: {name: xyz_lattice, convention: lee2013, Jx: 1, Jy: 2}\n"
        "method: {name: liouvillian}\nsweep: [{model.sites: [3, [2, 2], 2x3]}]",
    )
    assert loaded["sweep"] == [{"model.sites": [3, "2x2", "2x3"]}]
    problems = [Problem(model, method) for model, method in points(loaded)]
    assert [p.params.sites for p in problems] == [3, (2, 2), (2, 3)]
    model = {**problems[1].params.model_dump(), "name": "xyz_lattice", "sites": [2, 2]}
    written = Problem(model, {"name": "liouvillian"})
    assert written.key(1) == problems[1].key(1) != problems[2].key(1)


def test_only_the_first_key_of_an_axis_names_its_points(tmp_path):
    text = "model: {{name: m}}\nmethod: {{name: n}}\nsweep: [{{model.a: {a}, model.b: [0, 0, 1]}}]"
    loaded = resolve(tmp_path, text.format(a="[1, 2, 3]"))
    assert [(m["a"], m["b"]) for m, _ in points(loaded)] == [(1, 0), (2, 0), (3, 1)]
    with pytest.raises(config.ConfigError, match=r"sweep.0.model.a = \[1, 2, 1\]: a value stands twice"):
        resolve(tmp_path, text.format(a="[1, 2, 1]"))


@pytest.mark.parametrize(
    "written, value",
    [
        ("1/2", 0.5),
        ("2/3", 2 / 3),
        ("-pi/4", -np.pi / 4),
        ("2*pi", 2 * np.pi),
        ("sqrt(3)/(2+1)", math.sqrt(3) / 3),
        ("12/3", 4),
        ("auto", "auto"),
        ("4x6", "4x6"),
        ("'017'", "017"),
        ("2020-10-12", "2020-10-12"),
        ("2**3", "2**3"),
        ("exp(1)", "exp(1)"),
        ("Sx_0_Sy_3", "Sx_0_Sy_3"),
        ("sqrt(2", "sqrt(2"),
    ],
)
def test_numbers_as_people_write_them(tmp_path, written, value):
    loaded = resolve(
        tmp_path,
        f"model: {{name: m, x: {written}, y: [{written}, 1]}}\nmethod: n\nsweep: [{{model.a: [{written}, 1]}}]",
        overrides=[f"method.z={written}"],
    )
    found = loaded["model"]["x"], loaded["model"]["y"][0], loaded["method"]["z"], loaded["sweep"][0]["model.a"][0]
    assert found == (value,) * 4 and all(type(each) is type(value) for each in found)


def test_ranges_end_at_numbers_as_people_write_them_and_names_stay_words(tmp_path):
    loaded = resolve(
        tmp_path,
        "model: {name: pi}\nmethod: n\n"
        "sweep: [{model.a: {linspace: [0, pi, 3]}}, {model.b: {geomspace: [1/8, 1/2, 3]}}]",
    )
    assert loaded["model"]["name"] == "pi" and loaded["method"] == {"name": "n"}
    assert loaded["sweep"] == [{"model.a": [0, 1.57079632679, 3.14159265359]}, {"model.b": [0.125, 0.25, 0.5]}]


@pytest.mark.parametrize("wrong", ["1/0", "sqrt(-1)", "1e300*1e300"])
def test_what_has_no_value_is_told(tmp_path, wrong):
    with pytest.raises(config.ConfigError, match=r"model.x = .*: no number"):
        resolve(tmp_path, f"model: {{name: m, x: {wrong}}}\nmethod: n")


def test_a_word_is_a_model_or_method_without_options(tmp_path):
    text = "model: m\nmethod: n\nquick: {method: {a: 1}}"
    assert resolve(tmp_path, text)["model"] == {"name": "m"}
    assert resolve(tmp_path, text, quick=True)["method"] == {"name": "n", "a": 1}
    assert resolve(tmp_path, text, overrides=["method.b=2"])["method"] == {"name": "n", "b": 2}
    assert resolve(tmp_path, text, overrides=["method=other"])["method"] == {"name": "other"}


def test_the_resolved_config_holds_the_numbers():
    raw = {"model": {"name": "collective_spin", "S": "1/2", "drive": "pi/4", "decay": 1}, "method": "liouvillian"}
    resolved = plan(config.resolve(raw)).config
    assert resolved["model"]["S"] == 0.5 and resolved["model"]["field_x"] == np.pi / 4
    assert resolved["method"]["task"] == "steady_state"


@pytest.mark.parametrize("method, most", [("phase_space", 64), ("trajectories", 8)])
@pytest.mark.parametrize("n", [2, 7, 10, 64, 100, 256, 1000, 4096])
def test_a_batch_is_found_for_any_number_of_trajectories(method, most, n):
    model = {"name": "collective_spin", "S": 1, "decay": 1}
    planned = plan(config.resolve({"model": model, "method": {"name": method, "trajectories": n}}))
    batch = planned.config["method"]["batch"]
    assert n % batch == 0 and batch <= most and planned.numbering.records == n // batch >= min(8, n)
    assert not any(n % b == 0 and n // b >= 8 for b in range(batch + 1, most + 1))
    again = plan(config.resolve(planned.config))
    assert again.config == planned.config


def test_a_target_error_has_enough_records():
    model = {"name": "collective_spin", "S": 1, "decay": 1}
    method = {"name": "phase_space", "trajectories": 1000, "target_error": {"Sz": 0.1}}
    assert plan(config.resolve({"model": model, "method": method})).config["method"]["batch"] == 10
