"""After the run: what collect and plot say of records that are missing."""

import contextlib
import csv
import ctypes
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from matplotlib.figure import Figure
from runs import CONFIG, collected, command, run, shortened, write

import hpcsim
from hpcsim import store
from hpcsim.figures.curves import curves
from hpcsim.figures.section import Data
from hpcsim.methods import gaussian
from hpcsim.store import export


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run") / "run.h5")


@pytest.mark.parametrize("without, there", [({1}, "2 of 3 records"), ({0, 1, 2}, "0 of 3 records"), ((), "")])
def test_missing_records_are_told_and_noted_in_the_picture(whole, tmp_path, caplog, monkeypatch, without, there):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    path = tmp_path / "c.h5"
    assert command("collect", path, shortened(whole, without)) == 0
    said = [record.getMessage() for record in caplog.records if "records;" in record.getMessage()]
    assert [line.split(";")[0] for line in said] == [f"{path}: holds {there}"] * bool(there)
    assert command("plot", path) == (1 if there else 0)  # the check needs all points
    assert sum(f"{path}: holds {there};" in record.getMessage() for record in caplog.records) == 2 * bool(there)
    notes = [text.get_text() for text in drawn[0].findobj(lambda artist: hasattr(artist, "get_text"))]
    assert sum("records" in note for note in notes) == bool(there) and (not there or there in notes)


def test_records_that_failed_are_counted_and_named():
    counts = {"records_done": [4, 1], "records_total": [4, 4], "records_failed": [0, 2]}
    variables = {name: store.Variable(("S",), np.array(values)) for name, values in counts.items()}
    assert store.shortfall(store.Collected(variables, {}, {})) == "5 of 8 records, 2 failed"
    places = [{"model.S": 1, "model.loss": n, "record": 0, "reason": "RuntimeError: x"} for n in (1, 1, 2, 4, 5)]
    for failures, there in (
        (places[:2], "model.S = 1, model.loss = 1"),
        (places, "model.S = 1, model.loss = 1; model.S = 1, model.loss = 2; model.S = 1, model.loss = 4 and elsewhere"),
    ):
        data = store.Collected(variables, {"failures": json.dumps(failures)}, {})
        assert store.shortfall(data) == f"5 of 8 records, 2 failed at {there}"
    assert store.shortfall(store.Collected({}, {}, {})) == ""


def test_points_are_added_to_a_finished_run(whole, tmp_path):
    """The edited config on the same file: what is there stays, the rest is computed as in a run from the start."""
    sweep = [{"model.S": [0.5, 1]}, {"model.loss": [1.0, 1.25, 1.5, 2.0]}]
    figures = [{"file": "f", "panels": [{"y": "Sz", "x": "loss", "by": "S", "select": {"sublattice": "a"}}]}]
    path = Path(shutil.copy(whole, tmp_path / "run.h5"))
    run(path, sweep=sweep, figures=figures)
    one, other = hpcsim.open(path), hpcsim.open(run(tmp_path / "new.h5", sweep=sweep, figures=figures))
    assert one.Sz.sizes["S"] == 2 and one.Sz.equals(other.Sz) and (one.records_done == 1).all()
    assert len(json.loads(one.attrs["sessions"])) == 2
    before = path.read_bytes()
    assert command("run", write(tmp_path / "run.yaml"), "--out", path) == 2 and path.read_bytes() == before


@pytest.fixture(scope="module")
def complete(whole):
    return collected(whole)


def test_figures_alone_are_a_config_for_plot(complete, tmp_path, capsys):
    alone = tmp_path / "figures.yaml"
    figure = {"file": "other", "panels": [{"y": "Sz", "x": "loss", "by": "sublattice"}]}
    for config in ({"figures": [figure]}, CONFIG | {"model": {"name": "of another program"}, "figures": [figure]}):
        alone.write_text(yaml.safe_dump(config))
        assert command("plot", complete, "--config", alone, "--to", tmp_path) == 0
        assert (tmp_path / "other.png").exists() and "other.pdf" in capsys.readouterr().out
    for text, words in {
        "title: x": "figures = None: a list of figures is needed",
        "figures: {file: x}": "a list of figures is needed",
        "- 1": "a list of figures is needed",
        "figures: [{file: x, panels: []}]": "figures.0.panels",
        "figures: [{file: x, panels: [{y: Sz, x: nothing}]}]": "x = nothing: no such variable",
        "figures: [{file: x, panels: [{y: Sz, x: loss}]}]\nfigurs: 1": "figurs: unknown key",
    }.items():
        alone.write_text(text)
        assert command("plot", complete, "--config", alone, "--to", tmp_path) == 2
        message = capsys.readouterr().err
        assert words in message and message.count("\n") == 1


