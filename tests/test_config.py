"""The config file: what is accepted, and what it becomes."""

import pytest

from hpcsim.run import config
from hpcsim.run.plan import Problem


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
    assert [(m["S"], m["a"], n["b"]) for m, n in config.points(loaded)] == [(1, 3, 5), (1, 4, 6), (2, 3, 5), (2, 4, 6)]


def test_no_sweep_is_one_point(tmp_path):
    loaded = resolve(tmp_path, "model: {name: m}\nmethod: {name: n}")
    assert list(config.points(loaded)) == [({"name": "m"}, {"name": "n"})]


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
    problems = [Problem(model, method) for model, method in config.points(loaded)]
    assert [p.params.sites for p in problems] == [3, (2, 2), (2, 3)]
    model = {**problems[1].params.model_dump(), "name": "xyz_lattice", "sites": [2, 2]}
    written = Problem(model, {"name": "liouvillian"})
    assert written.key(1) == problems[1].key(1) != problems[2].key(1)


def test_only_the_first_key_of_an_axis_names_its_points(tmp_path):
    text = "model: {{name: m}}\nmethod: {{name: n}}\nsweep: [{{model.a: {a}, model.b: [0, 0, 1]}}]"
    loaded = resolve(tmp_path, text.format(a="[1, 2, 3]"))
    assert [(m["a"], m["b"]) for m, _ in config.points(loaded)] == [(1, 0), (2, 0), (3, 1)]
    with pytest.raises(config.ConfigError, match=r"sweep.0.model.a = \[1, 2, 1\]: a value stands twice"):
        resolve(tmp_path, text.format(a="[1, 2, 1]"))
