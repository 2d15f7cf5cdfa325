"""Disorder averages, and sweeps over lists of one value for each site."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from test_api import by_command, same

import hpcsim
from hpcsim import cli, schema, store
from hpcsim.run import config
from hpcsim.run.config import ConfigError
from hpcsim.run.disorder import drawn
from hpcsim.run.plan import plan
from hpcsim.run.problem import Problem
from hpcsim.store.collect import combine

MODEL = {"name": "spin_network", "sites": 2, "Jx": 1.0, "field_x": 0.3, "field_z": 0.2, "decay": 0.5}
DISORDER = {"field_z": {"uniform": [-1, 1]}, "decay": {"uniform": [0, 0.4]}, "realisations": 4}
TRAJECTORIES = {"name": "trajectories", "trajectories": 12, "batch": 4, "duration": 2, "burn_in": 1}


def realisations(strength=1.0, model=MODEL, disorder=DISORDER, seed=0):
    """The model of each realisation."""
    problem = Problem(model, {"name": "liouvillian"})
    section = disorder | {"strength": strength}
    for r in range(disorder["realisations"]):
        yield model | drawn(section | {"realisation": r}, problem.params, problem.system.sites, problem.key(seed))


def assert_averages(data, several, names):
    """Means over the realisations that are computed one by one, and the standard errors of their scatter."""
    for name in names:
        values = np.array([each[name].values for each in several])
        assert np.ptp(values, axis=0).max() > 1e-3, name
        assert np.allclose(data[name], values.mean(0), rtol=1e-9, atol=1e-12), name
        error = values.std(0, ddof=1) / np.sqrt(len(values))
        assert np.allclose(data[f"{name}_stderr"], error, rtol=1e-6, atol=1e-12), name


@pytest.mark.parametrize(
    "method, names",
    [
        ({"name": "liouvillian"}, ["Sx", "Sz", "var_Sz", "purity", "Mz"]),
        ({"name": "liouvillian", "task": "gap"}, ["gap"]),
        (TRAJECTORIES, ["Sx", "Sz", "var_Sz"]),
    ],
)
def test_a_point_is_the_average_over_systems_computed_one_by_one(method, names):
    data = hpcsim.solve(MODEL, method, disorder=DISORDER)
    assert_averages(data, [hpcsim.solve(model, method) for model in realisations()], names)
    assert data.records_done == data.records_total and data.records_done % 4 == 0
    assert data[names[0]].attrs["cell_methods"] == "realisation: mean"


def test_the_command_line_on_two_ranks_gives_the_same_bits(tmp_path):
    given = {
        "model": MODEL,
        "method": TRAJECTORIES,
        "sweep": [{"disorder.strength": [0.5, 1]}],
        "run": {"seed": 3},
        "disorder": DISORDER,
    }
    path = by_command(given, tmp_path, ranks=2)
    data = hpcsim.solve(**given)
    assert same(data, hpcsim.open(path))
    several = [hpcsim.solve(model, TRAJECTORIES, run={"seed": 3}) for model in realisations(0.5, seed=3)]
    assert_averages(data.sel(strength=0.5), several, ["Sz"])
    kept = yaml.safe_load(data.attrs["config"])
    assert kept["disorder"] == DISORDER | {"strength": 1.0} and kept["model"]["field_z"] == 0.2
    assert plan(config.resolve(kept)).config["disorder"] == kept["disorder"]


def test_what_is_drawn_depends_on_seed_model_realisation_and_site_alone():
    fields = [model["field_z"] for model in realisations()]
    assert len({x for field in fields for x in field}) == 8
    assert fields == [model["field_z"] for model in realisations()]
    doubled = [model["field_z"] for model in realisations(2.0)]
    assert np.allclose(np.array(doubled) - 0.2, 2 * (np.array(fields) - 0.2), rtol=1e-12)
    for other in (realisations(seed=1), realisations(model=MODEL | {"Jx": 1.1})):
        assert not set(fields[0]) & set(next(other)["field_z"])


@pytest.mark.parametrize(
    "law, mean, deviation",
    [
        ({"uniform": [-1, 3]}, 1.0, 4 / np.sqrt(12)),
        ({"normal": [0.5, 2]}, 0.5, 2.0),
        ({"choice": [-1, 1, 3]}, 1.0, np.sqrt(8 / 3)),
    ],
)
def test_distributions(law, mean, deviation):
    problem = Problem(MODEL | {"sites": 2, "field_z": 0.0}, {"name": "liouvillian"})
    found = drawn({"field_z": law, "strength": 1.0, "realisation": 5}, problem.params, 40_000, (1, 2))["field_z"]
    assert abs(np.mean(found) - mean) < 4 * deviation / 200
    assert np.std(found) == pytest.approx(deviation, rel=0.02)
    lowest, highest = {"uniform": (-1, 3), "choice": (-1, 3)}.get(*law, (-np.inf, np.inf))
    assert lowest <= min(found) < max(found) <= highest


def test_only_whole_realisations_count(tmp_path):
    """A point that is not finished has some realisations whole, and one in part."""
    model = {key: value for key, value in MODEL.items() if key != "field_x"}  # two sectors, of even and odd parity
    given = {"model": model, "method": {"name": "liouvillian", "task": "gap"}, "disorder": DISORDER}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(given))
    assert cli.main(["run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "r.h5")]) == 0
    (run,) = store.read_runs(tmp_path / "r.h5")
    size = len(run.done) // 4
    assert size > 1
    done = np.arange(len(run.done)) < 2 * size + 1  # the third is begun
    data = combine([replace(run, done=done)])
    several = [hpcsim.solve(model, given["method"]) for model in realisations(model=model)]
    assert data.variables["gap"].values == pytest.approx(np.mean([each.gap for each in several[:2]]), rel=1e-9)
    assert data.variables["records_done"].values == 2 * size + 1
    assert np.isnan(combine([replace(run, done=done & (np.arange(len(done)) < 1))]).variables["gap"].values)


def test_realisations_that_jobs_share_are_one_average(tmp_path):
    """As the tasks of a job array; and files of another disorder do not go with them."""
    given = {"model": MODEL, "method": "liouvillian", "disorder": DISORDER}
    config, run = tmp_path / "c.yaml", tmp_path / "r.h5"
    config.write_text(yaml.safe_dump(given))
    for share in ("1/2", "2/2"):
        assert cli.main(["run", str(config), "--out", str(run), "--share", share]) == 0
    files = [str(path) for path in sorted(tmp_path.glob("r*.h5"))]
    assert len(files) == 2
    assert cli.main(["collect", str(tmp_path / "all.h5"), *files]) == 0
    data, whole = hpcsim.open(tmp_path / "all.h5"), hpcsim.solve(**given)
    assert data.records_done == 4
    assert np.array_equal(data.Sz, whole.Sz) and np.array_equal(data.Sz_stderr, whole.Sz_stderr)
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(given | {"disorder": DISORDER | {"decay": {"uniform": [0, 0.5]}}}))
    assert cli.main(["run", str(other), "--out", str(tmp_path / "o.h5")]) == 0
    assert cli.main(["collect", str(tmp_path / "no.h5"), str(tmp_path / "o.h5"), *files]) == 2


@pytest.mark.parametrize(
    "disorder, more, words",
    [
        ({"field_z": {"uniform": [-1, 1]}}, {}, "disorder.realisations = None: an integer from 2"),
        ({"field_z": {"uniform": [-1, 1]}, "realisations": 1}, {}, "disorder.realisations = 1"),
        ({"realisations": 5}, {}, "says no parameter"),
        ({"field_z": {"unifrom": [-1, 1]}, "realisations": 5}, {}, "write one of {uniform: [lowest, highest]}"),
        ({"field_z": {"uniform": [1, -1]}, "realisations": 5}, {}, "disorder.field_z = {'uniform': [1, -1]}"),
        ({"field_z": 3, "realisations": 5}, {}, "disorder.field_z = 3"),
        ({"fild_z": {"uniform": [-1, 1]}, "realisations": 5}, {}, "disorder.fild_z: the model has no such parameter"),
        ({"Jx": {"uniform": [-1, 1]}, "realisations": 5}, {}, "disorder.Jx = ["),
        ({"decay": {"uniform": [-9, -8]}, "realisations": 5}, {}, "disorder.decay = ["),
        ({"edges": {"uniform": [-1, 1]}, "realisations": 5}, {}, "disorder.edges: the model's value, None"),
        ({"field_z": {"normal": [0, 1]}, "realisations": 5, "strength": "x"}, {}, "disorder.strength = 'x'"),
        (None, {"sweep": [{"disorder.strength": [1, 2]}]}, "there is no section disorder"),
        (DISORDER, {"sweep": [{"disorder.field_z": [1, 2]}]}, "sweep.0.disorder.field_z: only parameters"),
        (
            DISORDER,
            {"method": TRAJECTORIES | {"target_error": {"Sz": 0.1}, "trajectories": 400}},
            "method.target_error: is not for disorder",
        ),
    ],
)
def test_what_is_wrong_is_one_message(disorder, more, words):
    with pytest.raises(ConfigError) as error:
        hpcsim.solve(**{"model": MODEL, "method": {"name": "liouvillian"}, "disorder": disorder} | more)
    assert words in str(error.value) and "\n" not in str(error.value), error.value


def test_check_says_how_many_and_the_schema_knows_it(tmp_path, capsys):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"model": MODEL, "method": "liouvillian", "disorder": DISORDER}))
    assert cli.main(["check", str(tmp_path / "c.yaml")]) == 0
    shown = capsys.readouterr().out
    assert "realisations     4" in shown and "records          4" in shown
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema.schema())
    good = {"model": MODEL, "method": "liouvillian", "disorder": DISORDER, "sweep": [{"disorder.strength": [1, 2]}]}
    assert not [error.message for error in validator.iter_errors(good)]
    assert list(validator.iter_errors(good | {"disorder": {"field_z": {"unifrom": [1]}, "realisations": 3}}))


# ------------------------------------------------------------------ lists for each site


def test_lists_for_each_site_are_swept(tmp_path):
    """By command, collected from two files, with their texts as labels; whole numbers among them are no sizes."""
    lists = [[0.5, -0.5], [1, 2], [0, 0]]
    for name, part in ("a", lists[:2]), ("b", lists[2:]):
        panel = {"y": "Sz", "x": "Jx", "by": "field_z", "label": "{field_z}"}
        text = {"model": MODEL, "method": "liouvillian", "figures": [{"file": "f", "panels": [panel]}]}
        sweep = {"sweep": [{"model.field_z": part}, {"model.Jx": [1.0, 2.0]}]}
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(text | sweep))
        assert cli.main(["run", str(tmp_path / f"{name}.yaml"), "--out", str(tmp_path / f"{name}.h5")]) == 0
    collected = str(tmp_path / "c.h5")
    assert cli.main(["collect", collected, str(tmp_path / "a.h5"), str(tmp_path / "b.h5")]) == 0
    assert cli.main(["plot", collected, "--to", str(tmp_path)]) == 0
    data = hpcsim.open(collected)
    for each, label in zip(lists, ["[0.5, -0.5]", "[1, 2]", "[0, 0]"]):
        one = hpcsim.solve(MODEL | {"field_z": each, "Jx": 2.0})
        assert np.allclose(data.Sz.sel(field_z=label, Jx=2.0), one.Sz, rtol=1e-9), label
    assert cli.main(["run", str(tmp_path / "a.yaml"), "--out", str(tmp_path / "a.h5")]) == 0  # resumes


def test_a_list_may_stand_beside_a_number_that_names_it():
    axis = {"model.Jx": [1.0, 2.0], "model.field_z": [[0, 1], [0.5, 0.5]]}
    data = hpcsim.solve(MODEL, sweep=[axis])
    assert data.Sz.dims == ("Jx", "sublattice") and data.field_z.dims == ("Jx",)
    assert data.field_z.values.tolist() == ["[0, 1]", "[0.5, 0.5]"]


def test_sizes_of_a_network_are_swept():
    model = {"name": "spin_network", "Jx": 1.0, "decay": 1.0}
    data = hpcsim.solve(model, sweep={"model.sites": [[1, 2], [2, 2]]})
    assert data.sites.values.tolist() == ["1x2", "2x2"]
    assert np.allclose(data.Sz.sel(sites="2x2"), hpcsim.solve(model | {"sites": [2, 2]}).Sz)


@pytest.mark.parametrize("values", [[[1, "x"]], [[]], [[[1]]], [{"a": 1}]])
def test_other_lists_are_refused(values):
    with pytest.raises(ConfigError, match="lists of one number for each site|an axis needs|range|write a list"):
        hpcsim.solve(MODEL, sweep=[{"model.field_z": values}])