METHODS = {
    "liouvillian": "liouvillian",
    "trajectories": "{name: trajectories, burn_in: 5, duration: 10, trajectories: 16, batch: 8}",
    "mean_field": "mean_field",
}


@pytest.fixture(scope="module")
def methods(tmp_path_factory):
    """A collected file of the tutorial on three methods, and {method: run file}."""
    folder, config = tmp_path_factory.mktemp("methods"), ROOT / "configs/tutorials/several_methods.yaml"
    small, runs = ["--quick", "--set", "model.sites=3"], {name: folder / f"{name}.h5" for name in METHODS}
    for name, section in METHODS.items():
        assert command("run", config, *small, "--set", f"method={section}", "--out", runs[name]) == 0
    assert command("collect", folder / "c.h5", *runs.values()) == 0
    return folder / "c.h5", runs


def test_one_file_of_three_methods_holds_the_numbers_of_each(methods):
    path, runs = methods
    data = hpcsim.open(path)
    assert data.method.values.tolist() == [*METHODS] and data.Sz.dims == ("method", "field_x", "sublattice")
    for name, file in runs.items():
        one = hpcsim.open(file)
        assert one.method.item() == name
        for variable in ("Sx", "Sz", "var_Sz", "records_done"):
            assert np.array_equal(data[variable].sel({"method": name}).values, one[variable].values, equal_nan=True)
    assert data.residual_liouvillian.attrs["units"] == "1" and data.residual_mean_field.attrs["units"] == "ħ 1"
    assert np.isnan(data.residual_liouvillian.sel({"method": "mean_field"})).all() and "residual" not in data


def test_a_curve_for_each_method(methods):
    """With standard errors where the method has them, and none for a method that lacks the output."""
    path, runs = methods
    data = store.load(path)
    several = curves(data, Data(y="Sz", x="field_x", by="method"))
    assert [curve.known["method"] for curve in several] == [*METHODS]
    assert [curve.error is not None for curve in several] == [False, True, False]
    assert all(np.isfinite(curve.y).all() and len(curve.x) == 4 for curve in several)
    (one,) = curves(data, Data(y="residual_mean_field", x="field_x", by="method"))
    assert one.known["method"] == "mean_field"
    with pytest.raises(ValueError, match="add by or select for method"):
        curves(data, Data(y="Sz", x="field_x"))
    alone = store.load(collected(runs["mean_field"]))
    for select in ({}, {"method": "mean_field"}):
        (curve,) = curves(alone, Data(y="Sz", x="field_x", by="method", select=select))
        assert np.array_equal(curve.y, several[2].y)
    with pytest.raises(ValueError, match="method = gaussian: the collected file has mean_field"):
        curves(alone, Data(y="Sz", x="field_x", select={"method": "gaussian"}))


def test_the_legend_names_the_methods(methods, monkeypatch):
    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    assert command("plot", methods[0]) == 0
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Liouvillian", "trajectories", "mean field"]


def test_times_that_a_method_was_not_asked_for_are_no_holes():
    time = np.array([0.0, 0.5, 1.0])
    values = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, np.nan], [np.nan, np.nan, np.nan]])[:, None]
    variables = {
        "method": store.Variable(("method",), np.array(["a", "b", "c"], object)),
        "S": store.Variable(("S",), np.array([2.0])),
        "time": store.Variable(("time",), time),
        "Sz": store.Variable(("method", "S", "time"), values),
        "records_total": store.Variable(("method", "S"), np.ones((3, 1))),
    }
    data = store.Collected(variables, {}, {"model": {}})
    several = curves(data, Data(y="Sz", x="time", by="method", select={"S": 2}))
    assert [curve.x.tolist() for curve in several] == [[0, 1], [0, 0.5], [0, 0.5, 1]]  # c is still to be computed
    assert [curve.y.tolist() for curve in several[:2]] == [[1, 3], [4, 5]]


def tables(folder):
    """{file name: rows as dicts}"""
    return {path.name: [*csv.DictReader(path.open(encoding="utf-8"))] for path in sorted(folder.glob("*.csv"))}


def test_tables_hold_the_numbers_with_their_labels_and_errors(methods, tmp_path):
    assert command("export", methods[0], "--csv", "--to", tmp_path) == 0
    data, found = hpcsim.open(methods[0]), tables(tmp_path)
    assert not [name for name in found if "stderr" in name] and "c.records_done.csv" in found
    rows = found["c.Sz.csv"]
    assert [*rows[0]] == ["method", "field_x", "sublattice", "value", "stderr", "units"] and len(rows) == 12
    for row in rows:
        at = {"method": row["method"], "field_x": float(row["field_x"]), "sublattice": row["sublattice"]}
        assert float(row["value"]) == data.Sz.sel(at).item() and row["units"] == "ħ"
        assert (row["stderr"] == "") == (row["method"] != "trajectories")
        assert row["stderr"] == "" or float(row["stderr"]) == data.Sz_stderr.sel(at).item()
    assert {row["method"] for row in found["c.residual_mean_field.csv"]} == {"mean_field"}


