"""list, describe, schema and new: what they say is true of the program."""

import json

import pytest
from conftest import ROOT, require_module

from hpcsim import cli, guide, schema
from hpcsim.run import config, plan, text

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
MODELS, METHODS = guide.modules("models"), guide.modules("methods")


@pytest.fixture(scope="module")
def validator():
    return require_module("jsonschema").Draft202012Validator(schema.schema())


def test_every_name_is_listed_and_described(capsys):
    for kind, names in guide.catalogue().items():
        assert cli.main(["list", kind]) == 0
        shown = capsys.readouterr().out
        for name, line in names.items():
            assert name in shown and line and not line.endswith(("(huber2020, Eqs", " Eq"))
            assert guide.described(name).splitlines()[0]
    assert cli.main(["describe", "xyz_lattice"]) == 0
    shown = capsys.readouterr().out
    for words in ("H = (1/2d) Σ_bonds", "convention  required", "symmetries", "permutation    the coupling"):
        assert words in shown
    for words in ("≥ 0", "a multiple of 0.5, > 0", "outputs        Sx, Sy, Sz, Mz, purity"):
        assert words in shown
    shown = guide.described("trajectories")
    assert "trajectories : how many per point" in shown and "tolerance     1.0e-06       > 0, ≤ 0.01" in shown


@pytest.mark.parametrize("arguments", [["list", "moels"], ["describe", "xyz_latice"]])
def test_an_unknown_name_is_told(arguments, capsys):
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert arguments[1] in told and f"did you mean {'models' if arguments[0] == 'list' else 'xyz_lattice'}?" in told


def test_every_key_has_a_description():
    for kind, options in (MODELS, "Params"), (METHODS, "Options"):
        for name, module in kind.items():
            keys = getattr(module, options).model_fields
            assert set(guide.descriptions(getattr(module, options))) == set(keys) - {"task"} | (
                {"task"} & set(guide.descriptions(getattr(module, options)))
            ), name


@pytest.mark.parametrize("path", CONFIGS, ids=[f"{path.parent.name}/{path.stem}" for path in CONFIGS])
def test_the_schema_accepts_every_shipped_config(validator, path):
    raw = text.parse(path.read_text())
    assert not [error.message for error in validator.iter_errors(raw)]


def test_the_schema_accepts_numbers_as_people_write_them_and_words(validator):
    model = {"name": "gain_loss_lattice", "S": "1/2", "gain": "2/3", "loss": 1}
    sweep = [{"model.g": {"linspace": ["-pi/4", "2*pi", 3]}}, {"model.h": ["1/3", 1]}]
    assert not list(validator.iter_errors({"model": model, "method": "liouvillian", "sweep": sweep}))


@pytest.mark.parametrize(
    "change, word",
    [
        ({"model": {"name": "xyz_lattice", "cels": 3}}, "cels"),
        ({"model": {"name": "nothing"}}, "nothing"),
        ({"method": {"name": "liouvillian", "trajectories": 3}}, "trajectories"),
        ({"method": {"name": "liouvillian", "task": "spektrum"}}, "spektrum"),
        ({"sweep": {"model.S": [1]}}, "model.S"),
        ({"sweep": [{"run.seed": [1]}]}, "run.seed"),
        ({"swep": []}, "swep"),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(validator, change, word):
    good = {"model": {"name": "gain_loss_lattice", "S": 1, "gain": 1, "loss": 1}, "method": {"name": "liouvillian"}}
    assert not list(validator.iter_errors(good))
    errors = list(validator.iter_errors(good | change))
    assert errors and word in json.dumps([str(error) for error in errors])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_a_new_config_is_one_that_check_accepts(tmp_path, capsys, model, method):
    path = tmp_path / "new.yaml"
    status = cli.main(["new", str(path), "--model", model, "--method", method])
    if status == 2:
        assert "does not support" in capsys.readouterr().err and not path.exists()
        return
    planned = plan.plan(config.load(path))
    assert planned.numbering.records and planned.config["model"]["name"] == model
    assert cli.main(["new", str(path), "--model", model, "--method", method]) == 2
    assert "exists" in capsys.readouterr().err
