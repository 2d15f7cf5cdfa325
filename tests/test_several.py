"""A list of methods in one config: a run file for each, and one figure or one xarray.Dataset of all."""

import numpy as np
import pytest
import yaml

import hpcsim
from hpcsim import cli

CONFIG = {
    "model": {"name": "spin_network", "sites": 2, "Jz": 2, "decay": 1},
    "method": ["liouvillian", {"name": "mean_field"}, {"name": "mean_field", "initial": [0.5, 0.5]}],
    "sweep": [{"model.field_x": [0.5, 1.0]}],
    "figures": [
        {
            "file": "f",
            "panels": [{"y": "Sz", "x": "field_x", "by": "method"}],
            "checks": [
                {"name": "c", "y": "purity", "x": "field_x", "by": "method", "analysis": "maximum", "below": 1}
                | {"select": {"method": "liouvillian"}}  # the others do not have it
            ],
        }
    ],
}


def written(folder, **changes):
    (folder / "c.yaml").write_text(yaml.safe_dump(CONFIG | changes))
    return str(folder / "c.yaml")


def test_one_with_a_name_replaces_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    method = "method={name: mean_field, initial: [0.5, 0.5]}"
    assert cli.main(["run", written(tmp_path, figures=[]), "--set", method, "--out", "one.h5"]) == 0
    assert yaml.safe_load(hpcsim.open("one.h5").attrs["config"])["method"]["initial"] == [0.5, 0.5]


def test_a_run_for_each_of_them_and_one_figure(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "hpcsim")
    config = written(tmp_path)
    assert cli.main(["check", config]) == 0 and capsys.readouterr().out.count("records          2") == 3
    assert cli.main(["run", config]) == 0 and caplog.text.count("(0 done)") == 3
    assert cli.main(["run", config]) == 0 and caplog.text.count("(2 done)") == 3
    files = [f"results/c.{word}.h5" for word in ("liouvillian", "mean_field", "mean_field-2")]
    assert {*(tmp_path / "results").iterdir()} == {tmp_path / file for file in files}
    assert cli.main(["collect", "all.h5", *reversed(files)]) == cli.main(["plot", "all.h5"]) == 0
    data = hpcsim.open("all.h5")
    again = hpcsim.solve(**{key: CONFIG[key] for key in ("model", "method", "sweep")})
    assert data.method.values.tolist()[0] == "liouvillian" and data.Sz.dims == ("method", "field_x", "sublattice")
    assert all(data[name].equals(again[name]) for name in ("Sz", "purity"))
    assert np.ptp(data.Sz.values[:2], axis=0).max() > 0.004


def test_one_of_them_is_changed_by_its_number(tmp_path):
    loaded = hpcsim.run.config.load(
        written(tmp_path, quick={"method": {"1": {"initial": "x"}}}), ["method.2.k=3"], True, 2
    )
    assert loaded["method"] == {"name": "mean_field", "initial": [0.5, 0.5], "k": 3}
    assert hpcsim.run.config.load(tmp_path / "c.yaml", quick=True, method=1)["method"]["initial"] == "x"


def test_time_is_that_of_all_together_and_what_is_left_comes_later(tmp_path):
    config, out = written(tmp_path), str(tmp_path / "o.h5")
    assert cli.main(["run", config, "--out", out, "--max-walltime", "0"]) == 75
    assert not (tmp_path / "o.mean_field.h5").exists()
    assert cli.main(["run", config, "--out", out, "--share", "1/2"]) == 0
    assert (tmp_path / "o.mean_field-2.1-of-2.h5").exists()


@pytest.mark.parametrize(
    "method, given, words",
    [
        ([], [], "method = []: at least one method is needed, as in method: [liouvillian, {"),
        (["liouvillian", 3], [], "method.1 = 3: the name of a method is needed"),
        (["liouvillian", "mean_feld"], [], "method.1: method.name = 'mean_feld'"),
        (["liouvillian"], ["--set", "method.task=gap"], "method.task: this config has a list of methods, 0 to 0"),
        (["liouvillian"], ["--set", "method.1.task=gap"], "method.1: this config has a list of methods, 0 to 0"),
    ],
)
def test_bad_lists_are_one_message(method, given, words, tmp_path, capsys):
    assert cli.main(["run", written(tmp_path, method=method), "--out", str(tmp_path / "o.h5"), *given]) == 2
    told = capsys.readouterr().err
    assert words in told and "Traceback" not in told and len(told.splitlines()) == 1