def test_what_is_missing_is_an_empty_field(whole, tmp_path, caplog):
    """A run file has tables, too; a coordinate along an axis is a column of its own, complex numbers are two."""
    short = shortened(whole, {1})
    assert command("export", short, "--csv", "--to", tmp_path) == 0 and "holds 2 of 3 records" in caplog.text
    rows = [row for row in tables(tmp_path)["short.Sz.csv"] if row["sublattice"] == "a"]
    assert [row["loss"] for row in rows] == ["1.0", "1.5", "2.0"] and [row["value"] == "" for row in rows] == [0, 1, 0]
    assert {row["method"] for row in rows} == {"gaussian"} and "stderr" not in rows[0]
    variables = {
        "gain": store.Variable(("gain",), np.array([1, 2])),
        "loss": store.Variable(("gain",), np.array([0.5, 0.25])),
        "z": store.Variable(("gain",), np.array([1 + 2j, complex(np.nan, np.nan)]), {"units": "g"}),
        "z_error": store.Variable(("gain",), np.array([0.5, np.nan])),
    }
    data = store.Collected(variables, {"coordinates": "loss"}, {})
    assert export.results(data) == ["z"]
    assert export.table(data, "z").splitlines() == [
        "gain,loss,value_real,value_imag,error,units",
        "1,0.5,1.0,2.0,0.5,g",
        "2,0.25,,,,g",
    ]


def test_tables_replace_their_like_and_nothing_else(complete, tmp_path, capsys):
    assert command("export", complete, "--csv", "--to", tmp_path) == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert command("export", complete, "--csv", "--to", tmp_path) == 0
    (tmp_path / "run.c.Sz.csv").write_text("my,own\n1,2\n")
    (tmp_path / "run.c.Sx.csv").unlink()
    assert command("export", complete, "--csv", "--to", tmp_path) == 2
    assert "run.c.Sz.csv: exists and is not a table" in capsys.readouterr().err
    assert (tmp_path / "run.c.Sz.csv").read_text() == "my,own\n1,2\n" and not (tmp_path / "run.c.Sx.csv").exists()
    assert command("export", complete, "--csv", "--to", tmp_path / "run.c.Sz.csv") == 2
    assert command("export", tmp_path / "nothing.h5", "--csv") == 2 and command("export", complete) == 2
    assert len(before) == len([*tmp_path.iterdir()]) + 1


@contextlib.contextmanager
def without_power_over_permissions():
    """Within, permissions hold for this thread even where it is root's: CAP_DAC_OVERRIDE is put aside."""
    libc, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0)
    before = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, before) == 0
    assert libc.capset(header, (ctypes.c_uint32 * 6)(before[0] & ~0b110, *before[1:])) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0


@pytest.mark.parametrize(
    "words",
    [
        "plot c.h5 --to shut",
        "plot c.h5 --to shut/below",
        "plot shut/c.h5 --csv",
        "export shut/c.h5 --csv",
        "report shut/c.h5",
        "collect shut/other.h5 run.h5",
        "run run.yaml --out shut/r.h5",
        "new shut/new.yaml --model gain_loss_lattice",
    ],
)
def test_a_folder_that_may_not_be_written_to_is_named(complete, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    shut = tmp_path / "shut"
    shut.mkdir()
    for place in (shut, tmp_path):
        shutil.copy(complete, place / "c.h5")
    shutil.copy(complete.with_name("run.h5"), tmp_path), write(tmp_path / "run.yaml")
    shut.chmod(0o555)
    with without_power_over_permissions():
        assert command(*words.split()) == 2
    said = capsys.readouterr().err
    assert said.count("hpcsim: error: ") == 1 and "shut" in said and "Permission denied" in said
    assert [path.name for path in shut.iterdir()] == ["c.h5"]


@pytest.mark.parametrize("error", [ImportError("libx.so: failed to map segment", name="x"), MemoryError()])
def test_a_run_that_an_error_ends_was_not_killed(tmp_path, monkeypatch, capsys, error):
    def fail(*arguments):
        raise error

    config, path = write(tmp_path / "c.yaml"), tmp_path / "r.h5"
    with monkeypatch.context() as patch:
        patch.setattr(gaussian, "run", fail)
        assert command("run", config, "--out", path) == 1
    assert not [*tmp_path.glob("*.lock")]
    assert command("status", path) == 0 and "; stopped; the same command resumes" in capsys.readouterr().out
    assert command("run", config, "--out", path) == 0
